"""Kernel sums over many small cells: wide kernels by their slope from larger cells, narrow ones by who is near."""

from __future__ import annotations

import numba
import numpy as np
from scipy.spatial import cKDTree

from im2gps_spark.grid import Ints, cell_centres, cell_side_radians
from im2gps_spark.posterior.kernels import ON_DISK, Profile, kernel_sum, pull_sum
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

# Cells of this order and finer are computed so; coarser ones are few.
_FINE_ORDER = 7
# Wide kernels are followed by value and slope from the centre of the cell of this order (102 km): a kernel of 150 km
# bends by a few per cent across it. Narrow ones find their places by cells of the other (204 km).
_SLOPE_ORDER, _NEAR_ORDER = 6, 5
_WIDE_KM = 150.0
# exp(-5.5^2 / 2) is 3e-7: beyond so many widths a kernel is nothing.
_REACH = 5.5


class Field:
    """The density of weighted kernels, to be asked at the cells of a map under refinement.

    Args:
        places: (m, 3) unit vectors.
        weights: (m,).
        profile: the kernel.
    """

    def __init__(self, places: Floats, weights: Floats, profile: Profile) -> None:
        self.places, self.weights = places, weights
        self.narrow, self.wide = profile.split(_WIDE_KM)
        self._tree = cKDTree(places) if len(places) else None
        self._near: dict[int, Ints] = {}
        self._known = np.zeros(0, np.int64)
        self._value, self._slope = np.zeros(0), np.zeros((0, 3))

    def at_cells(self, order: int, index: Ints, least_km: float) -> Floats:
        """(n,) mean densities per steradian over cells of one order, of the kernels no narrower than ``least_km``."""
        blur = float(cell_side_radians(order)) * EARTH_RADIUS_KM / np.sqrt(12.0)
        centres = cell_centres(order, index)
        narrow = self.narrow.split(least_km)[1].blurred(blur)
        if order < _FINE_ORDER or self._tree is None:
            wide = self.wide.split(least_km)[1].blurred(blur)
            whole = Profile(narrow.widths_km + wide.widths_km, narrow.shares + wide.shares)
            return kernel_sum(centres, self.places, self.weights, whole)
        return self._by_slope(order, index, centres) + self._by_near(order, index, centres, narrow)

    def _by_slope(self, order: int, index: Ints, centres: Floats) -> Floats:
        if not self.wide.widths_km:
            return np.zeros(len(index))
        above: Ints
        above, which = np.unique(index >> (2 * (order - _SLOPE_ORDER)), return_inverse=True)
        new = np.setdiff1d(above, self._known, assume_unique=True)
        if len(new):
            points = cell_centres(_SLOPE_ORDER, new)
            value = kernel_sum(points, self.places, self.weights, self.wide)
            slope = pull_sum(points, self.places, self.weights, self.wide)
            known = np.concatenate([self._known, new])
            rank = np.argsort(known)
            self._known = known[rank]
            self._value = np.concatenate([self._value, value])[rank]
            self._slope = np.concatenate([self._slope, slope])[rank]
        slot = np.searchsorted(self._known, above)[which]
        offset = centres - cell_centres(_SLOPE_ORDER, above)[which]
        value = self._value[slot]
        # By the slope of the logarithm: exact for one far kernel, and never negative.
        rise = np.einsum("ij,ij->i", self._slope[slot], offset) / np.maximum(value, 1e-300)
        return np.asarray(value * np.exp(np.clip(rise, -3.0, 3.0)))

    def _by_near(self, order: int, index: Ints, centres: Floats, narrow: Profile) -> Floats:
        if not narrow.widths_km:
            return np.zeros(len(index))
        blocks, which = np.unique(index >> (2 * (order - _NEAR_ORDER)), return_inverse=True)
        self._find_near(blocks)
        members = [self._near[block] for block in blocks.tolist()]
        ends = np.concatenate([[0], np.cumsum([len(m) for m in members])])
        table, steps = narrow.table
        x, y, z = np.ascontiguousarray(self.places.T)
        listed = np.concatenate([*members, np.zeros(0, np.int64)])
        return np.asarray(_near_sum(centres, ends[which], ends[which + 1], listed, x, y, z, self.weights, table, steps))

    def _find_near(self, blocks: Ints) -> None:
        """Who is within reach of each block, blurred kernels and the block's own radius included."""
        new = np.array([block for block in blocks.tolist() if block not in self._near], np.int64)
        if not len(new) or self._tree is None:
            return
        reach = _REACH * np.hypot(max(self.narrow.widths_km), 15.0) + float(
            cell_side_radians(_NEAR_ORDER) * EARTH_RADIUS_KM
        )
        chord = 2.0 * np.sin(min(reach / EARTH_RADIUS_KM, np.pi) / 2.0)
        found = self._tree.query_ball_point(cell_centres(_NEAR_ORDER, new), chord, return_sorted=True)
        self._near.update(zip(new.tolist(), (np.array(who, np.int64) for who in found), strict=True))


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _near_sum(points, begin, end, listed, px, py, pz, weights, table, steps):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.empty(len(points))
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        total = 0.0
        for k in range(begin[i], end[i]):
            j = listed[k]
            dx, dy, dz = x - px[j], y - py[j], z - pz[j]
            at = min(np.sqrt(dx * dx + dy * dy + dz * dz), 2.0) * steps
            low = np.int32(at)
            total += weights[j] * (table[low] + (at - low) * (table[low + 1] - table[low]))
        out[i] = total
    return out
