"""The whole road on the sample: each table holds what it must, to the last row."""

from __future__ import annotations

import hashlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.index.library import Library
from im2gps_spark.index.search import Index
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.sample.collection import Collection
from im2gps_spark.sample.faults import REPEAT
from im2gps_spark.sample.words import HOSTILE
from im2gps_spark.sphere import EARTH_RADIUS_KM, distance_km, unit_vectors
from im2gps_spark.stages import ROAD
from im2gps_spark.stages.run import Tally
from im2gps_spark.store.tables import (
    DESCRIPTORS,
    EVALUATIONS,
    NEIGHBOURS,
    OUTCOMES,
    PHOTOS,
    PICTURES,
    POSTERIORS,
    PRIORS,
    REASONS,
    RUNS,
    TABLES,
    TOMBSTONES,
)
from tests.stages import Road, map_of

pytestmark = [pytest.mark.spark, pytest.mark.timeout(600)]

COLLECTIONS = ("corpus", "uploads")


@pytest.fixture(scope="module")
def photos(road: Road) -> dict[int, dict[str, Any]]:
    """The accepted photos of both collections by their ids."""
    return {row["photo_id"]: row for row in road.workshop.rows(PHOTOS, "status = 'ok'")}


@pytest.fixture(scope="module")
def posteriors(road: Road) -> list[dict[str, Any]]:
    return road.workshop.rows(POSTERIORS)


@pytest.fixture(scope="module")
def prior(road: Road) -> MultiOrderMap:
    rows = road.workshop.rows(PRIORS)
    return MultiOrderMap.from_cells([row["cell"] for row in rows], [row["mass"] for row in rows])


