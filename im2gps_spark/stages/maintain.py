"""maintain: the tables' upkeep by Iceberg's own procedures: small files, old snapshots, files that nobody knows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config, MaintainSection
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store import upkeep
from im2gps_spark.store.tables import TABLES, Table

_MANIFEST_BYTES = 8 * 2**20
"""What Iceberg fills a manifest to (commit.manifest.target-size-bytes)."""


@dataclass(frozen=True)
class State:
    """What a table's metadata say that it holds, for all of its snapshots together.

    Attributes:
        files, bytes: of data.
        manifests: of the current snapshot, and ``manifest_bytes`` of them.
        snapshots: ways back, the current one included.
    """

    files: int
    bytes: int
    manifests: int
    manifest_bytes: int
    snapshots: int


def maintain(spark: SparkSession, config: Config) -> Tally:
    """Compacts small files and manifests, expires snapshots and removes orphans of every table that there is.

    The rows stay as they are. Files that are compacted away are there for as long as a snapshot that holds them.
    The tally counts tables.
    """
    run = Run(spark, config, "maintain")
    before, after, orphans = [], [], 0
    for table in TABLES:
        if not spark.catalog.tableExists(table.path):
            continue
        was = _state(spark, table)
        removed = _upkeep(spark, table, was, config.maintain)
        now = _state(spark, table)
        run.say(f"{table.name}: {_said(was, now, removed)}")
        before.append(was)
        after.append(now)
        orphans += removed
    run.say(f"in all: {_said(_sum(before), _sum(after), orphans)}")
    run.tally.rows_in = len(before)
    run.tally.outcomes[(Status.OK.value, None)] = len(after)
    return run.finish()


def _upkeep(spark: SparkSession, table: Table, state: State, settings: MaintainSection) -> int:
    """All procedures, in an order in which each leaves its remains to the next; returns the number of orphans."""
    options = f"map('min-input-files', '{settings.min_input_files}')"
    upkeep.call(spark, "rewrite_data_files", table, options=options)
    # Manifests of full size would be written anew each time.
    needed = -(-state.manifest_bytes // _MANIFEST_BYTES)
    if state.manifests >= needed + settings.min_input_files:
        upkeep.call(spark, "rewrite_manifests", table)
    upkeep.expire(spark, table, _days_ago(settings.keep_snapshots_days), settings.keep_snapshots)
    return upkeep.remove_orphans(spark, table, _days_ago(settings.keep_orphans_days))


def _days_ago(days: float) -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(days=days)


def _meta(spark: SparkSession, table: Table, name: str) -> DataFrame:
    return spark.table(f"{table.path}.{name}")


def _state(spark: SparkSession, table: Table) -> State:
    # A file is told of once for each manifest that holds it.
    held = _meta(spark, table, "all_files").select("file_path", "file_size_in_bytes").distinct()
    files, size = _count_and_sum(held, "file_size_in_bytes")
    manifests, manifest_bytes = _count_and_sum(_meta(spark, table, "manifests"), "length")
    return State(files, size, manifests, manifest_bytes, _meta(spark, table, "snapshots").count())


def _count_and_sum(rows: DataFrame, column: str) -> tuple[int, int]:
    (row,) = rows.agg(F.count("*").alias("n"), F.sum(column).alias("sum")).collect()
    return row["n"], row["sum"] or 0


def _sum(states: list[State]) -> State:
    return State(
        sum(state.files for state in states),
        sum(state.bytes for state in states),
        sum(state.manifests for state in states),
        sum(state.manifest_bytes for state in states),
        sum(state.snapshots for state in states),
    )


def _said(was: State, now: State, orphans: int) -> str:
    held = f"{now.files} files, {_mib(now.bytes)}, {now.manifests} manifests, {now.snapshots} snapshots"
    if was == now and not orphans:
        return f"nothing to do; {held}"
    before = f"{was.files} files, {_mib(was.bytes)}, {was.manifests} manifests, {was.snapshots} snapshots"
    return f"{before} -> {held}; {_mib(was.bytes - now.bytes)} saved, {orphans} orphans removed"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"
