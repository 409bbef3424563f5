"""Lines of metadata: each becomes one row, with the first reason against it, whatever is in it."""

from __future__ import annotations

import datetime as dt
import math
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.photos.metadata import COLUMNS_23, COLUMNS_25, ROWS, Rules, parse
from im2gps_spark.photos.reasons import Reason, Status

FIELDS = {
    "line": "0",
    "photo_id": "4293",
    "hash": "90c398221852d3b662276135a0c277a3",
    "owner_id": "77@N06",
    "nickname": "some+one",
    "taken": "2007-08-03 12:03:09.0",
    "uploaded": "1186142589",
    "device": "Canon",
    "title": "Duomo",
    "description": "",
    "tags": "dome,italia",
    "machine_tags": "",
    "longitude": "11.25",
    "latitude": "43.75",
    "accuracy": "16",
    "page_url": "http://www.flickr.com/photos/77@N06/4293/",
    "download_url": "http://farm1.staticflickr.com/1/4293_a.jpg",
    "license": "Attribution License",
    "license_url": "http://creativecommons.org/licenses/by/2.0/",
    "server": "1",
    "farm": "1",
    "secret": "a",
    "secret_original": "b",
    "extension": "jpg",
    "marker": "0",
}
CORPUS = Rules("/photos", PhotoKey("{photo_id}.jpg"), needs_geotag=True, min_accuracy=6)
UPLOADS = Rules("/photos", PhotoKey("{photo_id}.jpg"), needs_geotag=False, min_accuracy=6)
NEGATIVE = frozenset({"macro", "birthdayparty"})
BY_HASH = Rules("/photos", PhotoKey("{hash:0:3}/{hash}.jpg"), needs_geotag=True, min_accuracy=6, negative_tags=NEGATIVE)


def line(columns: tuple[str, ...] = COLUMNS_25, /, **fields: str) -> bytes:
    return "\t".join({**FIELDS, **fields}[name] for name in columns).encode()


def rows(lines: list[bytes], rules: Rules = CORPUS) -> list[dict]:
    positions = [sum(len(before) + 1 for before in lines[:i]) for i in range(len(lines))]
    table = parse(lines, positions, "a.tsv", rules)
    assert table.schema == ROWS
    table.validate(full=True)
    found: list[dict] = table.to_pylist()
    assert [row["position"] for row in found] == positions
    assert {row["source"] for row in found} <= {"a.tsv"}
    return found


def row(rules: Rules = CORPUS, **fields: str) -> dict:
    return rows([line(**fields)], rules)[0]


def verdict(rules: Rules = CORPUS, **fields: str) -> str | None:
    """The reason against a line, None if it is accepted."""
    found = row(rules, **fields)
    assert (found["status"] == Status.OK) == (found["reason"] is None)
    reason: str | None = found["reason"]
    return reason


# --- whole lines ---


def test_a_line_of_25_columns():
    assert row() == {
        "source": "a.tsv",
        "position": 0,
        "photo_id": 4293,
        "owner_id": "77@N06",
        "uri": "/photos/4293.jpg",
        "taken_at": dt.datetime(2007, 8, 3, 12, 3, 9, tzinfo=dt.UTC),
        "uploaded_at": dt.datetime(2007, 8, 3, 12, 3, 9, tzinfo=dt.UTC),
        "latitude": 43.75,
        "longitude": 11.25,
        "accuracy": 16,
        "title": "Duomo",
        "tags": ["dome", "italia"],
        "license": "Attribution License",
        "page_url": "http://www.flickr.com/photos/77@N06/4293/",
        "status": "ok",
        "reason": None,
        "detail": None,
    }


def test_a_line_of_23_columns_says_the_same():
    assert rows([line(COLUMNS_23)]) == rows([line(COLUMNS_25)])


def test_a_line_of_23_columns_has_no_hash_for_the_key():
    old, new = rows([line(COLUMNS_23), line(COLUMNS_25)], BY_HASH)
    assert (old["reason"], new["reason"]) == (Reason.MISSING_KEY_FIELD, None)
    assert new["uri"] == "/photos/90c/90c398221852d3b662276135a0c277a3.jpg"


