"""The four charts of the evaluation's page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from im2gps_spark.evaluation.bootstrap import Bootstrap, Figure
from im2gps_spark.evaluation.calibration import histogram, reliability
from im2gps_spark.evaluation.certainty import COVERAGES, RADII_KM
from im2gps_spark.evaluation.charts import Axis, Chart, percent_axis, plain_axis
from im2gps_spark.sphere import Floats

_MOST_DOTS = 2000
_LINES = ("one", "two", "three")


def reliability_chart(level: Floats, draw: Bootstrap) -> str:
    """Nominal mass against the share of truths (n,) inside, with its interval."""
    found = reliability(level, draw)
    chart = Chart(
        percent_axis("mass that the region claims"),
        percent_axis("true places inside"),
        "Reliability: the share of true places inside regions of each claimed mass",
    )
    chart.band(found.nominal, found.low, found.high, "one")
    chart.line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), "ideal")
    chart.line(found.nominal, found.observed, "one")
    return chart.svg()


def levels_chart(level: Floats) -> str:
    """Histogram of the truths' levels (n,), with the range of a calibrated law's bars."""
    found = histogram(level)
    n = len(level)
    top = max(float(found.counts.max()), found.high) / n * 1.08
    chart = Chart(
        percent_axis("mass denser than the true place"),
        percent_axis("photos", top),
        "Histogram of the mass that is denser than the true place",
    )
    chart.bars(found.edges, found.counts / n, "bin")
    both = np.array([0.0, 1.0])
    chart.band(both, np.full(2, found.low / n), np.full(2, found.high / n), "range")
    chart.line(both, np.full(2, found.expected / n), "ideal")
    return chart.svg()


def risk_chart(figures: Mapping[str, Figure]) -> str:
    """Share of errors among the most certain answers, by radius, with intervals."""
    chart = Chart(
        percent_axis("photos answered, the most certain first"),
        percent_axis("answers in error"),
        "Risk and coverage: the share of errors among the most certain answers",
    )
    coverage = np.array(COVERAGES) / 100.0
    for radius, kind in zip(RADII_KM, _LINES, strict=True):
        mine = [figures[f"risk_{radius:g}km_at_{c}"] for c in COVERAGES if f"risk_{radius:g}km_at_{c}" in figures]
        if len(mine) < len(COVERAGES):
            continue
        risk = np.array([f.value for f in mine])
        ends = [(f.low, f.high) for f in mine]
        if all(low is not None for low, _ in ends):
            low, high = np.array(ends, np.float64).T
            chart.band(coverage, low, high, kind)
        chart.line(coverage, risk, kind)
        chart.word(1.0, float(risk[-1]), f"over {radius:,.0f} km", kind)
    return chart.svg()


def entropy_chart(entropy: Floats, error_km: Floats) -> str:
    """A dot a photo (n,): entropy against error; of many photos some, evenly through the ranks of entropy."""
    rank = np.argsort(entropy, kind="stable")
    if len(rank) > _MOST_DOTS:
        rank = rank[np.linspace(0, len(rank) - 1, _MOST_DOTS).round().astype(int)]
    chart = Chart(
        plain_axis("entropy, nats", float(entropy.min()), float(entropy.max())),
        Axis("error of the mode, km", 1.0, 20_038.0, [(10.0**i, f"{10**i:,}") for i in range(5)], logarithmic=True),
        "Entropy of each answer against the error of its mode",
    )
    chart.dots(entropy[rank], error_km[rank], "dot", 3.0 if len(rank) < 500 else 2.0)
    return chart.svg()
