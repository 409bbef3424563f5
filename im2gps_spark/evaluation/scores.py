"""A law against true places: proper scores, calibration, sharpness. All lengths km, all logs natural."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from im2gps_spark.evaluation.energy import Energy
from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, cell_area_sr, cell_centres, cells_at
from im2gps_spark.posterior.region import Ranking
from im2gps_spark.posterior.summary import entropy
from im2gps_spark.sphere import Floats

RESOLUTION = 7
"""Order of the cells (51 km) that ``nll_order7`` looks at: kernels narrower than those gain nothing by it."""

LAW = (
    *("nll", "nll_order7", "energy_score_km", "energy_score_chord", "hpd_level"),
    *("entropy", "area50_km2", "area90_km2", "searched_km2"),
)
"""What a law is scored by."""


class LawScores:
    """A law, ready to be asked at true places; what does not depend on those is computed once.

    Args:
        law: a map of mass 1, uniform within cells.
    """

    def __init__(self, law: MultiOrderMap) -> None:
        self.law = law
        self._energy = Energy(law)

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking(self.law)

    @cached_property
    def _sharpness(self) -> dict[str, float]:
        area50, area90 = self._ranking.area_km2(np.array([0.5, 0.9])).tolist()
        return {"entropy": entropy(self.law), "area50_km2": area50, "area90_km2": area90}

    def at(self, truths: Floats) -> dict[str, Floats]:
        """Scores at true places (n, 3).

        Returns:
            columns (n,) by the names in ``LAW``: ``nll`` in nats per steradian; ``nll_order7``, the same of the mean
            density of the truth's cell; energy scores; ``hpd_level`` of the truth, uniform on (0, 1) if calibrated;
            the law's ``entropy`` (nats) and areas; ``searched_km2``, the area that is denser than the truth.
        """
        level = self._ranking.level(truths)
        within = self.law.mass_within(RESOLUTION, cells_at(RESOLUTION, truths))
        km, chord = self._energy.scores(truths)
        return {
            "nll": -np.log(self.law.density[self.law.find(truths)]),
            "nll_order7": -np.log(within / cell_area_sr(RESOLUTION)),
            "energy_score_km": km,
            "energy_score_chord": chord,
            "hpd_level": level,
            **{name: np.full(len(truths), value) for name, value in self._sharpness.items()},
            "searched_km2": self._ranking.area_km2(level),
        }


def drawn(law: MultiOrderMap, count: int, seed: int = 0) -> Floats:
    """Places (count, 3) drawn from a law that is uniform within cells: what guessing by it is worth."""
    rng = np.random.default_rng(seed)
    cell = rng.choice(len(law.cells), count, p=law.mass / law.mass.sum())
    points = 4.0 ** (MAX_ORDER - law.order[cell])
    return cell_centres(MAX_ORDER, law.starts[cell] + (rng.random(count) * points).astype(np.int64))
