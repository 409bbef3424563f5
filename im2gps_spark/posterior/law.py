"""The law that a relative map stands for, and what is read from it without writing out all of its cells.

What ``grid.resolve`` and ``posterior.region.Ranking`` say exactly and at leisure; this is for millions of photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numba
import numpy as np

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, area_km2, resolve
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.curve import TOP_ORDER, pyramid_start, search
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.ranked import AREA, BRIDGE_ORDER, Ranked, positions, prior_mass
from im2gps_spark.sphere import Floats

# Densities are ranked in bins of a hundredth of a nat: areas come within a hundredth, and far closer as a rule.
_BIN = 0.01
_BINS = 6000


class Map(NamedTuple):
    """A relative map over a ``Ranked`` prior, for compiled loops. Within a cell the density is the prior's by a ratio.

    Attributes:
        start, order, mass: (m,) of the map's cells, along the curve.
        ratio, log_ratio: (m,).
        begin, end: (m,) positions of the prior's cells that a cell holds, or of the one that it is in.
    """

    start: Ints
    order: Ints
    mass: Floats
    ratio: Floats
    log_ratio: Floats
    begin: Ints
    end: Ints


@dataclass(frozen=True)
class Law:
    """A law that follows a prior within the cells of a map.

    Attributes:
        relative: the map.
        map, prior: both, for compiled loops.
        entropy: differential, nats over steradians.
        information_over_prior: Kullback-Leibler divergence from the prior, nats.
        top: the greatest log density, nats per steradian.
    """

    relative: MultiOrderMap
    background: Background
    map: Map
    prior: Ranked
    entropy: float
    information_over_prior: float
    top: float

    @classmethod
    def of(cls, relative: MultiOrderMap, background: Background) -> Law:
        """The law of a map that follows a prior within its cells."""
        prior = background.ranked
        *columns, entropy, information, top = _ratios(relative.starts, relative.order, relative.mass, prior)
        found = Map(relative.starts, relative.order, relative.mass, *columns)
        return cls(relative, background, found, prior, float(entropy), float(information), float(top))

    @classmethod
    def resolved(cls, law: MultiOrderMap) -> Law:
        """A law that is uniform within a map's cells; what it says beyond the prior is not known of it (NaN)."""
        made = cls.of(law, _even())
        return cls(law, made.background, made.map, made.prior, made.entropy, float("nan"), made.top)

    @cached_property
    def cells(self) -> MultiOrderMap:
        """The law written out: uniform within cells."""
        return resolve(self.relative, self.background.map)

    @cached_property
    def _ranks(self) -> tuple[Floats, Floats]:
        """Mass and area down to the end of each bin of density, the densest first; 0 before them."""
        mass, area = _bins(self.map, self.prior, self.top)
        return mass, area

    def area_km2(self, levels: Floats) -> Floats:
        """Areas of the smallest regions that hold given masses in [0, 1], km^2."""
        mass, area = self._ranks
        return area_km2(np.interp(levels, mass / mass[-1], area))

    def threshold(self, level: float) -> float:
        """Log density above which a region holds at least a mass: all of the bin in which it does."""
        mass, _ = self._ranks
        return self.top - _BIN * max(int(np.searchsorted(mass, level * mass[-1] * (1.0 - 1e-12))), 1)

    def pooled_to(self, order: int) -> Floats:
        """(12 * 4^order,) masses of the cells of an order, ``curve.TOP_ORDER`` at most."""
        return np.asarray(_pooled(order, self.map, self.prior))


@cache
def _even() -> Background:
    return Background(MultiOrderMap.uniform())


