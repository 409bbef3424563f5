"""An index that goes on from the one before: delta files, the answers of a build at once, nothing read again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.errors import StageError
from im2gps_spark.index.library import Library
from im2gps_spark.index.manifest import MANIFEST, Manifest
from im2gps_spark.photos.reasons import Status
from im2gps_spark.session import session
from im2gps_spark.stages import extend as stage
from im2gps_spark.stages.extend import extend
from im2gps_spark.stages.run import Tally
from im2gps_spark.store.tables import NEIGHBOURS, OUTCOMES, PRIORS
from tests.stages import Sample, Workshop

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]


class Shelf:
    """A workshop with an index of most of the sample's photos, and all of them described."""

    def __init__(self, folder: Path, sample: Sample) -> None:
        folder.mkdir()
        photos = sample.folder / "photos"
        self.workshop = Workshop.opened(
            folder,
            photos={"root": str(photos), "key": "images/{photo_id}.jpg"},
            describe={"descriptors": ["gist"]},
            index={"descriptor": "gist", "root": str(folder / "index"), "max_delta": 1.0},
            geolocate={"k": 200, "neighbours_kept": 200, "calibrated": False, "collection": "corpus"},
        )
        self.ingest(photos / "corpus.tsv.gz")
        for name in ("describe", "train", "build"):
            self.workshop.run(name)
        self.ingest(photos / "corpus-old.tsv")
        self.workshop.run("describe")

    def ingest(self, metadata: Path) -> None:
        self.workshop.run("ingest", f"photos.metadata={json.dumps([str(metadata)])}")

    def extend(self, *overrides: str) -> Tally:
        config = self.workshop.config(*overrides)
        with session(config, "extend") as spark:
            return extend(spark, config)

    @property
    def library(self) -> Library:
        return Library(self.workshop.folder / "index")

    def neighbours(self, night: str) -> list[dict]:
        """Of every photo of the corpus, by the version in use."""
        self.workshop.run("geolocate", f"geolocate.night={night}")
        return self.workshop.plain(NEIGHBOURS)

    def inodes(self, version: str) -> dict[str, int]:
        folder = self.workshop.folder / "index" / "versions" / version
        return {file.name: file.stat().st_ino for file in folder.iterdir()}


