"""Keys of photos: every template names the file that it says, and none leads out of the root."""

from __future__ import annotations

import posixpath

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.photos.key import FIELDS, PhotoKey

PHOTO = {
    "photo_id": "4293",
    "hash": "90c398221852d3b662276135a0c277a3",
    "owner_id": "77@N06",
    "extension": "jpg",
}


def columns(*photos: dict[str, str]) -> dict[str, pa.Array]:
    return {name: pa.array([{**PHOTO, **photo}[name] for photo in photos], pa.string()) for name in FIELDS}


def path(template: str, **photo: str) -> str:
    return str(PhotoKey(template).paths(columns(photo))[0])


def usable(template: str, **photo: str) -> bool:
    return bool(PhotoKey(template).usable(columns(photo))[0].as_py())


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{photo_id}.jpg", "4293.jpg"),
        ("images/{photo_id}.{extension}", "images/4293.jpg"),
        ("{owner_id}/{photo_id}", "77@N06/4293"),
        ("{hash:0:3}/{hash:3:6}/{hash}.jpg", "90c/398/90c398221852d3b662276135a0c277a3.jpg"),
        ("{photo_id:0:2}{photo_id:2:4}", "4293"),
        ("{photo_id}{photo_id}", "42934293"),
        ("{photo_id:2:40}", "93"),
        ("été/{photo_id}", "été/4293"),
    ],
)
def test_a_template_names_the_file_that_it_says(template, expected):
    assert path(template) == expected


def test_the_layout_of_yfcc100m():
    key = PhotoKey("data/images/{hash:0:3}/{hash:3:6}/{hash}.jpg")
    assert key.fields == {"hash"}
    hashes = ["90c398221852d3b662276135a0c277a3", "bbc868e10e36e29382796a9ff4d9b44b"]
    assert key.paths(columns(*({"hash": h} for h in hashes))).to_pylist() == [
        f"data/images/{h[:3]}/{h[3:6]}/{h}.jpg" for h in hashes
    ]


def test_no_rows_have_no_paths():
    assert PhotoKey("{photo_id}.jpg").paths(columns()).to_pylist() == []
    assert PhotoKey("{photo_id}.jpg").usable(columns()).to_pylist() == []


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("", "must hold a field such as {photo_id}; the fields are photo_id, hash, owner_id, extension"),
        ("images/photo.jpg", "must hold a field"),
        ("{title}.jpg", "{title} is none of the fields photo_id, hash, owner_id, extension"),
        ("{PHOTO_ID}", "{PHOTO_ID} is none of"),
        ("{}", "{} is none of"),
        ("{photo_id:}", "{photo_id:} is none of"),
        ("{photo_id:3}", "nor a slice like {hash:0:3}"),
        ("{photo_id:a:b}", "nor a slice"),
        ("{photo_id:-3:5}", "nor a slice"),
        ("{photo_id!r}", "nor a slice"),
        ("{hash:3:3}.jpg", "{hash:3:3} takes nothing"),
        ("{hash:6:3}.jpg", "{hash:6:3} takes nothing"),
        ("{photo_id}}", "brace without its partner"),
        ("{photo_id", "brace without its partner"),
        ("{{photo_id}}", "brace without its partner"),
        ("{hash}/{photo_id", "brace without its partner"),
        ("../{photo_id}", "must be a path below photos.root"),
        ("a/../../{photo_id}", "must be a path below photos.root"),
        ("{photo_id}/..", "must be a path below photos.root"),
        ("/{photo_id}", "must be a path below photos.root"),
        # A slice may come out empty, and must not leave two dots behind.
        (".{extension:7:8}./{photo_id}", "must be a path below photos.root"),
    ],
)
def test_a_template_that_will_not_do_is_told_why(template, says):
    with pytest.raises(ValueError) as caught:
        PhotoKey(template)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "template", ["a..b/{photo_id}", "{photo_id}..jpg", ".../{photo_id}", "./{photo_id}", ".{hash:0:2}./x"]
)
def test_dots_that_lead_nowhere_are_allowed(template):
    assert path(template) == template.replace("{photo_id}", "4293").replace("{hash:0:2}", "90")


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("photo_id", ["1", "007", "99999999999999999999999"], ["", "-1", "1.0", "٣", "12 ", "1\n", "a"]),
        ("hash", ["0" * 16, "abcdef" * 3, "AB" * 16], ["", "0" * 15, "0" * 33, "g" * 16, "0" * 16 + "\n"]),
        ("owner_id", ["48600109393@N01", "a_b-c"], ["", "..", "a/b", "a.b", "a b", "a%2Fb", "é", "a\0"]),
        ("extension", ["jpg", "JPEG", "mp4"], ["", ".jpg", "jpg/", "../a", "123456789", "j g"]),
    ],
)
def test_a_field_is_used_only_if_it_looks_like_one(field, good, bad):
    template = f"{{{field}}}"
    assert [usable(template, **{field: value}) for value in good] == [True] * len(good)
    assert [usable(template, **{field: value}) for value in bad] == [False] * len(bad)


def test_only_the_fields_in_the_template_matter():
    assert usable("{photo_id}", hash="", owner_id="../..", extension="")
    assert not usable("{photo_id}.{extension}", extension="")


def test_each_row_is_judged_by_itself():
    rows = columns({}, {"photo_id": "x"}, {}, {"extension": ""})
    assert PhotoKey("{photo_id}.{extension}").usable(rows).to_pylist() == [True, False, True, False]


def test_a_missing_value_is_not_usable():
    rows = {name: pa.array([None, PHOTO[name]], pa.string()) for name in FIELDS}
    assert PhotoKey("{hash}/{photo_id}").usable(rows).to_pylist() == [False, True]


def written(part: tuple[str, tuple[int, int] | None]) -> str:
    field, cut = part
    return f"{{{field}:{cut[0]}:{cut[1]}}}" if cut else f"{{{field}}}"


CUTS = st.none() | st.tuples(st.integers(0, 12), st.integers(1, 20))
PARTS = st.tuples(st.sampled_from(list(FIELDS)), CUTS)
LITERALS = st.sampled_from(["", "/", ".", "./", "/.", "./.", "..", "../", "é-"])
ESCAPES = st.sampled_from([".", "..", "../", "/", "/etc", "a/../..", "..\n", "\0"]) | st.text(max_size=20)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(PARTS, min_size=1, max_size=2),
    st.tuples(LITERALS, LITERALS, LITERALS),
    st.fixed_dictionaries({name: st.just(value) | ESCAPES for name, value in PHOTO.items()}),
)
def test_no_metadata_and_no_template_lead_out_of_the_root(parts, literals, values):
    template = literals[0] + "".join(written(p) + between for p, between in zip(parts, literals[1:], strict=False))
    try:
        key = PhotoKey(template)
    except ValueError:
        return
    rows = columns(values)
    if key.usable(rows)[0].as_py():
        whole = posixpath.normpath(f"/root/{key.paths(rows)[0]}")
        assert whole == "/root" or whole.startswith("/root/")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(FIELDS)), st.integers(0, 20), st.integers(1, 20)),
        min_size=1,
        max_size=3,
    )
)
def test_slices_are_those_of_python(cuts):
    template = "x" + "-".join(f"{{{field}:{begin}:{begin + length}}}" for field, begin, length in cuts)
    expected = "x" + "-".join(PHOTO[field][begin : begin + length] for field, begin, length in cuts)
    assert path(template) == expected