@pytest.fixture(scope="module")
def neighbours(road: Road) -> dict[int, list[dict[str, Any]]]:
    """The neighbours of each photo by rank."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(road.workshop.rows(NEIGHBOURS), key=lambda row: row["rank"]):
        found.setdefault(row["photo_id"], []).append(row)
    return found


# --- counts ---


def rejected(tally: Tally) -> Counter[str | None]:
    return Counter({reason: n for (status, reason), n in tally.outcomes.items() if status == Status.REJECTED})


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_ingest_finds_what_is_wrong_with_each_line(road, collection):
    facts, tally = getattr(road.sample.facts, collection), road.tallies[f"ingest {collection}"]
    assert (tally.rows_in, tally.count(Status.OK)) == (facts.lines, facts.ingest_ok)
    assert rejected(tally) == facts.ingest_rejected


def test_describe_finds_what_is_wrong_with_each_picture(road):
    corpus, uploads, tally = road.sample.facts.corpus, road.sample.facts.uploads, road.tallies["describe"]
    assert tally.rows_in == corpus.ingest_ok + uploads.ingest_ok
    assert tally.count(Status.OK) == corpus.describe_ok + uploads.describe_ok
    assert rejected(tally) == corpus.describe_rejected + uploads.describe_rejected


@pytest.mark.parametrize("collection", COLLECTIONS)
@pytest.mark.parametrize("stage", ["ingest", "describe"])
def test_the_table_of_outcomes_says_the_same(road, stage, collection):
    facts = getattr(road.sample.facts, collection)
    rows = road.workshop.rows(OUTCOMES, f"stage = '{stage}' AND collection = '{collection}'")
    by_reason = Counter(row["reason"] for row in rows)
    assert by_reason.pop(None) == getattr(facts, f"{stage}_ok")
    assert by_reason == getattr(facts, f"{stage}_rejected")
    assert all((row["status"] == Status.OK) == (row["reason"] is None) for row in rows)


@pytest.mark.parametrize("stage", ROAD)
def test_every_stage_writes_down_what_it_counted(road, stage):
    counted: Counter[tuple[str, str | None]] = Counter()
    for name, tally in road.tallies.items():
        if name.split()[0] == stage:
            counted += tally.outcomes
    rows = road.workshop.rows(OUTCOMES, f"stage = '{stage}'")
    assert Counter((row["status"], row["reason"]) for row in rows) == counted


def faulty(collection: Collection) -> dict[int, Reason]:
    """The broken photos whose lines give their ids, each with what is wrong with it."""
    reasons = {}
    for entry in collection.entries:
        fault = entry.fault
        if fault is None or fault is REPEAT or fault.reason is None or fault.reason in NAMELESS:
            continue
        reasons[entry.photo.photo_id] = fault.reason
    return reasons


# What keeps a line's id from being read.
NAMELESS = (Reason.BAD_PHOTO_ID, Reason.WRONG_COLUMN_COUNT, Reason.BAD_ENCODING)


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_each_broken_photo_has_its_own_reason(road, collection):
    expected = faulty(getattr(road.sample.plan, collection))
    assert len(expected) >= 11  # or the test would say nothing
    where = f"collection = '{collection}' AND status = 'rejected' AND photo_id IS NOT NULL"
    first = {row["photo_id"]: row["reason"] for row in road.workshop.rows(OUTCOMES, f"{where} AND stage = 'ingest'")}
    then = {row["photo_id"]: row["reason"] for row in road.workshop.rows(OUTCOMES, f"{where} AND stage = 'describe'")}
    last = {row["photo_id"]: row["reason"] for row in road.workshop.rows(OUTCOMES, f"{where} AND stage = 'train'")}
    found = {**last, **then, **first}
    assert {photo_id: found.get(photo_id) for photo_id in expected} == expected


def test_a_photo_stands_once_in_photos_and_its_reason_with_it(road):
    for collection in COLLECTIONS:
        facts = getattr(road.sample.facts, collection)
        rows = road.workshop.rows(PHOTOS, f"collection = '{collection}'")
        assert len({row["photo_id"] for row in rows}) == len(rows)
        by_reason = Counter(row["reason"] for row in rows)
        assert by_reason.pop(None) == facts.ingest_ok
        nameless = {*NAMELESS, Reason.DUPLICATE_ID}
        assert by_reason == {r: n for r, n in facts.ingest_rejected.items() if r not in nameless}


@pytest.mark.parametrize("stage", [name for name in ROAD if name != "ingest"])
def test_no_photo_is_lost_on_the_way(road, stage):
    facts, tally = road.sample.facts, road.tallies[stage]
    uploads = stage in ("geolocate", "evaluate", "atlas")
    wanted = facts.uploads.good if uploads else facts.corpus.good
    if stage == "describe":
        wanted = facts.corpus.describe_ok + facts.uploads.describe_ok
    assert tally.count(Status.OK) == wanted
    assert tally.count(Status.RETRY) == 0


@pytest.mark.parametrize("stage", ["train", "build"])
def test_the_corpus_leaves_out_what_is_there_already(road, stage):
    facts, tally = road.sample.facts.corpus, road.tallies[stage]
    broken = Counter({Reason.NOT_DESCRIBED: facts.describe_rejected.total()})
    assert rejected(tally) == facts.corpus_rejected + broken
    assert tally.rows_in == facts.ingest_ok
    rows = road.workshop.rows(OUTCOMES, f"stage = '{stage}' AND status = 'rejected' AND detail IS NOT NULL")
    expected = {}
    for entry in road.sample.plan.corpus.entries:
        if entry.shows is not None:
            expected[entry.photo.photo_id] = f"photo {entry.shows.photo.photo_id}"
    found = {row["photo_id"]: row["detail"] for row in rows}
    assert expected
    assert {photo: found[photo] for photo in expected} == expected


@pytest.mark.parametrize("stage", ROAD)
def test_the_reasons_of_every_run_are_kept(road, stage):
    runs = {row["run_id"]: row for row in road.workshop.rows(RUNS, f"stage = '{stage}'")}
    counts: dict[str, Counter[str]] = {run: Counter() for run in runs}
    for row in road.workshop.rows(REASONS, f"stage = '{stage}'"):
        counts[row["run_id"]][row["status"]] += row["rows"]
        assert row["reason"] is None or Reason(row["reason"])
        assert row["collection"] in ((None,) if stage == "describe" else COLLECTIONS)
    assert {run: (c["ok"], c["rejected"], c["retry"]) for run, c in counts.items()} == {
        run: (row["rows_ok"], row["rows_rejected"], row["rows_retry"]) for run, row in runs.items()
    }


def test_counts_of_every_run_add_up(road):
    runs = road.workshop.rows(RUNS)
    assert {row["stage"] for row in runs} == set(ROAD)
    for row in runs:
        assert row["rows_in"] == row["rows_ok"] + row["rows_rejected"] + row["rows_retry"], row
        assert row["seconds"] > 0
        assert row["run_id"].count(row["stage"]) == 1
    assert len({row["run_id"] for row in runs}) == len(runs)


# --- what the tables hold ---

# The contract of design.md.
CONTRACT = {
    "photos": {
        "photo_id": "bigint",
        "owner_id": "string",
        "collection": "string",
        "uri": "string",
        "taken_at": "timestamp",
        "uploaded_at": "timestamp",
        "latitude": "double",
        "longitude": "double",
        "accuracy": "int",
        "title": "string",
        "tags": "array<string>",
        "license": "string",
        "page_url": "string",
        "status": "string",
        "reason": "string",
        "run_id": "string",
    },
    "outcomes": {
        "photo_id": "bigint",
        "stage": "string",
        "status": "string",
        "reason": "string",
        "detail": "string",
        "run_id": "string",
        "at": "timestamp",
    },
    "descriptors": {
        "photo_id": "bigint",
        "descriptor": "string",
        "version": "string",
        "vector": "array<float>",
    },
    "neighbours": {
        "photo_id": "bigint",
        "engine": "string",
        "rank": "int",
        "neighbour_id": "bigint",
        "distance": "double",
        "weight": "double",
        "latitude": "double",
        "longitude": "double",
        "license": "string",
    },
    "pictures": {
        "photo_id": "bigint",
        "sha256": "string",
        "perceptual": "bigint",
        "width": "int",
        "height": "int",
        "run_id": "string",
    },
    "reasons": {
        "run_id": "string",
        "stage": "string",
        "collection": "string",
        "status": "string",
        "reason": "string",
        "rows": "bigint",
    },
    "posteriors": {
        "photo_id": "bigint",
        "engine": "string",
        "index_version": "string",
        "night": "date",
        "mode_latitude": "double",
        "mode_longitude": "double",
        "mode_h3": "bigint",
        "median_latitude": "double",
        "median_longitude": "double",
        "entropy": "double",
        "information_bits": "double",
        "area50_km2": "double",
        "area90_km2": "double",
        "regions": "array<struct<rank:int,latitude:double,longitude:double,mass:double,area_km2:double,"
        "radius_km:double,country:string,place:string>>",
        "map": "array<struct<cell:bigint,mass:double>>",
        "license": "string",
        "run_id": "string",
    },
    "evaluations": {
        "run_id": "string",
        "engine": "string",
        "stratum": "string",
        "metric": "string",
        "value": "double",
        "low": "double",
        "high": "double",
        "n": "bigint",
    },
    "runs": {
        "run_id": "string",
        "stage": "string",
        "started_at": "timestamp",
        "seconds": "double",
        "rows_in": "bigint",
        "rows_ok": "bigint",
        "rows_rejected": "bigint",
        "photos_per_second": "double",
        "config_hash": "string",
        "code_version": "string",
    },
    "priors": {"index_version": "string", "cell": "bigint", "mass": "double"},
}


@pytest.mark.parametrize("table", [table for table in TABLES if table is not TOMBSTONES], ids=lambda table: table.name)
def test_tables_lie_where_the_contract_says_with_its_columns(road, table):
    assert (road.workshop.folder / "warehouse" / "im2gps" / table.name / "metadata").is_dir()
    with road.workshop.lake() as lake:
        columns = dict(lake.spark.table(table.path).dtypes)
    assert CONTRACT[table.name].items() <= columns.items()


def test_every_good_photo_has_both_descriptors_once(road, photos):
    with road.workshop.lake() as lake:
        rows = lake.read(DESCRIPTORS).selectExpr("photo_id", "descriptor", "version", "size(vector) AS n").collect()
    facts = road.sample.facts
    good = facts.corpus.describe_ok + facts.uploads.describe_ok
    assert Counter(row["descriptor"] for row in rows) == {"gist": good, "lite0": good}
    assert len({(row["photo_id"], row["descriptor"]) for row in rows}) == len(rows)
    assert {row["photo_id"] for row in rows} <= set(photos)
    assert len({(row["descriptor"], row["version"], row["n"]) for row in rows}) == 2


def test_every_described_photo_has_its_fingerprint_once(road):
    rows = {row["photo_id"]: row for row in road.workshop.rows(PICTURES)}
    facts = road.sample.facts
    described = {row["photo_id"] for row in road.workshop.rows(OUTCOMES, "stage = 'describe' AND status = 'ok'")}
    assert set(rows) == described
    assert len(road.workshop.rows(PICTURES)) == facts.corpus.describe_ok + facts.uploads.describe_ok
    for entry in road.sample.plan.corpus.good:
        row = rows[entry.photo_id]
        data = (road.sample.folder / "photos" / "images" / f"{entry.photo_id}.jpg").read_bytes()
        assert row["sha256"] == hashlib.sha256(data).hexdigest()
        assert (row["width"], row["height"]) == entry.size


def test_an_accepted_photo_is_as_its_line_says(road, photos):
    for entry in road.sample.plan.corpus.entries:
        if not entry.good:
            continue
        row, photo = photos[entry.photo.photo_id], entry.photo
        assert (row["collection"], row["owner_id"]) == ("corpus", photo.owner.owner_id)
        assert (row["title"], row["tags"]) == (photo.title, list(photo.tags))
        assert row["latitude"] == pytest.approx(photo.place.latitude, abs=1e-6)
        assert row["longitude"] == pytest.approx(photo.place.longitude, abs=1e-6)
        assert row["taken_at"].replace(tzinfo=None) == photo.taken.replace(tzinfo=None, microsecond=0)


# --- the answers ---


def test_every_good_upload_has_one_answer_of_the_night(road, posteriors):
    assert {row["photo_id"] for row in posteriors} == {photo.photo_id for photo in road.sample.plan.uploads.good}
    assert len(posteriors) == road.sample.facts.uploads.good
    assert {str(row["night"]) for row in posteriors} == {"2026-11-23"}
    version = Library(road.workshop.folder / "index").current().index_version
    assert {row["index_version"] for row in posteriors} == {version}


def test_a_map_covers_the_sphere_once_in_order_with_mass_1(posteriors):
    for row in posteriors:
        assert abs(map_of(row).mass.sum() - 1.0) < 1e-6


def test_the_prior_covers_the_sphere_with_mass_1_and_is_positive_everywhere(prior):
    assert abs(prior.mass.sum() - 1.0) < 1e-6
    assert prior.mass.min() > 0


def test_entropy_follows_from_map_and_prior(posteriors, prior):
    for row in posteriors:
        law = resolve(map_of(row), prior)
        entropy = -float(np.sum(law.mass * np.log(law.mass / law.area_sr)))
        assert row["entropy"] == pytest.approx(entropy, rel=1e-9)
        assert row["information_bits"] == pytest.approx((np.log(4 * np.pi) - entropy) / np.log(2), rel=1e-9)


def test_areas_are_those_of_the_densest_cells_that_hold_half_and_nine_tenths(posteriors, prior):
    for row in posteriors:
        law = resolve(map_of(row), prior)
        rank = np.argsort(-law.density, kind="stable")
        mass, area = np.cumsum(law.mass[rank]), np.cumsum(law.area_sr[rank]) * EARTH_RADIUS_KM**2
        for level, column in ((0.5, "area50_km2"), (0.9, "area90_km2")):
            whole = int(np.searchsorted(mass, level))  # cells before this one are wholly inside
            # Cells are ranked in bins of a hundredth of a nat.
            assert 0.99 * (area[whole - 1] if whole else 0.0) <= row[column] <= 1.01 * area[whole]
        assert 0 < row["area50_km2"] <= row["area90_km2"]


def test_regions_are_ranked_by_mass_and_named(posteriors):
    for row in posteriors:
        masses = [region["mass"] for region in row["regions"]]
        assert [region["rank"] for region in row["regions"]] == list(range(1, len(masses) + 1))
        assert masses == sorted(masses, reverse=True)
        assert 0 < sum(masses) <= 1 + 1e-6
    named = [region["country"] for row in posteriors for region in row["regions"][:1]]
    assert sum(country is not None and country != "" for country in named) > len(named) / 2


def test_points_are_on_earth_and_the_mode_is_the_densest_of_them(posteriors, prior):
    for row in posteriors:
        law = resolve(map_of(row), prior)
        mode = unit_vectors([row["mode_latitude"]], [row["mode_longitude"]])
        median = unit_vectors([row["median_latitude"]], [row["median_longitude"]])
        assert law.density[law.find(mode)] >= law.density[law.find(median)] * 0.5
        # The median is nearer to the whole than the mode is.
        far = [float(distance_km(point, law.centres) @ law.mass) for point in (median, mode)]
        assert far[0] <= far[1] * 1.01


def test_neighbours_are_ranked_with_weights(road, neighbours):
    kept = road.workshop.config().geolocate.neighbours_kept
    assert set(neighbours) == {photo.photo_id for photo in road.sample.plan.uploads.good}
    for rows in neighbours.values():
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) == kept
        assert [row["distance"] for row in rows] == sorted(row["distance"] for row in rows)
        assert all(0 <= row["weight"] <= 1 for row in rows)
        assert 0 < sum(row["weight"] for row in rows) <= 1 + 1e-9


def test_neighbours_are_described_photos_of_the_corpus_at_their_places(photos, neighbours):
    for rows in neighbours.values():
        for row in rows:
            there = photos[row["neighbour_id"]]
            assert there["collection"] == "corpus"
            assert (row["latitude"], row["longitude"]) == (there["latitude"], there["longitude"])


def test_licences_come_with_answers_and_neighbours(photos, posteriors, neighbours):
    licence = "Public Domain Mark"
    assert {row["license"] for row in posteriors} == {licence} == {row["license"] for row in photos.values()}
    assert {row["license"] for rows in neighbours.values() for row in rows} == {licence}


def test_an_owner_has_no_vote_on_their_own_photo(road, photos, neighbours):
    owners = Counter(row["owner_id"] for row in photos.values() if row["collection"] == "corpus")
    known = [photo_id for photo_id in neighbours if owners[photos[photo_id]["owner_id"]]]
    assert road.sample.facts.known_owners > 0
    assert known  # or the test would say nothing
    for photo_id, rows in neighbours.items():
        theirs = {photos[row["neighbour_id"]]["owner_id"] for row in rows}
        assert photos[photo_id]["owner_id"] not in theirs


# --- the index ---


def test_the_index_is_two_shards_or_more_of_plain_faiss_files(road, photos):
    library = Library(road.workshop.folder / "index")
    manifest = library.current()
    folder = Path(str(library.version_folder(manifest.index_version)))
    files = sorted(folder.glob("shard-*.faiss"))
    assert len(files) == manifest.shards >= 2
    indexes = [faiss.read_index(str(file)) for file in files]
    ids = np.concatenate([ids_in(index) for index in indexes])
    assert [index.ntotal for index in indexes] == manifest.rows
    assert len(np.unique(ids)) == len(ids) == road.sample.facts.corpus.good
    assert {photos[int(i)]["collection"] for i in ids} == {"corpus"}


def test_the_index_knows_how_well_each_place_is_known(road, photos):
    library = Library(road.workshop.folder / "index")
    index = Index(library.version_folder(library.current().index_version))
    shards = [index.parts(number)[0] for number in range(index.manifest.shards)]
    held = {int(i): int(a) for s in shards for i, a in zip(s.photo_id, s.column("accuracy"), strict=True)}
    assert held == {i: photos[i]["accuracy"] for i in held}
    assert len(held) == road.sample.facts.corpus.good
    assert set(held.values()) == set(range(6, 17))


def ids_in(index: Any) -> np.ndarray:
    """The photo ids in all lists of a FAISS index."""
    lists = index.invlists
    parts = [faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy() for i in range(index.nlist)]
    return np.concatenate(parts)


# --- the judgement ---


def test_the_answers_beat_the_baselines_by_far(road):
    rows = road.workshop.rows(EVALUATIONS, "stratum = 'all'")
    value = {(row["engine"], row["metric"]): row["value"] for row in rows}
    assert {engine for engine, _ in value} == {"im2gps", "knn120", "nearest", "prior", "uniform"}
    assert value["im2gps", "nll"] < value["prior", "nll"] < value["uniform", "nll"]
    assert value["uniform", "nll"] == pytest.approx(np.log(4 * np.pi))
    assert value["im2gps", "accuracy_2500km"] > 2 * value["prior", "accuracy_2500km"]
    assert {row["n"] for row in rows} == {road.sample.facts.uploads.good}


def test_the_evaluation_has_every_metric_with_its_interval(road):
    rows = road.workshop.rows(EVALUATIONS, "stratum = 'all' AND engine = 'im2gps'")
    metrics = {row["metric"]: row for row in rows}
    wanted = {f"accuracy_{radius}km" for radius in (1, 25, 200, 750, 2500)}
    wanted |= {f"disc_accuracy_{radius}km" for radius in (1, 25, 200, 750, 2500)}
    wanted |= {f"risk_{radius}km_at_{share}" for radius in (200, 750, 2500) for share in range(10, 101, 10)}
    wanted |= {"median_error_km", "mean_error_km", "geoscore", "spearman_entropy_error", "aurc_750km"}
    wanted |= {
        "nll",
        "nll_order7",
        "gain_over_prior",
        "gain_over_prior_order7",
        "energy_score_km",
        "energy_score_chord",
    }
    wanted |= {"coverage50", "coverage80", "coverage90", "coverage95", "searched_km2", "area90_km2", "entropy"}
    assert wanted <= set(metrics)
    for row in rows:
        assert row["low"] <= row["high"]
    assert metrics["aurc_750km"]["value"] < metrics["risk_750km_at_100"]["value"]


def test_the_baselines_have_their_figures(road):
    rows = road.workshop.rows(EVALUATIONS, "stratum = 'all'")
    value = {(row["engine"], row["metric"]): row["value"] for row in rows}
    assert value["uniform", "energy_score_km"] == pytest.approx(np.pi * EARTH_RADIUS_KM / 4.0, rel=1e-4)
    assert value["im2gps", "energy_score_km"] < value["prior", "energy_score_km"]
    assert value["im2gps", "gain_over_prior"] == pytest.approx(value["prior", "nll"] - value["im2gps", "nll"])
    assert np.log(4 * np.pi) - np.log(100) < value["knn120", "nll"] < np.log(4 * np.pi) + np.log(100)
    assert ("nearest", "nll") not in value


def test_the_evaluation_has_its_page(road):
    seen = Reader((road.workshop.folder / "evaluation" / "index.html").read_text("utf-8"))
    tags = [tag for tag, _ in seen.tags]
    assert tags.count("svg") == 4
    assert not set(tags) & {"script", "link", "img", "iframe"}
    text = " ".join(" ".join(seen.words).split())
    for words in ("im2gps", "knn120", "known owners", "Reliability", "Risk and coverage"):
        assert words in text


def test_known_and_new_owners_are_judged_apart(road):
    rows = road.workshop.rows(EVALUATIONS, "metric = 'nll' AND engine = 'im2gps'")
    n = {row["stratum"]: row["n"] for row in rows}
    assert n["all"] == n["known owners"] + n["new owners"]


# --- the page ---


class Reader(HTMLParser):
    """What a browser would see: tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def page(road: Road) -> str:
    return (road.workshop.folder / "atlas" / "index.html").read_text("utf-8")


