"""The sample collection: its files, its faults, the truth of its places and the geometry of its views."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from urllib.parse import unquote_plus

import cv2
import numpy as np
import pytest
from PIL import Image

from im2gps_spark.photos.reasons import Reason
from im2gps_spark.sample import SampleFacts, make_sample
from im2gps_spark.sample.imagery import BlueMarble, blue_marble_file
from im2gps_spark.sample.places import EDGES, Place, beside
from im2gps_spark.sample.plan import Parameters, Plan
from im2gps_spark.sphere import EARTH_RADIUS_KM, coordinates, distance_km, unit_vectors

SMALL = Parameters(corpus=60, uploads=12, seed=5)


def make_small(folder: Path, seed: int = SMALL.seed) -> SampleFacts:
    return make_sample(folder, corpus=SMALL.corpus, uploads=SMALL.uploads, seed=seed)


@dataclass(frozen=True)
class Made:
    folder: Path
    facts: SampleFacts
    told: list[str]

    def lines(self, *names: str) -> list[bytes]:
        lines: list[bytes] = []
        for name in names:
            data = (self.folder / "photos" / name).read_bytes()
            data = gzip.decompress(data) if name.endswith(".gz") else data
            assert data.endswith(b"\n")
            lines += data[:-1].split(b"\n")
        return lines

    def truth(self) -> dict[int, Place]:
        with (self.folder / "truth.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            return {int(row["photo_id"]): Place(float(row["latitude"]), float(row["longitude"])) for row in rows}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("sample") / "demo"
    told: list[str] = []
    facts = make_sample(folder, corpus=SMALL.corpus, uploads=SMALL.uploads, seed=SMALL.seed, progress=told.append)
    return Made(folder, facts, told)


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The whole sample without its pictures, which are what takes time."""
    return Plan.draw(Parameters(corpus=3000, uploads=300, seed=2008), BlueMarble.load())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# The files.


def test_it_writes_what_it_says_and_leaves_nothing_beside_it(made: Made) -> None:
    names = {name for name in contents(made.folder) if not name.startswith("photos/images/")}
    tables = {"photos/corpus.tsv.gz", "photos/corpus-old.tsv", "photos/uploads.tsv"}
    assert names == {*tables, "photos/LICENSE.txt", "truth.csv", "sample.json"}
    assert [path.name for path in made.folder.parent.iterdir()] == ["demo"]
    assert "Blue Marble" in (made.folder / "photos" / "LICENSE.txt").read_text("utf-8")
    assert any("a second" in line for line in made.told)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(made: Made, tmp_path: Path) -> None:
    make_small(tmp_path / "again")
    make_small(tmp_path / "other", seed=6)
    assert contents(tmp_path / "again") == contents(made.folder)
    assert not set(contents(tmp_path / "other")) >= set(contents(made.folder))


def test_a_finished_sample_is_left_alone(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(Plan, "draw", fail)
    (made.folder / "warehouse").mkdir()  # what the later stages put beside the sample
    try:
        assert make_small(made.folder) == made.facts
    finally:
        (made.folder / "warehouse").rmdir()


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    make_small(tmp_path / "demo")
    assert (tmp_path / "demo" / "truth.csv").is_file()


def test_another_sample_is_not_overwritten(made: Made) -> None:
    before = contents(made.folder)
    with pytest.raises(ValueError, match="another sample"):
        make_small(made.folder, seed=6)
    assert contents(made.folder) == before


@pytest.mark.parametrize("name", ["thesis.tex", "photos/images/1.jpg", ".git/config"])
def test_a_folder_with_something_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "demo" / name).parent.mkdir(parents=True)
    (tmp_path / "demo" / name).write_text("precious")
    with pytest.raises(ValueError, match="demo is not a sample"):
        make_small(tmp_path / "demo")
    assert (tmp_path / "demo" / name).read_text() == "precious"


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo").write_text("precious")
    with pytest.raises(ValueError, match="not a sample"):
        make_small(tmp_path / "demo")


