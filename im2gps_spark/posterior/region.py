"""Highest-density regions of a map, exactly: their levels, areas and cells."""

from __future__ import annotations

import numpy as np

from im2gps_spark.grid import Ints, MultiOrderMap, area_km2
from im2gps_spark.sphere import Floats

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
