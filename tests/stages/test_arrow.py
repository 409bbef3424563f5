"""Numbers in binary columns, and rows cut and put together by a column."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.stages import arrow
from im2gps_spark.stages.arrow import binaries, matrix, numbers, padded, rows_alike, runs_of

KINDS = st.sampled_from([np.int64, np.float64, np.float32, np.float16, np.int8, np.uint8])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 5), max_size=9), KINDS, st.integers(0, 9), st.integers(0, 9))
def test_numbers_come_out_as_they_went_in(counts, kind, begin, length):
    flat = np.arange(sum(counts)).astype(kind)
    values = binaries(flat, np.array(counts, np.int64))
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(int)
    assert values.type == pa.binary()
    assert values.to_pylist() == [flat[a:b].tobytes() for a, b in itertools.pairwise(ends)]
    # A slice knows its own numbers only; so does a value that crossed a stream.
    some = values.slice(begin, length)
    batch = pa.RecordBatch.from_arrays([some], names=["some"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    (again,) = pa.ipc.open_stream(sink.getvalue())
    for column in (some, again.column("some")):
        found, cuts = numbers(column, kind)
        assert found.dtype == kind
        pieces = [found[a:b].tobytes() for a, b in itertools.pairwise(cuts)]
        assert pieces == values.to_pylist()[begin : begin + length]


def test_rows_of_equal_and_of_any_length():
    assert matrix(binaries(np.arange(6.0), np.array([3, 3])), np.float64).tolist() == [[0, 1, 2], [3, 4, 5]]
    ragged = binaries(np.arange(3, dtype=np.int64), np.array([1, 0, 2]))
    assert padded(ragged, np.int64, -1).tolist() == [[0, -1], [-1, -1], [1, 2]]
    assert padded(ragged.slice(2, 1), np.int64, -1).tolist() == [[1, 2]]
    assert padded(ragged.slice(1, 1), np.int64, -1).shape == (1, 0)


def test_what_can_not_be_packed_or_taken_apart_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="can't be cut"):
        binaries(np.arange(5), np.array([2, 2]))
    with pytest.raises(ValueError, match="missing"):
        numbers(pa.array([b"ab", None]), np.uint8)
    monkeypatch.setattr(arrow, "_MOST_BYTES", 15)
    with pytest.raises(ValueError, match="16 bytes are more"):
        binaries(np.arange(2), np.array([1, 1]))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 7))
def test_rows_are_cut_where_the_column_changes_and_put_together(values, size):
    values = sorted(values)
    table = pa.table({"key": pa.array(values, pa.int64()), "row": pa.array(range(len(values)), pa.int64())})
    batches = table.to_batches(max_chunksize=size)
    cut = [piece for batch in batches for piece in rows_alike(batch, "key")]
    assert all(set(rows.column("key").to_pylist()) == {key} for key, rows in cut)
    assert [row for _, rows in cut for row in rows.column("row").to_pylist()] == list(range(len(values)))
    whole = list(runs_of(batches, "key"))
    assert [key for key, _ in whole] == sorted(set(values))
    assert [row for _, rows in whole for row in rows.column("row").to_pylist()] == list(range(len(values)))
