"""A standalone Spark cluster of one's own, and the stages on it by spark-submit: for demonstrations and tests."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import im2gps_spark
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.processes import end

log = logging.getLogger(__name__)

_START_S = 60.0
_PACKAGE = Path(im2gps_spark.__file__).parent
_JOBS, _DEFAULTS, _TAGS = (
    _PACKAGE.parent / name for name in ("jobs", "conf/spark-defaults.conf", "conf/negative_tags.txt")
)


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        url: spark://HOST:PORT of its master.
        workers: their processes, each the leader of a group with its executors.
    """

    url: str
    workers: list[subprocess.Popen[bytes]] = field(repr=False)

    def kill_worker(self, number: int) -> None:
        """Kills a worker and its executors as a power cut would."""
        os.killpg(self.workers[number].pid, signal.SIGKILL)


@contextmanager
def standalone(folder: Path, workers: int = 2, cores: int = 1, memory: str = "1g") -> Iterator[Cluster]:
    """A master and workers, each a process of its own with this process' environment; stopped at the end.

    Args:
        folder: for their logs and for what executors write.
        cores, memory: of each worker, for its executors.

    Raises:
        UsageError: they did not start; what they said is in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    url = f"spark://127.0.0.1:{port}"
    master = ["master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"]
    worker = ["worker.Worker", "--host", "127.0.0.1", "--webui-port", "0", "-c", str(cores), "-m", memory]
    running = [_start(folder / "master.log", master)]
    try:
        _wait_for(folder / "master.log", "New state: ALIVE", running[0])
        for number in range(workers):
            words = folder / f"worker-{number}.log"
            running.append(_start(words, [*worker, "--work-dir", str(folder / f"worker-{number}"), url]))
        for number in range(workers):
            _wait_for(folder / f"worker-{number}.log", "Successfully registered with master", running[number + 1])
        yield Cluster(url, running[1:])
    finally:
        for process in reversed(running):
            _stop(process)


def _start(words: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    spark = find_spec("pyspark")  # found, not imported: this process needs no Spark of its own
    if spark is None or spark.origin is None:
        raise UsageError("Spark is not installed: pip install im2gps-spark")
    program = Path(spark.origin).parent / "bin" / "spark-class"
    line = [str(program), f"org.apache.spark.deploy.{arguments[0]}", *arguments[1:]]
    with words.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - our own words
            line, stdout=file, stderr=subprocess.STDOUT, env=_environment(), start_new_session=True
        )


def _environment() -> dict[str, str]:
    """This process' variables, but for those of a session that runs in it."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYSPARK_", "SPARK_"))}
    return ours | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


def _wait_for(words: Path, sign: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        if sign in words.read_text(errors="replace"):
            return
        time.sleep(0.1)
    raise UsageError(f"the cluster did not start within {_START_S:.0f} s; {words} says why")


def _stop(process: subprocess.Popen[bytes]) -> None:
    end(process)
    with suppress(ProcessLookupError):  # executors that outlived their worker
        os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def write_code(path: Path) -> Path:
    """This package as a zip file for spark-submit's --py-files; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_PACKAGE.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, Path(_PACKAGE.name) / file.relative_to(_PACKAGE))
        archive.write(_TAGS, Path(_PACKAGE.name) / "conf" / _TAGS.name)  # as in the wheel
    return path


def run_submitted(folder: Path, file: Path, road: Iterable[tuple[str, Sequence[str]]]) -> None:
    """Runs stages on a cluster of their own: for each, its name and what is changed in the configuration.

    Raises:
        UsageError: this package does not run from a checkout, where the jobs are.
        StageError: a stage failed.
    """
    with standalone(folder) as cluster:
        log.info("cluster: %s, %d workers; logs in %s", cluster.url, len(cluster.workers), folder)
        code = write_code(folder / "im2gps_spark.zip")
        for name, changed in road:
            submit(cluster, code, name, ["--config", str(file), *_set(changed)], folder / f"{name}.log")


def _set(changed: Sequence[str]) -> list[str]:
    return [part for each in changed for part in ("--set", each)]


def submit(cluster: Cluster, code: Path, stage: str, arguments: Sequence[str], words: Path) -> None:
    """One stage by spark-submit in client mode; its lines come here, Spark's own go to a file.

    Args:
        code: as ``write_code`` made it: what runs in the executors, whatever is installed there.

    Raises:
        UsageError, StageError: as ``run_submitted`` does.
    """
    job = _JOBS / f"{stage}.py"
    if not job.exists():
        raise UsageError(f"there is no {job}: the cluster's demonstration runs from a checkout")
    program = shutil.which("spark-submit", path=str(Path(sys.executable).parent))
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.pyspark.python": sys.executable,
        # Some thousand photos on two cores: the 200 partitions that are Spark's default would be all overhead.
        "spark.sql.shuffle.partitions": "4",
    }
    line = [program or "spark-submit", "--master", cluster.url, "--properties-file", str(_DEFAULTS)]
    line += ["--py-files", str(code), *(part for k, v in settings.items() for part in ("--conf", f"{k}={v}"))]
    with words.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [*line, str(job), *arguments], stdout=subprocess.PIPE, stderr=file, env=_environment(), text=True
        )
        assert process.stdout is not None
        last = ""
        for last in process.stdout:
            log.info("%s", last.rstrip().partition(" ")[2] or last.rstrip())
    if process.wait() != 0:
        raise StageError(f"{stage} on the cluster: exit status {process.returncode} ({last.strip()}); see {words}")
