"""The corpus' prior: where photos are taken, whatever they show. One map an index version.

A kernel density of several widths over the photos' places, refined to a map by regions of the sphere: each needs only
the places about it, and all of them pooled for the wide kernels. So it is worked out in parallel, and nowhere are all
places together.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import (
    MAX_ORDER,
    Ints,
    MultiOrderMap,
    cell_centres,
    cell_side_radians,
    cells_at,
    to_nuniq,
)
from im2gps_spark.posterior.accuracy import capped_shares, least_width_km
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.cut import cut
from im2gps_spark.posterior.kernels import Profile, kernel_sum
from im2gps_spark.posterior.refine import LEAST, NEGLIGIBLE, merge
from im2gps_spark.posterior.windows import Layer, spread
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

# Fitted to owners held out of 2,000 Flickr photos as ``posterior.prior_fit`` does (docs/posterior.md).
WIDTHS_KM = (5.0, 25.0, 100.0, 400.0, 1600.0)
SHARES = (0.42, 0.13, 0.21, 0.21, 0.03)
UNIFORM_SHARE = 0.06
TOLERANCE = 0.10
"""Total variation between the kernel density and its map: the map is the prior, the density is how it is made."""

PLACE_ORDER = 12
"""Places are pooled into cells of this order (1.6 km) first: their number no longer follows the corpus'."""

REGION_ORDER = 3
"""A region is a cell of this order (814 km)."""
REGIONS = 12 * 4**REGION_ORDER

WIDE_ORDER = 6
"""Places are pooled into cells of this order (102 km) for the wide kernels."""
_WIDE_KM = 400.0

_WIDTHS = np.array(WIDTHS_KM)
EXACT = 0
"""The step of a place that the narrowest kernel may be put on."""
# exp(-4.5^2 / 2) is 4e-5: farther from a region, a place has no say in it through a narrow kernel.
_REACH_KM = 4.5 * max(width for width in WIDTHS_KM if width < _WIDE_KM)


