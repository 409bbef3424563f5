"""Highest-density regions of a map: their levels, areas and connected parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, area_km2, first_point, neighbours
from im2gps_spark.sphere import Floats, distance_km

_SAME = 1e-12


class Ranking:
    """The cells of a law from the densest down: what every highest-density region is read from.

    Cells that share a density to rounding are one step: the law is flat there, so none of them comes first.

    Args:
        law: a map of mass 1, uniform within cells.
    """

    def __init__(self, law: MultiOrderMap) -> None:
        self.law = law
        self.cells = np.argsort(-law.density, kind="stable")
        """(n,) positions in the law; ties in the order of the curve."""
        self._density = law.density[self.cells]
        self._mass = np.concatenate([[0.0], np.cumsum(law.mass[self.cells])])
        self._area = np.concatenate([[0.0], np.cumsum(law.area_sr[self.cells])])

    def area_km2(self, levels: Floats) -> Floats:
        """Areas of the smallest regions that hold given masses in [0, 1], km^2; the last cell in the part needed."""
        return area_km2(np.interp(levels, self._mass / self._mass[-1], self._area))

    def level(self, points: Floats) -> Floats:
        """(n,) masses of all that is denser than each point (n, 3): uniform on (0, 1) for truths of a calibrated law.

        Of the step that the point is in, half is counted: it is as likely in the first of it as in the last.
        """
        here = self.law.density[self.law.find(points)]
        first = np.searchsorted(-self._density, -here * (1.0 + _SAME))
        last = np.searchsorted(-self._density, -here * (1.0 - _SAME))
        return np.asarray((self._mass[first] + self._mass[last]) / 2.0)

    def densest(self, level: float) -> Ints:
        """Positions, sorted, of the cells of the region that holds at least a mass."""
        enough = int(np.searchsorted(self._mass[1:], level * self._mass[-1] * (1.0 - _SAME))) + 1
        return np.sort(self.cells[:enough])


def hpd_area_km2(law: MultiOrderMap, levels: Floats) -> Floats:
    """Areas of a law's highest-density regions, see ``Ranking.area_km2``."""
    return Ranking(law).area_km2(levels)


def hpd_level(law: MultiOrderMap, points: Floats) -> Floats:
    """Highest-density levels of points under a law, see ``Ranking.level``."""
    return Ranking(law).level(points)


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


def connected_parts(ranking: Ranking, level: float = 0.8, most: int = 10) -> list[Part]:
    """The parts of the ``level`` highest-density region, heaviest first, ``most`` of them.

    Parts, not basins of modes: a part is where the photo may be on the ground, its bounds are the region's own, and
    it needs no second width to say when two peaks are one.
    """
    law = ranking.law
    inside = ranking.densest(level)
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


def pooled(law: MultiOrderMap, order: int, some: NDArray[np.bool_] | None = None) -> tuple[Floats, Floats]:
    """The law's masses pooled in cells no finer than an order: mean points (n, 3) on the sphere, and masses (n,).

    Args:
        some: which of the law's cells to pool; all if not given.
    """
    which = np.flatnonzero(law.mass > 0 if some is None else (law.mass > 0) & some)
    if len(which) == 0:
        return np.zeros((0, 3)), np.zeros(0)
    key = law.starts[which] >> (2 * (MAX_ORDER - order))
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    mass = np.add.reduceat(law.mass[which], first)
    mean = np.add.reduceat(law.centres[which] * law.mass[which, None], first)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True), mass
