"""Describing in several goes: what is done stays done, what failed for good stays so, what may pass is tried again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.photos.decode import decode
from im2gps_spark.photos.fingerprint import fingerprint
from im2gps_spark.photos.reasons import Status
from im2gps_spark.store.tables import DESCRIPTORS, OUTCOMES, PHOTOS, PICTURES, RUNS
from tests.stages import Sample, Workshop, line

BROKEN_DISK = Path("/proc/self/mem")  # opens, and fails with EIO when it is read

pytestmark = [
    pytest.mark.spark,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not BROKEN_DISK.exists(), reason="this system has no file that fails when it is read"),
]

# What people call their folders; Hadoop, glob patterns, URIs, TOML and templates each have their own view of them.
ODD = "Фото d'été #1, 100% [neu] {x} a+b & `c`?"
KEY = "à l'envers %20/{photo_id} #*.jpg"
GOOD, GONE, UNREADABLE = (1, 2, 3, 4), 5, 6


@dataclass(frozen=True)
class Album:
    """Six photos in an oddly named folder: four good ones, one that is missing, and one on a broken disk."""

    workshop: Workshop
    photos: Path

    def file(self, photo_id: int) -> Path:
        return self.photos / KEY.format(photo_id=photo_id)

    def vectors(self) -> dict[tuple[int, str], dict[str, Any]]:
        """The rows of ``descriptors``, refused if a photo has two of a kind."""
        rows = self.workshop.rows(DESCRIPTORS)
        found = {(row["photo_id"], row["descriptor"]): row for row in rows}
        assert len(found) == len(rows)
        return found

    def outcome(self, photo_id: int) -> tuple[str, str | None]:
        """What became of a photo in describe, refused if two things did."""
        (row,) = self.workshop.rows(OUTCOMES, f"stage = 'describe' AND photo_id = {photo_id}")
        return row["status"], row["reason"]


@pytest.fixture(scope="module")
def album(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Album:
    """Described once. Tests mind their own photos, and leave the others as they are."""
    folder = tmp_path_factory.mktemp("album") / ODD
    photos = folder / "photos"
    photos.mkdir(parents=True)
    (photos / "meta #1.tsv").write_text("".join(line(i, f"{i}@N00", 10.0 * i, 20.0 * i) for i in range(1, 7)))
    workshop = Workshop.opened(
        folder,
        photos={"root": str(photos), "key": KEY, "metadata": [str(photos / "meta #1.tsv")]},
        describe={"descriptors": ["gist", "lite0"]},
    )
    made = Album(workshop, photos)
    good = (sample.folder / "photos" / "images" / f"{p.photo_id}.jpg" for p in sample.plan.corpus.good)
    made.file(1).parent.mkdir()
    for photo_id, picture in zip(GOOD, good, strict=False):
        shutil.copy(picture, made.file(photo_id))
    made.file(UNREADABLE).symlink_to(BROKEN_DISK)
    workshop.run("ingest")
    workshop.run("describe")
    return made


def test_folders_and_keys_may_have_any_name(album):
    uris = {row["photo_id"]: row["uri"] for row in album.workshop.rows(PHOTOS)}
    assert uris[1] == str(album.file(1))
    assert {photo_id for photo_id, _ in album.vectors()} >= set(GOOD)
    assert (album.workshop.folder / "warehouse" / "im2gps" / "photos").is_dir()


def test_each_photo_is_done_failed_or_to_be_tried_again(album):
    (run,) = album.workshop.rows(RUNS, "stage = 'describe' AND rows_in = 6")
    assert (run["rows_ok"], run["rows_rejected"], run["rows_retry"]) == (4, 1, 1)
    assert {album.outcome(photo_id) for photo_id in GOOD} == {("ok", None)}
    assert album.outcome(GONE) == ("rejected", "missing_file")


def test_a_photo_that_failed_for_good_stays_rejected(album):
    shutil.copy(album.file(1), album.file(GONE))
    album.workshop.run("describe")
    assert album.outcome(GONE) == ("rejected", "missing_file")
    assert (GONE, "gist") not in album.vectors()


def test_a_failure_that_may_pass_is_tried_again(album):
    assert album.outcome(UNREADABLE) == ("retry", "read_failed")
    assert album.workshop.run("describe").outcomes == {("retry", "read_failed"): 1}
    assert album.outcome(UNREADABLE) == ("retry", "read_failed")

    album.file(UNREADABLE).unlink()
    shutil.copy(album.file(1), album.file(UNREADABLE))
    assert album.workshop.run("describe").outcomes == {("ok", None): 1}
    assert album.outcome(UNREADABLE) == ("ok", None)
    assert {(UNREADABLE, "gist"), (UNREADABLE, "lite0")} <= set(album.vectors())


def test_lost_vectors_are_computed_again_and_only_those(album):
    before = album.vectors()
    album.workshop.delete(DESCRIPTORS, "(photo_id = 1 AND descriptor = 'gist') OR photo_id = 2")
    album.workshop.run("describe")
    after = album.vectors()
    assert set(after) == set(before)
    assert all(after[key]["vector"] == before[key]["vector"] for key in before)
    changed = {key for key in before if after[key]["run_id"] != before[key]["run_id"]}
    assert changed == {(1, "gist"), (2, "gist"), (2, "lite0")}


def test_a_run_that_was_killed_between_its_two_commits_is_healed(album):
    """Vectors are committed before the outcomes: of photos 3 and 4 the outcomes are missing, of 4 a vector too."""
    before = album.vectors()
    album.workshop.delete(OUTCOMES, "stage = 'describe' AND photo_id IN (3, 4)")
    album.workshop.delete(DESCRIPTORS, "photo_id = 4 AND descriptor = 'lite0'")
    tally = album.workshop.run("describe")
    after = album.vectors()
    assert tally.count(Status.OK) >= 2
    assert album.outcome(3) == album.outcome(4) == ("ok", None)
    assert set(after) == set(before)
    assert {key for key in before if after[key]["run_id"] != before[key]["run_id"]} == {(4, "lite0")}


def pictures(album: Album) -> dict[int, dict[str, Any]]:
    """The rows of ``pictures``, refused if a photo has two."""
    rows = album.workshop.rows(PICTURES)
    found = {row["photo_id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def test_a_photo_has_the_fingerprint_of_its_file(album):
    for photo_id in GOOD:
        row, data = pictures(album)[photo_id], album.file(photo_id).read_bytes()
        made = fingerprint(data, decode(data))
        assert (row["sha256"], row["perceptual"]) == (made.sha256, made.perceptual)
        assert (row["width"], row["height"]) == (made.width, made.height)
    assert GONE not in pictures(album)


def test_a_run_that_was_killed_between_vectors_and_fingerprints_is_healed(album):
    """Of photo 2 there are vectors alone."""
    before, vectors = pictures(album), album.vectors()
    album.workshop.delete(PICTURES, "photo_id = 2")
    album.workshop.delete(OUTCOMES, "stage = 'describe' AND photo_id = 2")
    album.workshop.run("describe")
    after = pictures(album)
    assert {i: {**row, "run_id": ""} for i, row in after.items()} == {i: {**r, "run_id": ""} for i, r in before.items()}
    assert {i for i in after if after[i]["run_id"] != before[i]["run_id"]} == {2}
    assert album.vectors() == vectors
    assert album.outcome(2) == ("ok", None)


def test_photos_that_an_earlier_version_described_get_their_fingerprints(album):
    """It wrote vectors and outcomes alone."""
    vectors, before = album.vectors(), pictures(album)
    album.workshop.delete(PICTURES, "true")
    assert album.workshop.run("describe").count(Status.OK) == len(before)
    assert set(pictures(album)) == set(before)
    assert album.vectors() == vectors


def test_a_photo_of_two_collections_is_tried_again_once(album, tmp_path):
    """It failed as an upload, then joined the corpus, where it failed again: it is one photo all the same."""
    lost = album.photos / "7.jpg"
    lost.symlink_to(BROKEN_DISK)
    (tmp_path / "one.tsv").write_text(line(7, "7@N00", 1.0, 2.0))
    workshop = Workshop.opened(
        tmp_path,
        photos={"root": str(album.photos), "metadata": [str(tmp_path / "one.tsv")]},
        describe={"descriptors": ["gist"]},
    )
    for collection in ("uploads", "corpus"):
        workshop.run("ingest", f"photos.collection={collection}")
        assert workshop.run("describe").outcomes == {("retry", "read_failed"): 1}
    lost.unlink()
    shutil.copy(album.file(1), lost)
    assert workshop.run("describe").outcomes == {("ok", None): 1}
    assert [row["photo_id"] for row in workshop.rows(DESCRIPTORS)] == [7]
    assert workshop.run("describe").rows_in == 0
