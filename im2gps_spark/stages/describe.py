"""describe: accepted photos -> vectors in ``descriptors``, fingerprints in ``pictures``, and an outcome for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config, DescribeSection
from im2gps_spark.descriptors import batch
from im2gps_spark.descriptors.onnx_settings import OnnxSettings
from im2gps_spark.errors import StageError
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import descriptor, stage_outcomes, status_is
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.ahead import read_ahead
from im2gps_spark.store.passing import Patience
from im2gps_spark.store.photos import PhotoStore
from im2gps_spark.store.settings import SCHEME, S3Settings
from im2gps_spark.store.tables import DESCRIPTORS, OUTCOMES, PHOTOS, PICTURES

_PHOTOS_A_TASK = 256
# A rate of failures means something from this many photos on.
_LEAST_FOR_RATE = 20

_VECTOR = pa.struct([("descriptor", pa.string()), ("vector", pa.list_(pa.float32()))])
_PICTURE = pa.struct(
    [("sha256", pa.string()), ("perceptual", pa.int64()), ("width", pa.int32()), ("height", pa.int32())]
)
_RESULT = pa.schema(
    [
        ("photo_id", pa.int64()),
        ("collection", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("vectors", pa.list_(_VECTOR)),
        ("picture", _PICTURE),
    ]
)


def describe(spark: SparkSession, config: Config) -> Tally:
    """Describes every accepted photo, of all collections, that lacks a fingerprint or one of ``describe.descriptors``.

    Work is committed round by round: a run that is killed goes on from the last one. Photos that were rejected stay
    so; those to be retried are taken up again.

    Raises:
        StageError: more photos failed than ``describe.max_failure_rate`` allows.
    """
    run = Run(spark, config, "describe")
    wanted = {name: descriptor(name, config.onnx).version for name in config.describe.descriptors}
    item = "+".join(f"{name}:{version}" for name, version in wanted.items())
    pending = run.held(_pending(run, wanted, item))
    total = pending.count()
    rounds = max(1, -(-total // config.describe.photos_per_commit))
    run.say(f"{total} photos to describe by {item}, in {rounds} round{'s' if rounds > 1 else ''}")
    for number in range(rounds if total else 0):
        part = pending.filter(F.pmod(F.xxhash64("photo_id"), F.lit(rounds)) == number)
        _round(run, part, wanted, item)
        run.say(f"round {number + 1} of {rounds}: {run.tally.rows_in} photos so far, {run.rate:.0f} a second")
    return run.finish()


def _pending(run: Run, wanted: dict[str, str], item: str) -> DataFrame:
    """Photos to describe, each once, with the names of the descriptors that it lacks, and whether it is ``unseen``."""
    photos = run.lake.read(PHOTOS).filter(status_is(Status.OK))
    photos = photos.groupBy("photo_id").agg(F.min(F.struct("collection", "uri")).alias("p"))
    versions = F.create_map(*(F.lit(part) for pair in wanted.items() for part in pair))
    current = run.lake.read(DESCRIPTORS).filter(F.col("version") == versions[F.col("descriptor")])
    have = current.groupBy("photo_id").agg(F.collect_set("descriptor").alias("have"))
    seen = run.lake.read(PICTURES).select("photo_id", F.lit(True).alias("seen"))
    outcomes = run.lake.read(OUTCOMES).filter((F.col("stage") == "describe") & (F.col("item") == item))
    # A photo of two collections may have been tried for each: it has one row here.
    settled = outcomes.groupBy("photo_id").agg(F.max(status_is(Status.REJECTED)).alias("refused"))
    every = F.array(*(F.lit(name) for name in wanted))
    none = F.array().cast("array<string>")
    return (
        photos.join(have, "photo_id", "left")
        .join(settled, "photo_id", "left")
        .join(seen, "photo_id", "left")
        .withColumn("unseen", F.col("seen").isNull())
        .withColumn("lacks", F.array_except(every, F.coalesce("have", none)))
        # A photo whose vectors were committed by a run that was killed before its outcomes lacks only those.
        .filter((F.size("lacks") > 0) | F.col("unseen") | F.col("refused").isNull())
        .filter(~F.coalesce("refused", F.lit(False)))
        .select("photo_id", "p.collection", "p.uri", "lacks", "unseen")
    )


def _round(run: Run, photos: DataFrame, wanted: dict[str, str], item: str) -> None:
    count = photos.count()
    tasks = photos.repartition(max(1, -(-count // _PHOTOS_A_TASK)), "photo_id")
    work = partial(_work, wanted=wanted, settings=run.config.describe, s3=run.config.s3, onnx=run.config.onnx)
    # A photo that could be read once may not be the next time: all commits are of one reading.
    results = run.stamp(tasks.mapInArrow(work, spark_schema(_RESULT))).persist(run.twice(photos))
    try:
        tally = Tally()
        tally.add(count, results)
        tally.check(run.stage)
        _refuse_wholesale_failure(tally, run.config.describe)
        run.lake.append(DESCRIPTORS, _vectors(results, wanted, run.config.onnx))
        run.lake.merge(PICTURES, results.filter("picture IS NOT NULL").select("photo_id", "picture.*", "run_id"))
        run.lake.merge(OUTCOMES, stage_outcomes(results, run.stage, item))
        run.tally.rows_in += tally.rows_in
        run.tally.outcomes += tally.outcomes
    finally:
        results.unpersist()


def _refuse_wholesale_failure(tally: Tally, settings: DescribeSection) -> None:
    failed = tally.rows_in - tally.count(Status.OK)
    if tally.rows_in >= _LEAST_FOR_RATE and failed > settings.max_failure_rate * tally.rows_in:
        raise StageError(
            f"describe: {failed} of {tally.rows_in} photos failed, over describe.max_failure_rate "
            f"{settings.max_failure_rate:g}; nothing of this round was recorded. {tally}"
        )


def _vectors(results: DataFrame, wanted: dict[str, str], onnx: OnnxSettings) -> DataFrame:
    """One row a vector."""
    versions = F.create_map(*(F.lit(part) for pair in wanted.items() for part in pair))
    words = F.create_map(*(F.lit(p) for name in wanted for p in (name, descriptor(name, onnx).preprocessing)))
    rows = results.select("photo_id", "run_id", F.explode("vectors").alias("v"))
    return rows.select("photo_id", "run_id", "v.descriptor", "v.vector").withColumns(
        {"version": versions[F.col("descriptor")], "preprocessing": words[F.col("descriptor")]}
    )


def _work(
    batches: Iterator[pa.RecordBatch],
    wanted: dict[str, str],
    settings: DescribeSection,
    s3: S3Settings,
    onnx: OnnxSettings,
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: photos in, results out, ``settings.batch`` at a time."""
    from im2gps_spark.photos.decode import decode, limit_threads

    limit_threads()
    descriptors = {name: descriptor(name, onnx) for name in wanted}
    for name, version in wanted.items():
        if descriptors[name].version != version:
            here = descriptors[name].version
            raise StageError(f"describe: {name} is {version} where the job began, and {here} on a worker")
    picture = partial(decode, max_megapixels=settings.max_megapixels)
    store = PhotoStore(settings.max_bytes, s3, Patience(settings.retry_deadline_s, settings.retries_a_task))
    for rows in batches:
        tasks = [batch.Task(r["photo_id"], r["uri"], tuple(r["lacks"]), r["unseen"]) for r in rows.to_pylist()]
        results = batch.describe_as_they_come(_with_bytes(tasks, store, settings), descriptors, picture, settings.batch)
        for begin in range(0, len(tasks), settings.batch):
            some = list(islice(results, settings.batch))
            yield _to_arrow(some, rows.column("collection").slice(begin, len(some)))


