"""evaluate: posteriors x true places -> accuracy, likelihood and calibration in ``evaluations``."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.evaluation import scores
from im2gps_spark.evaluation.summary import Figure, figures
from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.photos.reasons import Status
from im2gps_spark.sphere import distance_km, unit_vectors
from im2gps_spark.stages.answers import answers_of, judged, truth_of
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import stage_outcomes, status_is
from im2gps_spark.stages.geolocate import read_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import EVALUATIONS, NEIGHBOURS, OUTCOMES, PHOTOS

_LAW = ("nll", "hpd_level", "entropy", "area50_km2", "area90_km2", "searched_km2")
_SCORES = pa.schema(
    [("photo_id", pa.int64()), ("owner_id", pa.string()), ("new_owner", pa.bool_())]
    + [(name, pa.float64()) for name in (*_LAW, "error_km", "median_point_error_km", "nearest_error_km")]
    + [("truth_latitude", pa.float64()), ("truth_longitude", pa.float64())]
)

Row = tuple[str, str, Figure]
"""Engine, stratum, figure."""


def evaluate(spark: SparkSession, config: Config) -> Tally:
    """Scores the answers of ``geolocate.collection`` whose true places are known, beside baselines.

    Baselines are engines of their own in the table: ``uniform`` and ``prior`` (points: drawn at random from them),
    and ``nearest`` (the first neighbour's place).

    Raises:
        UsageError: no posterior, no truth, or none of one and the same photo.
    """
    run = Run(spark, config, "evaluate")
    rows = judged(answers_of(run.lake, config), truth_of(run.lake, config, config.evaluate.truth))
    rows = _with_context(run.lake, config, rows).persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(rows.count(), rows)
        run.check()
        ready = rows.filter(status_is(Status.OK))
        versions = sorted(row["index_version"] for row in ready.select("index_version").distinct().collect())
        if not versions:
            raise UsageError(
                "evaluate: no answer's true place is known; set evaluate.truth, or geolocate geotagged photos"
            )
        priors = {version: read_prior(run.lake, version) for version in versions}
        run.say(f"{run.tally.count(Status.OK)} answers by index {', '.join(versions)} against their true places")
        shared = spark.sparkContext.broadcast({v: (p.cells, p.mass) for v, p in priors.items()})
        table = ready.mapInArrow(partial(_score, priors=shared), spark_schema(_SCORES)).toArrow().sort_by("photo_id")
        made = _figures(config.geolocate.engine, table, priors[versions[0]], config.evaluate.bootstrap)
        for line in report(config.geolocate.engine, made):
            run.say(line)
        night = ready.agg(F.max("night")).collect()[0][0]
        _write(run, made, "+".join(versions), night)
        item = f"{config.geolocate.engine}:{'+'.join(versions)}:{night}"
        outcomes = rows.withColumn("collection", F.lit(config.geolocate.collection))
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(outcomes, run.stage, item)))
    finally:
        rows.unpersist()
    return run.finish()


def _with_context(lake: Lake, config: Config, rows: DataFrame) -> DataFrame:
    """Whether the corpus knows the owner, and where the nearest neighbour was taken."""
    corpus = lake.read(PHOTOS).filter(F.col("collection") == config.index.collection)
    known = corpus.filter(status_is(Status.OK)).select("owner_id").distinct().withColumn("in_corpus", F.lit(True))
    first = lake.read(NEIGHBOURS).filter((F.col("engine") == config.geolocate.engine) & (F.col("rank") == 1))
    nearest = first.selectExpr("photo_id", "latitude AS nearest_latitude", "longitude AS nearest_longitude")
    return rows.join(known, "owner_id", "left").join(nearest, "photo_id", "left")


def _score(batches: Iterator[pa.RecordBatch], priors: object) -> Iterator[pa.RecordBatch]:
    """In a Python worker: a row of scores a photo."""
    maps = {version: MultiOrderMap(*columns) for version, columns in priors.value.items()}  # type: ignore[attr-defined]
    for batch in batches:
        scored = [_score_one(row, maps[row["index_version"]]) for row in batch.to_pylist()]
        yield pa.RecordBatch.from_pylist(scored, schema=_SCORES)


def _score_one(row: dict, prior: MultiOrderMap) -> dict:
    truth = unit_vectors([row["truth_latitude"]], [row["truth_longitude"]])
    relative = MultiOrderMap.from_rows(row["map"])
    law = scores.score_law(resolve(relative, prior), truth)

    def error(point: str) -> float:
        if row[f"{point}_latitude"] is None:
            return np.nan
        there = unit_vectors(row[f"{point}_latitude"], row[f"{point}_longitude"])
        return float(distance_km(there, truth[0]))

    return {
        "photo_id": row["photo_id"],
        "owner_id": row["owner_id"],
        "new_owner": not row["in_corpus"],
        **{name: float(values[0]) for name, values in law.items()},
        "error_km": error("mode"),
        "median_point_error_km": error("median"),
        "nearest_error_km": error("nearest"),
        "truth_latitude": row["truth_latitude"],
        "truth_longitude": row["truth_longitude"],
    }


def _figures(engine: str, table: pa.Table, prior: MultiOrderMap, resamples: int) -> list[Row]:
    """The engine and its baselines on every stratum."""
    column = {name: np.asarray(table.column(name).to_numpy()) for name in table.column_names}
    new = column["new_owner"].astype(bool)
    strata = {"all": np.ones(len(new), bool), "new owners": new, "known owners": ~new}
    truth = unit_vectors(column["truth_latitude"], column["truth_longitude"])
    compared = _compared(engine, column, truth, prior)
    made: list[Row] = []
    for stratum, inside in strata.items():
        if not inside.any() or (stratum != "all" and inside.all()):
            continue
        for name, values in compared:
            mine = {metric: each[inside] for metric, each in values.items()}
            made += [(name, stratum, f) for f in figures(mine, column["owner_id"][inside], resamples)]
    return made


def _compared(engine: str, column: dict, truth: np.ndarray, prior: MultiOrderMap) -> list[tuple[str, dict]]:
    """Scores (photos,), or errors of several guesses a photo (photos, guesses), by engine."""
    by_prior = scores.score_law(prior, truth)
    by_uniform = scores.score_law(MultiOrderMap.uniform(), truth)
    law = {name: column[name] for name in _LAW}
    return [
        (
            engine,
            {
                **law,
                "gain_over_prior": by_prior["nll"] - law["nll"],
                "error_km": column["error_km"],
                "median_point_error_km": column["median_point_error_km"],
            },
        ),
        ("nearest", {"error_km": column["nearest_error_km"]}),
        ("prior", {**by_prior, "error_km": _far(truth, scores.prior_draws(prior))}),
        ("uniform", {**by_uniform, "error_km": _far(truth, scores.uniform_draws())}),
    ]


def _far(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return distance_km(truth[:, None], draws[None])


def report(engine: str, made: list[Row]) -> list[str]:
    """The main figures as lines of a table."""
    shown = (
        *("accuracy_25km", "accuracy_200km", "accuracy_750km", "accuracy_2500km", "median_error_km"),
        *("nll", "coverage50", "coverage80", "coverage90"),
    )
    lines = [f"{'':10}" + "".join(f"{name.replace('accuracy_', '<='):>17}" for name in shown)]
    for name in (engine, "nearest", "prior", "uniform"):
        mine = {figure.metric: figure for e, stratum, figure in made if e == name and stratum == "all"}
        cells = [f"{mine[metric].value:17.3f}" if metric in mine else f"{'':17}" for metric in shown]
        lines.append(f"{name:10}" + "".join(cells))
    return lines


def _write(run: Run, made: list[Row], version: str, night: dt.date) -> None:
    rows = [
        (
            run.id,
            engine,
            stratum,
            f.metric,
            f.value,
            f.low,
            f.high,
            f.n,
            version,
            run.config.geolocate.collection,
            night,
        )
        for engine, stratum, f in made
    ]
    run.lake.merge(EVALUATIONS, run.lake.rows(EVALUATIONS, rows))
