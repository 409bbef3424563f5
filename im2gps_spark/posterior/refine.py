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
from im2gps_spark.posterior.kernels import Profile, equal_mass_points, kernel_sum
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

FINEST_ORDER = 12
"""Cells of 1.6 km: finer than any kernel that is allowed."""

_COARSEST_ORDER = 1
# A kernel narrower than this part of a cell's side is summed over points drawn through it, wider ones are evaluated at
# the cell's centre, blurred by the cell's spread; there both err by a few per cent of the kernel's mass.
_POINTS_BELOW = 0.4
# Points of all kernels of one width together, and of each of them at least.
_POINTS, _POINTS_A_KERNEL = 8192, 7
# The error seen one level down is followed by smaller ones further down: half as much again (tests/posterior).
_DEEPER = 1.5


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
        kernels = kernel_sum(points, self.places, self.weights, self.profile)
        rest = self.prior_share * self.prior.density[self.prior.find(points)]
        return np.asarray(self.kernel_share * kernels + rest + self.uniform_share / (4.0 * np.pi))

    def beyond_prior(self, points: Floats) -> Floats:
        """The part of the density that does not follow the prior."""
        kernels = kernel_sum(points, self.places, self.weights, self.profile)
        return np.asarray(self.kernel_share * kernels + self.uniform_share / (4.0 * np.pi))


@dataclass
class _Leaves:
    """Cells under refinement, with the masses of their four children by the part beyond the prior, and its error."""

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

    Cells with the largest error are split first, until what is left is under the tolerance. The error of a cell is
    what its four children would lose by following the prior; structure too narrow to show among them is bounded by
    how the density's ratio to the prior at the places inside departs from the cell's.

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
    """The places of one density along the curve, and the masses of cells by it."""

    def __init__(self, density: Density, finest_order: int) -> None:
        at = cells_at(MAX_ORDER, density.places)
        rank = np.argsort(at, kind="stable")
        self.density = density
        self.finest_order = finest_order
        self.curve = at[rank]
        self.weights = density.weights[rank]
        self._points: dict[float, tuple[Ints, Floats]] = {}
        places = density.places[rank]
        # What prior-following has to reproduce at each place.
        self.ratio = density.beyond_prior(places) / density.prior.density[density.prior.find(places)]

    def start(self) -> _Leaves:
        index = np.arange(12 * 4**_COARSEST_ORDER)
        return self.measure(np.full(len(index), _COARSEST_ORDER), index)

    def split(self, leaves: _Leaves) -> _Leaves:
        order = np.repeat(leaves.order + 1, 4)
        return self.measure(order, _children(leaves.index))

    def measure(self, order: Ints, index: Ints) -> _Leaves:
        """Cells with their children's masses and errors, level by level."""
        children = np.empty((len(order), 4))
        unresolved = np.empty(len(order))
        for level in np.unique(order):
            at = np.flatnonzero(order == level)
            masses, points = self._masses(int(level) + 1, _children(index[at]))
            children[at] = masses.reshape(-1, 4)
            unresolved[at] = points
        below = self.density.prior.mass_within(np.repeat(order + 1, 4), _children(index)).reshape(-1, 4)
        prior = below.sum(axis=1)
        mass = children.sum(axis=1)
        error = 0.5 * np.abs(children - (mass / prior)[:, None] * below).sum(axis=1)
        error = np.maximum(error, 0.5 * unresolved * self._departure(order, index, mass / prior))
        error[order >= self.finest_order] = 0.0
        return _Leaves(order, index, children, prior, error)

    def _masses(self, order: int, index: Ints) -> tuple[Floats, float]:
        """Masses of cells of one order beyond the prior; and the mass of a place's kernels that are narrow for them."""
        density, side = self.density, float(cell_side_radians(order)) * EARTH_RADIUS_KM
        narrow, wide = density.profile.split(_POINTS_BELOW * side)
        mass = np.full(len(index), density.uniform_share / (12.0 * 4.0**order))
        if wide.widths_km:
            blurred = wide.blurred(side / np.sqrt(12.0))
            at_centre = kernel_sum(cell_centres(order, index), density.places, density.weights, blurred)
            mass += density.kernel_share * at_centre * cell_area_sr(order)
        for width, share in zip(narrow.widths_km, narrow.shares, strict=True):
            mass += density.kernel_share * share * self._weight_inside(width, order, index)
        return mass, density.kernel_share * narrow.mass

    def _inside(self, order: Ints | int, index: Ints) -> tuple[Ints, Ints]:
        """Ranges of places, along the curve, that lie in cells."""
        begin = np.searchsorted(self.curve, first_point(order, index))
        return begin, np.searchsorted(self.curve, first_point(order, index + 1))

    def _weight_inside(self, width_km: float, order: int, index: Ints) -> Floats:
        """Weight of the kernels of one width in cells, by points of equal mass through each kernel."""
        if width_km not in self._points:
            count = max(_POINTS_A_KERNEL, _POINTS // max(len(self.density.places), 1))
            at = cells_at(MAX_ORDER, equal_mass_points(self.density.places, width_km, count).reshape(-1, 3))
            rank = np.argsort(at, kind="stable")
            weight = np.repeat(self.density.weights / count, count)[rank]
            self._points[width_km] = at[rank], np.concatenate([[0.0], np.cumsum(weight)])
        curve, cumulative = self._points[width_km]
        begin, end = (np.searchsorted(curve, first_point(order, i)) for i in (index, index + 1))
        return np.asarray(cumulative[end] - cumulative[begin])

    def _departure(self, order: Ints, index: Ints, ratio: Floats) -> Floats:
        """Weight of the places in each cell, by how far their ratio to the prior is from the cell's."""
        begin, end = self._inside(order, index)
        count = end - begin
        which = np.repeat(np.arange(len(index)), count)
        if len(which) == 0:
            return np.zeros(len(index))
        place = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(begin, count)
        off = self.weights[place] * np.abs(1.0 - ratio[which] / self.ratio[place])
        return np.asarray(np.bincount(which, weights=off, minlength=len(index)), np.float64)

    def finish(self, leaves: _Leaves) -> MultiOrderMap:
        density = self.density
        beyond = leaves.children.sum(axis=1)
        # Sums of centre values miss a mass of 1 by a trifle; it is given back in proportion.
        beyond *= (density.kernel_share + density.uniform_share) / beyond.sum()
        mass = beyond + density.prior_share * leaves.prior
        return MultiOrderMap.from_cells(to_nuniq(leaves.order, leaves.index), mass / mass.sum())


def _children(index: Ints) -> Ints:
    return np.asarray((4 * index[:, None] + np.arange(4)).ravel())
