"""The list of a bucket by a real server, with a proxy before it where a fault is wanted; the list of a folder."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow.parquet as pq
import pytest

from im2gps_spark.cli import main
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.sample.objects import Server
from im2gps_spark.store import manifest, s3
from im2gps_spark.store.manifest import MANIFEST, write_manifest
from im2gps_spark.store.settings import S3Settings
from tests.store.faults import faulty

# More than the thousand that a page holds, in one prefix and over many, beside names that need care.
MANY = [f"flat/{n:05d}.jpg" for n in range(2100)] + [f"hash/{n:03x}/{n * 7:03x}/p.jpg" for n in range(100)]
ODD = [
    "top.jpg",
    "a b/ü+%25#?&.jpg",
    "写真/é.jpg",
    'tab\there/"quoted".jpg',
    "a-/1",
    "a/1",
    "a0/1",
    "x/.hidden",
    "_y/z",
]
KEYS = sorted([*MANY, *ODD], key=str.encode)


@dataclass(frozen=True)
class Bucket:
    """A bucket of its own that holds ``KEYS`` below ``root``, each with its key for content."""

    server: Server
    root: str

    def settings(self, endpoint: str = "") -> S3Settings:
        return S3Settings(endpoint=endpoint or self.server.endpoint)


@pytest.fixture(scope="module")
def bucket(objects: Server) -> Bucket:
    store = s3.client(S3Settings(endpoint=objects.endpoint))
    store.create_bucket(Bucket="listed")

    def put(key: str) -> None:
        store.put_object(Bucket="listed", Key=f"all of ü/{key}", Body=key.encode())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, KEYS))
    return Bucket(objects, "s3://listed/all of ü")


def rows(file: Path) -> list[dict[str, Any]]:
    table = pq.read_table(file)
    assert table.schema.equals(MANIFEST)
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def listed(bucket: Bucket, to: Path, root: str = "", endpoint: str = "") -> list[dict[str, Any]]:
    count = write_manifest(root or bucket.root, to, bucket.settings(endpoint), threads=8, deadline_s=20.0)
    found = rows(to)
    assert len(found) == count
    return found


@pytest.fixture(scope="module")
def expected(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What is listed when nothing befalls the answers."""
    return listed(bucket, tmp_path_factory.mktemp("expected") / "m.parquet")


def test_every_object_once_and_in_order(bucket, expected):
    before = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    found = expected
    assert [row["key"] for row in found] == KEYS
    assert [row["uri"] for row in found] == [f"{bucket.root}/{key}" for key in KEYS]
    assert [row["bytes"] for row in found] == [len(key.encode()) for key in KEYS]
    assert [row["etag"] for row in found] == [hashlib.md5(key.encode()).hexdigest() for key in KEYS]
    assert all(before < row["modified"] <= dt.datetime.now(dt.UTC) for row in found)
    read = s3.read(found[3]["uri"], 2**20, bucket.settings(), lambda size: None)
    assert read == found[3]["key"].encode()


def test_a_folder_may_be_the_whole_bucket(bucket, tmp_path):
    found = listed(bucket, tmp_path / "m.parquet", "s3://listed/")
    assert [row["key"] for row in found] == [f"all of ü/{key}" for key in KEYS]
    assert {row["uri"] for row in found} == {f"{bucket.root}/{key}" for key in KEYS}


def test_a_root_is_a_folder_and_not_the_beginning_of_a_name(bucket, tmp_path):
    assert [row["key"] for row in listed(bucket, tmp_path / "m.parquet", f"{bucket.root}/a")] == ["1"]


def test_markers_of_folders_are_no_photos(bucket, tmp_path):
    store = s3.client(bucket.settings())
    store.create_bucket(Bucket="marked")
    for key in ("empty/", "photos/", "photos/1.jpg"):
        store.put_object(Bucket="marked", Key=key, Body=b"")
    assert [row["key"] for row in listed(bucket, tmp_path / "m.parquet", "s3://marked")] == ["photos/1.jpg"]


@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
def test_as_lines_it_says_the_same(bucket, expected, tmp_path, suffix):
    file = tmp_path / f"m{suffix}"
    write_manifest(bucket.root, file, bucket.settings(), threads=8, deadline_s=20.0)
    text = gzip.decompress(file.read_bytes()) if suffix == ".tsv.gz" else file.read_bytes()
    found = list(csv.DictReader(text.decode().splitlines(), dialect="excel-tab"))
    assert [{**row, "modified": row["modified"].isoformat(), "bytes": str(row["bytes"])} for row in expected] == found


