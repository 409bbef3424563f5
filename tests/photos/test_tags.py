"""Negative tags: whole tags, whatever their case, signs and spaces; and the project's list, wherever it lies."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import im2gps_spark
from im2gps_spark.errors import UsageError
from im2gps_spark.photos.tags import canonical, canonical_tags, load_negative, negative_tag

PACKAGE = Path(im2gps_spark.__file__).parent
LIST = PACKAGE.parent / "conf" / "negative_tags.txt"


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("Birthday Party!", "birthdayparty"),
        ("new_york-city", "newyorkcity"),
        ("Straße", "strasse"),
        ("ＭＡＣＲＯ", "macro"),
        ("CUMPLEAN\u0303OS", "cumpleaños"),  # the tilde as a mark of its own
        ("Свадьба", "свадьба"),
        ("ﾏｸﾛ", "マクロ"),
        ("यात्रा", "यात्रा"),  # its vowels are marks
        ("❤️ wedding ❤️", "wedding"),
        ("a\u200bb\u202e", "ab"),
        ("2012", "2012"),
        ("🎂", ""),
        ("", ""),
    ],
)
def test_a_tag_is_its_letters_and_digits(tag, expected):
    assert canonical(tag) == expected


def test_accents_count():
    assert canonical("Düsseldorf") != canonical("Dusseldorf")


@settings(derandomize=True, max_examples=300)
@given(st.text())
def test_a_canonical_tag_stays_as_it_is_and_case_and_form_do_not_count(tag):
    made = canonical(tag)
    assert canonical(made) == made
    assert canonical(unicodedata.normalize("NFD", made)) == made
    assert all(unicodedata.category(character)[0] in "LNM" for character in made)


def test_a_tag_counts_as_a_whole_and_is_named_as_it_is_written():
    negative = canonical_tags(["macro", "birthday party"])
    assert negative_tag(["macrobrachium", "supermacro", "birthday"], negative) is None
    assert negative_tag(["sea", "Birthday-Party", "macro"], negative) == "Birthday-Party"
    assert negative_tag(None, negative) is None
    assert negative_tag(["macro"], frozenset()) is None


def test_a_tag_of_signs_alone_is_never_negative():
    assert negative_tag(["!!!", "🎂"], canonical_tags(["", "  # nothing", "--", "macro"])) is None


def test_comments_and_empty_lines_are_no_tags():
    assert canonical_tags(["# all of it", "", "macro # close by", "  gig"]) == {"macro", "gig"}


def test_the_projects_list_has_the_four_of_im2gps_in_many_languages():
    tags = load_negative("")
    assert {"birthday", "concert", "abstract", "cameraphone"} <= tags
    assert {"geburtstag", "свадьба", "誕生日", "생일", "födelsedag", "verjaardag"} <= tags
    assert not {"travel", "beach", "portrait", "street", "night", "food", "festival"} & tags


def test_the_projects_list_says_nothing_twice():
    tags = [tag for tag in (canonical(line.partition("#")[0]) for line in LIST.read_text("utf-8").splitlines()) if tag]
    assert len(tags) == len(set(tags))


def test_a_list_of_ones_own(tmp_path):
    (tmp_path / "tags.txt").write_text("# mine\nMein Hund\n", "utf-8")
    assert load_negative(str(tmp_path / "tags.txt")) == {"meinhund"}
    assert load_negative("none") == frozenset()


def test_a_list_that_is_not_there_or_not_text_or_empty_is_named(tmp_path):
    (tmp_path / "latin").write_bytes(b"f\xeate")
    (tmp_path / "empty").write_text("# none\n")
    for name, said in (("gone", "can't be read"), ("latin", "can't be read"), ("empty", "names no tag")):
        with pytest.raises(UsageError, match=rf"ingest\.negative_tags: .*{name} {said}"):
            load_negative(str(tmp_path / name))


def test_the_list_is_found_in_a_zip_as_a_wheel_holds_it(tmp_path):
    """As --py-files gives it to the driver: package and list in one archive, no folder."""
    archive = tmp_path / "package.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for source in ("__init__.py", "errors.py", "photos/__init__.py", "photos/tags.py"):
            file.write(PACKAGE / source, f"im2gps_spark/{source}")
        file.writestr("im2gps_spark/conf/negative_tags.txt", "macro\n")
    asked = "from im2gps_spark.photos import tags; print(tags.__file__, tags.load_negative(''))"
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(archive)!r}); {asked}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == f"{archive}/im2gps_spark/photos/tags.py frozenset({{'macro'}})"