@numba.njit(cache=ON_DISK, nogil=True)
def _ratios(start, order, mass, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    count = len(start)
    ratios, log_ratios = np.empty(count), np.empty(count)
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    entropy, information, top = 0.0, 0.0, -np.inf
    for i in range(count):
        index = start[i] >> (2 * (MAX_ORDER - order[i]))
        begin, end = positions(prior, order[i], index)
        begins[i], ends[i] = begin, end
        if mass[i] <= 0.0:
            ratios[i], log_ratios[i] = 0.0, -np.inf
            continue
        if prior.order[begin] <= order[i]:
            densest = prior.log_density[begin]
            within = prior.density[begin] * AREA[order[i]]
            surprise = within * densest
        elif order[i] <= BRIDGE_ORDER:
            at = pyramid_start(order[i]) + index
            within, surprise, densest = prior.mass[at], prior.surprise[at], prior.densest[at]
        else:
            within, surprise, densest = 0.0, 0.0, -np.inf
            for j in range(begin, end):
                here = prior.density[j] * AREA[prior.order[j]]
                within += here
                surprise += here * prior.log_density[j]
                densest = max(densest, prior.log_density[j])
        ratio = mass[i] / within
        rise = np.log(ratio)
        ratios[i], log_ratios[i] = ratio, rise
        information += mass[i] * rise
        entropy -= mass[i] * rise + ratio * surprise
        top = max(top, densest + rise)
    return ratios, log_ratios, begins, ends, entropy, max(information, 0.0), top


@numba.njit(cache=ON_DISK, nogil=True)
def _bins(relative, prior, top):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    # Mass and area of a bin lie side by side: each is a read and a write, and there are as many as the prior has cells.
    both = np.zeros((_BINS, 2))
    scale = 1.0 / _BIN
    for i in range(len(relative.start)):
        order, ratio = relative.order[i], relative.ratio[i]
        begin, end = relative.begin[i], relative.end[i]
        # Beyond sixty nats below the densest, and where there is no mass, all is one.
        if ratio <= 0.0:
            both[_BINS - 1, 1] += AREA[order]
            continue
        above = (top - relative.log_ratio[i]) * scale
        if prior.order[begin] <= order:
            at = int(min(above - prior.log_density[begin] * scale, _BINS - 1.0))
            both[at, 0] += relative.mass[i]
            both[at, 1] += AREA[order]
        elif order <= BRIDGE_ORDER:
            for j in range(begin, end):
                at = int(min(above - prior.log_rank[j] * scale, _BINS - 1.0))
                both[at, 0] += ratio * prior.mass_rank[j]
                both[at, 1] += prior.area_rank[j]
        else:
            for j in range(begin, end):
                at = int(min(above - prior.log_density[j] * scale, _BINS - 1.0))
                area = AREA[prior.order[j]]
                both[at, 0] += ratio * prior.density[j] * area
                both[at, 1] += area
    mass, area = np.zeros(_BINS + 1), np.zeros(_BINS + 1)
    for b in range(_BINS):
        mass[b + 1], area[b + 1] = mass[b] + both[b, 0], area[b] + both[b, 1]
    return mass, area


@numba.njit(cache=ON_DISK, nogil=True)
def fill(order, begin, end, relative, prior, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The law's masses in the cells of an order from one up to another, along the curve."""
    shift = 2 * (MAX_ORDER - order)
    start = relative.start
    i = search(start, 0, len(start), (begin << shift) + 1) - 1
    here = begin
    while here < end:
        ratio, up_to = relative.ratio[i], end
        if i + 1 < len(start):
            up_to = min(end, start[i + 1] >> shift)
        if relative.order[i] >= order:
            # Cells of the map within one of the order; here they begin.
            total, after = 0.0, (here + 1) << shift
            while i < len(start) and start[i] < after:
                total += relative.mass[i]
                i += 1
            out[here - begin] = total
            here += 1
            continue
        if order <= TOP_ORDER:
            first = pyramid_start(order)
            for c in range(here, up_to):
                out[c - begin] = ratio * prior.mass[first + c]
        else:
            _fill_finer(order, here, up_to, begin, ratio, prior, out)
        here = up_to
        i += 1


@numba.njit(cache=ON_DISK, nogil=True)
def _fill_finer(order, here, up_to, begin, ratio, prior, out):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    shift = 2 * (MAX_ORDER - order)
    out[here - begin : up_to - begin] = 0.0
    j, _ = positions(prior, order, here)
    while j < len(prior.start) and prior.start[j] >> shift < up_to:
        level = prior.order[j]
        first = prior.start[j] >> shift
        if level >= order:
            out[first - begin] += ratio * prior.density[j] * AREA[level]
        else:
            each = ratio * prior.density[j] * AREA[order]
            for c in range(max(first, here), min(first + (1 << (2 * (order - level))), up_to)):
                out[c - begin] += each
        j += 1


@numba.njit(cache=ON_DISK, nogil=True)
def mass_in(order, index, relative, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The law's mass in one cell."""
    shift = 2 * (MAX_ORDER - order)
    start = relative.start
    i = search(start, 0, len(start), (index << shift) + 1) - 1
    if relative.order[i] < order:
        return relative.ratio[i] * prior_mass(prior, order, index)
    total, after = 0.0, (index + 1) << shift
    while i < len(start) and start[i] < after:
        total += relative.mass[i]
        i += 1
    return total


@numba.njit(cache=ON_DISK, nogil=True)
def _pooled(order, relative, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.empty(12 << (2 * order))
    fill(order, 0, len(out), relative, prior, out)
    return out
