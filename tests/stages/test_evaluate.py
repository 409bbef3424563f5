"""evaluate on a corpus that knows where one owner lives: the leak is there in production, and gone when judged."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from pyspark.sql import SparkSession

from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.prior import UNIFORM_SHARE
from im2gps_spark.store.tables import EVALUATIONS
from tests.stages import Sample, Workshop, line

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

HOME = (-20.0, -100.0)
AT_HOME, ELSEWHERE, KNOWN, NEW = 30, 60, 4, 3


@pytest.fixture(scope="module")
def town(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """One owner's photos at home, 30 in the corpus and 4 uploads; 60 and 3 of others all over."""
    folder = tmp_path_factory.mktemp("town")
    rng = np.random.default_rng(0)
    places = np.degrees(np.column_stack([np.arcsin(rng.uniform(-1, 1, 99)), rng.uniform(-np.pi, np.pi, 99)]))
    corpus = [line(i, "home@N00", *HOME) for i in range(1, AT_HOME + 1)]
    corpus += [line(100 + i, f"{i}@N00", *places[i]) for i in range(ELSEWHERE)]
    uploads = [line(200 + i, "home@N00", *HOME) for i in range(KNOWN)]
    uploads += [line(300 + i, f"{300 + i}@N00", *places[ELSEWHERE + i]) for i in range(NEW)]
    ids = [int(text.split("\t")[1]) for text in corpus + uploads]
    pictures = [sample.folder / "photos" / "images" / f"{p.photo_id}.jpg" for p in sample.plan.corpus.good]
    for photo_id, picture in zip(ids, pictures, strict=False):
        shutil.copy(picture, folder / f"{photo_id}.jpg")
    workshop = Workshop.opened(
        folder,
        photos={"root": str(folder)},
        describe={"descriptors": ["lite0"]},
        geolocate={"exclude_same_owner": True, "night": "2026-11-23"},
        evaluate={"page": str(folder / "evaluation" / "index.html"), "bootstrap": 50},
    )
    for collection, some in (("corpus", corpus), ("uploads", uploads)):
        (folder / f"{collection}.tsv").write_text("".join(some))
        workshop.run("ingest", f"photos.collection={collection}", f"photos.metadata={folder}/{collection}.tsv")
    for stage in ("describe", "train", "build", "geolocate"):
        workshop.run(stage)
    return workshop


def judged(town: Workshop, *overrides: str) -> dict[tuple[str, str, str], float]:
    assert town.run("evaluate", *overrides).count(Status.OK) == KNOWN + NEW
    return {(row["engine"], row["stratum"], row["metric"]): row["value"] for row in town.rows(EVALUATIONS)}


def test_owners_who_count_as_new_leave_the_prior(town):
    leaking = judged(town, "geolocate.exclude_same_owner=false", "evaluate.page=")
    assert not (town.folder / "evaluation").exists()  # no page was asked for
    honest = judged(town)
    known, new = "known owners", "new owners"
    # Nobody else is near: without the owner hardly more than the prior's uniform part is left there.
    assert leaking["prior", known, "nll"] < honest["prior", known, "nll"] - 2.0
    assert leaking["im2gps", known, "nll"] < honest["im2gps", known, "nll"] - 1.0
    assert 2.0 < honest["prior", known, "nll"] < -np.log(UNIFORM_SHARE / (4.0 * np.pi)) + 0.01
    # The others' prior is the whole corpus', and so are their answers.
    for engine in ("prior", "im2gps", "knn120"):
        assert honest[engine, new, "nll"] == pytest.approx(leaking[engine, new, "nll"])
    page = (town.folder / "evaluation" / "index.html").read_text("utf-8")
    assert "not in the prior" in page


def test_of_one_owner_there_is_no_interval(town):
    judged(town)
    rows = town.rows(EVALUATIONS, "stratum = 'known owners' AND engine = 'im2gps'")
    assert {row["n"] for row in rows} == {KNOWN}
    assert {row["low"] for row in rows} == {None}
    assert all(row["low"] is not None for row in town.rows(EVALUATIONS, "stratum = 'all' AND metric = 'nll'"))
