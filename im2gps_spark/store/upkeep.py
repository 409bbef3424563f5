"""Iceberg's own procedures on a table: what no snapshot needs goes, from the disk too."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.store.tables import CATALOG, Table

ALWAYS = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
"""Later than every snapshot, whatever the clock of the machine that made it."""


def snapshots(spark: SparkSession, table: Table) -> int:
    """How many a table has."""
    return spark.table(f"{table.path}.snapshots").count()


def expire(spark: SparkSession, table: Table, before: dt.datetime, keep: int = 1) -> int:
    """Expires the snapshots made before a time, but for the last ``keep``, with the files that only they hold.

    Returns how many; a snapshot with a branch or tag stays.
    """
    was = snapshots(spark, table)
    call(spark, "expire_snapshots", table, older_than=_timestamp(before), retain_last=str(keep))
    return was - snapshots(spark, table)


def remove_orphans(spark: SparkSession, table: Table, before: dt.datetime) -> int:
    """Removes files under a table that none of its metadata know, as a killed job leaves them; returns how many.

    Args:
        spark: session.
        table: where.
        before: files younger than this stay, for a job may be about to commit them; Iceberg demands 24 hours.
    """
    # Hadoop, which lists them by default, knows no S3 where the files are Iceberg's own affair (S3FileIO).
    log = spark.table(f"{table.path}.metadata_log_entries").select("file").first()
    in_s3 = log is not None and log["file"].startswith(("s3://", "s3a://"))
    return len(
        call(
            spark,
            "remove_orphan_files",
            table,
            older_than=_timestamp(before),
            prefix_listing="true" if in_s3 else "false",
        )
    )


def forget_removed_files(spark: SparkSession, table: Table) -> None:
    """Writes the manifests anew that list files as removed: with them they keep the files' least and largest values.

    What was there before is gone once the older snapshots have expired.
    """
    manifests = spark.table(f"{table.path}.manifests")
    removed = F.col("deleted_data_files_count") + F.col("deleted_delete_files_count") > 0
    if manifests.filter(removed).isEmpty():
        return
    call(spark, "rewrite_manifests", table)
    if not manifests.filter(removed).isEmpty():
        # The procedure takes a single manifest for as good as it gets.
        jvm = spark._jvm
        assert jvm is not None
        made = jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, table.path)
        together = jvm.com.google.common.base.Functions.constant("")
        made.rewriteManifests().clusterBy(together).commit()


def call(spark: SparkSession, procedure: str, table: Table, **arguments: str) -> list[Row]:
    """What a procedure of Iceberg's answers; arguments are SQL."""
    given = {"table": f"'{table.path}'", **arguments}
    words = ", ".join(f"{name} => {value}" for name, value in given.items())
    return spark.sql(f"CALL {CATALOG}.system.{procedure}({words})").collect()


def _timestamp(time: dt.datetime) -> str:
    return f"TIMESTAMP '{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}+00:00'"
