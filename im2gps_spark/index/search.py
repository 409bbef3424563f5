"""Search in bulk: one coarse pass for all queries, then shard by shard, then a merge."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.errors import StageError
from im2gps_spark.index import kernels
from im2gps_spark.index.candidates import first_of, nearest, together
from im2gps_spark.index.manifest import MOMENTS, TRAINED, Manifest, shard_files
from im2gps_spark.index.moments import Moments
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.recall import Setting
from im2gps_spark.index.routed import Routed
from im2gps_spark.index.shard import Shard
from im2gps_spark.index.training import Trained
from im2gps_spark.neighbours import Answers
from im2gps_spark.store.folder import Folder

# Codes looked at for each neighbour wanted: of a list of 3 k by code, re-ranked by vector, recall loses under 1 %.
_RERANK = 3
_SMALL_CORPUS = 50_000
# Of a batch of queries together: some 80 bytes each.
_CANDIDATES = 2**18


def choose_nprobe(lists: int, rows: int, k: int) -> int:
    """Lists to visit: all of a small corpus; of a large one enough for twenty times k, and 16 at least."""
    if rows <= _SMALL_CORPUS:
        return lists
    return min(lists, max(16, -(-lists * 20 * k // rows)))


def queries_at_once(k: int, rerank: int = 0) -> int:
    """Queries whose candidates take about 20 MiB together; see ``Index.search_shard``."""
    return max(1, _CANDIDATES // (rerank or _RERANK * k))


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


class Index:
    """An index version opened for search; a shard is open until another one is searched.

    Args:
        folder: of the version. Files of S3 are copied to this machine's disk when they are first needed.
    """

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.manifest = Manifest.read(folder)
        self._shard_of_list = np.array(self.manifest.shard_of_list)
        self._open: tuple[int, list[Shard]] = (-1, [])

    @cached_property
    def trained(self) -> Trained:
        """Rotation and quantizers. Who searches shards needs none of them."""
        return Trained.from_bytes(self._file(TRAINED).read_bytes())

    @cached_property
    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        moments = Moments.from_bytes(self._file(MOMENTS).read_bytes())
        return moments.mean, moments.covariance

    @cached_property
    def _owners(self) -> Owners:
        return Owners.opened(self._file(self.manifest.owners))

    @staticmethod
    @lru_cache(maxsize=1)
    def opened(folder: Folder, digest: str) -> Index:
        """The process' one reader: of the version that was last asked for, while its manifest's digest is the same.

        FAISS works on one thread from then on: Spark runs as many tasks as there are cores.

        Raises:
            StageError: the version has changed since the digest was taken.
        """
        faiss.omp_set_num_threads(1)
        index = Index(folder)
        if index.manifest.digest != digest:
            raise StageError(f"{folder} has changed while it was in use; run this again")
        return index

    def _file(self, name: str) -> Path:
        return self.folder.local(name, self.manifest.files[name])

    def route(self, vectors: NDArray[np.float32], nprobe: int) -> Routed:
        """Rotates descriptors (n, input dimension) and finds the lists that each visits."""
        rotated = self.trained.rotate(vectors)
        near, lists = self.trained.assign(rotated, nprobe)
        exact, (mean, covariance) = rotated.astype(np.float64), self._moments
        # Not by BLAS, whose last bits follow from which rows are together: an answer must not.
        spread = np.sqrt(np.maximum(kernels.variances(exact, np.ascontiguousarray(covariance)), 0.0))
        return Routed(rotated, lists, near, (exact * mean).sum(axis=1), spread)

    def by_shard(self, queries: Routed) -> Iterator[tuple[int, NDArray[np.int64], Routed]]:
        """The shards, ascending, that hold lists to visit, with the numbers of the queries that go there and these.

        A query has that shard's lists only.
        """
        shard = np.where(queries.lists >= 0, self._shard_of_list[queries.lists], -1)
        for number in np.unique(shard[shard >= 0]).tolist():
            mine = shard == number
            which = np.flatnonzero(mine.any(axis=1))
            yield number, which, queries.take(which).visiting(mine[which])

    def parts(self, number: int) -> list[Shard]:
        """What a shard consists of, mapped; each of its photos is in one part."""
        if self._open[0] != number:
            lists = self.manifest.lists_of(number)
            files = [shard_files(number, part) for part in self.manifest.parts_of(number)]
            self._open = (number, [Shard(self._file(codes), self._file(rows), lists) for codes, rows in files])
        return self._open[1]

    def search_shard(
        self,
        number: int,
        queries: Routed,
        photos: NDArray[np.int64],
        owners: NDArray[np.int64] | None,
        k: int,
        rerank: int = 0,
    ) -> Answers:
        """The k nearest eligible photos of each query in one shard.

        An answer follows neither from the queries beside it, nor from how the shard's photos are divided into parts.

        Args:
            number: of the shard.
            queries: routed here; ``queries_at_once`` says how many fit in memory.
            photos: (n,) their own ids: a photo is not its own neighbour.
            owners: (n,) hashes of their owners, whose photos have no vote; None if they have.
            k: neighbours a query.
            rerank: photos, the first by their codes, that are compared again by their vectors; 0: 3 k.
        """
        parts = [part for part in self.parts(number) if len(part.photo_id)]
        if not parts or not len(queries):
            return Answers.none(len(queries))
        most = min(rerank or _RERANK * k, sum(len(part.photo_id) for part in parts))
        found = together([first_of(part, queries, photos, owners, most) for part in parts], most)
        return nearest(parts, queries.vectors, found, k, self._owners)
