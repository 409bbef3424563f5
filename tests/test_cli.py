"""The command: exit statuses, and one line on standard error that says what is wrong."""

from __future__ import annotations

import logging
import runpy
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from im2gps_spark import __version__
from im2gps_spark.cli import guarded, main
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.stages import STAGES

JOBS = Path(__file__).parents[1] / "jobs"


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """The command takes over the package's logger; afterwards it is as it was."""
    package = logging.getLogger("im2gps_spark")
    before = package.handlers, package.level, package.propagate
    yield package
    package.handlers, package.level, package.propagate = before


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; nothing is on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert len(err.splitlines()) == 1
    assert err.startswith("im2gps: ")
    return err


# --- configuration ---


@pytest.mark.parametrize("stage", STAGES)
def test_a_wrong_key_is_status_2_and_one_line(capsys, stage):
    assert main([stage, "--set", "photos.colection=a"]) == 2
    assert "photos.colection: no such key; [photos] has collection, " in error_line(capsys)


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_configuration_is_status_2_and_one_line(capsys, tmp_path, stage):
    assert main([stage, "--config", str(tmp_path / "gone.toml")]) == 2
    line = error_line(capsys)
    assert "gone.toml: can't be read" in line
    assert "give a TOML file" in line


def test_all_faults_are_on_the_one_line(capsys, tmp_path):
    file = tmp_path / "some.toml"
    file.write_text('[photos]\nkey = """a\nb"""\n[geolocate]\nk = 0\n')
    assert main(["ingest", "--config", str(file), "--set", "foto.x=1", "--set", "x", "--set", "index.lists=1"]) == 2
    line = error_line(capsys)
    assert [name for name in ("photos.key", "geolocate.k", "foto", "'x'") if name in line] == [
        "photos.key",
        "geolocate.k",
        "foto",
        "'x'",
    ]
    assert "index.lists" not in line


@pytest.mark.parametrize("text", ["photos = [", "\x00", "photos\n=\n3"])
def test_a_broken_configuration_is_status_2_and_one_line(capsys, tmp_path, text):
    (tmp_path / "some.toml").write_text(text)
    assert main(["train", "--config", str(tmp_path / "some.toml")]) == 2
    assert "some.toml: not TOML" in error_line(capsys)


def test_spark_is_not_loaded_before_the_configuration_is_right():
    code = (
        "import sys; from im2gps_spark.cli import main; status = main(['ingest', '--set', 'photos.colection=a']);"
        "assert not {'pyspark', 'py4j', 'faiss', 'cv2', 'onnxruntime'} & set(sys.modules), 'loaded'; sys.exit(status)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)


# --- arguments ---


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], "COMMAND"),
        (["swim"], "'swim'"),
        (["ingest", "--colour", "red"], "--colour red"),
        (["ingest", "--set"], "--set"),
        (["ingest", "--config"], "--config"),
        (["ingest", "extra"], "extra"),
        (["sample"], "DIR"),
        (["sample", "d", "--corpus", "many"], "--corpus"),
        (["export", "--to", "a.fits"], "--photo"),
        (["export", "--photo", "1"], "--to"),
        (["export", "--photo", "one", "--to", "a.fits"], "'one'"),
        (["manifest"], "--to"),
    ],
)
def test_wrong_arguments_are_status_2_and_named(capsys, arguments, names):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert names in err.splitlines()[-1]


def test_an_impossible_sample_is_status_2_and_writes_nothing(capsys, tmp_path):
    assert main(["sample", str(tmp_path / "new"), "--corpus", "-1"]) == 2
    assert "corpus" in error_line(capsys)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_else_is_left_alone(capsys, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    assert main(["sample", str(tmp_path)]) == 2
    assert "thesis.txt" in error_line(capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--to", "a.png"], "--to a.png: must name a file that ends in .fits"),
        (["--to", "a.fits", "--night", "yesterday"], "geolocate.night: Invalid isoformat string: 'yesterday'"),
        (["--to", "a.fits", "--engine", "oracle"], "geolocate.engine: "),
        (["--to", "a.fits", "--set", "geolocate.nite=2026-11-23"], "geolocate.nite: no such key"),
    ],
)
def test_an_export_that_can_t_be_is_status_2_before_spark_starts(capsys, arguments, names):
    assert main(["export", "--photo", "1", *arguments]) == 2
    assert names in error_line(capsys)


