"""geolocate: a collection's photos x the index's shards -> ``neighbours`` and ``posteriors``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config, GeolocateSection
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.index.library import Library, name_of
from im2gps_spark.index.manifest import Manifest
from im2gps_spark.index.search import Index, Routed, choose_nprobe
from im2gps_spark.neighbours import Candidates, merge
from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.rows import NEIGHBOUR, POSTERIOR, to_row
from im2gps_spark.posterior.summary import summarise
from im2gps_spark.posterior.votes import density_of, standard_similarity, vote_weights
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import descriptor, photos_of, stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import NEIGHBOURS, OUTCOMES, POSTERIORS, PRIORS

_QUERIES_A_TASK = 256
_ANSWERS_A_TASK = 64

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
_ANSWER = pa.schema(
    [("photo_id", pa.int64()), ("posterior", pa.struct(POSTERIOR)), ("neighbours", pa.list_(pa.struct(NEIGHBOUR)))]
)


def geolocate(spark: SparkSession, config: Config) -> Tally:
    """Locates the photos of ``geolocate.collection`` by their neighbours in the index version in use.

    A photo that has an answer of this night by the same index and settings is not located again.

    Raises:
        UsageError: no index, one made with another descriptor, no photo, or none that is described.
    """
    run = Run(spark, config, "geolocate")
    library = Library(config.index.root)
    manifest = library.current()
    _same_descriptor(manifest, config)
    night = config.geolocate.night or run.started_at.date()
    settings = name_of(config.geolocate.model_dump(mode="json", exclude={"night", "collection"}))
    item = f"{config.geolocate.engine}:{manifest.index_version}:{settings}:{night}"

    photos = photos_of(run.lake, config.geolocate.collection)
    rows = with_vectors(run.lake, photos, manifest.descriptor, manifest.descriptor_version)
    done = _answered(run.lake, config, manifest, night, settings)
    rows = rows.join(done, "photo_id", "left_anti").persist(StorageLevel.DISK_ONLY)
    try:
        rows_in = rows.count()
        run.tally.add(rows_in, rows)
        run.check()
        ready = rows.filter(status_is(Status.OK))
        count = run.tally.count(Status.OK)
        run.say(f"{count} photos of {config.geolocate.collection} by index {manifest.index_version}, night {night}")
        if count:
            answers = _answers(run, ready, library, manifest, count).persist(StorageLevel.DISK_ONLY)
            _write(run, answers, count, manifest, night, settings)
            answers.unpersist()
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(rows, run.stage, item)))
    finally:
        rows.unpersist()
    return run.finish()


def _same_descriptor(manifest: Manifest, config: Config) -> None:
    name, version = config.index.descriptor, descriptor(config.index.descriptor).version
    if (manifest.descriptor, manifest.descriptor_version) != (name, version):
        raise UsageError(
            f"the index {manifest.index_version} is of descriptor {manifest.descriptor} "
            f"{manifest.descriptor_version}, index.descriptor is {name} {version}: they never meet. "
            "Set index.descriptor, or run train and build"
        )


def _answered(lake: Lake, config: Config, manifest: Manifest, night: dt.date, settings: str) -> DataFrame:
    """Ids of the photos that have the very answer that would be computed."""
    same = (
        (F.col("engine") == config.geolocate.engine)
        & (F.col("night") == F.lit(night))
        & (F.col("index_version") == manifest.index_version)
        & (F.col("settings") == settings)
    )
    return lake.read(POSTERIORS).filter(same).select("photo_id")


def read_prior(lake: Lake, version: str) -> MultiOrderMap:
    """The prior map of an index version.

    Raises:
        UsageError: there is none in the table.
    """
    table = lake.read(PRIORS).filter(F.col("index_version") == version).select("cell", "mass").toArrow()
    if not table.num_rows:
        raise UsageError(f"the table priors has no map of index {version}; run build with these tables")
    return MultiOrderMap.from_cells(table.column("cell").to_numpy(), table.column("mass").to_numpy()).check()


def _answers(run: Run, ready: DataFrame, library: Library, manifest: Manifest, count: int) -> DataFrame:
    """Coarse pass, shards, merge: a row a photo with its posterior and its neighbours."""
    settings = run.config.geolocate
    folder = str(library.version_folder(manifest.index_version))
    nprobe = settings.nprobe or choose_nprobe(manifest.plan["lists"], sum(manifest.rows), settings.k)
    queries = ready.select("photo_id", "vector", F.xxhash64("owner_id").alias("owner"))
    queries = queries.repartition(max(1, -(-count // _QUERIES_A_TASK)), "photo_id")
    routed = queries.mapInArrow(partial(_route, folder=folder, nprobe=nprobe), spark_schema(_ROUTED))

    # A shard's queries lie together: it is opened by one task and leaves memory with it.
    by_shard = routed.repartition(manifest.shards, "shard").sortWithinPartitions("shard", "photo_id")
    found = by_shard.mapInArrow(partial(_search, folder=folder, settings=settings), spark_schema(_FOUND))

    prior = read_prior(run.lake, manifest.index_version)
    prior_of = ready.sparkSession.sparkContext.broadcast((prior.cells, prior.mass))
    by_photo = found.repartition(max(2, -(-count // _ANSWERS_A_TASK)), "photo_id")
    by_photo = by_photo.sortWithinPartitions("photo_id", "shard")
    return by_photo.mapInArrow(partial(_locate, settings=settings, prior=prior_of), spark_schema(_ANSWER))


def _route(batches: Iterator[pa.RecordBatch], folder: str, nprobe: int) -> Iterator[pa.RecordBatch]:
    """In a Python worker: each query, once for every shard that holds one of its lists."""
    index = Index.opened(folder)
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
    batches: Iterator[pa.RecordBatch], folder: str, settings: GeolocateSection
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the k nearest eligible photos of each query in its shard."""
    index = Index.opened(folder)
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
            answers = index.search_shard(shard, queries, barred, settings.k)
            found = [
                {
                    "photo_id": row["photo_id"],
                    "shard": shard,
                    "mean": row["mean"],
                    "spread": row["spread"],
                    "ids": part.photo_id.tobytes(),
                    "numbers": np.stack(
                        [part.distance, part.latitude, part.longitude, part.owner_photos]
                    ).tobytes(),
                }
                for row, part in zip(mine, answers, strict=True)
            ]
            yield pa.RecordBatch.from_pylist(found, schema=_FOUND)


