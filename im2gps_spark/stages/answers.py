"""The answers of a collection, as evaluate and atlas read them: latest night, beside the truth where it is known."""

from __future__ import annotations

from collections import Counter

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.evaluation.truth import read_truth
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.stages.described import photos_of
from im2gps_spark.stages.forgotten import not_forgotten
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import POSTERIORS


def answers_of(lake: Lake, config: Config) -> DataFrame:
    """Rows of ``posteriors`` of the collection: of ``geolocate.night``, else each photo's latest.

    Raises:
        UsageError: there is none.
    """
    rows = lake.read(POSTERIORS).filter(F.col("engine") == config.geolocate.engine)
    if config.geolocate.night:
        rows = rows.filter(F.col("night") == F.lit(config.geolocate.night))
    photos = photos_of(lake, config.geolocate.collection).select("photo_id")
    rows = rows.join(photos, "photo_id", "left_semi")
    latest = Window.partitionBy("photo_id").orderBy(F.col("night").desc())
    rows = rows.withColumn("nth", F.row_number().over(latest)).filter("nth = 1").drop("nth")
    if rows.isEmpty():
        when = f" of night {config.geolocate.night}" if config.geolocate.night else ""
        raise UsageError(f"collection {config.geolocate.collection!r} has no posterior{when}; run geolocate")
    return rows


def truth_of(lake: Lake, config: Config, file: str) -> DataFrame:
    """True places: photo_id, truth_latitude, truth_longitude, owner_id; from a file, else the photos' geotags.

    What the file says of forgotten photos is passed over.

    Raises:
        UsageError: the file can't be used, or has two places for a photo.
    """
    photos = photos_of(lake, config.geolocate.collection)
    if not file:
        tagged = photos.filter(F.col("latitude").isNotNull())
        return tagged.selectExpr(
            "photo_id", "latitude AS truth_latitude", "longitude AS truth_longitude", "owner_id", "true AS known"
        )
    rows = [(t.photo_id, t.latitude, t.longitude) for t in read_truth(file)]
    repeated = [photo_id for photo_id, n in Counter(row[0] for row in rows).items() if n > 1]
    if repeated:
        raise UsageError(f"truth {file}: photo {repeated[0]} stands in it more than once")
    truth = lake.spark.createDataFrame(rows, "photo_id bigint, truth_latitude double, truth_longitude double")
    truth = not_forgotten(lake, truth)
    owners = photos.select("photo_id", "owner_id").withColumn("known", F.lit(True))
    return truth.join(owners, "photo_id", "left")


def judged(answers: DataFrame, truth: DataFrame) -> DataFrame:
    """Each truth with its answer, and whether there is one: ``status``, ``reason``."""
    found = F.col("engine").isNotNull()
    known = F.coalesce(F.col("known"), F.lit(False))
    status = F.when(found, Status.OK.value).when(known, Status.RETRY.value).otherwise(Status.REJECTED.value)
    reason = F.when(~found & known, Reason.NO_POSTERIOR.value).when(~found, Reason.UNKNOWN_PHOTO.value)
    return truth.join(answers.drop("run_id"), "photo_id", "left").withColumns({"status": status, "reason": reason})
