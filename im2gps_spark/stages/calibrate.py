"""calibrate: corpus photos of held-out owners -> the shares of the density, kept with the index version."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config, GeolocateSection
from im2gps_spark.grid import cell_centres
from im2gps_spark.neighbours import merge
from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.calibration import calibrate as find_shares
from im2gps_spark.posterior.prior import Shape
from im2gps_spark.posterior.shares import POINTS_ORDER, Evidence, cells_through
from im2gps_spark.posterior.votes import pooled_score, standard_similarity, weights_by_sharpness, window_ratios
from im2gps_spark.sphere import unit_vectors
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.build import with_owners
from im2gps_spark.stages.corpus import corpus_of
from im2gps_spark.stages.described import stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.geolocate import same_descriptor
from im2gps_spark.stages.priors import SharedPrior, left_out, pooled_places, shared_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.stages.search import by_photo, find_neighbours
from im2gps_spark.store.tables import OUTCOMES

_PHOTOS = 2000
_SALT = "calibrate"

_EVIDENCE = pa.schema([("photo_id", pa.int64()), ("best", pa.float64()), ("ratios", pa.list_(pa.float64()))])


def calibrate(spark: SparkSession, config: Config) -> Tally:
    """Fits the density's shares for the index version in use on a sample of its own photos.

    Each is located as if unknown: without its owner's photos among the neighbours or in the prior.

    Raises:
        UsageError: no index, or one made with another descriptor.
    """
    run = Run(spark, config, "calibrate", config.index.collection)
    library = run.library
    manifest = library.current()
    same_descriptor(manifest, config)
    settings = config.geolocate.model_copy(update={"exclude_same_owner": True})

    rows = with_vectors(run.lake, corpus_of(run.lake, config), manifest.descriptor, manifest.descriptor_version)
    corpus = rows.filter(status_is(Status.OK)).persist(StorageLevel.DISK_ONLY)
    sample = corpus.orderBy(F.xxhash64("photo_id", F.lit(_SALT)), "photo_id").limit(_PHOTOS)
    sample = sample.persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(sample.count(), sample)
        run.check()
        run.say(f"{run.tally.rows_in} photos of index {manifest.index_version}, each without its owner")
        folder = library.version_folder(manifest.index_version)
        found = find_neighbours(sample, run.tally.rows_in, manifest, folder, settings)
        truth = sample.select("photo_id", "latitude", "longitude")
        places = {r["photo_id"]: (r["latitude"], r["longitude"]) for r in truth.collect()}
        shared = spark.sparkContext.broadcast(places)
        shape = library.shape(manifest.index_version)
        background = shared_prior(run.lake, manifest.index_version)
        work = partial(_evidence, settings=settings, places=shared, prior=background)
        ratios = found.mapInArrow(work, spark_schema(_EVIDENCE)).toArrow().sort_by("photo_id")
        made = find_shares(_with_prior(corpus, sample, ratios, settings, shape), config.geolocate)
        for line in made.describe():
            run.say(line)
        library.put_calibration(manifest.index_version, made)
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(sample, run.stage, manifest.index_version)))
    finally:
        sample.unpersist()
        corpus.unpersist()
    return run.finish()


def _evidence(
    batches: Iterator[pa.RecordBatch], settings: GeolocateSection, places: object, prior: SharedPrior
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: windows' share of the prior about each true place, by sharpness and width."""
    background, widths = prior.background(), np.array(settings.widths_km)
    for photo, parts, mean, spread in by_photo(batches):
        near = merge(parts, settings.k)
        score = pooled_score({"similarity": standard_similarity(near.distance, mean, spread)}, settings)
        weights = weights_by_sharpness(score, near.owner_photos, settings)
        truth = unit_vectors(*places.value[photo])[None]  # type: ignore[attr-defined]
        inside = cells_through(truth)[0]
        masses = background.map.mass_within(POINTS_ORDER, inside)
        ratios = weights @ window_ratios(near, widths, cell_centres(POINTS_ORDER, inside), masses, background)
        yield pa.RecordBatch.from_pylist(
            [{"photo_id": photo, "best": float(score.max(initial=-np.inf)), "ratios": ratios.ravel().tolist()}],
            schema=_EVIDENCE,
        )


def _with_prior(
    corpus: DataFrame, sample: DataFrame, ratios: pa.Table, settings: GeolocateSection, shape: Shape
) -> Evidence:
    """The evidence with the prior at each true place, its owner's photos taken out."""
    owned = with_owners(corpus)
    photos = sample.select("photo_id", "latitude", "longitude", F.xxhash64("owner_id").alias("owner"))
    places = pooled_places(owned, settings.owner_damping)
    out = left_out(owned, photos, places, settings.owner_damping)
    density = shape.density(out.columns)
    by_row = (len(density), len(settings.sharpness), len(settings.widths_km))
    flat = ratios.column("ratios").combine_chunks().flatten().to_numpy()
    return Evidence(flat.reshape(by_row) * density[:, None, None], density, out.owner, ratios.column("best").to_numpy())