@pytest.mark.parametrize("count", [1, 2, 9, 22, 24, 26, 100])
def test_any_other_number_of_columns(count):
    found = rows([b"\t".join([b"1"] * count)])[0]
    assert (found["status"], found["reason"]) == ("rejected", Reason.WRONG_COLUMN_COUNT)
    assert found["detail"] == f"{count} columns"
    assert found["photo_id"] is found["uri"] is found["tags"] is None


def test_an_empty_line_is_a_line():
    assert rows([b""])[0]["reason"] == Reason.WRONG_COLUMN_COUNT


def test_no_lines():
    assert rows([]) == []


def test_mixed_forms_keep_the_order_of_the_file():
    forms = [COLUMNS_23, COLUMNS_25, COLUMNS_25[:7], COLUMNS_23, COLUMNS_25, COLUMNS_25[:24], COLUMNS_23]
    found = rows([line(form, photo_id=str(i + 1)) for i, form in enumerate(forms)])
    assert [r["photo_id"] for r in found] == [1, 2, None, 4, 5, None, 7]
    assert [r["status"] for r in found] == ["ok", "ok", "rejected", "ok", "ok", "rejected", "ok"]


def test_without_a_root_the_uri_is_the_path():
    assert row(Rules("", PhotoKey("{photo_id}.jpg"), True, 6))["uri"] == "4293.jpg"


# --- faults of the line ---


@pytest.mark.parametrize("photo_id", ["", "abc", "0", "000", "-5", "+5", "5.0", " 5", "5 ", "1e3", "٣", "0x10"])
def test_what_is_no_photo_id(photo_id):
    found = row(photo_id=photo_id)
    assert (found["reason"], found["photo_id"], found["detail"]) == (Reason.BAD_PHOTO_ID, None, photo_id)


@pytest.mark.parametrize("number", [1, 2**53 + 1, 10**18 - 1, 10**18, 2**63 - 1])
def test_ids_are_whole_64_bit_numbers(number):
    assert row(photo_id=str(number))["photo_id"] == number
    assert row(photo_id=f"000{number}")["photo_id"] == number


@pytest.mark.parametrize("number", [2**63, 2**64, 2**64 + 5, 10**19, 10**40])
def test_ids_beyond_64_bits_do_not_wrap_around(number):
    assert verdict(photo_id=str(number)) == Reason.BAD_PHOTO_ID


def test_other_faults_of_the_line():
    assert verdict(owner_id="") == Reason.MISSING_OWNER
    assert verdict(marker="1") == Reason.VIDEO
    assert verdict(BY_HASH, hash="") == Reason.MISSING_KEY_FIELD
    assert verdict(BY_HASH, hash="../../etc/passwd") == Reason.MISSING_KEY_FIELD


def test_a_line_that_is_not_utf8_touches_no_other():
    latin = line(title="Caf\N{LATIN SMALL LETTER E WITH ACUTE}").replace("é".encode(), b"\xe9")
    found = rows([line(photo_id="1"), latin, b"\xff\xfe", line(photo_id="4", title="Café")])
    assert [r["reason"] for r in found] == [None, Reason.BAD_ENCODING, Reason.BAD_ENCODING, None]
    assert [r["photo_id"] for r in found] == [1, None, None, 4]
    assert found[3]["title"] == "Café"
    assert found[1]["detail"] is None  # not a number of columns, which is not its fault


# --- faults of the geotag ---


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        ("90", "0"),
        ("-90", "0"),
        ("0", "180"),
        ("0", "-180"),
        ("-90.000000", "180.000000"),
        ("90.0", "-180.0"),
    ],
)
def test_poles_and_dateline_are_on_earth(latitude, longitude):
    found = row(latitude=latitude, longitude=longitude)
    assert (found["status"], found["latitude"], found["longitude"]) == (
        "ok",
        float(latitude),
        float(longitude),
    )


