"""Arrow's schemas in Spark's types; numbers in binary columns; batches put together again by a column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

# What offsets of 32 bits reach.
_MOST_BYTES = 2**31 - 1


def spark_schema(schema: pa.Schema) -> StructType:
    """The schema that mapInArrow must be told for batches of an Arrow schema; it casts nothing."""
    return from_arrow_schema(schema)


def binaries(flat: NDArray, counts: NDArray[np.int64]) -> pa.Array:
    """Numbers as binary values, the first of counts[0] numbers, the next of counts[1], and so on; nothing is copied."""
    ends = np.concatenate([[0], np.cumsum(counts)]) * flat.itemsize
    data = np.ascontiguousarray(flat).view(np.uint8).ravel()
    if ends[-1] != len(data):
        raise ValueError(f"{len(data)} bytes can't be cut into values of {ends[-1]}")
    if ends[-1] > _MOST_BYTES:
        raise ValueError(f"{ends[-1]} bytes are more than a column of a batch holds")
    return pa.Array.from_buffers(
        pa.binary(), len(counts), [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    )


def numbers(values: pa.Array, kind: type) -> tuple[NDArray, NDArray[np.int64]]:
    """What ``binaries`` packed: the numbers of all values, and where each value's end (n + 1,); nothing is copied."""
    if values.null_count:
        raise ValueError("a value is missing")
    if not len(values):
        return np.zeros(0, kind), np.zeros(1, np.int64)
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    size = np.dtype(kind).itemsize
    flat = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data is not None else np.zeros(0, np.uint8)
    return flat.view(kind), (ends - ends[0]) // size


def matrix(values: pa.Array, kind: type) -> NDArray:
    """Values of equal length as rows; nothing is copied."""
    flat, _ = numbers(values, kind)
    return flat.reshape(len(values), -1)


def padded(values: pa.Array, kind: type, fill: float) -> NDArray:
    """Values of any length as rows, with a number in what is left of the shorter ones."""
    flat, ends = numbers(values, kind)
    counts = np.diff(ends)
    there = np.arange(counts.max(initial=0)) < counts[:, None]
    out: NDArray = np.full(there.shape, fill, kind)
    out[there] = flat
    return out


def rows_alike(batch: pa.RecordBatch, column: str) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Rows that are sorted by a column of whole numbers, cut where it changes; nothing is copied."""
    value = batch.column(column).to_numpy()
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(value)) + 1, [len(value)]])
    for begin, end in pairwise(cuts):
        if end > begin:
            yield int(value[begin]), batch.slice(begin, end - begin)


def runs_of(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[int, pa.Table]]:
    """Rows that are sorted by a column of whole numbers, as a table for each of its values, one in memory at a time."""
    held: list[pa.RecordBatch] = []
    current = -1
    for batch in batches:
        for value, rows in rows_alike(batch, column):
            if value != current:
                if held:
                    yield current, pa.Table.from_batches(held)
                held, current = [], value
            held.append(rows)
    if held:
        yield current, pa.Table.from_batches(held)
