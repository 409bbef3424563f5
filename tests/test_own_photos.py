"""Anyone's own photos: where they lie is found, and a tenth of their owners is held out, whole and without geotags."""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterable
from pathlib import Path

import pytest

from im2gps_spark import demo
from im2gps_spark.config import Config, load
from im2gps_spark.errors import UsageError
from im2gps_spark.own_photos import KEYS, HeldOut, choose_owners, find_key, hold_out
from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.photos.metadata import COLUMNS_23, COLUMNS_25, Rules, parse

GEOTAG = ("longitude", "latitude", "accuracy")


def line(photo_id: int | str, owner: str = "1@N00", columns: tuple[str, ...] = COLUMNS_25, **fields: str) -> bytes:
    """A line of metadata; what is not said of the photo is empty."""
    number = photo_id if isinstance(photo_id, int) else 7
    said = {
        "photo_id": str(photo_id),
        "hash": hashlib.md5(str(photo_id).encode()).hexdigest(),
        "owner_id": owner,
        "longitude": f"{number % 180}.25",
        "latitude": "-33.5",
        "accuracy": "12",
        "extension": "jpg",
        "marker": "0",
        **fields,
    }
    return "\t".join(said.get(name, "") for name in columns).encode()


def write(file: Path, lines: Iterable[bytes]) -> str:
    file.write_bytes(b"".join(each + b"\n" for each in lines))
    return str(file)


def understood(lines: list[bytes], *, needs_geotag: bool = False) -> list[dict]:
    """Lines of metadata as ingest understands them."""
    rows: list[dict] = parse(
        lines, [0] * len(lines), "", Rules("", PhotoKey("{photo_id}"), needs_geotag, 0)
    ).to_pylist()
    return rows


def rows_of(file: Path) -> list[dict]:
    return understood(file.read_bytes().splitlines())


def truth_of(folder: Path) -> dict[int, tuple[float, float, str]]:
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {int(r["photo_id"]): (float(r["latitude"]), float(r["longitude"]), r["owner_id"]) for r in rows}
    assert len(found) == len(rows)
    return found


# --- where photos lie ---


def lay(photos: Path, key: str, ids: Iterable[int]) -> None:
    """Empty files under a key."""
    hashes = {i: hashlib.md5(str(i).encode()).hexdigest() for i in ids}
    for i, digest in hashes.items():
        name = key.replace("{photo_id}", str(i)).replace("{extension}", "png").replace("{hash}", digest)
        path = photos / name.replace("{hash:0:3}", digest[:3]).replace("{hash:3:6}", digest[3:6])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("key", KEYS)
def test_photos_are_found_under_each_usual_key(tmp_path, key):
    metadata = write(tmp_path / "meta.tsv", [line(i, extension="png") for i in range(1, 6)])
    lay(tmp_path / "photos", key, range(1, 6))
    assert find_key(tmp_path / "photos", metadata) == key


def test_the_key_that_most_photos_lie_under_is_taken(tmp_path):
    metadata = write(tmp_path / "meta.tsv", [line(i) for i in range(1, 10)])
    lay(tmp_path, "{photo_id}.jpg", [1, 2])
    lay(tmp_path, "images/{photo_id}.jpg", [1, 2, 3])
    assert find_key(tmp_path, metadata) == "images/{photo_id}.jpg"


def test_photos_are_found_among_broken_lines(tmp_path):
    broken = [b"", b"no columns", line("abc"), line(7, owner=""), line(8, marker="1"), b"\xff" + line(9)]
    metadata = write(tmp_path / "meta.tsv", [*broken, line(1)])
    lay(tmp_path, "{hash}.jpg", [1])
    assert find_key(tmp_path, metadata) == "{hash}.jpg"


def test_photos_under_no_usual_key_are_one_clear_line(tmp_path):
    metadata = write(tmp_path / "meta.tsv", [line(1), line(2)])
    lay(tmp_path, "odd/{photo_id}.jpeg", [1, 2])
    with pytest.raises(UsageError, match=r"none of the first 2 photos of .*meta.tsv lies below .*--set photos.key="):
        find_key(tmp_path, metadata)


