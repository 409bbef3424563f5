"""Centres of HEALPix cells, compiled: one at a time, for loops that find out as they go which cells they need.

Gorski et al., "HEALPix" (ApJ 622, 2005), section 4 and equations 4-9, nested numbering.
"""

from __future__ import annotations

import numba
import numpy as np

from im2gps_spark.posterior.kernels import ON_DISK

# Ring, in quarters of the sphere, and longitude, in eighths, of the corner of each base cell nearest the south.
_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4], np.int64)
_EIGHTH = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7], np.int64)


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
    return 4 * (4**order - 1)


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
    angle = (place - (shift + 1) * 0.5) * (np.pi / 2.0) / cells
    return width * np.cos(angle), width * np.sin(angle), height
