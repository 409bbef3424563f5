"""Copies of files from S3: those of a file can be removed, and nothing but them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from im2gps_spark.store.cache import Cache
from im2gps_spark.store.folder import DiskFolder, S3Folder
from im2gps_spark.store.settings import S3Settings


def copied(cache: Cache, name: str, data: bytes) -> Path:
    checksum = hashlib.sha256(data).hexdigest()

    def fetch(path: Path) -> str:
        path.write_bytes(data)
        return checksum

    return cache.file(name, checksum, fetch)


def test_the_copies_of_a_file_are_removed_and_no_others(tmp_path):
    cache = Cache(str(tmp_path / "cache"))
    gone, stays = copied(cache, "a/shard", b"old"), copied(cache, "a/other", b"other")
    cache.drop("a/shard")
    assert not gone.exists()
    assert stays.read_bytes() == b"other"
    assert copied(cache, "a/shard", b"new").read_bytes() == b"new"


def test_what_was_never_copied_needs_no_removal(tmp_path):
    Cache(str(tmp_path / "cache")).drop("a/shard")
    assert list((tmp_path / "cache").rglob("*")) == []
    DiskFolder(tmp_path).drop_copies("shard")


def test_a_folder_in_s3_removes_its_own_copies(tmp_path, monkeypatch):
    cache = Cache(str(tmp_path / "cache"))
    folder = S3Folder("s3://bucket/index", S3Settings(), cache)

    def fetch(_self: S3Folder, _name: str, path: Path) -> str:
        path.write_bytes(b"codes")
        return hashlib.sha256(b"codes").hexdigest()

    monkeypatch.setattr(S3Folder, "_fetch", fetch)
    here, there = (
        one.local("shard-0000.faiss", hashlib.sha256(b"codes").hexdigest()) for one in (folder, folder / "another")
    )
    folder.drop_copies("shard-0000.faiss")
    assert (here.exists(), there.exists()) == (False, True)


def test_removing_twice_is_removing_once(tmp_path):
    cache = Cache(str(tmp_path / "cache"))
    copied(cache, "a/shard", b"old")
    cache.drop("a/shard")
    cache.drop("a/shard")
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [".lock"]
