"""Taking photos out of shards: the files are those of a build without them, whatever broke off on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from im2gps_spark.errors import StageError
from im2gps_spark.index.deletion import clear_notes, delete, without_owners
from im2gps_spark.index.manifest import BASE, DELTA, Manifest, shard_files
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.search import Index
from im2gps_spark.index.shard import arrow_bytes, faiss_bytes
from im2gps_spark.store.folder import DiskFolder
from tests.index import draw, rows_of, trained_on, write_version

CORPUS = draw(160, seed=5)
QUANTIZERS = trained_on(CORPUS, lists=6, shards=3)
ROWS = rows_of(QUANTIZERS[0], CORPUS)


@pytest.fixture
def folder(tmp_path: Path) -> DiskFolder:
    """Of a version in three shards."""
    write_version(tmp_path / "versions" / "v1", QUANTIZERS, CORPUS)
    return DiskFolder(tmp_path / "versions" / "v1")


def delete_everywhere(folder: DiskFolder, ids: NDArray[np.int64]) -> Manifest:
    """As the stage does it: every shard, then the manifest, then the notes."""
    manifest = now = Manifest.read(folder)
    for shard in range(manifest.shards):
        for part in manifest.parts_of(shard):
            made = delete(folder, manifest, shard, part, ids)
            if made:
                now = now.with_part(shard, part, made.rows, made.files)
    now.write(folder)
    for shard in range(manifest.shards):
        for part in manifest.parts_of(shard):
            clear_notes(folder, shard, part)
    return now


def contents(folder: DiskFolder) -> dict[str, bytes]:
    return {name: folder.read(name) for name in folder.names()}


def expected(manifest: Manifest, gone: NDArray[np.int64]) -> dict[str, bytes]:
    """Every shard's files, of the rows that stay, written as ``build`` writes them."""
    shard_of_list = np.array(manifest.shard_of_list)
    files: dict[str, bytes] = {}
    for shard in range(manifest.shards):
        stay = (shard_of_list[ROWS.lists] == shard) & ~np.isin(ROWS.photo_id, gone)
        part = ROWS.take(stay).sorted()
        data = faiss_bytes(QUANTIZERS[0], manifest.lists_of(shard), part), arrow_bytes(part)
        files |= dict(zip(shard_files(shard), data, strict=True))
    return files


def shard_of(manifest: Manifest) -> NDArray[np.int64]:
    """The shard of each photo of the corpus."""
    return np.array(manifest.shard_of_list)[ROWS.lists]


def check(folder: DiskFolder, gone: NDArray[np.int64]) -> None:
    manifest = Manifest.read(folder)
    manifest.check_files(folder)
    here = contents(folder)
    assert {name: here[name] for name in expected(manifest, gone)} == expected(manifest, gone)
    stay = ~np.isin(ROWS.photo_id, gone)
    assert manifest.rows == np.bincount(shard_of(manifest)[stay], minlength=manifest.shards).tolist()
    assert set(here) == {*manifest.files, "manifest.json"}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sets(st.integers(0, len(CORPUS) - 1), max_size=len(CORPUS)), st.integers(0, 5))
def test_the_files_are_those_of_a_build_without_the_photos(tmp_path_factory, places, unknown):
    root = tmp_path_factory.mktemp("index")
    write_version(root / "versions" / "v1", QUANTIZERS, CORPUS)
    folder = DiskFolder(root / "versions" / "v1")
    gone = ROWS.photo_id[sorted(places)]
    asked = np.concatenate([gone, 7 + np.arange(unknown, dtype=np.int64)])
    delete_everywhere(folder, asked[::-1])
    check(folder, gone)


def test_a_shard_without_any_of_the_photos_is_not_written(folder):
    manifest = Manifest.read(folder)
    gone = ROWS.photo_id[shard_of(manifest) == 1][:2]
    before = {name: (folder.root / name).stat().st_mtime_ns for name in folder.names()}
    delete_everywhere(folder, gone)
    after = {name: (folder.root / name).stat().st_mtime_ns for name in folder.names()}
    assert {name for name in after if after[name] != before[name]} == {*shard_files(1), "manifest.json"}
    check(folder, gone)


def test_photos_that_are_not_there_leave_everything_as_it_was(folder):
    before = contents(folder)
    delete_everywhere(folder, np.array([1, 2, 3]))
    assert contents(folder) == before


def test_an_empty_shard_and_a_corpus_that_is_all_gone(folder):
    delete_everywhere(folder, ROWS.photo_id)
    check(folder, ROWS.photo_id)
    assert sum(Manifest.read(folder).rows) == 0
    delete_everywhere(folder, ROWS.photo_id)
    check(folder, ROWS.photo_id)
    index = Index(folder)
    queries = index.route(CORPUS.vectors[:3], 6)
    assert [len(found) for found in index.search_shard(0, queries, np.zeros(3, np.int64), None, 5)] == [0, 0, 0]