@pytest.fixture(scope="module")
def shelf(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return Shelf(tmp_path_factory.mktemp("shelf") / "shelf", sample)


@pytest.fixture(scope="module")
def first(shelf: Shelf) -> Manifest:
    """The version that was built of most photos."""
    return shelf.library.current()


@pytest.fixture(scope="module")
def grown(shelf: Shelf, first: Manifest) -> Manifest:
    """The version with all photos, the later ones in delta files."""
    tally = shelf.extend()
    made = shelf.library.current()
    assert tally.count(Status.OK) == sum(made.rows) > sum(first.rows)
    return made


def test_new_photos_are_in_delta_files_and_the_others_files_are_shared(shelf, first, grown):
    assert grown.index_version != first.index_version
    # A photo that came displaces one of the same moment: the shard that had that one is written anew.
    kept = [shard for shard in range(first.shards) if grown.delta_rows[shard]]
    assert kept
    assert all(grown.rows_of(shard, "base") == first.rows[shard] for shard in kept)
    before, now = shelf.inodes(first.index_version), shelf.inodes(grown.index_version)
    own = {f"shard-{shard:04d}.{kind}" for shard in kept for kind in ("faiss", "arrow")}
    assert {name for name in now if now[name] == before.get(name)} == own | {"trained.faiss"}
    assert shelf.library.calibration(grown.index_version) == shelf.library.calibration(first.index_version)
    done = shelf.workshop.rows(OUTCOMES, f"stage = 'build' AND item = '{grown.index_version}'")
    assert sum(row["status"] == "ok" for row in done) == sum(grown.rows)


def test_again_changes_nothing(shelf, grown):
    files, priors = shelf.workshop.files(), shelf.workshop.plain(PRIORS)
    shelf.extend()
    assert shelf.library.current() == grown
    assert shelf.workshop.plain(PRIORS) == priors
    shards = {name: about for name, about in shelf.workshop.files().items() if name.endswith((".faiss", ".arrow"))}
    assert shards == {name: about for name, about in files.items() if name in shards}


def test_it_finds_what_a_build_at_once_finds(shelf, grown):
    by_parts = shelf.neighbours("2026-11-01")
    assert len(by_parts) > 1000
    shelf.workshop.run("build")
    whole = shelf.library.current()
    assert whole.index_version != grown.index_version
    assert whole.corpus == grown.corpus
    assert sum(whole.delta_rows) == 0
    assert shelf.neighbours("2026-11-02") == by_parts

    # And what it makes of them: the prior is of the corpus, not of its files.
    priors = shelf.workshop.rows(PRIORS)
    of = [[(r["cell"], r["mass"]) for r in priors if r["index_version"] == v.index_version] for v in (grown, whole)]
    assert of[0] == of[1] != []


def test_photos_that_leave_are_in_no_part(shelf, grown):
    shelf.library.use(grown.index_version)
    shelf.extend("ingest.max_photos_per_owner=2")
    fewer = shelf.library.current()
    assert sum(fewer.rows) < sum(grown.rows)
    full = shelf.workshop.rows(
        OUTCOMES, f"stage = 'build' AND item = '{fewer.index_version}' AND reason = 'owner_full'"
    )
    assert sum(grown.rows) - sum(fewer.rows) == len(full)
    indexed = {row["photo_id"] for row in full}
    stored = stage._stored
    with shelf.workshop.lake() as lake:
        folder = shelf.library.version_folder(fewer.index_version)
        ids = {row["photo_id"] for row in stored(lake.spark, fewer, folder).select("photo_id").collect()}
    assert len(ids) == sum(fewer.rows)
    assert not ids & indexed


def test_past_its_share_a_delta_becomes_one_with_the_rest(shelf, first, grown):
    shelf.library.use(first.index_version)
    # The name says what went in, not in which files it is: the version that is there would do.
    shelf.library.root.remove(f"versions/{grown.index_version}")
    shelf.extend("index.max_delta=0.0")
    merged = shelf.library.current()
    assert merged.rows == grown.rows
    assert sum(merged.delta_rows) == 0
    assert not [name for name in merged.files if "delta" in name]
    assert shelf.neighbours("2026-11-03") == shelf.neighbours("2026-11-04")


def test_when_too_much_of_it_would_change_it_is_built(shelf, first, grown, monkeypatch):
    monkeypatch.setattr(stage, "_MOST_CHANGES", 0.01)
    shelf.library.use(first.index_version)
    shelf.library.root.remove(f"versions/{grown.index_version}")
    shelf.extend()
    made = shelf.library.current()
    assert sum(made.delta_rows) == 0
    assert made.rows == grown.rows
    assert made.index_version not in (first.index_version, grown.index_version)


def test_an_index_of_another_format_is_built_anew(shelf, first):
    shelf.library.use(first.index_version)
    folder = shelf.library.version_folder(first.index_version)
    kept = folder.read(MANIFEST)
    folder.write(MANIFEST, json.dumps({**json.loads(kept), "format": 2}).encode())
    try:
        shelf.extend()
        assert shelf.library.current().index_version != first.index_version
    finally:
        folder.write(MANIFEST, kept)


def test_a_changed_file_is_refused_by_name(shelf, grown):
    version = shelf.library.current()
    folder = shelf.library.version_folder(version.index_version)
    name = "shard-0000.arrow"
    kept = folder.read(name)
    folder.write(name, kept + b" ")
    try:
        with pytest.raises(StageError, match=name):
            shelf.extend("ingest.max_photos_per_owner=3")
    finally:
        folder.write(name, kept)