def test_metadata_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"no file or folder .*gone.tsv"):
        find_key(tmp_path, str(tmp_path / "gone.tsv"))


# --- a tenth of the owners ---

OWNERS = [f"{n}@N0{n % 10}" for n in range(200)]
GOOD = [line(10 * n + i, owner) for n, owner in enumerate(OWNERS, 1) for i in range(1 + n % 3)]
BROKEN = [
    b"",
    b"half a line\t1\t2",
    line(99_001, owner=""),
    line("abc", owner=""),
    b"\xff\xfe" + line(99_002, "0@N00"),
    line(99_003, "0@N00") + b"\tone more",
]


@pytest.fixture
def held(tmp_path: Path) -> HeldOut:
    """Good lines of 200 owners, with lines among them that belong to none."""
    metadata = write(tmp_path / "meta.tsv", [*BROKEN[:3], *GOOD, *BROKEN[3:]])
    return hold_out(metadata, tmp_path / "out")


def test_every_line_is_in_the_corpus_or_among_the_uploads(held):
    corpus, uploads = (file.read_bytes().split(b"\n")[:-1] for file in (held.corpus, held.uploads))
    assert len(corpus) + len(uploads) == len(GOOD) + len(BROKEN)
    assert [each for each in [*BROKEN[:3], *GOOD, *BROKEN[3:]] if each in set(corpus)] == corpus


def test_an_owner_is_in_the_corpus_or_held_out_but_never_both(held):
    in_corpus, out = ({row["owner_id"] for row in rows_of(file)} for file in (held.corpus, held.uploads))
    assert not in_corpus & out
    assert in_corpus - {None, ""} | out == set(OWNERS)


def test_about_a_tenth_of_the_owners_is_held_out(held):
    photos, out, owners = held.counts
    assert owners == len(OWNERS)
    assert 10 <= out <= 30
    assert photos == len(rows_of(held.uploads))


@pytest.mark.parametrize("owners", [["a", "b"], ["a", "b", "c"], [f"owner {i}" for i in range(7)]])
def test_of_few_owners_one_is_held_out_and_one_is_not(owners):
    assert 0 < len(choose_owners(owners)) < len(owners)


def test_of_owners_that_would_all_be_held_out_one_stays():
    held = [name for name in map(str, range(200)) if choose_owners([name])][:3]
    assert len(choose_owners(held)) == 2


def test_broken_lines_stay_in_the_corpus_as_they_were(held):
    corpus = held.corpus.read_bytes().split(b"\n")[:-1]
    assert corpus[:3] + corpus[-3:] == BROKEN


def test_uploads_have_lost_their_geotags_and_nothing_else(held):
    before = {fields[1]: fields for fields in (each.split(b"\t") for each in GOOD)}
    for upload in held.uploads.read_bytes().splitlines():
        after = upload.split(b"\t")
        changed = {
            COLUMNS_25[i] for i, (a, b) in enumerate(zip(before[after[1]], after, strict=True)) if (a, b) != (b, a)
        }
        assert changed == set(GEOTAG)
        assert [after[COLUMNS_25.index(name)] for name in GEOTAG] == [b""] * 3


def test_uploads_are_accepted_without_geotags(held):
    rows = rows_of(held.uploads)
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["latitude"], row["longitude"]) for row in rows} == {(None, None)}


def test_the_truth_has_the_place_of_every_upload(held):
    truth = truth_of(held.corpus.parents[1])
    places = {row["photo_id"]: row for row in understood(GOOD, needs_geotag=True)}
    assert set(truth) == {row["photo_id"] for row in rows_of(held.uploads)}
    for photo_id, (latitude, longitude, owner) in truth.items():
        row = places[photo_id]
        assert (latitude, longitude, owner) == (row["latitude"], row["longitude"], row["owner_id"])


def test_the_same_owners_are_held_out_again(held, tmp_path):
    again = hold_out(write(tmp_path / "other.tsv", reversed(GOOD)), tmp_path / "again")
    assert {row["owner_id"] for row in rows_of(again.uploads)} == {row["owner_id"] for row in rows_of(held.uploads)}


