"""How narrow a corpus' prior may be: the shares of its kernels, by maximum likelihood on owners left out.

Where photographers return to the same sights the narrow kernels earn their shares; where they do not, a prior with
another corpus' shares would promise what it does not hold.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from im2gps_spark.grid import cell_centres, cell_side_radians
from im2gps_spark.posterior.prior import PLACE_ORDER, WIDTHS_KM, Places, Shape
from im2gps_spark.posterior.shares import widened
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, concentration, vmf_density

LEAST_PHOTOS = 300
"""Below, the defaults stand."""

# The defaults count as much as this many photos.
_PSEUDO_PHOTOS = 50.0
_STEPS = 500
# What is most likely for the prior alone is too sharp for windows, which are products of it and a kernel: with it the
# 80 % regions of answers held 74 % of 300 Flickr photos. So of each width's share a part goes to the next wider, and
# the uniform law has at least so much; 79 % were held then, at the same likelihood (docs/posterior.md).
_WIDER, _LEAST_UNIFORM = 0.15, 0.06
# Places are pooled in cells of this part of a kernel's width at most; exp(-5^2 / 2) is 4e-6.
_CELLS_A_WIDTH, _REACH = 2.5, 5.0


def kernel_columns(points: Floats, places: Places) -> Floats:
    """(n, widths) sums of votes by kernels of each of ``WIDTHS_KM``, per steradian; mean over the points of a row.

    A vote whose geotag does not allow a width has the narrowest that it allows in its place.

    Args:
        points: (n, m, 3) unit vectors; those of a row lie close together.
        places: of ``PLACE_ORDER``.
    """
    steps = places.step
    made = np.zeros((len(points), len(WIDTHS_KM)))
    for s in range(len(WIDTHS_KM)):
        made[:, s] += _column(points, places.take(np.flatnonzero(steps <= s)), WIDTHS_KM[s])
        if s and np.any(steps == s):
            made[:, :s] += _column(points, places.take(np.flatnonzero(steps == s)), WIDTHS_KM[s])[:, None]
    return made


def _column(points: Floats, places: Places, width_km: float) -> Floats:
    if not len(places.cell):
        return np.zeros(len(points))
    finest = int(np.ceil(np.log2(_CELLS_A_WIDTH * float(cell_side_radians(0)) * EARTH_RADIUS_KM / width_km)))
    order = min(finest, PLACE_ORDER)
    pooled = places.at_order(PLACE_ORDER, order)
    centres, kappa = cell_centres(order, pooled.cell), float(concentration(width_km))
    middle = points.mean(axis=1)
    spread = np.linalg.norm(points - middle[:, None], axis=2).max(initial=0.0)
    reach = min(_REACH * width_km / EARTH_RADIUS_KM + spread, 2.0)
    near = cKDTree(centres).query_ball_point(middle, reach, return_sorted=True)
    made = np.zeros(len(points))
    for i, who in enumerate(near):
        offset = points[i][:, None] - centres[who]
        kernels = vmf_density(np.einsum("ijk,ijk->ij", offset, offset), kappa)
        made[i] = float((kernels @ pooled.vote[who]).mean())
    return made


def fit_shape(columns: Floats, default: Shape | None = None) -> Shape:
    """Shares by EM from the defaults, which is where few photos leave them, and then somewhat wider.

    Args:
        columns: (n, widths) densities about the true places of photos, by width, without their owners' votes.
    """
    start = default or Shape()
    if len(columns) < LEAST_PHOTOS:
        return start
    pull = np.array([*((1.0 - start.uniform) * np.array(start.shares)), start.uniform])
    parts = np.column_stack([columns, np.full(len(columns), 1.0 / (4.0 * np.pi))])
    # A part that starts at nothing would stay there: each gets a little.
    pull = (pull + 0.002) / (pull + 0.002).sum()
    share = pull
    for _ in range(_STEPS):
        held = share * parts
        new = (held / held.sum(axis=1, keepdims=True)).sum(axis=0) + _PSEUDO_PHOTOS * pull
        new /= new.sum()
        moved, share = np.abs(new - share).max(), new
        if moved < 1e-6:
            break
    narrow = share[:-1] / share[:-1].sum()
    return Shape(tuple(widened(narrow, _WIDER).tolist()), max(float(share[-1]), _LEAST_UNIFORM))
