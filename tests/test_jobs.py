"""The jobs, as spark-submit runs them: settings of their own, the same exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from im2gps_spark.stages import STAGES, UPKEEP
from im2gps_spark.store.tables import OUTCOMES, PHOTOS, RUNS
from tests.stages import Sample, Workshop

REPOSITORY = Path(__file__).parents[1]


def test_there_is_a_short_job_for_every_stage_and_no_other():
    jobs = {path.stem: path.read_text("utf-8") for path in (REPOSITORY / "jobs").glob("*.py")}
    assert set(jobs) == {*STAGES, *UPKEEP}
    for stage, text in jobs.items():
        assert len(text.splitlines()) < 40
        assert f'run_job("{stage}")' in text


def submit(job: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The spark-submit of this environment, in a process that inherits nothing from a session that runs here.

    It hands on what a job writes to standard error on its own standard output.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    options: list[str | Path] = [
        "--master",
        "local[1]",
        "--properties-file",
        REPOSITORY / "conf" / "spark-defaults.conf",
    ]
    options += ["--driver-java-options", "-XX:TieredStopAtLevel=1", "--conf", "spark.ui.enabled=false"]  # a quick start
    return subprocess.run(
        [Path(sys.executable).with_name("spark-submit"), *options, REPOSITORY / "jobs" / f"{job}.py", *arguments],
        env=ours | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.spark
@pytest.mark.timeout(300)
def test_a_job_that_is_submitted_does_its_stage(spark, sample: Sample, tmp_path):
    photos = sample.folder / "photos"
    workshop = Workshop.opened(
        tmp_path,
        photos={
            "root": str(photos),
            "key": "images/{photo_id}.jpg",
            "metadata": [str(photos / "corpus-old.tsv")],
        },
    )
    run = submit("ingest", "--config", workshop.file, "--set", "photos.collection=old")
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stdout
    lines = len((photos / "corpus-old.tsv").read_bytes().splitlines())
    assert len(workshop.rows(OUTCOMES)) == lines
    assert {row["collection"] for row in workshop.rows(PHOTOS)} == {"old"}
    assert [(row["stage"], row["rows_in"]) for row in workshop.rows(RUNS)] == [("ingest", lines)]


@pytest.mark.spark
@pytest.mark.timeout(300)
def test_a_wrong_configuration_is_status_2_through_spark_submit(tmp_path):
    run = submit("ingest", "--config", tmp_path / "gone.toml")
    assert run.returncode == 2
    (said,) = run.stdout.splitlines()
    assert said.startswith("im2gps: --config ")
    assert "gone.toml: can't be read" in said
