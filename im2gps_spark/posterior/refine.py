"""A density to a multi-order map: cells are split where the map would be wrong, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from im2gps_spark.grid import (
    MAX_ORDER,
    Ints,
    MultiOrderMap,
    cell_area_sr,
    cell_centres,
    cell_side_radians,
    cells_at,
    first_point,
    to_nuniq,
)
from im2gps_spark.posterior.field import Field
from im2gps_spark.posterior.kernels import Profile, equal_mass_points, kernel_sum
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

FINEST_ORDER = 12
"""Cells of 1.6 km: finer than any kernel that is allowed."""

_COARSEST_ORDER = 1
# A kernel narrower than this part of a cell's side is summed over points drawn through it, wider ones are evaluated at
# the cell's centre, blurred by the cell's spread; there both err by a few per cent of the kernel's mass.
_POINTS_BELOW = 0.5
# Points of all kernels of one width together, and of each kernel at least; and witnesses of the error, of all widths.
_POINTS, _POINTS_A_KERNEL, _WITNESSES = 8192, 7, 4096
# The error that is seen, the larger of two estimates, against the one that is there: about the same (tests/posterior).
_DEEPER = 1.0


@dataclass(frozen=True)
class Density:
    """kernels + prior + uniform: a law on the sphere that is positive everywhere.

    p(y) = kernel_share sum_j weights_j profile(y; places_j) + prior_share prior(y) + uniform_share / 4 pi

    Attributes:
        places: (m, 3) unit vectors.
        weights: (m,), summing to 1 (or empty).
        profile: the kernel, of mass 1.
        prior: the law that maps are relative to.
        kernel_share, prior_share, uniform_share: summing to 1.
    """

    places: Floats
    weights: Floats
    profile: Profile
    prior: MultiOrderMap
    kernel_share: float
    prior_share: float
    uniform_share: float

    def at(self, points: Floats) -> Floats:
        """Density per steradian at unit vectors (n, 3)."""
        return np.asarray(self.beyond_prior(points) + self.prior_share * self.prior.density[self.prior.find(points)])

    def beyond_prior(self, points: Floats) -> Floats:
        """The part of the density that does not follow the prior, per steradian."""
        kernels = kernel_sum(points, self.places, self.weights, self.profile)
        return np.asarray(self.kernel_share * kernels + self.uniform_share / (4.0 * np.pi))


@dataclass
class _Leaves:
    """Cells under refinement: their children's masses (n, 4) beyond the prior, their prior masses, their errors."""

    order: Ints
    index: Ints
    children: Floats
    prior: Floats
    error: Floats

    def __len__(self) -> int:
        return len(self.order)

    def pick(self, which: np.ndarray) -> _Leaves:
        return _Leaves(*(column[which] for column in self._columns()))

    def joined(self, other: _Leaves) -> _Leaves:
        return _Leaves(*map(np.concatenate, zip(self._columns(), other._columns(), strict=True)))

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.order, self.index, self.children, self.prior, self.error


def refine(density: Density, tolerance: float, finest_order: int = FINEST_ORDER) -> MultiOrderMap:
    """The density's map, within each cell proportional to its prior (the contract of ``posteriors.map``).

    Cells with the largest error are split first, until what is left is under the tolerance. With p the part of the
    density beyond the prior q, and R = p(cell) / q(cell), a cell's error is what following the prior in it would
    misplace, the integral of (p - R q)+ over the cell. It is estimated twice, and the larger taken: by the masses of
    the four children, and as E_p[(1 - R q/p)+] by witnesses drawn from p, which see what is too narrow for those.

    Args:
        density: the law to map.
        tolerance: total variation between the law and its map at which splitting stops.
        finest_order: cells of this order are not split.

    Returns:
        a map of mass 1.
    """
    state = _Refinement(density, finest_order)
    leaves = state.start()
    target = tolerance / _DEEPER
    while leaves.error.sum() > target:
        rank = np.argsort(-leaves.error, kind="stable")
        # All whose errors exceed half the target together: in the end errors are about equal, so these would be
        # split sooner or later, and one pass over many cells costs little more than one over few.
        rest = np.cumsum(leaves.error[rank][::-1])[::-1]
        chosen = rank[(rest > 0.5 * target) & (leaves.error[rank] > 0)]
        keep = np.ones(len(leaves), bool)
        keep[chosen] = False
        leaves = leaves.pick(keep).joined(state.split(leaves.pick(chosen)))
    return state.finish(leaves)


