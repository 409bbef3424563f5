"""Metadata files to batches of lines: plain ones in byte ranges side by side, compressed ones as a stream."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader
from typing import IO, cast

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.store.opening import files_under, opened
from im2gps_spark.store.settings import S3Settings

SPLIT_BYTES = 64 * 2**20
_AWS = S3Settings()
_CHUNK = 4 * 2**20

# Known by their first bytes: a .gz that was unpacked on its way here is as good as a packed file without a suffix.
_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw)),
    b"BZh": lambda raw: cast(IO[bytes], bz2.BZ2File(raw)),
    b"\xfd7zXZ\x00": lambda raw: cast(IO[bytes], lzma.LZMAFile(raw)),
}


@dataclass(frozen=True)
class Split:
    """The lines of a file that begin in [begin, end); an end of -1 is that of the (decompressed) file."""

    path: str
    begin: int
    end: int


@dataclass(frozen=True)
class Lines:
    """Consecutive lines without their ends, and where each begins in the decompressed file."""

    lines: list[bytes]
    positions: list[int]


def splits(paths: list[str], split_bytes: int = SPLIT_BYTES, s3: S3Settings = _AWS) -> list[Split]:
    """How files are read side by side.

    Args:
        paths: files, or folders whose files are taken in the order of their names; what is hidden, by a dot or an
            underscore, is left out.
        split_bytes: length of the ranges that plain files are cut into.
        s3: which store ``s3://`` means.

    Raises:
        UsageError: nothing is named, or something named is not there, is empty, or can't be opened.
    """
    if not all(paths) or not paths:
        raise UsageError("photos.metadata is not set: name the files with the photos' metadata")
    found: list[Split] = []
    for name in paths:
        files = files_under(name, s3)
        if files is None:
            raise UsageError(f"photos.metadata: there is no file or folder {name}")
        if not files:
            raise UsageError(f"photos.metadata: there is no file in the folder {name}")
        for file, size in files.items():
            found += _splits_of(file, size, s3, split_bytes)
    return found


def _splits_of(file: str, size: int, s3: S3Settings, split_bytes: int) -> list[Split]:
    try:
        with opened(file, s3) as raw:
            packed = _decompressor(raw) is not None
    except OSError as error:
        raise UsageError(f"photos.metadata: {file} can't be opened ({error.strerror or error})") from error
    if packed or size <= split_bytes:
        return [Split(file, 0, -1)]
    return [Split(file, begin, min(begin + split_bytes, size)) for begin in range(0, size, split_bytes)]


def _decompressor(raw: BufferedReader) -> Callable[[IO[bytes]], IO[bytes]] | None:
    head = raw.peek(8)
    return next((opener for magic, opener in _DECOMPRESSORS.items() if head.startswith(magic)), None)


def read(split: Split, s3: S3Settings = _AWS) -> Iterator[Lines]:
    """The lines of a split, a few megabytes at a time.

    Raises:
        StageError: the file can't be read to its end, or is no text.
    """
    try:
        with opened(split.path, s3) as raw:
            opener = _decompressor(raw)
            stream = opener(raw) if opener else raw
            yield from _read(stream, split)
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise StageError(f"metadata {split.path}: can't be read to its end ({error}); is the file whole?") from error


def _read(stream: IO[bytes], split: Split) -> Iterator[Lines]:
    at = split.begin
    if split.begin:
        # A line belongs to the split that it begins in: step back one byte, and over the line that is under way.
        stream.seek(split.begin - 1, os.SEEK_SET)
        at += len(stream.readline()) - 1
    end = split.end
    rest = b""
    while end < 0 or at < end:
        chunk = stream.read(_CHUNK)
        # The file's beginning tells; further on a zero byte is the fault of its line, not of the file.
        if at + len(rest) == 0 and b"\0" in chunk[:4096]:
            raise StageError(f"metadata {split.path}: is not text; give YFCC100M's tab-separated lines")
        whole, newline, tail = (rest + chunk).rpartition(b"\n")
        if not chunk:
            if rest:
                yield Lines([rest.removesuffix(b"\r")], [at])
            return
        rest = tail
        if not newline:
            continue
        lines, positions = [], []
        for line in whole.split(b"\n"):
            if 0 <= end <= at:
                break
            lines.append(line.removesuffix(b"\r"))
            positions.append(at)
            at += len(line) + 1
        if lines:
            yield Lines(lines, positions)
