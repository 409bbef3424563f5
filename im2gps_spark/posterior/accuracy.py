"""How well a geotag is known: Flickr's accuracy levels as widths on the ground.

A level is the zoom of the map on which the photo was placed: 1 showed the world, about 3 a country, 6 a region, 11 a
city, 16 a street. At zoom z the Earth's girth takes 2^z tiles of 256 pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

UNKNOWN = 0
STREET = 16

_TILES_SEEN = 2
_WIDEST_KM = 10_000.0


def _widths() -> Floats:
    level = np.arange(STREET + 1)
    shown = _TILES_SEEN * 2.0 * np.pi * EARTH_RADIUS_KM / 2.0**level
    width = np.minimum(shown / np.sqrt(12.0), _WIDEST_KM)
    width[UNKNOWN] = width[STREET]
    return np.asarray(width)


_WIDTH_KM = _widths()


def least_width_km(accuracy: NDArray[np.integer]) -> Floats:
    """The standard error of geotags along each axis, below which no kernel about them is honest.

    Whoever placed a photo chose a zoom at which its surroundings could be told, and may have meant any point of the
    map that was shown: two tiles (512 pixels) wide, uniformly, a standard deviation of 2 / sqrt(12) tiles. That is
    0.35 km at level 16, 11 km at 11 (city), 361 km at 6 (region), 2,891 km at 3 (country); each level halves it.
    Level 1 is cut to 10,000 km, next to the uniform law. The map's scale is the equator's: towards the poles a tile
    shows less, and the width errs on the wide side.

    An unknown accuracy (0) counts as street, and so widens nothing: metadata without levels are no sign of bad places
    (a receiver's position has none either), and would otherwise blur a whole corpus.

    Args:
        accuracy: (k,) whole numbers, 1 (world) to 16 (street); 0 where it is unknown.

    Returns:
        (k,) float64, km.

    Raises:
        ValueError: numbers that are not whole, or not within 0 to 16.
    """
    level = np.asarray(accuracy)
    if not np.issubdtype(level.dtype, np.integer):
        raise ValueError(f"accuracy levels are whole numbers, not {level.dtype}")
    strange = level[(level < UNKNOWN) | (level > STREET)]
    if len(strange):
        raise ValueError(f"accuracy {strange[0]} is no level: 1 (world) to 16 (street), 0 for unknown")
    return _WIDTH_KM[level]


def capped_shares(widths_km: Floats, shares: Floats, least_km: Floats) -> Floats:
    """(k, ..., widths) shares of the widths for places that are known to so many km.

    A geotag says nothing within its own error: what the narrower widths have goes to the narrowest that is wide
    enough, or the widest of all.

    Args:
        widths_km: (widths,) in any order.
        shares: (..., widths) of a place that is exact.
        least_km: (k,).
    """
    rank = np.argsort(widths_km, kind="stable")
    ladder, sorted_shares = widths_km[rank], shares[..., rank]
    step = np.minimum(np.searchsorted(ladder, least_km), len(ladder) - 1)
    moved = np.stack([_moved(sorted_shares, s) for s in range(len(ladder))])[step]
    return np.asarray(moved[..., np.argsort(rank)])


def _moved(shares: Floats, step: int) -> Floats:
    """What the widths before a step have, given to it."""
    made = shares.copy()
    made[..., step] = shares[..., : step + 1].sum(axis=-1)
    made[..., :step] = 0.0
    return made
