"""Laws to draw, and entries that hold them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas.entry import Entry, Neighbour, Place, Region
from im2gps_spark.grid import MultiOrderMap, cell_area_sr, cell_centres, cells_from_coordinates, to_nuniq
from im2gps_spark.sphere import UNIFORM_ENTROPY, concentration, unit_vectors, vmf_density


def bump(latitude: float, longitude: float, width_km: float, order: int = 5, floor: float = 0.0) -> MultiOrderMap:
    """A von Mises-Fisher law and a share of the uniform one, on the cells of one order."""
    index = np.arange(12 * 4**order)
    gap = cell_centres(order, index) - unit_vectors(latitude, longitude)
    mass = vmf_density(np.sum(gap**2, axis=1), concentration(width_km)) * cell_area_sr(order)
    mass = (1.0 - floor) * mass / mass.sum() + floor / len(mass)
    return MultiOrderMap(to_nuniq(order, index), mass)


def single_cell(latitude: float, longitude: float, order: int) -> MultiOrderMap:
    """All the mass in the one cell of an order that holds a point, the rest as coarse as it can be."""
    cell = int(cells_from_coordinates(order, latitude, longitude)[0])
    cells, mass = [int(to_nuniq(order, cell))], [1.0]
    for level in range(order, 0, -1):
        siblings = [s for s in range(cell // 4 * 4, cell // 4 * 4 + 4) if s != cell]
        cells += [int(to_nuniq(level, s)) for s in siblings]
        cell //= 4
    cells += [int(to_nuniq(0, s)) for s in range(12) if s != cell]
    return MultiOrderMap.from_cells(cells, mass + [0.0] * (len(cells) - 1))


def jpeg() -> bytes:
    return cv2.imencode(".jpg", np.full((8, 12, 3), 120, np.uint8))[1].tobytes()


def pixels(coded: bytes) -> NDArray:
    """A picture read back: blue, green, red, and opacity if it has one."""
    decoded = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded is not None
    return decoded


def entry(
    photo_id: int = 1,
    *,
    law: MultiOrderMap | None = None,
    mode: Place = (43.8, 11.3),
    truth: Place | None = None,
    bits: float = 5.0,
    over_prior: float | None = None,
    title: str = "Duomo",
    tags: tuple[str, ...] = ("dome", "italia"),
    page_url: str = "https://www.flickr.com/photos/1/2/",
    owner_id: str = "1@N01",
    neighbours: tuple[Neighbour, ...] | None = None,
) -> Entry:
    here = Neighbour(9, *mode, 0.25, 0.75, jpeg(), "Looks alike", "CC BY", "http://flickr.com/9", "2@N02")
    return Entry(
        photo_id=photo_id,
        thumbnail=jpeg(),
        title=title,
        owner_id=owner_id,
        licence="CC BY 2.0",
        page_url=page_url,
        tags=tags,
        mode=mode,
        median=mode,
        entropy=UNIFORM_ENTROPY - bits * float(np.log(2.0)),
        information_bits=bits,
        area50_km2=2_600.0,
        area90_km2=41_000.0,
        regions=(Region(1, *mode, 0.8, 9_000.0, 54.0, "Italy", "Florence"),),
        neighbours=(here,) if neighbours is None else neighbours,
        law=law if law is not None else bump(*mode, 300.0, floor=0.05),
        truth=truth,
        information_over_prior_bits=over_prior,
    )
