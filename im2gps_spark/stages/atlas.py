"""atlas: posteriors -> a page: photo | neighbours | map of the world."""

from __future__ import annotations

from functools import partial

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.atlas.entry import Entry, Neighbour, Region
from im2gps_spark.atlas.page import render
from im2gps_spark.atlas.thumbnail import thumbnail
from im2gps_spark.config import Config
from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.photos.reasons import Rejected, Status
from im2gps_spark.stages.answers import answers_of, truth_of
from im2gps_spark.stages.described import photos_of, status_is
from im2gps_spark.stages.priors import read_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.passing import Patience, TryAgain
from im2gps_spark.store.photos import PhotoStore
from im2gps_spark.store.tables import EVALUATIONS, NEIGHBOURS, OUTCOMES, PHOTOS

_NEIGHBOURS_SHOWN = 8
_PHOTO_SIDE, _NEIGHBOUR_SIDE = 320, 120
_TABLE = {
    "accuracy_25km": "within 25 km",
    "accuracy_200km": "within 200 km",
    "accuracy_750km": "within 750 km",
    "accuracy_2500km": "within 2,500 km",
    "median_error_km": "median error, km",
    "nll": "NLL, nats",
    "coverage50": "50 % region holds",
    "coverage90": "90 % region holds",
}


def atlas(spark: SparkSession, config: Config) -> Tally:
    """Writes ``atlas.folder``/index.html: the most and the least informative answers, and others between.

    Raises:
        UsageError: no posterior.
    """
    run = Run(spark, config, "atlas", config.geolocate.collection)
    limit_threads()
    answers = answers_of(run.lake, config)
    rows = _spread(answers.select("photo_id", "information_over_prior_bits").collect(), config.atlas.photos)
    run.say(f"{len(rows)} photos of {config.geolocate.collection}")
    chosen = answers.filter(F.col("photo_id").isin(rows)).collect()
    entries = _entries(run.lake, config, chosen)
    version = chosen[0]["index_version"]
    page = render(
        entries,
        title=f"Where were the photos of {config.geolocate.collection} taken?",
        prior=read_prior(run.lake, version),
        evaluation=_evaluation(run.lake, config, version),
        query=f'im2gps query --config FILE "\n{QUERY}"',
    )
    run.write_file(f"{config.atlas.folder.rstrip('/')}/index.html", page.encode())
    shown = spark.createDataFrame(
        [(e.photo_id, config.geolocate.collection, Status.OK.value) for e in entries],
        "photo_id bigint, collection string, status string",
    )
    shown = shown.withColumns({n: F.lit(None).cast("string") for n in ("reason", "detail")})
    run.tally.add(len(chosen), shown)
    item = F.lit(f"{config.geolocate.engine}:{version}")
    run.lake.merge(OUTCOMES, run.stamp(shown.withColumns({"stage": F.lit(run.stage), "item": item})))
    return run.finish()


QUERY = """SELECT photo_id, round(information_bits, 1) AS bits, round(area50_km2) AS area50_km2,
       regions[1].place AS place, regions[1].country AS country, round(regions[1].mass, 2) AS mass
FROM posteriors ORDER BY information_bits DESC LIMIT 10"""
"""For analysts to begin with."""


def _spread(rows: list[Row], most: int) -> list[int]:
    """Photos from the most to the least informative, evenly."""
    ranked = sorted(rows, key=lambda row: (-row["information_over_prior_bits"], row["photo_id"]))
    if len(ranked) <= most:
        return [row["photo_id"] for row in ranked]
    step = (len(ranked) - 1) / max(most - 1, 1)
    return [ranked[round(i * step)]["photo_id"] for i in range(most)]


def _entries(lake: Lake, config: Config, chosen: list[Row]) -> list[Entry]:
    ids = [row["photo_id"] for row in chosen]
    photos = photos_of(lake, config.geolocate.collection).filter(F.col("photo_id").isin(ids)).collect()
    photo_of = {row["photo_id"]: row for row in photos}
    truth = truth_of(lake, config, config.atlas.truth).filter(F.col("photo_id").isin(ids)).collect()
    truth_by_id = {row["photo_id"]: (row["truth_latitude"], row["truth_longitude"]) for row in truth}
    neighbours = _neighbours(lake, config, ids)
    priors = {version: read_prior(lake, version) for version in {row["index_version"] for row in chosen}}
    return [
        _entry(row, photo_of[row["photo_id"]], neighbours, truth_by_id, priors[row["index_version"]], config)
        for row in chosen
    ]


