"""nightly: new uploads -> described, located once, judged as if unknown; then the trusted ones join the corpus."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.index.library import AT_WORK
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.describe import describe
from im2gps_spark.stages.described import status_is, with_vectors
from im2gps_spark.stages.drift import Drift, drift_of
from im2gps_spark.stages.evaluate import evaluate
from im2gps_spark.stages.extend import extend
from im2gps_spark.stages.geolocate import geolocate
from im2gps_spark.stages.ingest import ingest
from im2gps_spark.stages.join import join_corpus
from im2gps_spark.stages.night_report import INDEX, Steps, keep_drift, night_report
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.lease import only_one
from im2gps_spark.store.opening import files_under
from im2gps_spark.store.settings import SCHEME
from im2gps_spark.store.tables import EVALUATIONS, PHOTOS, POSTERIORS


def nightly(spark: SparkSession, config: Config) -> Tally:
    """The whole of a night, ``geolocate.night``, for the collection ``geolocate.collection``.

    Each step leaves what is done alone, so a night that was killed anywhere is finished by running it again, and a
    second run changes nothing. The index is the same until all of the night's photos are located and judged.

    Returns:
        the night's photos: those that joined the corpus, and why the others did not.

    Raises:
        StageError: another night is at work; or as the steps do.
        UsageError: there is no index to locate by; or as the steps do.
    """
    run = Run(spark, config, "nightly", config.geolocate.collection)
    config = _of_night(config, run.started_at.date())
    night, collection = config.geolocate.night, config.geolocate.collection
    run.say(f"night {night} of {collection}: ingest, describe, geolocate, evaluate, join, extend")
    with only_one(run.library.root, AT_WORK) as still_alone:
        steps: Steps = {}
        if arrived := _arrived(run, config):
            photos = config.photos.model_copy(update={"metadata": arrived})
            steps["ingest"] = ingest(spark, config.model_copy(update={"photos": photos}))
        still_alone()
        steps["describe"] = describe(spark, config)
        still_alone()
        if _is_there(run, config):
            steps["geolocate"] = geolocate(spark, config, only_new=True)
        still_alone()
        located = run.held(_located(run, config))
        if located.isEmpty():
            run.say(f"nothing new: no photo of {collection} was located in this night")
            return run.finish()
        fresh = steps["geolocate"].count(Status.OK) > 0
        if fresh or not _is_kept(run, config, F.col("stratum") != INDEX):
            _judge(run, config, located, steps)
        if fresh or not _is_kept(run, config, F.col("stratum") == INDEX):
            keep_drift(run, config, _drift(run, located))
        still_alone()
        join_corpus(run, config, located)
        still_alone()
        steps["extend"] = extend(spark, config)
        night_report(run, config, steps, located.count())
    return run.finish()


def _of_night(config: Config, today: dt.date) -> Config:
    """What the steps are to do: the uploads' ingest, this night's answers, and their own geotags for truth."""
    night = config.geolocate.night or today
    page = f"{config.nightly.folder.rstrip('/')}/{night}.html" if config.evaluate.page else ""
    sections = {
        "photos": config.photos.model_copy(update={"collection": config.geolocate.collection}),
        "geolocate": config.geolocate.model_copy(update={"night": night}),
        "evaluate": config.evaluate.model_copy(update={"truth": "", "page": page}),
    }
    return config.model_copy(update=sections)


def _arrived(run: Run, config: Config) -> list[str]:
    """What there is of ``photos.metadata``: a night without uploads has an empty folder, or in S3 nothing at all."""
    found = []
    for name in config.photos.metadata:
        files = files_under(name, config.s3)
        if files == {} or (files is None and name.startswith(SCHEME)):
            run.say(f"no metadata in {name}")
        else:
            found.append(name)  # of a folder that is not there, ingest says so
    return found


def _is_there(run: Run, config: Config) -> bool:
    here = F.col("collection") == config.geolocate.collection
    return not run.lake.read(PHOTOS).filter(here & status_is(Status.OK)).isEmpty()


def _located(run: Run, config: Config) -> DataFrame:
    """The night's photos, as they are in the table of photos."""
    night, engine = config.geolocate.night, config.geolocate.engine
    answers = run.lake.read(POSTERIORS).filter((F.col("night") == F.lit(night)) & (F.col("engine") == engine))
    here = (F.col("collection") == config.geolocate.collection) & status_is(Status.OK)
    return run.lake.read(PHOTOS).filter(here).join(answers.select("photo_id"), "photo_id", "left_semi")


def _is_kept(run: Run, config: Config, which: Column) -> bool:
    """Whether the night has such rows in ``evaluations``."""
    night = F.col("night") == F.lit(config.geolocate.night)
    here = (F.col("collection") == config.geolocate.collection) & (F.col("engine") == config.geolocate.engine)
    return not run.lake.read(EVALUATIONS).filter(night & here & which).isEmpty()


def _judge(run: Run, config: Config, located: DataFrame, steps: Steps) -> None:
    """The night's photos that have a place of their own, against it."""
    if located.filter(F.col("latitude").isNotNull()).isEmpty():
        run.say("no photo of this night has a trusted geotag: there is nothing to judge by")
    else:
        steps["evaluate"] = evaluate(run.lake.spark, config)


def _drift(run: Run, located: DataFrame) -> Drift | None:
    """How well the index still describes the night's photos."""
    training, _ = run.library.training()
    described = with_vectors(run.lake, located, training.descriptor, training.descriptor_version, none_will_do=True)
    return drift_of(run, described.filter(status_is(Status.OK)))