@pytest.mark.parametrize(
    "text", ["43.75", "+43.75", " 43.75 ", "4.375e1", "4375e-2", "043.75", "43.750000000000000000000000"]
)
def test_ways_to_write_a_coordinate(text):
    assert row(latitude=text)["latitude"] == 43.75


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        ("90.0000001", "0"),
        ("-91.5", "11"),
        ("11", "180.0000001"),
        ("11", "-200"),
        ("abc", "11"),
        ("11", "nan"),
        ("inf", "11"),
        ("1e999", "11"),
        ("-1" + "0" * 400, "11"),
        ("1,5", "11"),
        ("43.75N", "11"),
        ("--1", "11"),
        ("+-1", "11"),
        ("++1", "11"),
        (".", "11"),
        ("1e", "11"),
        ("0x10", "11"),
        (" ", "11"),
        ("1 1", "11"),
        ("٤٣", "11"),
    ],
)
def test_coordinates_that_are_not_on_earth(latitude, longitude):
    found = row(latitude=latitude, longitude=longitude)
    assert (found["reason"], found["latitude"], found["longitude"]) == (Reason.BAD_COORDINATES, None, None)
    assert found["detail"] == f"{latitude[:40]}, {longitude[:40]}"


@pytest.mark.parametrize(("latitude", "longitude"), [("", ""), ("", "11"), ("43", "")])
def test_a_missing_geotag(latitude, longitude):
    assert verdict(latitude=latitude, longitude=longitude) == Reason.MISSING_GEOTAG


@pytest.mark.parametrize(("latitude", "longitude"), [("0", "0"), ("0.000000", "-0.0"), ("-0", "0e5"), ("+0.", ".0")])
def test_null_island(latitude, longitude):
    assert verdict(latitude=latitude, longitude=longitude) == Reason.NULL_ISLAND


def test_the_equator_and_greenwich_are_no_null_island():
    assert verdict(latitude="0", longitude="11") is None
    assert verdict(latitude="11", longitude="0.0") is None
    assert verdict(latitude="0.000001", longitude="0") is None


@pytest.mark.parametrize(("accuracy", "known"), [("6", 6), ("16", 16), ("006", 6), ("", None)])
def test_accuracy_is_held_against_a_photo_only_if_it_is_known_and_low(accuracy, known):
    found = row(accuracy=accuracy)
    assert (found["status"], found["accuracy"]) == ("ok", known)


@pytest.mark.parametrize("accuracy", ["0", "1", "5", "05"])
def test_low_accuracy(accuracy):
    found = row(accuracy=accuracy)
    assert (found["reason"], found["detail"], found["accuracy"]) == (
        Reason.LOW_ACCURACY,
        accuracy,
        int(accuracy),
    )
    assert found["latitude"] is found["longitude"] is None
    lenient = Rules("/photos", CORPUS.key, needs_geotag=True, min_accuracy=0)
    assert verdict(lenient, accuracy=accuracy) is None


# --- which fault comes first ---

# In the order in which they are looked for; no two of them touch the same field, but for those of the geotag.
FAULTS = [
    (Reason.BAD_PHOTO_ID, {"photo_id": "0"}),
    (Reason.MISSING_OWNER, {"owner_id": ""}),
    (Reason.VIDEO, {"marker": "1"}),
    (Reason.MISSING_KEY_FIELD, {"hash": "no"}),
    (Reason.MISSING_GEOTAG, {"longitude": ""}),
    (Reason.BAD_COORDINATES, {"latitude": "95"}),
    (Reason.LOW_ACCURACY, {"accuracy": "1"}),
    (Reason.NEGATIVE_TAG, {"tags": "macro"}),
]


@pytest.mark.parametrize("first", range(len(FAULTS)))
def test_the_first_fault_is_the_reason(first):
    every = {name: value for _, fields in FAULTS[first:] for name, value in fields.items()}
    assert verdict(BY_HASH, **every) == FAULTS[first][0]


def test_null_island_comes_before_its_accuracy():
    assert verdict(latitude="0", longitude="0", accuracy="1") == Reason.NULL_ISLAND


def test_columns_are_counted_before_anything_else():
    assert rows([line(photo_id="", owner_id="") + b"\t"])[0]["reason"] == Reason.WRONG_COLUMN_COUNT


# --- negative tags ---

PICKY = Rules("/photos", PhotoKey("{photo_id}.jpg"), needs_geotag=True, min_accuracy=6, negative_tags=NEGATIVE)


def test_a_negative_tag_keeps_a_photo_out_of_a_corpus_and_is_named():
    found = row(PICKY, tags="italia,Birthday+Party%21,macro")
    assert (found["status"], found["reason"], found["detail"]) == ("rejected", "negative_tag", "Birthday Party!")
    assert (found["latitude"], found["longitude"]) == (43.75, 11.25)  # its place is trusted all the same