def test_no_answer_names_them_and_the_others_are_found_as_before(folder):
    gone = ROWS.photo_id[::3]
    delete_everywhere(folder, gone)
    index = Index(folder)
    queries = index.route(CORPUS.vectors[:20], 6)
    parts = [index.search_shard(shard, queries, np.zeros(20, np.int64), None, 200) for shard in range(3)]
    for i in range(20):
        ids = np.concatenate([part[i].photo_id for part in parts])
        assert sorted(ids) == sorted(np.setdiff1d(ROWS.photo_id, gone))


def test_photos_in_a_delta_go_as_the_others_do(tmp_path):
    later = np.arange(len(CORPUS)) % 4 == 0
    grouped = np.array(write_version(tmp_path / "all", QUANTIZERS, CORPUS, None, later).shard_of_list)
    folder = DiskFolder(tmp_path / "all")
    mine = grouped[ROWS.lists]
    gone = (np.arange(len(CORPUS)) % 3 == 0) | (later & (mine == 2))  # of one shard the delta loses all
    now = delete_everywhere(folder, ROWS.photo_id[gone])
    now.check_files(folder)
    assert now.rows == np.bincount(mine[~gone], minlength=3).tolist()
    assert now.delta_rows == np.bincount(mine[~gone & later], minlength=3).tolist()
    assert now.delta_rows[2] == 0
    assert now.delta_rows[0] > 0
    assert not set(shard_files(2, DELTA)) & set(now.files)
    for shard in range(3):
        for part, which in ((BASE, ~later), (DELTA, later)):
            if part in now.parts_of(shard):
                rows = ROWS.take((mine == shard) & which & ~gone).sorted()
                data = faiss_bytes(QUANTIZERS[0], now.lists_of(shard), rows), arrow_bytes(rows)
                assert [folder.read(name) for name in shard_files(shard, part)] == list(data)


def test_owners_that_are_forgotten_are_in_no_file(folder):
    manifest = Manifest.read(folder)
    owner = CORPUS.owner[0]
    assert without_owners(folder, manifest, np.array([12345])) is manifest
    now = without_owners(folder, manifest, np.array([owner]))
    assert now.owners != manifest.owners
    assert owner not in Owners.opened(folder.root / now.owners).owner
    assert len(Owners.opened(folder.root / now.owners).owner) == len(np.unique(CORPUS.owner)) - 1
    now.write(folder)
    now.check_files(folder)
    assert manifest.owners not in now.files


# --- broken off ---


@pytest.mark.parametrize("writes", range(8))
def test_a_deletion_that_is_broken_off_is_finished_by_the_next(folder, monkeypatch, writes):
    """Two shards are to be rewritten, three writes each, and then the manifest."""
    manifest = Manifest.read(folder)
    gone = np.concatenate([ROWS.photo_id[shard_of(manifest) == shard][:3] for shard in (0, 2)])
    broken_off(folder, monkeypatch, writes, gone)
    delete_everywhere(folder, gone)
    check(folder, gone)


@pytest.mark.parametrize("writes", range(7))
def test_another_deletion_may_finish_it(folder, monkeypatch, writes):
    """Those that were under way are then gone from files that had been begun; the index is whole again."""
    gone = ROWS.photo_id[shard_of(Manifest.read(folder)) == 0][:3]
    broken_off(folder, monkeypatch, writes, gone)
    other = ROWS.photo_id[shard_of(Manifest.read(folder)) == 1][:1]
    delete_everywhere(folder, other)
    begun = writes >= 2  # the notes, and the first of the two files
    check(folder, np.concatenate([gone, other]) if begun else other)


def broken_off(folder: DiskFolder, monkeypatch: pytest.MonkeyPatch, writes: int, gone: NDArray[np.int64]) -> None:
    """A deletion that is killed before its next write."""
    write: Callable[[DiskFolder, str, bytes], str] = DiskFolder.write
    left = [writes]

    def killed(self: DiskFolder, name: str, data: bytes) -> str:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return write(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(DiskFolder, "write", killed)
        try:
            delete_everywhere(folder, gone)
        except KeyboardInterrupt:
            assert left[0] == 0


@pytest.mark.parametrize("file", [*shard_files(1), "trained.faiss"])
def test_a_file_that_has_changed_is_refused_and_not_made_good(folder, file):
    gone = ROWS.photo_id[shard_of(Manifest.read(folder)) == 1][:1]
    data = bytearray(folder.read(file))
    data[len(data) // 2] ^= 1
    (folder.root / file).write_bytes(data)
    before = contents(folder)
    with pytest.raises(StageError, match=f"{file} has changed since it was written"):
        delete_everywhere(folder, gone)
    assert contents(folder) == before
