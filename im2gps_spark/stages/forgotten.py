"""Photos and owners that were forgotten: how stages that read ids from files know them, and keep nothing of them."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.photos.tombstone import OWNER, PHOTO
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import TOMBSTONES


def tombstone(kind: str, column: str) -> Column:
    """What ``photos.tombstone`` computes of an id in a column; null of none."""
    return F.sha2(F.concat(F.lit(kind), F.col(column).cast("string")), 256)


def without_forgotten(lake: Lake, lines: DataFrame) -> DataFrame:
    """Lines of metadata; of a forgotten photo's, or owner's, only where it is and that it was rejected."""
    tombstones = _tombstones(lake)
    if tombstones is None:
        return lines
    photos, owners = (
        tombstones.select(F.col("hash").alias(f"{kind}_hash"), F.lit(True).alias(f"{kind}_forgotten"))
        for kind in ("photo", "owner")
    )
    marked = lines.join(photos, tombstone(PHOTO, "photo_id") == F.col("photo_hash"), "left")
    marked = marked.join(owners, tombstone(OWNER, "owner_id") == F.col("owner_hash"), "left")
    forgotten = F.coalesce("photo_forgotten", "owner_forgotten", F.lit(False))
    instead = {
        "source": F.col("source"),
        "position": F.col("position"),
        "status": F.lit(Status.REJECTED.value),
        "reason": F.lit(Reason.FORGOTTEN.value),
    }
    columns = {name: F.when(forgotten, instead.get(name, F.lit(None))).otherwise(F.col(name)) for name in lines.columns}
    return marked.select(*(column.alias(name) for name, column in columns.items()))


def not_forgotten(lake: Lake, rows: DataFrame) -> DataFrame:
    """Rows whose ``photo_id`` is no forgotten photo's."""
    tombstones = _tombstones(lake)
    if tombstones is None:
        return rows
    return rows.join(tombstones, tombstone(PHOTO, "photo_id") == F.col("hash"), "left_anti")


def _tombstones(lake: Lake) -> DataFrame | None:
    """All hashes, ``hash``; None where nothing was ever forgotten."""
    if not lake.spark.catalog.tableExists(TOMBSTONES.path):
        return None
    return lake.read(TOMBSTONES).select("hash")
