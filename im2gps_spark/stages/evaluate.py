"""evaluate: posteriors x true places -> accuracy, likelihood and calibration in ``evaluations``, and a page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.evaluation.baselines import NEIGHBOURS as VOTERS
from im2gps_spark.evaluation.judge import BASELINES, PRIOR, Answer, Judge
from im2gps_spark.evaluation.page import Report, render
from im2gps_spark.evaluation.scores import LAW
from im2gps_spark.evaluation.strata import ALL, strata
from im2gps_spark.evaluation.summary import DISCS_KM, Row, compare, with_gains
from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.gazetteer import Gazetteer
from im2gps_spark.posterior.prior import Places
from im2gps_spark.sphere import Floats, unit_vectors
from im2gps_spark.stages.answers import answers_of, judged, truth_of
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.build import with_owners
from im2gps_spark.stages.corpus import corpus_of
from im2gps_spark.stages.described import descriptor, photos_of, stage_outcomes, status_is
from im2gps_spark.stages.priors import pooled_places, read_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import DESCRIPTORS, EVALUATIONS, NEIGHBOURS, OUTCOMES

_POINTS = {
    "mode": "error_km",
    "median": "median_point_error_km",
    **{f"disc{disc:g}": f"disc{disc:g}_error_km" for disc in DISCS_KM},
}
"""Points of a row of ``posteriors``, and the column of each one's error."""
_PLAIN = [*LAW, *(column for column in _POINTS.values() if column != "error_km")]
_SCORES = pa.schema(
    [("photo_id", pa.int64()), ("engine", pa.string()), ("error_km", pa.list_(pa.float64()))]
    + [(name, pa.float64()) for name in _PLAIN]
)
_PHOTOS_A_TASK = 64
# Points that stand for the prior, and for the uniform law: so many a photo, and in all.
_DRAWS, _ALL_DRAWS = 128, 100_000


def evaluate(spark: SparkSession, config: Config) -> Tally:
    """Scores the answers of ``geolocate.collection`` whose true places are known, beside baselines.

    Baselines are engines of their own in the table: ``uniform`` and ``prior`` (points: drawn at random from them),
    ``nearest`` (the first neighbour's place), and ``knn120``, a mixture of one width over the first 120. Where owners
    count as new (``geolocate.exclude_same_owner``), their photos are taken out of the prior, too.

    Raises:
        UsageError: no posterior, no truth, or none of one and the same photo.
    """
    run = Run(spark, config, "evaluate", config.geolocate.collection)
    rows = judged(answers_of(run.lake, config), truth_of(run.lake, config, config.evaluate.truth))
    corpus = corpus_of(run.lake, config).filter(status_is(Status.OK))
    rows = _with_context(run.lake, config, rows, corpus).persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(rows.count(), rows)
        run.check()
        ready = rows.filter(status_is(Status.OK))
        versions = sorted(row["index_version"] for row in ready.select("index_version").distinct().collect())
        if not versions:
            raise UsageError(
                "evaluate: no answer's true place is known; set evaluate.truth, or geolocate geotagged photos"
            )
        run.say(f"{run.tally.count(Status.OK)} answers by index {', '.join(versions)} against their true places")
        photos = _photos(ready)
        scores = _scores(run, ready, versions, corpus)
        inside = strata(photos["new"], scores[config.geolocate.engine]["entropy"], photos["country"], photos["tags"])
        made = compare(scores, inside, photos["owner"], config.evaluate.bootstrap)
        for line in report(config.geolocate.engine, made):
            run.say(line)
        night = ready.agg(F.max("night")).collect()[0][0]
        version = "+".join(versions)
        _write(run, made, version, night)
        item = f"{config.geolocate.engine}:{version}:{night}"
        outcomes = rows.withColumn("collection", F.lit(config.geolocate.collection))
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(outcomes, run.stage, item)))
        _write_page(run, made, scores, photos, {"Index": version, "Night": str(night)})
    finally:
        rows.unpersist()
    return run.finish()


def _with_context(lake: Lake, config: Config, rows: DataFrame, corpus: DataFrame) -> DataFrame:
    """Whether the corpus knows the owner, the photo's tags, and where its neighbours were taken."""
    known = _without_judged(config, corpus, rows).select("owner_id").distinct().withColumn("in_corpus", F.lit(True))
    tags = photos_of(lake, config.geolocate.collection).select("photo_id", "tags")
    near = lake.read(NEIGHBOURS).filter((F.col("engine") == config.geolocate.engine) & (F.col("rank") <= VOTERS))
    ranked = F.sort_array(F.collect_list(F.struct("rank", "latitude", "longitude")))
    near = near.groupBy("photo_id").agg(ranked.alias("near"))
    return rows.join(known, "owner_id", "left").join(tags, "photo_id", "left").join(near, "photo_id", "left")


