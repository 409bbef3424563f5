"""A law on an equirectangular grid: what images, rasters of other programs and arrays of latitude x longitude need."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import Ints, MultiOrderMap
from im2gps_spark.sphere import Floats, coordinates

_SAMPLED = 24
"""A cell with fewer sample points shares its mass out among them, so that none is lost or counted twice."""
_AT_ONCE = 2**20


def pixel_areas_sr(height: int, width: int) -> Floats:
    """Areas of the pixels of each row (height,), steradians, from north to south."""
    return np.asarray(-2.0 * np.pi / width * np.diff(_row_edges(height)))


def pixel_masses(law: MultiOrderMap, height: int, width: int, side: int) -> Floats:
    """Mass in each pixel, (height, width): row 0 begins at the north pole, column 0 at longitude -180.

    By supersampling: large cells are sampled; one that few sample points hit shares its mass out among those, and one
    that lies between all of them gives it to the pixel around its centre. None is too small, and the sum is the law's.

    Args:
        law: uniform within cells.
        height, width: pixels.
        side: sample points along each side of a pixel, evenly by area.
    """
    held = _sampled_cells(law, height, width, side)
    weight = np.repeat(pixel_areas_sr(height, width) / side**2, side)
    count, area = np.zeros(len(law.cells), np.int64), np.zeros(len(law.cells))
    for rows in _blocks(held, 1):
        here = held[rows].ravel()
        count += np.bincount(here, minlength=len(count))
        area += np.bincount(here, np.repeat(weight[rows], width * side), len(area))
    density = _densities(law, count, area)
    mass = np.empty((height, width))
    for rows in _blocks(held, side):
        sampled = (density[held[rows]] * weight[rows, None]).reshape(-1, side, width, side)
        mass[rows.start // side : rows.stop // side] = sampled.sum(axis=(1, 3))
    missed = np.flatnonzero((count == 0) & (law.mass > 0))
    if len(missed):
        np.add.at(mass, _pixels_of(law.centres_of(missed), height, width), law.mass[missed])
    return mass


def _row_edges(height: int) -> Floats:
    """(height + 1,) sines of latitude between rows, from the north pole down."""
    return np.sin(np.linspace(np.pi / 2.0, -np.pi / 2.0, height + 1))


def _pixels_of(points: Floats, height: int, width: int) -> tuple[Ints, Ints]:
    """Rows and columns of unit vectors (n, 3); longitude 180 is -180."""
    latitude, longitude = coordinates(points)
    row = np.clip(np.floor((90.0 - latitude) / 180.0 * height), 0, height - 1)
    column = np.floor((longitude + 180.0) / 360.0 * width) % width
    return row.astype(np.int64), column.astype(np.int64)


def _densities(law: MultiOrderMap, count: Ints, area: Floats) -> Floats:
    """(n,) densities of the law's cells by which their sample points have all of the mass."""
    large = count >= _SAMPLED
    total = float(law.density[large] @ area[large])
    # Their sum is off by what the cells' edges cut; one factor mends it.
    mend = float(law.mass[large].sum()) / total if total > 0 else 1.0
    return np.asarray(np.where(large, law.density * mend, law.mass / np.where(count > 0, area, 1.0)))


def _sampled_cells(law: MultiOrderMap, height: int, width: int, side: int) -> NDArray[np.int32]:
    """Positions in the law of the cells at the sample points: (height * side, width * side)."""
    edges, part = _row_edges(height), (np.arange(side) + 0.5) / side
    # Of equal area within a row: the sines of their latitudes are evenly spaced.
    z = (edges[:-1, None] + np.diff(edges)[:, None] * part).ravel()
    longitude = (np.arange(width * side) + 0.5) / (width * side) * 2.0 * np.pi - np.pi
    across = np.sqrt(1.0 - z**2)
    held = np.empty((len(z), len(longitude)), np.int32)
    for rows in _blocks(held, 1):
        x, y = (np.outer(across[rows], f(longitude)) for f in (np.cos, np.sin))
        points = np.stack(np.broadcast_arrays(x, y, z[rows, None]), axis=-1).reshape(-1, 3)
        held[rows] = law.find(points).reshape(x.shape)
    return held


def _blocks(samples: NDArray[np.int32], side: int) -> Iterator[slice]:
    """Runs of rows, in multiples of ``side``, that fit in memory."""
    step = side * max(1, _AT_ONCE // (side * samples.shape[1]))
    for start in range(0, len(samples), step):
        yield slice(start, min(start + step, len(samples)))
