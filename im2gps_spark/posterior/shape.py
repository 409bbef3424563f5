"""The mass of a law within discs and polygons: cells that a border cuts are split until hardly any mass is in doubt."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import hpgeom
import numpy as np
from numpy.typing import ArrayLike, NDArray

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, cell_centres, cell_side_radians
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, distance_km, normalised, unit_vectors

TOLERANCE = 1e-3
"""Mass in cells that the border cuts, in parts of the mass inside, at which splitting stops. They then count by their
centres, whose errors mostly cancel: a tenth to a thousandth of it is left."""

_FLOOR = 1e-9
"""Mass that is not worth splitting for: a map's own need sum to 1 within 1e-6 only."""
_MOST_CUT = 2**18
"""Cells in doubt at which splitting stops, too: a border without an inside would go on for ever."""

# A share of the sphere closer to one half than this does not tell which side of a polygon is the smaller.
_ALIKE = 1e-2
# How far off a cell's centre its point is, in parts of its side, and whither.
_OFF = 1e-3
# Coordinates of no cell's corner or centre, of no meridian's, and of nobody's round numbers.
_ASKEW = normalised([0.4142, 0.6180, 0.3679])
_RADIUS = (1.0 + 3.0 * _OFF) * np.asarray(hpgeom.max_pixel_radius(1 << np.arange(MAX_ORDER + 1), degrees=False))

Flags = NDArray[np.bool_]


class Shape(Protocol):
    """A part of the sphere. Its border consists of pieces, so that each cell is asked about the few that it meets."""

    @property
    def pieces(self) -> int:
        """How many pieces the border has."""

    def holds(self, points: Floats) -> Flags:
        """Which of unit vectors (n, 3) are inside."""

    def away(self, points: Floats, piece: Ints) -> Floats:
        """(n,) distances from points (n, 3) to a piece (n,) each, radians."""

    def crossed(self, start: Floats, end: Floats, piece: Ints) -> Flags:
        """Whether arcs between points (n, 3), shorter than half a circle, change sides at a piece (n,) each."""


@dataclass(frozen=True, eq=False)
class Disc:
    """All within ``radius`` radians of ``centre`` (3,)."""

    centre: Floats
    radius: float

    @classmethod
    def of(cls, latitude: float, longitude: float, radius_km: float) -> Disc:
        """A disc in degrees and km.

        Raises:
            ValueError: a coordinate is not finite or out of range, the radius not finite or negative.
        """
        if not (np.isfinite(radius_km) and radius_km >= 0):
            raise ValueError(f"a radius must be finite and not negative, not {radius_km} km")
        return cls(unit_vectors(latitude, longitude), float(radius_km) / EARTH_RADIUS_KM)

    @property
    def pieces(self) -> int:
        """The circle."""
        return 1

    def _beyond(self, points: Floats) -> Floats:
        return distance_km(points, self.centre) / EARTH_RADIUS_KM - self.radius

    def holds(self, points: Floats) -> Flags:
        """Which of unit vectors (n, 3) are inside or on the circle."""
        return np.asarray(self._beyond(points) <= 0)

    def away(self, points: Floats, piece: Ints) -> Floats:
        """(n,) distances to the circle, radians."""
        return np.abs(self._beyond(points))

    def crossed(self, start: Floats, end: Floats, piece: Ints) -> Flags:
        """Whether just one of two points (n, 3) is inside."""
        return np.asarray(self.holds(start) != self.holds(end))


