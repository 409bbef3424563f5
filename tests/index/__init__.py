"""Small indexes, made as the stage ``build`` makes them, but for Spark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index.grouping import group
from im2gps_spark.index.manifest import BASE, DELTA, FORMAT, MOMENTS, TRAINED, Manifest, owners_file, shard_files
from im2gps_spark.index.moments import Moments
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.plan import Plan, plan
from im2gps_spark.index.shard import Rows, arrow_bytes, faiss_bytes
from im2gps_spark.index.training import Trained, train
from im2gps_spark.store.files import write_whole
from im2gps_spark.store.folder import DiskFolder


@dataclass(frozen=True)
class Corpus:
    """Photos with their descriptors and owners, in any order."""

    photo_id: NDArray[np.int64]
    vectors: NDArray[np.float32]
    owner: NDArray[np.int64]

    def take(self, chosen: NDArray) -> Corpus:
        return Corpus(self.photo_id[chosen], self.vectors[chosen], self.owner[chosen])

    def __len__(self) -> int:
        return len(self.photo_id)


def draw(n: int, dimension: int = 24, seed: int = 0, *, distinct: int | None = None, owners: int = 10) -> Corpus:
    """Photos at random; of fewer distinct pictures than photos, some stand for several."""
    rng = np.random.default_rng(seed)
    pool = (
        rng.normal(size=(distinct or n, dimension))
        + 2 * rng.normal(size=(7, dimension))[rng.integers(0, 7, distinct or n)]
    )
    which = rng.permutation(n) if distinct is None else rng.integers(0, distinct, n)
    ids = rng.choice(np.arange(1, 10 * n + 1), n, replace=False) + 2**53
    return Corpus(ids, pool[which].astype(np.float32), rng.integers(0, owners, n) - owners // 2)


def trained_on(corpus: Corpus, **options: int) -> tuple[Trained, Plan]:
    sample = corpus.take(np.argsort(corpus.photo_id))
    made = plan(len(corpus), corpus.vectors.shape[1], **{"sample": len(corpus), "dimension": 16, **options})
    return train(sample.vectors, made), made


def rows_of(trained: Trained, corpus: Corpus) -> Rows:
    """The photos as an index holds them, in the corpus' order."""
    rotated = trained.rotate(corpus.vectors)
    _, lists = trained.assign(rotated, 1)
    return Rows(
        photo_id=corpus.photo_id,
        lists=lists[:, 0],
        codes=trained.encode(rotated, lists[:, 0]),
        vectors=rotated.astype(np.float16),
        latitude=(corpus.photo_id % 180 - 90).astype(np.float64),
        longitude=(corpus.photo_id % 360 - 180).astype(np.float64),
        owner=corpus.owner,
        accuracy=(corpus.photo_id % 17).astype(np.int8),
    )


def owners_of(corpus: Corpus) -> Owners:
    owner, photos = np.unique(corpus.owner, return_counts=True)
    return Owners(owner, photos.astype(np.int32))


def write_version(
    folder: Path,
    quantizers: tuple[Trained, Plan],
    corpus: Corpus,
    shard_of_list: NDArray[np.int64] | None = None,
    in_delta: NDArray[np.bool_] | None = None,
) -> Manifest:
    """An index version in a folder; its lists are grouped unless it is said how. Some photos may be in delta files."""
    trained, made = quantizers
    rows = rows_of(trained, corpus)
    if shard_of_list is None:
        shard_of_list = group(trained.centroids, np.bincount(rows.lists, minlength=made.lists), made.shards)
    later = np.zeros(len(corpus.photo_id), bool) if in_delta is None else in_delta
    owners = owners_of(corpus).to_bytes()
    contents = {
        owners_file(owners): owners,
        MOMENTS: Moments.of(rows.vectors).to_bytes(),
        TRAINED: trained.to_bytes(),
    }
    manifest = Manifest(
        format=FORMAT,
        index_version=folder.name,
        descriptor="gist",
        descriptor_version="0123456789abcdef",
        collection="corpus",
        plan=made.as_dict(),
        training_sample="sample",
        shard_of_list=[int(s) for s in shard_of_list],
        rows=[0] * made.shards,
        delta_rows=[0] * made.shards,
        owners=owners_file(owners),
        corpus="corpus",
        files={name: write_whole(folder / name, content) for name, content in contents.items()},
    )
    for shard in range(made.shards):
        mine = shard_of_list[rows.lists] == shard
        for part, some in ((BASE, rows.take(mine & ~later).sorted()), (DELTA, rows.take(mine & later).sorted())):
            if part == BASE or len(some.photo_id):
                data = faiss_bytes(trained, np.flatnonzero(shard_of_list == shard), some), arrow_bytes(some)
                names = shard_files(shard, part)
                sums = {name: write_whole(folder / name, one) for name, one in zip(names, data, strict=True)}
                manifest = manifest.with_part(shard, part, len(some.photo_id), sums)
    manifest.write(DiskFolder(folder))
    return manifest
