"""ingest: lines of metadata -> the table ``photos``, and an outcome for every line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.photos.metadata import ROWS, Rules, parse
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.photos.tags import load_negative
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.forgotten import without_forgotten
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store import lines, photos
from im2gps_spark.store.settings import SCHEME, S3Settings
from im2gps_spark.store.tables import OUTCOMES, PHOTOS

_PROBED = 20


def ingest(spark: SparkSession, config: Config) -> Tally:
    """Reads ``photos.metadata`` into the collection ``photos.collection``.

    Every line gets a row in ``outcomes``; every photo id, accepted or not, one in ``photos``. Of a line that is
    of a forgotten photo or owner there is but the outcome, without the id.

    Raises:
        UsageError: nothing at photos.root or photos.metadata, or no photo under its key.
        StageError: a file of metadata can't be read.
    """
    run = Run(spark, config, "ingest", config.photos.collection)
    root = _root(config)
    splits = lines.splits(config.photos.metadata, s3=config.s3)
    run.say(f"collection {config.photos.collection}: {len(splits)} splits of {', '.join(config.photos.metadata)}")

    parsed = _parse(spark, splits, _rules(config, root), config.s3).persist(StorageLevel.DISK_ONLY)
    try:
        rows_in = parsed.count()
        rows = _without_repeats(without_forgotten(run.lake, parsed)).withColumn(
            "collection", F.lit(config.photos.collection)
        )
        rows = run.stamp(rows).persist(StorageLevel.DISK_ONLY)
        run.tally.add(rows_in, rows)
        run.check()
        _probe(rows, config)
        run.lake.merge(PHOTOS, rows.filter(_is_photo()))
        run.lake.merge(OUTCOMES, _outcomes(rows))
        rows.unpersist()
    finally:
        parsed.unpersist()
    return run.finish()


def _root(config: Config) -> str:
    if not config.photos.root:
        raise UsageError("photos.root is not set: name the folder that the photos' keys start from")
    if config.photos.root.startswith(SCHEME):
        return config.photos.root.rstrip("/")
    root = Path(config.photos.root.removeprefix("file://"))
    if not root.is_dir():
        raise UsageError(f"photos.root: there is no folder {config.photos.root}")
    return str(root.absolute())


def _rules(config: Config, root: str) -> Rules:
    # The photos to locate are taken with or without geotags; a corpus without them is of no use.
    needs_geotag = config.photos.collection != config.geolocate.collection
    # Read here: workers have the package perhaps without its files.
    negative = load_negative(config.ingest.negative_tags) if needs_geotag else frozenset()
    return Rules(root, PhotoKey(config.photos.key), needs_geotag, config.ingest.min_accuracy, negative)


def _parse(spark: SparkSession, splits: list[lines.Split], rules: Rules, s3: S3Settings) -> DataFrame:
    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                for part in lines.read(lines.Split(**row), s3):
                    table = parse(part.lines, part.positions, row["path"], rules)
                    yield from table.to_batches(max_chunksize=10_000)

    rows = [(s.path, s.begin, s.end) for s in splits]
    frame = spark.createDataFrame(rows, "path string, begin bigint, end bigint")
    return frame.repartition(len(rows)).mapInArrow(work, spark_schema(ROWS))


def _without_repeats(parsed: DataFrame) -> DataFrame:
    """Of the lines with one photo id, the first that is acceptable stands; the others are repeats of it."""
    order = Window.partitionBy("photo_id").orderBy(F.col("status") != Status.OK, "source", "position")
    repeat = F.col("photo_id").isNotNull() & (F.col("nth") > 1)
    return (
        parsed.withColumn("nth", F.row_number().over(order))
        .withColumn("detail", F.when(repeat, F.lit(None)).otherwise(F.col("detail")))
        .withColumn("reason", F.when(repeat, Reason.DUPLICATE_ID.value).otherwise(F.col("reason")))
        .withColumn("status", F.when(repeat, Status.REJECTED.value).otherwise(F.col("status")))
    )


def _is_photo() -> Column:
    """Rows of ``photos``: one for each id. A repeat's photo is there by its first line."""
    repeated = F.coalesce(F.col("reason") == Reason.DUPLICATE_ID.value, F.lit(False))
    return F.col("photo_id").isNotNull() & ~repeated


def _outcomes(rows: DataFrame) -> DataFrame:
    item = F.concat_ws("@", "source", "position")
    return rows.withColumn("stage", F.lit("ingest")).withColumn("item", item)


_S3 = ", or let these credentials read there"


def _probe(rows: DataFrame, config: Config) -> None:
    """Looks whether any of a few photos exists, before a wrong key fills the tables with photos that don't."""
    accepted = rows.filter(F.col("status") == Status.OK.value)
    uris = [row["uri"] for row in accepted.select("uri").limit(_PROBED).collect()]
    if len(uris) >= _PROBED // 4 and not any(photos.exists(uri, config.s3) for uri in uris):
        raise UsageError(
            f"photos.key {config.photos.key!r} below photos.root fits none of the {len(uris)} photos tried, "
            f"such as {uris[0]}: mend photos.key or photos.root{_S3 if uris[0].startswith(SCHEME) else ''}"
        )
