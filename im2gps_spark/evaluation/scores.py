"""An answer against true places: proper scores and calibration. All lengths km, all logs natural."""

from __future__ import annotations

import numpy as np

from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.posterior.region import Ranking
from im2gps_spark.posterior.summary import entropy
from im2gps_spark.sphere import Floats, unit_vectors

RADII_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
"""Street, city, region, country, continent (Hays & Efros 2015; Weyand et al. 2016)."""
LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Highest-density regions whose coverage is reported."""

DRAWS = 128


def score_law(law: MultiOrderMap, truths: Floats) -> dict[str, Floats]:
    """Scores of one law at true places (n, 3).

    Returns:
        columns (n,): ``nll`` in nats per steradian, ``hpd_level`` of the truth, ``entropy``, ``area50_km2``,
        ``area90_km2`` and ``searched_km2``, the area that is denser than the truth.
    """
    ranking = Ranking(law)
    level = ranking.level(truths)
    area50, area90 = ranking.area_km2(np.array([0.5, 0.9]))
    return {
        "nll": -np.log(law.density[law.find(truths)]),
        "hpd_level": level,
        "entropy": np.full(len(truths), entropy(law)),
        "area50_km2": np.full(len(truths), area50),
        "area90_km2": np.full(len(truths), area90),
        "searched_km2": ranking.area_km2(level),
    }


def prior_draws(prior: MultiOrderMap, seed: int = 0) -> Floats:
    """Places (n, 3) of photos drawn from the prior: what a guess without looking is worth."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(len(prior.cells), DRAWS, p=prior.mass / prior.mass.sum())
    return prior.centres_of(cells)


def uniform_draws(seed: int = 0) -> Floats:
    """Places (n, 3) drawn uniformly on the sphere."""
    rng = np.random.default_rng(seed)
    longitude = rng.uniform(-180.0, 180.0, DRAWS)
    return unit_vectors(np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, DRAWS))), longitude)
