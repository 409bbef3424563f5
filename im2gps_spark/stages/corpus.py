"""The corpus: which geotagged photos of ``index.collection`` are indexed, and why the others are not.

It follows from the tables ``photos`` and ``pictures`` alone: whatever the order in which photos came, and whichever
stage asks, it is the same. Rules apply one after the other, each to what those before it left: identical files,
near-duplicates, photos of one moment, owners with too many. Only photos whose picture has been seen take part: a
broken one displaces none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from im2gps_spark.config import Config, IngestSection
from im2gps_spark.errors import UsageError
from im2gps_spark.photos.fingerprint import BAND_BITS, BANDS, near_before
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.sphere import EARTH_RADIUS_KM
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import photos_of
from im2gps_spark.stages.run import Run
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import PICTURES

MOMENT_S, MOMENT_KM = 600, 0.1
"""Two photos of an owner are of one moment within so many seconds and kilometres."""
WINDOW = 2048
"""A hash is compared with so many before it, by id, that share a band with it: what one band holds of a hundred million
photos on average. The many copies of one picture are found at the first step, however many."""

_ABOUT = ("photo_id", "collection", "owner_id", "latitude", "longitude", "accuracy")
_NEAR = pa.schema([("photo_id", pa.int64()), ("like", pa.int64())])


def corpus_of(lake: Lake, config: Config) -> DataFrame:
    """The geotagged photos of ``index.collection``: ok, or rejected with ``reason`` and ``detail``.

    They have photo_id, collection, owner_id, latitude, longitude and accuracy besides, and are held as they are now.

    Raises:
        UsageError: there is none.
    """
    here = photos_of(lake, config.index.collection).filter(F.col("latitude").isNotNull())
    if here.isEmpty():
        raise UsageError(
            f"collection {config.index.collection!r} has no geotagged photo: an index of it would answer nothing; "
            "set index.collection to one that has, or ingest metadata with geotags"
        )
    pictures = lake.read(PICTURES).drop("run_id")
    rows = excluded(here.select(*_ABOUT, "taken_at").join(pictures, "photo_id", "left"), config.ingest)
    status = F.when(F.col("reason").isNull(), Status.OK.value).otherwise(Status.REJECTED.value)
    return Run.held(rows.select(*_ABOUT, status.alias("status"), "reason", "detail"))


def excluded(photos: DataFrame, settings: IngestSection) -> DataFrame:
    """The photos with ``reason`` and ``detail``, both null of those that stay in the corpus.

    Args:
        photos: photo_id, owner_id, taken_at, latitude, longitude; sha256, perceptual, width and height, all null where
            the picture has not been seen.
        settings: the bound of an owner's photos.
    """
    none = F.lit(None).cast("string")
    rows = photos.withColumns({"reason": none, "detail": none, "seen": F.col("sha256").isNotNull()})
    rows = _near_duplicates(_identical(rows))
    return _owner_full(_same_moment(rows), settings.max_photos_per_owner)


def _stays() -> Column:
    """Photos that take part and that no rule has excluded so far."""
    return F.col("seen") & F.col("reason").isNull()


def _exclude(rows: DataFrame, applies: Column, reason: Reason, like: Column | None = None) -> DataFrame:
    """The rows with a reason where a rule applies to those that were left, and the photo that they repeat."""
    now = _stays() & F.coalesce(applies, F.lit(False))
    named = F.lit(None).cast("string") if like is None else F.concat(F.lit("photo "), like)
    return rows.withColumns(
        {
            "reason": F.when(now, reason.value).otherwise(F.col("reason")),
            "detail": F.when(now, named).otherwise(F.col("detail")),
        }
    )


def _identical(rows: DataFrame) -> DataFrame:
    """Of the files with the same bytes the one of the least id stays."""
    # Photos without a checksum are each on their own, not all in one task.
    same = Window.partitionBy(F.coalesce("sha256", F.col("photo_id").cast("string")))
    first = F.min("photo_id").over(same)
    return _exclude(rows, F.col("photo_id") > first, Reason.IDENTICAL, first).drop("sha256")


def _near_duplicates(rows: DataFrame) -> DataFrame:
    """Photos that look like one of a smaller id; it need not stay itself."""
    rows = Run.held(rows)
    seen = rows.filter(_stays() & F.col("perceptual").isNotNull())
    if seen.isEmpty():
        return rows
    bands = F.array(*(_band(number) for number in range(BANDS)))
    aspect = F.log(F.col("width") / F.col("height")).alias("aspect")
    parts = seen.select(F.explode(bands).alias("band"), "photo_id", "perceptual", aspect)
    together = parts.repartition("band").sortWithinPartitions("band", "photo_id")
    found = together.mapInArrow(_near, spark_schema(_NEAR)).groupBy("photo_id").agg(F.min("like").alias("like"))
    like = F.col("like")
    return _exclude(rows.join(found, "photo_id", "left"), like.isNotNull(), Reason.NEAR_DUPLICATE, like).drop("like")


def _band(number: int) -> Column:
    """A part of the perceptual hash as a whole number, no two bands with one of the same."""
    part = F.shiftrightunsigned("perceptual", number * BAND_BITS).bitwiseAND(F.lit(2**BAND_BITS - 1))
    return part + F.lit(number * 2**BAND_BITS)


def _near(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """In a Python worker: rows sorted by band and id to the photos that look like one before them, and that one."""
    held = pa.table({})
    for batch in batches:
        table = pa.concat_tables([held, pa.table(batch)]).combine_chunks() if len(held) else pa.table(batch)
        photo, band, bits, aspect = (table.column(n).to_numpy() for n in ("photo_id", "band", "perceptual", "aspect"))
        before = near_before(band, bits, aspect, WINDOW, len(held))
        found = np.flatnonzero(before)
        like = photo[found - before[found]]
        yield pa.RecordBatch.from_arrays([pa.array(photo[found]), pa.array(like)], schema=_NEAR)
        # What the next batch begins with may be like the end of this one.
        begin = max(np.searchsorted(band, band[-1:]).max(initial=0), len(table) - WINDOW)
        held = table.slice(begin)


def _same_moment(rows: DataFrame) -> DataFrame:
    """Of photos of an owner that follow one another at one place the first stays."""
    rows = rows.repartition("owner_id")  # serves the next rule, too
    order = Window.partitionBy("owner_id", _stays()).orderBy("taken_at", "photo_id")
    before = {name: F.lag(name).over(order) for name in ("photo_id", "taken_at", "latitude", "longitude")}
    soon = F.unix_timestamp("taken_at") - F.unix_timestamp(before["taken_at"]) <= MOMENT_S
    near = _distance_km(before["latitude"], before["longitude"]) <= MOMENT_KM
    return _exclude(rows, soon & near, Reason.SAME_MOMENT, before["photo_id"])


def _distance_km(latitude: Column, longitude: Column) -> Column:
    """Along the great circle (haversine), from the row's own place."""
    here, there = F.radians("latitude"), F.radians(latitude)
    north, east = F.sin((there - here) / 2), F.sin(F.radians(longitude - F.col("longitude")) / 2)
    chord = north * north + F.cos(here) * F.cos(there) * east * east
    return F.asin(F.sqrt(F.least(chord, F.lit(1.0)))) * (2 * EARTH_RADIUS_KM)


def _owner_full(rows: DataFrame, most: int) -> DataFrame:
    """Of an owner's photos no more than so many stay, those of the least hashes; 0: all."""
    if not most:
        return rows
    order = Window.partitionBy("owner_id", _stays()).orderBy(F.xxhash64("photo_id"), "photo_id")
    return _exclude(rows, F.row_number().over(order) > most, Reason.OWNER_FULL)
