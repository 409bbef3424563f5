"""Centres of HEALPix cells, compiled: one at a time, for loops that find out as they go which cells they need.

Gorski et al., "HEALPix" (ApJ 622, 2005), section 4 and equations 4-9, nested numbering.
"""

from __future__ import annotations

import numba
import numpy as np

from im2gps_spark.posterior.kernels import ON_DISK

TOP_ORDER = 8
"""Sums over all cells down to this order (25 km) are held; deeper ones are looked up."""

# Ring, in quarters of the sphere, and longitude, in eighths, of the corner of each base cell nearest the south.
_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4], np.int64)
_EIGHTH = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7], np.int64)

# The parts, three orders down, of a cell: their places along its two sides.
_PARTS = 64
_PART_X = np.array([(c & 1) + (c >> 1 & 2) + (c >> 2 & 4) for c in range(_PARTS)], np.float64)
_PART_Y = np.array([(c >> 1 & 1) + (c >> 2 & 2) + (c >> 3 & 4) for c in range(_PARTS)], np.float64)


@numba.njit(cache=ON_DISK, nogil=True, inline="always")
def _even_bits(value):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    value &= 0x5555555555555555
    value = (value | (value >> 1)) & 0x3333333333333333
    value = (value | (value >> 2)) & 0x0F0F0F0F0F0F0F0F
    value = (value | (value >> 4)) & 0x00FF00FF00FF00FF
    value = (value | (value >> 8)) & 0x0000FFFF0000FFFF
    return (value | (value >> 16)) & 0x00000000FFFFFFFF


@numba.njit(cache=ON_DISK, nogil=True)
def pyramid_start(order):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Where the cells of an order begin in an array of those of orders 0, 1, 2 and so on."""
    return 4 * ((1 << (2 * order)) - 1)


@numba.njit(cache=ON_DISK, nogil=True)
def search(values, begin, end, what):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The first place from ``begin`` on, ``end`` at most, whose value is not below ``what``."""
    while begin < end:
        middle = (begin + end) // 2
        if values[middle] < what:
            begin = middle + 1
        else:
            end = middle
    return begin


@numba.njit(cache=ON_DISK, nogil=True, inline="always")
def _series(angle):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Sine and cosine within an eighth of a turn, to the last digit but one: Taylor's series.

    Longitudes on the grid are fractions of a quarter, which are reduced exactly. The library reduces any angle, and
    can't be made vector instructions of.
    """
    square = angle * angle
    sine = -1.0 / 1307674368000.0
    sine = sine * square + 1.0 / 6227020800.0
    sine = sine * square - 1.0 / 39916800.0
    sine = sine * square + 1.0 / 362880.0
    sine = sine * square - 1.0 / 5040.0
    sine = sine * square + 1.0 / 120.0
    sine = sine * square - 1.0 / 6.0
    cosine = 1.0 / 20922789888000.0
    cosine = cosine * square - 1.0 / 87178291200.0
    cosine = cosine * square + 1.0 / 479001600.0
    cosine = cosine * square - 1.0 / 3628800.0
    cosine = cosine * square + 1.0 / 40320.0
    cosine = cosine * square - 1.0 / 720.0
    cosine = cosine * square + 1.0 / 24.0
    cosine = cosine * square - 0.5
    return angle + angle * square * sine, 1.0 + square * cosine


@numba.njit(cache=ON_DISK, nogil=True)
def cell_centre(order, index):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Unit vector (x, y, z) of the centre of one nested cell."""
    nside = 1 << order
    face = index >> (2 * order)
    inside = index & (nside * nside - 1)
    ix, iy = _even_bits(inside), _even_bits(inside >> 1)
    ring = _RING[face] * nside - ix - iy - 1
    if ring < nside or ring > 3 * nside:
        cells = ring if ring < nside else 4 * nside - ring  # in a quarter of the ring
        tilt = cells * cells / (3.0 * nside * nside)
        height = 1.0 - tilt
        width = np.sqrt(tilt * (2.0 - tilt))
        if ring > 3 * nside:
            height = -height
        shift = 0
    else:
        cells = nside
        height = (2 * nside - ring) * 2.0 / (3.0 * nside)
        width = np.sqrt((1.0 - height) * (1.0 + height))
        shift = (ring - nside) & 1
    place = (_EIGHTH[face] * cells + ix - iy + 1 + shift) // 2
    quarters = (place - (shift + 1) * 0.5) / cells
    whole = np.int64(quarters + 0.5)  # from half a quarter before the first one on
    sine, cosine = _series((quarters - whole) * (np.pi / 2.0))
    if whole & 1:
        cosine, sine = -sine, cosine
    if whole & 2:
        cosine, sine = -cosine, -sine
    return width * cosine, width * sine, height


@numba.njit(cache=ON_DISK, nogil=True, error_model="numpy")
def part_centres(order, index, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Centres of the 64 parts, three orders down, of a cell, into x, y and z.

    ``cell_centre`` in whole numbers that are floats, and without branches: the compiler makes vector instructions of
    it, and a centre takes an eighth of the time.
    """
    inside = index & ((1 << (2 * order)) - 1)
    x0, y0 = np.float64(_even_bits(inside) << 3), np.float64(_even_bits(inside >> 1) << 3)
    face, nside = index >> (2 * order), np.float64(8 << order)
    south, eighth = _RING[face] * nside - 1.0, np.float64(_EIGHTH[face])
    third, square = 2.0 / (3.0 * nside), 1.0 / (3.0 * nside * nside)
    quarters, width = np.empty(_PARTS), np.empty(_PARTS)
    for c in range(_PARTS):
        ix, iy = x0 + _PART_X[c], y0 + _PART_Y[c]
        ring = south - ix - iy
        north_cap, south_cap = ring < nside, ring > 3.0 * nside
        cap = north_cap | south_cap
        cells = ring if north_cap else nside
        cells = 4.0 * nside - ring if south_cap else cells
        tilt = cells * cells * square
        height = 1.0 - tilt
        height = -height if south_cap else height
        height = height if cap else (2.0 * nside - ring) * third
        half = 0.5 * (ring - nside)
        shift = 0.0 if cap else 2.0 * (half - np.floor(half))
        place = np.floor((eighth * cells + ix - iy + 1.0 + shift) * 0.5)
        quarters[c] = (place - (shift + 1.0) * 0.5) / cells
        width[c] = np.sqrt(tilt * (2.0 - tilt) if cap else (1.0 - height) * (1.0 + height))
        z[c] = height
    for c in range(_PARTS):
        whole = np.floor(quarters[c] + 0.5)
        angle = (quarters[c] - whole) * (np.pi / 2.0)
        sine, cosine = _series(angle)
        odd = 0.5 * whole - np.floor(0.5 * whole) > 0.25
        back = 0.25 * whole - np.floor(0.25 * whole)  # 0, 1, 2 or 3 quarters
        east = -width[c] if (back > 0.125) & (back < 0.625) else width[c]
        north = -width[c] if back > 0.375 else width[c]
        x[c] = east * (sine if odd else cosine)
        y[c] = north * (cosine if odd else sine)
