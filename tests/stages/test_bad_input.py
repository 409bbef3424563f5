"""Bad input, through the command: one clear line, the status of the contract, and everything as it was before."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from im2gps_spark.cli import main
from im2gps_spark.errors import StageError
from im2gps_spark.photos.reasons import Status
from im2gps_spark.store.tables import OUTCOMES
from tests.stages import Road, Workshop, line

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _logger() -> Iterator[None]:
    """The command takes over the package's logger; afterwards it is as it was."""
    package = logging.getLogger("im2gps_spark")
    before = package.handlers, package.level, package.propagate
    yield
    package.handlers, package.level, package.propagate = before


@pytest.fixture
def refused(road: Road, capsys: pytest.CaptureFixture[str]):
    """Runs a stage on the road's tables, which must stay as they are; gives back its status and its one line."""

    def run(stage: str, *overrides: str) -> tuple[int, str]:
        before = road.workshop.files()
        arguments = [stage, "--config", str(road.workshop.file)]
        status = main([*arguments, *(part for text in overrides for part in ("--set", text))])
        assert road.workshop.files() == before
        return status, only_line(capsys.readouterr().err)

    return run


def only_line(stderr: str) -> str:
    """The one line that says what is wrong, among lines of progress."""
    assert "Traceback" not in stderr
    said = [text for text in stderr.splitlines() if text.startswith("im2gps: ")]
    assert len(said) == 1, stderr
    assert stderr.splitlines()[-1] == said[0]
    return said[0]


def test_no_folder_of_photos(refused):
    status, said = refused("ingest", "photos.root=/gone/photos")
    assert (status, said) == (2, "im2gps: photos.root: there is no folder /gone/photos")


def test_no_metadata(refused):
    status, said = refused("ingest", "photos.metadata=/gone/meta.tsv")
    assert (status, said) == (2, "im2gps: photos.metadata: there is no file or folder /gone/meta.tsv")


def test_metadata_that_is_no_text(refused, tmp_path):
    (tmp_path / "meta.tsv").write_bytes(b"PAR1\x00\x15\x04\x15\n" * 100)
    status, said = refused("ingest", f"photos.metadata={tmp_path}/meta.tsv")
    assert status == 1
    assert "meta.tsv: is not text; give YFCC100M's tab-separated lines" in said


def test_a_key_that_fits_no_photo(refused):
    status, said = refused("ingest", "photos.key={photo_id}.jpeg")
    assert status == 2
    assert "photos.key '{photo_id}.jpeg' below photos.root fits none of the 20 photos tried" in said


def test_a_key_that_is_unknown(refused):
    status, said = refused("geolocate", "geolocate.neighbors_kept=3")
    assert status == 2
    assert "geolocate.neighbors_kept: no such key" in said


def test_an_index_of_another_descriptor(refused):
    status, said = refused("geolocate", "index.descriptor=gist")
    assert status == 2
    assert "is of descriptor lite0" in said
    assert "index.descriptor is gist" in said
    assert "run train and build" in said


def test_a_training_of_another_descriptor(refused):
    status, said = refused("build", "index.descriptor=gist")
    assert status == 2
    assert "is for descriptor lite0" in said
    assert "run train" in said


@pytest.mark.parametrize(("stage", "mend"), [("build", "train"), ("calibrate", "build"), ("geolocate", "build")])
def test_a_stage_before_the_one_that_it_needs(refused, tmp_path, stage, mend):
    status, said = refused(stage, f"index.root={tmp_path}/empty")
    assert status == 2
    assert f"nothing to use in {tmp_path}/empty; run {mend} first" in said
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("stage", "key"),
    [("train", "index.collection"), ("geolocate", "geolocate.collection"), ("atlas", "geolocate.collection")],
)
def test_a_collection_that_is_unknown(refused, stage, key):
    status, said = refused(stage, f"{key}=holidays")
    assert status == 2
    assert "collection 'holidays' has no accepted photo; there are: corpus, uploads" in said


def test_a_truth_that_is_not_there(refused):
    status, said = refused("evaluate", "evaluate.truth=/gone/truth.csv")
    assert status == 2
    assert "truth /gone/truth.csv: can't be read" in said


def test_a_truth_of_two_places_for_a_photo(road, refused, tmp_path):
    rows = (road.sample.folder / "truth.csv").read_text("utf-8").splitlines()
    (tmp_path / "truth.csv").write_text("\n".join([*rows, rows[1]]), "utf-8")
    status, said = refused("evaluate", f"evaluate.truth={tmp_path}/truth.csv")
    assert status == 2
    assert f"photo {rows[1].split(',')[0]} stands in it more than once" in said


def test_a_night_without_answers(refused):
    status, said = refused("evaluate", "geolocate.night=1999-12-31")
    assert status == 2
    assert "has no posterior of night 1999-12-31; run geolocate" in said


def test_a_shard_that_was_lost(road, refused):
    shard = next((road.workshop.folder / "index").rglob("shard-0001.faiss"))
    hidden = shard.rename(shard.with_suffix(".hidden"))
    try:
        status, said = refused("geolocate", "geolocate.night=2026-11-24")
    finally:
        hidden.rename(shard)
    assert status == 1
    assert "shard-0001.faiss is missing; run build again" in said


def test_photos_that_fail_wholesale(spark, tmp_path):
    """Dozens of photos that can't be read mean a wrong folder or a dying disk: nothing is recorded of them."""
    ids = range(1, 41)
    (tmp_path / "meta.tsv").write_text("".join(line(i, f"{i}@N00", 1.0, 2.0) for i in ids))
    for i in ids:
        (tmp_path / f"{i}.jpg").write_bytes(b"<html>503 Slow Down</html>")
    workshop = Workshop.opened(
        tmp_path,
        photos={"root": str(tmp_path), "metadata": [str(tmp_path / "meta.tsv")]},
        describe={"descriptors": ["gist"]},
    )
    workshop.run("ingest")
    with pytest.raises(StageError, match=r"40 of 40 photos failed.*nothing .* recorded.*not_a_picture 40"):
        workshop.run("describe")
    assert workshop.rows(OUTCOMES, "stage = 'describe'") == []
    assert workshop.run("describe", "describe.max_failure_rate=1").count(Status.REJECTED) == 40


def test_metadata_that_ends_too_early_as_a_shell_sees_it(road, tmp_path):
    """In a process of its own: what Spark says beside it is no page of its stack traces."""
    whole = (road.sample.folder / "photos" / "corpus.tsv.gz").read_bytes()
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    before = road.workshop.files()
    command = Path(sys.executable).with_name("im2gps")
    asked = ["--set", f"photos.metadata={tmp_path}/cut.tsv.gz", "--set", "spark.master=local[1]"]
    run = subprocess.run(
        [command, "ingest", "--config", road.workshop.file, *asked], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stdout == ""
    said = only_line(run.stderr)
    assert f"metadata {tmp_path}/cut.tsv.gz: can't be read to its end" in said
    assert "is the file whole?" in said
    assert len(run.stderr.splitlines()) <= 6, run.stderr
    assert road.workshop.files() == before


def test_a_file_that_only_claims_to_be_packed(refused, tmp_path):
    (tmp_path / "meta.tsv.gz").write_bytes(gzip.compress(b"1\t2\n")[:12] + b"x" * 50)
    status, said = refused("ingest", f"photos.metadata={tmp_path}/meta.tsv.gz")
    assert status == 1
    assert "can't be read to its end" in said
