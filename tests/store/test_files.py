"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from im2gps_spark.store.files import sha256, write_whole

STEPS = [(Path, "replace"), (os, "fsync"), (Path, "open")]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_checksum_is_that_of_the_file(tmp_path):
    data = bytes(range(256)) * 5000
    told = write_whole(tmp_path / "a", data)
    assert told == hashlib.sha256(data).hexdigest() == sha256(tmp_path / "a")
    assert contents(tmp_path) == {"a": data}


def test_folders_are_made_on_the_way(tmp_path):
    write_whole(tmp_path / "x" / "y" / "a", b"1")
    assert contents(tmp_path) == {"x/y/a": b"1"}


def test_a_file_is_replaced(tmp_path):
    write_whole(tmp_path / "a", b"the first, the longer")
    write_whole(tmp_path / "a", b"second")
    assert contents(tmp_path) == {"a": b"second"}


def test_who_reads_meanwhile_keeps_the_old_file(tmp_path):
    write_whole(tmp_path / "a", b"old" * 1000)
    with (tmp_path / "a").open("rb") as reader:
        start = reader.read(1)
        write_whole(tmp_path / "a", b"new")
        assert start + reader.read() == b"old" * 1000


@pytest.mark.parametrize(("owner", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("before", [{}, {"a": b"old"}], ids=["new", "replaced"])
def test_a_failure_leaves_everything_as_it_was(tmp_path, monkeypatch, owner, step, before):
    for name, data in before.items():
        (tmp_path / name).write_bytes(data)

    def fail(*_args, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, fail)
        with pytest.raises(OSError, match="No space left"):
            write_whole(tmp_path / "a", b"new")
    assert contents(tmp_path) == before


def test_an_interruption_leaves_everything_as_it_was(tmp_path, monkeypatch):
    write_whole(tmp_path / "a", b"old")

    def interrupt(_file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "a", b"new")
    assert contents(tmp_path) == {"a": b"old"}


def test_the_bytes_are_on_disk_before_the_name_is(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(file: int) -> None:
        steps.append(("fsync", (tmp_path / "a").exists(), os.fstat(file).st_size))
        fsync(file)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append(("replace", (tmp_path / "a").exists(), self.stat().st_size))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_whole(tmp_path / "a", b"12345")
    assert steps == [("fsync", False, 5), ("replace", False, 5)]
