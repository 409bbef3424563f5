"""Inverted lists to shards: balanced in rows, and compact, so that a query's lists lie in few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def group(centroids: NDArray[np.float32], rows: NDArray[np.int64], shards: int) -> NDArray[np.int64]:
    """The shard of each list, by recursive bisection along the direction in which centroids spread most.

    Args:
        centroids: (lists, dimension).
        rows: (lists,) photos in each list.
        shards: number of groups, at most the number of lists.

    Returns:
        (lists,) int64 in [0, shards); each shard has a list, and close to its share of the rows.
    """
    if not 1 <= shards <= len(centroids):
        raise ValueError(f"{len(centroids)} lists can't be divided among {shards} shards")
    shard = np.empty(len(centroids), np.int64)
    _bisect(centroids.astype(np.float64), rows, np.arange(len(centroids)), 0, shards, shard)
    return shard


def _bisect(
    centroids: NDArray, rows: NDArray, lists: NDArray, first: int, shards: int, shard: NDArray[np.int64]
) -> None:
    if shards == 1:
        shard[lists] = first
        return
    left = shards // 2
    offset = centroids[lists] - centroids[lists].mean(axis=0)
    axis = np.linalg.svd(offset, full_matrices=False)[2][0]
    axis = axis * np.sign(axis[np.argmax(np.abs(axis))])
    rank = lists[np.argsort(offset @ axis, kind="stable")]
    # Empty lists weigh a little, so that a corpus without rows in half of them is still divided.
    weight = np.cumsum(rows[rank] + 1e-6)
    cut = int(np.argmin(np.abs(weight - weight[-1] * left / shards))) + 1
    cut = min(max(cut, left), len(rank) - (shards - left))
    _bisect(centroids, rows, rank[:cut], first, left, shard)
    _bisect(centroids, rows, rank[cut:], first + left, shards - left, shard)
