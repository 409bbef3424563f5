"""export: one answer in ``posteriors`` -> a file that other programs read."""

from __future__ import annotations

import logging
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.posterior import Posterior
from im2gps_spark.stages.priors import read_prior
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import POSTERIORS

log = logging.getLogger(__name__)


def export(spark: SparkSession, config: Config, photo_id: int, path: Path) -> None:
    """Writes the answer to a photo, of ``geolocate.night`` or else its latest, as a multi-order map in FITS.

    Raises:
        UsageError: there is none, or no prior of its index; or astropy is not installed.
    """
    lake = Lake(spark)
    mine = (F.col("photo_id") == photo_id) & (F.col("engine") == config.geolocate.engine)
    if config.geolocate.night:
        mine &= F.col("night") == F.lit(config.geolocate.night)
    wanted = lake.read(POSTERIORS).filter(mine).orderBy(F.col("night").desc())
    rows = wanted.select("engine", "index_version", "night", "map").limit(1).toArrow().to_pylist()
    if not rows:
        when = f" of night {config.geolocate.night}" if config.geolocate.night else ""
        raise UsageError(f"photo {photo_id} has no posterior by {config.geolocate.engine}{when}; run geolocate")
    (row,) = rows
    answer = Posterior.from_row(row, read_prior(lake, row["index_version"]))
    origin = {"PHOTO_ID": photo_id, "ENGINE": row["engine"], "INDEXVER": row["index_version"]}
    answer.to_fits(path, origin | {"NIGHT": row["night"].isoformat()})
    log.info("export: wrote %s, %d cells, night %s", path, len(answer.law.cells), row["night"])