@dataclass(frozen=True)
class Shape:
    """What a corpus' prior is made of.

    Attributes:
        shares: of ``WIDTHS_KM``, summing to 1.
        uniform: share of the uniform law, beside them.
    """

    shares: tuple[float, ...] = SHARES
    uniform: float = UNIFORM_SHARE

    def by_step(self) -> Floats:
        """(steps, widths) shares in votes of photos whose geotags allow no narrower width than that of the step."""
        return capped_shares(_WIDTHS, np.array(self.shares) / np.sum(self.shares), _WIDTHS)

    def density(self, columns: Floats) -> Floats:
        """(n,) densities per steradian where the kernels of each width, of weight 1 together, come to (n, widths)."""
        shares = np.array(self.shares) / np.sum(self.shares)
        return np.asarray((1.0 - self.uniform) * (columns @ shares) + self.uniform / (4.0 * np.pi))

    def to_json(self) -> str:
        """Its text form."""
        return json.dumps({"widths_km": WIDTHS_KM, "shares": self.shares, "uniform": self.uniform}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Shape:
        """From its text form.

        Raises:
            ValueError, KeyError, TypeError: it is none, or is of other widths.
        """
        read = json.loads(text)
        if tuple(read["widths_km"]) != WIDTHS_KM:
            raise ValueError(f"a prior of widths {read['widths_km']}; these are {WIDTHS_KM}")
        return cls(tuple(read["shares"]), float(read["uniform"]))

    def describe(self) -> str:
        """Its shares, for people."""
        widths = ", ".join(f"{w:g} km: {s:.2f}" for w, s in zip(WIDTHS_KM, self.shares, strict=True))
        return f"{widths}; uniform {self.uniform:.3f}"


def step_of(accuracy: NDArray[np.integer]) -> NDArray[np.int8]:
    """(n,) which of ``WIDTHS_KM`` is the narrowest that a geotag of an accuracy may have (``posterior.accuracy``)."""
    return np.minimum(np.searchsorted(_WIDTHS, least_width_km(accuracy)), len(_WIDTHS) - 1).astype(np.int8)


def kernels_at(
    points: Floats,
    places: Floats,
    weights: Floats,
    steps: NDArray[np.integer] | None = None,
    shape: Shape | None = None,
) -> Floats:
    """(n,) weighted sums of the prior's kernels at points (n, 3): not divided by the weights.

    Args:
        places: (m, 3) unit vectors.
        weights: (m,).
        steps: (m,) as ``step_of`` gives them; all exact if not given.
        shape: the defaults if not given.
    """
    total = np.zeros(len(points))
    step = np.full(len(places), EXACT) if steps is None else np.asarray(steps)
    shares = (shape or Shape()).by_step()
    for each in np.unique(step):
        mine = step == each
        total += kernel_sum(points, places[mine], weights[mine], Profile.of(WIDTHS_KM, shares[each]))
    return total


def regions_near(cells: Ints) -> tuple[Ints, Ints]:
    """The regions that places have a say in by their narrow kernels.

    Args:
        cells: (n,) nested, of ``PLACE_ORDER``.

    Returns:
        positions in ``cells`` and regions, (m,) each.
    """
    here = cell_centres(PLACE_ORDER, cells)
    centres = cell_centres(REGION_ORDER, np.arange(REGIONS))
    # A cell reaches at most 0.85 of its side from its centre.
    radius = _REACH_KM / EARTH_RADIUS_KM + 0.85 * float(cell_side_radians(REGION_ORDER))
    found = [np.flatnonzero(here @ centre > np.cos(radius)) for centre in centres]
    return np.concatenate(found), np.repeat(np.arange(REGIONS), [len(f) for f in found])


class Places(NamedTuple):
    """Photos pooled by where they were taken and how well that is known.

    Attributes:
        cell: (n,) nested, of one order.
        step: (n,) as ``step_of`` gives them.
        vote: (n,).
    """

    cell: Ints
    step: NDArray[np.int8]
    vote: Floats

    def at_order(self, order: int, coarser: int) -> Places:
        """The same, of ``order``, pooled in cells of a coarser order."""
        key = (self.cell >> (2 * (order - coarser))) * len(_WIDTHS) + self.step
        distinct, which = np.unique(key, return_inverse=True)
        votes = np.bincount(which, weights=self.vote, minlength=len(distinct))
        return Places(
            distinct // len(_WIDTHS), (distinct % len(_WIDTHS)).astype(np.int8), np.asarray(votes, np.float64)
        )

    def take(self, which: Ints) -> Places:
        """Some of them, by position."""
        return Places(self.cell[which], self.step[which], self.vote[which])


class PriorMaker:
    """Makes the prior region by region.

    Args:
        everywhere: all the corpus' photos, pooled in cells of ``WIDE_ORDER``.
        shape: what to make it of.
        tolerance: total variation at which refinement stops.

    Raises:
        ValueError: a vote is negative or not finite, or all are zero.
    """

    def __init__(self, everywhere: Places, shape: Shape, tolerance: float = TOLERANCE) -> None:
        self._total = float(np.sum(everywhere.vote))
        if not (np.all(np.isfinite(everywhere.vote)) and np.all(everywhere.vote >= 0) and self._total > 0):
            raise ValueError("the weights of a prior must be finite, not negative, and not all zero")
        self._tolerance = tolerance
        self._shape, self._shares = shape, shape.by_step()
        self._background = Background(MultiOrderMap.uniform())
        self._wide = self._layers(WIDE_ORDER, everywhere, _WIDTHS >= _WIDE_KM, 0)
        self._used = sum(len(layer.block) for layer in self._wide)

    def region(self, region: int, near: Places) -> tuple[Ints, Floats]:
        """The prior in one region: NUNIQ cells along the curve, and masses. Those of all regions sum to about 1.

        Args:
            near: photos pooled in cells of ``PLACE_ORDER``: those within reach (``regions_near``).
        """
        layers = self._wide + self._layers(PLACE_ORDER, near, _WIDTHS < _WIDE_KM, self._used)
        root = np.array([REGION_ORDER]), np.array([region])
        # What is negligible is so beside the least that a region can hold, its part of the uniform share.
        negligible = NEGLIGIBLE * self._tolerance * self._shape.uniform / REGIONS
        found = cut(layers, self._background, 0.0, self._shape.uniform, negligible, root)
        self._background.forget()
        target = self._tolerance * float(found.mass.sum())
        order, index, mass = merge(found, max(target - found.unseen, LEAST * target), root)
        return to_nuniq(order, index), mass

    def _layers(self, order: int, places: Places, which: NDArray[np.bool_], used: int) -> list[Layer]:
        curve = places.cell << (2 * (MAX_ORDER - order))
        rank = np.argsort(curve, kind="stable")
        shares = (1.0 - self._shape.uniform) * self._shares[places.step[rank]][:, which]
        votes = shares * places.vote[rank, None] / self._total
        centres = cell_centres(order, places.cell[rank])
        return spread(self._background, curve[rank], centres, votes, _WIDTHS[which], used)


def prior_map(
    places: Floats,
    weights: Floats,
    tolerance: float = TOLERANCE,
    steps: NDArray[np.integer] | None = None,
    shape: Shape | None = None,
) -> MultiOrderMap:
    """The density of photos, positive everywhere.

    Args:
        places: (n, 3) unit vectors; photos or pools of them.
        weights: (n,) non-negative: the photos' votes, damped by owner.
        tolerance: total variation at which refinement stops.
        steps: (n,) as ``step_of`` gives them; all exact if not given.
        shape: what to make it of; the defaults if not given.

    Returns:
        a map of mass 1, uniform within cells. Without any place: the uniform law.

    Raises:
        ValueError: a weight is negative or not finite, or all are zero.
    """
    if len(places) == 0:
        return MultiOrderMap.uniform()
    step = np.zeros(len(places), np.int8) if steps is None else np.asarray(steps, np.int8)
    each = Places(cells_at(PLACE_ORDER, places), step, np.asarray(weights, np.float64))
    pooled = each.at_order(PLACE_ORDER, PLACE_ORDER)
    maker = PriorMaker(each.at_order(PLACE_ORDER, WIDE_ORDER), shape or Shape(), tolerance)
    which, region = regions_near(pooled.cell)
    parts = [maker.region(r, pooled.take(which[region == r])) for r in range(REGIONS)]
    nuniq, mass = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return MultiOrderMap(nuniq, mass / mass.sum())
