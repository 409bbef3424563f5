"""What tells whether two files hold the same picture: a checksum of the bytes, and a hash of what is seen.

The perceptual hash is pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010): the
signs, about their median, of the low frequencies of a small grey picture's cosine transform.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.protocol import Pixels

SIDE = 32
"""Pixels to a side of the small grey picture."""
FREQUENCIES = slice(1, 9)
"""Those kept along each side: the mean, and what changes along one side only, say little."""
LEAST_DETAIL = 5.0
"""Median size of the coefficients, in grey levels times ``SIDE`` / 2, under which their signs are noise.

Of 2,000 photos from Flickr, made smaller by 0.6 and stored at JPEG quality 60, 8 of the 1,994 above it changed by more
than ``NEAR_BITS``, and 4 of the 6 under it (a wall, fog, the sky).
"""
NEAR_BITS = 3
"""Most bits in which the hashes of one picture differ. Among those 2,000 photos, all different, no two differ in fewer
than 12."""
BANDS = 4
"""Parts of a hash, one more than bits may differ: of two near hashes one part at least is the same."""
BAND_BITS = 64 // BANDS
NEAR_ASPECT = 0.02
"""Most that the logarithms of width over height of one picture differ: a copy made smaller keeps its shape, but for
the rounding."""


@dataclass(frozen=True)
class Fingerprint:
    """Of one picture.

    Attributes:
        sha256: of the file's bytes, 64 hexadecimal digits.
        perceptual: 64 bits as a signed number; None where there is too little to see.
        width, height: as it is meant to be seen, pixels.
    """

    sha256: str
    perceptual: int | None
    width: int
    height: int


def fingerprint(data: bytes, pixels: Pixels) -> Fingerprint:
    """The fingerprint of a picture.

    Args:
        data: the file.
        pixels: (height, width, 3) uint8, RGB, what it shows.
    """
    height, width = pixels.shape[:2]
    return Fingerprint(hashlib.sha256(data).hexdigest(), perceptual_hash(pixels), width, height)


def perceptual_hash(pixels: Pixels) -> int | None:
    """pHash of (height, width, 3) uint8, RGB, as a signed number: its first coefficient is the highest bit.

    None where there is too little detail.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = np.asarray(cv2.dct(small))[FREQUENCIES, FREQUENCIES].ravel()
    if float(np.median(np.abs(low))) < LEAST_DETAIL:
        return None
    bits = np.packbits(low > np.median(low))
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def near_before(
    band: NDArray[np.int64], bits: NDArray[np.int64], aspect: NDArray[np.float64], window: int, known: int = 0
) -> NDArray[np.int64]:
    """For each picture how many rows before it the last near one stands, 0 where there is none.

    Args:
        band: (n,) sorted: rows are compared where it is the same.
        bits: (n,) perceptual hashes.
        aspect: (n,) logarithms of width over height.
        window: a row is compared with no more than so many before it.
        known: so many rows at the beginning are there for the others; they themselves get 0.

    Returns:
        (n,) from 0 to ``window``.
    """
    n = len(band)
    starts = np.flatnonzero(np.diff(band, prepend=band[:1] - 1)) if n else np.zeros(0, np.int64)
    rank = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
    before = np.zeros(n, np.int64)
    waiting = known + np.flatnonzero(rank[known:])
    for step in range(1, window + 1):
        waiting = waiting[rank[waiting] >= step]
        if not len(waiting):
            break
        earlier = waiting - step
        near = np.bitwise_count((bits[waiting] ^ bits[earlier]).view(np.uint64)) <= NEAR_BITS
        near &= np.abs(aspect[waiting] - aspect[earlier]) <= NEAR_ASPECT
        before[waiting[near]] = step
        waiting = waiting[~near]
    return before
