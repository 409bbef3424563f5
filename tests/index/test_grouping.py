"""Lists to shards: every shard its share, near lists together, always the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from im2gps_spark.index.grouping import group


def centroids(lists: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(lists, dimension)).astype(np.float32)


def loads(shard: np.ndarray, rows: np.ndarray, shards: int) -> np.ndarray:
    return np.bincount(shard, weights=rows, minlength=shards)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(0, 5) | st.integers(0, 10**7), min_size=1, max_size=60),
    st.integers(1, 12),
    st.integers(0, 5),
)
@example([0] * 7, 7, 0)
@example([10**7] + [0] * 9, 4, 0)
def test_every_shard_has_a_list_and_close_to_its_share(rows, shards, seed):
    sizes = np.array(rows)
    shards = min(shards, len(sizes))
    shard = group(centroids(len(sizes), seed=seed), sizes, shards)
    assert shard.shape == sizes.shape
    assert shard.dtype == np.int64
    assert set(shard.tolist()) == set(range(shards))
    # A list is not divided: half of the one at the cut, at each halving.
    assert loads(shard, sizes, shards).max() <= sizes.sum() / shards + sizes.max()


@pytest.mark.parametrize(("lists", "shards"), [(64, 8), (6, 2), (6, 3), (10, 3), (100, 7), (4096, 50), (12, 12)])
def test_equal_lists_are_divided_equally(lists, shards):
    shard = group(centroids(lists), np.full(lists, 1000), shards)
    counts = np.bincount(shard, minlength=shards)
    assert counts.max() - counts.min() <= (lists % shards > 0)


def test_many_lists_balance_to_a_hundredth():
    rng = np.random.default_rng(1)
    rows = rng.gamma(2.0, 250.0, size=4096).astype(np.int64)
    load = loads(group(centroids(4096, 16), rows, 16), rows, 16)
    assert load.max() / load.mean() <= 1.01


def test_empty_lists_are_divided_too():
    counts = np.bincount(group(centroids(80), np.zeros(80, np.int64), 8))
    assert counts.tolist() == [10] * 8


def test_near_lists_lie_together():
    rng = np.random.default_rng(2)
    town = np.repeat(np.arange(4), 25)
    places = 10 * rng.normal(size=(4, 16))[town] + rng.normal(size=(100, 16))
    order = rng.permutation(100)
    shard = group(places[order].astype(np.float32), np.full(100, 9), 4)
    assert len(set(zip(town[order].tolist(), shard.tolist(), strict=True))) == 4


def test_the_same_lists_are_grouped_the_same():
    rows = np.random.default_rng(3).integers(0, 100, 200)
    first = group(centroids(200), rows, 6)
    assert np.array_equal(group(centroids(200), rows, 6), first)
    assert not np.array_equal(group(-centroids(200), rows[::-1].copy(), 6), first)


def test_what_is_handed_in_is_not_changed():
    places, rows = centroids(20), np.arange(20)
    group(places, rows, 3)
    assert np.array_equal(places, centroids(20))
    assert rows.tolist() == list(range(20))


@pytest.mark.parametrize("lists", [1, 5, 64])
def test_one_centroid_many_times(lists):
    shard = group(np.ones((lists, 4), np.float32), np.full(lists, 3), min(lists, 4))
    assert np.bincount(shard).max() - np.bincount(shard).min() <= 1


@pytest.mark.parametrize("shards", [0, -1, 4])
def test_more_shards_than_lists_are_refused(shards):
    with pytest.raises(ValueError, match="3 lists can't be divided among"):
        group(centroids(3), np.ones(3, np.int64), shards)
