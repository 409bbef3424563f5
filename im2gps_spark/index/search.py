"""Search in bulk: one coarse pass for all queries, then shard by shard, then a merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.errors import StageError
from im2gps_spark.index.manifest import MOMENTS, TRAINED, Manifest, shard_files
from im2gps_spark.index.shard import Shard
from im2gps_spark.index.training import Trained
from im2gps_spark.neighbours import Candidates, merge
from im2gps_spark.store.folder import Folder

# Codes looked at for each neighbour wanted: of a list of 3 k by code, re-ranked by vector, recall loses under 1 %.
_RERANK = 3
_SMALL_CORPUS = 50_000


def choose_nprobe(lists: int, rows: int, k: int) -> int:
    """Lists to visit: all of a small corpus; of a large one enough for twenty times k, and 16 at least."""
    if rows <= _SMALL_CORPUS:
        return lists
    return min(lists, max(16, -(-lists * 20 * k // rows)))


@dataclass(frozen=True)
class Routed:
    """Where one query goes, and what its similarities look like over the corpus.

    Attributes:
        vector: (dimension,) rotated, float32.
        lists, near: (p,) global numbers of the lists to visit, and squared distances to their centroids.
        mean, spread: of the query's cosine with the corpus' photos.
    """

    vector: NDArray[np.float32]
    lists: NDArray[np.int64]
    near: NDArray[np.float32]
    mean: float
    spread: float


class Index:
    """An index version opened for search; shards are opened when they are first searched.

    Args:
        folder: of the version. Files of S3 are copied to this machine's disk when they are first needed.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        self.trained = Trained.from_bytes(self._file(TRAINED).read_bytes())
        with np.load(self._file(MOMENTS), allow_pickle=False) as moments:
            self._mean, self._covariance = moments["mean"], moments["covariance"]
        self._shard_of_list = np.array(self.manifest.shard_of_list)
        self._shards: dict[int, Shard] = {}

    @staticmethod
    @lru_cache(maxsize=1)
    def opened(folder: Folder, digest: str) -> Index:
        """The process' one reader: of the version that was last asked for, while its manifest's digest is the same.

        Raises:
            StageError: the version has changed since the digest was taken.
        """
        index = Index(folder)
        if index.manifest.digest != digest:
            raise StageError(f"{folder} has changed while it was in use; run this again")
        return index

    def _file(self, name: str) -> Path:
        return self.folder.local(name, self.manifest.files[name])

    def shard(self, number: int) -> Shard:
        """A shard, mapped."""
        if number not in self._shards:
            codes, rows = (self._file(name) for name in shard_files(number))
            self._shards[number] = Shard(codes, rows, self.manifest.lists_of(number))
        return self._shards[number]

    def route(self, vectors: NDArray[np.float32], nprobe: int) -> list[Routed]:
        """Rotates descriptors (n, input dimension) and finds the lists that each visits."""
        rotated = self.trained.rotate(vectors)
        near, lists = self.trained.assign(rotated, nprobe)
        exact = rotated.astype(np.float64)
        # Not by BLAS, whose last bits follow from which rows are together: an answer must not.
        mean = (exact * self._mean).sum(axis=1)
        spread = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", exact, self._covariance, exact), 0.0))
        return [Routed(rotated[i], lists[i], near[i], float(mean[i]), float(spread[i])) for i in range(len(rotated))]

    def shards_of(self, lists: NDArray[np.int64]) -> list[int]:
        """The shards, ascending, that hold some lists."""
        return [int(s) for s in np.unique(self._shard_of_list[lists[lists >= 0]])]

    def parts(self, number: int) -> list[Shard]:
        """What a shard consists of, mapped; each of its photos is in one part."""
        return [self.shard(number)]

    def search_shard(
        self, number: int, queries: Sequence[Routed], excluded: Sequence[tuple[int, int | None]], k: int
    ) -> list[Candidates]:
        """The k nearest eligible photos of each query in one shard.

        The answer does not follow from how the shard's photos are divided into parts.

        Args:
            number: of the shard.
            queries: routed here.
            excluded: for each, the photo's id and, where its owner has no vote, the owner's hash.
        """
        parts = [part for part in self.parts(number) if len(part.photo_id)]
        if not parts or not queries:
            return [Candidates.none()] * len(queries)
        vectors, lists, near = (np.stack([getattr(q, n) for q in queries]) for n in ("vector", "lists", "near"))
        scanned = []
        for part in parts:
            barred = [part.excluded(photo, owner) for photo, owner in excluded]
            # As many more candidates as are barred at most, and of those that are left as many as there would be if the
            # barred had never been there: no query's answer follows from what is barred to the others.
            most = min(_RERANK * k + max(len(b) for b in barred), len(part.photo_id))
            distance, ids = part.scan(vectors, lists, near, most)
            eligible = [(i >= 0) & ~np.isin(i, b) for i, b in zip(ids, barred, strict=True)]
            scanned.append([(d[e], i[e]) for d, i, e in zip(distance, ids, eligible, strict=True)])
        answers = []
        for query, found in zip(queries, zip(*scanned, strict=True), strict=True):
            chosen = _nearest(found, _RERANK * k)
            exact = [part.exact(query.vector, ids, k) for part, ids in zip(parts, chosen, strict=True)]
            answers.append(merge(exact, k))
        return answers


def _nearest(parts: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], most: int) -> list[NDArray[np.int64]]:
    """Of distances and ids of several parts the nearest by (distance, id): their ids, again by part."""
    distance, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    part = np.repeat(np.arange(len(parts)), [len(i) for _, i in parts])
    rank = np.lexsort((ids, distance))[:most]
    return [ids[rank[part[rank] == p]] for p in range(len(parts))]
