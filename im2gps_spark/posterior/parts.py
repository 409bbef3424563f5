"""The 80 % region of a law, in the parts that a person would name."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from im2gps_spark.grid import MAX_ORDER, area_km2
from im2gps_spark.posterior.curve import TOP_ORDER, cell_centre, part_centres, pyramid_start, search
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.points import angle, beside
from im2gps_spark.posterior.ranked import AREA, BRIDGE_ORDER
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

LEVEL = 0.8

_OF_MASS = 0.9
# Radii are told apart to a hundredth, from 100 m up.
_BINS_AN_OCTAVE, _NEAREST_KM = 70.0, 0.1
# Of so many values in a row those above another are counted.
_AT_ONCE = 256
# Where a part has many cells, and where it has very many, distances in it are measured between cells of TOP_ORDER
# (25 km), and of the one before (51 km). Of those a bridge cell has sixteen and four.
_MANY, _VERY_MANY, _PARTS = 500, 3000, 20
# Where it has many bridge cells, only those are looked into in which the distance may be that is sought.
_MANY_BRIDGES = 32
# Distances are told apart in so many steps, three times: to a part in a million of the farthest.
_STEPS = 256


@dataclass(frozen=True)
class Part:
    """A connected part of a highest-density region.

    Attributes:
        peak: (3,) unit vector, centre of its densest cell.
        mass: of the whole law.
        area_km2: of the part.
        radius_km: distance from the peak within which nine tenths of the part's mass lie.
    """

    peak: Floats
    mass: float
    area_km2: float
    radius_km: float


def connected_parts(law: Law, level: float = LEVEL, most: int = 10) -> list[Part]:
    """The parts of the ``level`` highest-density region, heaviest first, ``most`` of them.

    Parts, not basins of modes: a part is where the photo may be on the ground, its bounds are the region's own, and
    no second width decides when two peaks are one. What lies in cells of ``BRIDGE_ORDER`` (102 km) that touch is one
    part, for a prior's towns are islands otherwise: only gaps under about 100 km are bridged.
    """
    found = _parts(law.map, law.prior, law.threshold(level), beside(BRIDGE_ORDER), most)
    return [
        Part(peak, float(mass), float(area_km2(area)), float(radius))
        for peak, mass, area, radius in zip(*found, strict=True)
    ]


@numba.njit(cache=ON_DISK, nogil=True)
def _root(parent, i):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _above(log_rank, begin, end, least):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """How many of the values from one up to another, which fall, are not below the least."""
    low, high = begin, end
    while high - low > _AT_ONCE:
        middle = (low + high) // 2
        if log_rank[middle] >= least:
            low = middle + 1
        else:
            high = middle
    # To count is quicker than to halve on, which guesses wrong each other time.
    count = 0
    values = log_rank[low:high]
    for value in values:
        count += 1 if value >= least else 0
    return low - begin + count


# Columns of what is known of a bridge cell, side by side in memory.
_HELD, _AREA, _DENSEST, _COUNT = 0, 1, 2, 3


@numba.njit(cache=ON_DISK, nogil=True)
def _inside(relative, prior, threshold, room):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The bridge cells that a region touches, along the curve, and what of it each holds.

    Returns:
        bridge (n,); known (n, 4): mass, area (steradians), greatest log density, and how many of the law's cells, each
        in the first bridge cell that it is in.
    """
    shift = 2 * (MAX_ORDER - BRIDGE_ORDER)
    bridge, known = np.empty(room, np.int64), np.empty((room, 4))
    pyramid = pyramid_start(BRIDGE_ORDER)
    n = 0
    for i in range(len(relative.start)):
        order, start, rise, ratio = relative.order[i], relative.start[i], relative.log_ratio[i], relative.ratio[i]
        least = threshold - rise
        cell = start >> shift
        if order > BRIDGE_ORDER:
            for j in range(relative.begin[i], relative.end[i]):
                if prior.log_density[j] < least:
                    continue
                if n == 0 or bridge[n - 1] != cell:
                    bridge[n], known[n, _HELD], known[n, _AREA], known[n, _COUNT] = cell, 0.0, 0.0, 0.0
                    known[n, _DENSEST] = -np.inf
                    n += 1
                area = AREA[max(np.int64(prior.order[j]), order)]
                known[n - 1, _HELD] += ratio * prior.density[j] * area
                known[n - 1, _AREA] += area
                known[n - 1, _DENSEST] = max(known[n - 1, _DENSEST], prior.log_density[j] + rise)
                known[n - 1, _COUNT] += 1.0
            continue
        if prior.densest[pyramid_start(order) + (start >> (2 * (MAX_ORDER - order)))] < least:
            continue
        end = cell + (1 << (2 * (BRIDGE_ORDER - order)))
        while cell < end:
            densest = prior.densest[pyramid + cell]
            if densest < least:
                cell += 1
                continue
            begin = np.int64(prior.bridge[cell])
            if prior.order[begin] <= BRIDGE_ORDER:
                # A cell of the law that is one or more bridge cells.
                after = cell + (1 << (2 * (BRIDGE_ORDER - max(np.int64(prior.order[begin]), order))))
                mass, count = ratio * prior.density[begin] * AREA[BRIDGE_ORDER], 1.0
                while cell < after:
                    bridge[n], known[n, _HELD], known[n, _AREA] = cell, mass, AREA[BRIDGE_ORDER]
                    known[n, _DENSEST], known[n, _COUNT] = densest + rise, count
                    cell, n, count = cell + 1, n + 1, 0.0
                continue
            above = _above(prior.log_rank, begin, np.int64(prior.bridge[cell + 1]), least)
            last = begin + above - 1
            bridge[n] = cell
            known[n, _HELD], known[n, _AREA] = ratio * prior.running[last, 0], prior.running[last, 1]
            known[n, _DENSEST], known[n, _COUNT] = densest + rise, above
            cell, n = cell + 1, n + 1
    return bridge[:n], known[:n]


