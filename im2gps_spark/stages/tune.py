"""tune: photos of held-out owners x the index's shards -> its recall by setting, in the manifest; and a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.evaluation.recall_page import render
from im2gps_spark.index.manifest import Manifest
from im2gps_spark.index.recall import Recall, Row, choose
from im2gps_spark.index.search import Index
from im2gps_spark.index.tuning import Counts, Nearest, Queries, Sweep, count, nearest, table
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import photos_of, stage_outcomes
from im2gps_spark.stages.geolocate import same_descriptor
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.tables import DESCRIPTORS, OUTCOMES

_SALT = "tune"

_NEAREST = pa.schema([("ids", pa.binary()), ("distance", pa.binary()), ("visible", pa.binary())])
_COUNTS = pa.schema([("hits", pa.binary()), ("vectors", pa.binary()), ("codes", pa.binary())])


def tune(spark: SparkSession, config: Config) -> Tally:
    """Measures the recall of the index version in use by setting, and keeps the cheapest that reaches ``tune.recall``.

    Each query's owner counts as new: the owner's photos are neither true neighbours nor found. Where no setting reaches
    the recall, the one that comes nearest is kept, and said to fall short. ``geolocate`` searches by what is kept.

    Raises:
        UsageError: no index, or one made with another descriptor; no described photo, or none that has a neighbour of
            another owner; ``tune.k`` is more than ``geolocate.k``.
        StageError: the index has changed meanwhile.
    """
    collection = config.tune.collection or config.index.collection
    run = Run(spark, config, "tune", collection)
    if config.tune.k > config.geolocate.k:
        raise UsageError(
            f"tune.k is {config.tune.k}, and geolocate.k, the neighbours that are found at all, {config.geolocate.k}: "
            "set tune.k to no more than that"
        )
    manifest = run.library.current()
    same_descriptor(manifest, config)
    sample = run.held(_sample(run, manifest, collection))
    run.tally.add(sample.count(), sample)
    run.check()
    run.say(f"{run.tally.rows_in} photos of {collection} on index {manifest.index_version}, each without its owner")
    recall = _recall(run, manifest, _queries(sample), collection)
    for line in recall.describe():
        run.say(line)
    run.library.put_recall(manifest, recall)
    run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(sample, run.stage, manifest.index_version)))
    if config.tune.page:
        run.write_file(config.tune.page, render(recall).encode())
    return run.finish()


def _sample(run: Run, manifest: Manifest, collection: str) -> DataFrame:
    """Some described photos of a collection, chosen by a hash of their ids, with their vectors."""
    ours = (F.col("descriptor") == manifest.descriptor) & (F.col("version") == manifest.descriptor_version)
    vectors = run.lake.read(DESCRIPTORS).filter(ours).select("photo_id", "vector")
    photos = photos_of(run.lake, collection).select("photo_id", "owner_id", "collection")
    described = photos.join(vectors.select("photo_id"), "photo_id", "left_semi")
    # Chosen before the vectors are read: those of a large collection are not sent about.
    chosen = described.orderBy(F.xxhash64("photo_id", F.lit(_SALT)), "photo_id").limit(run.config.tune.queries)
    if chosen.isEmpty():
        raise UsageError(
            f"no photo of collection {collection!r} is described by {manifest.descriptor} "
            f"{manifest.descriptor_version}; run describe, or set tune.collection"
        )
    rows = vectors.join(F.broadcast(chosen), "photo_id")
    return rows.withColumns({"status": F.lit(Status.OK.value), "reason": F.lit(None).cast("string")})


def _queries(sample: DataFrame) -> Queries:
    """The sample as arrays, in the order of the ids."""
    rows = sample.select("photo_id", F.xxhash64("owner_id").alias("owner"), "vector").toArrow().sort_by("photo_id")
    vectors = rows.column("vector").combine_chunks().flatten().to_numpy().astype(np.float32)
    ids, owner = (rows.column(name).to_numpy() for name in ("photo_id", "owner"))
    return Queries(ids, owner, vectors.reshape(len(rows), -1))


def _recall(run: Run, manifest: Manifest, queries: Queries, collection: str) -> Recall:
    """What every setting finds of the queries, and the choice."""
    asked, neighbours = run.config.tune, run.config.geolocate.k
    sweep = Sweep.of(manifest.plan["lists"], asked.k, neighbours)
    context = run.lake.spark.sparkContext
    given = context.broadcast(queries)

    truth = Nearest.none(len(queries), asked.k)
    for row in _by_shard(run, manifest, partial(_nearest, queries=given, k=asked.k), _NEAREST):
        truth += _unpack_nearest(row, len(queries))
    work = partial(_count, queries=given, truth=context.broadcast(truth.ids), sweep=sweep)
    counts = Counts.none(len(queries), sweep)
    for row in _by_shard(run, manifest, work, _COUNTS):
        counts += _unpack_counts(row, counts)
    rows = _table(counts, truth, sweep, neighbours)
    return Recall(
        target=asked.recall,
        k=asked.k,
        neighbours=neighbours,
        queries=len(queries),
        collection=collection,
        measured_on=manifest.index_version,
        chosen=choose(rows, asked.recall),
        rows=rows,
    )


def _table(counts: Counts, truth: Nearest, sweep: Sweep, neighbours: int) -> list[Row]:
    try:
        return table(counts, truth, sweep, neighbours)
    except ValueError as error:
        raise UsageError(f"tune: {error} in the index: there is nothing to measure by; index more photos") from error


Work = Callable[[Index, int], dict[str, bytes]]
"""What is done to one shard, by its number, and the columns that come of it."""


def _by_shard(run: Run, manifest: Manifest, work: Work, schema: pa.Schema) -> list[dict[str, bytes]]:
    """Work on each shard in a task of its own: a row a shard."""
    opened = partial(Index.opened, run.library.version_folder(manifest.index_version), manifest.digest)
    shards = run.lake.spark.createDataFrame([(shard,) for shard in range(manifest.shards)], "shard bigint")
    shards = shards.repartition(manifest.shards)
    rows = shards.mapInArrow(partial(_each, opened=opened, work=work, schema=schema), spark_schema(schema))
    found: list[dict[str, bytes]] = rows.toArrow().to_pylist()
    return found


def _each(
    batches: Iterator[pa.RecordBatch], opened: Callable[[], Index], work: Work, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: one shard after the other."""
    index = opened()
    for batch in batches:
        for shard in batch.column("shard").to_pylist():
            yield pa.RecordBatch.from_pylist([work(index, shard)], schema=schema)


def _nearest(index: Index, shard: int, queries: Broadcast, k: int) -> dict[str, bytes]:
    found = nearest(index, shard, queries.value, k)
    return {name: getattr(found, name).tobytes() for name in _NEAREST.names}


def _unpack_nearest(row: dict[str, bytes], queries: int) -> Nearest:
    ids, distance = np.frombuffer(row["ids"], np.int64), np.frombuffer(row["distance"])
    return Nearest(ids.reshape(queries, -1), distance.reshape(queries, -1), np.frombuffer(row["visible"], np.int64))


def _count(index: Index, shard: int, queries: Broadcast, truth: Broadcast, sweep: Sweep) -> dict[str, bytes]:
    found = count(index, shard, queries.value, truth.value, sweep)
    return {name: getattr(found, name).tobytes() for name in _COUNTS.names}


def _unpack_counts(row: dict[str, bytes], like: Counts) -> Counts:
    return Counts(*(np.frombuffer(row[n], np.int64).reshape(getattr(like, n).shape) for n in _COUNTS.names))
