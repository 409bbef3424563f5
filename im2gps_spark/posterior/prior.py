"""The corpus' prior: where photos are taken, whatever they show. One map an index version."""

from __future__ import annotations

import numpy as np

from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.posterior.kernels import Profile, kernel_sum
from im2gps_spark.posterior.refine import Density, refine
from im2gps_spark.sphere import Floats

# By EM on owners held out of 2,000 Flickr photos (docs/posterior.md).
WIDTHS_KM = (25.0, 200.0, 800.0)
SHARES = (0.68, 0.22, 0.10)
UNIFORM_SHARE = 0.022
TOLERANCE = 0.10
"""Total variation between the kernel density and its map: finer costs cells in every photo's summary."""

PLACE_ORDER = 12
"""Places are pooled into cells of this order (1.6 km) first: their number no longer follows the corpus'."""


_PROFILE = Profile.of(WIDTHS_KM, SHARES)


def kernels_at(points: Floats, places: Floats, weights: Floats) -> Floats:
    """(n,) weighted sums of the prior's kernels at points (n, 3): not divided by the weights."""
    return kernel_sum(points, places, weights, _PROFILE)


def mixed(kernels: float) -> float:
    """The prior's density per steradian where its kernels, of weight 1 together, come to a value."""
    return (1.0 - UNIFORM_SHARE) * kernels + UNIFORM_SHARE / (4.0 * np.pi)


def prior_map(places: Floats, weights: Floats, tolerance: float = TOLERANCE) -> MultiOrderMap:
    """The density of photos, positive everywhere.

    Args:
        places: (n, 3) unit vectors; photos or pools of them.
        weights: (n,) non-negative: the photos' votes, damped by owner.
        tolerance: total variation at which refinement stops.

    Returns:
        a map of mass 1, uniform within cells. Without any place: the uniform law.

    Raises:
        ValueError: a weight is negative or not finite, or all are zero.
    """
    uniform = MultiOrderMap.uniform()
    if len(places) == 0:
        return uniform
    total = float(np.sum(weights))
    if not (np.all(np.isfinite(weights)) and np.all(np.asarray(weights) >= 0) and total > 0):
        raise ValueError("the weights of a prior must be finite, not negative, and not all zero")
    density = Density(places, weights / total, _PROFILE, uniform, 1.0 - UNIFORM_SHARE, 0.0, UNIFORM_SHARE)
    return refine(density, tolerance)