def test_an_export_without_astropy_names_the_extra(capsys, monkeypatch):
    for name in ("astropy", "astropy.io"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["export", "--photo", "1", "--to", "a.fits"]) == 2
    assert "pip install 'im2gps-spark[fits]'" in error_line(capsys)


def test_what_is_to_be_forgotten_is_named_by_options_of_its_own(monkeypatch):
    asked = []
    monkeypatch.setattr("im2gps_spark.session.session", lambda *_: nullcontext())
    monkeypatch.setattr("im2gps_spark.cli.stage", lambda _: lambda _, settings: asked.append(settings.forget))
    words = ["--photo", "17", "--owner", "é \\ 1@N0", "--photo", "18", "--file", "[odd]", "--owner", 'a"b@N1']
    assert main(["forget", *words]) == 0
    assert asked[0].model_dump() == {"photos": [17, 18], "owners": ["é \\ 1@N0", 'a"b@N1'], "file": "[odd]"}


def test_a_photo_to_be_forgotten_has_a_number(capsys):
    assert main(["forget", "--photo", "one"]) == 2
    assert "forget.photos" in error_line(capsys)


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert [
        name
        for name in [*STAGES, "sample", "demo", "query", "export", "manifest", "model"]
        if f"    {name}" not in told
    ] == []


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out.strip()) == (0, __version__)


# --- jobs for spark-submit ---


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_job_with_the_same_statuses(capsys, monkeypatch, stage):
    job = JOBS / f"{stage}.py"
    assert len(job.read_text("utf-8").splitlines()) < 40
    monkeypatch.setattr(sys, "argv", [str(job), "--set", "photos.colection=a"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(job), run_name="__main__")
    assert caught.value.code == 2
    assert "photos.colection: no such key" in error_line(capsys)


# --- what work ends with ---


def failing(error: BaseException):
    def work() -> None:
        raise error

    return work


def test_work_that_is_done_is_status_0_and_silent(capsys):
    assert guarded(lambda: None) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UsageError("photos.root is not set"), 2, "im2gps: photos.root is not set\n"),
        (StageError("7 rows were lost"), 1, "im2gps: 7 rows were lost\n"),
        (StageError("two\n  lines\tand tabs"), 1, "im2gps: two lines and tabs\n"),
        (KeyboardInterrupt(), 1, "im2gps: interrupted; what was not committed is as it was\n"),
        (ZeroDivisionError("division\nby zero"), 1, "im2gps: ZeroDivisionError: division (--verbose shows where)\n"),
        (RuntimeError(), 1, "im2gps: RuntimeError: no message (--verbose shows where)\n"),
    ],
)
def test_work_that_fails_is_a_status_and_one_line(capsys, error, status, line):
    assert guarded(failing(error)) == status
    assert capsys.readouterr() == ("", line)


@pytest.mark.parametrize("kind", ["StageError", "UsageError"])
def test_of_an_error_in_a_worker_its_own_line_is_told(capsys, kind):
    wrapped = RuntimeError(
        "An exception was thrown from the Python worker. Please see the stack trace below.\n"
        "Traceback (most recent call last):\n"
        '  File "/x/im2gps_spark/store/lines.py", line 97, in read\n'
        f"    raise {kind}(...) from error\n"
        f"im2gps_spark.errors.{kind}: metadata a.gz: can't be read to its end\n"
        "\tat org.apache.spark.api.python.BasePythonRunner.compute(PythonRunner.scala:1)\n"
    )
    assert guarded(failing(wrapped)) == 1
    assert error_line(capsys) == "im2gps: metadata a.gz: can't be read to its end\n"


def test_verbose_shows_where(capsys):
    assert guarded(failing(StageError("7 rows were lost")), verbose=True) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "in work" in err
    assert err.endswith("im2gps: 7 rows were lost\n")


def test_progress_goes_to_standard_error(capsys, logger):
    assert guarded(lambda: logging.getLogger("im2gps_spark.stages").info("3 of 7")) == 0
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.endswith(" 3 of 7\n")
    assert guarded(lambda: None) == 0
    assert len(logger.handlers) == 1  # not one more a call
