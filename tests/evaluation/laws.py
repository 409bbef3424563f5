"""Laws to judge, and truths drawn from them."""

from __future__ import annotations

import numpy as np

from im2gps_spark.grid import MultiOrderMap, cell_area_sr, cell_centres, to_nuniq
from im2gps_spark.sphere import Floats, concentration, normalised, unit_vectors, vmf_density


def anywhere(n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by the uniform law."""
    return normalised(rng.normal(size=(n, 3)))


def about(latitude: float, longitude: float, width_km: float, order: int = 5, floor: float = 0.01) -> MultiOrderMap:
    """A von Mises-Fisher law and a share of the uniform one, on the cells of one order."""
    index = np.arange(12 * 4**order)
    gap = cell_centres(order, index) - unit_vectors(latitude, longitude)
    mass = vmf_density(np.sum(gap**2, axis=1), concentration(width_km)) * cell_area_sr(order)
    return MultiOrderMap(to_nuniq(order, index), (1.0 - floor) * mass / mass.sum() + floor / len(mass))


def uneven(seed: int, splits: int = 60, deepest: int = 8) -> MultiOrderMap:
    """A law whose cells are of many sizes, with masses of many sizes."""
    rng = np.random.default_rng(seed)
    cells = [(0, index) for index in range(12)]
    for _ in range(splits):
        order, index = cells.pop(int(rng.integers(len(cells))) if rng.random() < 0.5 else -1)
        cells += [(order + 1, 4 * index + i) for i in range(4)] if order < deepest else [(order, index)]
    orders, indices = np.array(cells).T
    mass = rng.pareto(1.0, len(cells)) + 1e-6
    return MultiOrderMap.from_cells(to_nuniq(orders, indices), mass / mass.sum())


def spike(place: Floats, order: int = 12) -> MultiOrderMap:
    """All the mass in the one cell of an order that holds a place (3,), the rest as coarse as it can be."""
    from im2gps_spark.grid import cells_at

    index = int(cells_at(order, place[None])[0])
    cells, mass = [int(to_nuniq(order, index))], [1.0]
    for level in range(order, 0, -1):
        cells += [int(to_nuniq(level, s)) for s in range(index // 4 * 4, index // 4 * 4 + 4) if s != index]
        index //= 4
    cells += [int(to_nuniq(0, s)) for s in range(12) if s != index]
    return MultiOrderMap.from_cells(cells, mass + [0.0] * (len(cells) - 1))
