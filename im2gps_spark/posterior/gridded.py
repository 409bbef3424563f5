"""Kernels of one width at the centres of all cells of an order: a kernel density estimate on the whole sphere.

A kernel is next to nothing beyond a few widths. The grid is cut into blocks of neighbouring cells, which nested
numbering gives for nothing, and in each block only the places within reach of it are summed: for kernels of 200 km
that is a hundredth of all pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np

from im2gps_spark.grid import cell_centres
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.sphere import Floats, concentration

# A block is the cells, three orders down, of one cell: 8 x 8, a few vector registers wide.
_BLOCK_ORDERS = 3

# Of a kernel's mass this part may lie beyond its reach, where kappa chord^2 / 2 is -ln of it: 5.3 widths.
_BEYOND = 1e-6
_REACH = float(-np.log(_BEYOND))

# exp(-t) is (the Taylor polynomial of degree 5 of exp(-t / 2^n))^(2^n), which the compiler turns into vector
# instructions: within a hundred-thousandth of itself up to the reach. Beyond, t is cut where exp(-t) is 1e-14.
_SQUARINGS = 6
_LEAST = 32.0


@dataclass(frozen=True)
class _Grid:
    """The cells of an order, by blocks.

    Attributes:
        centres: (blocks, 3, cells) unit vectors, coordinate by coordinate: sums over a block run through memory.
        middle: (blocks, 3) unit vectors; ``radius``: (blocks,) radians from there to the farthest of the centres.
    """

    centres: Floats
    middle: Floats
    radius: Floats


@lru_cache(maxsize=2)
def _grid(order: int) -> _Grid:
    """Kept, for its 24 bytes a cell are made once and used for every photo: 5 MB at order 7."""
    orders = min(order, _BLOCK_ORDERS)
    points = cell_centres(order, np.arange(12 * 4**order)).reshape(-1, 4**orders, 3)
    middle = cell_centres(order - orders, np.arange(len(points)))
    chord = np.linalg.norm(points - middle[:, None], axis=2).max(axis=1)
    return _Grid(np.ascontiguousarray(points.swapaxes(1, 2)), middle, 2.0 * np.arcsin(chord / 2.0))


def grid_density(places: Floats, weights: Floats, width_km: float, order: int) -> Floats:
    """sum_j weights_j vMF(centre of the cell; place_j, width), per steradian, at all cells of an order.

    Kernels end where a millionth of their mass is left; total variation from the exact sum stays under 1e-6.

    Args:
        places: (m, 3) unit vectors.
        weights: (m,) non-negative; they need not sum to 1.
        width_km: sigma of every kernel. Values are those at the centres: times the cells' area they are masses as
            long as the width is not under a cell's side (51 km at order 7).
        order: of the cells.

    Returns:
        (12 * 4^order,) float64, in nested order.
    """
    kappa = float(concentration(width_km))
    grid = _grid(order)
    # At the antipode t is 2 kappa: a wide kernel reaches everywhere.
    reach = 2.0 * np.arcsin(np.sqrt(min(_REACH / (2.0 * kappa), 1.0)))
    least = np.cos(np.minimum(reach + grid.radius, np.pi))
    scale = kappa / (2.0 * np.pi * -np.expm1(-2.0 * kappa))
    x, y, z = np.ascontiguousarray(places.reshape(-1, 3).T)
    votes = scale * np.asarray(weights, np.float64)
    return np.asarray(_fill(x, y, z, votes, grid.centres, grid.middle, least, kappa)).ravel()


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _fill(px, py, pz, votes, centres, middle, least, kappa):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.empty((len(centres), centres.shape[2]))
    cosine = np.empty(len(px))
    shrunk = 0.5 * kappa / 2.0**_SQUARINGS
    most = _LEAST / 2.0**_SQUARINGS
    for b in range(len(centres)):
        for c in range(centres.shape[2]):
            out[b, c] = 0.0
        x, y, z = middle[b, 0], middle[b, 1], middle[b, 2]
        for j in range(len(px)):
            cosine[j] = px[j] * x + py[j] * y + pz[j] * z
        for j in range(len(px)):
            if cosine[j] < least[b] - 1e-12:
                continue
            for c in range(centres.shape[2]):
                dx, dy, dz = px[j] - centres[b, 0, c], py[j] - centres[b, 1, c], pz[j] - centres[b, 2, c]
                t = min(shrunk * (dx * dx + dy * dy + dz * dz), most)
                value = 1.0 - t * (1.0 - t / 2.0 * (1.0 - t / 3.0 * (1.0 - t / 4.0 * (1.0 - t / 5.0))))
                for _ in range(_SQUARINGS):
                    value *= value
                out[b, c] += votes[j] * value
    return out
