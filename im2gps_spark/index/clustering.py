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
# Of fewer lists, plain k-means takes a second or two; from so many on, two levels are worth the little they lose, and
# these passes win back most of that (measured, docs/index.md).
TWO_LEVELS = 1024
NEAR_PASSES = 2
NEAR_GROUPS = 4
_BLOCK = 2**16
"""Vectors that notes are kept on at once."""


def cluster(vectors: NDArray[np.float32], lists: int) -> NDArray[np.float32]:
    """Centroids (lists, dimension) of vectors (n, dimension).

    Few lists by plain k-means. Many by k-means into sqrt(lists) groups and k-means within each group into its share of
    the lists; then come iterations over all lists, that give points near a group's edge to whom they belong: some that
    look at the lists nearby only, and one that looks at all.

    Raises:
        ValueError: fewer vectors than lists.
    """
    if not 1 <= lists <= len(vectors):
        raise ValueError(f"{len(vectors)} vectors can't be divided among {lists} lists")
    if lists < TWO_LEVELS:
        return flat(vectors, lists)
    centroids = two_levels(vectors, lists)
    for _ in range(NEAR_PASSES):
        centroids = moved(vectors, centroids, nearly_nearest(vectors, centroids))
    return moved(vectors, centroids, nearest(vectors, centroids))


def flat(vectors: NDArray[np.float32], lists: int) -> NDArray[np.float32]:
    """Centroids (lists, dimension) by FAISS' k-means over all vectors."""
    return _kmeans(vectors, lists, most=max(256, len(vectors) // lists + 1))


def two_levels(vectors: NDArray[np.float32], lists: int) -> NDArray[np.float32]:
    """Centroids (lists, dimension) by k-means into groups, and within each group."""
    # faiss.contrib.clustering.two_level_clustering was looked at: it fails where a group's share is no list, or more
    # lists than it has points, and it ends without the pass over all vectors.
    groups = _kmeans(vectors, isqrt(lists), most=256)
    which = nearest(vectors, groups)
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


def moved(
    vectors: NDArray[np.float32], centroids: NDArray[np.float32], which: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Centroids (lists, dimension) as means of their vectors, given which list each vector (n,) is in.

    A list without a vector gets a half of the largest one, cut by k-means; where that has no two different vectors, it
    keeps its centroid.
    """
    members = _members(which, len(centroids))
    means = centroids.copy()
    for number in [i for i, m in enumerate(members) if not len(m)]:
        largest = int(np.argmax([len(m) for m in members]))
        halves = _halves(vectors, members[largest])
        if halves is None:
            break
        members[largest], members[number] = halves
    for number, m in enumerate(members):
        if len(m):
            means[number] = vectors[m].mean(axis=0, dtype=np.float64)
    return means


def nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) number of the nearest centroid of each vector."""
    return np.asarray(faiss.knn(vectors, centroids, 1)[1][:, 0])


def nearly_nearest(vectors: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """(n,) number of the nearest centroid among those of the groups that are nearest to the vector.

    Mostly that is the nearest of all, for a fraction of the distances, and they are products of matrices still, as they
    would not be in an inverted file of centroids.
    """
    groups = _kmeans(centroids, isqrt(len(centroids)), most=len(centroids))
    members = _members(nearest(centroids, groups), len(groups))
    which = np.empty(len(vectors), np.int64)
    for begin in range(0, len(vectors), _BLOCK):
        block = vectors[begin : begin + _BLOCK]
        which[begin : begin + _BLOCK] = _among_groups(block, centroids, groups, members)
    return which


def _among_groups(
    vectors: NDArray[np.float32],
    centroids: NDArray[np.float32],
    groups: NDArray[np.float32],
    members: list[NDArray[np.int64]],
) -> NDArray[np.int64]:
    near = faiss.knn(vectors, groups, min(NEAR_GROUPS, len(groups)))[1]
    visits = _members(near.ravel(), len(groups))
    least, which = np.full(len(vectors), np.inf, np.float32), np.zeros(len(vectors), np.int64)
    for visit, lists in zip(visits, members, strict=True):
        if len(visit) and len(lists):
            rows = visit // near.shape[1]
            distance, number = (found[:, 0] for found in faiss.knn(vectors[rows], centroids[lists], 1))
            better = distance < least[rows]
            least[rows[better]], which[rows[better]] = distance[better], lists[number[better]]
    return which


def _halves(
    vectors: NDArray[np.float32], members: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    if len(members) < 2:
        return None
    side = nearest(vectors[members], flat(vectors[members], 2)) == 1
    return (members[~side], members[side]) if side.any() and not side.all() else None


def _members(which: NDArray[np.int64], lists: int) -> list[NDArray[np.int64]]:
    """Rows in each list, ascending."""
    order = np.argsort(which, kind="stable")
    return np.split(order, np.searchsorted(which[order], np.arange(1, lists)))


def _kmeans(vectors: NDArray[np.float32], k: int, most: int) -> NDArray[np.float32]:
    kmeans = faiss.Kmeans(
        vectors.shape[1], k, niter=ITERATIONS, seed=SEED, min_points_per_centroid=1, max_points_per_centroid=most
    )
    kmeans.train(np.ascontiguousarray(vectors))
    return np.asarray(kmeans.centroids)