def test_the_same_list_is_the_same_file(bucket, tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        for name in ("m.parquet", "m.tsv.gz"):
            write_manifest(bucket.root, folder / name, bucket.settings(), threads=3, deadline_s=20.0)
    for name in ("m.parquet", "m.tsv.gz"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.parametrize("what", ["503", "429", "500", "cut", "reset"])
def test_faults_that_pass_leave_no_trace(bucket, expected, tmp_path, what: str):
    befell = []

    def fault(path: str, time: int) -> str | None:
        if crc32(f"{path} {time}".encode()) % 3 == 0:
            befell.append(path)
            return what
        return None

    with faulty(bucket.server.endpoint, fault) as endpoint:
        assert listed(bucket, tmp_path / "m.parquet", endpoint=endpoint) == expected
    assert len(befell) > 5


def left_behind(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_store_that_stays_down_is_told_and_the_old_list_stays(bucket, tmp_path):
    file = tmp_path / "m.parquet"
    file.write_bytes(b"the old one")

    def fault(path: str, time: int) -> str | None:
        return "503" if "flat" in path else None

    down = faulty(bucket.server.endpoint, fault)
    with down as endpoint, pytest.raises(StageError, match=r"flat.*within 1 s"):
        write_manifest(bucket.root, file, bucket.settings(endpoint), threads=4, deadline_s=1.0)
    assert file.read_bytes() == b"the old one"
    assert left_behind(tmp_path) == ["m.parquet"]


@pytest.mark.parametrize(
    ("root", "says"),
    [
        ("s3://no-such-bucket/x", r"no bucket no-such-bucket.*photos\.root"),
        ("s3://listed/nothing here", r"nothing lies below s3://listed/nothing here: mend photos\.root"),
        ("s3://Not A Bucket!", r"photos\.root"),
    ],
)
def test_a_root_that_holds_nothing_is_told(bucket, tmp_path, root, says):
    with pytest.raises(UsageError, match=says):
        listed(bucket, tmp_path / "m.parquet", root)
    assert left_behind(tmp_path) == []


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Clients are made anew, with what the test puts into the environment."""
    s3.client.cache_clear()
    yield monkeypatch
    s3.client.cache_clear()


def test_whoever_may_not_list_is_told_at_once(bucket, tmp_path, fresh):
    for name, value in bucket.server.guest.environment.items():
        fresh.setenv(name, value)
    with pytest.raises(UsageError, match=r"may not be listed \(AccessDenied\).*ListBucket"):
        listed(bucket, tmp_path / "m.parquet")


def test_wrong_or_missing_credentials_are_told_at_once(bucket, tmp_path, fresh):
    fresh.setenv("AWS_ACCESS_KEY_ID", "nobody")
    with pytest.raises(UsageError, match="credentials"):
        listed(bucket, tmp_path / "m.parquet")
    s3.client.cache_clear()
    for name in bucket.server.keys.environment:
        fresh.delenv(name)
    fresh.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fresh.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(UsageError, match="credentials"):
        listed(bucket, tmp_path / "m.parquet")


# --- folders ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "photos of ü"
    for key in ODD:
        file = made / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(key.encode())
        os.utime(file, (1e9, 1e9))
    return made


def test_a_folder_is_listed_as_a_bucket_is(folder, tmp_path):
    to = tmp_path / "lists" / "m.parquet"
    assert write_manifest(str(folder), to, S3Settings(), threads=8, deadline_s=1.0) == len(ODD)
    found = rows(to)
    assert [row["key"] for row in found] == sorted(ODD, key=str.encode)
    assert [Path(row["uri"]).read_bytes() for row in found] == [row["key"].encode() for row in found]
    assert {row["modified"] for row in found} == {dt.datetime.fromtimestamp(1e9, dt.UTC)}
    assert {row["etag"] for row in found} == {None}


def test_links_to_files_are_followed_those_to_folders_and_into_nothing_are_not(folder, tmp_path):
    (folder / "link.jpg").symlink_to(folder / "top.jpg")
    (folder / "round").symlink_to(folder)
    (folder / "gone.jpg").symlink_to(folder / "none")
    os.mkfifo(folder / "pipe")
    write_manifest(str(folder), tmp_path / "m.parquet", S3Settings(), threads=1, deadline_s=1.0)
    assert {row["key"] for row in rows(tmp_path / "m.parquet")} == {*ODD, "link.jpg"}


def test_names_that_can_be_no_key_are_left_out_and_told(folder, tmp_path, caplog):
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.jpg")).write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert write_manifest(str(folder), tmp_path / "m.parquet", S3Settings(), 1, 1.0) == len(ODD)
    assert "1 names" in caplog.text


def test_no_folder_and_an_empty_one_are_told(tmp_path):
    (tmp_path / "empty").mkdir()
    for root, says in [(tmp_path / "none", "no folder"), (tmp_path / "empty", "nothing lies below")]:
        with pytest.raises(UsageError, match=says):
            write_manifest(str(root), tmp_path / "m.parquet", S3Settings(), threads=1, deadline_s=1.0)
    assert left_behind(tmp_path) == ["empty"]


def test_more_than_fits_a_part_or_a_group_of_rows(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "_ROWS_A_GROUP", 2)
    write_manifest(str(folder), tmp_path / "m.parquet", S3Settings(), threads=1, deadline_s=1.0)
    assert pq.ParquetFile(tmp_path / "m.parquet").num_row_groups == 1  # one batch is never cut
    assert len(rows(tmp_path / "m.parquet")) == len(ODD)


# --- the command ---


@pytest.mark.parametrize("name", ["m", "m.csv", "m.parquet.gz"])
def test_an_unknown_suffix_is_told_before_anything_is_listed(folder, tmp_path, capsys, name):
    assert main(["manifest", "--to", str(tmp_path / name), "--set", f"photos.root={folder}"]) == 2
    assert "must name a file that ends in .parquet, .tsv, .tsv.gz" in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_without_a_root_the_command_says_so(tmp_path, capsys):
    assert main(["manifest", "--to", str(tmp_path / "m.tsv")]) == 2
    assert "photos.root is not set" in capsys.readouterr().err


def test_the_command(bucket, tmp_path, capsys):
    file = tmp_path / "m.tsv"
    overrides = [f"photos.root={bucket.root}", f"s3.endpoint={bucket.server.endpoint}"]
    assert main(["manifest", "--to", str(file), "--set", overrides[0], "--set", overrides[1]]) == 0
    err = capsys.readouterr().err
    assert f"{len(KEYS)} objects, " in err
    assert f"wrote {file}, {len(KEYS)} rows" in err
