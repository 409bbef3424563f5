"""Queries on their way to the shards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Routed:
    """Where queries go, and what their similarities look like over the corpus.

    Attributes:
        vectors: (n, dimension) rotated, float32.
        lists: (n, p) int64, global numbers of the lists to visit; -1 for none.
        near: (n, p) float32, squared distances to their centroids.
        mean, spread: (n,) of a query's cosine with the corpus' photos.
    """

    vectors: NDArray[np.float32]
    lists: NDArray[np.int64]
    near: NDArray[np.float32]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, chosen: NDArray | slice) -> Routed:
        """Some of the queries."""
        return Routed(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def first(self, nprobe: int) -> Routed:
        """The same queries with so many of their lists, the nearest."""
        return Routed(self.vectors, self.lists[:, :nprobe], self.near[:, :nprobe], self.mean, self.spread)

    def visiting(self, mine: NDArray[np.bool_]) -> Routed:
        """The same queries with some (n, p) of their lists only, in their order."""
        lists, near = packed(mine, self.lists, self.near)
        return Routed(self.vectors, lists, near, self.mean, self.spread)


def packed(
    mine: NDArray[np.bool_], lists: NDArray[np.int64], near: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Some lists (n, p) and their distances, moved to the left, in their order; then -1 and 0. As wide as need be."""
    counts = mine.sum(axis=1)
    there = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]
    to_lists, to_near = np.full(there.shape, -1, np.int64), np.zeros(there.shape, np.float32)
    to_lists[there], to_near[there] = lists[mine], near[mine]
    return to_lists, to_near