def _without_judged(config: Config, corpus: DataFrame, rows: DataFrame) -> DataFrame:
    """The corpus without the photos that are judged: those that have joined it since they were located."""
    if config.geolocate.collection == config.index.collection:
        return corpus
    return corpus.join(rows.select("photo_id"), "photo_id", "left_anti")


def _photos(ready: DataFrame) -> dict[str, Any]:
    """What strata and intervals ask of the photos, in the order of their ids."""
    columns = ("owner_id", "in_corpus", "truth_latitude", "truth_longitude", "tags")
    table = ready.select("photo_id", *columns).toArrow().sort_by("photo_id")
    owner, known, latitude, longitude, tags = (table.column(name).to_pylist() for name in columns)
    return {
        "owner": np.array([name or "" for name in owner]),
        "new": np.array([not yes for yes in known]),
        "country": [name.country for name in Gazetteer.shared().names(unit_vectors(latitude, longitude))],
        "tags": [mine or [] for mine in tags],
    }


def _scores(run: Run, ready: DataFrame, versions: list[str], photos: DataFrame) -> dict[str, dict[str, Floats]]:
    """Columns of scores by engine, in the order of the photos' ids."""
    count = run.tally.count(Status.OK)
    priors = {version: read_prior(run.lake, version) for version in versions}
    corpus, owners = _leaving(run, ready, photos)
    context = {
        "priors": {version: (prior.cells, prior.mass) for version, prior in priors.items()},
        "draws": max(1, min(_DRAWS, _ALL_DRAWS // count)),
        "corpus": corpus,
        "owners": owners,
        "shapes": {version: run.library.shape(version) for version in versions} if owners else {},
    }
    points = [f"{point}_{axis}" for point in _POINTS for axis in ("latitude", "longitude")]
    there = [name for name in points if name in ready.columns]
    wanted = ready.select(
        *("photo_id", "index_version", "truth_latitude", "truth_longitude", "near", "map"),
        *there,
        F.xxhash64("owner_id").alias("owner"),
    )
    # By owner: what is left of the prior without one is computed once.
    wanted = wanted.repartition(max(2, -(-count // _PHOTOS_A_TASK)), "owner").sortWithinPartitions("owner", "photo_id")
    work = partial(_judge, engine=run.config.geolocate.engine, context=run.lake.spark.sparkContext.broadcast(context))
    table = wanted.mapInArrow(work, spark_schema(_SCORES)).toArrow().sort_by("photo_id")
    by_engine = {}
    for engine in (run.config.geolocate.engine, *BASELINES):
        mine = table.filter(pa.compute.equal(table.column("engine"), engine))
        columns = {name: mine.column(name).to_numpy() for name in _PLAIN}
        by_engine[engine] = {**columns, "error_km": _guesses(mine.column("error_km"))}
    return with_gains(by_engine, PRIOR)


def _guesses(column: pa.ChunkedArray) -> Floats:
    """Errors (n,), or (n, m) of m guesses a photo; NaN where there is none."""
    lists = column.to_pylist()
    most = max(len(each or ()) for each in lists)
    table = np.array([each or [np.nan] * most for each in lists])
    return table[:, 0] if most == 1 else table.reshape(len(lists), most)


def _leaving(run: Run, ready: DataFrame, photos: DataFrame) -> tuple[Places | None, dict[int, Places]]:
    """Where the prior's votes come from: all of the corpus, and the owners who have photos in it but count as new."""
    known = ready.filter("in_corpus").select(F.xxhash64("owner_id").alias("owner")).distinct()
    if not run.config.geolocate.exclude_same_owner or known.isEmpty():
        return None, {}
    name, damping = run.config.index.descriptor, run.config.geolocate.owner_damping
    version = descriptor(name, run.config.onnx).version
    ours = (F.col("descriptor") == name) & (F.col("version") == version)
    described = run.lake.read(DESCRIPTORS).filter(ours).select("photo_id")
    corpus = _without_judged(run.config, photos, ready).join(described, "photo_id", "left_semi")
    # The vectors themselves are not asked for.
    owned = with_owners(corpus.withColumn("vector", F.lit(None)))
    keys = [(key, "ascending") for key in ("owner", "cell", "step")]
    everyone = pooled_places(owned, damping).toArrow().sort_by(keys[1:])
    theirs = pooled_places(owned.join(known, "owner", "left_semi"), damping, by_owner=True).toArrow().sort_by(keys)
    owner = theirs.column("owner").to_numpy()
    names, first = np.unique(owner, return_index=True)
    parts = zip(names.tolist(), first, np.append(first[1:], len(owner)), strict=True)
    owners = {name: _places(theirs.slice(begin, end - begin)) for name, begin, end in parts}
    run.say(f"{len(owners)} owners have photos in the corpus, and count as new: those leave the prior, too")
    return _places(everyone), owners


def _places(pools: pa.Table) -> Places:
    cell, step, vote = (pools.column(name).to_numpy() for name in ("cell", "step", "vote"))
    return Places(cell, step, vote.astype(np.float64))


def _judge(batches: Iterator[pa.RecordBatch], engine: str, context: Broadcast) -> Iterator[pa.RecordBatch]:
    """In a Python worker: a row of scores a photo and engine."""
    given = context.value
    priors = {version: MultiOrderMap(*columns) for version, columns in given["priors"].items()}
    judge = Judge(priors, given["draws"], given["corpus"], given["owners"], given["shapes"])
    for batch in batches:
        maps, facts = batch.column("map"), batch.drop_columns(["map"]).to_pylist()
        for relative, row in zip(maps, facts, strict=True):
            scored = judge.scores(_answer(row, relative.values), engine)
            rows = [{"photo_id": row["photo_id"], "engine": by, **scored.get(by, {})} for by in (engine, *BASELINES)]
            yield pa.RecordBatch.from_pylist(rows, schema=_SCORES)


def _answer(row: dict[str, Any], cells: pa.StructArray) -> Answer:
    near = row["near"] or []
    return Answer(
        truth=unit_vectors(row["truth_latitude"], row["truth_longitude"]),
        map=MultiOrderMap(cells.field("cell").to_numpy(), cells.field("mass").to_numpy()),
        version=row["index_version"],
        owner=row["owner"],
        points={
            column: unit_vectors(row[f"{point}_latitude"], row[f"{point}_longitude"])
            for point, column in _POINTS.items()
            if row.get(f"{point}_latitude") is not None
        },
        neighbours=unit_vectors([n["latitude"] for n in near], [n["longitude"] for n in near]).reshape(-1, 3),
    )


_REPORTED = {
    "accuracy_25km": "<=25km",
    "accuracy_200km": "<=200km",
    "accuracy_750km": "<=750km",
    "accuracy_2500km": "<=2500km",
    "median_error_km": "median km",
    "energy_score_km": "energy km",
    "nll": "nll",
    "nll_order7": "nll order7",
    "gain_over_prior": "gain",
    "coverage50": "cover 50",
    "coverage80": "cover 80",
    "coverage90": "cover 90",
}


def report(engine: str, made: list[Row]) -> list[str]:
    """The main figures as lines of a table."""
    lines = [f"{'':10}" + "".join(f"{label:>11}" for label in _REPORTED.values())]
    for name in (engine, *BASELINES):
        mine = {figure.metric: figure.value for by, stratum, figure in made if by == name and stratum == ALL}
        cells = [f"{mine[metric]:11.3f}" if metric in mine else f"{'':11}" for metric in _REPORTED]
        lines.append((f"{name:10}" + "".join(cells)).rstrip())
    return lines


def _write(run: Run, made: list[Row], version: str, night: dt.date) -> None:
    about = (version, run.config.geolocate.collection, night)
    rows = [(run.id, by, stratum, f.metric, f.value, f.low, f.high, f.n, *about) for by, stratum, f in made]
    run.lake.merge(EVALUATIONS, run.lake.rows(EVALUATIONS, rows))


def _write_page(
    run: Run, made: list[Row], scores: dict[str, dict[str, Floats]], photos: dict[str, Any], about: dict[str, str]
) -> None:
    if not run.config.evaluate.page:
        return
    engine = run.config.geolocate.engine
    mine = scores[engine]
    html = render(
        Report(
            collection=run.config.geolocate.collection,
            engine=engine,
            baselines=BASELINES,
            rows=made,
            level=mine["hpd_level"],
            entropy=mine["entropy"],
            error_km=mine["error_km"],
            owners=photos["owner"],
            resamples=run.config.evaluate.bootstrap,
            about=about,
            owners_left_out=run.config.geolocate.exclude_same_owner,
        )
    )
    run.write_file(run.config.evaluate.page, html.encode())
