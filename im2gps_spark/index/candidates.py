"""Candidates of queries in a shard: the first by code that may be seen, and of them the nearest by vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index import kernels
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.routed import Routed
from im2gps_spark.index.shard import Shard, by_distance
from im2gps_spark.neighbours import Answers, Candidates

# Candidates scanned for at once: some 40 bytes each for as long as that takes.
_AT_ONCE = 2**17
# Of what is wanted as much more is looked at, for an owner's photos look alike; where it was not enough, more again.
_SPARE, _MORE = 1 / 8, 4


@dataclass(frozen=True)
class Listed:
    """Candidates by (distance of the code, id): a row a query; where it has no more, infinity and -1.

    Attributes:
        distance: (n, m) float32, squared.
        photo_id: (n, m) int64.
        slot: (n, m) int64, row of the part.
        part: (n, m) int64, which of the shard's parts; of no meaning where there is no candidate.
    """

    distance: NDArray[np.float32]
    photo_id: NDArray[np.int64]
    slot: NDArray[np.int64]
    part: NDArray[np.int64]

    @classmethod
    def none(cls, queries: int, most: int) -> Listed:
        """Rows without a candidate."""
        nobody = np.full((3, queries, most), -1, np.int64)
        return cls(np.full((queries, most), np.inf, np.float32), *nobody)

    def in_order(self, rank: NDArray[np.int64]) -> Listed:
        """Candidates by their places (n, any number) in their rows."""
        return Listed(*(np.take_along_axis(getattr(self, n), rank, axis=1) for n in self.__dataclass_fields__))


def first_of(
    part: Shard, queries: Routed, photos: NDArray[np.int64], owners: NDArray[np.int64] | None, most: int
) -> Listed:
    """The first candidates of each query in a part of a shard that are neither the query's photo nor its owner's.

    They are those that there would be if what is barred were not in the index.

    Args:
        part: to look through.
        queries: where to look.
        photos: (n,) their own ids.
        owners: (n,) their owners' hashes; None if all owners have a vote.
        most: candidates a query.
    """
    found = Listed.none(len(queries), most)
    rows = len(part.photo_id)
    looked = min(rows, most + (1 if owners is None else int(_SPARE * most) + 1))
    todo = np.arange(len(queries) if rows else 0)
    while len(todo):
        short = []
        at_once = max(1, _AT_ONCE // looked)
        for some in (todo[begin : begin + at_once] for begin in range(0, len(todo), at_once)):
            theirs = None if owners is None else owners[some]
            mine, full = _scanned(part, queries.take(some), photos[some], theirs, most, looked)
            for name in ("distance", "photo_id", "slot"):
                getattr(found, name)[some] = getattr(mine, name)
            short.append(some[~full])
        todo = np.concatenate(short) if looked < rows else todo[:0]
        looked = min(rows, _MORE * looked)
    return found


def _scanned(
    part: Shard, queries: Routed, photos: NDArray, owners: NDArray | None, most: int, looked: int
) -> tuple[Listed, NDArray[np.bool_]]:
    """The candidates among the first that are looked at, and whether (n,) these are enough, or all that there are."""
    distance, ids = part.scan(queries.vectors, queries.lists, queries.near, looked)
    slots = part.slots(ids)
    found = Listed.none(len(queries), most)
    kept = kernels.keep_eligible(
        distance, ids, slots, photos, part.column("owner"), np.zeros(0, np.int64) if owners is None else owners,
        found.distance, found.photo_id, found.slot,
    )  # fmt: skip
    return found, (kept == most) | (ids[:, -1] < 0)


def together(parts: Sequence[Listed], most: int) -> Listed:
    """The first candidates of several parts of a shard, by (distance, id)."""
    for number, listed in enumerate(parts):
        listed.part[:] = number
    if len(parts) == 1:
        return parts[0]
    whole = Listed(*(np.concatenate([getattr(p, n) for p in parts], axis=1) for n in Listed.__dataclass_fields__))
    return whole.in_order(by_distance(whole.distance, whole.photo_id, most))


def nearest(parts: Sequence[Shard], vectors: NDArray[np.float32], listed: Listed, k: int, owners: Owners) -> Answers:
    """The k nearest of the candidates by the vectors that are kept, by (distance, id).

    Args:
        parts: of the shard.
        vectors: (n, dimension) of the queries.
        listed: the candidates, in these parts.
        k: neighbours a query; fewer where there are not so many.
        owners: how many photos each has.
    """
    distance = np.full(listed.slot.shape, np.inf)
    for number, part in enumerate(parts):
        part.distances(vectors, np.where(listed.part == number, listed.slot, -1), distance)
    rank = by_distance(distance, listed.photo_id, k)
    best, distance = listed.in_order(rank), np.take_along_axis(distance, rank, axis=1)
    there = best.slot >= 0
    slot, of_part = best.slot[there], best.part[there]

    def known(name: str, kind: type) -> NDArray[Any]:
        values: NDArray[Any] = np.empty(len(slot), kind)
        for number, part in enumerate(parts):
            mine = of_part == number
            values[mine] = part.column(name)[slot[mine]]
        return values

    whole = Candidates(
        photo_id=best.photo_id[there],
        distance=distance[there],
        latitude=known("latitude", np.float64),
        longitude=known("longitude", np.float64),
        owner_photos=owners.count(known("owner", np.int64)),
        accuracy=known("accuracy", np.int8),
    )
    return Answers(np.concatenate([[0], np.cumsum(there.sum(axis=1))]), whole)
