"""Windows: the prior seen through a kernel about a place, spread over blocks of cells.

A neighbour at y_j says "near here"; where photos are taken near there is the prior's to say. So it spreads its vote as

    window_s(y; y_j) = q(y) K_s(y, y_j) / Z_s(y_j),    Z_s(y_j) = integral q K_s(., y_j)

with K_s the von Mises-Fisher kernel of width s and q the prior. A window has mass 1, and relative to the prior it is as
smooth as its kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from im2gps_spark.grid import MAX_ORDER, Ints
from im2gps_spark.posterior.background import BLOCK, BLOCK_ORDERS, Background, grid_order
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.sphere import Floats, concentration

# exp(-t) as (1 - u + u^2 / 2 - u^3 / 6)^32, u = t / 32, for the compiler turns that into vector instructions: within
# 0.04 % at t = 4, where a kernel is 2 % of its peak. Beyond u = 1.2 it is as good as nothing.
_SQUARINGS = 5
_MOST = np.float32(1.2)

# Blocks are in float32: sums over them are as fast as memory, and half of it is enough. A centre is off by 0.4 m at
# most, and differences of coordinates, not products, are taken of it.
_ONE, _NONE, _HALF, _SIXTH = np.float32(1.0), np.float32(0.0), np.float32(0.5), np.float32(1.0 / 6.0)


@dataclass(frozen=True)
class Layer:
    """The ratio to the prior, of the windows of one width, on the cells of blocks about their places.

    Attributes:
        order: of the cells.
        block: (n,) increasing.
        row: (n,) where a block lies in the background's working memory, see ``Background.room_for``.
        before: (n + 1,) votes' mass in the blocks before each one, and the whole at the end.
    """

    order: int
    block: Ints
    row: Ints
    before: Floats


def pooled_votes(curve: Ints, places: Floats, votes: Floats, order: int) -> tuple[Ints, Floats, Floats]:
    """Votes pooled by cell: cells (n,), unit vectors of their barycentres (n, 3), sums of votes (n,).

    Args:
        curve: (k,) positions of the places on the nested curve, increasing.
        places: (k, 3) unit vectors in that order.
        votes: (k,) of one width; those of 0 are left out.
        order: of the cells.
    """
    return _pooled(curve >> (2 * (MAX_ORDER - order)), places, votes)  # type: ignore[no-any-return]


@numba.njit(cache=ON_DISK, nogil=True)
def _pooled(cell, places, votes):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    cells, total, middle, n = np.empty(len(cell), np.int64), np.zeros(len(cell)), np.zeros((len(cell), 3)), 0
    for j in range(len(cell)):
        if votes[j] <= 0.0:
            continue
        if n == 0 or cells[n - 1] != cell[j]:
            cells[n] = cell[j]
            n += 1
        total[n - 1] += votes[j]
        for axis in range(3):
            middle[n - 1, axis] += votes[j] * places[j, axis]
    for i in range(n):
        length = np.sqrt(middle[i, 0] ** 2 + middle[i, 1] ** 2 + middle[i, 2] ** 2)
        for axis in range(3):
            middle[i, axis] /= length
    return cells[:n], middle[:n], total[:n]


def spread(
    background: Background, curve: Ints, places: Floats, votes: Floats, widths_km: Floats, first: int = 0
) -> list[Layer]:
    """Windows of several widths, summed by width: a layer each, the widest first; widths without a vote have none.

    Args:
        curve: (k,) positions of the places on the nested curve, increasing.
        places: (k, 3) unit vectors in that order.
        votes: (k, widths).
        widths_km: (widths,).
        first: rows of the working memory that are in use.
    """
    layers = []
    for i in np.argsort(-widths_km, kind="stable"):
        order = grid_order(float(widths_km[i]))
        # Half a width across, a cell's votes are as good as one at their barycentre.
        cell, middle, mass = pooled_votes(curve, places, votes[:, i], order)
        if not len(cell):
            continue
        level = background.level(float(widths_km[i]))
        slots = level.ensure(cell >> (2 * BLOCK_ORDERS))
        work = background.room_for(first + min(level.count, len(cell) * level.around.shape[1]))
        kappa = float(concentration(widths_km[i]))
        touched, held = _spread(
            middle, mass, slots, level.around, level.centres, level.mass, level.count, kappa, first, *work
        )
        block = level.block[touched]
        rank = np.argsort(block)
        layers.append(Layer(order, block[rank], first + rank, np.concatenate([[0.0], np.cumsum(held[rank])])))
        first += len(block)
    return layers


def window_masses(background: Background, places: Floats, curve: Ints, width_km: float) -> Floats:
    """(k,) integrals of prior times kernel about places (k, 3): the Z of their windows; kernels of peak 1."""
    level = background.level(width_km)
    slots = level.ensure(curve >> (2 * (MAX_ORDER - level.order + BLOCK_ORDERS)))
    return np.asarray(_masses(places, slots, level.around, level.centres, level.mass, float(concentration(width_km))))


# A block whose kernels sum to less than this part of their peak is not worth it. (Of a sum the compiler makes vector
# instructions, of a maximum it does not.)
_NOTHING = np.float32(1e-5)


# Views cost as much as the sums below: the loops index the arrays themselves.
@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy", inline="always")
def _kernel(x, y, z, slot, centres, mass, kappa, row, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Kernels of peak 1 about a place at the cells of a block; the prior's mass under them, and their sum."""
    scale = np.float32(0.5 * kappa / 2.0**_SQUARINGS)
    for c in range(BLOCK):
        dx, dy, dz = x - centres[slot, 0, c], y - centres[slot, 1, c], z - centres[slot, 2, c]
        u = scale * (dx * dx + dy * dy + dz * dz)
        u = u if u < _MOST else _MOST
        value = _ONE - u * (_ONE - u * (_HALF - u * _SIXTH))
        # Squared five times (_SQUARINGS).
        value *= value
        value *= value
        value *= value
        value *= value
        value *= value
        out[row, c] = value
    under, total = _NONE, _NONE
    for c in range(BLOCK):
        under += mass[slot, c] * out[row, c]
        total += out[row, c]
    return under, total


