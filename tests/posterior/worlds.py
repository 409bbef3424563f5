"""Worlds whose posterior is known, over the uniform prior: places, weights, and the width of the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from im2gps_spark.posterior.density import Density
from im2gps_spark.sphere import Floats, unit_vectors
from tests.posterior.laws import mixture

LATITUDES = np.linspace(-80.0, 80.0, 33)
WORLDS: dict[str, tuple[Floats, Sequence[float] | Floats, float]] = {
    "one city": (unit_vectors([48.85], [2.35]), [1.0], 300.0),
    "one city, narrow": (unit_vectors([-33.9], [151.2]), [1.0], 25.0),
    "antipodes": (unit_vectors([30.0, -30.0], [50.0, -130.0]), [0.6, 0.4], 400.0),
    "a ring on longitude 180": (
        unit_vectors(LATITUDES, np.where(np.arange(33) % 2, 180.0, -180.0)),
        np.ones(33),
        300.0,
    ),
    "both poles": (unit_vectors([90.0, -90.0], [0.0, 0.0]), [0.5, 0.5], 300.0),
}
APART = ("one city", "one city, narrow", "antipodes", "both poles")
"""Those whose kernels do not overlap: they have formulas."""


def world(name: str) -> Density:
    """One of the ``WORLDS``, with next to no share for the prior and the uniform law."""
    places, weights, width_km = WORLDS[name]
    return mixture(places, weights, widths_km=(width_km,), prior_share=0.0, uniform_share=1e-4)
