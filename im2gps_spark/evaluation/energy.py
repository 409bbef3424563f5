"""The energy score on the sphere: how far the truth lies from a law, less half the law's own width.

ES(P, y) = E d(X, y) - E d(X, X') / 2 with X, X' drawn from P; lower is better (Gneiting & Raftery, "Strictly Proper
Scoring Rules, Prediction, and Estimation", 2007, section 4.3). With the chordal distance it is strictly proper, with
the great-circle distance proper and in km. The uniform law scores 2/3 and pi R / 4 = 5,003.8 km everywhere.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from im2gps_spark.grid import (
    MAX_ORDER,
    MultiOrderMap,
    cell_area_sr,
    cell_centres,
    cell_side_radians,
    first_point,
    run_starts,
)
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

# Cells of this order (407 km) are small against their distances, and count by mean and variance.
_COARSEST_ORDER = 4
# Cells are pooled while their mass times their side is under this (radians): pairs that touch, the only ones for which
# mean and variance are not enough, then weigh next to nothing. E d(X, X') errs by under 0.2 % (tests/evaluation), from
# 50 to 500 pools.
_POOLED = 1e-3
_BLOCK = 256


class Energy:
    """A law, ready for its energy scores.

    Args:
        law: a map of mass 1, uniform within cells.
    """

    def __init__(self, law: MultiOrderMap) -> None:
        parts = 4 ** np.maximum(_COARSEST_ORDER - law.order, 0)
        cell = np.repeat(np.arange(len(law.cells)), parts)
        nth = np.arange(len(cell)) - np.repeat(np.cumsum(parts) - parts, parts)
        held = law.mass[cell] > 0
        cell, nth = cell[held], nth[held]
        index = law.index[cell] * parts[cell] + nth
        self._order = np.maximum(law.order[cell], _COARSEST_ORDER)
        self._mass = law.mass[cell] / parts[cell] / law.mass.sum()
        self._starts = first_point(self._order, index)
        self._centres = cell_centres(self._order, index)
        # Along each of two axes a square of side s has the variance s^2 / 12.
        self._variance = cell_area_sr(self._order) / 12.0

    def scores(self, truths: Floats) -> tuple[Floats, Floats]:
        """Energy scores (n,) at true places (n, 3): by great circle, km, and by chord, in Earth radii."""
        half_km, half_chord = (each / 2.0 for each in self.own)
        far = [_expected(_gap(self._centres, y), self._variance) for y in truths]
        # Not a BLAS product: its threads cost more than such a sum.
        arcs, chords = (np.array([np.einsum("i,i->", self._mass, each[i]) for each in far]) for i in (0, 1))
        return EARTH_RADIUS_KM * arcs - half_km, chords - half_chord

    @cached_property
    def own(self) -> tuple[float, float]:
        """E d(X, X') of two draws from the law: great circle, km, and chord."""
        mass, points, variance = self._pools()
        arcs = chords = 0.0
        for begin in range(0, len(mass), _BLOCK):
            rows = slice(begin, begin + _BLOCK)
            gap = np.maximum(2.0 - 2.0 * points[rows] @ points.T, 0.0)
            arc, chord = _expected(gap, variance[rows, None] + variance)
            # A pool against itself: the mean distance of two draws from a normal law in the plane.
            own = np.sqrt(np.pi * variance[rows])
            diagonal = np.arange(len(own)), np.arange(begin, begin + len(own))
            arc[diagonal] = chord[diagonal] = own
            arcs += float(mass[rows] @ arc @ mass)
            chords += float(mass[rows] @ chord @ mass)
        return EARTH_RADIUS_KM * arcs, chords

    def _pools(self) -> tuple[Floats, Floats, Floats]:
        """The leaves pooled in quadtree cells, smaller where there is more: masses, mean points, variances an axis."""
        left = np.arange(len(self._mass))
        mean = self._centres * (self._mass * (1.0 - self._variance))[:, None]
        parts: list[tuple[Floats, Floats]] = []
        finest = int(self._order.max())
        for order in range(finest + 1):
            first = run_starts(self._starts[left] >> (2 * (MAX_ORDER - order)))
            if not len(first):
                break
            mass = np.add.reduceat(self._mass[left], first)
            done = (mass * cell_side_radians(order) <= _POOLED) | (order == finest)
            parts.append((mass[done], np.add.reduceat(mean[left], first)[done]))
            left = left[~np.repeat(done, np.diff(np.append(first, len(left))))]
        mass = np.concatenate([part[0] for part in parts])
        middle = np.concatenate([part[1] for part in parts]) / mass[:, None]
        length = np.linalg.norm(middle, axis=1)
        return mass, middle / length[:, None], np.maximum(1.0 - length**2, 0.0) / 2.0


def _gap(points: Floats, there: Floats) -> Floats:
    """Squared chords (n,) from points (n, 3) to one (3,)."""
    away = points - there
    return np.asarray(np.einsum("ij,ij->i", away, away))


def _expected(gap: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Mean arcs and chords, radians, where the ends scatter about points a squared chord apart.

    A scatter of variance v an axis adds v / 2 times the distance's Laplacian: cot d for the arc d and
    (1 - 3 c^2 / 4) / c for the chord c. As parts of the squared chord these stay finite where the points meet.
    """
    arc = gap + variance * (1.0 - 0.5 * gap)
    chord = gap + variance * (1.0 - 0.75 * gap)
    return 2.0 * np.arcsin(np.sqrt(np.minimum(arc / 4.0, 1.0))), np.sqrt(np.maximum(chord, 0.0))