@dataclass(frozen=True, eq=False)
class Polygon:
    """What great-circle arcs between vertices enclose; where they cross each other, sides alternate.

    Attributes:
        vertices: (m, 3) unit vectors; the last is joined to the first.
        reference: (3,) unit vector off the border.
        reference_inside: whether that is inside.
    """

    vertices: Floats
    reference: Floats
    reference_inside: bool

    @classmethod
    def of(cls, latitudes: ArrayLike, longitudes: ArrayLike, inside: tuple[float, float] | None = None) -> Polygon:
        """A polygon in degrees.

        Args:
            latitudes, longitudes: (m,) of the vertices, in either sense; the first may be repeated at the end. They
                may cross longitude 180 and go round a pole.
            inside: latitude and longitude of a point inside. If not given, the smaller side is the inside.

        Raises:
            ValueError: a coordinate is not finite or out of range; fewer than three vertices; consecutive ones are
                antipodes; ``inside`` is on the border, or is needed, for the sides differ by under 2 % of the sphere.
        """
        if np.ndim(latitudes) != 1 or np.shape(latitudes) != np.shape(longitudes):
            raise ValueError("a polygon needs one latitude and one longitude for each vertex")
        corners = unit_vectors(latitudes, longitudes)
        corners = corners[np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1) > 1e-12]
        if len(np.unique(np.round(corners, 12), axis=0)) < 3:
            raise ValueError("a polygon needs three different vertices at least")
        if np.any(np.linalg.norm(corners + np.roll(corners, -1, axis=0), axis=1) < 1e-9):
            raise ValueError("between antipodes there is no one arc: put a vertex between them")
        if inside is not None:
            given = cls(corners, unit_vectors(*inside), True)
            if given._clearance(given.reference) < 1e-9:
                raise ValueError("the point inside a polygon must not be on its border")
            return given
        free = cls(corners, _ASKEW, True)
        points = _points(np.zeros(12, np.int64), np.arange(12))
        guess = cls(corners, points[np.argmax([free._clearance(point) for point in points])], True)
        share = mass_inside(MultiOrderMap.uniform(), guess, _ALIKE)
        if abs(share - 0.5) < _ALIKE:
            raise ValueError("the polygon's sides are about equally large: say by a point which of them is the inside")
        return cls(corners, guess.reference, share < 0.5)

    @property
    def pieces(self) -> int:
        """As many edges as vertices."""
        return len(self.vertices)

    def _clearance(self, point: Floats) -> float:
        """Distance from a point (3,) to the border, radians."""
        every = np.arange(self.pieces)
        return float(self.away(np.broadcast_to(point, (self.pieces, 3)), every).min())

    def holds(self, points: Floats) -> Flags:
        """Which of unit vectors (n, 3) are inside: by the edges between them and the reference."""
        # No one arc leads to the antipode: thither by a point halfway.
        across = normalised(np.cross(self.reference, np.eye(3)[np.argmin(np.abs(self.reference))]))
        via = np.where((points @ self.reference < -0.9)[:, None], across, self.reference)
        shape = (len(points), self.pieces, 3)
        piece = np.tile(np.arange(self.pieces), len(points))
        stops = [np.broadcast_to(p, shape).reshape(-1, 3) for p in (self.reference, via[:, None], points[:, None])]
        crossings = np.zeros(len(points), np.int64)
        for start, end in pairwise(stops):
            crossings += self.crossed(start, end, piece).reshape(shape[:2]).sum(axis=1)
        return np.asarray((crossings % 2 == 1) != self.reference_inside)

    def away(self, points: Floats, piece: Ints) -> Floats:
        """(n,) distances to edges, radians: to the great circle beside an edge, else to the nearer end."""
        a, b = self.vertices[piece], np.roll(self.vertices, -1, axis=0)[piece]
        pole = normalised(_cross(a, b))
        beside = (_dot(points, np.cross(pole, a)) > 0) & (_dot(points, np.cross(b, pole)) > 0)
        ends = np.minimum(distance_km(points, a), distance_km(points, b)) / EARTH_RADIUS_KM
        return np.where(beside, np.arcsin(np.minimum(np.abs(_dot(points, pole)), 1.0)), ends)

    def crossed(self, start: Floats, end: Floats, piece: Ints) -> Flags:
        """Whether arcs (n, 3), shorter than half a circle, cross edges.

        A vertex on an arc's great circle counts to one side of it, for both of its edges: an arc through a vertex
        crosses one of them, or two, or none, as the border does.
        """
        a, b = self.vertices[piece], np.roll(self.vertices, -1, axis=0)[piece]
        plane = _cross(start, end)
        side_a, side_b = _dot(a, plane), _dot(b, plane)
        # Where the edge meets the plane, up to length: on the arc if it is ahead of the start and short of the end.
        at = a * np.abs(side_b)[:, None] + b * np.abs(side_a)[:, None]
        ahead, short = _dot(at, np.cross(plane, start)) > 0, _dot(at, np.cross(end, plane)) > 0
        return np.asarray(((side_a >= 0) != (side_b >= 0)) & ahead & short)


