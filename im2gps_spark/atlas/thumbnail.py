"""Small pictures for pages."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas.canvas import encode

QUALITY = 82
"""JPEG's, of 100: below, skies show blocks."""


def thumbnail(pixels: NDArray[np.uint8], side: int) -> bytes:
    """A JPEG whose longer side is at most ``side`` pixels; a smaller photo is not enlarged.

    Args:
        pixels: (height, width, 3) uint8, RGB.
        side: pixels, at least 1.

    Returns:
        JPEG, without metadata; the same bytes for the same pixels.

    Raises:
        ValueError: pixels of another shape or type, or none at all.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0 or side < 1:
        raise ValueError("a thumbnail needs RGB pixels (height, width, 3) of uint8 and a side of at least 1")
    height, width = pixels.shape[:2]
    ratio = min(1.0, side / max(height, width))
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    small = pixels if ratio == 1.0 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1], np.uint8)
    return encode(bgr, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1))
