"""Nights: what is new is located once, judged as if unknown, and only then part of the corpus; whatever breaks."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.library import AT_WORK, Library
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.stages import nightly as stage
from im2gps_spark.stages.run import Tally
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.folder import folder_at
from im2gps_spark.store.lease import only_one
from im2gps_spark.store.settings import S3Settings
from im2gps_spark.store.tables import (
    DESCRIPTORS,
    EVALUATIONS,
    NEIGHBOURS,
    OUTCOMES,
    PHOTOS,
    POSTERIORS,
    PRIORS,
)
from tests.stages import Sample, Workshop, line

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

FIRST, SECOND, THIRD = "2026-11-20", "2026-11-21", "2026-11-22"
KEPT = (PHOTOS, OUTCOMES, DESCRIPTORS, NEIGHBOURS, POSTERIORS, EVALUATIONS, PRIORS)


@dataclass(frozen=True)
class Town:
    """A corpus with its index, and uploads that arrive in a folder: half of the sample's, all but one with geotags."""

    workshop: Workshop
    uploads: list[tuple[int, str, float, float]]

    @classmethod
    def built(cls, folder: Path, sample: Sample) -> Town:
        folder.mkdir(parents=True)
        photos = sample.folder / "photos"
        arriving = folder / "arriving"
        arriving.mkdir()
        workshop = Workshop.opened(
            folder,
            photos={
                "root": str(photos),
                "key": "images/{photo_id}.jpg",
                "metadata": [str(arriving)],
            },
            describe={"descriptors": ["gist"]},
            index={"descriptor": "gist", "root": str(folder / "index")},
            evaluate={"bootstrap": 50, "page": str(folder / "evaluation.html")},
            nightly={"folder": str(folder / "nightly")},
        )
        workshop.run("ingest", f"photos.metadata={json.dumps([str(photos / 'corpus-old.tsv')])}")
        for name in ("describe", "train", "build"):
            workshop.run(name)
        with (sample.folder / "truth.csv").open() as file:
            truth = [
                (int(r["photo_id"]), r["owner_id"], float(r["latitude"]), float(r["longitude"]))
                for r in csv.DictReader(file)
            ]
        return cls(workshop, truth)

    def arrive(self, name: str, *which: int) -> set[int]:
        """Lines of metadata for some uploads; returns their ids."""
        some = [self.uploads[i] for i in which]
        file = self.workshop.folder / "arriving" / f"{name}.tsv"
        file.write_text("".join(line(photo, owner, *place) for photo, owner, *place in some), "utf-8")
        return {photo for photo, *_ in some}

    def night(self, date: str, *overrides: str) -> Tally:
        return self.workshop.run("nightly", f"geolocate.night={date}", *overrides)

    def answers(self, date: str) -> set[int]:
        return {row["photo_id"] for row in self.workshop.rows(POSTERIORS, f"night = DATE '{date}'")}

    def corpus(self) -> set[int]:
        return {row["photo_id"] for row in self.workshop.rows(PHOTOS, "collection = 'corpus' AND status = 'ok'")}

    def version(self) -> str:
        return Library(self.workshop.folder / "index").current().index_version

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """All that a night may change, without when it was and who did it."""
        return {table.name: self.workshop.plain(table) for table in KEPT}