def _with_bytes(
    tasks: list[batch.Task], store: PhotoStore, settings: DescribeSection
) -> Iterator[tuple[batch.Task, Callable[[], bytes]]]:
    """Each photo with what gives its bytes: files are read when they are asked for, objects of S3 ahead of that."""
    if not any(task.uri.startswith(SCHEME) for task in tasks):
        return ((task, partial(store.read, task.uri)) for task in tasks)

    def read(task: batch.Task, make_room: Callable[[int], None]) -> bytes:
        return store.read(task.uri, make_room) if task.reads else b""

    return read_ahead(tasks, read, settings.fetch_threads, settings.fetch_mb * 2**20)


def _to_arrow(results: list[batch.Described], collection: pa.Array) -> pa.RecordBatch:
    names = [sorted(r.vectors) for r in results]
    flat = [r.vectors[name] for r, mine in zip(results, names, strict=True) for name in mine]
    lengths = np.concatenate([[0], np.cumsum([len(v) for v in flat])]).astype(np.int32)
    numbers = np.concatenate(flat) if flat else np.zeros(0, np.float32)
    vectors = pa.ListArray.from_arrays(pa.array(lengths), pa.array(numbers, pa.float32()))
    labels = pa.array([name for mine in names for name in mine], pa.string())
    each = pa.StructArray.from_arrays([labels, vectors], fields=list(_VECTOR))
    counts = np.concatenate([[0], np.cumsum([len(mine) for mine in names])]).astype(np.int32)
    columns = [
        pa.array([r.photo_id for r in results], pa.int64()),
        collection,
        pa.array([r.status.value for r in results], pa.string()),
        pa.array([r.reason.value if r.reason else None for r in results], pa.string()),
        pa.array([r.detail for r in results], pa.string()),
        pa.ListArray.from_arrays(pa.array(counts), each),
        pa.array([asdict(r.picture) if r.picture else None for r in results], _PICTURE),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_RESULT)