def _locate(
    batches: Iterator[pa.RecordBatch], settings: GeolocateSection, prior: object
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the shards' answers of each photo, merged, to its posterior."""
    background = MultiOrderMap(*prior.value)  # type: ignore[attr-defined]
    for photo, parts, mean, spread in _by_photo(batches):
        near = merge(parts, settings.k)
        weights = vote_weights(standard_similarity(near.distance, mean, spread), near.owner_photos, settings)
        density = density_of(near, weights, settings, background)
        summary = summarise(density, settings.tolerance)
        answer = to_row(photo, summary, near, weights, settings.neighbours_kept)
        yield pa.RecordBatch.from_pylist([answer], schema=_ANSWER)


def _by_photo(
    batches: Iterator[pa.RecordBatch],
) -> Iterator[tuple[int, list[Candidates], float, float]]:
    """Rows sorted by photo, gathered."""
    current: dict | None = None
    parts: list[Candidates] = []
    for batch in batches:
        for row in batch.to_pylist():
            if current is not None and row["photo_id"] != current["photo_id"]:
                yield current["photo_id"], parts, current["mean"], current["spread"]
                parts = []
            current = row
            numbers = np.frombuffer(row["numbers"]).reshape(4, -1)
            parts.append(Candidates(np.frombuffer(row["ids"], np.int64), *numbers))
    if current is not None:
        yield current["photo_id"], parts, current["mean"], current["spread"]


def _write(run: Run, answers: DataFrame, count: int, manifest: Manifest, night: dt.date, settings: str) -> None:
    """Neighbours first: an answer in ``posteriors`` has its evidence beside it."""
    engine = F.lit(run.config.geolocate.engine)
    made = answers.count()
    if made != count:
        raise StageError(f"geolocate: {count} photos went in and {made} answers came out; nothing was written")
    stamped = run.stamp(answers).withColumn("engine", engine)
    rows = stamped.select("photo_id", "engine", "run_id", F.explode("neighbours").alias("n"))
    run.lake.merge(
        NEIGHBOURS, rows.select("photo_id", "engine", "run_id", "n.*"), whole=stamped.select("photo_id", "engine")
    )
    rows = stamped.select("photo_id", "engine", "run_id", "posterior.*").withColumns(
        {
            "index_version": F.lit(manifest.index_version),
            "night": F.lit(night),
            "settings": F.lit(settings),
        }
    )
    run.lake.merge(POSTERIORS, rows)
