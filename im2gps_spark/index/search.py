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
from im2gps_spark.index.recall import Setting
from im2gps_spark.index.shard import Shard
from im2gps_spark.index.training import Trained
from im2gps_spark.neighbours import Candidates
from im2gps_spark.store.folder import Folder

# Codes looked at for each neighbour wanted: of a list of 3 k by code, re-ranked by vector, recall loses under 1 %.
_RERANK = 3
_SMALL_CORPUS = 50_000


def choose_nprobe(lists: int, rows: int, k: int) -> int:
    """Lists to visit: all of a small corpus; of a large one enough for twenty times k, and 16 at least."""
    if rows <= _SMALL_CORPUS:
        return lists
    return min(lists, max(16, -(-lists * 20 * k // rows)))


def setting_in_use(index: Manifest, k: int, nprobe: int = 0, rerank: int = 0) -> Setting:
    """How an index version is searched for k neighbours.

    What was tuned for fewer neighbours than k would not find as many, and is not used.

    Args:
        nprobe, rerank: as they were asked for; 0: as tuned, or by rule where that was not done.
    """
    tuned = index.recall.chosen if index.recall and k <= index.recall.neighbours else None
    return Setting(
        nprobe or (tuned.nprobe if tuned else choose_nprobe(index.plan["lists"], sum(index.rows), k)),
        rerank or (tuned.rerank if tuned else _RERANK * k),
    )


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

    def search_shard(
        self,
        number: int,
        queries: Sequence[Routed],
        excluded: Sequence[tuple[int, int | None]],
        k: int,
        rerank: int = 0,
    ) -> list[Candidates]:
        """The k nearest eligible photos of each query in one shard.

        Args:
            number: of the shard.
            queries: routed here.
            excluded: for each, the photo's id and, where its owner has no vote, the owner's hash.
            k: how many.
            rerank: photos, the first by their codes, that are compared again by their vectors; 0: by rule.
        """
        rerank = rerank or _RERANK * k
        shard = self.shard(number)
        barred = [shard.excluded(photo, owner) for photo, owner in excluded]
        # As many more candidates as are barred at most, and of those that are left as many as there would be if the
        # barred had never been there: no query's answer follows from what is barred to the others.
        most = min(rerank + max((len(b) for b in barred), default=0), len(shard.photo_id))
        if most == 0 or not queries:
            return [Candidates.none()] * len(queries)
        found = shard.scan(
            np.stack([q.vector for q in queries]),
            np.stack([q.lists for q in queries]),
            np.stack([q.near for q in queries]),
            most,
        )
        answers = []
        for query, ids, bar in zip(queries, found, barred, strict=True):
            eligible = ids[(ids >= 0) & ~np.isin(ids, bar)][:rerank]
            answers.append(shard.exact(query.vector, eligible, k))
        return answers
