"""Folders on disk and in S3: one protocol; and copies on a machine's own disk, by checksum."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.sample.objects import Server
from im2gps_spark.store import cache as caches
from im2gps_spark.store import folder as folders
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.folder import Folder, S3Folder, folder_at
from im2gps_spark.store.settings import S3Settings
from tests.store.faults import faulty

WORDS = "words of ü".encode()
SUM = hashlib.sha256(WORDS).hexdigest()


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "disk":
        yield folder_at(f"file://{tmp_path}/some folder", S3Settings(), Cache())
    else:
        yield bucket(request.getfixturevalue("objects"), tmp_path)


def bucket(server: Server, path: Path, endpoint: str = "") -> S3Folder:
    settings = S3Settings(endpoint=endpoint or server.endpoint)
    made = folder_at(f"s3://photos/folders/{path.name}/", settings, Cache(str(path / "cache")))
    assert isinstance(made, S3Folder)
    return made


def test_what_is_written_is_read_and_known_by_its_checksum(folder):
    assert folder.write("a/b.bin", WORDS) == SUM
    assert folder.read("a/b.bin") == (folder / "a").read("b.bin") == WORDS
    assert folder.checksum("a/b.bin") == SUM
    assert folder.local("a/b.bin", SUM).read_bytes() == WORDS
    folder.write("a/b.bin", b"others")
    assert folder.read("a/b.bin") == b"others"


@pytest.mark.parametrize("content", [WORDS, b"", bytes(3 * 2**20)])
def test_a_file_of_the_disk_is_put_there(folder, tmp_path, content):
    path = tmp_path / "a file"
    path.write_bytes(content)
    checksum = hashlib.sha256(content).hexdigest()
    assert folder.put("a/b.bin", path) == checksum == folder.checksum("a/b.bin")
    assert folder.read("a/b.bin") == content == path.read_bytes()
    assert (folder / "a").names() == ["b.bin"]


def test_a_file_is_shared_whatever_becomes_of_it_where_it_was(folder):
    there, here = folder / "there", folder / "here"
    checksum = there.write("one.bin", b"first")
    before = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    here.share("one.bin", there, checksum)
    here.share("one.bin", there, checksum)
    assert here.names() == ["one.bin"]
    assert here.checksum("one.bin") == checksum
    there.write("one.bin", b"second")
    assert here.read("one.bin") == b"first"
    assert here.checksum("one.bin") == checksum
    there.remove("one.bin")
    assert here.read("one.bin") == b"first"
    with pytest.raises(FileNotFoundError):
        here.share("none.bin", there, checksum)
    assert before < here.written_at("one.bin") < dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)


def test_what_is_not_there(folder):
    assert folder.checksum("nothing") is None
    assert folder.names() == []
    for ask in (lambda: folder.read("nothing"), lambda: folder.local("nothing", SUM)):
        with pytest.raises(FileNotFoundError):
            ask()
    folder.remove("nothing")


def test_names_and_removal(folder):
    for name in ("one", "two/three", "two/four/five", "twofold"):
        folder.write(name, WORDS)
    assert folder.names() == ["one", "two", "twofold"]
    folder.remove("two")
    assert folder.names() == ["one", "twofold"]
    folder.remove("one")
    assert folder.names() == ["twofold"]


def test_a_folder_is_a_value_that_workers_can_be_sent(folder):
    sent = pickle.loads(pickle.dumps(folder))
    assert sent == folder
    assert hash(sent) == hash(folder)
    assert sent / "a" != folder


def test_in_s3_a_file_is_fetched_once_and_anew_when_it_has_changed(objects, tmp_path):
    asked = []

    def watch(path: str, _time: int) -> None:
        asked.append(path)

    with faulty(objects.endpoint, watch) as endpoint:
        folder = bucket(objects, tmp_path, endpoint)
        folder.write("shard", WORDS)
        with ThreadPoolExecutor(4) as pool:
            paths = set(pool.map(lambda _: folder.local("shard", SUM), range(8)))
        assert len(paths) == 1
        assert len(asked) == 1
        other = folder.write("shard", b"others")
        assert folder.local("shard", other).read_bytes() == b"others"
        assert len(asked) == 2
        # Of a name, the machine keeps the latest copy alone.
        assert not paths.pop().exists()
        with pytest.raises(StageError, match="has changed since it was written"):
            folder.local("shard", SUM)
    assert [p.name for p in Path(folder.cache.folder).rglob("*") if p.name == ".coming"] == []


@pytest.mark.parametrize("what", ["503", "cut", "reset"])
def test_in_s3_faults_that_pass_are_outlasted(objects, tmp_path, what):
    with faulty(objects.endpoint, lambda _, time: what if time < 2 else None) as endpoint:
        folder = bucket(objects, tmp_path, endpoint)
        folder.write("shard", WORDS)
        assert folder.read("shard") == WORDS
        assert folder.local("shard", SUM).read_bytes() == WORDS


def test_a_store_that_is_not_there_or_refuses_is_named_with_the_mend(tmp_path, objects, monkeypatch):
    monkeypatch.setattr(folders, "_DEADLINE_S", 0.2)
    down = bucket(objects, tmp_path, "http://127.0.0.1:9")
    with pytest.raises(StageError, match=r"the store can't be asked .* mend s3\.endpoint"):
        down.read("shard")
    stranger = S3Folder(f"s3://photos/{tmp_path.name}", S3Settings(endpoint=objects.endpoint, anonymous=True), Cache())
    with pytest.raises(PermissionError, match=r"mend s3\.endpoint"):
        stranger.write("shard", WORDS)


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def test_copies_that_were_not_used_for_an_hour_go_when_room_is_short(tmp_path):
    cache = Cache(str(tmp_path), most_bytes=250)
    data = {name: name.encode() * 50 for name in ("aa", "bb", "cc")}
    paths = {}
    for name, content in data.items():
        checksum = hashlib.sha256(content).hexdigest()
        paths[name] = cache.file(name, checksum, partial(write, data=content))
        if name == "aa":
            long_ago = time.time() - caches._IN_USE_S - 1
            os.utime(paths[name], (long_ago, long_ago))
    assert [path.exists() for path in paths.values()] == [False, True, True]


def test_a_cache_is_the_users_own(tmp_path, monkeypatch):
    made = Cache(str(tmp_path / "cache")).root
    assert made.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UsageError, match=r"index\.cache: .* belongs to another user"):
        assert Cache(str(tmp_path / "cache")).root
