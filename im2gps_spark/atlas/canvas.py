"""A picture built up from layers of one colour each, with soft edges, and written with transparency."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas.colours import Colour

_SHIFT = 4
"""OpenCV draws at fractions of pixels if told in how many bits."""


class Stencil:
    """Where a layer's colour goes: (height, width) uint8, 0 for nowhere. Lengths are pixels.

    Shapes are drawn from their distance to each pixel, for at a few pixels OpenCV's circles are diamonds.
    """

    def __init__(self, height: int, width: int) -> None:
        self.mask: NDArray[np.uint8] = np.zeros((height, width), np.uint8)

    def disc(self, x: float, y: float, radius: float) -> None:
        """A filled circle."""
        self._shape(x, y, x, y, radius, 0.0)

    def ring(self, x: float, y: float, radius: float, thickness: float) -> None:
        """A circle's line."""
        self._shape(x, y, x, y, radius + thickness / 2.0, max(radius - thickness / 2.0, 0.0))

    def stroke(self, x0: float, y0: float, x1: float, y1: float, thickness: float) -> None:
        """A straight line with round ends."""
        self._shape(x0, y0, x1, y1, thickness / 2.0, 0.0)

    def line(self, points: NDArray, *, closed: bool) -> None:
        """A line of one pixel through points (n, 2)."""
        # OpenCV's pixel centres are whole numbers, the raster's are halves.
        fixed = np.rint((np.asarray(points) - 0.5) * 2**_SHIFT).astype(np.int32)
        cv2.polylines(self.mask, [fixed], closed, 255, 1, cv2.LINE_AA, _SHIFT)

    def _shape(self, x0: float, y0: float, x1: float, y1: float, outer: float, inner: float) -> None:
        """All between two distances from a segment."""
        height, width = self.mask.shape
        reach = outer + 1.0
        left, right = max(int(min(x0, x1) - reach), 0), min(int(max(x0, x1) + reach) + 1, width)
        top, bottom = max(int(min(y0, y1) - reach), 0), min(int(max(y0, y1) + reach) + 1, height)
        if left >= right or top >= bottom:
            return
        px, py = np.arange(left, right)[None, :] + 0.5 - x0, np.arange(top, bottom)[:, None] + 0.5 - y0
        dx, dy = x1 - x0, y1 - y0
        along = np.clip((px * dx + py * dy) / max(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
        distance = np.hypot(px - along * dx, py - along * dy)
        covered = np.clip(outer + 0.5 - distance, 0.0, 1.0)
        if inner > 0.0:
            covered *= np.clip(distance + 0.5 - inner, 0.0, 1.0)
        window = self.mask[top:bottom, left:right]
        np.maximum(window, np.rint(covered * 255.0).astype(np.uint8), out=window)


class Canvas:
    """Layers over layers, from the bottom up. Colours are kept times opacity, so that edges mix rightly."""

    def __init__(self, height: int, width: int) -> None:
        self._shape = (height, width)
        self._rgb: NDArray[np.float32] = np.zeros((height * width, 3), np.float32)
        self._alpha: NDArray[np.float32] = np.zeros(height * width, np.float32)

    def copy(self) -> Canvas:
        """Another canvas with the same layers."""
        other = Canvas(0, 0)
        other._shape, other._rgb, other._alpha = self._shape, self._rgb.copy(), self._alpha.copy()
        return other

    def stencil(self) -> Stencil:
        """An empty stencil of the canvas' size."""
        return Stencil(*self._shape)

    def over(self, opacity: NDArray[np.float32], colour: Colour | NDArray[np.float32]) -> None:
        """Lays a colour over all there is.

        Args:
            opacity: (height, width), 0 to 1.
            colour: one, or (height, width, 3) from 0 to 255.
        """
        flat = opacity.ravel()
        touched = np.flatnonzero(flat != 0)  # few pixels, in most layers
        a = flat[touched]
        paint = np.asarray(colour, np.float32)
        if isinstance(colour, np.ndarray):
            paint = paint.reshape(-1, 3)[touched]
        rest = np.float32(1.0) - a
        self._rgb[touched] = self._rgb[touched] * rest[:, None] + paint * a[:, None]
        self._alpha[touched] = self._alpha[touched] * rest + a

    def press(self, stencil: Stencil, colour: Colour, opacity: float = 1.0) -> None:
        """Lays one colour over the canvas where a stencil is open."""
        self.over(stencil.mask * np.float32(opacity / 255.0), colour)

    def png(self) -> bytes:
        """The picture as a PNG: 8 bits a channel with transparency, the same bytes for the same layers."""
        bgra = np.zeros((len(self._alpha), 4), np.uint8)
        lit = np.flatnonzero(self._alpha != 0)
        alpha = self._alpha[lit, None]
        straight = self._rgb[lit, ::-1] / alpha
        bgra[lit] = np.rint(np.clip(np.concatenate([straight, alpha * 255.0], axis=1), 0.0, 255.0))
        # Level 4 is within a few percent of 9 on these pictures, in a fifth of the time.
        return encode(bgra.reshape(*self._shape, 4), ".png", (cv2.IMWRITE_PNG_COMPRESSION, 4))


def encode(picture: NDArray[np.uint8], suffix: str, options: Sequence[int]) -> bytes:
    """A picture, in OpenCV's order of channels, in the format that a file's suffix names.

    Raises:
        ValueError: OpenCV refuses it.
    """
    done, coded = cv2.imencode(suffix, picture, list(options))
    if not done:
        raise ValueError(f"a picture of shape {picture.shape} can't be written as {suffix}")
    return bytes(coded.tobytes())
