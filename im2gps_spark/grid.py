"""HEALPix cells and multi-order maps: the one form in which every engine writes its answer.

A cell is a number in the IVOA's NUNIQ scheme, 4 * 4^order + nested index (IVOA MOC 2.0, section 4.3.2). Cells of one
order have equal areas; in nested numbering a cell is an interval of the curve and its four children are the quarters
of that interval, so unions, intersections and look-ups are comparisons of integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import hpgeom
import numpy as np
from numpy.typing import ArrayLike, NDArray

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, unit_vectors

MAX_ORDER = 29
"""The deepest order whose indices fit in 63 bits; positions on the curve are counted in its cells."""
CURVE_LENGTH = 12 * 4**MAX_ORDER

Ints = NDArray[np.int64]


def run_starts(keys: NDArray) -> Ints:
    """Where the runs of equal values begin: positions in (n,) values."""
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)


def cell_area_sr(order: ArrayLike) -> Floats:
    """Area of one cell, steradians."""
    return np.asarray(4.0 * np.pi / 12.0 / 4.0 ** np.asarray(order, np.float64))


def cell_side_radians(order: ArrayLike) -> Floats:
    """Square root of a cell's area, radians: what its 'size' means throughout."""
    return np.sqrt(cell_area_sr(order))


def to_nuniq(order: ArrayLike, index: ArrayLike) -> Ints:
    """NUNIQ numbers of nested cells."""
    return np.asarray(4 * 4 ** np.asarray(order, np.int64) + np.asarray(index, np.int64))


def from_nuniq(cells: ArrayLike) -> tuple[Ints, Ints]:
    """Orders and nested indices of NUNIQ numbers.

    Raises:
        ValueError: a number is none of a cell's.
    """
    cell = np.asarray(cells, np.int64)
    # floor(log2(cell)): frexp would round numbers near a power of two above 2^53, so settle those by comparison.
    bits = np.frexp(np.maximum(cell, 1).astype(np.float64))[1] - 1
    order = np.clip(bits // 2 - 1, 0, MAX_ORDER).astype(np.int64)
    order = np.where(cell < 4 * 4**order, order - 1, order)
    index = cell - 4 * 4 ** np.maximum(order, 0)
    if bool(np.any((order < 0) | (index < 0) | (index >= 12 * 4 ** np.maximum(order, 0)))):
        raise ValueError("not a NUNIQ cell number: it must be 4 * 4^order + index, 0 <= index < 12 * 4^order")
    return order, index


def first_point(order: ArrayLike, index: ArrayLike) -> Ints:
    """Where cells begin on the nested curve, in cells of ``MAX_ORDER``."""
    return np.asarray(np.asarray(index, np.int64) << (2 * (MAX_ORDER - np.asarray(order, np.int64))))


def cells_at(order: int, vectors: Floats) -> Ints:
    """Nested indices (n,) at one order of the cells that hold unit vectors (n, 3)."""
    if len(vectors) == 0:
        return np.zeros(0, np.int64)
    nside = 1 << order
    return np.asarray(hpgeom.vector_to_pixel(nside, *np.ascontiguousarray(vectors.T), nest=True), np.int64)


def cell_centres(order: ArrayLike, index: ArrayLike) -> Floats:
    """Unit vectors (n, 3) of the centres of nested cells, of one order or of many."""
    idx = np.asarray(index, np.int64)
    if idx.size == 0:
        return np.zeros((*idx.shape, 3))
    orders = np.broadcast_to(np.asarray(order, np.int64), idx.shape)
    return np.stack(hpgeom.pixel_to_vector(1 << orders, idx, nest=True), axis=-1).astype(np.float64)


def neighbours(order: ArrayLike, index: ArrayLike) -> Ints:
    """Nested indices (n, 8) of the cells that touch each cell at its own order; -1 where one is missing."""
    idx = np.asarray(index, np.int64)
    if idx.size == 0:
        return np.zeros((0, 8), np.int64)
    orders = np.broadcast_to(np.asarray(order, np.int64), idx.shape)
    return np.asarray(hpgeom.neighbors(1 << orders, idx, nest=True), np.int64).reshape(-1, 8)


@dataclass(frozen=True)
class MultiOrderMap:
    """Masses on disjoint cells that cover the sphere: a probability law, uniform within each cell.

    Attributes:
        cells: (n,) int64, NUNIQ, sorted by first point on the nested curve.
        mass: (n,) float64, non-negative.

    Raises:
        ValueError: cells that overlap, leave a gap or are out of order; masses that are negative or not finite.
    """

    cells: Ints
    mass: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", np.asarray(self.cells, np.int64))
        object.__setattr__(self, "mass", np.asarray(self.mass, np.float64))
        if self.cells.shape != self.mass.shape or self.cells.ndim != 1:
            raise ValueError("a map needs one mass for each cell")
        ends = self.starts + (np.int64(1) << (2 * (MAX_ORDER - self.order)))
        if len(ends) == 0 or self.starts[0] != 0 or ends[-1] != CURVE_LENGTH or np.any(ends[:-1] != self.starts[1:]):
            raise ValueError("the cells of a map must cover the sphere once, sorted along the nested curve")
        if not bool(np.all((self.mass >= 0) & np.isfinite(self.mass))):
            raise ValueError("the masses of a map must be finite and not negative")

    @classmethod
    def from_cells(cls, cells: ArrayLike, mass: ArrayLike) -> MultiOrderMap:
        """A map from cells in any order, sorted here."""
        nuniq = np.asarray(cells, np.int64)
        rank = np.argsort(first_point(*from_nuniq(nuniq)), kind="stable")
        return cls(nuniq[rank], np.asarray(mass, np.float64)[rank])

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, float]]) -> MultiOrderMap:
        """A map from rows of ``cell`` and ``mass``, as the column ``posteriors.map`` holds them."""
        pairs = [(row["cell"], row["mass"]) for row in rows]
        return cls(np.array([cell for cell, _ in pairs], np.int64), np.array([mass for _, mass in pairs]))

    @classmethod
    def uniform(cls) -> MultiOrderMap:
        """The uniform law, on the twelve cells of order 0."""
        return cls(to_nuniq(0, np.arange(12)), np.full(12, 1.0 / 12.0))

    @cached_property
    def _decoded(self) -> tuple[Ints, Ints]:
        return from_nuniq(self.cells)

    @property
    def order(self) -> Ints:
        """(n,) orders of the cells."""
        return self._decoded[0]

    @property
    def index(self) -> Ints:
        """(n,) nested indices of the cells at their orders."""
        return self._decoded[1]

    @cached_property
    def starts(self) -> Ints:
        """(n,) first points of the cells on the curve, increasing."""
        return first_point(self.order, self.index)

    @cached_property
    def area_sr(self) -> Floats:
        """(n,) areas, steradians; their sum is 4 pi."""
        return cell_area_sr(self.order)

    @cached_property
    def density(self) -> Floats:
        """(n,) mass per steradian."""
        return np.asarray(self.mass / self.area_sr)

    @cached_property
    def centres(self) -> Floats:
        """(n, 3) unit vectors of the cells' centres."""
        return cell_centres(self.order, self.index)

    def centres_of(self, which: Ints | np.integer) -> Floats:
        """Unit vectors (..., 3) of some cells' centres, by their positions in this map."""
        return cell_centres(self.order[which], self.index[which])

    @cached_property
    def cumulative(self) -> Floats:
        """(n + 1,) mass on the curve before each cell, and the whole at the end."""
        return np.concatenate([[0.0], np.cumsum(self.mass)])

    def find(self, vectors: Floats) -> Ints:
        """Positions (n,) in this map of the cells that hold unit vectors (n, 3)."""
        return np.asarray(np.searchsorted(self.starts, cells_at(MAX_ORDER, vectors), side="right") - 1)

    def mass_within(self, order: ArrayLike, index: ArrayLike) -> Floats:
        """Mass in nested cells, whether they are finer or coarser than this map's."""
        begin = first_point(order, index)
        end = begin + (np.int64(1) << (2 * (MAX_ORDER - np.asarray(order, np.int64))))
        # A cell lies within one of the map's or is a union of them, so differences of a running sum would do;
        # they cancel where the mass is small, hence the exact product there.
        first = np.searchsorted(self.starts, begin, side="right") - 1
        last = np.searchsorted(self.starts, end, side="left") - 1
        inside = self.density[first] * cell_area_sr(order)
        union = self.cumulative[last + 1] - self.cumulative[first]
        return np.asarray(np.where(first == last, inside, union))

    def check(self) -> MultiOrderMap:
        """Itself, if its mass is 1 within 1e-6.

        Raises:
            ValueError: it is not.
        """
        total = float(self.mass.sum())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the map's mass is {total!r}, not 1")
        return self


