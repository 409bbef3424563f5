"""Decodes a photo, safely: in comes a stranger's file, out goes RGB or one of the closed list of reasons."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.protocol import Pixels
from im2gps_spark.photos.containers import Header, read_header
from im2gps_spark.photos.reasons import Reason, Rejected

MAX_MEGAPIXELS = 100.0
MAX_BYTES = 64 * 2**20

# EXIF orientation -> whether rows and columns change places, and then the axis of cv2.flip (None: no flip).
_TURNS: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
_PAPER = 255
"""Grey level behind transparent pixels, see :func:`decode`."""


def limit_threads(threads: int = 1) -> None:
    """Bounds the threads of OpenCV in this process.

    For a Spark task, which owns one core: OpenCV would start a thread for every core of the machine, in every
    Python worker.
    """
    cv2.setNumThreads(threads)


def decode(data: bytes, *, max_megapixels: float = MAX_MEGAPIXELS, max_bytes: int = MAX_BYTES) -> Pixels:
    """A picture as it is meant to be seen.

    EXIF's orientation is applied. Grey, palette, 16-bit and CMYK pictures become 8-bit RGB; colour profiles
    are not applied. Of an animation it is the first frame. Transparent pixels are laid over white, as on a
    page: the colour stored under full transparency is arbitrary, often black, and nobody has ever seen it.

    Args:
        data: a JPEG, PNG or WebP file.
        max_megapixels: the most pixels, in millions, by the header: nothing is allocated for a larger one.
        max_bytes: the longest file.

    Returns:
        (height, width, 3) uint8, RGB, contiguous.

    Raises:
        Rejected: with EMPTY_FILE, TOO_LARGE, NOT_A_PICTURE, TRUNCATED or UNDECODABLE.
    """
    if not data:
        raise Rejected(Reason.EMPTY_FILE)
    if len(data) > max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"{len(data)} bytes")
    header = read_header(data)
    if header.width * header.height > max_megapixels * 1e6:
        raise Rejected(Reason.TOO_LARGE, f"{header.width} x {header.height} pixels")
    return _upright(_stored_pixels(data, header), header.orientation)


def _stored_pixels(data: bytes, header: Header) -> Pixels:
    # Only IMREAD_UNCHANGED keeps alpha, and it ignores EXIF: so the other road does, too.
    flags = cv2.IMREAD_UNCHANGED if header.transparent else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded: NDArray | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise Rejected(Reason.UNDECODABLE, str(error.err)) from error
    if decoded is None:
        raise Rejected(Reason.UNDECODABLE, "the decoder gave nothing")
    if decoded.shape[:2] != (header.height, header.width):
        raise Rejected(Reason.UNDECODABLE, f"the decoder saw {decoded.shape}, the header {header}")
    if decoded.dtype == np.uint16:
        decoded = np.right_shift(decoded, 8, out=decoded).astype(np.uint8)
    if decoded.ndim == 2:
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB), np.uint8)
    if decoded.shape[2] == 4:
        return _over_paper(np.asarray(decoded, np.uint8))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _over_paper(bgra: Pixels) -> Pixels:
    """BGRA with straight alpha (PNG, WebP) over opaque paper, rounded to the nearest level."""
    rgb = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8)
    for top in range(0, len(rgb), 256):  # in strips: 32 bits a channel of a large picture are much memory
        strip = rgb[top : top + 256]
        alpha = bgra[top : top + 256, :, 3:].astype(np.uint32)
        strip[...] = (strip * alpha + _PAPER * (255 - alpha) + 127) // 255
    return rgb


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    transposed, axis = _TURNS.get(orientation, (False, None))
    if transposed:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    return pixels if axis is None else np.asarray(cv2.flip(pixels, axis), np.uint8)
