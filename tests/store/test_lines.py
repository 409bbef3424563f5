"""Metadata files to lines: none is lost, none comes twice, and a damaged file is told by its name."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.sample.objects import Server
from im2gps_spark.store import lines, s3
from im2gps_spark.store.lines import Split, read, splits
from im2gps_spark.store.settings import S3Settings

PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
TEXT = "".join(f"{i}\tphoto {i}\t\N{SNOWMAN}\n" for i in range(2000)).encode()


def lines_of(data: bytes) -> list[tuple[int, bytes]]:
    """Where each line of a file begins, and what it says without its end."""
    found, at = [], 0
    for line in data.split(b"\n"):
        found.append((at, line.removesuffix(b"\r")))
        at += len(line) + 1
    return found if found[-1][1] or data.endswith(b"\r") else found[:-1]


def read_all(parts: list[Split]) -> list[tuple[int, bytes]]:
    return [pair for part in parts for batch in read(part) for pair in zip(batch.positions, batch.lines, strict=True)]


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# --- plain files, side by side ---

PIECES = st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bc\t", "é".encode(), b"\xff", b"d" * 20])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(PIECES, max_size=30).map(b"".join), st.integers(1, 40), st.integers(1, 12))
@example(b"", 1, 1)
@example(b"\n", 1, 1)
@example(b"\n\n\n", 1, 1)
@example(b"ab\ncd\n", 3, 1)
@example(b"ab\ncd\n", 2, 1)
@example(b"ab\ncd", 3, 4)
@example(b"abcdefgh", 2, 3)
@example(b"ab\r\ncd\r\n", 3, 2)
@example(b"ab\r", 1, 1)
def test_splits_of_any_size_are_the_lines_of_the_file(tmp_path_factory, data, split_bytes, chunk):
    file = write(tmp_path_factory.getbasetemp() / "any.tsv", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK", chunk)
        assert read_all(splits([str(file)], split_bytes)) == lines_of(data)


def test_splits_cover_the_file_without_overlap(tmp_path):
    file = write(tmp_path / "a.tsv", TEXT)
    parts = splits([str(file)], 1000)
    assert len(parts) == -(-len(TEXT) // 1000) > 10
    assert [p.begin for p in parts] == [0, *(p.end for p in parts[:-1])]
    assert parts[-1].end == len(TEXT)


def test_each_split_has_its_own_lines_in_any_order(tmp_path):
    parts = splits([str(write(tmp_path / "a.tsv", TEXT))], 700)
    assert sorted(read_all(parts[::-1])) == lines_of(TEXT)
    for part in parts:
        assert all(part.begin <= at < part.end for at, _ in read_all([part]))


def test_a_file_that_is_no_longer_than_a_split_is_read_as_one(tmp_path):
    file = write(tmp_path / "a.tsv", TEXT)
    assert splits([str(file)], len(TEXT)) == [Split(str(file), 0, -1)]
    assert len(splits([str(file)], len(TEXT) - 1)) == 2


def test_a_long_file_is_handed_over_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_CHUNK", 5000)
    batches = list(read(splits([str(write(tmp_path / "a.tsv", TEXT))])[0]))
    assert len(batches) > 5
    assert max(sum(map(len, batch.lines)) for batch in batches) <= 10_000


def test_a_line_longer_than_a_split_and_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_CHUNK", 64)
    data = b"a\n" + b"b" * 1000 + b"\nc\n"
    assert read_all(splits([str(write(tmp_path / "a.tsv", data))], 100)) == lines_of(data)


# --- compressed files ---


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("name", ["a.tsv", "a.gz", "a.tsv.bz2", "a"])
def test_compression_is_known_by_the_first_bytes_not_the_name(tmp_path, form, name):
    file = write(tmp_path / name, PACKERS[form](TEXT))
    parts = splits([str(file)], 100)
    assert parts == [Split(str(file), 0, -1)]
    assert read_all(parts) == lines_of(TEXT)


def test_a_plain_file_may_be_called_gz(tmp_path):
    assert read_all(splits([str(write(tmp_path / "a.gz", TEXT))], 1000)) == lines_of(TEXT)


@pytest.mark.parametrize("form", PACKERS)
def test_members_follow_one_another(tmp_path, form):
    cuts = [0, 5, 1003, len(TEXT)]  # not at the ends of lines
    packed = b"".join(PACKERS[form](TEXT[a:b]) for a, b in pairwise(cuts))
    assert read_all(splits([str(write(tmp_path / "a", packed))])) == lines_of(TEXT)


@pytest.mark.parametrize("form", PACKERS)
def test_a_compressed_file_may_be_empty(tmp_path, form):
    assert read_all(splits([str(write(tmp_path / "a", PACKERS[form](b"")))])) == []


# --- what is read ---


def test_folders_are_read_in_the_order_of_names_without_hidden_files(tmp_path):
    names = ["b.tsv", "a.tsv", "c/z.tsv", "c/a.tsv", "10.tsv"]
    hidden = [".a.tsv", "_SUCCESS", "c/.crc", ".git/a.tsv", "_temporary/0/part", "c/_x/a.tsv"]
    for name in names + hidden:
        write(tmp_path / name, name.encode())
    parts = splits([str(tmp_path)])
    assert [Path(p.path).relative_to(tmp_path).as_posix() for p in parts] == sorted(names)


def test_a_hidden_folder_that_is_asked_for_is_read(tmp_path):
    file = write(tmp_path / ".hidden" / "_a" / "x.tsv", b"1\n")
    assert [p.path for p in splits([str(file.parent)])] == [str(file)]
    assert [p.path for p in splits([str(file)])] == [str(file)]


def test_files_are_read_in_the_order_given(tmp_path):
    b, a = write(tmp_path / "b", b"1\n"), write(tmp_path / "a", b"2\n")
    parts = splits([str(b), f"file://{a}"])
    assert [p.path for p in parts] == [str(b), str(a)]
    assert [text for _, text in read_all(parts)] == [b"1", b"2"]


@pytest.mark.parametrize("names", [[], [""]])
def test_nothing_named(names):
    with pytest.raises(UsageError, match=r"photos\.metadata is not set"):
        splits(names)


def test_nothing_there(tmp_path):
    here = write(tmp_path / "here.tsv", b"")
    with pytest.raises(UsageError, match=r"photos\.metadata: there is no file or folder .*gone\.tsv"):
        splits([str(here), str(tmp_path / "gone.tsv")])


def test_nothing_in_the_folder(tmp_path):
    write(tmp_path / "empty" / "_SUCCESS", b"")
    with pytest.raises(UsageError, match=r"photos\.metadata: there is no file in the folder .*empty"):
        splits([str(tmp_path / "empty")])


def test_a_file_that_can_not_be_opened(tmp_path, monkeypatch):
    file = write(tmp_path / "a.tsv", TEXT)

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UsageError, match=r"photos\.metadata: .*a\.tsv can't be opened \(Permission denied\)"):
        splits([str(file)])


# --- what can't be read ---


def damaged(form: str, damage: str) -> bytes:
    packed = PACKERS[form](TEXT)
    if damage == "truncated":
        return packed[: len(packed) * 2 // 3]
    if damage == "its last byte lost":
        return packed[:-1]
    middle = len(packed) // 2
    return packed[:middle] + bytes(b ^ 0xFF for b in packed[middle : middle + 20]) + packed[middle + 20 :]


@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("damage", ["truncated", "its last byte lost", "changed"])
def test_a_damaged_file_is_told_by_its_name(tmp_path, form, damage):
    parts = splits([str(write(tmp_path / "broken.tsv", damaged(form, damage)))])
    with pytest.raises(StageError, match=r"metadata .*broken\.tsv: can't be read to its end .* is the file whole"):
        read_all(parts)


def test_a_file_that_is_gone_by_now(tmp_path):
    with pytest.raises(StageError, match=r"metadata .*gone\.tsv: can't be read"):
        read_all([Split(str(tmp_path / "gone.tsv"), 0, -1)])


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(500),
        b"PAR1\0\0\n\0" + bytes(range(256)),
        "1\t2\n3\t4\n".encode("utf-16"),
        bytes(10_000),
        b"\0",
    ],
    ids=["PNG", "Parquet", "UTF-16", "zeros", "one zero"],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
def test_a_file_that_is_no_text(tmp_path, data, pack):
    parts = splits([str(write(tmp_path / "photo.png", pack(data)))])
    with pytest.raises(StageError, match=r"metadata .*photo\.png: is not text"):
        read_all(parts)


def test_a_zero_byte_within_a_text_is_a_matter_of_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_CHUNK", 5000)
    data = TEXT + b"a\0b\n" + TEXT
    for split_bytes in (len(TEXT) - 1, len(data)):
        parts = splits([str(write(tmp_path / "a.tsv", data))], split_bytes)
        assert read_all(parts) == lines_of(data)


# In S3


@pytest.fixture(scope="module")
def bucket(objects: Server) -> S3Settings:
    settings = S3Settings(endpoint=objects.endpoint)
    files = {"ü #1.tsv": TEXT, "b/2.tsv.gz": gzip.compress(TEXT), "_hidden/3.tsv": TEXT, "b/.4.tsv": TEXT, "empty": b""}
    for name, data in files.items():
        s3.client(settings).put_object(Bucket="photos", Key=f"metadata/{name}", Body=data)
    return settings


def test_objects_are_read_as_files_are(bucket):
    for name in ("ü #1.tsv", "b/2.tsv.gz"):
        parts = splits([f"s3://photos/metadata/{name}"], 1000, bucket)
        assert len(parts) == (1 if name.endswith(".gz") else -(-len(TEXT) // 1000))
        found = [line for part in parts for some in read(part, bucket) for line in some.lines]
        assert found == TEXT.splitlines()


def test_a_prefix_is_a_folder(bucket):
    for name in ("s3://photos/metadata", "s3://photos/metadata/"):
        names = [part.path for part in splits([name], s3=bucket)]
        assert names == [f"s3://photos/metadata/{file}" for file in ("b/2.tsv.gz", "empty", "ü #1.tsv")]


@pytest.mark.parametrize("name", ["s3://photos/metadata/none.tsv", "s3://no-such-bucket/1.tsv"])
def test_objects_that_are_not_there_are_named(bucket, name):
    with pytest.raises(UsageError, match=name):
        splits([name], s3=bucket)


def test_a_store_that_is_not_there_is_told_with_its_mend():
    nowhere = S3Settings(endpoint="http://127.0.0.1:9", connect_timeout_s=1.0)
    with pytest.raises(UsageError, match=r"s3\.endpoint"):
        splits(["s3://photos/metadata"], s3=nowhere)
