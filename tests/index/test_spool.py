"""Rows by way of the disk are the rows that went in, and so are the files that are made of them."""

from __future__ import annotations

import numpy as np
import pytest

from im2gps_spark.index.shard import Rows, arrow_bytes, faiss_bytes, write_arrow, write_faiss
from im2gps_spark.index.spool import Spool
from tests.index import draw, rows_of, trained_on

CORPUS = draw(300, seed=5)
TRAINED = trained_on(CORPUS, lists=8)[0]
ROWS = rows_of(TRAINED, CORPUS).sorted()
NAMES = list(Rows.__dataclass_fields__)


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_rows_come_back_in_their_order(tmp_path, size):
    with Spool(tmp_path) as spool:
        for begin in range(0, 300, size):
            spool.add(ROWS.take(np.arange(begin, min(begin + size, 300))))
        rows = spool.rows()
    for name in NAMES:
        column = getattr(rows, name)
        assert isinstance(column, np.memmap)
        assert column.dtype == getattr(ROWS, name).dtype
        assert np.array_equal(column, getattr(ROWS, name))


def test_rows_in_another_order_are_sorted(tmp_path):
    with Spool(tmp_path) as spool:
        spool.add(ROWS.take(np.arange(300)[::-1]))
        rows = spool.rows()
    for name in NAMES:
        assert np.array_equal(getattr(rows, name), getattr(ROWS, name))


def test_files_of_spooled_rows_are_the_same_to_the_byte(tmp_path):
    (tmp_path / "columns").mkdir()
    with Spool(tmp_path / "columns") as spool:
        spool.add(ROWS)
        rows = spool.rows()
    write_faiss(tmp_path / "a.faiss", TRAINED, np.arange(8), rows)
    write_arrow(tmp_path / "a.arrow", rows)
    assert (tmp_path / "a.faiss").read_bytes() == faiss_bytes(TRAINED, np.arange(8), ROWS)
    assert (tmp_path / "a.arrow").read_bytes() == arrow_bytes(ROWS)


def test_a_photo_that_comes_twice_is_refused(tmp_path):
    with Spool(tmp_path) as spool:
        spool.add(ROWS)
        spool.add(ROWS.take(np.array([5])))
        with pytest.raises(ValueError, match=f"photo {ROWS.photo_id[5]} stands twice"):
            spool.rows()


def test_pieces_must_be_alike_and_there_must_be_one(tmp_path):
    with Spool(tmp_path) as spool:
        with pytest.raises(ValueError, match="without rows"):
            spool.rows()
        spool.add(ROWS)
        longer = Rows(**{name: getattr(ROWS, name) for name in NAMES} | {"codes": np.zeros((300, 9), np.uint8)})
        with pytest.raises(ValueError, match="codes was of"):
            spool.add(longer)