def test_tags_that_hold_a_negative_one_are_other_tags():
    assert verdict(PICKY, tags="macros,birthday,party,macrophoto") is None


def test_photos_to_be_located_may_have_any_tag():
    anything = Rules("/photos", UPLOADS.key, needs_geotag=False, min_accuracy=6, negative_tags=NEGATIVE)
    assert verdict(anything, tags="macro") is None


# --- collections that need no geotag ---


@pytest.mark.parametrize(
    "fields",
    [
        {"latitude": "", "longitude": "", "accuracy": ""},
        {"latitude": "", "longitude": "11"},
        {"latitude": "95", "longitude": "11"},
        {"latitude": "north", "longitude": "11"},
        {"latitude": "0", "longitude": "0"},
        {"accuracy": "1"},
    ],
)
def test_uploads_are_accepted_without_a_trusted_geotag(fields):
    found = row(UPLOADS, **fields)
    assert (found["status"], found["reason"], found["detail"]) == ("ok", None, None)
    assert (found["latitude"], found["longitude"]) == (None, None)


def test_uploads_keep_a_trusted_geotag():
    found = row(UPLOADS)
    assert (found["latitude"], found["longitude"]) == (43.75, 11.25)


def test_uploads_are_rejected_for_other_faults():
    assert [verdict(UPLOADS, **fields) for _, fields in FAULTS[:3]] == [reason for reason, _ in FAULTS[:3]]


# --- text ---


def test_text_is_url_decoded():
    found = row(title="Caf%C3%A9+%26+bar", tags="m%C3%BCnchen,caf%C3%A9+au+lait")
    assert (found["title"], found["tags"]) == ("Café & bar", ["münchen", "café au lait"])


def test_text_of_a_line_does_not_depend_on_its_neighbours():
    plain, coded = rows([line(title="plain"), line(title="a%20b")])
    assert (plain["title"], coded["title"]) == ("plain", "a b")


def test_an_encoded_comma_belongs_to_its_tag():
    assert row(tags="san+francisco%2C+ca,usa")["tags"] == ["san francisco, ca", "usa"]


@pytest.mark.parametrize(("tags", "expected"), [("", []), (",", []), ("a,,b", ["a", "b"]), ("%2C", [","])])
def test_empty_tags_are_no_tags(tags, expected):
    assert row(tags=tags)["tags"] == expected


@pytest.mark.parametrize("text", ["%", "%zz", "100%", "%E9", "%ED%A0%80", "%F8%88%80%80%80"])
def test_ill_encoded_text_is_text(text):
    found = row(title=text, tags=text)
    assert found["status"] == "ok"
    assert found["tags"] == [found["title"]]
    found["title"].encode("utf-8")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)),
)
def test_any_text_comes_back(title, tags):
    found = row(title=quote_plus(title), tags=",".join(quote_plus(tag) for tag in tags))
    assert (found["title"], found["tags"]) == (title, tags)


