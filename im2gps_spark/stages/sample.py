"""A sample of the described photos on the driver: the same whatever the partitions, and in memory once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from im2gps_spark.errors import StageError
from im2gps_spark.index.components import Linear
from im2gps_spark.stages.arrow import spark_schema

# A batch of rows, as bytes of int64 and of float32.
_PACKED = pa.schema([("ids", pa.binary()), ("numbers", pa.binary())])
_LOWEST, _HASHES = -(2**63), 2**64


@dataclass(frozen=True)
class Sample:
    """Photos of the least hashes.

    Attributes:
        rows: with ``photo_id`` and ``vector``; read more than once.
        ids: theirs, ascending.
    """

    rows: DataFrame
    ids: NDArray[np.int64]


def choose(rows: DataFrame, of: int, most: int) -> Sample:
    """Of so many photos at most so many: those whose ids have the least hashes.

    Args:
        rows: photos with ``photo_id`` and ``vector``; persisted, for they are read more than once.
        of: how many they are.
    """
    rows = rows.select("photo_id", "vector", F.xxhash64("photo_id").alias("hash"))
    # Hashes are spread evenly: below a tenth more than the share that is wanted there are enough, or nearly always.
    share = min(1.0, 1.1 * most / of)
    while True:
        near = rows.filter(F.col("hash") <= min(_LOWEST + int(share * _HASHES), 2**63 - 1))
        found = near.select("photo_id", "hash").toArrow()
        if len(found) >= min(of, most) or share >= 1.0:
            break
        share = min(1.0, 2 * share)
    ids, hashes = (found.column(name).to_numpy() for name in ("photo_id", "hash"))
    order = np.lexsort((ids, hashes))[:most]
    last_id, last_hash = int(ids[order[-1]]), int(hashes[order[-1]])
    tie = (F.col("hash") == last_hash) & (F.col("photo_id") <= last_id)
    return Sample(near.filter((F.col("hash") < last_hash) | tie), np.sort(ids[order]))


def collect(sample: Sample, width: int, linear: Linear | None = None) -> NDArray[np.float32]:
    """A sample's vectors (n, width) float32, in the order of its ids; mapped by the workers first, if so asked.

    They come partition by partition, as one block of bytes a batch, and go where they belong: neither Spark's driver
    nor this process holds them twice.

    Raises:
        StageError: the photos are not those of the ids any more.
    """
    map_by = sample.rows.sparkSession.sparkContext.broadcast(linear)
    packed = sample.rows.select("photo_id", "vector").mapInArrow(partial(_pack, linear=map_by), spark_schema(_PACKED))
    vectors = np.empty((len(sample.ids), width), np.float32)
    seen = 0
    for row in packed.toLocalIterator(prefetchPartitions=True):
        ids = np.frombuffer(row["ids"], np.int64)
        place = np.searchsorted(sample.ids, ids)
        vectors[place] = np.frombuffer(row["numbers"], np.float32).reshape(len(ids), width)
        seen += len(ids)
    if seen != len(sample.ids):
        raise StageError(f"train: the sample was of {len(sample.ids)} photos, and {seen} came; run train again")
    return vectors


def _pack(batches: Iterable[pa.RecordBatch], linear: Broadcast) -> Iterator[pa.RecordBatch]:
    """In a Python worker: ids and vectors of a batch, as bytes."""
    for batch in batches:
        if not batch.num_rows:
            continue
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        vectors = flat.reshape(batch.num_rows, -1).astype(np.float32, copy=False)
        if linear.value is not None:
            vectors = linear.value.apply_singly(vectors)
        ids = batch.column("photo_id").to_numpy()
        yield pa.RecordBatch.from_pylist([{"ids": ids.tobytes(), "numbers": vectors.tobytes()}], schema=_PACKED)
