"""What the engine is held against: the classic mixture over 120 neighbours."""

from __future__ import annotations

from functools import cache

import numpy as np

from im2gps_spark.grid import MultiOrderMap, cell_centres, to_nuniq
from im2gps_spark.posterior.kernels import Profile, kernel_sum
from im2gps_spark.sphere import Floats

NEIGHBOURS = 120
"""As many as Hays & Efros (2008) let vote, all alike."""
WIDTH_KM = 200.0
"""Their mean shift's bandwidth; one width for all photos."""
UNIFORM_SHARE = 0.01
"""So that a truth far from every neighbour has a likelihood at all."""

# Cells of 102 km, half a width: values at their centres give a cell's mass within some 2 %.
_ORDER = 6
_PROFILE = Profile((WIDTH_KM,), (1.0,))


def knn_law(places: Floats) -> MultiOrderMap:
    """One kernel of ``WIDTH_KM`` on each neighbour's place (n, 3), and ``UNIFORM_SHARE`` of the uniform law.

    Returns:
        a map of mass 1 on cells of one order. Without neighbours: the uniform law.
    """
    if len(places) == 0:
        return MultiOrderMap.uniform()
    cells, centres = _grid()
    mass = kernel_sum(centres, places, np.ones(len(places)), _PROFILE)
    return MultiOrderMap(cells, (1.0 - UNIFORM_SHARE) * mass / mass.sum() + UNIFORM_SHARE / len(mass))


def knn_point(places: Floats) -> Floats:
    """The neighbour (3,) of n > 0 (n, 3) at which the mixture is densest; of equals the nearest."""
    return np.asarray(places[np.argmax(kernel_sum(places, places, np.ones(len(places)), _PROFILE))])


@cache
def _grid() -> tuple[np.ndarray, Floats]:
    index = np.arange(12 * 4**_ORDER)
    return to_nuniq(_ORDER, index), cell_centres(_ORDER, index)