def resolve(relative: MultiOrderMap, prior: MultiOrderMap) -> MultiOrderMap:
    """The law that a map stands for when within each of its cells the density follows a prior map.

    This is the meaning of the column ``posteriors.map``. Both are quadtree cells, so their common refinement
    consists of cells of the one or the other, and within those the result is uniform.

    Raises:
        ValueError: the prior is zero in a cell that has mass.
    """
    # Two sorted runs: a stable sort merges them, where union1d would hash.
    both = np.sort(np.concatenate([relative.starts, prior.starts]), kind="stable")
    starts = both[run_starts(both)]
    coarse = np.searchsorted(relative.starts, starts, side="right") - 1
    fine = np.searchsorted(prior.starts, starts, side="right") - 1
    order = np.maximum(relative.order[coarse], prior.order[fine])
    share = prior.density[fine] * cell_area_sr(order)
    whole = np.bincount(coarse, weights=share, minlength=len(relative.cells))
    if bool(np.any((whole <= 0) & (relative.mass > 0))):
        raise ValueError("the prior map is zero where the map has mass: it must be positive everywhere")
    ratio = relative.mass / np.where(whole > 0, whole, 1.0)
    index = starts >> (2 * (MAX_ORDER - order))
    return MultiOrderMap(to_nuniq(order, index), share * ratio[coarse])


def cells_from_coordinates(order: int, latitude: ArrayLike, longitude: ArrayLike) -> Ints:
    """Nested indices at one order of points in degrees."""
    return cells_at(order, unit_vectors(latitude, longitude).reshape(-1, 3))


def area_km2(steradians: ArrayLike) -> Floats:
    """Areas on the ground, km^2."""
    return np.asarray(np.asarray(steradians, np.float64) * EARTH_RADIUS_KM**2)
