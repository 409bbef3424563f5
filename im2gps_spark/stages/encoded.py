"""A photo on its way to a shard: its list, its code and its rotated vector, beside what is known of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyspark import Broadcast

from im2gps_spark.index.shard import Rows
from im2gps_spark.index.training import Trained
from im2gps_spark.stages.arrow import binaries, matrix

ENCODED = pa.schema(
    [
        ("list", pa.int64()),
        ("photo_id", pa.int64()),
        ("code", pa.binary()),
        ("vector", pa.binary()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("owner", pa.int64()),
        ("accuracy", pa.int8()),
    ]
)
_KNOWN = ("photo_id", "latitude", "longitude", "owner", "accuracy")


def encode(batches: Iterator[pa.RecordBatch], data: Broadcast) -> Iterator[pa.RecordBatch]:
    """In a Python worker: descriptors to list, code and rotated vector."""
    trained = Trained.from_bytes(data.value)
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
        names = [f.name for f in ENCODED]
        arrays = [columns[n] if n in columns else batch.column(n) for n in names]
        yield pa.RecordBatch.from_arrays(arrays, schema=ENCODED)


def rows_of(batch: pa.RecordBatch) -> Rows:
    """Encoded photos, in their order."""
    columns = {name: batch.column(name).to_numpy() for name in _KNOWN}
    return Rows(
        lists=batch.column("list").to_numpy(),
        codes=matrix(batch.column("code"), np.uint8),
        vectors=matrix(batch.column("vector"), np.float16),
        **columns,
    )


def no_rows(trained: Trained) -> Rows:
    """None, as wide as others."""
    whole, half = np.zeros(0, np.int64), np.zeros((0, trained.ivf.d), np.float16)
    codes = np.zeros((0, trained.ivf.code_size), np.uint8)
    return Rows(whole, whole, codes, half, np.zeros(0), np.zeros(0), whole, np.zeros(0, np.int8))