@pytest.fixture(scope="module")
def town(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Town:
    """Two nights have passed; tests go on from there."""
    made = Town.built(tmp_path_factory.mktemp("town") / "town", sample)
    made.arrive("one", *range(0, 12))
    made.night(FIRST)
    return made


def test_a_night_in_all_its_steps(town):
    first = {photo for photo, *_ in town.uploads[:12]}
    described = {r["photo_id"] for r in town.workshop.rows(DESCRIPTORS)}
    assert town.answers(FIRST) == first & described
    assert town.corpus() >= first & described

    # Each was judged by an index that did not hold it.
    judged = town.workshop.rows(EVALUATIONS, f"night = DATE '{FIRST}' AND engine = 'im2gps'")
    (counted,) = (row for row in judged if (row["stratum"], row["metric"]) == ("all", "nll"))
    assert counted["n"] == len(first & described)
    before = counted["index_version"]
    assert before != town.version()
    near = {r["neighbour_id"] for r in town.workshop.rows(NEIGHBOURS)}
    assert not near & first
    index = Library(town.workshop.folder / "index").current()
    assert sum(index.rows) == len(town.corpus() & described)

    drift = {row["metric"]: row["value"] for row in judged if row["stratum"] == "index"}
    assert set(drift) == {"coarse_drift", "code_drift"}
    assert all(0.2 < value < 5.0 for value in drift.values())
    report = (town.workshop.folder / "nightly" / f"{FIRST}.txt").read_text("utf-8")
    assert f"Night {FIRST} of uploads: {len(first & described)} photos located" in report
    for word in (
        "ingest",
        "describe",
        "geolocate",
        "evaluate",
        "join",
        "extend",
        "within 200 km",
        "Drift of the index",
    ):
        assert word in report
    assert (town.workshop.folder / "nightly" / f"{FIRST}.html").exists()


def test_the_same_night_twice_and_a_night_without_uploads_change_nothing(town):
    before, files = town.tables(), town.workshop.files()
    tally = town.night(FIRST)
    assert tally.rows_in == len(town.answers(FIRST))
    assert town.tables() == before
    report = f"nightly/{FIRST}.txt"
    assert town.workshop.files()[report] == files[report]

    assert town.night("2026-11-19").rows_in == 0
    assert town.tables() == before
    empty = town.workshop.folder / "empty"
    empty.mkdir(exist_ok=True)
    assert town.night("2026-11-19", f"photos.metadata={json.dumps([str(empty)])}").rows_in == 0
    with pytest.raises(UsageError, match=r"there is no file or folder .*mistyped"):
        town.night("2026-11-19", f"photos.metadata={json.dumps([str(empty), 'mistyped'])}")
    assert town.tables() == before


def test_late_arrivals_belong_to_the_night_that_finds_them(town):
    first = town.answers(FIRST)
    late = town.arrive("late arrivals of the first day", 12, 13)
    fresh = town.arrive("two", *range(14, 20))
    town.night(SECOND)
    described = {r["photo_id"] for r in town.workshop.rows(DESCRIPTORS)}
    assert town.answers(SECOND) == (late | fresh) & described
    assert town.answers(FIRST) == first
    rows = town.workshop.rows(POSTERIORS)
    assert len({(r["photo_id"], r["engine"]) for r in rows}) == len(rows)
    report = (town.workshop.folder / "nightly" / f"{SECOND}.txt").read_text("utf-8")
    assert "last 4 weeks" in report


def test_a_photo_without_a_place_is_located_and_does_not_join(town):
    photo, owner, *_ = town.uploads[20]
    (town.workshop.folder / "arriving" / "three.tsv").write_text(line(photo, owner), "utf-8")
    tally = town.night(THIRD)
    assert tally.outcomes == {(Status.REJECTED, Reason.MISSING_GEOTAG): 1}
    assert town.answers(THIRD) == {photo}
    assert photo not in town.corpus()
    report = (town.workshop.folder / "nightly" / f"{THIRD}.txt").read_text("utf-8")
    assert "No photo of this night could be judged" in report


def test_a_second_at_once_is_refused_with_a_clear_line(town):
    root = folder_at(town.workshop.folder / "index", S3Settings(), Cache())
    before = town.tables()
    with (
        only_one(root, AT_WORK),
        pytest.raises(StageError, match=r"AT_WORK is held by process \d+ on .*: let it finish"),
    ):
        town.night(SECOND)
    assert town.tables() == before


def test_without_an_index_it_says_so(spark, sample, tmp_path):
    photos = sample.folder / "photos"
    (tmp_path / "one.tsv").write_text(line(1, "1@N00", 1.0, 2.0))
    workshop = Workshop.opened(
        tmp_path,
        photos={"root": str(photos), "key": "images/{photo_id}.jpg", "metadata": [str(tmp_path / "one.tsv")]},
        describe={"descriptors": ["gist"]},
        index={"descriptor": "gist", "root": str(tmp_path / "index")},
    )
    with pytest.raises(UsageError, match="run build first"):
        workshop.run("nightly", f"geolocate.night={FIRST}")


STEPS = ("ingest", "describe", "geolocate", "evaluate", "keep_drift", "join_corpus", "extend", "night_report")


def test_a_night_that_was_killed_is_finished_by_running_it_again(spark, sample, tmp_path, monkeypatch):
    """Killed after each of its steps in turn, and run again each time: each step is a commit or nothing."""
    undisturbed, killed = (Town.built(tmp_path / name, sample) for name in ("undisturbed", "killed"))
    for town in (undisturbed, killed):
        town.arrive("one", *range(6))
    undisturbed.night(FIRST)
    for step in STEPS:
        with monkeypatch.context() as patch:
            patch.setattr(stage, step, killed_after(getattr(stage, step)))
            with pytest.raises(KeyboardInterrupt):
                killed.night(FIRST)
    killed.night(FIRST)
    assert in_place(killed) == in_place(undisturbed)


def killed_after(step: Callable[..., Any]) -> Callable[..., Any]:
    def killed(*given: Any, **named: Any) -> None:
        step(*given, **named)
        raise KeyboardInterrupt

    return killed


def in_place(town: Town) -> dict[str, list]:
    """The tables, with the folder's name out of them."""
    text = json.dumps(town.tables(), default=str).replace(str(town.workshop.folder), "FOLDER")
    rows: dict[str, list] = json.loads(text)
    return rows
