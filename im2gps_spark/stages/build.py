"""build: every descriptor of the corpus -> shards of inverted lists, and the prior of where its photos are."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.index import shard as shards
from im2gps_spark.index.grouping import group
from im2gps_spark.index.library import Library, Training, name_of
from im2gps_spark.index.manifest import FORMAT, MOMENTS, TRAINED, Manifest, shard_files
from im2gps_spark.index.spool import Spool
from im2gps_spark.index.training import Trained
from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.accuracy import STREET, UNKNOWN
from im2gps_spark.stages.arrow import binaries, matrix, rows_alike, spark_schema
from im2gps_spark.stages.corpus import corpus_of
from im2gps_spark.stages.described import descriptor, stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.priors import prior_rule, write_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.folder import Folder
from im2gps_spark.store.tables import OUTCOMES

_ENCODED = pa.schema(
    [
        ("list", pa.int64()),
        ("photo_id", pa.int64()),
        ("code", pa.binary()),
        ("vector", pa.binary()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("owner", pa.int64()),
        ("owner_photos", pa.float32()),
        ("accuracy", pa.int8()),
    ]
)
_KNOWN = ("photo_id", "latitude", "longitude", "owner", "owner_photos", "accuracy")
# Vectors that are summed at a time: in float64, 20 MiB of 256 numbers.
_AT_ONCE = 10_000
_WRITTEN = pa.schema(
    [
        ("shard", pa.int64()),
        ("rows", pa.int64()),
        ("faiss", pa.string()),
        ("arrow", pa.string()),
        ("sum", pa.binary()),
        ("products", pa.binary()),
    ]
)


def build(spark: SparkSession, config: Config) -> Tally:
    """Builds an index version from the training in use, and takes it into use.

    The version's name is a hash of what went in: the same corpus and training find the version they made before.

    Raises:
        UsageError: no training, or one for another descriptor; no described photo.
    """
    run = Run(spark, config, "build", config.index.collection)
    library = run.library
    training, data = library.training()
    version = descriptor(config.index.descriptor, config.onnx).version
    _same_descriptor(training, config.index.descriptor, version)
    rows = with_vectors(run.lake, corpus_of(run.lake, config), config.index.descriptor, version)
    rows = rows.persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(rows.count(), rows)
        run.check()
        corpus = with_owners(rows.filter(status_is(Status.OK)))
        name = name_of(
            training.name,
            _fingerprint(corpus),
            config.index.collection,
            FORMAT,
            prior_rule(config.geolocate.owner_damping),
        )
        if library.has(name):
            run.say(f"index {name} is there, whole")
        else:
            run.say(f"index {name}: {run.tally.count(Status.OK)} photos into {training.plan['shards']} shards")
            _write_index(run, corpus, library.version_folder(name), training, data, name)
        library.put_shape(name, write_prior(run, corpus, name))
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(rows, run.stage, name)))
        _inherit_calibration(library, name)
        library.use(name)
    finally:
        rows.unpersist()
    return run.finish()


def _inherit_calibration(library: Library, name: str) -> None:
    """A corpus that has grown by a night is calibrated as it was, until ``calibrate`` is run again."""
    before = library.in_use()
    if before and library.calibration(name) is None:
        theirs = Manifest.read(library.version_folder(before)).training_sample
        ours = Manifest.read(library.version_folder(name)).training_sample
        found = library.calibration(before) if theirs == ours else None
        if found is not None:
            library.put_calibration(name, found)


def _same_descriptor(training: Training, name: str, version: str) -> None:
    if (training.descriptor, training.descriptor_version) != (name, version):
        raise UsageError(
            f"the training {training.name} is for descriptor {training.descriptor} {training.descriptor_version}, "
            f"index.descriptor is {name} {version}; run train"
        )


def with_owners(corpus: DataFrame) -> DataFrame:
    """The corpus' photos, places and vectors with a hash of each ``owner`` and the number of ``owner_photos``.

    ``accuracy`` is a geotag's level, 1 to 16, and 0 where the metadata have none or a number that is no level.
    """
    counts = corpus.groupBy("owner_id").agg(F.count("*").cast("float").alias("owner_photos"))
    rows = corpus.join(counts, "owner_id").withColumn("owner", F.xxhash64("owner_id"))
    known = F.col("accuracy").between(UNKNOWN, STREET)
    rows = rows.withColumn("accuracy", F.when(known, F.col("accuracy")).otherwise(UNKNOWN).cast("tinyint"))
    return rows.select("photo_id", "latitude", "longitude", "accuracy", "owner", "owner_photos", "vector")


def _fingerprint(corpus: DataFrame) -> str:
    """What names a corpus, whatever the order of its rows."""
    each = F.xxhash64(*(F.col(c) for c in corpus.columns)).cast("decimal(38,0)")
    row = corpus.agg(F.count("*").alias("n"), F.sum(each).alias("s")).collect()[0]
    return f"{row['n']}:{row['s']}"


def _write_index(run: Run, corpus: DataFrame, folder: Folder, training: Training, data: bytes, name: str) -> None:
    """The shards, side by side; then what belongs to all; the manifest last."""
    count = training.plan["shards"]
    broadcast = corpus.sparkSession.sparkContext.broadcast(data)
    encode = partial(_encode, data=broadcast)
    encoded = corpus.mapInArrow(encode, spark_schema(_ENCODED)).persist(StorageLevel.DISK_ONLY)
    trained = Trained.from_bytes(data)
    sizes = np.zeros(trained.ivf.nlist, np.int64)
    for row in encoded.groupBy("list").count().collect():
        sizes[row["list"]] = row["count"]
    shard_of_list = group(trained.centroids, sizes, count)

    numbers = [(i, int(s)) for i, s in enumerate(shard_of_list)]
    placed = encoded.join(
        F.broadcast(corpus.sparkSession.createDataFrame(numbers, "list bigint, shard bigint")), "list"
    )
    ordered = placed.repartitionById(count, F.col("shard").cast("int")).sortWithinPartitions("shard", "photo_id")
    write = partial(_write_shards, folder=folder, data=broadcast, shard_of_list=shard_of_list)
    written = {row["shard"]: row.asDict() for row in ordered.mapInArrow(write, spark_schema(_WRITTEN)).collect()}
    encoded.unpersist()

    files: dict[str, str] = {}
    rows: list[int] = []
    total, products = np.zeros(trained.ivf.d), np.zeros((trained.ivf.d,) * 2)
    for shard in range(count):
        made = written.get(shard)
        if made is None:  # none of its lists has a photo
            lists = np.flatnonzero(shard_of_list == shard)
            with TemporaryDirectory() as passing:
                made = _write_shard(folder, trained, lists, shard, _no_rows(trained), Path(passing))
        files |= dict(zip(shard_files(shard), (made["faiss"], made["arrow"]), strict=True))
        rows.append(made["rows"])
        total += np.frombuffer(made["sum"])
        products += np.frombuffer(made["products"]).reshape(products.shape)
    files[TRAINED] = folder.write(TRAINED, data)
    files[MOMENTS] = folder.write(MOMENTS, _moments(total, products, sum(rows)))
    Manifest(
        format=FORMAT,
        index_version=name,
        descriptor=training.descriptor,
        descriptor_version=training.descriptor_version,
        collection=run.config.index.collection,
        plan=training.plan,
        training_sample=training.training_sample,
        shard_of_list=[int(s) for s in shard_of_list],
        rows=rows,
        files=files,
    ).write(folder)


def _encode(batches: Iterator[pa.RecordBatch], data: object) -> Iterator[pa.RecordBatch]:
    """In a Python worker: descriptors to list, code and rotated vector."""
    trained = Trained.from_bytes(data.value)  # type: ignore[attr-defined]
    for batch in batches:
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        rotated = trained.rotate(flat.reshape(batch.num_rows, -1).astype(np.float32))
        _, lists = trained.assign(rotated, 1)
        codes = trained.encode(rotated, lists[:, 0])
        halves = rotated.astype(np.float16)
        columns = {
            "list": pa.array(lists[:, 0]),
            "code": binaries(codes.ravel(), np.full(len(codes), codes.shape[1])),
            "vector": binaries(halves.ravel(), np.full(len(halves), halves.shape[1])),
        }
        names = [f.name for f in _ENCODED]
        arrays = [columns[n] if n in columns else batch.column(n) for n in names]
        yield pa.RecordBatch.from_arrays(arrays, schema=_ENCODED)


def _write_shards(
    batches: Iterator[pa.RecordBatch], folder: Folder, data: object, shard_of_list: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: rows sorted by shard and id to files.

    A shard passes through this machine's disk, twice its files' size. Memory holds its codes, 32 bytes a photo besides,
    and 10,000 vectors at a time.
    """
    trained = Trained.from_bytes(data.value)  # type: ignore[attr-defined]
    pieces = (piece for batch in batches for piece in rows_alike(batch, "shard"))
    for shard, mine in groupby(pieces, key=itemgetter(0)):
        with TemporaryDirectory(dir=os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None) as passing:
            with Spool(Path(passing)) as spool:
                for _, rows in mine:
                    spool.add(_rows(rows))
                whole = spool.rows()
            made = _write_shard(folder, trained, np.flatnonzero(shard_of_list == shard), shard, whole, Path(passing))
            del whole  # its columns are mapped from there
        yield pa.RecordBatch.from_pylist([made], schema=_WRITTEN)


