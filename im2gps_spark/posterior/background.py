"""A prior map made ready for many photos: its masses by order, and in blocks of small cells, each asked for once."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, cell_centres, cell_side_radians, neighbours
from im2gps_spark.posterior.curve import TOP_ORDER, pyramid_start
from im2gps_spark.posterior.ranked import Ranked
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

BLOCK_ORDERS = 3
"""A block is the cells, three orders down, of one cell: 8 x 8 of them."""

BLOCK = 4**BLOCK_ORDERS

# A kernel is evaluated on cells whose side is a quarter to half of its width. Its blocks have a side of 2 to 4 widths:
# where that is enough, a block and those that touch it hold all of a kernel that matters; else those beyond do.
_CELLS_A_WIDTH, _ENOUGH_WIDTHS = 2.0, 3.4


def grid_order(width_km: float) -> int:
    """The order of the cells that kernels of a width are evaluated on."""
    side = float(cell_side_radians(0)) * EARTH_RADIUS_KM
    order = np.ceil(np.log2(0.98 * _CELLS_A_WIDTH * side / width_km))
    return int(max(order, BLOCK_ORDERS))


def rings(width_km: float) -> int:
    """How many rings of blocks about a place's own the kernels of a width reach."""
    block = float(cell_side_radians(grid_order(width_km) - BLOCK_ORDERS)) * EARTH_RADIUS_KM
    return 1 if block >= _ENOUGH_WIDTHS * width_km else 2


class Work(NamedTuple):
    """Memory used again from photo to photo: a row a block that windows are spread over.

    Attributes:
        mass: (rows, BLOCK) the votes' mass in each cell.
        ratio: (rows, 4, BLOCK) at each cell's centre: the ratio to the prior's density, and its gradient.
    """

    mass: NDArray[np.float32]
    ratio: NDArray[np.float32]


class Background:
    """The prior of an index version. One a process: what it has worked out stays with it.

    Args:
        prior: a map of mass 1, positive everywhere.

    Raises:
        ValueError: a cell without mass, or a total that is not 1.
    """

    def __init__(self, prior: MultiOrderMap) -> None:
        if not bool(np.all(prior.mass > 0)):
            raise ValueError("the prior must be positive everywhere")
        self.map = prior.check()
        self._levels: dict[tuple[int, int], Level] = {}
        self._work = Work(np.zeros((0, BLOCK), np.float32), np.zeros((0, 4, BLOCK), np.float32))

    def room_for(self, rows: int) -> Work:
        """Memory for the windows of one photo: the same for the next, for new memory costs more than the sums in it."""
        if rows > len(self._work.mass):
            size = max(rows, 2 * len(self._work.mass))
            mass, ratio = np.zeros((size, BLOCK), np.float32), np.zeros((size, 4, BLOCK), np.float32)
            mass[: len(self._work.mass)], ratio[: len(self._work.mass)] = self._work.mass, self._work.ratio
            self._work = Work(mass, ratio)
        return self._work

    @cached_property
    def pyramid(self) -> Floats:
        """Masses of all cells of orders 0 to ``TOP_ORDER``, order after order; order n begins at 4 (4^n - 1)."""
        levels = [self.map.mass_within(TOP_ORDER, np.arange(12 * 4**TOP_ORDER))]
        for _ in range(TOP_ORDER):
            levels.append(levels[-1].reshape(-1, 4).sum(axis=1))
        return np.concatenate(levels[::-1])

    @cached_property
    def unevenness(self) -> Floats:
        """Total variation between the prior and the uniform law within each cell, in the order of ``pyramid``.

        As the cells of ``TOP_ORDER`` show it; within those, 0.
        """
        finest = self.pyramid[pyramid_start(TOP_ORDER) :]
        levels = []
        for order in range(TOP_ORDER + 1):
            inside = finest.reshape(12 * 4**order, -1)
            share = inside / inside.sum(axis=1, keepdims=True)
            levels.append(np.abs(share - 1.0 / inside.shape[1]).sum(axis=1) / 2.0)
        return np.concatenate(levels)

    @cached_property
    def first_of(self) -> Ints:
        """(12 * 4^TOP_ORDER,) position in the map of the cell that holds the first point of each top cell."""
        starts = np.arange(12 * 4**TOP_ORDER) << (2 * (MAX_ORDER - TOP_ORDER))
        return np.asarray(np.searchsorted(self.map.starts, starts, side="right") - 1)

    @cached_property
    def ranked(self) -> Ranked:
        """The prior arranged for laws that follow it."""
        return Ranked.of(self.map, self.first_of, self.pyramid)

    def forget(self) -> None:
        """Gives the memory of all blocks back."""
        self._levels.clear()

    def level(self, width_km: float) -> Level:
        """The blocks that kernels of a width are evaluated on."""
        key = grid_order(width_km), rings(width_km)
        if key not in self._levels:
            self._levels[key] = Level(self.map, *key)
        return self._levels[key]


