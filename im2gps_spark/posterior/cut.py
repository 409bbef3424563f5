"""The sphere, cut into cells as fine as the windows on it vary."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from im2gps_spark.grid import MAX_ORDER, Ints
from im2gps_spark.posterior.background import BLOCK, BLOCK_ORDERS, Background
from im2gps_spark.posterior.curve import TOP_ORDER, cell_centre, pyramid_start, search
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.windows import Layer
from im2gps_spark.sphere import Floats


@dataclass(frozen=True)
class Cells:
    """Cells along the curve.

    Attributes:
        order, index: (n,) nested.
        prior, mass: (n,) of the prior and of the density.
        unseen: mass that following the prior within all of these cells misplaces: the windows slope in them, and the
            uniform part does not follow it.
        lost: the same, of windows that were not looked into, for they hold too little in a cell.
    """

    order: Ints
    index: Ints
    prior: Floats
    mass: Floats
    unseen: float
    lost: float


# Down to this order (102 km) the way from a cell's centre to its parts' is worked out; below, it is half of that above.
_CURVED = 6

# Windows are in float32; what is under this is nothing.
_NONE, _LEAST, _HALF = np.float32(0.0), np.float32(1e-30), np.float32(0.5)

# Cells that there is room for at first.
_ROOM = 1 << 14

WHOLE = (np.zeros(12, np.int64), np.arange(12))


def cut(
    layers: list[Layer],
    background: Background,
    prior_share: float,
    uniform_share: float,
    negligible: float,
    roots: tuple[Ints, Ints] = WHOLE,
) -> Cells:
    """Cells as fine as layers of windows vary.

    Args:
        layers: the widest first.
        prior_share, uniform_share: of the mass, beside the windows.
        negligible: the windows' mass that is not worth a cell of its own.
        roots: orders and indices of the cells to cut, along the curve.
    """
    prior, work = background.map, background.room_for(0)
    root_order, root_index = roots
    sizes = [len(layer.block) for layer in layers]
    return Cells(*_cells(
        np.array([layer.order for layer in layers], np.int64), np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        _joined([layer.block for layer in layers]), _joined([layer.row for layer in layers]),
        np.concatenate([np.zeros(0), *(layer.before for layer in layers)]), work.mass, work.ratio,
        background.pyramid, background.unevenness, background.first_of, prior.starts, prior.density, prior.cumulative,
        prior_share, uniform_share, negligible, root_order, root_index,
    ))  # fmt: skip


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])


@numba.njit(cache=ON_DISK, nogil=True)
def _prior_mass(order, index, pyramid, first_of, starts, density, cumulative):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    if order <= TOP_ORDER:
        return pyramid[pyramid_start(order) + index]
    begin = index << (2 * (MAX_ORDER - order))
    end = (index + 1) << (2 * (MAX_ORDER - order))
    first = first_of[index >> (2 * (order - TOP_ORDER))]
    while first + 1 < len(starts) and starts[first + 1] <= begin:
        first += 1
    last = first
    while last + 1 < len(starts) and starts[last + 1] < end:
        last += 1
    if first == last:
        return density[first] * np.pi / 3.0 / 4.0**order
    return cumulative[last + 1] - cumulative[first]


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy", inline="always")
def _uneven(into, ratio, row, begin, count, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    total, within, wrong = _NONE, _LEAST, _NONE
    for c in range(count):
        prior[c] = into[row, begin + c] / (ratio[row, 0, begin + c] + _LEAST)
    for c in range(count):
        total += into[row, begin + c]
        within += prior[c]
    even = total / within
    # As much is above as below.
    for c in range(count):
        wrong += abs(into[row, begin + c] - even * prior[c])
    return _HALF * wrong


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy")
def _flattened(into, ratio, row, begin, below, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """What following the prior over the cells of a block so many orders below one would misplace of a layer's mass."""
    # Loops of known length are vector instructions.
    if below == BLOCK_ORDERS:
        return _uneven(into, ratio, row, begin, BLOCK, prior)
    if below == BLOCK_ORDERS - 1:
        return _uneven(into, ratio, row, begin, BLOCK // 4, prior)
    return _uneven(into, ratio, row, begin, BLOCK // 16, prior)


@numba.njit(cache=ON_DISK, nogil=True)
def _set_ways(order, index, way):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """From a cell's centre to those of its parts it is plus or minus the first three, plus or minus the last three."""
    way[:] = 0.0
    for child in range(4):
        centre = cell_centre(order + 1, 4 * index + child)
        for axis in range(3):
            way[axis] += 0.25 * (centre[axis] if child & 1 else -centre[axis])
            way[3 + axis] += 0.25 * (centre[axis] if child & 2 else -centre[axis])


@numba.njit(cache=ON_DISK, nogil=True)
def _cells(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    orders,
    first,
    block,
    row,
    before,
    into,
    ratio,
    pyramid,
    unevenness,
    first_of,
    starts,
    density,
    cumulative,
    c_prior,
    c_uniform,
    negligible,
    root_order,
    root_index,
):
    layers = len(orders)
    out, made = np.empty((_ROOM, 2), np.int64), 0
    masses = np.empty((_ROOM, 2))

    # The cells to look at: each with the ratio at its centre and its gradient, of the layers that are no finer; the
    # two ways, along the sides, from its centre to its parts'; and the blocks of each layer within it.
    depth = 4 * (MAX_ORDER + 1) + len(root_order)
    at_order, at_index = np.empty(depth, np.int64), np.empty(depth, np.int64)
    at, ways = np.empty((depth, 4)), np.zeros((depth, 6))
    low, high = np.empty((depth, layers), np.int64), np.empty((depth, layers), np.int64)
    count = 0
    for root in range(len(root_order) - 1, -1, -1):
        at_order[count], at_index[count] = root_order[root], root_index[root]
        at[count] = 0.0
        for s in range(layers):
            blocks = 2 * (orders[s] - BLOCK_ORDERS - root_order[root])
            begin, end = root_index[root], root_index[root] + 1
            begin, end = (begin << blocks, end << blocks) if blocks >= 0 else (begin >> -blocks, (begin >> -blocks) + 1)
            low[count, s] = search(block, first[s], first[s + 1], begin)
            high[count, s] = search(block, first[s], first[s + 1], end)
        count += 1
    lows, highs, way = np.empty(layers, np.int64), np.empty(layers, np.int64), np.zeros(6)
    within_block = np.empty(BLOCK, np.float32)
    unseen, lost = 0.0, 0.0
    area = 1.0 / 12.0 / 4.0 ** np.arange(MAX_ORDER + 1)

    while count > 0:
        count -= 1
        order, index = at_order[count], at_index[count]
        value, gx, gy, gz = at[count, 0], at[count, 1], at[count, 2], at[count, 3]
        unresolved, split = 0.0, False
        for s in range(layers):
            lows[s], highs[s] = low[count, s], high[count, s]
            if lows[s] == highs[s] or orders[s] < order:
                continue
            below = orders[s] - order
            if below >= BLOCK_ORDERS:
                mass = before[highs[s] + s] - before[lows[s] + s]
            else:
                cells = 1 << (2 * below)
                begin = (index << (2 * below)) & (4**BLOCK_ORDERS - 1)
                mass = 0.0
                for c in range(begin, begin + cells):
                    mass += into[row[lows[s]], c]
            if mass > negligible:
                split = True
            if below > 0:
                unresolved += mass
            else:
                c = index & (4**BLOCK_ORDERS - 1)
                value += ratio[row[lows[s]], 0, c]
                gx += ratio[row[lows[s]], 1, c]
                gy += ratio[row[lows[s]], 2, c]
                gz += ratio[row[lows[s]], 3, c]
        if not split:
            within = _prior_mass(order, index, pyramid, first_of, starts, density, cumulative)
            if made == len(out):
                wider, higher = np.empty((2 * made, 2), np.int64), np.empty((2 * made, 2))
                wider[:made], higher[:made] = out, masses
                out, masses = wider, higher
            out[made, 0], out[made, 1] = order, index
            masses[made, 0] = within
            masses[made, 1] = within * (value + c_prior) + c_uniform * area[order] + unresolved
            made += 1
            if order <= TOP_ORDER:
                unseen += c_uniform * area[order] * unevenness[pyramid_start(order) + index]
            for s in range(layers):
                below = orders[s] - order
                if lows[s] == highs[s] or below <= 0:
                    continue
                if below > BLOCK_ORDERS:
                    lost += before[highs[s] + s] - before[lows[s] + s]
                else:
                    begin = (index << (2 * below)) & (4**BLOCK_ORDERS - 1)
                    lost += _flattened(into, ratio, row[lows[s]], begin, below, within_block)
            if value > 0.0:
                # Along a slope of the ratio, an eighth of its change from side to side is above the mean.
                change = np.sqrt((gx * gx + gy * gy + gz * gz) * 4.0 * np.pi * area[order]) / value
                unseen += within * value * min(change / 8.0, 0.5)
            continue
        along, across = 1.0, 1.0
        for axis in range(6):
            way[axis] = ways[count, axis]
        if value > 0.0:
            # Where nothing was known above, no way was asked for.
            if order < _CURVED or (way[0] == 0.0 and way[1] == 0.0 and way[2] == 0.0):
                _set_ways(order, index, way)
            # By the slope of the logarithm: exact for one far kernel, and never negative.
            along = np.exp(min(max((gx * way[0] + gy * way[1] + gz * way[2]) / value, -1.5), 1.5))
            across = np.exp(min(max((gx * way[3] + gy * way[4] + gz * way[5]) / value, -1.5), 1.5))
        for child in range(3, -1, -1):
            at_order[count], at_index[count] = order + 1, 4 * index + child
            rise = (along if child & 1 else 1.0 / along) * (across if child & 2 else 1.0 / across)
            at[count, 0], at[count, 1] = value * rise, gx * rise
            at[count, 2], at[count, 3] = gy * rise, gz * rise
            for axis in range(6):
                ways[count, axis] = 0.5 * way[axis]
            for s in range(layers):
                blocks = 2 * (orders[s] - BLOCK_ORDERS - order - 1)
                low[count, s], high[count, s] = lows[s], highs[s]
                if blocks >= 0 and lows[s] < highs[s]:
                    # From the last child to the first: where one begins, the one before it ends. Step by step, for
                    # all steps of all cells are fewer than the guesses that halving the way would get wrong.
                    after = highs[s] if child == 3 else low[count - 1, s]
                    begin, edge = after, (4 * index + child) << blocks
                    while begin > lows[s] and block[begin - 1] >= edge:
                        begin -= 1
                    low[count, s], high[count, s] = begin, after
            count += 1
    return out[:made, 0].copy(), out[:made, 1].copy(), masses[:made, 0].copy(), masses[:made, 1].copy(), unseen, lost
