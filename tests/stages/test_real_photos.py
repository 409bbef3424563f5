"""The road on real photos, where there are some: a part of them, with a tenth of its owners held out."""

from __future__ import annotations

import csv
import math
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.own_photos import find_key, hold_out
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages import ROAD
from im2gps_spark.stages.run import Tally
from im2gps_spark.store.tables import EVALUATIONS, NEIGHBOURS, OUTCOMES, PHOTOS, POSTERIORS
from tests.stages import Workshop, map_of

PHOTOS_FOLDER = Path(__file__).parents[3] / "shared" / "photos"
METADATA = PHOTOS_FOLDER / "yfcc100m.tsv"
LINES = 600

pytestmark = [
    pytest.mark.spark,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not METADATA.is_file(), reason=f"no real photos to test on: {METADATA} is not there"),
]


@pytest.fixture(scope="module")
def real(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workshop, dict[str, Tally], int]:
    """A workshop in which every stage has run, what each gave back, and how many photos were held out.

    One descriptor will do: decoding is most of the time, and both were run on the sample.
    """
    folder = tmp_path_factory.mktemp("real")
    part = folder / "part.tsv"
    part.write_bytes(b"".join(METADATA.read_bytes().splitlines(keepends=True)[:LINES]))
    held = hold_out(str(part), folder)
    truth = str(folder / "truth.csv")
    workshop = Workshop.opened(
        folder,
        photos={
            "root": str(PHOTOS_FOLDER),
            "key": find_key(PHOTOS_FOLDER, str(part)),
            "metadata": [str(held.corpus)],
        },
        describe={"descriptors": ["lite0"]},
        geolocate={"exclude_same_owner": True, "night": "2026-11-23"},
        evaluate={"truth": truth, "bootstrap": 100},
        atlas={"truth": truth, "photos": 6},
    )
    tallies = {
        "ingest corpus": workshop.run("ingest"),
        "ingest uploads": workshop.run("ingest", "photos.collection=uploads", f"photos.metadata={held.uploads}"),
    }
    tallies |= {name: workshop.run(name) for name in ROAD if name != "ingest"}
    return workshop, tallies, held.counts[0]


def test_no_photo_is_lost(real):
    workshop, tallies, held = real
    corpus, uploads = tallies["ingest corpus"], tallies["ingest uploads"]
    assert corpus.rows_in + uploads.rows_in == LINES
    assert tallies["describe"].rows_in == corpus.count(Status.OK) + uploads.count(Status.OK)
    assert tallies["geolocate"].rows_in == uploads.count(Status.OK) == held
    described = Counter(row["status"] for row in workshop.rows(OUTCOMES, "stage = 'describe'"))
    assert described.total() == tallies["describe"].rows_in
    assert len(workshop.rows(POSTERIORS)) == tallies["geolocate"].count(Status.OK) > 30
    assert all(tally.count(Status.RETRY) == 0 for tally in tallies.values())


def test_uploads_come_without_geotags_and_get_maps(real):
    workshop, _, _ = real
    assert {row["latitude"] for row in workshop.rows(PHOTOS, "collection = 'uploads'")} == {None}
    for row in workshop.rows(POSTERIORS):
        assert abs(map_of(row).mass.sum() - 1.0) < 1e-6


def test_no_owner_is_on_both_sides(real):
    workshop, _, _ = real
    with (workshop.folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        held = {row["owner_id"] for row in csv.DictReader(file)}
    photos = {row["photo_id"]: row for row in workshop.rows(PHOTOS)}
    assert held == {row["owner_id"] for row in photos.values() if row["collection"] == "uploads"}
    assert not held & {photos[row["neighbour_id"]]["owner_id"] for row in workshop.rows(NEIGHBOURS)}


def test_the_answers_are_judged(real):
    workshop, _, held = real
    rows = workshop.rows(EVALUATIONS, "stratum = 'all' AND metric = 'nll'")
    nll = {row["engine"]: row["value"] for row in rows}
    assert {row["n"] for row in rows} == {held}
    assert all(math.isfinite(value) for value in nll.values())
    assert nll["im2gps"] < nll["uniform"]
    assert (workshop.folder / "atlas" / "index.html").stat().st_size > 100_000
    assert (workshop.folder / "evaluation" / "index.html").stat().st_size > 20_000
