"""Rows in order, whatever parts they were written in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.store import sorting
from im2gps_spark.store.sorting import in_order

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=60)


def batch(keys: list[str]) -> pa.RecordBatch:
    return pa.record_batch({"key": pa.array(keys, pa.string()), "n": pa.array(range(len(keys)), pa.int64())})


@pytest.mark.parametrize("rows_a_batch", [1, 3, 8192])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(TEXTS, max_size=6), st.integers(1, 50))
def test_it_is_what_sorting_all_at_once_gives(rows_a_batch, lists, rows_a_part):
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(sorting, "_ROWS_A_BATCH", rows_a_batch)
        tables = list(in_order(map(batch, lists), "key", Path(folder), rows_a_part))
    rows = [(row["key"], row["n"]) for table in tables for row in table.to_pylist()]
    assert [key for key, _ in rows] == sorted((key for keys in lists for key in keys), key=str.encode)
    assert sorted(rows) == sorted((key, n) for keys in lists for n, key in enumerate(keys))


def test_parts_are_written_as_the_rows_come(tmp_path):
    def batches():
        for number in range(10):
            yield batch([f"{number}{n:03d}" for n in range(100)])
            # Of what came before, less than a part is only in memory.
            assert len(list(tmp_path.iterdir())) == (number + 1) // 3

    assert sum(table.num_rows for table in in_order(batches(), "key", tmp_path, 300)) == 1000