def _rows(batch: pa.RecordBatch) -> shards.Rows:
    columns = {name: batch.column(name).to_numpy() for name in _KNOWN}
    return shards.Rows(
        lists=batch.column("list").to_numpy(),
        codes=matrix(batch.column("code"), np.uint8),
        vectors=matrix(batch.column("vector"), np.float16),
        **columns,
    )


def _no_rows(trained: Trained) -> shards.Rows:
    whole, half = np.zeros(0, np.int64), np.zeros((0, trained.ivf.d), np.float16)
    codes = np.zeros((0, trained.ivf.code_size), np.uint8)
    counts, levels = np.zeros(0, np.float32), np.zeros(0, np.int8)
    return shards.Rows(whole, whole, codes, half, np.zeros(0), np.zeros(0), whole, counts, levels)


def _write_shard(
    folder: Folder, trained: Trained, lists: np.ndarray, shard: int, rows: shards.Rows, passing: Path
) -> dict:
    """A shard's files, by way of a folder on this machine's disk."""
    codes, photos = shard_files(shard)
    shards.write_faiss(passing / codes, trained, lists, rows)
    shards.write_arrow(passing / photos, rows)
    total, products = np.zeros(trained.ivf.d), np.zeros((trained.ivf.d,) * 2)
    for begin in range(0, len(rows.photo_id), _AT_ONCE):
        vectors = rows.vectors[begin : begin + _AT_ONCE].astype(np.float64)
        total += vectors.sum(axis=0)
        products += vectors.T @ vectors
    return {
        "shard": shard,
        "rows": len(rows.photo_id),
        "faiss": folder.put(codes, passing / codes),
        "arrow": folder.put(photos, passing / photos),
        "sum": total.tobytes(),
        "products": products.tobytes(),
    }


def _moments(total: np.ndarray, products: np.ndarray, rows: int) -> bytes:
    """Mean and covariance of the corpus: what a query's similarities look like follows from them."""
    mean = total / max(rows, 1)
    out = io.BytesIO()
    np.savez(out, mean=mean, covariance=products / max(rows, 1) - np.outer(mean, mean))
    return out.getvalue()
