"""tune on a small index: what it measures is what geolocate then does, and an index that grows keeps the setting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.errors import UsageError
from im2gps_spark.index import tuning
from im2gps_spark.index.library import Library
from im2gps_spark.index.manifest import MANIFEST, Manifest
from im2gps_spark.index.recall import Recall
from im2gps_spark.photos.reasons import Status
from im2gps_spark.store.tables import NEIGHBOURS, OUTCOMES, PHOTOS, POSTERIORS
from tests.stages import Sample, Workshop

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

# Untuned, three times so many of each shard are re-ranked: all there are.
K, NEIGHBOURS_WANTED = 10, 80


@pytest.fixture(scope="module")
def shop(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """An index of a part of the sample, several lists in two shards; the uploads are asked, and located."""
    folder, photos = tmp_path_factory.mktemp("tune"), sample.folder / "photos"
    workshop = Workshop.opened(
        folder,
        photos={"root": str(photos), "key": "images/{photo_id}.jpg", "metadata": [str(photos / "corpus.tsv.gz")]},
        describe={"descriptors": ["tiny"]},
        index={"descriptor": "tiny", "root": str(folder / "index"), "shards": 2},
        geolocate={
            "k": NEIGHBOURS_WANTED,
            "neighbours_kept": K,
            "exclude_same_owner": True,
            "night": "2026-11-23",
        },
        tune={"k": K, "recall": 0.9, "collection": "uploads", "page": str(folder / "tuning" / "index.html")},
    )
    workshop.run("ingest", "photos.collection=uploads", f"photos.metadata={photos / 'uploads.tsv'}")
    for name in ("ingest", "describe", "train", "build"):
        workshop.run(name)
    return workshop


def library(shop: Workshop) -> Library:
    return Library(shop.folder / "index")


def manifest_file(shop: Workshop) -> Path:
    return shop.folder / "index" / "versions" / library(shop).current().index_version / MANIFEST


def recall_of(manifest: Manifest) -> Recall:
    assert manifest.recall is not None
    return manifest.recall


def located(shop: Workshop) -> tuple[dict[int, list[int]], str]:
    """Each photo's first K neighbours, and the hash of the settings that they were found by."""
    shop.run("geolocate")
    found: dict[int, list[int]] = {}
    for row in sorted(shop.rows(NEIGHBOURS), key=lambda row: row["rank"]):
        found.setdefault(row["photo_id"], []).append(row["neighbour_id"])
    (settings,) = {row["settings"] for row in shop.rows(POSTERIORS)}
    return found, settings


def test_the_table_is_measured_kept_and_drawn_and_searched_by(shop):
    before = library(shop).current()
    assert before.plan["lists"] > 2
    assert before.recall is None
    assert max(before.rows) < 3 * NEIGHBOURS_WANTED
    every, untuned = located(shop)
    tally = shop.run("tune")
    after = library(shop).current()
    recall = recall_of(after)
    assert tally.rows_in == tally.count(Status.OK) == recall.queries > 30
    assert (recall.target, recall.k, recall.neighbours) == (0.9, K, NEIGHBOURS_WANTED)
    assert (recall.collection, recall.measured_on) == ("uploads", after.index_version)
    assert recall.chosen in recall.rows
    assert 0.9 <= recall.chosen.recall < 1.0
    # All lists and photos are among the settings, and find everything.
    last = recall.rows[-1]
    assert (last.nprobe, last.recall, last.codes) == (before.plan["lists"], 1.0, sum(before.rows))
    assert recall.chosen.work_us < last.work_us
    assert after.digest == before.digest
    assert f"{recall.chosen.recall:.4f}" in (shop.folder / "tuning" / "index.html").read_text("utf-8")

    found, tuned = located(shop)
    assert tuned != untuned
    assert set(found) == set(every)
    assert len(found) == recall.queries
    hits = sum(len(set(found[photo]) & set(true)) for photo, true in every.items())
    assert hits / sum(map(len, every.values())) == recall.chosen.recall
    # A second run changes nothing.
    outcomes, written = shop.plain(OUTCOMES), manifest_file(shop).read_bytes()
    assert shop.run("tune").outcomes == tally.outcomes
    assert (shop.plain(OUTCOMES), manifest_file(shop).read_bytes()) == (outcomes, written)


def test_a_promise_that_can_not_be_kept_is_said_and_the_best_is_kept(shop, caplog, monkeypatch):
    monkeypatch.setattr(tuning, "MOST_LISTS", 1)
    page = (shop.folder / "tuning" / "index.html").read_bytes()
    with caplog.at_level("INFO"):
        tally = shop.run("tune", "tune.recall=1", "tune.page=", "tune.queries=7", "tune.collection=")
    recall = recall_of(library(shop).current())
    assert tally.rows_in == recall.queries == 7
    assert (recall.collection, recall.target, recall.chosen.nprobe) == ("corpus", 1.0, 1)
    assert 0.0 < recall.chosen.recall < 1.0
    assert "a recall of 1 is out of reach, the promise does not hold; the best there is: nprobe 1, " in caplog.text
    assert (shop.folder / "tuning" / "index.html").read_bytes() == page


def test_an_index_of_more_photos_by_the_same_training_keeps_the_setting(shop):
    shop.run("tune")
    before = library(shop).current()
    gone = shop.rows(PHOTOS, "status = 'ok' AND collection = 'corpus'")[0]["photo_id"]
    shop.delete(PHOTOS, f"photo_id = {gone}")
    shop.run("build")
    after = library(shop).current()
    assert after.index_version != before.index_version
    assert recall_of(after) == recall_of(before).inherited()
    assert json.loads(manifest_file(shop).read_bytes())["recall"]["rows"] == []
    shop.run("tune")
    assert recall_of(library(shop).current()).measured_on == after.index_version


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("tune.k=81", "tune.k is 81, and geolocate.k, the neighbours that are found at all, 80"),
        ("tune.collection=holidays", "collection 'holidays' has no accepted photo"),
        ("index.descriptor=gist", "is of descriptor tiny"),
    ],
)
def test_what_can_not_be_measured_is_told(shop, override, says):
    before = shop.files()
    with pytest.raises(UsageError, match=says):
        shop.run("tune", override)
    assert shop.files() == before