def test_an_interrupted_one_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(message: str) -> None:
        if "pictures" in message:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sample(tmp_path / "demo", corpus=2, uploads=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("corpus", "uploads", "seed"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_empty_collections_are_refused(tmp_path: Path, corpus: int, uploads: int, seed: int) -> None:
    with pytest.raises(ValueError, match="needs a photo, an upload and a seed"):
        make_sample(tmp_path / "demo", corpus=corpus, uploads=uploads, seed=seed)


def test_the_smallest_sample_has_all_the_faults(made: Made, tmp_path: Path) -> None:
    facts = make_sample(tmp_path / "demo", corpus=1, uploads=1)
    assert facts.corpus.rejected == made.facts.corpus.rejected
    assert (facts.corpus.good, facts.uploads.good) == (1, 1)


def test_without_the_imagery_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'im2gps-spark\[demo\]'"):
        blue_marble_file()


# The faults, judged by other eyes than those that made them.


def picture_fault(file: Path) -> Reason | None:
    if not file.exists():
        return Reason.MISSING_FILE
    data = file.read_bytes()
    if not data:
        return Reason.EMPTY_FILE
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        return Reason.NOT_A_PICTURE
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:  # what pillow raises for a file that ends too early
        return Reason.TRUNCATED
    return None


def geotag_fault(longitude: str, latitude: str, accuracy: str) -> Reason | None:
    if not longitude and not latitude:
        return Reason.MISSING_GEOTAG
    try:
        place = float(latitude), float(longitude)
        unit_vectors(*place)
    except ValueError:
        return Reason.BAD_COORDINATES
    if place == (0.0, 0.0):
        return Reason.NULL_ISLAND
    return Reason.LOW_ACCURACY if int(accuracy) < 6 else None


def columns(line: bytes) -> list[str]:
    """The 25 columns of a good line in either form."""
    fields = line.decode("utf-8").split("\t")
    return fields if len(fields) == 25 else ["", fields[0], "", *fields[1:]]


def beside_others(lines: list[bytes], images: Path) -> Counter[Reason]:
    """What is wrong with good photos beside others: of the same bytes, of the same sight, or of the same moment."""
    photos = sorted((columns(line) for line in lines), key=lambda fields: int(fields[1]))
    files = [(images / f"{fields[1]}.jpg").read_bytes() for fields in photos]
    sights = [Image.open(io.BytesIO(data)).convert("L") for data in files]
    small = np.stack([np.asarray(sight.resize((24, 24)), float) for sight in sights])
    shapes = [sight.width / sight.height for sight in sights]
    faults: Counter[Reason] = Counter()
    for i, mine in enumerate(photos):
        alike = [j for j in range(i) if abs(shapes[i] - shapes[j]) < 0.02 and np.abs(small[i] - small[j]).mean() < 2.5]
        if files[i] in files[:i]:
            faults[Reason.IDENTICAL] += 1
        elif small[i].std() > 10.0 and alike:
            faults[Reason.NEAR_DUPLICATE] += 1
        elif any(after(mine, theirs) for theirs in photos if theirs is not mine):
            faults[Reason.SAME_MOMENT] += 1
    return faults


def after(mine: list[str], theirs: list[str]) -> bool:
    """Whether a photo was taken soon after another, by the same owner where that was."""
    waited = (datetime.fromisoformat(mine[5]) - datetime.fromisoformat(theirs[5])).total_seconds()
    later = waited > 0 or (waited == 0 and int(mine[1]) > int(theirs[1]))
    places = [unit_vectors(float(fields[13]), float(fields[12])) for fields in (mine, theirs)]
    return mine[3] == theirs[3] and later and waited <= 600 and float(distance_km(*places)) <= 0.1


def line_fault(line: bytes, seen: set[str], images: Path, *, geotagged: bool) -> Reason | None:
    try:
        fields = line.decode("utf-8").split("\t")
    except UnicodeDecodeError:
        return Reason.BAD_ENCODING
    if len(fields) not in (23, 25):
        return Reason.WRONG_COLUMN_COUNT
    fields = fields if len(fields) == 25 else ["", fields[0], "", *fields[1:]]
    if not fields[1].isdecimal() or not 1 <= int(fields[1]) < 2**63:
        return Reason.BAD_PHOTO_ID
    if not fields[3]:
        return Reason.MISSING_OWNER
    if fields[24] == "1":
        return Reason.VIDEO
    if not geotagged:
        assert fields[12:15] == ["", "", ""]
    elif fault := geotag_fault(*fields[12:15]):
        return fault
    elif {tag.lower() for tag in unquote_plus(fields[10]).split(",")} & {"birthday party", "концерт"}:
        return Reason.NEGATIVE_TAG
    if fields[1] in seen:
        return Reason.DUPLICATE_ID
    seen.add(fields[1])
    return picture_fault(images / f"{fields[1]}.jpg")


@pytest.mark.parametrize("collection", ["corpus", "uploads"])
def test_the_faults_are_those_counted(made: Made, collection: str) -> None:
    facts = made.facts.corpus if collection == "corpus" else made.facts.uploads
    files = ["corpus.tsv.gz", "corpus-old.tsv"] if collection == "corpus" else ["uploads.tsv"]
    seen: set[str] = set()
    images = made.folder / "photos" / "images"
    lines = made.lines(*files)
    found = [line_fault(line, seen, images, geotagged=collection == "corpus") for line in lines]
    faults = Counter(found)
    if collection == "corpus":
        among = beside_others([line for line, fault in zip(lines, found, strict=True) if fault is None], images)
        faults += among
        faults[None] -= among.total()
    assert len(lines) == facts.lines
    assert faults.pop(None) == facts.good == getattr(SMALL, collection)
    assert faults == facts.rejected
    assert facts.ingest_ok - facts.describe_ok == facts.describe_rejected.total()
    assert facts.describe_ok - facts.good == facts.corpus_rejected.total()


def test_the_files_are_those_counted(made: Made) -> None:
    pictures = list((made.folder / "photos" / "images").iterdir())
    assert len(pictures) == made.facts.corpus.pictures + made.facts.uploads.pictures
    png = [path for path in pictures if path.read_bytes().startswith(b"\x89PNG")]
    assert len(png) == 5  # 3 in the corpus and 2 uploads: they are in order, whatever their names say


def test_both_forms_are_there(made: Made) -> None:
    assert {len(line.split(b"\t")) for line in made.lines("corpus-old.tsv")} >= {23}
    new = made.lines("corpus.tsv.gz")
    whole = [line.split(b"\t") for line in new if line.count(b"\t") == 24]
    assert len(whole) > 6 * len(made.lines("corpus-old.tsv"))
    assert all(new[int(fields[0])].split(b"\t") == fields for fields in whole)  # the line's own number
    assert (made.folder / "photos" / "corpus.tsv.gz").read_bytes()[4:8] == bytes(4)  # no time of its making


def test_texts_are_encoded_and_hostile_ones_are_among_them(made: Made, plan: Plan) -> None:
    lines = b"\n".join(made.lines("uploads.tsv"))
    assert b"<" not in lines
    titles = {photo.title for photo in plan.uploads.good}
    assert any("<script>" in title for title in titles)
    letters = "".join(titles)
    for script in ("aé", "Жя", "سع", "の海", "कह", "🌍"):
        assert any(letter in letters for letter in script), script
    entry = next(e for e in plan.uploads.entries if "\n" in e.photo.title and e.fault is None)
    fields = entry.line(0, old=False, geotag=False).decode().rstrip("\n").split("\t")
    assert len(fields) == 25
    assert unquote_plus(fields[8]) == entry.photo.title


def test_the_facts_survive_the_file(made: Made) -> None:
    mark = json.loads((made.folder / "sample.json").read_text("utf-8"))
    assert SampleFacts.from_json(mark["facts"]) == made.facts


# The law.


def test_the_truth_is_that_of_the_good_uploads(made: Made) -> None:
    drawn = Plan.draw(SMALL, BlueMarble.load()).uploads.good
    truth = made.truth()
    assert set(truth) == {photo.photo_id for photo in drawn}
    for photo in drawn:
        assert truth[photo.photo_id] == Place(photo.place.latitude, photo.place.longitude)


def test_a_picture_shows_the_place_that_the_truth_names(made: Made) -> None:
    earth, truth, compared = BlueMarble.load(), made.truth(), 0
    for photo in Plan.draw(SMALL, earth).uploads.good:
        place = truth[photo.photo_id]
        view = earth.view(
            place.latitude, place.longitude, side_km=photo.side_km, size=photo.size, heading=photo.heading
        )
        if view.std() < 15.0:  # open sea or ice: nothing to tell places apart by
            continue
        file = made.folder / "photos" / "images" / f"{photo.photo_id}.jpg"
        taken = cv2.cvtColor(np.asarray(cv2.imread(str(file))), cv2.COLOR_BGR2RGB)
        assert taken.shape == view.shape
        assert np.corrcoef(taken.ravel(), view.ravel())[0, 1] > 0.95
        compared += 1
    assert compared >= 6


def test_places_are_as_clumpy_as_documented(plan: Plan) -> None:
    photos = plan.corpus.good
    points = unit_vectors([p.place.latitude for p in photos], [p.place.longitude for p in photos])
    others = np.array([p.owner.owner_id for p in photos])
    uploads = plan.uploads.good
    wanted = unit_vectors([p.place.latitude for p in uploads], [p.place.longitude for p in uploads])
    apart = distance_km(wanted[:, None], points[None])
    own = np.array([p.owner.owner_id for p in uploads])[:, None] == others[None]
    nearest = np.where(own, np.inf, apart).min(axis=1)
    assert 0.35 < np.mean(nearest < 20.0) < 0.65  # a landmark's photo, or a large city's
    assert np.mean(apart < 200.0) < 0.02  # by chance alone: about 1 %, as among Flickr's
    names = [p.place.names for p in photos]
    assert 0.10 < np.mean([not n for n in names]) < 0.14  # anywhere at all


def test_the_edges_of_the_map_are_in_both_collections(plan: Plan) -> None:
    for part in (plan.corpus, plan.uploads):
        at = {(p.place.latitude, p.place.longitude) for p in part.good}
        assert at >= {(edge.latitude, edge.longitude) for edge in EDGES}
    written = b"".join(entry.line(0, old=False, geotag=True) for entry in plan.corpus.entries)
    assert b"\t180.000000\t" in written
    assert b"\t-180.000000\t" in written


def test_owners_are_few_who_take_many(plan: Plan) -> None:
    taken = Counter(photo.owner.owner_id for photo in plan.corpus.good)
    assert len(taken) == 400
    busiest = sum(n for _, n in taken.most_common(40))
    assert 0.3 < busiest / 3000 < 0.7
    facts = plan.facts()
    assert (facts.uploads.owners, facts.known_owners, facts.landmarks) == (120, 12, 80)


def test_ids_differ_across_both_collections_and_dates_are_in_order(plan: Plan) -> None:
    photos = plan.corpus.good + plan.uploads.good
    ids = [photo.photo_id for photo in photos]
    assert len(set(ids)) == len(ids)
    assert 10**8 <= min(ids) < max(ids) < 10**11
    assert all(photo.taken <= photo.uploaded for photo in photos)
    assert max(p.uploaded for p in plan.corpus.good) < min(p.uploaded for p in plan.uploads.good)


# The views.


@pytest.fixture(scope="module")
def coloured() -> BlueMarble:
    """An Earth whose colours say where one is: red, green and blue are x, y and z of the unit vector."""
    latitude = 90.0 - (np.arange(360) + 0.5) / 2.0
    longitude = (np.arange(720) + 0.5) / 2.0 - 180.0
    points = unit_vectors(*np.meshgrid(latitude, longitude, indexing="ij"))
    return BlueMarble(np.rint(127.5 + 127.0 * points).astype(np.uint8))


def seen(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(float) - 127.5) / 127.0


@pytest.mark.parametrize("heading", [0.0, 40.0])
@pytest.mark.parametrize(
    "place",
    [
        Place(0.0, 0.0),
        Place(48.0, 11.0),
        Place(-16.82, 180.0),
        Place(-33.0, -179.9),
        Place(71.0, 179.5),
        Place(90.0, 25.0),
        Place(-90.0, -60.0),
        Place(89.2, -170.0),
        Place(-85.0, 180.0),
    ],
)
def test_each_pixel_shows_its_own_place(coloured: BlueMarble, place: Place, heading: float) -> None:
    side_km, size = 3000.0, (121, 91)
    view = seen(coloured.view(place.latitude, place.longitude, side_km=side_km, size=size, heading=heading))
    errors = []
    for column, row in product(range(0, 121, 6), range(0, 91, 6)):
        across, up = (column - 60) * side_km / 121, (45 - row) * side_km / 121
        # On the plane that touches at the place, a length is the tangent of the arc.
        arc = float(np.arctan(np.hypot(across, up) / EARTH_RADIUS_KM)) * EARTH_RADIUS_KM
        there = beside(place, arc, heading + float(np.degrees(np.arctan2(across, up))))
        errors.append((view[row, column] - unit_vectors(there.latitude, there.longitude)) * EARTH_RADIUS_KM)
    # A level of colour is 50 km, so single pixels are coarse; their mean would show a shift of half a pixel.
    assert np.linalg.norm(errors, axis=1).max() < 90.0
    assert np.linalg.norm(np.mean(errors, axis=0)) < 6.0


def test_the_dateline_seen_from_both_sides_is_one(coloured: BlueMarble) -> None:
    for earth in (coloured, BlueMarble.load()):
        for size in ((200, 150), (201, 151)):
            west = earth.view(-16.8, -180.0, side_km=900.0, size=size)
            assert np.array_equal(west, earth.view(-16.8, 180.0, side_km=900.0, size=size))


@pytest.mark.parametrize("latitude", [90.0, -90.0])
def test_a_pole_has_no_seam(coloured: BlueMarble, latitude: float) -> None:
    view = seen(coloured.view(latitude, 0.0, side_km=800.0, size=(160, 160)))
    step = max(np.abs(np.diff(view, axis=0)).max(), np.abs(np.diff(view, axis=1)).max())
    assert step * 127.0 <= 2.5  # neighbours are 5 km apart: a level's step, or two where one is skipped


def test_a_pole_is_the_same_whichever_meridian_it_is_named_by(coloured: BlueMarble) -> None:
    turned = coloured.view(90.0, 30.0, side_km=2000.0, size=(101, 101), heading=0.0)
    # Along meridian 30 north points away from it, so the view of meridian 0 is to be turned by as much.
    plain = coloured.view(90.0, 0.0, side_km=2000.0, size=(101, 101), heading=-30.0)
    assert np.abs(turned.astype(int) - plain).max() <= 1


def test_a_wide_view_is_the_mean_of_what_it_covers() -> None:
    chequered = np.indices((512, 1024)).sum(axis=0) % 2 * 255
    earth = BlueMarble(np.repeat(chequered[..., None], 3, axis=2).astype(np.uint8))
    view = earth.view(10.0, 20.0, side_km=6000.0, size=(32, 32))
    assert np.abs(view.astype(float) - 127.5).max() < 4.0


def test_near_a_pole_the_crowded_columns_are_averaged() -> None:
    rng = np.random.default_rng(1)
    noise = BlueMarble(rng.integers(0, 256, (512, 1024, 3)).astype(np.uint8))
    pole = noise.view(88.0, 0.0, side_km=300.0, size=(64, 64))
    equator = noise.view(0.0, 0.0, side_km=300.0, size=(64, 64))
    assert pole.std() < 0.5 * equator.std()


@pytest.mark.parametrize("side_km", [0.0, -1.0, 20_000.0, float("nan")])
def test_impossible_views_are_refused(coloured: BlueMarble, side_km: float) -> None:
    with pytest.raises(ValueError, match="side"):
        coloured.view(0.0, 0.0, side_km=side_km, size=(8, 8))
    with pytest.raises(ValueError, match="latitude"):
        coloured.view(91.0, 0.0, side_km=100.0, size=(8, 8))


def test_a_picture_that_is_not_the_whole_earth_is_refused() -> None:
    with pytest.raises(ValueError, match="equirectangular"):
        BlueMarble(np.zeros((100, 100, 3), np.uint8))


def test_beside_goes_as_far_as_it_is_told() -> None:
    for place in (Place(10.0, 179.9), Place(90.0, 0.0), Place(-89.9, 13.0)):
        there = beside(place, 300.0, 77.0)
        assert float(
            distance_km(unit_vectors(place.latitude, place.longitude), unit_vectors(there.latitude, there.longitude))
        ) == pytest.approx(300.0, abs=1e-6)
    north = beside(Place(0.0, 5.0), 100.0, 0.0)
    assert coordinates(unit_vectors(north.latitude, north.longitude))[1] == pytest.approx(5.0)
    assert north.latitude > 0.0
