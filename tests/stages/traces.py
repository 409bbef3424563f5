"""Traces of a photo or an owner in the files of a folder: whatever an analyst, or a burglar, could read there."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq


def traces(folder: Path, ids: Iterable[int], texts: Iterable[str]) -> dict[str, set[str]]:
    """The files below a folder that hold an id (as text or as eight bytes) or a text, by what they hold.

    Bytes are looked at as they lie, and uncompressed where they are Avro's or Parquet's.
    """
    needles = {text: [text.encode()] for text in texts}
    needles |= {str(i): [str(i).encode(), struct.pack("<q", i), struct.pack(">q", i)] for i in ids}
    found: dict[str, set[str]] = {name: set() for name in needles}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = _readable(file)
        for name, forms in needles.items():
            if any(form in data for form in forms):
                found[name].add(str(file.relative_to(folder)))
    return found


def _readable(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix == ".avro":
        return data + _avro(data)
    if file.suffix == ".parquet":
        return data + "\n".join(map(repr, pq.read_table(file).to_pylist())).encode()
    return data


def _avro(data: bytes) -> bytes:
    """The blocks of an Avro file (Avro 1.12, Object Container Files), uncompressed."""
    stream = BytesIO(data)
    assert stream.read(4) == b"Obj\x01"
    about = {}
    while count := _long(stream):
        assert count > 0
        for _ in range(count):
            key = stream.read(_long(stream))
            about[key] = stream.read(_long(stream))
    stream.read(16)
    codec = about.get(b"avro.codec", b"null")
    assert codec in (b"null", b"deflate")
    blocks = []
    while stream.tell() < len(data):
        _long(stream)
        block = stream.read(_long(stream))
        blocks.append(zlib.decompress(block, -15) if codec == b"deflate" else block)
        stream.read(16)
    return b"".join(blocks)


def _long(stream: BytesIO) -> int:
    value = shift = 0
    while True:
        (byte,) = stream.read(1)
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return (value >> 1) ^ -(value & 1)