# Apart from the loop that calls it, so that the compiler sees that what is read and what is written don't overlap.
@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy")
def _add(ratio, here, kernel, row, scale, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for c in range(BLOCK):
        ratio[here, 0, c] += scale * kernel[row, c]
    for c in range(BLOCK):
        ratio[here, 1, c] += x * kernel[row, c]
    for c in range(BLOCK):
        ratio[here, 2, c] += y * kernel[row, c]
    for c in range(BLOCK):
        ratio[here, 3, c] += z * kernel[row, c]


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy")
def _masses(places, slots, around, centres, mass, kappa):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.zeros(len(places))
    kernel = np.empty((1, BLOCK), np.float32)
    for j in range(len(places)):
        x, y, z = np.float32(places[j, 0]), np.float32(places[j, 1]), np.float32(places[j, 2])
        for k in range(around.shape[1]):
            slot = around[slots[j], k]
            if slot >= 0:
                out[j] += _kernel(x, y, z, slot, centres, mass, kappa, 0, kernel)[0]
    return out


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy")
def _spread(places, votes, slots, around, centres, mass, made, kappa, first, into, ratio):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Adds windows to the rows of ``into`` and ``ratio`` from ``first`` on; returns slots and mass, row by row."""
    local = np.full(made, -1, np.int32)
    touched = np.empty(min(made, len(places) * around.shape[1]), np.int64)
    kernel = np.empty((around.shape[1], BLOCK), np.float32)
    near = np.empty(around.shape[1], np.bool_)
    count = 0
    for j in range(len(places)):
        x, y, z = np.float32(places[j, 0]), np.float32(places[j, 1]), np.float32(places[j, 2])
        total = 0.0
        for k in range(around.shape[1]):
            near[k] = False
            slot = around[slots[j], k]
            if slot >= 0:
                part, all_of_it = _kernel(x, y, z, slot, centres, mass, kappa, k, kernel)
                total += part
                near[k] = all_of_it > _NOTHING
        scale = np.float32(votes[j] / total)
        for k in range(around.shape[1]):
            if not near[k]:
                continue
            slot = around[slots[j], k]
            if local[slot] < 0:
                local[slot] = first + count
                touched[count] = slot
                count += 1
                ratio[local[slot]] = _NONE
            here = local[slot]
            _add(ratio, here, kernel, k, scale, scale * x, scale * y, scale * z)
    steep = np.float32(kappa)
    held = np.zeros(count)
    for n in range(count):
        here, slot = first + n, touched[n]
        for c in range(BLOCK):
            into[here, c] = ratio[here, 0, c] * mass[slot, c]
        for axis in range(3):
            for c in range(BLOCK):
                ratio[here, 1 + axis, c] = steep * (
                    ratio[here, 1 + axis, c] - ratio[here, 0, c] * centres[slot, axis, c]
                )
        for c in range(BLOCK):
            held[n] += into[here, c]
    return touched[:count], held