def test_the_page_shows_every_photo(road, page):
    shown = {attributes.get("id") for tag, attributes in Reader(page).tags if tag == "article"}
    assert {f"photo-{photo.photo_id}" for photo in road.sample.plan.uploads.good} <= shown


def test_the_page_takes_nothing_from_outside(page):
    for tag, attributes in Reader(page).tags:
        for name, value in attributes.items():
            text = name in ("title", "alt", "aria-label")  # shown, never followed; a photo's title may hold anything
            if value is not None and "//" in value and not value.startswith("data:") and not text:
                assert (tag, name) == ("a", "href"), (tag, name, value[:80])
        assert (attributes.get("src") or "data:").startswith("data:")
    assert not {tag for tag, _ in Reader(page).tags} & {"script", "link", "iframe", "object", "embed", "base"}
    assert "@import" not in page


def test_titles_are_text_whatever_they_hold(road, page):
    titles = [photo.title for photo in road.sample.plan.uploads.good]
    hostile = set(titles) & set(HOSTILE)
    assert any("<" in title for title in hostile)  # or the test would say nothing
    text = "".join(" ".join(Reader(page).words).split())
    for title in filter(str.strip, titles):
        assert "".join(title.split()) in text
        assert "<" not in title or title not in page


# --- the same again ---


