"""ingest of two million made-up lines, local[2], with a heap of 1 GiB for driver and executor in one: it suffices.

``cost_at_10_times``: time a line by that of a tenth of the lines (goal: 1.1 or less). ``heap_after``: in use when
all is done, without garbage. ``worker_peak`` is resident memory of a Python worker, its libraries included.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from benchmarks.harness import keep, peak_of
from im2gps_spark.config import Config
from im2gps_spark.session import session
from im2gps_spark.stages import stage

FEW, MANY = 200_000, 2_000_000
HEAP = "1g"
_DIGITS = "0123456789abcdef"


def main() -> None:
    """Writes and reads 0.8 GB."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "photos"
        for a in _DIGITS:
            for b in _DIGITS:
                (root / a / b).mkdir(parents=True)
                (root / a / b / "jpg.jpg").touch()
        with session(_config(root, 0), "bench") as spark, peak_of("pyspark.daemon") as worker_peak:
            times = {count: _ingested(root, count) for count in (20_000, FEW, MANY)}
            figures: dict[str, tuple[float, str]] = {
                "lines": (MANY, "lines"),
                "rate": (MANY / times[MANY], "lines/s"),
                "rate_tenth": (FEW / times[FEW], "lines/s"),
                "cost_at_10_times": (times[MANY] / times[FEW] * FEW / MANY, "x"),
                "heap_limit": (_heap_limit_mib(spark), "MiB"),
                "heap_after": (_heap_now_mib(spark), "MiB"),
                "worker_peak": (worker_peak(), "MiB"),
            }
        keep("ingest", figures)


def _config(root: Path, count: int) -> Config:
    return Config.model_validate(
        {
            # A few files stand for all photos: no more than twenty are looked for.
            "photos": {
                "root": str(root),
                "key": "{hash:0:1}/{hash:1:2}/{extension}.jpg",
                "metadata": [str(root.with_name(f"{count}.tsv"))],
            },
            "tables": {"warehouse": str(root.with_name(f"warehouse-{count}"))},
            "spark": {"master": "local[2]", "driver_memory": HEAP},
        }
    )


def _ingested(root: Path, count: int) -> float:
    """Seconds that ingest takes for so many lines, into tables of their own."""
    config = _config(root, count)
    _write_lines(Path(config.photos.metadata[0]), count)
    with session(config, "bench") as spark:
        begin = time.perf_counter()
        tally = stage("ingest")(spark, config)
        seconds = time.perf_counter() - begin
    if tally.rows_in != count or tally.outcomes[("ok", None)] != count:
        raise RuntimeError(str(tally))
    return seconds


def _write_lines(file: Path, count: int) -> None:
    with file.open("w", encoding="ascii") as lines:
        for n in range(count):
            code = n * 0x9E3779B97F4A7C15 % 2**64  # spreads what follows without being random
            owner = code % 1_000_003
            longitude, latitude = (code >> 8) % 360_000_000 / 1e6 - 180.0, (code >> 24) % 170_000_000 / 1e6 - 85.0
            lines.write(
                f"{n}\t{n + 10**9}\t{code:016x}{n:016x}\t{owner}@N00\tnick+{owner}\t2012-02-16 09:56:{n % 60:02d}.0\t"
                f"{1331840483 + n}\tCanon+PowerShot\tA+day+at+the+sea+{n}\tWhat+we+saw+there%2C+and+more\t"
                f"sea,day+{n % 1000},{owner % 5000},summer+2012\t\t{longitude:.6f}\t{latitude:.6f}\t{n % 5 + 12}\t"
                f"http://www.flickr.com/photos/{owner}@N00/{n + 10**9}/\t"
                f"http://farm8.staticflickr.com/7205/{n + 10**9}_{code & 0xFFFFFFFF:08x}.jpg\t"
                f"Attribution-NonCommercial License\thttp://creativecommons.org/licenses/by-nc/2.0/\t7205\t8\t"
                f"{code & 0xFFFFFFFF:08x}\t{code >> 32:08x}\tjpg\t0\n"
            )


def _heap_limit_mib(spark: SparkSession) -> float:
    return float(_java(spark).lang.Runtime.getRuntime().maxMemory()) / 2**20


def _heap_now_mib(spark: SparkSession) -> float:
    memory = _java(spark).lang.management.ManagementFactory.getMemoryMXBean()
    memory.gc()
    return float(memory.getHeapMemoryUsage().getUsed()) / 2**20


def _java(spark: SparkSession) -> Any:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    return jvm.java


if __name__ == "__main__":
    main()
