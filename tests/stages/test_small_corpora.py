"""Corpora of one, two and three photos, and one without a place: answers, or one clear line, and never a crash."""

from __future__ import annotations

import shutil

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.errors import UsageError
from im2gps_spark.photos.reasons import Status
from im2gps_spark.store.tables import NEIGHBOURS, POSTERIORS
from tests.stages import Sample, Workshop, line, map_of

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def shelf(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Collections ``one``, ``two`` and ``three`` of as many photos, the first of them the same; ``placeless`` of three
    others that have no geotags. All are described."""
    folder = tmp_path_factory.mktemp("shelf")
    pictures = [sample.folder / "photos" / "images" / f"{p.photo_id}.jpg" for p in sample.plan.corpus.good]
    for photo_id, picture in zip(range(1, 7), pictures, strict=False):
        shutil.copy(picture, folder / f"{photo_id}.jpg")
    some = [
        line(i, f"{i}@N00", *place, license=f"licence {i}")
        for i, place in enumerate([(10.0, 179.9), (-90.0, 0.0), (50.0, 5.0)], 1)
    ]
    lines = {
        "one": some[:1],
        "two": some[:2],
        "three": some,
        "placeless": [line(4, "1@N00"), line(5, "2@N00"), line(6, "3@N00")],
    }
    workshop = Workshop.opened(folder, photos={"root": str(folder)}, describe={"descriptors": ["lite0"]})
    for collection, some in lines.items():
        (folder / f"{collection}.tsv").write_text("".join(some))
        named = [f"photos.collection={collection}", f"photos.metadata={folder}/{collection}.tsv"]
        # A collection that is to be located needs no geotags.
        workshop.run("ingest", *named, f"geolocate.collection={collection}")
    workshop.run("describe")
    return workshop


@pytest.mark.parametrize(("collection", "photos"), [("one", 1), ("two", 2), ("three", 3)])
def test_a_corpus_of_very_few_photos_gives_answers(shelf, tmp_path, collection, photos):
    corpus = [f"index.collection={collection}", f"index.root={tmp_path}", "geolocate.collection=three"]
    for stage in ("train", "build", "calibrate", "geolocate"):
        tally = shelf.run(stage, *corpus)
        assert tally.count(Status.OK) == (3 if stage == "geolocate" else photos)

    answers, neighbours = shelf.rows(POSTERIORS), shelf.rows(NEIGHBOURS)
    assert all(n["license"] == f"licence {n['neighbour_id']}" for n in neighbours)
    assert [row["photo_id"] for row in sorted(answers, key=lambda row: row["photo_id"])] == [1, 2, 3]
    for row in answers:
        assert abs(map_of(row).mass.sum() - 1.0) < 1e-6
        mine = {n["neighbour_id"] for n in neighbours if n["photo_id"] == row["photo_id"]}
        assert mine == set(range(1, photos + 1)) - {row["photo_id"]}  # all of the corpus, but never itself
        assert row["license"] == f"licence {row['photo_id']}"
        if not mine:
            assert row["information_over_prior_bits"] < 0.01  # nothing but where people take photos


def test_a_corpus_without_places_is_refused_in_one_clear_line(shelf, tmp_path):
    with pytest.raises(UsageError, match="'placeless' has no geotagged photo"):
        shelf.run("train", "index.collection=placeless", f"index.root={tmp_path}/index")
    assert not (tmp_path / "index").exists()