@numba.njit(cache=ON_DISK, nogil=True)
def _joined(bridge, near):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """(n,) of each bridge cell the first one, along the curve, of those that it hangs together with."""
    slot = np.full(len(near), -1, np.int32)
    for n in range(len(bridge)):
        slot[bridge[n]] = n
    parent = np.arange(len(bridge))
    for n in range(len(bridge)):
        for k in range(1, near.shape[1]):
            cell = near[bridge[n], k]
            if cell > bridge[n] and slot[cell] >= 0:
                a, b = _root(parent, n), _root(parent, np.int64(slot[cell]))
                parent[max(a, b)] = min(a, b)
    for n in range(len(bridge)):
        parent[n] = _root(parent, n)
    return parent


@numba.njit(cache=ON_DISK, nogil=True)
def _cell(relative, prior, j, i):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Order and index of the law's cell that is common to one of the prior's and one of the map's."""
    order = max(np.int64(prior.order[j]), relative.order[i])
    return order, max(prior.start[j], relative.start[i]) >> (2 * (MAX_ORDER - order))


@numba.njit(cache=ON_DISK, nogil=True)
def _reach(order, index, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Angle from a point to a cell's centre, and the cell's radius: without it a part of one cell would have none."""
    cx, cy, cz = cell_centre(order, index)
    return angle((cx - x) ** 2 + (cy - y) ** 2 + (cz - z) ** 2) + np.sqrt(AREA[order] / np.pi)


@numba.njit(cache=ON_DISK, nogil=True)
def _map_cell(relative, cell):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Position of the map's cell that holds the first point of a bridge cell."""
    return search(relative.start, 0, len(relative.start), (cell << (2 * (MAX_ORDER - BRIDGE_ORDER))) + 1) - 1


@numba.njit(cache=ON_DISK, nogil=True)
def _densest(relative, prior, cell):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Order and index of the law's densest cell in a bridge cell."""
    i = _map_cell(relative, cell)
    first = np.int64(prior.bridge[cell])
    if relative.order[i] <= BRIDGE_ORDER:
        return _cell(relative, prior, first if prior.order[first] <= BRIDGE_ORDER else prior.which[first], i)
    best, order, index = -np.inf, np.int64(0), np.int64(0)
    while i < len(relative.start) and relative.start[i] >> (2 * (MAX_ORDER - BRIDGE_ORDER)) == cell:
        for j in range(relative.begin[i], relative.end[i]):
            if prior.log_density[j] + relative.log_ratio[i] > best:
                best = prior.log_density[j] + relative.log_ratio[i]
                order, index = _cell(relative, prior, j, i)
        i += 1
    return order, index


@numba.njit(cache=ON_DISK, nogil=True)
def _distances(relative, prior, threshold, bridge, known, finest, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Angles from a point to what is in some of the bridge cells that ``_inside`` found, and the masses there."""
    shift = 2 * (MAX_ORDER - BRIDGE_ORDER)
    many = finest <= TOP_ORDER
    room = 0
    for n in range(len(bridge)):
        room += _PARTS if many else max(int(known[n, _COUNT]), 1)
    far, mass, inner, n_far = np.empty(room), np.empty(room), np.zeros(_PARTS), 0
    px, py, pz, parent, own = np.empty(64), np.empty(64), np.empty(64), -1, np.sqrt(AREA[TOP_ORDER] / np.pi)
    for n in range(len(bridge)):
        cell, count, i = bridge[n], int(known[n, _COUNT]), _map_cell(relative, bridge[n])
        begin = np.int64(prior.bridge[cell])
        if prior.order[begin] <= BRIDGE_ORDER and relative.order[i] <= BRIDGE_ORDER:
            if count > 0:
                order, index = _cell(relative, prior, begin, i)
                far[n_far], mass[n_far] = (
                    _reach(order, index, x, y, z),
                    known[n, _HELD] * AREA[order] / AREA[BRIDGE_ORDER],
                )
                n_far += 1
            continue
        inner[:] = 0.0
        if relative.order[i] <= BRIDGE_ORDER:
            for k in range(begin, begin + count):
                here = relative.ratio[i] * prior.mass_rank[k]
                if many:
                    inner[prior.part_rank[k]] += here
                else:
                    order, index = _cell(relative, prior, prior.which[k], i)
                    far[n_far], mass[n_far] = _reach(order, index, x, y, z), here
                    n_far += 1
        else:
            while i < len(relative.start) and relative.start[i] >> shift == cell:
                for j in range(relative.begin[i], relative.end[i]):
                    if prior.log_density[j] >= threshold - relative.log_ratio[i]:
                        order, index = _cell(relative, prior, j, i)
                        here = relative.ratio[i] * prior.density[j] * AREA[order]
                        if not many:
                            far[n_far], mass[n_far] = _reach(order, index, x, y, z), here
                            n_far += 1
                        elif order < TOP_ORDER:
                            inner[16 + (index & 3)] += here
                        else:
                            inner[(index >> (2 * (order - TOP_ORDER))) & 15] += here
                i += 1
        if not many:
            continue
        if finest < TOP_ORDER:
            for c in range(16):
                inner[16 + c // 4] += inner[c]
                inner[c] = 0.0
        elif cell >> 2 != parent:
            # The centres of four bridge cells' parts at once, which are the next ones', too.
            parent = cell >> 2
            part_centres(BRIDGE_ORDER - 1, parent, px, py, pz)
        first = 16 * (cell & 3)
        for c in range(16):
            if inner[c] > 0.0:
                dx, dy, dz = px[first + c] - x, py[first + c] - y, pz[first + c] - z
                far[n_far], mass[n_far] = angle(dx * dx + dy * dy + dz * dz) + own, inner[c]
                n_far += 1
        for c in range(16, _PARTS):
            if inner[c] > 0.0:
                far[n_far], mass[n_far] = _reach(BRIDGE_ORDER + 1, 4 * cell + c - 16, x, y, z), inner[c]
                n_far += 1
    return far[:n_far], mass[:n_far]


@numba.njit(cache=ON_DISK, nogil=True)
def _least(values, weights, needed):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The least value up to which there is so much of the weights: in steps, and these in steps, and so again."""
    low, high = 0.0, values.max() * (1.0 + 1e-9)
    sums = np.empty(_STEPS)
    for _ in range(3):
        step = (high - low) / _STEPS
        sums[:] = 0.0
        for i in range(len(values)):
            at = (values[i] - low) / step
            if 0.0 <= at < _STEPS:
                sums[int(at)] += weights[i]
        at = 0
        while at < _STEPS - 1 and sums[at] < needed:
            needed -= sums[at]
            at += 1
        low, high = low + at * step, low + (at + 1) * step
    return (low + high) / 2.0


@numba.njit(cache=ON_DISK, nogil=True)
def _radius(relative, prior, threshold, bridge, known, finest, x, y, z):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Angle from a point within which ``_OF_MASS`` of the bridge cells' mass lies."""
    needed = _OF_MASS * known[:, _HELD].sum()
    if len(bridge) > _MANY_BRIDGES and finest <= TOP_ORDER:
        # As the bridge cells have it. What lies in one is no farther from that than this; what is as large as one is
        # looked at in any case.
        off = 1.1 * np.sqrt(AREA[BRIDGE_ORDER]) + np.sqrt(AREA[BRIDGE_ORDER + 1] / np.pi)
        away = np.empty(len(bridge))
        for n in range(len(bridge)):
            cx, cy, cz = cell_centre(BRIDGE_ORDER, bridge[n])
            away[n] = angle((cx - x) ** 2 + (cy - y) ** 2 + (cz - z) ** 2)
        about = _least(away, known[:, _HELD], needed)
        looked = np.empty(len(bridge), np.bool_)
        for n in range(len(bridge)):
            large = prior.order[prior.bridge[bridge[n]]] <= BRIDGE_ORDER
            looked[n] = large or abs(away[n] - about) <= 2.0 * off
            if not looked[n] and away[n] < about:
                needed -= known[n, _HELD]
        bridge, known = bridge[looked], known[looked]
    far, mass = _distances(relative, prior, threshold, bridge, known, finest, x, y, z)
    return _least(far, mass, needed)


@numba.njit(cache=ON_DISK, nogil=True)
def _parts(relative, prior, threshold, near, most):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    bridge, known = _inside(relative, prior, threshold, len(near))
    parent = _joined(bridge, near)
    whole, best = known.copy(), np.arange(len(bridge))
    for n in range(len(bridge)):
        root = parent[n]
        if root != n:
            whole[root, _HELD] += known[n, _HELD]
            whole[root, _AREA] += known[n, _AREA]
            whole[root, _COUNT] += known[n, _COUNT]
            if known[n, _DENSEST] > known[best[root], _DENSEST]:
                best[root] = n
    roots = np.flatnonzero(parent == np.arange(len(parent)))
    roots = roots[np.argsort(-whole[roots, _HELD], kind="mergesort")][:most]
    peaks, radius = np.empty((len(roots), 3)), np.empty(len(roots))
    for part in range(len(roots)):
        root = roots[part]
        order, index = _densest(relative, prior, bridge[best[root]])
        x, y, z = cell_centre(order, index)
        peaks[part, 0], peaks[part, 1], peaks[part, 2] = x, y, z
        finest = MAX_ORDER
        if whole[root, _COUNT] > _MANY:
            finest = TOP_ORDER if whole[root, _COUNT] <= _VERY_MANY else TOP_ORDER - 1
        mine = parent == root
        there = _radius(relative, prior, threshold, bridge[mine], known[mine], finest, x, y, z)
        octave = np.log2(max(EARTH_RADIUS_KM * there / _NEAREST_KM, 1.0))
        radius[part] = _NEAREST_KM * 2.0 ** ((np.floor(octave * _BINS_AN_OCTAVE) + 0.5) / _BINS_AN_OCTAVE)
    return peaks, whole[roots, _HELD], whole[roots, _AREA], radius
