"""A made-up corpus of clustered descriptors and three indexes of it: ours in shards, one of all rows, shards by row."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index.grouping import group
from im2gps_spark.index.manifest import FORMAT, MOMENTS, TRAINED, Manifest, owners_file, shard_files
from im2gps_spark.index.moments import Moments
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.plan import Plan, plan
from im2gps_spark.index.search import Index
from im2gps_spark.index.shard import Rows, write_arrow, write_faiss
from im2gps_spark.index.training import Trained, train
from im2gps_spark.store.folder import DiskFolder

DIMENSION, CLUSTERS, LISTS, SHARDS = 256, 20_000, 4096, 8
_CHUNK = 50_000
_SAMPLE = 30 * LISTS
# As of a network's features: some directions say much, most say little; and clusters lie in groups, as subjects do.
_SPECTRUM = ((1 + np.arange(DIMENSION) / 16) ** -0.75).astype(np.float32)
_GROUPS, _OF_CLUSTERS, _OF_VECTORS = 500, np.float32(0.6), np.float32(0.5)


def descriptors(rows: int, seed: int) -> NDArray[np.float32]:
    """(rows, DIMENSION) at random about the corpus' clusters."""
    fixed, rng = np.random.default_rng(2008), np.random.default_rng(seed)
    groups = fixed.standard_normal((_GROUPS, DIMENSION), np.float32)
    clusters = fixed.standard_normal((CLUSTERS, DIMENSION), np.float32) * _OF_CLUSTERS
    clusters += groups[np.arange(CLUSTERS) % _GROUPS]
    noise = rng.standard_normal((rows, DIMENSION), np.float32) * _OF_VECTORS
    return (clusters[rng.integers(0, CLUSTERS, rows)] + noise) * _SPECTRUM


@dataclass(frozen=True)
class Corpus:
    """A corpus as an index holds it, its vectors on disk.

    Attributes:
        folder: of its files.
        rows: of all photos, sorted.
        seconds: of training, and of rotating, assigning and encoding.
    """

    folder: Path
    trained: Trained
    plan: Plan
    rows: Rows
    seconds: dict[str, float]

    @classmethod
    def make(cls, folder: Path, count: int) -> Corpus:
        """Trains on its first rows and encodes all, some at a time."""
        made = plan(count, DIMENSION, sample=min(count, _SAMPLE), dimension=DIMENSION, lists=LISTS, shards=SHARDS)
        begin = time.process_time()
        sample = np.concatenate([descriptors(_CHUNK, chunk) for chunk in range(-(-made.sample // _CHUNK))])
        trained = train(sample[: made.sample], made)
        trained_at = time.process_time()
        vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float16, (count, made.dimension))
        codes = np.empty((count, trained.ivf.code_size), np.uint8)
        lists = np.empty(count, np.int64)
        for chunk, first in enumerate(range(0, count, _CHUNK)):
            here = slice(first, min(first + _CHUNK, count))
            rotated = trained.rotate(descriptors(_CHUNK, chunk)[: here.stop - first])
            lists[here] = trained.assign(rotated, 1)[1][:, 0]
            codes[here] = trained.encode(rotated, lists[here])
            vectors[here] = rotated
        seconds = {"training": trained_at - begin, "encoding": time.process_time() - trained_at}
        nowhere = np.zeros(count)
        ids = np.arange(count) * 7 + 1
        rows = Rows(ids, lists, codes, vectors, nowhere, nowhere, ids, np.ones(count, np.int8))
        return cls(folder, trained, made, rows, seconds)

    def some(self, chosen: NDArray) -> Rows:
        """Rows as the files of a shard need them."""
        return self.rows.take(chosen)

    def codes_only(self, path: Path, chosen: NDArray | slice) -> None:
        """Writes one FAISS index with all lists, and in them some of the rows."""
        rows = self.rows
        nothing = np.zeros((len(rows.photo_id[chosen]), 0), np.float16)
        coded = Rows(
            rows.photo_id[chosen], rows.lists[chosen], rows.codes[chosen], nothing,
            *(getattr(rows, name)[chosen] for name in ("latitude", "longitude", "owner", "accuracy")),
        )  # fmt: skip
        write_faiss(path, self.trained, np.arange(self.plan.lists), coded)

    def version(self) -> Index:
        """The index as ``build`` writes it."""
        lists, folder = self.plan.lists, DiskFolder(self.folder / "version")
        shard_of_list = group(self.trained.centroids, np.bincount(self.rows.lists, minlength=lists), self.plan.shards)
        of_row, files, counts = shard_of_list[self.rows.lists], {}, []
        for shard in range(self.plan.shards):
            mine = self.some(np.flatnonzero(of_row == shard))
            passing = [self.folder / name for name in ("codes", "photos")]
            write_faiss(passing[0], self.trained, np.flatnonzero(shard_of_list == shard), mine)
            write_arrow(passing[1], mine)
            for name, path in zip(shard_files(shard), passing, strict=True):
                files[name] = folder.put(name, path)
                path.unlink()
            counts.append(len(mine.photo_id))
        files[MOMENTS] = folder.write(MOMENTS, Moments.none(self.plan.dimension).to_bytes())
        nobody = Owners(np.zeros(0, np.int64), np.zeros(0, np.int32)).to_bytes()
        files[owners_file(nobody)] = folder.write(owners_file(nobody), nobody)
        files[TRAINED] = folder.write(TRAINED, self.trained.to_bytes())
        Manifest(
            format=FORMAT, index_version="bench", descriptor="made-up", descriptor_version="0", collection="corpus",
            plan=self.plan.as_dict(), training_sample="", shard_of_list=shard_of_list.tolist(), rows=counts,
            delta_rows=[0] * self.plan.shards, owners=owners_file(nobody), corpus="", files=files,
        ).write(folder)  # fmt: skip
        return Index(folder)

    def nearest(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Ids (n, k) of the true neighbours of rotated queries, by looking at every vector."""
        best = faiss.ResultHeap(len(queries), k)
        for first in range(0, len(self.rows.photo_id), _CHUNK):
            part = np.asarray(self.rows.vectors[first : first + _CHUNK], np.float32)
            distance, found = faiss.knn(queries, part, k)
            best.add_result(distance, found + first)
        best.finalize()
        return np.asarray(self.rows.photo_id[best.I])
