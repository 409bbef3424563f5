"""Densities whose answer is known, points drawn from them, and maps of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, cell_centres, from_nuniq, resolve, to_nuniq
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import refine
from im2gps_spark.sphere import Floats, concentration, normalised, unit_vectors, vmf_density

SEEDS = st.integers(0, 2**32 - 1)

# The measured recipe's widths (docs/posterior.md).
WIDTHS_KM = (25.0, 100.0, 400.0, 1600.0)
SHARES = (0.04, 0.14, 0.29, 0.53)

PLACES = {
    "Paris": (48.85, 2.35),
    "north pole": (90.0, 0.0),
    "south pole": (-90.0, 0.0),
    "longitude 180": (60.0, 180.0),
    "longitude 180 on the equator": (0.0, -180.0),
    "a corner of three base cells": (41.8103, 0.0),
    "Pacific": (-40.0, -130.0),
}

UNIFORM = Background(MultiOrderMap.uniform())


def at(name: str) -> Floats:
    """One of the ``PLACES``, (3,)."""
    return unit_vectors(*PLACES[name])


def mixture(
    places: Floats,
    weights: Sequence[float] | Floats | None = None,
    *,
    widths_km: Sequence[float] = WIDTHS_KM,
    shares: Sequence[float] | None = None,
    over: Background = UNIFORM,
    prior_share: float = 0.02,
    uniform_share: float = 0.01,
) -> Density:
    """Windows of neighbours (equal weights unless given; equal shares for widths other than the recipe's)."""
    places = np.atleast_2d(places)
    weight = np.ones(len(places)) if weights is None else np.asarray(weights, np.float64)
    if shares is None:
        shares = SHARES if widths_km == WIDTHS_KM else [1.0] * len(widths_km)
    votes = np.outer(weight / weight.sum(), np.asarray(shares) / np.sum(shares))
    heard = 1.0 - prior_share - uniform_share
    return Density(places, heard * votes, np.asarray(widths_km, np.float64), over, prior_share, uniform_share)


def nothing(over: Background = UNIFORM, uniform_share: float = 0.005) -> Density:
    """No neighbours: the prior, and a share of the uniform law."""
    empty = np.zeros((0, 3)), np.zeros((0, 1)), np.array([25.0])
    return Density(*empty, over, 1.0 - uniform_share, uniform_share)


def law_of(density: Density, tolerance: float = 0.05) -> MultiOrderMap:
    """What a density's map stands for."""
    return resolve(refine(density, tolerance), density.background.map)


def collection(seed: int, n: int = 1000) -> Floats:
    """(n, 3) places of photos: crowds of unequal size, with exact repeats."""
    rng = np.random.default_rng(seed)
    towns = anywhere(12, rng)[rng.choice(12, n, p=rng.dirichlet(np.full(12, 0.7)))]
    spread = around(towns, 300.0, rng)
    return spread[rng.integers(0, n, n)]


@cache
def corpus(seed: int) -> tuple[Floats, Background]:
    """The photos of a collection, and their prior."""
    photos = collection(seed)
    return photos, Background(prior_map(photos, np.ones(len(photos))))


# Points


def anywhere(n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by the uniform law."""
    return normalised(rng.normal(size=(n, 3)))


def around(centres: Floats, width_km: float | Floats, rng: np.random.Generator) -> Floats:
    """One point by the vMF law about each centre (n, 3): 1 - cos of the angle is a cut-off exponential."""
    kappa = concentration(width_km)
    gone = -np.log1p(rng.random(len(centres)) * np.expm1(-2.0 * kappa)) / kappa
    sideways = normalised(np.cross(centres, anywhere(len(centres), rng)))
    return normalised((1.0 - gone)[:, None] * centres + np.sqrt(gone * (2.0 - gone))[:, None] * sideways)


def _evenly(shares: Floats, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) draws by shares, one from each n-th of the whole: with less noise than drawing each from all."""
    whole = np.cumsum(shares)
    at = np.searchsorted(whole, (np.arange(n) + rng.random(n)) / n * whole[-1], side="right")
    return np.asarray(np.minimum(at, len(shares) - 1))


def inside(law: MultiOrderMap, n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by a law that is uniform within cells, in the order of the curve."""
    cell = _evenly(law.mass, n, rng)
    width = 4 ** (MAX_ORDER - law.order[cell])
    return cell_centres(MAX_ORDER, law.starts[cell] + (rng.random(n) * width).astype(np.int64))


def by_kernels(density: Density, n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by the kernels of a density's neighbours, whatever the prior."""
    place, width = np.divmod(_evenly(density.votes.ravel(), n, rng), len(density.widths_km))
    return around(density.places[place], density.widths_km[width], rng)


def kernels_at(density: Density, points: Floats) -> Floats:
    """(n,) densities of ``by_kernels`` per steradian, in plain formulas."""
    total = np.zeros(len(points))
    for place, votes in zip(density.places, density.votes, strict=True):
        chord = np.sum((points - place) ** 2, axis=1)
        for width, vote in zip(density.widths_km, votes, strict=True):
            total += vote * vmf_density(chord, concentration(width))
    return np.asarray(total / density.votes.sum())


def sample(density: Density, n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by a density over the uniform prior: its windows are von Mises-Fisher kernels there."""
    assert len(density.background.map.cells) == 12
    points = anywhere(n, rng)
    heard = rng.random(n) < density.votes.sum()
    points[heard] = rng.permutation(by_kernels(density, max(int(heard.sum()), 1), rng))[: int(heard.sum())]
    return points


def weighed(density: Density, law: MultiOrderMap, n: int, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Points (n, 3), and what the density (scaled to mass 1) and its map's law are there of the density they came by.

    Half of the points are drawn from the map and half from the neighbours' kernels, so that neither what the map has
    and the density lacks nor what the map misses goes unseen.
    """
    points = np.concatenate([inside(law, n // 2, rng), by_kernels(density, n // 2, rng)])
    by_map = law.density[law.find(points)]
    drawn = (by_map + kernels_at(density, points)) / 2.0
    ratio = density.at(points) / drawn
    return points, ratio / ratio.mean(), by_map / drawn


def total_variation(density: Density, relative: MultiOrderMap, n: int = 3000) -> tuple[float, float]:
    """Between a density and what its map stands for: a Monte-Carlo estimate, and its standard error."""
    law = resolve(relative, density.background.map)
    _, exact, mapped = weighed(density, law, n, np.random.default_rng(5))
    gap = np.abs(exact - mapped) / 2.0
    return float(gap.mean()), float(np.sqrt(sum(half.var() / len(half) for half in np.split(gap, 2))) / 2.0)


def truths(density: Density, law: MultiOrderMap, n: int, rng: np.random.Generator) -> Floats:
    """(n, 3) points by a density over any prior: drawn by their weights from ten times as many."""
    points, exact, _ = weighed(density, law, 10 * n, rng)
    return points[rng.choice(len(points), n, p=exact / exact.sum())]


def apart(a: MultiOrderMap, b: MultiOrderMap) -> float:
    """Total variation between two laws that are uniform within cells: exact."""
    starts = np.union1d(a.starts, b.starts)
    of = [np.searchsorted(law.starts, starts, side="right") - 1 for law in (a, b)]
    order = np.maximum(a.order[of[0]], b.order[of[1]])
    gap = np.abs(a.density[of[0]] - b.density[of[1]])
    return float(np.sum(gap * np.pi / 3.0 / 4.0**order) / 2.0)


# Maps


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
