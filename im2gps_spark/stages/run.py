"""What every stage does around its work: counts that must add up, progress, and rows in ``runs`` and ``reasons``."""

from __future__ import annotations

import datetime as dt
import logging
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark import __version__
from im2gps_spark.config import Config
from im2gps_spark.errors import StageError
from im2gps_spark.index.library import Library
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.folder import Folder, folder_at
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import REASONS, RUNS
from im2gps_spark.versions import library_of

log = logging.getLogger(__name__)


@dataclass
class Tally:
    """How many rows came in, and what became of them by (status, reason)."""

    rows_in: int = 0
    outcomes: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    seconds: float = 0.0
    """What the stage took; set when it is through."""

    def count(self, status: Status) -> int:
        """Rows that ended with a status."""
        return sum(n for (which, _), n in self.outcomes.items() if which == status)

    def add(self, rows_in: int, outcomes: DataFrame) -> None:
        """Adds rows that came in and a DataFrame with their ``status`` and ``reason``."""
        self.rows_in += rows_in
        for row in outcomes.groupBy("status", "reason").count().collect():
            self.outcomes[(row["status"], row["reason"])] += row["count"]

    def check(self, stage: str) -> None:
        """Refuses counts that don't add up.

        Raises:
            StageError: rows_in is not ok + rejected + retry.
        """
        if self.rows_in != sum(self.outcomes.values()):
            raise StageError(
                f"{stage}: rows were lost or doubled, {sum(self.outcomes.values())} came out: {self}; "
                "nothing was written, report this"
            )

    def reasons(self) -> list[str]:
        """The rows that are not ok as lines of a table: status, reason, how many, and what the reason means."""
        found = [(status, reason, n) for (status, reason), n in self.outcomes.items() if status != Status.OK and n]
        wide = max((len(reason or "") for _, reason, _ in found), default=0)
        return [
            f"{status:<8}  {reason or '':<{wide}}  {n:>9,}  {Reason(reason).meaning if reason else ''}".rstrip()
            for status, reason, n in sorted(found, key=lambda row: (-row[2], str(row[:2])))
        ]

    def __str__(self) -> str:
        reasons = sorted(((n, r) for (s, r), n in self.outcomes.items() if s != Status.OK), reverse=True, key=str)
        by_reason = f" ({', '.join(f'{r} {n}' for n, r in reasons)})" if reasons else ""
        return (
            f"{self.rows_in} in = {self.count(Status.OK)} ok + {self.count(Status.REJECTED)} rejected "
            f"+ {self.count(Status.RETRY)} to retry{by_reason}"
        )


class Run:
    """One run of a stage: its id, its clock, its counts.

    Args:
        collection: what it takes its rows from; None if from all.
    """

    def __init__(self, spark: SparkSession, config: Config, stage: str, collection: str | None = None) -> None:
        self.lake = Lake(spark)
        self.config = config
        self.stage = stage
        self.collection = collection
        self.started_at = dt.datetime.now(dt.UTC)
        # Sorts by time; the tail keeps two that start in the same second apart.
        self.id = f"{self.started_at:%Y%m%dT%H%M%S}-{stage}-{uuid.uuid4().hex[:8]}"
        self.tally = Tally()
        self._clock = time.monotonic()

    @cached_property
    def library(self) -> Library:
        """The index."""
        return library_of(self.config)

    def folder(self, place: str) -> Folder:
        """A folder on disk or in S3."""
        index = self.config.index
        return folder_at(place, self.config.s3, Cache(index.cache, index.cache_gb * 2**30))

    def write_file(self, place: str, data: bytes) -> None:
        """Writes a file, on disk or in S3, and says so."""
        above, slash, name = place.rpartition("/")
        folder = self.folder(above + slash if slash else ".")
        folder.write(name, data)
        self.say(f"wrote {folder}/{name} ({len(data) / 2**20:.1f} MiB)")

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._clock

    @property
    def rate(self) -> float:
        """Rows in a second so far."""
        return self.tally.rows_in / max(self.seconds, 1e-9)

    def say(self, text: str) -> None:
        """A line of progress."""
        log.info("%s: %s", self.stage, text)

    def check(self) -> None:
        """Refuses counts that don't add up; to be called before a stage's rows are committed."""
        self.tally.check(self.stage)

    def finish(self) -> Tally:
        """Checks the counts, writes the rows in ``reasons`` and ``runs``, and says how it went."""
        self.check()
        row = (
            *(self.id, self.stage, self.started_at, self.seconds, self.tally.rows_in),
            *(self.tally.count(Status.OK), self.tally.count(Status.REJECTED), self.rate),
            *(self.config.hash, __version__, self.tally.count(Status.RETRY)),
        )
        about = (self.id, self.stage, self.collection)
        if reasons := [(*about, *which, n) for which, n in self.tally.outcomes.items()]:
            self.lake.append(REASONS, self.lake.rows(REASONS, reasons))
        self.lake.append(RUNS, self.lake.rows(RUNS, [row]))
        self.tally.seconds = self.seconds
        for line in self.tally.reasons():
            self.say(line)
        self.say(f"{self.tally}; {self.seconds:.1f} s, {self.rate:.0f} a second")
        return self.tally

    @staticmethod
    def held(rows: DataFrame) -> DataFrame:
        """The rows as they are now. Rows that are only persisted are read anew once a table behind them is written.

        They can't be computed again where they are lost: see ``twice``.
        """
        return rows.localCheckpoint(storageLevel=Run.twice(rows))

    @staticmethod
    def twice(rows: DataFrame) -> StorageLevel:
        """Where rows that must not be lost are kept: on a cluster by two executors."""
        here = (rows.sparkSession.sparkContext.master or "").startswith("local")
        return StorageLevel.DISK_ONLY if here else StorageLevel.DISK_ONLY_2

    def stamp(self, rows: DataFrame) -> DataFrame:
        """The rows with this run's ``run_id`` and the time of its start as ``at``."""
        return rows.withColumn("run_id", F.lit(self.id)).withColumn("at", F.lit(self.started_at))
