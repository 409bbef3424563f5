"""What a picture's file says of itself, read before a decoder is let near it.

Three small walkers over the segments of JPEG (ITU-T T.81, annex B), the chunks of PNG (W3C PNG, 3rd
edition) and those of WebP (RFC 9649). Each answers how large the picture is, how it is to be turned,
whether it has transparency, and whether the file is whole. Decoders are poor judges of the last: libjpeg
fills what is missing with grey and calls it a warning. All loops are bounded by constants, for the bytes
come from strangers.

A JPEG whose middle was lost and whose end marker is there passes: only its Huffman codes would tell.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from im2gps_spark.photos.reasons import Reason, Rejected

MAX_SEGMENTS = 4096
"""Segments of a JPEG; 16 MB of extended XMP take 256."""
MAX_SCANS = 100
"""Scans of a JPEG. An encoder writes about ten. A scan that says nothing takes a few bytes of the file, and
the decoder a pass over the whole picture, so thousands of them would keep it busy for minutes."""
MAX_CHUNKS = 65_536
"""Chunks of a PNG or WebP; an encoder that writes chunks of 4 KB fits 256 MB into them."""


@dataclass(frozen=True)
class Header:
    """What a whole file says of its picture.

    Attributes:
        width: pixels, as stored.
        height: pixels, as stored.
        orientation: EXIF's, 1 to 8: how the stored picture is to be turned; 1 is upright.
        transparent: whether it may hold pixels that are not opaque.
    """

    width: int
    height: int
    orientation: int = 1
    transparent: bool = False


def read_header(data: bytes) -> Header:
    """The header of a picture whose file is whole.

    Raises:
        Rejected: NOT_A_PICTURE, TRUNCATED, or UNDECODABLE where no decoder could make sense of it.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _read_jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp(data)
    raise Rejected(Reason.NOT_A_PICTURE, f"it begins with {data[:8].hex(' ')}")


# --- JPEG ---

_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_PARAMETERLESS = {0x01, *range(0xD0, 0xD9)}  # TEM, RST0..7 and SOI
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0..15; C4, C8 and CC mean other things
# Between segments libjpeg skips to the next marker; within a scan FF 00 and RST0..7 are part of the data.
# Neither pattern has a repetition, so both take linear time on a file of nothing but FF.
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def _read_jpeg(data: bytes) -> Header:
    """Walks over the segments: thumbnails lie within APPn, further pictures (MPO) and garbage after EOI."""
    size: tuple[int, int] | None = None
    orientation, scans, at, pattern = 1, 0, 2, _MARKER
    for _ in range(MAX_SEGMENTS):
        found = pattern.search(data, at)
        if found is None:
            raise Rejected(Reason.TRUNCATED, "no end-of-image marker after the last scan")
        marker, at, pattern = data[found.end() - 1], found.end(), _MARKER
        if marker == _EOI:
            if size is None or scans == 0:
                raise Rejected(Reason.UNDECODABLE, "a JPEG without a frame or without a scan")
            return Header(*size, orientation)
        if marker in _PARAMETERLESS:
            continue
        end = at + int.from_bytes(data[at : at + 2])
        if at + 2 > len(data) or end > len(data):
            raise Rejected(Reason.TRUNCATED, f"the segment FF{marker:02X} reaches past the end of the file")
        body, at = data[at + 2 : end], max(end, at + 2)
        if marker in _FRAMES:
            if size is not None:
                raise Rejected(Reason.UNDECODABLE, "a JPEG with two frames")
            if len(body) < 6:
                raise Rejected(Reason.UNDECODABLE, "the frame's header is too short")
            size = (int.from_bytes(body[3:5]), int.from_bytes(body[1:3]))
        elif marker == _APP1 and body.startswith(b"Exif\0\0") and orientation == 1:
            orientation = _exif_orientation(body[6:])
        elif marker == _SOS:
            scans += 1
            if scans > MAX_SCANS:
                raise Rejected(Reason.UNDECODABLE, f"a JPEG of more than {MAX_SCANS} scans")
            pattern = _END_OF_SCAN
    raise Rejected(Reason.UNDECODABLE, f"a JPEG of more than {MAX_SEGMENTS} segments")


# --- PNG ---


def _read_png(data: bytes) -> Header:
    """Walks over the chunks up to IEND; the checksums of those that matter find what a copy has damaged."""
    header: tuple[int, int] | None = None
    orientation, transparent, at = 1, False, 8
    for _ in range(MAX_CHUNKS):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        end = at + 12 + length
        if len(data) < at + 12 or len(data) < end:
            raise Rejected(Reason.TRUNCATED, "the file ends before the chunk IEND")
        if (kind == b"IHDR") != (header is None) or (kind == b"IHDR" and length != 13):
            raise Rejected(Reason.UNDECODABLE, "a PNG must begin with its one chunk IHDR")
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise Rejected(Reason.UNDECODABLE, f"the checksum of the chunk {kind!r} is wrong")
        body = data[at + 8 : end - 4]
        if kind == b"IHDR":
            header = (int.from_bytes(body[:4]), int.from_bytes(body[4:8]))
            transparent = bool(body[9] & 4)  # colour types 4 and 6 carry alpha
        elif kind == b"tRNS":
            transparent = True
        elif kind == b"eXIf":
            orientation = _exif_orientation(body)
        elif kind == b"IEND" and header is not None:
            return Header(*header, orientation, transparent)
        at = end
    raise Rejected(Reason.UNDECODABLE, f"a PNG of more than {MAX_CHUNKS} chunks")


# --- WebP ---


def _read_webp(data: bytes) -> Header:
    """The first chunk holds the size; the others are walked for EXIF and to see that they are all there."""
    riff_end = 8 + int.from_bytes(data[4:8], "little")
    if riff_end > len(data):
        raise Rejected(Reason.TRUNCATED, "the RIFF container reaches past the end of the file")
    header: Header | None = None
    orientation, has_picture = 1, False
    for kind, body in _riff_chunks(data, riff_end):
        if header is None:
            header = _webp_frame(kind, body)
        has_picture |= kind in (b"VP8 ", b"VP8L", b"ANMF")
        if kind == b"EXIF":
            orientation = _exif_orientation(body.removeprefix(b"Exif\0\0"))
    if header is None or not has_picture:
        raise Rejected(Reason.TRUNCATED, "a WebP without a picture")
    return Header(header.width, header.height, orientation, header.transparent)


def _riff_chunks(data: bytes, riff_end: int) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    for _ in range(MAX_CHUNKS):
        if at + 8 > riff_end:
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > riff_end:
            raise Rejected(Reason.TRUNCATED, "a chunk reaches past the end of the RIFF container")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise Rejected(Reason.UNDECODABLE, f"a WebP of more than {MAX_CHUNKS} chunks")


def _webp_frame(kind: bytes, body: bytes) -> Header:
    if kind == b"VP8X" and len(body) >= 10:
        width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
        return Header(width, height, transparent=bool(body[0] & 0x10))
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a" and len(body) >= 10:
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        return Header(width, height)
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return Header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), transparent=bool(bits >> 28 & 1))
    raise Rejected(Reason.UNDECODABLE, f"a WebP that begins with the chunk {kind!r}")


# --- EXIF ---


def _exif_orientation(tiff: bytes) -> int:
    """Tag 0x0112 of the first directory (TIFF 6.0, section 2), 1 where it is missing or malformed.

    A picture is not refused for its EXIF: cameras and editors write it badly, and viewers do not mind.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, directory)
        for at in range(directory + 2, directory + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(order + "HHIH", tiff, at)
            if tag == 0x0112:
                return value if kind == 3 and count == 1 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1
