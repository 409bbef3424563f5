"""The tables' upkeep: fewer files and snapshots, the same rows; and files that nobody knows, if they are old."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.photos.reasons import Status
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import EVALUATIONS, PRIORS, REASONS, RUNS
from tests.stages import Workshop

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

COMMITS = 6
NOW = ("maintain.keep_snapshots_days=0",)
DAY_S = 86_400.0


@dataclass(frozen=True)
class Used:
    """A workshop whose table of priors was written in many small commits."""

    workshop: Workshop

    @property
    def folder(self) -> Path:
        return self.workshop.folder / "warehouse" / "im2gps" / PRIORS.name

    def files(self) -> dict[str, bytes]:
        """Every file of the table."""
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def counts(self) -> dict[str, int]:
        """Rows of the table's own metadata."""
        with self.workshop.lake() as lake:
            names = ("files", "all_data_files", "manifests", "snapshots")
            return {name: lake.spark.table(f"{PRIORS.path}.{name}").count() for name in names}


@pytest.fixture
def used(spark: SparkSession, tmp_path: Path) -> Used:
    workshop = Workshop.opened(tmp_path)
    with workshop.lake() as lake:
        for number in range(COMMITS):
            rows = [(version, number * 10 + n, 0.1) for version in ("v1", "v2") for n in range(3)]
            lake.append(PRIORS, lake.rows(PRIORS, rows).coalesce(1))
    return Used(workshop)


def test_the_rows_stay_and_files_manifests_and_snapshots_become_few(used, caplog):
    rows = used.workshop.rows(PRIORS)
    before = used.counts()
    assert before == {
        "files": 2 * COMMITS,
        "all_data_files": 2 * COMMITS,
        "manifests": COMMITS,
        "snapshots": COMMITS,
    }
    with caplog.at_level(logging.INFO):
        tally = used.workshop.run("maintain", *NOW)
    assert used.workshop.rows(PRIORS) == rows
    # One file for each of two partitions, and no old one that a snapshot keeps.
    assert used.counts() == {"files": 2, "all_data_files": 2, "manifests": 1, "snapshots": 1}
    assert len(list((used.folder / "data").rglob("*.parquet"))) == 2
    assert f"priors: {2 * COMMITS} files, " in caplog.text
    assert f"{COMMITS} snapshots -> 2 files, " in caplog.text
    assert " saved, 0 orphans removed" in caplog.text
    assert (tally.rows_in, tally.count(Status.OK)) == (1, 1)
    (run,) = used.workshop.rows(RUNS)
    assert (run["stage"], run["rows_in"], run["rows_ok"]) == ("maintain", 1, 1)


def test_a_second_run_changes_nothing_and_says_so(used, caplog):
    used.workshop.run("maintain", *NOW)
    files = used.files()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        used.workshop.run("maintain")
    assert used.files() == files
    said = [record.getMessage() for record in caplog.records if record.getMessage().startswith("maintain: ")]
    assert [line.split(";")[0] for line in said[:4]] == [
        "maintain: runs: nothing to do",
        "maintain: reasons: nothing to do",
        "maintain: priors: nothing to do",
        "maintain: in all: nothing to do",
    ]


def test_snapshots_of_the_last_days_are_kept_with_their_files_and_as_many_as_are_asked_for(used):
    used.workshop.run("maintain")
    counts = used.counts()
    assert counts["files"] == 2
    assert counts["snapshots"] > COMMITS
    assert counts["all_data_files"] >= 2 * COMMITS + 2
    with used.workshop.lake() as lake:
        first = lake.spark.table(f"{PRIORS.path}.snapshots").orderBy("committed_at").first()
        assert first is not None
        then = lake.spark.sql(f"SELECT * FROM {PRIORS.path} VERSION AS OF {first['snapshot_id']}")
        assert then.count() == 6
    used.workshop.run("maintain", *NOW, "maintain.keep_snapshots=3")
    assert used.counts()["snapshots"] == 3


def test_few_small_files_are_left_alone_and_tables_that_are_not_there_are_not_made(used):
    files = used.files()
    used.workshop.run("maintain", f"maintain.min_input_files={COMMITS + 1}")
    assert used.files() == files
    assert {path.name for path in used.folder.parent.iterdir()} == {PRIORS.name, RUNS.name, REASONS.name}


def test_old_orphans_go_and_recent_files_stay(used: Used, caplog):
    def put(name: str, days: float) -> Path:
        file = used.folder / "data" / name
        file.write_bytes(b"from a write that was killed")
        os.utime(file, (time.time() - days * DAY_S,) * 2)
        return file

    old, recent = put("old.parquet", 3.1), put("recent.parquet", 2.9)
    with caplog.at_level(logging.INFO):
        used.workshop.run("maintain")
    assert (old.exists(), recent.exists()) == (False, True)
    assert ", 1 orphans removed" in caplog.text
    assert len(used.workshop.rows(PRIORS)) == 6 * COMMITS
    used.workshop.run("maintain", "maintain.keep_orphans_days=2")
    assert not recent.exists()


def test_a_table_without_a_row_is_no_obstacle(spark, tmp_path):
    workshop = Workshop.opened(tmp_path)
    with workshop.lake() as lake:
        assert Lake(lake.spark).read(EVALUATIONS).count() == 0
    assert workshop.run("maintain", *NOW).rows_in == 1


def test_an_empty_warehouse_has_nothing_to_do(spark, tmp_path):
    assert Workshop.opened(tmp_path).run("maintain").rows_in == 0
