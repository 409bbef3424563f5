"""The law that a relative map stands for, as arrays, and what is read from all of its cells in few passes.

What ``grid.resolve`` and ``posterior.region.Ranking`` say exactly and at leisure; this is for millions of photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np

from im2gps_spark.grid import CURVE_LENGTH, MAX_ORDER, Ints, MultiOrderMap, area_km2
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.curve import pyramid_start
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.sphere import Floats

# Densities are ranked in bins of a hundredth of a nat: areas come within a hundredth, and far closer as a rule.
_BIN = 0.01
_BINS = 6000

POOL_ORDER = 7
"""Masses of all cells of this order (51 km) and coarser are at hand."""


@dataclass(frozen=True)
class Law:
    """Disjoint cells along the nested curve that cover the sphere; the law is uniform within each.

    Attributes:
        start: (n,) first points on the curve.
        order: (n,) of the cells.
        mass: (n,).
        log_density: (n,) nats per steradian.
        entropy: differential, nats over steradians.
        information_over_prior: Kullback-Leibler divergence from the prior, nats.
    """

    start: Ints
    order: Ints
    mass: Floats
    log_density: Floats
    entropy: float
    information_over_prior: float

    @classmethod
    def of(cls, relative: MultiOrderMap, background: Background) -> Law:
        """The law of a map that follows a prior within its cells."""
        prior = background.map
        start, order, mass, log_density, entropy, information = _resolve(
            relative.starts,
            relative.order,
            relative.mass,
            prior.starts,
            prior.order,
            prior.density,
            background.log_density,
        )
        return cls(start, order, mass, log_density, float(entropy), float(information))

    @classmethod
    def resolved(cls, law: MultiOrderMap) -> Law:
        """A law that is uniform within a map's cells; what it says beyond the prior is not known of it (NaN)."""
        with np.errstate(divide="ignore"):
            log_density = np.log(law.density)
        held = law.mass > 0
        entropy = -float(np.sum(law.mass[held] * log_density[held]))
        return cls(law.starts, law.order, law.mass, log_density, entropy, float("nan"))

    @cached_property
    def _ranks(self) -> tuple[Floats, Floats, float]:
        """Mass and area in bins of density, the densest first, and the log density where they begin."""
        top = float(self.log_density.max())
        return (*_bins(self.order, self.mass, self.log_density, top), top)

    def area_km2(self, levels: Floats) -> Floats:
        """Areas of the smallest regions that hold given masses in [0, 1], km^2."""
        mass, area, _ = self._ranks
        whole = np.concatenate([[0.0], np.cumsum(mass)])
        return area_km2(np.interp(levels, whole / whole[-1], np.concatenate([[0.0], np.cumsum(area)])))

    def threshold(self, level: float) -> float:
        """Log density above which a region holds at least a mass: all of the bin in which it does."""
        mass, _, top = self._ranks
        whole = np.cumsum(mass)
        return top - _BIN * (int(np.searchsorted(whole, level * whole[-1] * (1.0 - 1e-12))) + 1)

    @cached_property
    def _pyramid(self) -> Floats:
        return np.asarray(_pooled(self.start, self.order, self.mass))

    @property
    def pooled(self) -> Floats:
        """(12 * 4^POOL_ORDER,) masses of the cells of ``POOL_ORDER``."""
        return self.pooled_to(POOL_ORDER)

    def pooled_to(self, order: int) -> Floats:
        """(12 * 4^order,) masses of the cells of an order, ``POOL_ORDER`` at most."""
        first = pyramid_start(order)
        return self._pyramid[first : first + 12 * 4**order]


@numba.njit(cache=ON_DISK, nogil=True)
def _resolve(rel_start, rel_order, rel_mass, start, order, density, log_density):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    most = len(rel_start) + len(start)
    out_start, out_order = np.empty(most, np.int64), np.empty(most, np.int64)
    out_mass, out_log = np.empty(most), np.empty(most)
    area = np.pi / 3.0 / 4.0 ** np.arange(MAX_ORDER + 1)
    count, j, entropy, information = 0, 0, 0.0, 0.0
    for i in range(len(rel_start)):
        begin = rel_start[i]
        end = rel_start[i + 1] if i + 1 < len(rel_start) else CURVE_LENGTH
        while j + 1 < len(start) and start[j + 1] <= begin:
            j += 1
        first, within = count, 0.0
        while True:
            finer = order[j] > rel_order[i]
            piece = order[j] if finer else rel_order[i]
            out_start[count] = start[j] if finer else begin
            out_order[count] = piece
            out_mass[count] = density[j] * area[piece]
            out_log[count] = log_density[j]
            within += out_mass[count]
            count += 1
            if j + 1 < len(start) and start[j + 1] < end:
                j += 1
            else:
                break
        if rel_mass[i] > 0.0:
            ratio = rel_mass[i] / within
            rise = np.log(ratio)
            information += rel_mass[i] * rise
            for c in range(first, count):
                out_mass[c] *= ratio
                out_log[c] += rise
                entropy -= out_mass[c] * out_log[c]
        else:
            for c in range(first, count):
                out_mass[c] = 0.0
                out_log[c] = -np.inf
    return out_start[:count], out_order[:count], out_mass[:count], out_log[:count], entropy, max(information, 0.0)


@numba.njit(cache=ON_DISK, nogil=True)
def _bins(order, mass, log_density, top):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    area = np.pi / 3.0 / 4.0 ** np.arange(MAX_ORDER + 1)
    masses, areas = np.zeros(_BINS), np.zeros(_BINS)
    for i in range(len(mass)):
        # Beyond sixty nats below the densest, and where there is no mass, all is one.
        at = int(min((top - log_density[i]) / _BIN, _BINS - 1.0))
        masses[at] += mass[i]
        areas[at] += area[order[i]]
    return masses, areas


@numba.njit(cache=ON_DISK, nogil=True)
def _pooled(start, order, mass):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Masses of the cells of orders 0 to ``POOL_ORDER``, order after order."""
    first = pyramid_start(POOL_ORDER)
    out = np.zeros(first + 12 * 4**POOL_ORDER)
    shift = 2 * (MAX_ORDER - POOL_ORDER)
    for i in range(len(start)):
        begin = first + (start[i] >> shift)
        if order[i] >= POOL_ORDER:
            out[begin] += mass[i]
        else:
            within = 1 << (2 * (POOL_ORDER - order[i]))
            each = mass[i] / within
            for c in range(begin, begin + within):
                out[c] += each
    for level in range(POOL_ORDER - 1, -1, -1):
        here, below = pyramid_start(level), pyramid_start(level + 1)
        for c in range(12 * 4**level):
            at = below + 4 * c
            out[here + c] = out[at] + out[at + 1] + out[at + 2] + out[at + 3]
    return out
