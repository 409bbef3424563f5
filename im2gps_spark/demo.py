"""The whole road in one command: on the sample collection, or on anyone's own photos."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from im2gps_spark import config as configuration
from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.own_photos import find_key, hold_out
from im2gps_spark.sample import make_sample
from im2gps_spark.stages import stage

log = logging.getLogger(__name__)


def demo(folder: Path, photos: str | None, metadata: str | None, overrides: list[str]) -> None:
    """Makes or splits a collection below a folder, runs every stage on it, and says where to look.

    The configuration is left in the folder as ``im2gps.toml``: each stage can be run again by itself.

    Raises:
        UsageError: only one of photos and metadata is given, or they don't fit each other.
    """
    folder = folder.absolute()
    if bool(photos) != bool(metadata):
        raise UsageError("your own photos need both PHOTOS=DIR and METADATA=FILE (YFCC100M's columns)")
    asked = configuration.load(None, overrides).photos.key  # what is wrong with any key is told before work starts
    if photos and metadata:
        given = asked if asked != Config().photos.key else None
        root, corpus, uploads, key = _own(folder, Path(photos).absolute(), metadata, given)
    else:
        root, corpus, uploads, key = _sample(folder)
    file = folder / "im2gps.toml"
    file.write_text(_toml(folder, root, key, corpus), "utf-8")
    log.info("demo: configuration in %s", file)

    as_corpus = configuration.load(file, overrides)
    as_uploads = configuration.load(
        file, [*overrides, "photos.collection=uploads", f"photos.metadata={json.dumps([uploads])}"]
    )
    _run(as_corpus, as_uploads)
    log.info("demo: how good the answers are: %s", folder / "evaluation" / "index.html")
    log.info("demo: open %s", folder / "atlas" / "index.html")
    from im2gps_spark.stages.atlas import QUERY

    log.info('demo: a query to try:\n\n  .venv/bin/im2gps query --config %s "\n%s"\n', file, QUERY)


def _run(as_corpus: Config, as_uploads: Config) -> None:
    from im2gps_spark.session import session

    with session(as_corpus, "demo") as spark:
        stage("ingest")(spark, as_corpus)
        stage("ingest")(spark, as_uploads)
        for name in ("describe", "train", "build", "calibrate", "geolocate", "evaluate", "atlas"):
            stage(name)(spark, as_corpus)


def _sample(folder: Path) -> tuple[str, list[str], str, str]:
    try:
        make_sample(folder, progress=lambda line: log.info("sample: %s", line))
    except (ValueError, ModuleNotFoundError) as error:
        raise UsageError(str(error)) from error
    photos = folder / "photos"
    corpus = [str(photos / "corpus.tsv.gz"), str(photos / "corpus-old.tsv")]
    return str(photos), corpus, str(photos / "uploads.tsv"), "images/{photo_id}.jpg"


def _own(folder: Path, photos: Path, metadata: str, key: str | None) -> tuple[str, list[str], str, str]:
    """A tenth of the owners' photos become the uploads, without their geotags; those go into truth.csv."""
    if not photos.is_dir():
        raise UsageError(f"PHOTOS: there is no folder {photos}")
    key = key or find_key(photos, metadata)
    held = hold_out(metadata, folder)
    _, chosen, owners = held.counts
    if not 0 < chosen < owners:
        raise UsageError(
            f"METADATA: {owners} owner in {metadata}; some are held out to be judged, two at least are needed"
        )
    log.info("demo: %d photos of %d owners held out of %d, keys like %s", *held.counts, key)
    return str(photos), [str(held.corpus)], str(held.uploads), key


def _toml(folder: Path, root: str, key: str, corpus: list[str]) -> str:
    truth = json.dumps(str(folder / "truth.csv"))
    return f"""# Written by `im2gps demo`. Run a stage again: im2gps STAGE --config THIS_FILE
[photos]
root = {json.dumps(root)}
key = {json.dumps(key)}
metadata = {json.dumps(corpus)}

[tables]
warehouse = {json.dumps(str(folder / "warehouse"))}

[index]
root = {json.dumps(str(folder / "index"))}

[geolocate]
# The photos are judged: their owners' other photos would give them away.
exclude_same_owner = true

[evaluate]
truth = {truth}
page = {json.dumps(str(folder / "evaluation" / "index.html"))}

[atlas]
folder = {json.dumps(str(folder / "atlas"))}
truth = {truth}
"""
