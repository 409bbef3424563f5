"""Intervals by resampling owners: photos of one owner are not independent, so an owner is drawn whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.sphere import Floats

INTERVAL = 0.95
# Weights of this many (resample, photo) pairs are held at once.
_PAIRS = 4_000_000


@dataclass(frozen=True)
class Figure:
    """A metric: its value, the ends of its interval (None without one), and the photos behind it."""

    metric: str
    value: float
    low: float | None
    high: float | None
    n: int


class Bootstrap:
    """Resamples of the owners of some photos, the same for every figure (Efron & Tibshirani 1993, ch. 6, 8 and 13).

    Args:
        owners: (n,) whose the photos are. Of fewer than two there are no intervals.
        resamples: behind each 95 % percentile interval; 0 for none.
    """

    def __init__(self, owners: NDArray, resamples: int, seed: int = 0) -> None:
        self._owners, self._seed, self._asked = owners, seed, resamples
        _, self._owner = np.unique(owners, return_inverse=True)
        self.owners = int(self._owner.max()) + 1 if len(owners) else 0
        self.resamples = resamples if self.owners > 1 else 0
        self._among: dict[bytes, Bootstrap] = {}
        rng = np.random.default_rng(seed)
        self._drawn = np.empty((self.resamples, self.owners), np.uint16)
        for row in self._drawn:
            row[:] = np.bincount(rng.integers(0, self.owners, self.owners), minlength=self.owners)

    def among(self, some: NDArray[np.bool_]) -> Bootstrap:
        """The same for some of the photos (n,): the owners that are left are resampled."""
        if some.all():
            return self
        key = some.tobytes()
        if key not in self._among:
            self._among[key] = Bootstrap(self._owners[some], self._asked, self._seed)
        return self._among[key]

    def mean(self, metric: str, values: Floats) -> Figure:
        """The mean of (n,) values."""
        total = np.bincount(self._owner, weights=values, minlength=self.owners)
        photos = np.bincount(self._owner, minlength=self.owners).astype(np.float64)
        drawn = np.empty(self.resamples)
        rows = max(1, _PAIRS // self.owners)
        for begin in range(0, self.resamples, rows):
            part = slice(begin, begin + rows)
            weights = self._drawn[part].astype(np.float64)
            drawn[part] = (weights @ total) / (weights @ photos)
        return self.figure(metric, float(values.mean()), drawn)

    def median(self, metric: str, values: Floats) -> Figure:
        """The median of (n,) values, or of (n, m): m guesses for each photo."""
        flat = values.ravel()
        rank = np.argsort(flat, kind="stable")
        photo, ordered = rank // (flat.size // len(values)), flat[rank]
        drawn = [np.zeros(0)]
        for weights in self.weights(flat.size):
            cumulative = np.cumsum(weights[:, photo], axis=1)
            drawn.append(ordered[(cumulative >= cumulative[:, -1:] / 2.0).argmax(axis=1)])
        return self.figure(metric, float(np.median(flat)), np.concatenate(drawn))

    def statistics(self, metrics: list[str], of: Callable[[Floats], Floats]) -> list[Figure]:
        """Figures of any kind.

        Args:
            metrics: their m names.
            of: weights (b, n) of the photos to values (b, m).
        """
        n = len(self._owners)
        values = of(np.ones((1, n)))[0]
        drawn = np.concatenate([np.zeros((0, len(metrics))), *(of(weights) for weights in self.weights(n))])
        return [self.figure(m, float(v), drawn[:, i]) for i, (m, v) in enumerate(zip(metrics, values, strict=True))]

    def weights(self, cost: int) -> Iterator[Floats]:
        """How often each photo is drawn, (b, n) float64, a part of the resamples at a time.

        Args:
            cost: numbers that the caller holds for each resample.
        """
        rows = max(1, _PAIRS // max(cost, 1))
        for begin in range(0, self.resamples, rows):
            yield self._drawn[begin : begin + rows].astype(np.float64)[:, self._owner]

    def figure(self, metric: str, value: float, drawn: Floats) -> Figure:
        """A value with the percentile interval of its resampled ones; those that are not defined are left out."""
        drawn = drawn[np.isfinite(drawn)]
        if not len(drawn):
            return Figure(metric, value, None, None, len(self._owners))
        low, high = np.quantile(drawn, [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
        return Figure(metric, value, float(low), float(high), len(self._owners))