class Level:
    """Blocks of cells of one order, made when they are first asked for.

    Attributes:
        order: of the cells.
        slot_of: (blocks of the sphere,) where a block lies in the arrays below; -1: not made yet.
        block: (n,) the blocks made.
        centres: (n, 3, BLOCK) unit vectors, coordinate by coordinate: sums over a block run through memory.
        mass: (n, BLOCK) of the prior.
        around: (n, 9, 25 or 12) slots of a block and of the rings about it; -1 where there is none, and in the first
            place where they have not been made.
    """

    def __init__(self, prior: MultiOrderMap, order: int, rings: int) -> None:
        self.order = order
        self._rings = rings
        self._prior = prior
        self._nside = 1 << (order - BLOCK_ORDERS)
        blocks = 12 * self._nside**2
        self.slot_of: NDArray[np.int32] = np.full(blocks, -1, np.int32)
        self.count = 0
        self.block = np.zeros(0, np.int64)
        self.centres = np.zeros((0, 3, BLOCK), np.float32)
        self.mass = np.zeros((0, BLOCK), np.float32)
        # On the twelve blocks of the sphere itself everything is near everything.
        self.around: NDArray[np.int32] = np.zeros((0, 12 if self._nside == 1 else (2 * rings + 1) ** 2), np.int32)

    def ensure(self, blocks: Ints) -> NDArray[np.int32]:
        """Slots (n,) of blocks, made with those around them where they are missing."""
        slots = self.slot_of[blocks]
        missing = np.unique(blocks[slots < 0])
        bare = blocks[slots >= 0]
        lonely = np.unique(np.concatenate([missing, bare[self.around[self.slot_of[bare], 0] < 0]]))
        if len(lonely):
            beside = self._beside(lonely)
            self._make(np.unique(beside[(beside >= 0) & (self.slot_of[np.maximum(beside, 0)] < 0)]))
            self.around[self.slot_of[lonely]] = np.where(beside >= 0, self.slot_of[np.maximum(beside, 0)], -1)
            slots = self.slot_of[blocks]
        return slots

    def _beside(self, blocks: Ints) -> Ints:
        if self._nside == 1:
            return np.tile(np.arange(12), (len(blocks), 1))
        order = self.order - BLOCK_ORDERS
        near = neighbours(order, blocks)
        if self._rings == 2:
            beyond = neighbours(order, np.maximum(near, 0).ravel()).reshape(len(blocks), -1)
            beyond[np.repeat(near < 0, near.shape[1], axis=1) | (beyond == blocks[:, None])] = -1
            near = np.sort(np.concatenate([near, beyond], axis=1), axis=1)
            near[:, 1:][near[:, 1:] == near[:, :-1]] = -1
            near = np.sort(near, axis=1)[:, -24:]
        return np.concatenate([blocks[:, None], near], axis=1)

    def _make(self, blocks: Ints) -> None:
        if not len(blocks):
            return
        end = self.count + len(blocks)
        if end > len(self.block):
            self._grow(max(end, 2 * len(self.block), 64))
        cells = blocks[:, None] * BLOCK + np.arange(BLOCK)
        here = slice(self.count, end)
        self.slot_of[blocks] = np.arange(self.count, end)
        self.block[here] = blocks
        self.centres[here] = cell_centres(self.order, cells).swapaxes(1, 2)
        self.mass[here] = self._prior.mass_within(self.order, cells)
        self.around[here] = -1
        self.count = end

    def _grow(self, size: int) -> None:
        for name in ("block", "centres", "mass", "around"):
            old = getattr(self, name)
            new = np.zeros((size, *old.shape[1:]), old.dtype)
            new[: self.count] = old[: self.count]
            setattr(self, name, new)