@pytest.fixture
def upload(held: HeldOut) -> str:
    """An owner who is held out."""
    return str(rows_of(held.uploads)[0]["owner_id"])


def test_no_place_is_no_truth(tmp_path, upload):
    """Uploads without a geotag that can be trusted are located, but nothing is known to judge them by."""
    lines = [
        line(1, upload),
        line(2, upload, latitude="", longitude=""),
        line(3, upload, latitude="0", longitude="0"),
        line(4, upload, latitude="95"),
        line(5, upload, marker="1"),
    ]
    made = hold_out(write(tmp_path / "some.tsv", lines), tmp_path)
    assert [row["photo_id"] for row in rows_of(made.uploads)] == [1, 2, 3, 4, 5]
    assert set(truth_of(tmp_path)) == {1}


def test_of_a_repeated_photo_the_first_place_is_the_truth(tmp_path, upload):
    lines = [line(1, upload, latitude="91"), line(1, upload, latitude="10"), line(1, upload, latitude="20")]
    hold_out(write(tmp_path / "some.tsv", lines), tmp_path)
    assert truth_of(tmp_path)[1][0] == 10.0


def test_the_older_form_loses_its_geotags_too(tmp_path, upload):
    made = hold_out(write(tmp_path / "some.tsv", [line(3, upload, COLUMNS_23)]), tmp_path)
    (row,) = rows_of(made.uploads)
    assert (row["status"], row["latitude"], row["longitude"], row["accuracy"]) == ("ok", None, None, None)
    assert truth_of(tmp_path) == {3: (-33.5, 3.25, upload)}


def test_packed_metadata_and_folders_of_it_are_read(tmp_path, held):
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "a.tsv").write_bytes(b"\n".join(GOOD[:100]) + b"\n")
    (tmp_path / "many" / "b.tsv.gz").write_bytes(gzip.compress(b"\n".join(GOOD[100:])))
    made = hold_out(str(tmp_path / "many"), tmp_path / "again")
    assert made.uploads.read_bytes() == held.uploads.read_bytes()


# --- the command ---


@pytest.mark.parametrize(("photos", "metadata"), [("photos", None), (None, "meta.tsv")])
def test_one_of_photos_and_metadata_is_not_enough(tmp_path, photos, metadata):
    with pytest.raises(UsageError, match="both PHOTOS=DIR and METADATA=FILE"):
        demo.demo(tmp_path / "demo", photos, metadata, [])
    assert not (tmp_path / "demo").exists()


def test_a_folder_of_photos_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"PHOTOS: there is no folder .*gone"):
        demo.demo(tmp_path / "demo", str(tmp_path / "gone"), str(tmp_path / "meta.tsv"), [])


def test_a_wrong_key_is_said_before_any_work(tmp_path):
    with pytest.raises(UsageError, match=r"photos\.colection"):
        demo.demo(tmp_path / "demo", None, None, ["photos.colection=a"])
    assert not (tmp_path / "demo").exists()


def test_photos_of_one_owner_are_refused_before_any_work(tmp_path):
    lay(tmp_path / "photos", "{photo_id}.jpg", [1, 2])
    metadata = write(tmp_path / "meta.tsv", [line(1), line(2)])
    with pytest.raises(UsageError, match="two at least are needed"):
        demo.demo(tmp_path / "demo", str(tmp_path / "photos"), metadata, [])


def test_a_key_that_is_given_is_not_looked_for(tmp_path, monkeypatch):
    lay(tmp_path / "photos", "odd/{photo_id}.jpeg", [1, 2])
    metadata = write(tmp_path / "meta.tsv", [line(1), line(2, owner="2@N00")])
    ran: list[Config] = []

    def run(file, overrides, uploads):
        ran.extend((load(file, overrides), load(file, uploads)))

    monkeypatch.setattr(demo, "_run_here", run)
    demo.demo(tmp_path / "demo", str(tmp_path / "photos"), metadata, ["photos.key=odd/{photo_id}.jpeg"])
    assert [config.photos.key for config in ran] == ["odd/{photo_id}.jpeg"] * 2
    assert [config.photos.collection for config in ran] == ["corpus", "uploads"]
