"""Does the law know when it is right? Entropy against error, and the risk of the answers that are most certain.

Photos of equal entropy come in no order: each counts by the part of its group that is kept.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from im2gps_spark.evaluation.bootstrap import Bootstrap, Figure
from im2gps_spark.grid import run_starts
from im2gps_spark.sphere import Floats

RADII_KM = (200.0, 750.0, 2500.0)
"""An answer farther from the truth than this is an error."""
COVERAGES = tuple(range(10, 101, 10))
"""Per cent of the photos that are answered, the most certain first."""

_CURVE = np.arange(1, 101) / 100.0


def certainty_figures(entropy: Floats, error_km: Floats, draw: Bootstrap) -> list[Figure]:
    """How well entropy ranks the answers.

    Args:
        entropy: (n,) of each photo's law.
        error_km: (n,) of its point.
        draw: of the same photos.

    Returns:
        ``spearman_entropy_error``, where it is defined; ``risk_RADIUSkm_at_C``, the share of errors among the C per
        cent of least entropy, and ``aurc_RADIUSkm``, its mean over C = 1, 2, ... 100 (Geifman & El-Yaniv 2017);
        ``median_error_km_at_C``.
    """
    made = []
    if len(np.unique(entropy)) > 1 and len(np.unique(error_km)) > 1:
        made += draw.statistics(["spearman_entropy_error"], lambda w: spearman(entropy, error_km, w)[:, None])
    for radius in RADII_KM:
        names = [f"risk_{radius:g}km_at_{c}" for c in COVERAGES] + [f"aurc_{radius:g}km"]
        made += draw.statistics(names, partial(_risks, entropy, (error_km > radius).astype(np.float64)))
    medians = [f"median_error_km_at_{c}" for c in COVERAGES]
    return made + draw.statistics(medians, partial(_medians, entropy, error_km))


def spearman(a: Floats, b: Floats, weights: Floats) -> Floats:
    """Spearman's rank correlations (m,) of a and b (n,) under m sets of weights (m, n).

    Whole weights count a photo so many times, as ``scipy.stats.spearmanr`` would; ties share their mean rank.
    """
    ranks = [_mean_ranks(values, weights) for values in (a, b)]
    total = weights.sum(axis=1, keepdims=True)
    x, y = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample of one value has no correlation
        return np.asarray((weights * x * y).sum(axis=1) / np.sqrt((weights * x**2).sum(1) * (weights * y**2).sum(1)))


def risk_at(entropy: Floats, wrong: Floats, coverages: Floats, weights: Floats) -> Floats:
    """Means of ``wrong`` (n,) over the most certain shares (c,) of the photos, under weights (m, n): (m, c)."""
    order, first = _sorted_groups(entropy)
    held = np.cumsum(np.add.reduceat(weights[:, order], first, axis=1), axis=1)
    lost = np.cumsum(np.add.reduceat((weights * wrong)[:, order], first, axis=1), axis=1)
    risk = np.empty((len(weights), len(coverages)))
    for row, (h, e) in enumerate(zip(held, lost, strict=True)):
        kept = coverages * h[-1]
        risk[row] = np.interp(kept, np.append(0.0, h), np.append(0.0, e)) / kept
    return risk


def _risks(entropy: Floats, wrong: Floats, weights: Floats) -> Floats:
    curve = risk_at(entropy, wrong, _CURVE, weights)
    return np.column_stack([curve[:, np.array(COVERAGES) - 1], curve.mean(axis=1)])


def _medians(entropy: Floats, error: Floats, weights: Floats) -> Floats:
    """(m, coverages) medians of the error over the most certain photos."""
    order, first = _sorted_groups(entropy)
    group = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(order))))
    by_error = np.argsort(error[order], kind="stable")
    weight, ordered = weights[:, order], error[order][by_error]
    size = np.add.reduceat(weight, first, axis=1)
    before = np.cumsum(size, axis=1) - size
    medians = np.empty((len(weights), len(COVERAGES)))
    for column, percent in enumerate(COVERAGES):
        kept = np.clip(percent / 100.0 * weight.sum(axis=1, keepdims=True) - before, 0.0, size) / np.maximum(
            size, 1e-300
        )
        part = np.cumsum((weight * kept[:, group])[:, by_error], axis=1)
        # Where exactly half lies on either side the median is between two, but for rounding.
        half = part[:, -1:] / 2.0
        lower, upper = ((part > half * (1.0 + slack)).argmax(axis=1) for slack in (-1e-12, 1e-12))
        medians[:, column] = (ordered[lower] + ordered[upper]) / 2.0
    return medians


def _mean_ranks(values: Floats, weights: Floats) -> Floats:
    order, first = _sorted_groups(values)
    size = np.add.reduceat(weights[:, order], first, axis=1)
    middle = np.cumsum(size, axis=1) - size / 2.0
    rank = np.empty_like(weights)
    rank[:, order] = np.repeat(middle, np.diff(np.append(first, len(order))), axis=1)
    return rank


def _sorted_groups(values: Floats) -> tuple[np.ndarray, np.ndarray]:
    """The order of values (n,), and where in it each run of equal ones begins."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, run_starts(ordered)
