"""Located uploads whose geotags are trusted join the corpus: rows of ``photos`` under its collection."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.photos.tags import load_negative, negative_tag
from im2gps_spark.stages.described import stage_outcomes, status_is
from im2gps_spark.stages.run import Run
from im2gps_spark.store.tables import OUTCOMES, PHOTOS


def join_corpus(run: Run, config: Config, located: DataFrame) -> None:
    """Copies a night's trusted photos to ``index.collection``, and counts all of them in the run's tally.

    The originals stay where they are, with their answers. What the corpus leaves out besides (duplicates, owners
    with too many photos) is left out of it where it is read.

    Args:
        located: rows of ``photos``; read more than once.
    """
    rows = run.stamp(_with_outcome(located, load_negative(config.ingest.negative_tags)))
    run.tally.add(located.count(), rows)
    run.check()
    joining = rows.filter(status_is(Status.OK)).withColumn("collection", F.lit(config.index.collection))
    run.lake.merge(PHOTOS, joining)
    run.lake.merge(OUTCOMES, stage_outcomes(rows, run.stage, f"join:{config.index.collection}"))
    run.say(f"{run.tally.count(Status.OK)} photos with trusted geotags are in collection {config.index.collection}")


def _with_outcome(located: DataFrame, negative: frozenset[str]) -> DataFrame:
    """What ingest asks of a corpus' photos and does not of uploads: a place, and no tag that tells of none."""
    placed = F.col("latitude").isNotNull()
    tag = F.udf(lambda tags: negative_tag(tags, negative), "string")("tags")
    rows = located.withColumn("detail", F.when(placed, tag))
    why = F.when(~placed, Reason.MISSING_GEOTAG.value).when(F.col("detail").isNotNull(), Reason.NEGATIVE_TAG.value)
    status = F.when(F.col("reason").isNull(), Status.OK.value).otherwise(Status.REJECTED.value)
    return rows.withColumn("reason", why).withColumn("status", status)
