"""Centroids of the inverted lists: k-means, on two levels where lists are many.

Everything here gives the same bytes for the same vectors in the same order, on one thread.
"""

from __future__ import annotations

from math import isqrt

import faiss
import numpy as np
from numpy.typing import NDArray

SEED = 2008
ITERATIONS = 20
# From so many lists on, two levels and one pass are worth what they lose (measured, docs/index.md).
TWO_LEVELS = 256


def cluster(vectors: NDArray[np.float32], lists: int) -> NDArray[np.float32]:
    """Centroids (lists, dimension) of vectors (n, dimension).

    Few lists by plain k-means. Many by k-means into sqrt(lists) groups, k-means within each group into its share of the
    lists, and one iteration of k-means over all of them, which gives points near a group's edge to whom they belong.

    Raises:
        ValueError: fewer vectors than lists.
    """
    if not 1 <= lists <= len(vectors):
        raise ValueError(f"{len(vectors)} vectors can't be divided among {lists} lists")
    if lists < TWO_LEVELS:
        return flat(vectors, lists)
    return one_pass(vectors, two_levels(vectors, lists))


def flat(vectors: NDArray[np.float32], lists: int) -> NDArray[np.float32]:
    """Centroids (lists, dimension) by FAISS' k-means over all vectors."""
    return _kmeans(vectors, lists, most=max(256, len(vectors) // lists + 1))


def two_levels(vectors: NDArray[np.float32], lists: int) -> NDArray[np.float32]:
    """Centroids (lists, dimension) by k-means into groups, and within each group."""
    # faiss.contrib.clustering.two_level_clustering was looked at: it fails where a group's share is no list, or more
    # lists than it has points, and it ends without the pass over all vectors.
    groups = _kmeans(vectors, isqrt(lists), most=256)
    which = _nearest(vectors, groups)
    members = _members(which, len(groups))
    shares = share_lists(np.array([len(m) for m in members]), lists)
    parts = [flat(vectors[m], int(share)) for m, share in zip(members, shares, strict=True) if share]
    return np.concatenate(parts)


def share_lists(points: NDArray[np.int64], lists: int) -> NDArray[np.int64]:
    """Lists of each group: one if it has a point, the others in proportion to its points, by largest remainders.

    Args:
        points: (groups,) of them in each group.
        lists: to be shared out; as many as groups that have points, at least, and at most as many as points.

    Returns:
        (groups,) int64 that sum to ``lists``; no group has more lists than points.
    """
    some = (points > 0).astype(np.int64)
    left, among = lists - int(some.sum()), int((points - some).sum())
    # In whole numbers: a group of p points is owed at most p - 1 lists more, so that none is asked for too many.
    owed = (points - some) * left
    shares = some + owed // max(among, 1)
    rest = np.argsort(-(owed % max(among, 1)), kind="stable")[: lists - int(shares.sum())]
    shares[rest] += 1
    return np.asarray(shares)


def one_pass(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Centroids (lists, dimension) after one iteration of Lloyd's algorithm over all vectors.

    A list without a vector gets a half of the largest one, cut by k-means; where that has no two different vectors, it
    keeps its centroid.
    """
    members = _members(_nearest(vectors, centroids), len(centroids))
    moved = centroids.copy()
    for number in [i for i, m in enumerate(members) if not len(m)]:
        largest = int(np.argmax([len(m) for m in members]))
        halves = _halves(vectors, members[largest])
        if halves is None:
            break
        members[largest], members[number] = halves
    for number, m in enumerate(members):
        if len(m):
            moved[number] = vectors[m].mean(axis=0, dtype=np.float64)
    return moved


def _halves(
    vectors: NDArray[np.float32], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    if len(members) < 2:
        return None
    side = _nearest(vectors[members], flat(vectors[members], 2)) == 1
    return (members[~side], members[side]) if side.any() and not side.all() else None


def _members(which: NDArray[np.int64], lists: int) -> list[NDArray[np.int64]]:
    """Rows in each list, ascending."""
    order = np.argsort(which, kind="stable")
    return np.split(order, np.searchsorted(which[order], np.arange(1, lists)))


def _nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.asarray(faiss.knn(vectors, centroids, 1)[1][:, 0])


def _kmeans(vectors: NDArray[np.float32], k: int, most: int) -> NDArray[np.float32]:
    kmeans = faiss.Kmeans(
        vectors.shape[1], k, niter=ITERATIONS, seed=SEED, min_points_per_centroid=1, max_points_per_centroid=most
    )
    kmeans.train(np.ascontiguousarray(vectors))
    return np.asarray(kmeans.centroids)