class _Refinement:
    """Points through the kernels of one density, along the curve; and the masses and errors of cells by them."""

    def __init__(self, density: Density, finest_order: int) -> None:
        self.density = density
        self.finest_order = finest_order
        # Repeats of a place are one, so that they are drawn through like one.
        heard = density.weights > 0
        self.places, which = np.unique(density.places[heard], axis=0, return_inverse=True)
        weights = np.bincount(which.ravel(), weights=density.weights[heard], minlength=len(self.places))
        self.weights = np.asarray(weights, np.float64)
        self._field = Field(self.places, self.weights, density.profile)
        self._points = {width: self._draw(width) for width in density.profile.widths_km}
        self._find_witnesses()

    def _draw(self, width_km: float) -> tuple[Ints, Floats, Floats]:
        """Points through the kernels of one width: where on the curve, vectors, weights; sorted."""
        count = max(_POINTS_A_KERNEL, _POINTS // max(len(self.places), 1))
        points = equal_mass_points(self.places, width_km, count).reshape(-1, 3)
        at = cells_at(MAX_ORDER, points)
        rank = np.argsort(at, kind="stable")
        return at[rank], points[rank], np.repeat(self.weights / count, count)[rank]

    def _find_witnesses(self) -> None:
        """A sample of p: points of all widths, every so many along the curve, with p's ratio to the prior there."""
        density = self.density
        shares = zip(density.profile.shares, self._points.values(), strict=True)
        drawn = [(at, points, density.kernel_share * share * weight) for share, (at, points, weight) in shares]
        uniform = cell_centres(_COARSEST_ORDER + 1, np.arange(12 * 4 ** (_COARSEST_ORDER + 1)))
        weight = np.full(len(uniform), density.uniform_share / len(uniform))
        drawn.append((cells_at(MAX_ORDER, uniform), uniform, weight))
        at, points, weight = (np.concatenate(column) for column in zip(*drawn, strict=True))
        rank = np.argsort(at, kind="stable")
        # Systematic sampling by weight: each witness stands for an equal part of p.
        before = np.cumsum(weight[rank])
        ticks = (np.arange(_WITNESSES) + 0.5) / _WITNESSES * before[-1]
        chosen = rank[np.minimum(np.searchsorted(before, ticks), len(rank) - 1)]
        self.witnesses = at[chosen]
        self.part = before[-1] / _WITNESSES
        seen, back = np.unique(chosen, return_inverse=True)
        self.ratio = (density.beyond_prior(points[seen]) / density.prior.density[density.prior.find(points[seen])])[
            back
        ]

    def start(self) -> _Leaves:
        index = np.arange(12 * 4**_COARSEST_ORDER)
        return self._measure(np.full(len(index), _COARSEST_ORDER), index)

    def split(self, leaves: _Leaves) -> _Leaves:
        return self._measure(np.repeat(leaves.order + 1, 4), _children(leaves.index))

    def _measure(self, order: Ints, index: Ints) -> _Leaves:
        below_order, below = np.repeat(order + 1, 4), _children(index)
        children = self._masses(below_order, below).reshape(-1, 4)
        below_prior = self.density.prior.mass_within(below_order, below).reshape(-1, 4)
        prior = below_prior.sum(axis=1)
        ratio = children.sum(axis=1) / prior
        begin = np.searchsorted(self.witnesses, first_point(order, index))
        count = np.searchsorted(self.witnesses, first_point(order, index + 1)) - begin
        which = np.repeat(np.arange(len(index)), count)
        witness = np.arange(len(which)) + np.repeat(begin - np.cumsum(count) + count, count)
        misplaced = np.maximum(0.0, 1.0 - ratio[which] / self.ratio[witness])
        seen = self.part * np.bincount(which, weights=misplaced, minlength=len(index))
        error = np.maximum(seen, np.maximum(children - ratio[:, None] * below_prior, 0.0).sum(axis=1))
        error[order >= self.finest_order] = 0.0
        return _Leaves(order, index, children, prior, error)

    def _masses(self, order: Ints, index: Ints) -> Floats:
        """Masses of cells beyond the prior, level by level."""
        mass = np.empty(len(order))
        for level in np.unique(order):
            at = np.flatnonzero(order == level)
            mass[at] = self._masses_at(int(level), index[at])
        return mass

    def _masses_at(self, order: int, index: Ints) -> Floats:
        density, side = self.density, float(cell_side_radians(order)) * EARTH_RADIUS_KM
        narrow, wide = density.profile.split(_POINTS_BELOW * side)
        mass = np.full(len(index), density.uniform_share / (12.0 * 4.0**order))
        if wide.widths_km:
            within = self._field.at_cells(order, index, _POINTS_BELOW * side)
            mass += density.kernel_share * within * cell_area_sr(order)
        for width, share in zip(narrow.widths_km, narrow.shares, strict=True):
            curve, _, weight = self._points[width]
            before = np.concatenate([[0.0], np.cumsum(weight)])
            begin, end = (np.searchsorted(curve, first_point(order, i)) for i in (index, index + 1))
            mass += density.kernel_share * share * (before[end] - before[begin])
        return mass

    def finish(self, leaves: _Leaves) -> MultiOrderMap:
        density = self.density
        beyond = leaves.children.sum(axis=1)
        # Sums of centre values miss a mass of 1 by a trifle; it is given back in proportion.
        beyond *= (density.kernel_share + density.uniform_share) / beyond.sum()
        mass = beyond + density.prior_share * leaves.prior
        return MultiOrderMap.from_cells(to_nuniq(leaves.order, leaves.index), mass / mass.sum())


def _children(index: Ints) -> Ints:
    return np.asarray((4 * index[:, None] + np.arange(4)).ravel())
