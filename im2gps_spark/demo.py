"""The whole road in one command: on the sample collection or on anyone's own photos; on disk, in S3, on a cluster."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from im2gps_spark import config as configuration
from im2gps_spark.config import Config
from im2gps_spark.environment import environment
from im2gps_spark.errors import UsageError
from im2gps_spark.own_photos import find_key, hold_out
from im2gps_spark.sample import make_sample
from im2gps_spark.stages import ROAD, stage

log = logging.getLogger(__name__)

Where = Literal["disk", "s3", "cluster"]

_PHOTOS, _INDEX, _TABLES = "s3://photos/demo", "s3://photos/index", "tables"


@dataclass(frozen=True)
class Collection:
    """Photos and their metadata: those of a corpus, and those to locate, whose places are in ``truth.csv``."""

    root: str
    key: str
    corpus: list[str]
    uploads: str


def demo(folder: Path, photos: str | None, metadata: str | None, overrides: list[str], where: Where = "disk") -> None:
    """Makes or splits a collection below a folder, runs every stage on it, and says where to look.

    The configuration is left in the folder as ``im2gps.toml``: on disk, each stage can be run again by itself.

    Args:
        where: photos, index and tables are on ``disk``, or in an S3 server of the demo's own (``s3``), which is
            stopped at the end; or there, and the stages run on a cluster of the demo's own (``cluster``).

    Raises:
        UsageError: only one of photos and metadata is given, or they don't fit each other.
    """
    folder = folder.absolute()
    if bool(photos) != bool(metadata):
        raise UsageError("your own photos need both PHOTOS=DIR and METADATA=FILE (YFCC100M's columns)")
    asked = configuration.load(None, overrides).photos.key  # what is wrong with any key is told before work starts
    if photos and metadata:
        given = asked if asked != Config().photos.key else None
        collection = _own(folder, Path(photos).absolute(), metadata, given)
    else:
        collection = _sample(folder)
    with _in_place(folder, collection, where) as (collection, places):
        file = folder / "im2gps.toml"
        file.write_text(_toml(folder, collection, places), "utf-8")
        log.info("demo: configuration in %s", file)
        uploads = [*overrides, "photos.collection=uploads", f"photos.metadata={json.dumps([collection.uploads])}"]
        _runner(where, folder)(file, overrides, uploads)
        log.info("demo: how good the answers are: %s", folder / "evaluation" / "index.html")
        log.info("demo: open %s", folder / "atlas" / "index.html")
        _show_query(file, overrides, where)


Runner = Callable[[Path, list[str], list[str]], None]
"""Runs all stages by a configuration's file, what is changed in it, and what is changed for the uploads' ingest."""


def _runner(where: Where, folder: Path) -> Runner:
    if where != "cluster":
        return _run_here
    from im2gps_spark.cluster import run_submitted  # what only this demo needs

    return lambda file, overrides, uploads: run_submitted(folder / "cluster", file, _road(overrides, uploads))


def _road(overrides: list[str], uploads: list[str]) -> list[tuple[str, list[str]]]:
    return [("ingest", overrides), ("ingest", uploads), *((name, overrides) for name in ROAD[1:])]


def _run_here(file: Path, overrides: list[str], uploads: list[str]) -> None:
    from im2gps_spark.session import session

    with session(configuration.load(file, overrides), "demo") as spark:
        for name, changed in _road(overrides, uploads):
            stage(name)(spark, configuration.load(file, changed))


def _show_query(file: Path, overrides: list[str], where: Where) -> None:
    from im2gps_spark.stages.atlas import QUERY

    if where == "disk":
        log.info('demo: a query to try:\n\n  .venv/bin/im2gps query --config %s "\n%s"\n', file, QUERY)
        return
    from im2gps_spark.analyst import query  # the server is about to be stopped: asked here, or not at all

    log.info("demo: the tables in S3, by DuckDB:\n\n%s\n\n%s", QUERY, query(configuration.load(file, overrides), QUERY))


def _sample(folder: Path) -> Collection:
    try:
        make_sample(folder, progress=lambda line: log.info("sample: %s", line))
    except (ValueError, ModuleNotFoundError) as error:
        raise UsageError(str(error)) from error
    photos = folder / "photos"
    corpus = [str(photos / "corpus.tsv.gz"), str(photos / "corpus-old.tsv")]
    return Collection(str(photos), "images/{photo_id}.jpg", corpus, str(photos / "uploads.tsv"))


def _own(folder: Path, photos: Path, metadata: str, key: str | None) -> Collection:
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
    return Collection(str(photos), key, [str(held.corpus)], str(held.uploads))


Sections = Mapping[str, Mapping[str, object]]


@contextmanager
def _in_place(folder: Path, collection: Collection, where: Where) -> Iterator[tuple[Collection, Sections]]:
    """The collection where it is to be, and what the configuration says of places; servers run until the end."""
    if where == "disk":
        yield collection, {"tables": {"warehouse": str(folder / "warehouse")}, "index": {"root": str(folder / "index")}}
        return
    from im2gps_spark.sample.buckets import make_table_bucket, upload
    from im2gps_spark.sample.objects import serving

    with serving(folder / "s3") as server, environment(server.keys.environment):
        log.info("demo: an S3 server at %s, with an Iceberg REST catalog at %s", server.endpoint, server.catalog)
        count = upload(Path(collection.root), f"{_PHOTOS}/photos", server)
        metadata = [*collection.corpus, collection.uploads]
        for file in metadata:
            upload(Path(file), f"{_PHOTOS}/metadata", server)
        log.info("demo: %d files in %s", count + len(metadata), _PHOTOS)
        make_table_bucket(_TABLES, server)
        *corpus, uploads = (f"{_PHOTOS}/metadata/{Path(file).name}" for file in metadata)
        yield (
            replace(collection, root=f"{_PHOTOS}/photos", corpus=corpus, uploads=uploads),
            {
                "s3": {"endpoint": server.endpoint},
                "tables": {"warehouse": f"s3://{_TABLES}", "catalog": server.catalog, "signing": "s3tables"},
                "index": {"root": _INDEX, "cache": str(folder / "cache")},
            },
        )


def _toml(folder: Path, collection: Collection, places: Sections) -> str:
    truth = str(folder / "truth.csv")
    sections: Sections = {
        "photos": {"root": collection.root, "key": collection.key, "metadata": collection.corpus},
        **places,
        # The photos are judged: their owners' other photos would give them away.
        "geolocate": {"exclude_same_owner": True},
        "tune": {"page": str(folder / "tuning" / "index.html")},
        "evaluate": {"truth": truth, "page": str(folder / "evaluation" / "index.html")},
        "atlas": {"folder": str(folder / "atlas"), "truth": truth},
    }
    lines = ["# Written by `im2gps demo`. Run a stage again: im2gps STAGE --config THIS_FILE"]
    for name, keys in sections.items():
        # What JSON makes of text, truth and lists of them is TOML, too.
        lines += [f"\n[{name}]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in keys.items())]
    return "\n".join(lines) + "\n"
