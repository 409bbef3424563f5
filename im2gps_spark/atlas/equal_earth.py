"""The Equal Earth projection of the whole sphere: equal areas on the ground are equal areas on the page.

Šavrič, Patterson & Jenny, "The Equal Earth map projection", IJGIS 33(3), 2019. On another kind of map the
same spread would look larger or smaller with its latitude, and the spread is the result.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from im2gps_spark.atlas.raster import Raster, build
from im2gps_spark.sphere import Floats

CENTRAL_MERIDIAN = 11.0
"""Degrees east. With it the map's edge runs through the Bering Strait and cuts no country but Antarctica."""

_A = (1.340264, -0.081106, 0.000893, 0.003796)
_M = np.sqrt(3.0) / 2.0


def _height(theta: Floats) -> tuple[Floats, Floats]:
    """y of a parametric latitude, and dy/dtheta."""
    t2 = theta * theta
    t6 = t2 * t2 * t2
    y = theta * (_A[0] + _A[1] * t2 + t6 * (_A[2] + _A[3] * t2))
    return y, _A[0] + 3 * _A[1] * t2 + t6 * (7 * _A[2] + 9 * _A[3] * t2)


def forward(latitude: ArrayLike, longitude: ArrayLike) -> tuple[Floats, Floats]:
    """Plane coordinates x (east) and y (north) in Earth radii of points in degrees, any shape."""
    theta = np.arcsin(_M * np.sin(np.radians(np.asarray(latitude, np.float64))))
    lam = np.radians((np.asarray(longitude, np.float64) - CENTRAL_MERIDIAN + 180.0) % 360.0 - 180.0)
    y, slope = _height(theta)
    return lam * np.cos(theta) / (_M * slope), y


def inverse(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Latitude and longitude in degrees of plane points that broadcast; NaN where the map has no point."""
    height = np.asarray(y, np.float64)
    theta = height / _A[0]
    for _ in range(12):  # Newton; the curve is nearly straight, so five steps settle it to the last digit
        value, slope = _height(theta)
        theta = theta - (value - height) / slope
    sine = np.sin(theta) / _M
    lam = np.asarray(x, np.float64) * _M * _height(theta)[1] / np.cos(theta)
    inside = (np.abs(sine) <= 1.0) & (np.abs(lam) <= np.pi)
    latitude = np.degrees(np.arcsin(np.where(inside, sine, np.nan)))
    longitude = np.where(inside, (np.degrees(lam) + CENTRAL_MERIDIAN + 180.0) % 360.0 - 180.0, np.nan)
    return latitude, longitude


X_MAX = float(np.pi / (_M * _A[0]))
"""Half the width of the plane map, Earth radii."""
Y_MAX = float(forward(90.0, CENTRAL_MERIDIAN)[1])
"""Half its height."""


@lru_cache(maxsize=4)
def world(width: int) -> Raster:
    """The raster of a map of the world ``width`` pixels wide. The first of a width takes a second or two.

    Raises:
        ValueError: a width below 16 or above 4096.
    """
    if not 16 <= width <= 4096:
        raise ValueError(f"a world map is 16 to 4096 pixels wide, not {width}")
    height = int(np.ceil(width * Y_MAX / X_MAX))
    return build(width, height, width / (2.0 * X_MAX), 3, forward, inverse)
