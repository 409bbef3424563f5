"""A law as it is seen at the resolution of a map: smoothed density, credible outlines, colours."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas.colours import ramp
from im2gps_spark.atlas.raster import Raster
from im2gps_spark.grid import MultiOrderMap

DECADES = 3.5
"""How far below the top of the scale the colours reach, powers of ten. Beyond, the map shows through."""
TOP_OVER_UNIFORM = 300.0
"""The top of the scale is the densest pixel, but at least this many times the density of the uniform law: an
answer that says nothing is dim everywhere, in place of all aglow."""
BLUR = 1.1
"""Standard deviation of the smoothing, pixels: a law on one cell of a few metres is a spot, not a speck."""

_BINS_A_DECADE = 400
_BINS = 30 * _BINS_A_DECADE
"""Densities further down than this are counted together: no share of the mass is there."""

Picture = NDArray[np.float32]


def density(masses: NDArray[np.float64], grid: Raster) -> Picture:
    """Smoothed density in units of the uniform law's: (height, width) float32, 0 outside the map.

    Args:
        masses: (height, width), as `Raster.masses` gives them, for a law of mass 1.
        grid: their raster.
    """
    # Dividing by the smoothed coverage keeps the map's rim from fading.
    smooth = cv2.GaussianBlur(masses.astype(np.float32), (0, 0), BLUR)
    cover = cv2.GaussianBlur(grid.coverage, (0, 0), BLUR)
    cover = np.maximum(cover, np.float32(1e-3)) * np.float32(grid.pixel_area_sr / (4.0 * np.pi))
    return np.where(grid.coverage > 0, smooth / cover, np.float32(0.0))


def seen_levels(field: Picture, grid: Raster, shares: Sequence[float]) -> list[float]:
    """The densities at the edges of the smallest regions of the picture that hold shares of its mass.

    To a part in 200: they are read off a histogram of logarithms, many times faster than a sort.

    Args:
        field: (height, width), any unit.
        grid: its raster.
        shares: each in (0, 1].
    """
    values = field.ravel()
    lit = np.flatnonzero(values != 0)
    if len(lit) == 0:
        return [1.0] * len(shares)
    values = values[lit]
    decade = np.log10(values)
    top = float(decade.max())
    rank = np.minimum((top - decade) * np.float32(_BINS_A_DECADE), _BINS).astype(np.int64)
    mass = np.cumsum(np.bincount(rank, weights=values * grid.coverage.ravel()[lit]))
    last = np.minimum(np.searchsorted(mass, np.asarray(shares) * mass[-1]), len(mass) - 1)
    # The foot of the bin in which the share is reached.
    return [float(10.0 ** (top - (k + 1) / _BINS_A_DECADE)) for k in last]


def law_levels(law: MultiOrderMap, shares: Sequence[float]) -> list[float]:
    """The same for the law itself, in units of the uniform law's density: for maps that show a part of it."""
    rank = np.argsort(-law.density, kind="stable")
    mass = np.cumsum(law.mass[rank])
    last = np.minimum(np.searchsorted(mass, np.asarray(shares) * mass[-1]), len(mass) - 1)
    return [float(v) for v in law.density[rank[last]] * 4.0 * np.pi]


def outlines(field: Picture, levels: Sequence[float]) -> list[list[NDArray[np.float64]]]:
    """For each level the closed lines around all that is denser: (n, 2) columns and rows in pixels."""
    # Interpolated to half pixels, then rounded off: a line along the steps of pixels looks like coastline.
    finer = cv2.resize(field, None, fx=2.0, fy=2.0, interpolation=cv2.INTER_LINEAR)
    return [_outline(np.asarray(finer >= level, np.uint8)) for level in levels]


def _outline(inside: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    found, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    lines = []
    for contour in found:
        points = (contour[:, 0, :].astype(np.float64) + 0.5) / 2.0
        if len(points) >= 8:
            points = np.mean([np.roll(points, shift, axis=0) for shift in (-2, -1, 0, 1, 2)], axis=0)
        lines.append(points)
    return lines


def colours(field: Picture) -> tuple[Picture, Picture]:
    """Colour (height, width, 3), 0 to 255, and opacity (height, width), 0 to 1, of a `density`; float32.

    The scale is logarithmic: equal steps of colour are equal ratios of density.
    """
    top = max(float(field.max()), TOP_OVER_UNIFORM)
    bottom = top * 10.0**-DECADES
    lit = np.flatnonzero(field > bottom)
    decades = np.log10(field.ravel()[lit] / np.float32(bottom))
    step = np.rint(decades * np.float32(255.0 / DECADES)).astype(np.intp)
    table = ramp()
    colour, opacity = np.zeros((field.size, 3), np.float32), np.zeros(field.size, np.float32)
    colour[lit], opacity[lit] = table[step, :3], table[step, 3]
    return colour.reshape(*field.shape, 3), opacity.reshape(field.shape)
