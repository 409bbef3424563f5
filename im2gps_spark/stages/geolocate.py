"""geolocate: a collection's photos x the index's shards -> ``neighbours`` and ``posteriors``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import islice

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark import __version__
from im2gps_spark.config import Config, GeolocateSection
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.library import Library, name_of
from im2gps_spark.index.manifest import Manifest
from im2gps_spark.index.search import setting_in_use
from im2gps_spark.neighbours import merge
from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.calibration import Graded
from im2gps_spark.posterior.rows import ANSWER, to_batch
from im2gps_spark.posterior.summary import summarise
from im2gps_spark.posterior.votes import density_of, pooled_score, standard_similarity, vote_weights
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import descriptor, photos_of, stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.priors import SharedPrior, shared_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.stages.search import by_photo, find_neighbours
from im2gps_spark.store.folder import Folder
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import NEIGHBOURS, OUTCOMES, PHOTOS, POSTERIORS

# Answers put into one batch: each is some tens of kilobytes.
_BATCH = 64


def geolocate(spark: SparkSession, config: Config, *, only_new: bool = False) -> Tally:
    """Locates the photos of ``geolocate.collection`` by their neighbours in the index version in use.

    A photo that has an answer of this night by the same index and settings is not located again.

    Args:
        only_new: leaves out all photos that have an answer of the engine, of any night by any index, or were rejected;
            there may be none.

    Raises:
        UsageError: no index, one made with another descriptor, no photo, or none that is described.
    """
    run = Run(spark, config, "geolocate", config.geolocate.collection)
    library = run.library
    manifest = library.current()
    same_descriptor(manifest, config)
    night = config.geolocate.night or run.started_at.date()
    by = calibrated(config.geolocate, library, manifest.index_version)
    each = [one.model_dump(mode="json", exclude={"night", "collection"}) for one in by.settings]
    setting = setting_in_use(manifest, config.geolocate.k, config.geolocate.nprobe, config.geolocate.rerank)
    settings = name_of(__version__, by.upper, each, asdict(setting))
    item = f"{config.geolocate.engine}:{manifest.index_version}:{settings}:{night}"

    photos = photos_of(run.lake, config.geolocate.collection)
    done = _settled(run.lake, config) if only_new else _answered(run.lake, config, manifest, night, settings)
    rows = with_vectors(run.lake, photos, manifest.descriptor, manifest.descriptor_version, none_will_do=only_new)
    rows = run.held(rows.join(done, "photo_id", "left_anti"))
    run.tally.add(rows.count(), rows)
    run.check()
    ready = rows.filter(status_is(Status.OK))
    count = run.tally.count(Status.OK)
    run.say(f"{count} photos of {config.geolocate.collection} by index {manifest.index_version}, night {night}")
    if count:
        run.say(f"search: {setting.nprobe} lists, {setting.rerank} photos of each shard re-ranked")
        folder = library.version_folder(manifest.index_version)
        answers = _answers(run, ready, manifest, folder, by).persist(StorageLevel.DISK_ONLY)
        _write(run, answers, count, manifest, night, settings)
        answers.unpersist()
    run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(rows, run.stage, item)))
    return run.finish()


def same_descriptor(manifest: Manifest, config: Config) -> None:
    """Refuses an index of vectors that the configured descriptor's can't be compared with.

    Raises:
        UsageError: names both.
    """
    name, version = config.index.descriptor, descriptor(config.index.descriptor, config.onnx).version
    if (manifest.descriptor, manifest.descriptor_version) != (name, version):
        raise UsageError(
            f"the index {manifest.index_version} is of descriptor {manifest.descriptor} "
            f"{manifest.descriptor_version}, index.descriptor is {name} {version}: they never meet. "
            "Set index.descriptor, or run train and build"
        )


def calibrated(settings: GeolocateSection, library: Library, version: str) -> Graded:
    """The settings with the shares that were found for an index version, where there are such and they are wanted."""
    found = library.calibration(version) if settings.calibrated else None
    return Graded((), (settings,)) if found is None else found.graded(settings)


def _answered(lake: Lake, config: Config, manifest: Manifest, night: dt.date, settings: str) -> DataFrame:
    """Ids of the photos that have the very answer that would be computed."""
    same = (
        (F.col("engine") == config.geolocate.engine)
        & (F.col("night") == F.lit(night))
        & (F.col("index_version") == manifest.index_version)
        & (F.col("settings") == settings)
    )
    return lake.read(POSTERIORS).filter(same).select("photo_id")


def _settled(lake: Lake, config: Config) -> DataFrame:
    """Ids of the photos that have an answer of the engine, or were rejected."""
    engine, collection = config.geolocate.engine, config.geolocate.collection
    answered = lake.read(POSTERIORS).filter(F.col("engine") == engine).select("photo_id")
    here = (F.col("stage") == "geolocate") & (F.col("collection") == collection)
    refused = lake.read(OUTCOMES).filter(here & status_is(Status.REJECTED) & F.col("item").startswith(f"{engine}:"))
    return answered.union(refused.select("photo_id")).distinct()


def _answers(run: Run, ready: DataFrame, index: Manifest, folder: Folder, by: Graded) -> DataFrame:
    """A row a photo with its posterior and its neighbours."""
    prior = shared_prior(run.lake, index.index_version)
    settings = run.config.geolocate
    found = find_neighbours(ready, run.tally.count(Status.OK), index, folder, settings)
    return found.mapInArrow(partial(_locate, settings=settings, by=by, prior=prior), spark_schema(ANSWER))


def _locate(
    batches: Iterator[pa.RecordBatch], settings: GeolocateSection, by: Graded, prior: SharedPrior
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the shards' answers of each photo, merged, to its posterior."""
    background = prior.background()
    photos = by_photo(batches)
    while some := list(islice(photos, _BATCH)):
        summaries, kept = [], []
        for _, parts, mean, spread in some:
            near = merge(parts, settings.k)
            score = pooled_score({"similarity": standard_similarity(near.distance, mean, spread)}, settings)
            mine = by.of(score)
            weights = vote_weights(score, near.owner_photos, mine)
            summaries.append(summarise(density_of(near, weights, mine, background), mine.tolerance))
            first = np.arange(min(settings.neighbours_kept, len(near)))
            kept.append((near.take(first), weights[first]))
        yield to_batch([photo for photo, *_ in some], summaries, kept)


