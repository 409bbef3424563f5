"""Measuring recall: the true neighbours of queries by exact search, and how many of them each setting finds.

All of it is counted a shard at a time and added up over the shards: no machine holds more than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index.candidates import first_of, together
from im2gps_spark.index.recall import Row, Setting
from im2gps_spark.index.routed import Routed
from im2gps_spark.index.search import Index
from im2gps_spark.index.shard import Shard

MOST_LISTS = 1024
"""Lists visited at most in a sweep: a sixteenth of those of an index of 16 million photos, all of those of 65,000."""

# Photos re-ranked a shard, for each neighbour that is to vote; untuned there are 3.
_RERANKED = (0.125, 0.25, 0.5, 1.0, 2.0, 3.0, 6.0)
# Kept vectors, and queries, that are looked at at once: some tens of MiB.
_VECTORS, _QUERIES = 8192, 128
# Squared distances of unit vectors that differ by less are not told apart by search's own, which are of float32.
_ALIKE = 1e-6


@dataclass(frozen=True)
class Queries:
    """Photos to measure by.

    Attributes:
        photo_id: (n,) int64.
        owner: (n,) int64, a hash of the owner's id: the owner's photos are neither truth nor found.
        vectors: (n, input dimension) float32 descriptors.
    """

    photo_id: NDArray[np.int64]
    owner: NDArray[np.int64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.photo_id)

    def take(self, chosen: slice) -> Queries:
        """Some of them."""
        return Queries(self.photo_id[chosen], self.owner[chosen], self.vectors[chosen])


@dataclass(frozen=True)
class Sweep:
    """The settings that are measured, each ascending: every number of lists with every number of re-ranked photos."""

    nprobe: tuple[int, ...]
    rerank: tuple[int, ...]

    @classmethod
    def of(cls, lists: int, k: int, neighbours: int) -> Sweep:
        """The settings for an index.

        Args:
            lists: inverted lists it has.
            k: true neighbours that recall is about; fewer are never re-ranked.
            neighbours: that are to vote.
        """
        most = min(lists, MOST_LISTS)
        steps = {step * 2**i for i in range(most.bit_length()) for step in (2, 3)}
        nprobe = sorted({1, most, *(step for step in steps if step < most)})
        return cls(tuple(nprobe), tuple(sorted({max(k, round(part * neighbours)) for part in _RERANKED})))


@dataclass(frozen=True)
class Nearest:
    """The true neighbours of queries, nearest first, among photos that they may see.

    Attributes:
        ids: (n, k) int64; -1 where there are no more.
        distance: (n, k) float64; infinite there.
        visible: (n,) int64, photos that each query may see.
    """

    ids: NDArray[np.int64]
    distance: NDArray[np.float64]
    visible: NDArray[np.int64]

    @classmethod
    def none(cls, queries: int, k: int) -> Nearest:
        """Of no photos."""
        shape = (queries, k)
        return cls(np.full(shape, -1, np.int64), np.full(shape, np.inf), np.zeros(queries, np.int64))

    def __add__(self, other: Nearest) -> Nearest:
        """Among the photos of both, by (distance, id)."""
        k = self.ids.shape[1]
        ids, distance = np.hstack([self.ids, other.ids]), np.hstack([self.distance, other.distance])
        rank = np.lexsort((ids, distance), axis=1)[:, :k]
        return Nearest(
            np.take_along_axis(ids, rank, axis=1),
            np.take_along_axis(distance, rank, axis=1),
            self.visible + other.visible,
        )


@dataclass(frozen=True)
class Counts:
    """What each setting found of queries, and did for them; those of several shards are added.

    Attributes:
        hits: (n, nprobes, reranks) int64, true neighbours among the photos that were re-ranked.
        vectors: (n, nprobes, reranks) int64, photos that were re-ranked.
        codes: (n, nprobes) int64, codes that were scanned.
    """

    hits: NDArray[np.int64]
    vectors: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def none(cls, queries: int, sweep: Sweep) -> Counts:
        """Before any shard."""
        shape = (queries, len(sweep.nprobe), len(sweep.rerank))
        return cls(np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape[:2], np.int64))

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.vectors + other.vectors, self.codes + other.codes)


def nearest(index: Index, number: int, queries: Queries, k: int) -> Nearest:
    """The k true neighbours of queries in one shard, by looking at every vector it keeps."""
    found = Nearest.none(len(queries), k)
    rotated = index.trained.rotate(queries.vectors)
    for part in index.parts(number):
        mine = [
            _nearest_in(part, queries.take(some), rotated[some], k)
            for some in (slice(begin, begin + _QUERIES) for begin in range(0, len(queries), _QUERIES))
        ]
        found += Nearest(*(np.concatenate([getattr(m, name) for m in mine]) for name in Nearest.__dataclass_fields__))
    return found


def _nearest_in(part: Shard, queries: Queries, rotated: NDArray[np.float32], k: int) -> Nearest:
    """The true neighbours of some queries in a part of a shard."""
    found = Nearest.none(len(queries), k)
    slots = _nearest_slots(part, queries, rotated, k, found.visible)
    width = max((len(mine) for mine in slots), default=0)
    if not width:
        return found
    candidates = np.full((len(queries), width), -1, np.int64)
    for row, mine in zip(candidates, slots, strict=True):
        row[: len(mine)] = mine
    # The distances by which search ranks, and its order of what is equally far.
    distance = part.distances(rotated, candidates, np.full(candidates.shape, np.inf))
    ids = np.where(candidates >= 0, part.photo_id[candidates], -1)
    return found + Nearest(ids, distance, np.zeros_like(found.visible))


def _nearest_slots(
    part: Shard, queries: Queries, rotated: NDArray[np.float32], k: int, visible: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """For each query the rows of the k nearest vectors that it may see, and of others that are hardly farther.

    Adds to ``visible`` (n,) how many it may see.
    """
    exact, owners = rotated.astype(np.float64), part.column("owner")
    slots, far = [np.zeros(0, np.int64)] * len(exact), [np.zeros(0)] * len(exact)
    limit = np.full(len(exact), np.inf)
    for begin in range(0, len(part.photo_id), _VECTORS):
        some = slice(begin, begin + _VECTORS)
        # In float64, where a difference of two large numbers keeps the digits of a small distance.
        block = part.vectors[some].astype(np.float64)
        squared = (block**2).sum(axis=1) - 2.0 * exact @ block.T + (exact**2).sum(axis=1)[:, None]
        barred = (owners[some] == queries.owner[:, None]) | (part.photo_id[some] == queries.photo_id[:, None])
        visible += (~barred).sum(axis=1)
        squared[barred] = np.nan
        for i, line in enumerate(squared):
            near = np.flatnonzero(line <= limit[i])
            slots[i], far[i] = np.append(slots[i], near + begin), np.append(far[i], line[near])
            if len(far[i]) > k:
                limit[i] = np.partition(far[i], k - 1)[k - 1] + _ALIKE
                kept = far[i] <= limit[i]
                slots[i], far[i] = slots[i][kept], far[i][kept]
    return slots


def count(index: Index, number: int, queries: Queries, truth: NDArray[np.int64], sweep: Sweep) -> Counts:
    """What each setting of a sweep finds of queries in one shard.

    A true neighbour that is re-ranked is among the first of the answer, for nothing is nearer but other true ones: so
    recall follows from which photos are re-ranked. One scan for each number of lists gives all of its settings, and
    all scans together look at four times the codes of the largest.

    Args:
        index: that the shard belongs to.
        number: of the shard.
        queries: n of them.
        truth: (n, k) ids of their true neighbours in the whole index, -1 where there are no more.
        sweep: the settings.
    """
    total = Counts.none(len(queries), sweep)
    parts = [part for part in index.parts(number) if len(part.photo_id)]
    if not parts:
        return total
    routed = index.route(queries.vectors, sweep.nprobe[-1])
    sizes = np.zeros(index.manifest.plan["lists"] + 1, np.int64)  # the last, -1, is no list
    for part in parts:
        sizes[part.lists] += part.sizes
    total.codes[:] = np.cumsum(sizes[routed.lists], axis=1)[:, np.array(sweep.nprobe) - 1]
    for begin in range(0, len(queries), _QUERIES):
        some = slice(begin, begin + _QUERIES)
        for step, nprobe in enumerate(sweep.nprobe):
            found = _by_code(parts, routed.take(some).first(nprobe), queries.take(some), sweep.rerank[-1])
            for i, row in enumerate(found, begin):
                ids = row[row >= 0]
                hits = np.append(0, np.cumsum(np.isin(ids, truth[i])))
                total.vectors[i, step] = np.minimum(sweep.rerank, len(ids))
                total.hits[i, step] = hits[total.vectors[i, step]]
    return total


def _by_code(parts: Sequence[Shard], routed: Routed, queries: Queries, most: int) -> NDArray[np.int64]:
    """The ids (n, most) of the first photos that each query may see, by their codes, as search has them."""
    most = min(most, sum(len(part.photo_id) for part in parts))
    each = [first_of(part, routed, queries.photo_id, queries.owner, most) for part in parts]
    return together(each, most).photo_id


def table(counts: Counts, truth: Nearest, sweep: Sweep, neighbours: int) -> list[Row]:
    """A row for each setting, by lists and then by re-ranked photos.

    Args:
        counts: of all shards.
        truth: in the whole index.
        sweep: the settings.
        neighbours: that are to vote.

    Raises:
        ValueError: there is no true neighbour of any query.
    """
    wanted = int((truth.ids >= 0).sum())
    if not wanted:
        raise ValueError("no query has a neighbour of another owner")
    n, voters = len(truth.ids), int(np.minimum(truth.visible, neighbours).sum())
    rows = []
    for p, nprobe in enumerate(sweep.nprobe):
        for r, rerank in enumerate(sweep.rerank):
            vectors = counts.vectors[:, p, r]
            rows.append(
                Row.of(
                    Setting(nprobe, rerank),
                    recall=int(counts.hits[:, p, r].sum()) / wanted,
                    voters=int(np.minimum(vectors, neighbours).sum()) / voters,
                    codes=int(counts.codes[:, p].sum()) / n,
                    vectors=int(vectors.sum()) / n,
                )
            )
    return rows
