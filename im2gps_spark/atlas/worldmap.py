"""A law drawn on a map: of the whole world, and of the neighbourhood of its mode."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas import heat
from im2gps_spark.atlas.azimuthal import around
from im2gps_spark.atlas.backdrop import ground, painted
from im2gps_spark.atlas.canvas import Canvas
from im2gps_spark.atlas.colours import CONTOUR, INK, MODE, NEIGHBOUR, TRUTH
from im2gps_spark.atlas.entry import Neighbour, Place
from im2gps_spark.atlas.equal_earth import world
from im2gps_spark.atlas.raster import Raster
from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.sphere import distance_km, unit_vectors

OUTLINED = (0.9, 0.5)
_OUTLINE_OPACITY = (0.5, 0.95)
DETAIL_RADII_KM = (100.0, 250.0, 500.0, 1000.0, 2000.0)
_DETAIL_SHARE = 0.5


@dataclass(frozen=True)
class Marks:
    """What is marked on a map.

    Attributes:
        mode: the densest point, a reticle that leaves its middle free.
        truth: where the photo was taken, a cross.
        neighbours: small rings, larger for larger weights.
    """

    mode: Place | None = None
    truth: Place | None = None
    neighbours: tuple[Neighbour, ...] = ()


def heatmap(law: MultiOrderMap, width: int) -> NDArray[np.float64]:
    """Mass in each pixel of an equal-area world map.

    Pixels have equal areas on the ground, `Raster.pixel_area_sr`, so this is density up to a factor. The sum
    is the law's mass, and no cell is lost, however small (see `Raster.masses`).

    Args:
        law: any multi-order map.
        width: pixels, 16 to 4096.

    Returns:
        (height, width) float64; 0 outside the map, whose outline is `Raster.coverage`.

    Raises:
        ValueError: the width is out of range.
    """
    return world(width).masses(law)


def draw(
    law: MultiOrderMap,
    *,
    width: int = 720,
    mode: Place | None = None,
    truth: Place | None = None,
    neighbours: Iterable[Neighbour] = (),
    with_backdrop: bool = True,
) -> bytes:
    """A world map of a law: heat, outlines of the 50 % and the 90 % region, and markers.

    Colours follow the logarithm of density, relative to the densest pixel (see `heat.colours`). The outlines
    are those of the law as seen at the map's resolution, so the smallest is a few pixels wide; areas in km^2
    are to be had from the law itself.

    Args:
        law: resolved, uniform within cells, of mass 1.
        width: pixels, 16 to 4096.
        mode, truth, neighbours: as in `Marks`.
        with_backdrop: False for a transparent ground, to be laid over `backdrop.backdrop` of the same width.

    Returns:
        PNG, 8 bits a channel with transparency; the same bytes for the same arguments.

    Raises:
        ValueError: the width is out of range, or a place is none on Earth.
    """
    grid = world(width)
    canvas = painted(width) if with_backdrop else Canvas(grid.height, grid.width)
    field = heat.density(grid.masses(law), grid)
    levels = heat.seen_levels(field, grid, OUTLINED)
    _heat(canvas, grid, field, levels)
    _marks(canvas, grid, Marks(mode, truth, tuple(neighbours)), width / 720.0)
    return canvas.png()


def detail_radius_km(law: MultiOrderMap, place: Place) -> float | None:
    """The radius of a close-up that has half of a law's mass well inside it, for there to be a rim to see.

    One of ``DETAIL_RADII_KM``: the smallest with half the mass within half of it; None if none will do.
    """
    distance = distance_km(law.centres, unit_vectors(*place))
    for radius in DETAIL_RADII_KM:
        if float(law.mass[distance <= radius / 2.0].sum()) >= _DETAIL_SHARE:
            return radius
    return None


def draw_detail(law: MultiOrderMap, *, radius_km: float, width: int, marks: Marks, centre: Place) -> bytes:
    """A round map of the neighbourhood of a place, to look into a peak that is a dot on the world.

    Args:
        law: resolved, of mass 1. The outlines are of its own 50 % and 90 % regions, as far as in view.
        radius_km: in (0, 10000].
        width: pixels.
        marks: those outside are left out.
        centre: latitude and longitude, degrees.

    Returns:
        PNG with transparency around the disc.

    Raises:
        ValueError: a place or a radius out of range.
    """
    grid = around(*centre, radius_km, width)
    canvas = ground(grid)
    field = heat.density(grid.masses(law), grid)
    _heat(canvas, grid, field, heat.law_levels(law, OUTLINED))
    seen = Marks(
        marks.mode,
        marks.truth if marks.truth and _within(grid, marks.truth) else None,
        tuple(n for n in marks.neighbours if _within(grid, n.place)),
    )
    _marks(canvas, grid, seen, width / 200.0)
    return canvas.png()


def _heat(canvas: Canvas, grid: Raster, field: heat.Picture, levels: list[float]) -> None:
    colour, opacity = heat.colours(field)
    inside = (grid.coverage == 1).astype(np.uint8)
    inside = np.asarray(cv2.erode(inside, np.ones((3, 3), np.uint8)), np.uint8)
    canvas.over(opacity * grid.coverage, colour)
    for outlines, strength in zip(heat.outlines(field, levels), _OUTLINE_OPACITY, strict=True):
        lines = canvas.stencil()
        for outline in outlines:
            lines.line(outline, closed=True)
        lines.mask *= inside  # not along the map's own rim
        canvas.press(lines, CONTOUR, strength)


def _at(grid: Raster, place: Place) -> tuple[float, float]:
    x, y = grid.xy(*place)
    return float(x), float(y)


def _within(grid: Raster, place: Place) -> bool:
    column, row = (int(v) for v in _at(grid, place))
    return 0 <= row < grid.height and 0 <= column < grid.width and bool(grid.coverage[row, column] > 0)


def _marks(canvas: Canvas, grid: Raster, marks: Marks, unit: float) -> None:
    """Each mark is drawn twice, first a little wider in dark ink."""
    rims, lines = canvas.stencil(), canvas.stencil()
    heaviest = max((n.weight for n in marks.neighbours), default=0.0)
    for n in marks.neighbours:
        x, y = _at(grid, n.place)
        radius = unit * (1.6 + 2.2 * (n.weight / heaviest if heaviest > 0 else 0.0) ** 0.5)
        rims.ring(x, y, radius, 2.6 * unit)
        lines.ring(x, y, radius, 1.0 * unit)
    canvas.press(rims, INK, 0.4)
    canvas.press(lines, NEIGHBOUR, 0.9)
    if marks.mode is not None:
        x, y = _at(grid, marks.mode)
        rim, reticle = canvas.stencil(), canvas.stencil()
        for stencil, extra in ((rim, 2.0 * unit), (reticle, 0.0)):
            stencil.ring(x, y, 8.5 * unit, 1.4 * unit + extra)
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                near, far = 8.5 * unit, 13.0 * unit
                stencil.stroke(x + dx * near, y + dy * near, x + dx * far, y + dy * far, 1.4 * unit + extra)
        canvas.press(rim, INK, 0.6)
        canvas.press(reticle, MODE)
    if marks.truth is not None:
        x, y = _at(grid, marks.truth)
        rim, cross = canvas.stencil(), canvas.stencil()
        arm = 3.0 * unit
        for stencil, thickness in ((rim, 3.8), (cross, 1.9)):
            for slope in (-1.0, 1.0):
                stencil.stroke(x - arm, y - slope * arm, x + arm, y + slope * arm, thickness * unit)
        canvas.press(rim, INK, 0.75)
        canvas.press(cross, TRUTH)
