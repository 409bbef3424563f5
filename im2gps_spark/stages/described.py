"""Photos with their vectors: the join that train, build and geolocate start from."""

from __future__ import annotations

from functools import cache

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from im2gps_spark.descriptors.onnx_settings import OnnxSettings
from im2gps_spark.descriptors.protocol import Descriptor
from im2gps_spark.descriptors.registry import load
from im2gps_spark.errors import UsageError
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import DESCRIPTORS, OUTCOMES, PHOTOS


def descriptor(name: str, onnx: OnnxSettings) -> Descriptor:
    """The process' one descriptor of a name.

    Args:
        onnx: what ``onnx`` is.

    Raises:
        UsageError: it is ``onnx``, and the model is not there or not as the settings say.
    """
    return _of_a_model(onnx.model_dump_json()) if name == "onnx" else _known(name)


@cache
def _known(name: str) -> Descriptor:
    return load(name)


@cache
def _of_a_model(settings: str) -> Descriptor:
    made = load("onnx", settings=OnnxSettings.model_validate_json(settings))
    try:
        made.version  # noqa: B018 - it reads the model
        made.dimension  # noqa: B018 - it runs it
    except (ValueError, OSError) as error:
        named = str(error) if isinstance(error, ValueError) else f"onnx.model: {error}"
        raise UsageError(named) from error
    return made


def status_is(status: Status) -> Column:
    """Rows with a status."""
    return F.col("status") == status.value


def photos_of(lake: Lake, collection: str) -> DataFrame:
    """The accepted photos of a collection.

    Raises:
        UsageError: there is none.
    """
    photos = lake.read(PHOTOS).filter(status_is(Status.OK))
    here = photos.filter(F.col("collection") == collection)
    if here.isEmpty():
        known = sorted(row["collection"] for row in photos.select("collection").distinct().collect())
        raise UsageError(
            f"collection {collection!r} has no accepted photo; there are: {', '.join(known) or 'none at all'}. "
            f"Run ingest with photos.collection={collection}"
        )
    return here


def with_vectors(lake: Lake, photos: DataFrame, name: str, version: str, *, none_will_do: bool = False) -> DataFrame:
    """Photos with their ``vector`` of a descriptor's version, ``status`` and ``reason``.

    Those that come rejected stay so, without a vector. The others are ok with one; rejected where describe rejected the
    photo; else to be retried once it is described.

    Raises:
        UsageError: none of the photos has a vector of this version, unless ``none_will_do``.
    """
    ours = (F.col("descriptor") == name) & (F.col("version") == version)
    vectors = lake.read(DESCRIPTORS).filter(ours).select("photo_id", "vector")
    refused = lake.read(OUTCOMES).filter((F.col("stage") == "describe") & status_is(Status.REJECTED))
    refused = refused.select("photo_id").distinct().withColumn("refused", F.lit(True))
    out, has = ~status_is(Status.OK), F.col("vector").isNotNull()
    joined = photos.join(vectors, "photo_id", "left").join(refused, "photo_id", "left")
    rows = (
        joined.withColumn("vector", F.when(~out, F.col("vector")))
        .withColumn(
            "reason",
            F.when(out, F.col("reason"))
            .when(has, F.lit(None).cast("string"))
            .when(F.col("refused"), Reason.NOT_DESCRIBED.value)
            .otherwise(Reason.NOT_DESCRIBED_YET.value),
        )
        .withColumn(
            "status",
            F.when(out, F.col("status"))
            .when(has, Status.OK.value)
            .when(F.col("refused"), Status.REJECTED.value)
            .otherwise(Status.RETRY.value),
        )
        .drop("refused")
    )
    if not none_will_do and rows.filter(has).isEmpty():
        found = lake.read(DESCRIPTORS).select("descriptor", "version").distinct().orderBy("descriptor", "version")
        versions = ", ".join(f"{row['descriptor']} {row['version']}" for row in found.collect())
        raise UsageError(
            f"no photo of the collection is described by {name} {version}; there are: {versions or 'none at all'}. "
            "Run describe"
        )
    return rows


def stage_outcomes(rows: DataFrame, stage: str, item: str) -> DataFrame:
    """Rows with a status as rows of ``outcomes``."""
    detail = rows["detail"] if "detail" in rows.columns else F.lit(None).cast("string")
    return rows.withColumn("detail", detail).withColumn("stage", F.lit(stage)).withColumn("item", F.lit(item))