# --- dates ---


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2007-08-03 12:03:09.0", utc(2007, 8, 3, 12, 3, 9)),
        ("2007-08-03 12:03:09", utc(2007, 8, 3, 12, 3, 9)),
        ("1826-01-01 00:00:00.0", utc(1826, 1, 1)),
        ("1969-12-31 23:59:59.0", utc(1969, 12, 31, 23, 59, 59)),
        ("2008-02-29 00:00:00.0", utc(2008, 2, 29)),
        ("0001-01-01 00:00:00.0", utc(1, 1, 1)),
        ("9999-12-31 23:59:59.0", utc(9999, 12, 31, 23, 59, 59)),
        ("", None),
        ("null", None),
        ("0000-00-00 00:00:00.0", None),
        ("0000-12-31 23:59:59.0", None),
        ("2007-13-01 00:00:00.0", None),
        ("2007-00-01 00:00:00.0", None),
        ("2007-01-00 00:00:00.0", None),
        ("2007-02-29 00:00:00.0", None),
        ("2008-02-30 00:00:00.0", None),
        ("2008-04-31 00:00:00.0", None),
        ("2007-01-32 00:00:00.0", None),
        ("2007-01-01 24:00:00.0", None),
        ("2007-01-01 29:00:00.0", None),
        ("2007-01-01 23:60:00.0", None),
        ("20070-01-01 00:00:00", None),
        ("2007-1-1 0:00:00", None),
        ("03/08/2007 12:03", None),
        ("-2007-08-03 12:03:09", None),
    ],
)
def test_dates_taken(text, expected):
    found = row(taken=text)
    assert (found["status"], found["taken_at"]) == ("ok", expected)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.tuples(
        st.integers(0, 9999),
        st.integers(1, 12) | st.integers(0, 19),
        st.integers(28, 31) | st.integers(0, 39),
        st.integers(0, 23) | st.integers(0, 29),
        *[st.integers(0, 59)] * 2,
    )
)
def test_dates_are_those_of_the_calendar(parts):
    try:
        expected = utc(*parts)
    except ValueError:
        expected = None
    assert row(taken="{:04}-{:02}-{:02} {:02}:{:02}:{:02}.0".format(*parts))["taken_at"] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", utc(1970, 1, 1)),
        ("253402300799", utc(9999, 12, 31, 23, 59, 59)),
        ("253402300800", None),
        ("999999999999", None),
        ("9" * 30, None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_dates_uploaded(text, expected):
    found = row(uploaded=text)
    assert (found["status"], found["uploaded_at"]) == ("ok", expected)


# --- anything at all ---


def check_rows(lines: list[bytes], rules: Rules) -> None:
    """What holds of every line: one row, in order, accepted or with a reason, and the same in any company."""
    found = rows(lines, rules)
    assert len(found) == len(lines)
    for raw, got in zip(lines, found, strict=True):
        if got["status"] == Status.OK:
            assert got["reason"] is got["detail"] is None
            assert 0 < got["photo_id"] < 2**63
            assert got["owner_id"]
            assert got["uri"].startswith("/photos/")
        else:
            assert got["status"] == Status.REJECTED
            assert got["reason"] in set(Reason)
        trusted = got["latitude"] is not None
        assert trusted == (got["longitude"] is not None)
        if trusted:
            assert -90 <= got["latitude"] <= 90
            assert -180 <= got["longitude"] <= 180
        assert trusted or not rules.needs_geotag or got["status"] == Status.REJECTED
        assert rows([raw], rules)[0] == {**got, "position": 0}


RULES = st.sampled_from([CORPUS, UPLOADS, BY_HASH])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=60), max_size=5), RULES)
def test_any_bytes_at_all(lines, rules):
    check_rows([text.replace(b"\n", b"") for text in lines], rules)


CELL = st.one_of(
    st.sampled_from(
        [b"", b"0", b"1", b"-1", b"12.5", b"1e999", b"nan", b"%", b"%2C", b"\xff", b"\0", b"\r", b"9" * 25]
    ),
    st.integers(-(2**70), 2**70).map(lambda n: str(n).encode()),
    st.floats().map(lambda x: repr(x).encode()),
    st.datetimes().map(lambda t: f"{t}".encode()),
    st.binary(max_size=8).map(lambda text: text.replace(b"\t", b"").replace(b"\n", b"")),
    st.text(max_size=8).map(lambda text: text.replace("\t", "").replace("\n", "").encode("utf-8", "surrogatepass")),
)


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """A line in which a few cells are anything."""
    form = draw(st.sampled_from([COLUMNS_25, COLUMNS_23]))
    cells = [FIELDS[name].encode() for name in form]
    for place in draw(st.lists(st.integers(0, len(form) - 1), max_size=4)):
        cells[place] = draw(CELL)
    return b"\t".join(cells)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(nearly_good(), max_size=5), RULES)
def test_lines_with_anything_in_their_cells(lines, rules):
    check_rows(lines, rules)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-95, 95) | st.floats(), st.floats(-185, 185) | st.floats())
def test_coordinates_are_read_as_python_reads_them(latitude, longitude):
    found = row(UPLOADS, latitude=repr(latitude), longitude=repr(longitude))
    on_earth = math.isfinite(latitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    if on_earth and (latitude, longitude) != (0.0, 0.0):
        assert (found["latitude"], found["longitude"]) == (latitude, longitude)
    else:
        assert (found["latitude"], found["longitude"]) == (None, None)
