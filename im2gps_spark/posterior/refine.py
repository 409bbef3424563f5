"""A density to a multi-order map: cells are split where following the prior would be wrong, and nowhere else."""

from __future__ import annotations

import heapq
from dataclasses import replace
from itertools import pairwise

import numba
import numpy as np

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, first_point, run_starts, to_nuniq
from im2gps_spark.posterior.background import grid_order
from im2gps_spark.posterior.curve import search
from im2gps_spark.posterior.cut import WHOLE, Cells, cut
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.windows import Layer, spread
from im2gps_spark.sphere import Floats

# A cell in which the windows of a width hold less than this part of the tolerance is not looked into, unless all such
# cells together lose more than what is left, and more than this part: a thousand places, each alone, are light one by
# one.
NEGLIGIBLE, _LOST = 3e-3, 0.1
# Part of the tolerance that votes too light to tell apart may cost, all together and those about one place; and the
# least that is left for whole cells.
_LIGHT, _LIGHTEST, LEAST = 0.4, 0.02, 0.2
# How much of it, and of what is lost, shows beside the merging: a light vote is not off by all of its mass, and errors
# of unlike kinds partly cancel. With this, maps are off by 0.8 of the tolerance (benchmarks/bench_posterior.py).
_LIGHT_SHOWS, _LOST_SHOWS = 0.1, 0.4


def refine(density: Density, tolerance: float) -> MultiOrderMap:
    """The density's map, within each cell proportional to its prior (the contract of ``posteriors.map``).

    The sphere is first cut as finely as the windows vary; then, from the whole down, the cell that would misplace most
    is split until what all would misplace is under the tolerance.

    Args:
        density: the law to map.
        tolerance: total variation between the law and its map at which splitting stops.

    Returns:
        a map of mass 1.
    """
    curve, places, votes = _pooled(density)
    votes, moved = _told_apart(curve, votes, density.widths_km, tolerance)
    layers = spread(density.background, curve, places, votes, density.widths_km)
    cells = _cut(layers, density, tolerance)
    whole = cells.mass.sum()
    spent = (cells.unseen + _LOST_SHOWS * cells.lost) / whole + _LIGHT_SHOWS * moved
    order, index, mass = merge(replace(cells, mass=cells.mass / whole), max(tolerance - spent, LEAST * tolerance))
    return MultiOrderMap(to_nuniq(order, index), mass / mass.sum())


def _pooled(density: Density) -> tuple[Ints, Floats, Floats]:
    """Distinct places along the curve, and the votes of each: a place named twice is one of twice the weight."""
    rank = np.argsort(density.curve, kind="stable")
    curve = density.curve[rank]
    first = run_starts(curve)
    votes = np.add.reduceat(density.votes[rank], first) if len(first) else density.votes
    return curve[first], density.places[rank[first]], votes


def _cut(layers: list[Layer], density: Density, tolerance: float) -> Cells:
    """The sphere, cut as finely as the windows vary."""
    negligible = NEGLIGIBLE * tolerance
    while True:
        cells = cut(layers, density.background, density.prior_share, density.uniform_share, negligible)
        if cells.lost <= max(_LOST * tolerance, (1.0 - LEAST) * tolerance - cells.unseen):
            return cells
        negligible /= 4.0


def _told_apart(curve: Ints, votes: Floats, widths_km: Floats, tolerance: float) -> tuple[Floats, float]:
    """Votes without those of each narrow width that are light and alone, which the next wider one takes; their mass."""
    left, moved = votes.copy(), 0.0
    ladder = np.argsort(widths_km, kind="stable")
    budget = _LIGHT * tolerance / max(len(ladder) - 1, 1)
    for narrow, wider in pairwise(ladder):
        cell = curve >> (2 * (MAX_ORDER - grid_order(float(widths_km[wider]))))
        first = run_starts(cell)
        together = np.add.reduceat(left[:, narrow], first) if len(first) else np.zeros(0)
        rank = np.argsort(together, kind="stable")
        light = np.zeros(len(together), np.bool_)
        light[rank] = (np.cumsum(together[rank]) <= budget) & (together[rank] < _LIGHTEST * tolerance)
        moves = np.repeat(light, np.diff(first, append=len(cell)))
        moved += float(together[light].sum())
        left[moves, wider] += left[moves, narrow]
        left[moves, narrow] = 0.0
    return left, moved


def merge(cells: Cells, target: float, roots: tuple[Ints, Ints] = WHOLE) -> tuple[Ints, Ints, Floats]:
    """Few cells, by splitting the worst first, that misplace no more than a target: orders, indices, masses.

    Along the curve; ``roots`` as in ``cut``.
    """
    order, index, mass = _greedy(
        first_point(cells.order, cells.index), cells.prior, cells.mass, target, roots[0], roots[1]
    )
    rank = np.argsort(first_point(order, index))
    return order[rank], index[rank], mass[rank]


@numba.njit(cache=ON_DISK, nogil=True)
def _misplaced(prior, mass, begin, end):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """What following the prior over a run of cells would misplace, and the mass there."""
    total, within = 0.0, 0.0
    for i in range(begin, end):
        total += mass[i]
        within += prior[i]
    ratio, wrong = total / within, 0.0
    for i in range(begin, end):
        wrong += max(0.0, mass[i] - ratio * prior[i])
    return wrong, total


@numba.njit(cache=ON_DISK, nogil=True)
def _greedy(starts, prior, mass, target, root_order, root_index):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    heap = [(0.0, np.int64(0), np.int64(0), np.int64(0), np.int64(0), 0.0) for _ in range(0)]
    end, left = np.int64(0), 0.0
    for root in range(len(root_order)):
        begin = end
        edge = (root_index[root] + 1) << (2 * (MAX_ORDER - root_order[root]))
        end = search(starts, begin, len(starts), edge)
        wrong, total = _misplaced(prior, mass, begin, end)
        left += wrong
        heapq.heappush(heap, (-wrong, root_order[root], root_index[root], np.int64(begin), np.int64(end), total))
    while left > target and heap[0][0] < 0.0:
        worst, order, index, begin, stop, _ = heapq.heappop(heap)
        left += worst
        end = begin
        for child in range(4):
            begin = end
            edge = (4 * index + child + 1) << (2 * (MAX_ORDER - order - 1))
            end = search(starts, begin, stop, edge)
            wrong, total = _misplaced(prior, mass, begin, end) if end - begin > 1 else (0.0, mass[begin])
            left += wrong
            heapq.heappush(heap, (-wrong, order + 1, 4 * index + child, begin, end, total))
    made_order, made_index = np.empty(len(heap), np.int64), np.empty(len(heap), np.int64)
    made_mass = np.empty(len(heap))
    for i in range(len(heap)):
        made_order[i], made_index[i], made_mass[i] = heap[i][1], heap[i][2], heap[i][5]
    return made_order, made_index, made_mass
