"""A prior's cells arranged once for the laws of many photos, which follow it: summed by order, and by density.

Where a law follows the prior, densities are the prior's times a number: the order in which cells come by density is
the prior's own. So each cell of ``BRIDGE_ORDER`` keeps what is in it by falling density, with running sums: what of it
lies above a density is one look-up, whatever the photo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, cell_area_sr
from im2gps_spark.posterior.curve import TOP_ORDER, pyramid_start, search
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.sphere import Floats

BRIDGE_ORDER = 6
"""Cells are ranked within those of this order (102 km), by which regions are told apart, too (``posterior.parts``)."""

AREA = cell_area_sr(np.arange(MAX_ORDER + 1))
"""Steradians, by order."""


class Ranked(NamedTuple):
    """A prior, for compiled loops. Positions are those of its cells, along the curve or by density in bridge cells.

    Both orders run through the same positions within a bridge cell: a range of whole bridge cells is one in either.

    Attributes:
        start, order, density, log_density: (n,) along the curve; the last in nats per steradian.
        first_of: (12 * 4^TOP_ORDER,) position of the cell that holds the first point of each top cell.
        mass: masses of all cells of orders 0 to ``TOP_ORDER``, order after order.
        surprise: of all cells of orders 0 to ``BRIDGE_ORDER``, integrals of the density times its logarithm.
        densest: of the same cells, the greatest log density.
        bridge: (12 * 4^BRIDGE_ORDER + 1,) position of the cell that holds the first point of each bridge cell; n.
        which: (n,) positions along the curve, by falling density within each bridge cell.
        log_rank, mass_rank, area_rank: (n,) in that order; areas in steradians.
        part_rank: (n,) in that order: which of its bridge cell's 16 parts of ``TOP_ORDER`` a cell begins in; or, of a
            cell that is larger, 16 and which of the four parts one order down it is.
        running: (n, 2) sums of masses and areas within each bridge cell up to each, in that order.
    """

    start: Ints
    order: NDArray[np.int8]
    density: Floats
    log_density: Floats
    first_of: Ints
    mass: Floats
    surprise: Floats
    densest: Floats
    bridge: NDArray[np.int32]
    which: Ints
    log_rank: Floats
    mass_rank: Floats
    area_rank: Floats
    part_rank: NDArray[np.int8]
    running: Floats

    @classmethod
    def of(cls, prior: MultiOrderMap, first_of: Ints, mass: Floats) -> Ranked:
        """A prior that is positive everywhere.

        Args:
            first_of, mass: as above.
        """
        log_density = np.log(prior.density)
        bridge = prior.starts >> (2 * (MAX_ORDER - BRIDGE_ORDER))
        which = np.lexsort((-log_density, bridge))
        mass_rank, area_rank = prior.mass[which], prior.area_sr[which]
        part = (prior.starts >> (2 * (MAX_ORDER - TOP_ORDER))) & 15
        part = np.where(prior.order < TOP_ORDER, 16 + part // 4, part)

        # Of a bridge cell within one of the prior's cells: that one's density.
        begin = first_of[:: 4 ** (TOP_ORDER - BRIDGE_ORDER)]
        whole = prior.order[begin] <= BRIDGE_ORDER
        bridge_mass = mass[pyramid_start(BRIDGE_ORDER) : pyramid_start(BRIDGE_ORDER + 1)]
        each = np.bincount(bridge, weights=prior.mass * log_density, minlength=len(begin))
        surprise = np.where(whole, bridge_mass * log_density[begin], each)
        densest = np.where(whole, log_density[begin], log_density[which[begin]])
        return cls(
            prior.starts, prior.order.astype(np.int8), prior.density, log_density, first_of, mass,
            _pyramid(surprise, np.sum), _pyramid(densest, np.max), np.append(begin, len(which)).astype(np.int32),
            which, log_density[which], mass_rank, area_rank, part[which].astype(np.int8),
            _running(bridge, np.stack([mass_rank, area_rank], axis=1)),
        )  # fmt: skip


def _pyramid(finest: Floats, of: Callable[..., Floats]) -> Floats:
    """What a function makes of the four parts, order by order from 0 to that of ``finest``."""
    levels = [finest]
    while len(levels[-1]) > 12:
        levels.append(of(levels[-1].reshape(-1, 4), axis=1))
    return np.concatenate(levels[::-1])


@numba.njit(cache=ON_DISK, nogil=True)
def _running(group, values):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    sums = values.copy()
    for i in range(1, len(group)):
        if group[i] == group[i - 1]:
            sums[i] += sums[i - 1]
    return sums


@numba.njit(cache=ON_DISK, nogil=True)
def positions(prior, order, index):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """First and last but one of the positions of a ``Ranked`` prior's cells in a cell, or of the one that it is in."""
    start, first_of = prior.start, prior.first_of
    if order <= TOP_ORDER:
        begin, after = first_of[index << (2 * (TOP_ORDER - order))], (index + 1) << (2 * (TOP_ORDER - order))
        end = first_of[after] if after < len(first_of) else len(start)
    else:
        top, shift = index >> (2 * (order - TOP_ORDER)), 2 * (MAX_ORDER - order)
        most = first_of[top + 1] + 1 if top + 1 < len(first_of) else len(start)
        begin = search(start, first_of[top], most, (index << shift) + 1) - 1
        end = search(start, begin, most, (index + 1) << shift)
    return begin, max(end, begin + 1)


@numba.njit(cache=ON_DISK, nogil=True)
def prior_mass(prior, order, index):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Mass of a ``Ranked`` prior in a cell."""
    if order <= TOP_ORDER:
        return prior.mass[pyramid_start(order) + index]
    begin, end = positions(prior, order, index)
    if prior.order[begin] <= order:
        return prior.density[begin] * AREA[order]
    total = 0.0
    for j in range(begin, end):
        total += prior.density[j] * AREA[prior.order[j]]
    return total
