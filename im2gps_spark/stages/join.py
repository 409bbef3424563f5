"""Located uploads whose geotags are trusted join the corpus: rows of ``photos`` under its collection."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.photos.reasons import Reason, Status
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
    rows = _with_outcome(located)
    run.tally.add(located.count(), rows)
    run.check()
    joining = rows.filter(status_is(Status.OK)).withColumn("collection", F.lit(config.index.collection))
    run.lake.merge(PHOTOS, run.stamp(joining))
    run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(rows, run.stage, f"join:{config.index.collection}")))
    run.say(f"{run.tally.count(Status.OK)} photos with trusted geotags are in collection {config.index.collection}")


def _with_outcome(located: DataFrame) -> DataFrame:
    placed = F.col("latitude").isNotNull()
    return located.withColumns(
        {
            "status": F.when(placed, Status.OK.value).otherwise(Status.REJECTED.value),
            "reason": F.when(~placed, Reason.MISSING_GEOTAG.value),
        }
    )