def _neighbours(lake: Lake, config: Config, ids: list[int]) -> dict[int, list[Row]]:
    """The first neighbours of each photo with their metadata, by rank."""
    wanted = F.col("photo_id").isin(ids) & (F.col("engine") == config.geolocate.engine)
    near = lake.read(NEIGHBOURS).filter(wanted & (F.col("rank") <= _NEIGHBOURS_SHOWN)).drop("run_id")
    corpus = lake.read(PHOTOS).filter((F.col("collection") == config.index.collection) & status_is(Status.OK))
    about = corpus.selectExpr("photo_id AS neighbour_id", "title", "license", "page_url", "owner_id", "uri")
    found: dict[int, list[Row]] = {}
    for row in near.join(about, "neighbour_id", "left").orderBy("photo_id", "rank").collect():
        found.setdefault(row["photo_id"], []).append(row)
    return found


def _entry(
    row: Row, photo: Row, neighbours: dict[int, list[Row]], truth: dict[int, tuple[float, float]],
    prior: MultiOrderMap, config: Config,
) -> Entry:  # fmt: skip
    picture = partial(_picture, config=config)
    relative = MultiOrderMap.from_rows(row["map"])
    return Entry(
        photo_id=row["photo_id"],
        thumbnail=picture(photo["uri"], _PHOTO_SIDE),
        title=photo["title"] or "",
        owner_id=photo["owner_id"] or "",
        licence=photo["license"] or "",
        page_url=photo["page_url"] or "",
        tags=tuple(photo["tags"] or ()),
        mode=(row["mode_latitude"], row["mode_longitude"]),
        median=(row["median_latitude"], row["median_longitude"]),
        entropy=row["entropy"],
        information_bits=row["information_bits"],
        information_over_prior_bits=row["information_over_prior_bits"],
        area50_km2=row["area50_km2"],
        area90_km2=row["area90_km2"],
        regions=tuple(
            Region(**{**r.asDict(), "country": r["country"] or "", "place": r["place"] or ""})
            for r in row["regions"]
        ),
        neighbours=tuple(
            Neighbour(
                n["neighbour_id"], n["latitude"], n["longitude"], n["distance"], n["weight"],
                picture(n["uri"], _NEIGHBOUR_SIDE),
                n["title"] or "", n["license"] or "", n["page_url"] or "", n["owner_id"] or "",
            )
            for n in neighbours.get(row["photo_id"], [])
        ),
        law=resolve(relative, prior),
        truth=truth.get(row["photo_id"]),
    )  # fmt: skip


def _picture(uri: str | None, side: int, config: Config) -> bytes | None:
    """A photo's thumbnail; None where it has gone since it was described."""
    if uri is None:
        return None
    try:
        data = PhotoStore(config.describe.max_bytes, config.s3, Patience(10.0, 3)).read(uri)
        return thumbnail(decode(data, max_megapixels=config.describe.max_megapixels), side)
    except (Rejected, TryAgain):
        return None


def _evaluation(lake: Lake, config: Config, version: str) -> list[dict[str, object]] | None:
    """The figures of the engine and its baselines, if the collection was evaluated with this index."""
    mine = (F.col("collection") == config.geolocate.collection) & (F.col("index_version") == version)
    rows = lake.read(EVALUATIONS).filter(mine & (F.col("stratum") == "all")).orderBy("night").collect()
    if not rows:
        return None
    figures = {(row["engine"], row["metric"]): row for row in rows}
    table = []
    for engine in (config.geolocate.engine, "nearest", "prior", "uniform"):
        line: dict[str, object] = {"engine": engine}
        for metric, label in _TABLE.items():
            row = figures.get((engine, metric))
            line[label] = None if row is None else (row["value"], row["low"], row["high"])
        table.append(line)
    return table
