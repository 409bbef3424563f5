"""Clustering: lists are shared out fairly, the pass over all vectors helps, and two levels come close to one."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from im2gps_spark.index.clustering import (
    TWO_LEVELS,
    cluster,
    flat,
    moved,
    nearest,
    nearly_nearest,
    share_lists,
    two_levels,
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def one_pass(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return moved(vectors, centroids, nearest(vectors, centroids))


def drawn(n: int, dimension: int = 16, clusters: int = 1600, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(clusters, dimension))
    return (centre[rng.integers(0, clusters, n)] + 0.4 * rng.normal(size=(n, dimension))).astype(np.float32)


def squared_error(vectors: np.ndarray, centroids: np.ndarray) -> float:
    return float(faiss.knn(vectors, centroids, 1)[0].mean(dtype=np.float64))


def sizes(vectors: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return np.bincount(faiss.knn(vectors, centroids, 1)[1][:, 0], minlength=len(centroids))


# --- shares ---


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 50) | st.integers(0, 10**9), min_size=1, max_size=40), st.floats(0, 1))
@example([1, 1, 1], 1.0)
@example([1000, 1, 0], 0.0)
def test_lists_are_shared_out_in_proportion(points, part):
    points = np.array(points)
    groups, total = int((points > 0).sum()), int(points.sum())
    if not total:
        return
    lists = groups + int(part * (min(total, 10**6) - groups))
    shares = share_lists(points, lists)
    assert shares.sum() == lists
    assert ((shares > 0) == (points > 0)).all()
    assert (shares <= points).all()
    # One each, and of the others what is owed, to within one.
    owed = np.maximum(points - 1, 0) * (lists - groups) / max(total - groups, 1)
    assert (np.abs(shares - (points > 0) - owed) < 1 + 1e-6).all()


def test_the_largest_remainders_get_what_is_left():
    assert share_lists(np.array([11, 6, 0, 4]), 12).tolist() == [6, 4, 0, 2]
    assert share_lists(np.array([3, 3, 3]), 5).tolist() == [2, 2, 1]


# --- one pass ---


def test_a_pass_moves_centroids_to_the_means_of_their_vectors():
    vectors = np.array([[0.0], [1.0], [2.0], [10.0], [20.0]], np.float32)
    assert one_pass(vectors, np.array([[0.5], [12.0]], np.float32)).tolist() == [[1.0], [15.0]]


def test_a_list_without_vectors_gets_half_of_the_largest():
    vectors = np.concatenate([drawn(60, 2, 1), 50 + drawn(200, 2, 2, seed=1), drawn(40, 2, 1, seed=2) - 50])
    start = np.array([[0, 0], [50, 50], [-50, -50], [900, 900], [-900, 900]], np.float32)
    assert sizes(vectors, start).tolist()[3:] == [0, 0]
    moved = one_pass(vectors, start)
    found = sizes(vectors, moved)
    assert (found > 0).all()
    assert {40, 60} < set(found.tolist())  # those beside the largest are whole


def test_vectors_that_are_all_the_same_are_not_cut():
    moved = one_pass(np.ones((9, 3), np.float32), np.array([[1, 1, 1], [5, 5, 5]], np.float32))
    assert moved.tolist() == [[1, 1, 1], [5, 5, 5]]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 40), st.integers(0, 99))
def test_a_pass_never_makes_it_worse(lists, seed):
    vectors = drawn(300, 4, 9, seed)
    start = vectors[np.random.default_rng(seed).integers(0, 300, lists)]
    assert squared_error(vectors, one_pass(vectors, start)) <= squared_error(vectors, start) * (1 + 1e-6)


@pytest.mark.parametrize("lists", [1, 2, 30, 400])
def test_looking_nearby_finds_most_of_the_nearest(lists):
    vectors = drawn(70_000, clusters=lists)
    centroids = vectors[:: len(vectors) // lists][:lists]
    found, true = nearly_nearest(vectors, centroids), nearest(vectors, centroids)
    assert (found == true).mean() > 0.85
    distance = ((vectors - centroids[found]) ** 2).sum(axis=1)
    assert (distance >= ((vectors - centroids[true]) ** 2).sum(axis=1) * (1 - 1e-4)).all()


# --- all of it ---


def test_few_lists_are_clustered_flat():
    vectors = drawn(3000)
    assert np.array_equal(cluster(vectors, TWO_LEVELS - 1), flat(vectors, TWO_LEVELS - 1))


@pytest.mark.parametrize("lists", [TWO_LEVELS, 1500])
def test_two_levels_and_a_pass_come_close_to_flat(lists):
    vectors, others = drawn(30 * lists), drawn(5000, seed=0)
    plain, found, without = (way(vectors, lists) for way in (flat, cluster, two_levels))
    assert found.shape == plain.shape == (lists, 16)
    assert squared_error(others, found) < 1.05 * squared_error(others, plain)
    assert squared_error(vectors, found) < squared_error(vectors, without)


@pytest.mark.parametrize("lists", [1, 7, TWO_LEVELS, 1100])
def test_every_list_has_vectors(lists):
    vectors = drawn(30 * lists, clusters=50)
    assert (sizes(vectors, cluster(vectors, lists)) > 0).all()


def test_a_list_for_every_vector():
    vectors = drawn(TWO_LEVELS + 44)
    assert squared_error(vectors, cluster(vectors, len(vectors))) < 1e-3


@pytest.mark.parametrize("distinct", [1, 2, 17])
def test_many_vectors_that_are_the_same(distinct):
    vectors = drawn(distinct)[np.arange(6000) % distinct]
    centroids = cluster(vectors, 1100)
    assert np.isfinite(centroids).all()
    assert squared_error(vectors, centroids) < 1e-5


def test_the_same_vectors_give_the_same_bytes():
    vectors = drawn(32_000)
    assert cluster(vectors, 1050).tobytes() == cluster(vectors.copy(), 1050).tobytes()


@pytest.mark.parametrize("lists", [0, 6])
def test_lists_that_vectors_do_not_suffice_for(lists):
    with pytest.raises(ValueError, match=f"5 vectors can't be divided among {lists} lists"):
        cluster(drawn(5), lists)
