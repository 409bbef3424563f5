"""Scores of many photos to figures with intervals. Photos of one owner are not independent: owners are resampled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.evaluation.scores import LEVELS, RADII_KM
from im2gps_spark.sphere import Floats

INTERVAL = 0.95
_MEANS = ("nll", "gain_over_prior", "entropy", "area50_km2", "area90_km2", "searched_km2")
# Weights of this many (resample, photo) pairs are held at once.
_PAIRS = 20_000_000


@dataclass(frozen=True)
class Figure:
    """A metric: its value, the ends of its interval (None without resampling), and the photos behind it."""

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int


def figures(scores: Mapping[str, Floats], owners: NDArray, resamples: int, seed: int = 0) -> list[Figure]:
    """The figures of one engine on one stratum.

    Args:
        scores: columns (n,) of some of ``nll``, ``gain_over_prior``, ``hpd_level``, ``entropy``, ``area50_km2``,
            ``area90_km2``, ``searched_km2``, ``error_km``, ``median_point_error_km``; NaN where unknown. A column
            (n, m) holds m guesses for each photo: their accuracies are averaged, their median is that of all.
        owners: (n,) whose the photos are.
        resamples: of the owners, behind each 95 % interval; 0 for none.
    """
    made = []
    for name, column in scores.items():
        known = np.isfinite(column).all(axis=tuple(range(1, column.ndim)))
        if not known.any():
            continue
        values = column[known]
        draw = _Resampling(owners[known], resamples, seed)
        if name in _MEANS:
            made.append(draw.mean(name, values))
        elif name == "hpd_level":
            for level in LEVELS:
                made.append(draw.mean(f"coverage{round(100 * level)}", (values <= level).astype(np.float64)))
        elif name == "error_km":
            for radius in RADII_KM:
                hits = (values <= radius).reshape(len(values), -1).mean(axis=1)
                made.append(draw.mean(f"accuracy_{radius:g}km", hits))
            made.append(draw.median("median_error_km", values))
        else:
            made.append(draw.median(f"median_{name}", values))
    return made


class _Resampling:
    """The bootstrap over owners (Efron & Tibshirani 1993, ch. 6 and 8): percentile intervals."""

    def __init__(self, owners: NDArray, resamples: int, seed: int) -> None:
        _, self.owner = np.unique(owners, return_inverse=True)
        self.count = int(self.owner.max()) + 1
        self.resamples = resamples
        self.rng = np.random.default_rng(seed)

    def _weights(self) -> NDArray:
        """(resamples, owners): how often each owner is drawn."""
        return self.rng.multinomial(self.count, np.full(self.count, 1.0 / self.count), self.resamples)

    def _figure(self, metric: str, value: float, resampled: Floats, n: int) -> Figure:
        if not self.resamples or self.count < 2:
            return Figure(metric, value, None, None, n)
        low, high = np.quantile(resampled, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        return Figure(metric, value, float(low), float(high), n)

    def mean(self, metric: str, values: Floats) -> Figure:
        weights = self._weights()
        total = weights @ np.bincount(self.owner, weights=values, minlength=self.count)
        photos = weights @ np.bincount(self.owner, minlength=self.count)
        return self._figure(metric, float(values.mean()), total / photos, len(values))

    def median(self, metric: str, values: Floats) -> Figure:
        guesses = values.size // len(values)
        flat = values.ravel()
        rank = np.argsort(flat, kind="stable")
        owner, ordered = np.repeat(self.owner, guesses)[rank], flat[rank]
        rows = max(1, _PAIRS // len(flat))
        weights = self._weights()
        medians = []
        for begin in range(0, len(weights), rows):
            cumulative = np.cumsum(weights[begin : begin + rows][:, owner], axis=1)
            half = (cumulative >= cumulative[:, -1:] / 2.0).argmax(axis=1)
            medians.append(ordered[half])
        return self._figure(metric, float(np.median(flat)), np.concatenate([*medians, []]), len(values))