def test_the_same_run_gives_the_same_tables_index_and_page(road):
    workshop = road.workshop
    pages = [workshop.folder / name / "index.html" for name in ("atlas", "evaluation")]
    kept = [table for table in TABLES if table not in (RUNS, REASONS)]
    before = {table.name: workshop.rows(table) for table in kept}
    drawn = [page.read_bytes() for page in pages]
    index, runs = digests(workshop.folder / "index"), len(workshop.rows(RUNS))

    again = road.run()

    for table in kept:
        assert workshop.rows(table) == before[table.name], table.name
        keys = [tuple(repr(row[column]) for column in table.key) for row in before[table.name]]
        assert len(set(keys)) == len(keys), table.name
    assert digests(workshop.folder / "index") == index
    assert [page.read_bytes() for page in pages] == drawn
    assert len(workshop.rows(RUNS)) == runs + len(again)
    # What is done is not done again.
    assert again["describe"].rows_in == 0
    assert again["geolocate"].count(Status.OK) == 0


def test_another_folder_gets_the_same_index_to_the_byte(road, tmp_path):
    for stage in ("train", "build"):
        road.workshop.run(stage, f"index.root={tmp_path}")
    here = digests(road.workshop.folder / "index")
    assert digests(tmp_path) == {name: data for name, data in here.items() if "calibration" not in name}


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder by what is in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
