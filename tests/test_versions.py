"""Index versions as an operator sees them: listed, switched, the old ones removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from im2gps_spark.cli import main
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.library import AT_WORK, Library
from im2gps_spark.store.lease import only_one
from im2gps_spark.versions import change_versions, version_table
from tests.index import draw, trained_on, write_version

CORPUS = draw(60, seed=1)
QUANTIZERS = trained_on(CORPUS, lists=4, shards=2)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Four versions, a minute apart; b is in use."""
    for number, name in enumerate("abcd"):
        write_version(tmp_path / "versions" / name, QUANTIZERS, CORPUS)
        os.utime(tmp_path / "versions" / name / "manifest.json", (1_700_000_000 + 60 * number,) * 2)
    made = Library(tmp_path)
    made.use("b")
    return made


def names(library: Library) -> list[str]:
    return [version.index_version for version in library.versions()]


def test_versions_are_listed_the_latest_first(library):
    head, *lines = version_table(library)
    assert [line[2] for line in lines] == ["d", "c", "b", "a"]
    assert [line[0] for line in lines] == [" ", " ", "*", " "]
    assert "2023-11-14 22:13" in lines[-1]
    assert "60" in lines[0]
    assert head.split() == ["version", "written", "(UTC)", "photos", "in", "deltas", "shards", "descriptor"]


def test_back_to_another(library):
    assert change_versions(library, "a", None) == []
    assert library.in_use() == "a"
    assert names(library) == ["a", "b", "c", "d"]


def test_one_that_is_not_there_or_not_whole_is_not_taken_into_use(library):
    with pytest.raises(UsageError, match="nowhere"):
        change_versions(library, "nowhere", None)
    library.version_folder("a").remove("shard-0001.arrow")
    with pytest.raises(StageError, match=r"shard-0001\.arrow"):
        change_versions(library, "a", None)
    assert library.in_use() == "b"


@pytest.mark.parametrize(
    ("keep", "left"),
    [(1, ["b"]), (2, ["b", "d"]), (3, ["b", "c", "d"]), (4, ["a", "b", "c", "d"]), (9, ["a", "b", "c", "d"])],
)
def test_old_ones_go_and_the_one_in_use_stays(library, keep, left):
    gone = change_versions(library, None, keep)
    assert names(library) == left
    assert sorted(gone + left) == ["a", "b", "c", "d"]
    assert library.current().index_version == "b"


def test_none_is_removed_without_one_in_use_or_while_a_night_is_at_work(library):
    with pytest.raises(UsageError, match="--keep 0"):
        change_versions(library, None, 0)
    with only_one(library.root, AT_WORK), pytest.raises(StageError):
        change_versions(library, None, 1)
    library.root.remove("CURRENT")
    with pytest.raises(UsageError, match="no version is in use"):
        change_versions(library, None, 1)
    assert len(names(library)) == 4


def test_the_command(library, capsys):
    root = f"index.root={library.root}"
    assert main(["versions", "--set", root, "--use", "c", "--keep", "2"]) == 0
    out = capsys.readouterr().out
    assert [line[:3] for line in out.splitlines()[1:]] == ["  d", "* c"]
    assert main(["versions", "--set", root, "--use", "x"]) == 2
    assert main(["versions", "--set", f"index.root={library.root}/nothing"]) == 2
