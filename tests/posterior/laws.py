"""Densities whose answer is known, samples from them, and maps of any shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, cell_centres, from_nuniq, resolve, to_nuniq
from im2gps_spark.posterior.kernels import Profile
from im2gps_spark.posterior.refine import Density
from im2gps_spark.sphere import Floats, concentration, normalised, unit_vectors

SEEDS = st.integers(0, 2**32 - 1)

# The measured recipe's widths (docs/posterior.md).
WIDTHS_KM = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0)
SHARES = (0.65, 0.0, 0.01, 0.12, 0.16, 0.06)

PLACES = {
    "Paris": (48.85, 2.35),
    "north pole": (90.0, 0.0),
    "south pole": (-90.0, 0.0),
    "longitude 180": (60.0, 180.0),
    "longitude 180 on the equator": (0.0, -180.0),
    "a corner of three base cells": (41.8103, 0.0),
    "Pacific": (-40.0, -130.0),
}


def mixture(
    places: Floats,
    weights: Sequence[float] | Floats | None = None,
    *,
    widths_km: Sequence[float] = WIDTHS_KM,
    shares: Sequence[float] | None = None,
    prior: MultiOrderMap | None = None,
    prior_share: float = 0.0,
    uniform_share: float = 0.005,
) -> Density:
    """Kernels on places (equal weights unless given; equal shares for widths other than the recipe's)."""
    places = np.atleast_2d(places)
    votes = np.ones(len(places)) if weights is None else np.asarray(weights, np.float64)
    if shares is None:
        shares = SHARES if widths_km == WIDTHS_KM else [1.0] * len(widths_km)
    return Density(
        places=places,
        weights=votes / votes.sum(),
        profile=Profile.of(widths_km, shares),
        prior=MultiOrderMap.uniform() if prior is None else prior,
        kernel_share=1.0 - prior_share - uniform_share,
        prior_share=prior_share,
        uniform_share=uniform_share,
    )


def nothing(prior: MultiOrderMap | None = None, uniform_share: float = 0.005) -> Density:
    """No neighbours: the prior, and a share of the uniform law."""
    prior = MultiOrderMap.uniform() if prior is None else prior
    empty = np.zeros((0, 3))
    return Density(empty, np.zeros(0), Profile.of([25.0], [1.0]), prior, 0.0, 1.0 - uniform_share, uniform_share)


def anywhere(n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by the uniform law."""
    return normalised(rng.normal(size=(n, 3)))


def around(centres: Floats, width_km: float | Floats, rng: np.random.Generator) -> Floats:
    """One point by the vMF law about each centre (n, 3): 1 - cos of the angle is a cut-off exponential."""
    kappa = concentration(width_km)
    gone = -np.log1p(rng.random(len(centres)) * np.expm1(-2.0 * kappa)) / kappa
    sideways = normalised(np.cross(centres, anywhere(len(centres), rng)))
    return normalised((1.0 - gone)[:, None] * centres + np.sqrt(gone * (2.0 - gone))[:, None] * sideways)


def inside(law: MultiOrderMap, n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by a law that is uniform within cells."""
    cell = rng.choice(len(law.mass), n, p=law.mass / law.mass.sum())
    width = 4 ** (MAX_ORDER - law.order[cell])
    return cell_centres(MAX_ORDER, law.starts[cell] + (rng.random(n) * width).astype(np.int64))


def sample(density: Density, n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by a density."""
    part = rng.choice(3, n, p=[density.kernel_share, density.prior_share, density.uniform_share])
    points = anywhere(n, rng)
    points[part == 1] = inside(density.prior, int((part == 1).sum()), rng)
    kernels = int((part == 0).sum())
    if kernels:
        place = rng.choice(len(density.places), kernels, p=density.weights)
        width = rng.choice(density.profile.widths_km, kernels, p=density.profile.shares)
        points[part == 0] = around(density.places[place], width, rng)
    return points


def total_variation(density: Density, relative: MultiOrderMap, n: int = 20_000) -> tuple[float, float]:
    """Between a density and what its map stands for: a Monte-Carlo estimate, and its standard error."""
    points = sample(density, n, np.random.default_rng(5))
    law = resolve(relative, density.prior)
    short = np.maximum(0.0, 1.0 - law.density[law.find(points)] / density.at(points))
    return float(short.mean()), float(short.std() / np.sqrt(n))


def collection(seed: int, n: int = 1000) -> Floats:
    """(n, 3) places of photos: crowds of unequal size, with exact repeats."""
    rng = np.random.default_rng(seed)
    towns = anywhere(12, rng)[rng.choice(12, n, p=rng.dirichlet(np.full(12, 0.7)))]
    spread = around(towns, 300.0, rng)
    return spread[rng.integers(0, n, n)]


def random_map(rng: np.random.Generator, splits: int = 40, deepest: int = 6) -> MultiOrderMap:
    """A map whose cells are of many sizes, with random masses."""
    cells = [(0, index) for index in range(12)]
    for _ in range(splits):
        order, index = cells.pop(int(rng.integers(len(cells))))
        cells += [(order + 1, 4 * index + i) for i in range(4)] if order < deepest else [(order, index)]
    orders, indices = np.array(cells).T
    mass = rng.pareto(1.0, len(cells)) + 1e-6
    return MultiOrderMap.from_cells(to_nuniq(orders, indices), mass / mass.sum())


def spread_out(law: MultiOrderMap, order: int) -> Floats:
    """The masses of all cells of one order, at least as fine as the law's: one by one, for comparison."""
    mass = np.zeros(12 * 4**order)
    for cell, amount in zip(law.cells, law.mass, strict=True):
        level, index = (int(v) for v in from_nuniq(cell))
        parts = 4 ** (order - level)
        mass[index * parts : (index + 1) * parts] = amount / parts
    return mass


def at(name: str) -> Floats:
    """One of the ``PLACES``, (3,)."""
    return unit_vectors(*PLACES[name])
