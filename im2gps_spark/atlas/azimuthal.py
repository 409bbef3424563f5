"""Lambert's azimuthal equal-area projection: the neighbourhood of a point, on the same footing as the world.

Snyder, Map Projections: A Working Manual (USGS 1395), section 24.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from im2gps_spark.atlas.raster import Raster, build
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, coordinates, unit_vectors

SIDE = 2
"""Sample points along each side of a pixel: these rasters are built for one map each."""


def _frame(latitude: float, longitude: float) -> Floats:
    """Rows: east, north and up at a point."""
    up = unit_vectors(latitude, longitude)
    lam = np.radians(longitude)
    east = np.array([-np.sin(lam), np.cos(lam), 0.0])
    return np.stack([east, np.cross(up, east), up])


def around(latitude: float, longitude: float, radius_km: float, width: int) -> Raster:
    """A disc around a point, north up, as a square raster.

    Args:
        latitude, longitude: the centre, degrees.
        radius_km: along the ground, in (0, 10000].
        width: pixels.

    Raises:
        ValueError: no such place, or radius.
    """
    if not 0.0 < radius_km <= 10_000.0:
        raise ValueError(f"a disc around a place has a radius in (0, 10000] km, not {radius_km}")
    frame = _frame(latitude, longitude)
    rim = 2.0 * np.sin(radius_km / EARTH_RADIUS_KM / 2.0)

    def forward(lat: ArrayLike, lon: ArrayLike) -> tuple[Floats, Floats]:
        x, y, z = np.moveaxis(unit_vectors(lat, lon) @ frame.T, -1, 0)
        stretch = np.sqrt(2.0 / np.maximum(1.0 + z, 1e-12))
        return x * stretch, y * stretch

    def inverse(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        px, py = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        squared = px * px + py * py
        stretch = np.sqrt(np.maximum(1.0 - squared / 4.0, 0.0))
        local = np.stack([px * stretch, py * stretch, 1.0 - squared / 2.0], axis=-1)
        lat, lon = coordinates(local @ frame)
        outside = squared > rim * rim
        return np.where(outside, np.nan, lat), np.where(outside, np.nan, lon)

    return build(width, width, width / (2.0 * rim), SIDE, forward, inverse)
