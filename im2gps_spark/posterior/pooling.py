"""Two maps over one prior as one: the product of their evidence, or the mixture of their laws.

In each cell of a relative map the law is a multiple of the prior. In cells of both maps' common refinement both are,
and so are their products and sums: the result is again a relative map, and exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, cell_area_sr, to_nuniq
from im2gps_spark.sphere import Floats


@dataclass(frozen=True)
class _Common:
    """The common refinement of two relative maps: (n,) cells, their prior masses, both maps' ratios to those."""

    cells: Ints
    prior: Floats
    ratios: tuple[Floats, Floats]


def product(one: MultiOrderMap, other: MultiOrderMap, prior: MultiOrderMap) -> MultiOrderMap:
    """p ~ p1 p2 / prior: what two independent pieces of evidence of one place say together.

    Args:
        one, other: relative to the prior.
        prior: of both.

    Raises:
        ValueError: no place has mass in both.
    """
    common = _refined(one, other, prior)
    mass = common.prior * common.ratios[0] * common.ratios[1]
    total = float(mass.sum())
    if total <= 0:
        raise ValueError("the posteriors exclude each other: no place has mass in both")
    return MultiOrderMap(common.cells, mass / total)


def mixture(one: MultiOrderMap, other: MultiOrderMap, prior: MultiOrderMap, share: float) -> MultiOrderMap:
    """(1 - share) p1 + share p2. Args as there."""
    common = _refined(one, other, prior)
    return MultiOrderMap(
        common.cells, common.prior * ((1.0 - share) * common.ratios[0] + share * common.ratios[1])
    )  # fmt: skip


def _refined(one: MultiOrderMap, other: MultiOrderMap, prior: MultiOrderMap) -> _Common:
    # As in grid.resolve, from the finest cells of all three up: differences of running sums would cancel.
    starts = np.unique(np.concatenate([one.starts, other.starts, prior.starts]))
    in_one, in_other, in_prior = (np.searchsorted(m.starts, starts, side="right") - 1 for m in (one, other, prior))
    order = np.maximum(one.order[in_one], other.order[in_other])
    share = prior.density[in_prior] * cell_area_sr(np.maximum(order, prior.order[in_prior]))
    first = np.flatnonzero((np.diff(in_one, prepend=-1) > 0) | (np.diff(in_other, prepend=-1) > 0))
    ratios = []
    for relative, which in ((one, in_one), (other, in_other)):
        within = np.bincount(which, weights=share, minlength=len(relative.cells))
        if bool(np.any((within <= 0) & (relative.mass > 0))):
            raise ValueError("the prior map is zero where a map has mass: it must be positive everywhere")
        ratios.append((relative.mass / np.where(within > 0, within, 1.0))[which[first]])
    index = starts[first] >> (2 * (MAX_ORDER - order[first]))
    return _Common(to_nuniq(order[first], index), np.add.reduceat(share, first), (ratios[0], ratios[1]))
