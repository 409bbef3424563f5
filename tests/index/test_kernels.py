"""The search's compiled loops against numpy, one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from im2gps_spark.index import kernels


def distances(halves: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """(n, rows) of all pairs."""
    slots = np.tile(np.arange(len(halves)), (len(queries), 1))
    out = np.empty(slots.shape)
    kernels.exact_distances(halves.view(np.uint16), slots, queries, out, kernels.LINE)
    return out


def test_every_number_in_half_precision_is_taken_for_what_it_is():
    bits = np.arange(2**16, dtype=np.uint16)
    halves = bits.view(np.float16)
    halves = halves[np.isfinite(halves)][:, None]
    found = distances(halves, np.zeros((1, 1), np.float32))[0]
    assert len(found) == 2 * 31 * 1024
    assert np.array_equal(found, np.abs(halves[:, 0].astype(np.float64)))
    # Signs: the distance to one is not that of the opposite number.
    signed = distances(halves, np.ones((1, 1), np.float32))[0]
    assert np.array_equal(signed, np.abs(halves[:, 0].astype(np.float32) - np.float32(1)).astype(np.float64))


@pytest.mark.parametrize("dimension", [1, 7, 8, 31, 128, 256, 1000])
def test_distances_do_not_follow_from_company(dimension):
    rng = np.random.default_rng(dimension)
    rows, queries = rng.normal(size=(60, dimension)), rng.normal(size=(9, dimension)).astype(np.float32)
    halves = (rows / np.sqrt(dimension)).astype(np.float16)
    found = distances(halves, queries)
    offset = halves.astype(np.float32)[None] - queries[:, None]
    expected = np.sqrt((offset.astype(np.float64) ** 2).sum(axis=2)).astype(np.float32)
    assert np.array_equal(found, expected.astype(np.float64))
    for i in range(9):
        assert np.array_equal(distances(halves[3:], queries[i : i + 1])[0], found[i, 3:])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_ids_are_found(data):
    ids = np.array(sorted(data.draw(st.sets(st.integers(0, 2**63 - 1), min_size=1, max_size=70))), np.int64)
    shape = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 40)))
    rows = data.draw(arrays.arrays(np.int64, shape, elements=st.integers(-1, len(ids) - 1)))
    slots = np.empty(shape, np.int64)
    assert kernels.find_slots(ids, np.where(rows < 0, -1, ids[rows]), slots)
    assert np.array_equal(slots, rows)
    strange = data.draw(st.integers(0, 2**63 - 1).filter(lambda i: i not in ids))
    assert not kernels.find_slots(ids, np.array([[ids[0], strange]]), np.empty((1, 2), np.int64))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, np.inf]), st.integers(-1, 9)), min_size=12, max_size=12),
        max_size=4,
    )
)
def test_ties_are_ordered_by_id(rows):
    distance = np.array([[d for d, _ in row] for row in rows]).reshape(-1, 12)
    ids = np.array([[i for _, i in row] for row in rows], np.int64).reshape(-1, 12)
    for most in (1, 5, 12):
        rank = np.argsort(distance, axis=1)
        kernels.order_ties(distance, ids, rank, most)
        for i, row in enumerate(rows):
            assert sorted(rank[i].tolist()) == list(range(12))
            assert [row[j] for j in rank[i, :most]] == sorted(row)[:most]
    rank = np.argsort(distance, axis=1)
    distance, ids = np.take_along_axis(distance, rank, axis=1), np.take_along_axis(ids, rank, axis=1)
    kernels.sort_ties(distance, ids)
    for i, row in enumerate(rows):
        assert list(zip(distance[i], ids[i], strict=True)) == sorted(row)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from([0.0, 0.5, 2.0, 3.0]), st.integers(0, 99)), max_size=15, unique=True),
        max_size=4,
    ),
    st.integers(1, 16),
)
def test_the_first_are_kept_and_of_equal_ones_those_with_the_least_ids(rows, most):
    ends = np.cumsum([0, *map(len, rows)])
    every = np.array([d for row in rows for d, _ in row], np.float32)
    found = np.array([i for row in rows for _, i in row], np.int64)
    last = np.array([sorted(row)[:most][-1][0] if row else 9.0 for row in rows], np.float32)
    distance, ids = np.full((len(rows), most), 9.0, np.float32), np.full((len(rows), most), -1, np.int64)
    kernels.keep_first(ends, every, found, last, distance, ids)
    for i, row in enumerate(rows):
        first = sorted(row)[:most]
        assert sorted(zip(distance[i], ids[i], strict=True))[: len(first)] == first
        assert np.sum(ids[i] >= 0) == len(first)


def test_variances_are_those_of_the_matrix_product():
    rng = np.random.default_rng(0)
    vectors, factors = rng.normal(size=(8, 50)), rng.normal(size=(50, 70))
    covariance = factors @ factors.T
    assert kernels.variances(vectors, covariance) == pytest.approx(np.diag(vectors @ covariance @ vectors.T), rel=1e-12)
    assert kernels.variances(vectors[2:3], covariance)[0] == kernels.variances(vectors, covariance)[2]
