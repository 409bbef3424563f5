"""The pixels of an equal-area map, and how a law on the sphere is laid on them without losing any of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from im2gps_spark.grid import CURVE_LENGTH, MAX_ORDER, Ints, MultiOrderMap, cells_at
from im2gps_spark.sphere import Floats, coordinates, unit_vectors

Projection = Callable[[ArrayLike, ArrayLike], tuple[Floats, Floats]]

_SAMPLED = 24
"""A cell with fewer sample points shares its mass out among them, so that none is lost or counted twice."""


@dataclass(frozen=True, eq=False)
class Raster:
    """A map's pixels, and a few sample points in each of them, sorted along the nested curve.

    Sorted, the points within a cell are a slice, whatever the cell's order: a law of n cells is laid on the
    raster by n binary searches.

    Attributes:
        width, height: pixels.
        scale: pixels in an Earth radius on the plane.
        samples: points in each pixel.
        forward: from latitude and longitude in degrees to the plane, Earth radii, x east and y north.
        coverage: (height, width) float32, the share of each pixel that is on the map: 0 outside, 1 inside.
        curve: (m,) int64, positions of the sample points on the curve, increasing.
        pixel: (m,) int32, the flat pixel of each of them.
    """

    width: int
    height: int
    scale: float
    samples: int
    forward: Projection
    coverage: NDArray[np.float32]
    curve: Ints
    pixel: NDArray[np.int32]

    @property
    def pixel_area_sr(self) -> float:
        """Area of every pixel, steradians."""
        return 1.0 / self.scale**2

    def xy(self, latitude: ArrayLike, longitude: ArrayLike) -> tuple[Floats, Floats]:
        """Columns and rows, in fractions of pixels from the upper left corner, of points in degrees."""
        x, y = self.forward(latitude, longitude)
        return self.width / 2.0 + x * self.scale, self.height / 2.0 - y * self.scale

    def masses(self, law: MultiOrderMap) -> Floats:
        """Mass in each pixel, (height, width). On a map of the whole sphere their sum is the law's.

        Large cells are sampled. One of a few pixels or less shares its mass out among its own sample points,
        and one that lies between all of them gives it to the pixel around its centre: none is too small.
        """
        bounds = np.searchsorted(self.curve, np.append(law.starts, CURVE_LENGTH))
        points = np.diff(bounds)
        # Density times the area that a point stands for.
        sampled = law.density * (self.pixel_area_sr / self.samples)
        if self._whole:
            large = points >= _SAMPLED
            total = float(sampled[large] @ points[large])
            # Their sum is off by what the cells' edges cut; one factor mends it.
            sampled *= float(law.mass[large].sum()) / total if total > 0 else 1.0
            sampled = np.where(large, sampled, law.mass / np.maximum(points, 1))
        size = self.width * self.height
        flat = np.bincount(self.pixel, weights=np.repeat(sampled, points), minlength=size).astype(np.float64)
        missed = np.flatnonzero((points == 0) & (law.mass > 0))
        if len(missed):
            held, pixel = self._pixels(law.centres[missed])
            np.add.at(flat, pixel, law.mass[missed[held]])
        return np.asarray(flat.reshape(self.height, self.width))

    @property
    def _whole(self) -> bool:
        """Whether the map is of the whole sphere."""
        return len(self.curve) * self.pixel_area_sr / self.samples > 0.99 * 4.0 * np.pi

    def _pixels(self, vectors: Floats) -> tuple[Ints, Ints]:
        """Which of unit vectors (n, 3) are on the map, and their flat pixels; on a world map all are."""
        column, row = (np.floor(v).astype(np.int64) for v in self.xy(*coordinates(vectors)))
        lit = self.coverage > 0
        if self._whole:  # a pixel cut by the rim has perhaps no sample point: its neighbour stands in
            rows = np.flatnonzero(lit.any(axis=1))
            row = np.clip(row, rows[0], rows[-1])
            left, right = lit.argmax(axis=1), self.width - 1 - lit[:, ::-1].argmax(axis=1)
            column = np.clip(column, left[row], right[row])
        inside = (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)
        held = np.flatnonzero(inside)
        held = held[lit[row[held], column[held]]]
        return held, np.asarray(row[held] * self.width + column[held])


def build(width: int, height: int, scale: float, side: int, forward: Projection, inverse: Projection) -> Raster:
    """A raster centred on the plane's origin.

    Args:
        width, height: pixels.
        scale: pixels in an Earth radius on the plane.
        side: sample points along each side of a pixel.
        forward, inverse: the projection, which must be equal-area; NaN where the map has no point.
    """
    x = (np.arange(width * side) + 0.5) / side - width / 2.0
    y = height / 2.0 - (np.arange(height * side) + 0.5) / side
    latitude, longitude = inverse(x[None, :] / scale, y[:, None] / scale)
    row, column = np.nonzero(np.isfinite(latitude))
    curve = cells_at(MAX_ORDER, unit_vectors(latitude[row, column], longitude[row, column]))
    pixel = (row // side * width + column // side).astype(np.int32)
    rank = np.argsort(curve, kind="stable")
    coverage = (np.bincount(pixel, minlength=width * height) / side**2).astype(np.float32)
    coverage = coverage.reshape(height, width)
    raster = Raster(width, height, scale, side**2, forward, coverage, curve[rank], pixel[rank])
    for array in (raster.coverage, raster.curve, raster.pixel):  # a raster is kept and shared
        array.flags.writeable = False
    return raster
