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
from im2gps_spark.index.search import Index, Routed, setting_in_use
from im2gps_spark.neighbours import Candidates
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.store.folder import Folder

_QUERIES_A_TASK = 256
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
_FOUND = pa.schema(
    [
        ("photo_id", pa.int64()),
        ("shard", pa.int64()),
        ("mean", pa.float64()),
        ("spread", pa.float64()),
        ("ids", pa.binary()),
        ("numbers", pa.binary()),
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

    # A shard's queries lie together: it is opened by one task and leaves memory with it.
    by_shard = routed.repartition(index.shards, "shard").sortWithinPartitions("shard", "photo_id")
    search = partial(_search, opened=opened, settings=settings, rerank=setting.rerank)
    found = by_shard.mapInArrow(search, spark_schema(_FOUND))
    whole = found.repartition(max(2, -(-count // _ANSWERS_A_TASK)), "photo_id")
    return whole.sortWithinPartitions("photo_id", "shard")


def by_photo(
    batches: Iterator[pa.RecordBatch],
) -> Iterator[tuple[int, list[Candidates], float, float]]:
    """In a Python worker: each photo with its shards' answers, and its similarities' mean and spread."""
    current: dict | None = None
    parts: list[Candidates] = []
    for batch in batches:
        for row in batch.to_pylist():
            if current is not None and row["photo_id"] != current["photo_id"]:
                yield current["photo_id"], parts, current["mean"], current["spread"]
                parts = []
            current = row
            ids = np.frombuffer(row["ids"], np.int64)
            distance, latitude, longitude, owner_photos, accuracy = np.frombuffer(row["numbers"]).reshape(5, -1)
            parts.append(Candidates(ids, distance, latitude, longitude, owner_photos, accuracy.astype(np.int8)))
    if current is not None:
        yield current["photo_id"], parts, current["mean"], current["spread"]


def _numbers(part: Candidates) -> bytes:
    """The rows that ``by_photo`` takes apart again; all in float64, which holds a level exactly."""
    return np.stack([part.distance, part.latitude, part.longitude, part.owner_photos, part.accuracy]).tobytes()


def _route(batches: Iterator[pa.RecordBatch], opened: Callable[[], Index], nprobe: int) -> Iterator[pa.RecordBatch]:
    """In a Python worker: each query, once for every shard that holds one of its lists."""
    index = opened()
    for batch in batches:
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        routed = index.route(flat.reshape(batch.num_rows, -1).astype(np.float32), nprobe)
        rows = [
            {
                "photo_id": photo,
                "owner": owner,
                "shard": shard,
                "vector": query.vector.tobytes(),
                "lists": query.lists.tobytes(),
                "near": query.near.tobytes(),
                "mean": query.mean,
                "spread": query.spread,
            }
            for photo, owner, query in zip(
                batch.column("photo_id").to_pylist(), batch.column("owner").to_pylist(), routed, strict=True
            )
            for shard in index.shards_of(query.lists)
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=_ROUTED)


def _search(
    batches: Iterator[pa.RecordBatch], opened: Callable[[], Index], settings: GeolocateSection, rerank: int = 0
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the k nearest eligible photos of each query in its shard."""
    index = opened()
    for batch in batches:
        rows = batch.to_pylist()
        for shard in sorted({row["shard"] for row in rows}):
            mine = [row for row in rows if row["shard"] == shard]
            queries = [
                Routed(
                    np.frombuffer(row["vector"], np.float32),
                    np.frombuffer(row["lists"], np.int64),
                    np.frombuffer(row["near"], np.float32),
                    row["mean"],
                    row["spread"],
                )
                for row in mine
            ]
            barred = [(row["photo_id"], row["owner"] if settings.exclude_same_owner else None) for row in mine]
            answers = index.search_shard(shard, queries, barred, settings.k, rerank)
            found = [
                {
                    "photo_id": row["photo_id"],
                    "shard": shard,
                    "mean": row["mean"],
                    "spread": row["spread"],
                    "ids": part.photo_id.tobytes(),
                    "numbers": _numbers(part),
                }
                for row, part in zip(mine, answers, strict=True)
            ]
            yield pa.RecordBatch.from_pylist(found, schema=_FOUND)
