"""Whether regions hold what they say: the reliability of highest-density levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from im2gps_spark.evaluation.bootstrap import INTERVAL, Bootstrap
from im2gps_spark.sphere import Floats

NOMINAL = np.arange(0, 101, 5) / 100.0
BINS = 10


@dataclass(frozen=True)
class Reliability:
    """How often the truth was inside regions of each nominal mass (m,), and an interval of that."""

    nominal: Floats
    observed: Floats
    low: Floats
    high: Floats


def reliability(level: Floats, draw: Bootstrap) -> Reliability:
    """The reliability diagram of truths' levels (n,): the share of them in regions of ``NOMINAL`` mass.

    Args:
        level: ``hpd_level`` of each truth.
        draw: of the same photos; without resamples the interval is the value.
    """
    made = [draw.mean("", (level <= nominal).astype(np.float64)) for nominal in NOMINAL]
    value = np.array([figure.value for figure in made])
    low, high = (
        np.array([f.value if end is None else end for f, end in zip(made, ends, strict=True)])
        for ends in ([f.low for f in made], [f.high for f in made])
    )
    return Reliability(NOMINAL, value, low, high)


@dataclass(frozen=True)
class Histogram:
    """Counts (b,) of truths between edges (b + 1,), and the counts between which a calibrated law's bins would be."""

    edges: Floats
    counts: Floats
    expected: float
    low: float
    high: float


def histogram(level: Floats) -> Histogram:
    """Levels (n,) in ``BINS`` equal bins; each bin of a calibrated law's is binomial, were the photos independent."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    counts = np.histogram(level, edges)[0].astype(np.float64)
    tail = (1.0 - INTERVAL) / 2.0
    low, high = binom.ppf([tail, 1.0 - tail], len(level), 1.0 / BINS).tolist()
    return Histogram(edges, counts, len(level) / BINS, low, high)
