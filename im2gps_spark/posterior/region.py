"""Highest-density regions of a map: their levels, areas and connected parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, area_km2, first_point, neighbours
from im2gps_spark.sphere import Floats, distance_km


def by_density(law: MultiOrderMap) -> Ints:
    """Positions of the cells from the densest down; ties in the order of the curve."""
    return np.argsort(-law.density, kind="stable")


def hpd_area_km2(law: MultiOrderMap, levels: Floats) -> Floats:
    """Areas of the smallest regions that hold given masses, km^2.

    Args:
        law: a map of mass 1, uniform within cells.
        levels: (n,) masses in [0, 1]; the last cell is taken in the part that is needed.
    """
    rank = by_density(law)
    mass = np.concatenate([[0.0], np.cumsum(law.mass[rank])])
    area = np.concatenate([[0.0], np.cumsum(law.area_sr[rank])])
    return area_km2(np.interp(levels, mass / mass[-1], area))


def hpd_level(law: MultiOrderMap, points: Floats) -> Floats:
    """(n,) mass of all that is at least as dense as each point's cell: uniform on (0, 1) for truths of a calibrated law.

    A cell's own mass, and that of all cells with its density, counts half: the density is flat there, so a point
    is as likely in the first of it as in the last.
    """
    density = np.sort(law.density)[::-1]
    above = np.concatenate([[0.0], np.cumsum(law.mass[by_density(law)])])
    here = law.density[law.find(points)]
    first = np.searchsorted(-density, -here, side="left")
    last = np.searchsorted(-density, -here, side="right")
    return np.asarray((above[first] + above[last]) / 2.0)


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


def connected_parts(law: MultiOrderMap, level: float = 0.8, most: int = 10) -> list[Part]:
    """The parts of the ``level`` highest-density region, heaviest first, ``most`` of them.

    Parts, not basins of modes: a part is where the photo may be on the ground, its bounds are the region's own, and
    it needs no second width to say when two peaks are one.
    """
    rank = by_density(law)
    enough = int(np.searchsorted(np.cumsum(law.mass[rank]), level * law.mass.sum() * (1 - 1e-12))) + 1
    inside = np.sort(rank[:enough])
    labels = _components(law, inside)
    mass = np.bincount(labels, weights=law.mass[inside])
    parts = []
    for label in np.argsort(-mass, kind="stable")[:most]:
        cells = inside[labels == label]
        peak = law.centres_of(cells[np.argmax(law.density[cells])])
        far = distance_km(law.centres_of(cells), peak)
        near = np.argsort(far, kind="stable")
        within = np.cumsum(law.mass[cells][near])
        edge = near[min(int(np.searchsorted(within, 0.9 * within[-1])), len(near) - 1)]
        # A cell reaches beyond its centre: without its own half side a part of one cell would have no radius.
        radius = float(far[edge]) + float(np.sqrt(area_km2(law.area_sr[cells[edge]]) / np.pi))
        parts.append(Part(peak, float(mass[label]), float(area_km2(law.area_sr[cells].sum())), radius))
    return parts


def _components(law: MultiOrderMap, inside: Ints) -> Ints:
    """Which connected part each of some cells belongs to. Cells touch by a side or a corner.

    Of two cells that touch, the finer has a neighbour, of its own order, that lies in the coarser.
    """
    order, index = law.order[inside], law.index[inside]
    beside = neighbours(order, index)
    there = first_point(np.repeat(order, 8), np.maximum(beside, 0).ravel())
    found = np.searchsorted(law.starts, there, side="right") - 1
    slot = np.full(len(law.cells), -1)
    slot[inside] = np.arange(len(inside))
    target = slot[found]
    source = np.repeat(np.arange(len(inside)), 8)
    coarser = law.order[found] <= np.repeat(order, 8)
    edge = (beside.ravel() >= 0) & (target >= 0) & coarser
    graph = coo_array((np.ones(int(edge.sum()), bool), (source[edge], target[edge])), shape=(len(inside),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])


def pooled(law: MultiOrderMap, order: int) -> tuple[Floats, Floats]:
    """The law's masses pooled in cells no finer than an order: mean points (n, 3) on the sphere, and masses (n,)."""
    key = law.starts >> (2 * (MAX_ORDER - order))
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    mass = np.add.reduceat(law.mass, first)
    mean = np.add.reduceat(law.centres * law.mass[:, None], first)
    keep = mass > 0
    mean, mass = mean[keep], mass[keep]
    return mean / np.linalg.norm(mean, axis=1, keepdims=True), mass