def mass_inside(law: MultiOrderMap, shape: Shape, tolerance: float = TOLERANCE) -> float:
    """The mass of a law, uniform within cells, inside a shape.

    From the twelve cells of the sphere down, those that the border cuts are split, heaviest first; the others are sums
    on the curve. So the work follows the border's length, not the map's size.

    Args:
        law: of mass 1.
        shape: what is asked for.
        tolerance: mass in cut cells, in parts of the mass inside, at which splitting stops. The error is smaller
            than that (or 1e-9), unless 2^18 cells are cut before.
    """
    sure, cut = _start(law, shape)
    while True:
        allowed = max(tolerance * sure, _FLOOR)
        if cut.mass.sum() <= allowed or len(cut.mass) > _MOST_CUT:
            break
        rank = np.argsort(-cut.mass, kind="stable")
        # All that half of what is allowed would not cover: one pass over many cells costs little more than over few.
        rest = np.cumsum(cut.mass[rank][::-1])[::-1]
        chosen = np.zeros(len(rank), bool)
        chosen[rank[rest > 0.5 * allowed]] = True
        chosen &= cut.order < MAX_ORDER
        if not chosen.any():
            break
        more, parts = _split(law, shape, cut.pick(chosen))
        sure, cut = sure + more, cut.pick(~chosen).joined(parts)
    return min(1.0, sure + float(cut.mass[cut.held].sum()))


@dataclass(frozen=True)
class _Cells:
    """Cells that the border may cut, and pairs (cell, piece) of those that meet.

    ``point`` is one within each cell, hardly off its centre: centres lie on round coordinates, as borders like to,
    and a point on the border has no side. ``held``: whether that point is inside.
    """

    order: Ints
    index: Ints
    point: Floats
    mass: Floats
    held: Flags
    cell: Ints
    piece: Ints

    def pick(self, which: Flags) -> _Cells:
        order, index, point, mass, held = (column[which] for column in self._columns())
        pair, place = which[self.cell], np.cumsum(which) - 1
        return _Cells(order, index, point, mass, held, place[self.cell[pair]], self.piece[pair])

    def joined(self, other: _Cells) -> _Cells:
        order, index, point, mass, held = map(np.concatenate, zip(self._columns(), other._columns(), strict=True))
        cell = np.concatenate([self.cell, other.cell + len(self.order)])
        return _Cells(order, index, point, mass, held, cell, np.concatenate([self.piece, other.piece]))

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.order, self.index, self.point, self.mass, self.held


def _start(law: MultiOrderMap, shape: Shape) -> tuple[float, _Cells]:
    order, index = np.zeros(12, np.int64), np.arange(12)
    point = _points(order, index)
    cell, piece = np.repeat(index, shape.pieces), np.tile(np.arange(shape.pieces), 12)
    return _sorted_out(law, shape, _Cells(order, index, point, np.zeros(12), shape.holds(point), cell, piece))


def _split(law: MultiOrderMap, shape: Shape, cells: _Cells) -> tuple[float, _Cells]:
    """Children, asked only about their parent's pieces: no other meets it, nor a way within it."""
    order, index = np.repeat(cells.order + 1, 4), (4 * cells.index[:, None] + np.arange(4)).ravel()
    point = _points(order, index)
    cell, piece = (4 * cells.cell[:, None] + np.arange(4)).ravel(), np.repeat(cells.piece, 4)
    crossed = shape.crossed(cells.point[cell // 4], point[cell], piece)
    held = np.repeat(cells.held, 4) != (np.bincount(cell[crossed], minlength=len(order)) % 2 == 1)
    return _sorted_out(law, shape, _Cells(order, index, point, np.zeros(len(order)), held, cell, piece))


def _sorted_out(law: MultiOrderMap, shape: Shape, cells: _Cells) -> tuple[float, _Cells]:
    """The mass of the cells wholly inside, and the cells that are cut and hold any."""
    mass = law.mass_within(cells.order, cells.index)
    meets = shape.away(cells.point[cells.cell], cells.piece) <= _RADIUS[cells.order[cells.cell]]
    cut = np.bincount(cells.cell[meets], minlength=len(mass)) > 0
    pairs = cells.cell[meets], cells.piece[meets]
    weighed = _Cells(cells.order, cells.index, cells.point, mass, cells.held, *pairs)
    return float(mass[cells.held & ~cut].sum()), weighed.pick(cut & (mass > 0))


def _points(order: Ints, index: Ints) -> Floats:
    """A point (n, 3) in each cell, a thousandth of its side off its centre."""
    return normalised(cell_centres(order, index) + _OFF * cell_side_radians(order)[:, None] * _ASKEW)


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2])


def _cross(a: Floats, b: Floats) -> Floats:
    """a x b, up to a factor of two, that keeps its digits where both are close."""
    return np.cross(a - b, a + b)
