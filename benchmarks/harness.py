"""What every benchmark does with its figures: prints `figure value unit`, and keeps them with machine and commit."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PHOTOS = Path(__file__).parents[2] / "shared" / "photos"
"""Real photos for measurements, where they are at hand."""


def keep(name: str, figures: dict[str, tuple[float, str]]) -> None:
    """Prints figures (name -> value, unit) and writes them to results/NAME.json."""
    for figure, (value, unit) in figures.items():
        print(f"{figure} {value:.6g} {unit}")
    record = {
        "benchmark": name,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu(), "cores": os.cpu_count(), "python": sys.version.split()[0]},
        "commit": _commit(),
        "figures": {figure: {"value": value, "unit": unit} for figure, (value, unit) in figures.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def best_of(work: Callable[[], object], runs: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of some runs, after one that warms up: on a shared machine the least disturbed.

    ``time.process_time`` for a clock leaves out what others on the machine take.
    """
    work()
    times = []
    for _ in range(runs):
        begin = clock()
        work()
        times.append(clock() - begin)
    return min(times)


@contextmanager
def peak_of(words: str, every_s: float = 0.25) -> Iterator[Callable[[], float]]:
    """While it lasts: most resident memory, MiB, that a process below this one ever had, 0 if there was none.

    Linux only; libraries count in each process that has them. What ends between two looks is as big as it was at the
    first of them.

    Args:
        words: what its command line holds.
        every_s: between two looks.
    """
    peak, over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(every_s):
            peak = max([peak, *_peaks_mib(words)])

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: peak
    finally:
        over.set()
        watcher.join()


def _peaks_mib(words: str) -> list[float]:
    parents, found = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        parents[int(folder.name)] = int(state["PPid"])
        if words in command and "VmHWM" in state:
            found[int(folder.name)] = int(state["VmHWM"].split()[0]) / 1024
    return [peak for process, peak in found.items() if _below(process, parents)]


def _below(process: int, parents: dict[int, int]) -> bool:
    while process in parents:
        process = parents[process]
        if process == os.getpid():
            return True
    return False


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=RESULTS.parent
    )
    return found.stdout.strip() or "unknown"
