"""Queries x shards: the neighbours of photos, found in bulk. What geolocate and calibrate share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from im2gps_spark.config import GeolocateSection
from im2gps_spark.index.manifest import Manifest
from im2gps_spark.index.routed import Routed
from im2gps_spark.index.search import Index, queries_at_once, setting_in_use
from im2gps_spark.neighbours import Candidates
from im2gps_spark.stages.arrow import binaries, matrix, numbers, padded, rows_alike, spark_schema
from im2gps_spark.store.folder import Folder

_QUERIES_A_TASK = 1024
_QUERIES_A_SHARD_TASK = 50_000
_ANSWERS_A_TASK = 512

_ROUTED = pa.schema(
    [
        ("photo_id", pa.int64()),
        ("owner", pa.int64()),
        ("shard", pa.int64()),
        ("vector", pa.binary()),
        ("lists", pa.binary()),
        ("near", pa.binary()),
        ("mean", pa.float64()),
        ("spread", pa.float64()),
    ]
)
_NEIGHBOURS = {
    "photo_id": np.int64,
    "distance": np.float64,
    "latitude": np.float64,
    "longitude": np.float64,
    "owner_photos": np.float64,
    "accuracy": np.int8,
}
"""The columns of ``Candidates``."""

_FOUND = pa.schema(
    [
        ("photo_id", pa.int64()),
        ("shard", pa.int64()),
        ("mean", pa.float64()),
        ("spread", pa.float64()),
        *((f"neighbour_{name}", pa.binary()) for name in _NEIGHBOURS),
    ]
)


def find_neighbours(
    photos: DataFrame, count: int, index: Manifest, folder: Folder, settings: GeolocateSection
) -> DataFrame:
    """The shards' answers for each photo, those of one photo together: to be read by ``by_photo``.

    Args:
        photos: with photo_id, owner_id, vector.
        count: how many they are.
        index: the version to search, in ``folder``.
    """
    opened = partial(Index.opened, folder, index.digest)
    setting = setting_in_use(index, settings.k, settings.nprobe, settings.rerank)
    queries = photos.select("photo_id", "vector", F.xxhash64("owner_id").alias("owner"))
    queries = queries.repartition(max(1, -(-count // _QUERIES_A_TASK)), "photo_id")
    routed = queries.mapInArrow(partial(_route, opened=opened, nprobe=setting.nprobe), spark_schema(_ROUTED))

    # A task opens one shard, which leaves memory with it; of very many queries several tasks open the same.
    tasks = max(1, -(-count // _QUERIES_A_SHARD_TASK))
    task = F.col("shard") * tasks + F.pmod(F.xxhash64("photo_id"), F.lit(tasks))
    by_shard = routed.repartitionById(index.shards * tasks, task.cast("int"))
    by_shard = by_shard.sortWithinPartitions("shard", "photo_id")
    found = by_shard.mapInArrow(
        partial(_search, opened=opened, settings=settings, rerank=setting.rerank), spark_schema(_FOUND)
    )
    whole = found.repartition(max(2, -(-count // _ANSWERS_A_TASK)), "photo_id")
    return whole.sortWithinPartitions("photo_id", "shard")


def by_photo(
    batches: Iterator[pa.RecordBatch],
) -> Iterator[tuple[int, list[Candidates], float, float]]:
    """In a Python worker: each photo with its shards' answers, and its similarities' mean and spread."""
    current: tuple[int, float, float] | None = None
    parts: list[Candidates] = []
    for batch in batches:
        columns = [numbers(batch.column(f"neighbour_{name}"), kind) for name, kind in _NEIGHBOURS.items()]
        about = (batch.column(name).to_pylist() for name in ("photo_id", "mean", "spread"))
        for row, photo in enumerate(zip(*about, strict=True)):
            if current is not None and photo[0] != current[0]:
                yield current[0], parts, *current[1:]
                parts = []
            current = photo
            parts.append(Candidates(*(flat[ends[row] : ends[row + 1]] for flat, ends in columns)))
    if current is not None:
        yield current[0], parts, *current[1:]


def _route(batches: Iterator[pa.RecordBatch], opened: Callable[[], Index], nprobe: int) -> Iterator[pa.RecordBatch]:
    """In a Python worker: each query, once for every shard that holds one of its lists, with those lists."""
    index = opened()
    for batch in batches:
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        queries = index.route(flat.reshape(batch.num_rows, -1).astype(np.float32), nprobe)
        photos, owners = (batch.column(name).to_numpy() for name in ("photo_id", "owner"))
        parts = [_to_shard(shard, photos[which], owners[which], mine) for shard, which, mine in index.by_shard(queries)]
        if parts:
            yield pa.concat_batches(parts)


def _to_shard(shard: int, photos: np.ndarray, owners: np.ndarray, queries: Routed) -> pa.RecordBatch:
    there = queries.lists >= 0
    counts = there.sum(axis=1)
    dimension = np.full(len(queries), queries.vectors.shape[1])
    columns = [
        pa.array(photos),
        pa.array(owners),
        pa.array(np.full(len(queries), shard, np.int64)),
        binaries(queries.vectors.ravel(), dimension),
        binaries(queries.lists[there], counts),
        binaries(queries.near[there], counts),
        pa.array(queries.mean),
        pa.array(queries.spread),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_ROUTED)


def _from_route(rows: pa.RecordBatch) -> Routed:
    return Routed(
        vectors=matrix(rows.column("vector"), np.float32),
        lists=padded(rows.column("lists"), np.int64, -1),
        near=padded(rows.column("near"), np.float32, 0),
        mean=rows.column("mean").to_numpy(),
        spread=rows.column("spread").to_numpy(),
    )


def _search(
    batches: Iterator[pa.RecordBatch], opened: Callable[[], Index], settings: GeolocateSection, rerank: int
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the k nearest eligible photos of each query in its shard, some queries at a time."""
    index = opened()
    at_once = queries_at_once(settings.k, rerank)
    for batch in batches:
        for shard, mine in rows_alike(batch, "shard"):
            for begin in range(0, mine.num_rows, at_once):
                rows = mine.slice(begin, at_once)
                photos = rows.column("photo_id").to_numpy()
                owners = rows.column("owner").to_numpy() if settings.exclude_same_owner else None
                found = index.search_shard(shard, _from_route(rows), photos, owners, settings.k, rerank)
                about = [rows.column(name) for name in ("photo_id", "shard", "mean", "spread")]
                near = [binaries(getattr(found.flat, name), np.diff(found.ends)) for name in _NEIGHBOURS]
                yield pa.RecordBatch.from_arrays([*about, *near], schema=_FOUND)