def _write(run: Run, answers: DataFrame, count: int, manifest: Manifest, night: dt.date, settings: str) -> None:
    """Neighbours first: an answer in ``posteriors`` has its evidence beside it."""
    engine = F.lit(run.config.geolocate.engine)
    made = answers.count()
    if made != count:
        raise StageError(f"geolocate: {count} photos went in and {made} answers came out; nothing was written")
    stamped = run.stamp(answers).withColumn("engine", engine)
    rows = stamped.select("photo_id", "engine", "run_id", F.explode("neighbours").alias("n"))
    rows = rows.select("photo_id", "engine", "run_id", "n.*")
    rows = rows.join(_licences(run.lake, manifest.collection, "neighbour_id"), "neighbour_id", "left")
    run.lake.merge(NEIGHBOURS, rows, whole=stamped.select("photo_id", "engine"))
    rows = stamped.select("photo_id", "engine", "run_id", "posterior.*")
    rows = rows.join(_licences(run.lake, run.config.geolocate.collection, "photo_id"), "photo_id", "left").withColumns(
        {
            "index_version": F.lit(manifest.index_version),
            "night": F.lit(night),
            "settings": F.lit(settings),
        }
    )
    run.lake.merge(POSTERIORS, rows)


def _licences(lake: Lake, collection: str, name: str) -> DataFrame:
    """The licences of a collection's photos, whose id is called by a name."""
    photos = lake.read(PHOTOS).filter(F.col("collection") == collection)
    return photos.select(F.col("photo_id").alias(name), "license")
