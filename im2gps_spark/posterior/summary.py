"""What a row of ``posteriors`` says of a photo's law, besides the map itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import h3
import numpy as np

from im2gps_spark.grid import MultiOrderMap, cell_centres, resolve
from im2gps_spark.posterior.gazetteer import Gazetteer, Name
from im2gps_spark.posterior.kernels import climb
from im2gps_spark.posterior.refine import Density, refine
from im2gps_spark.posterior.region import Part, Ranking, connected_parts, pooled
from im2gps_spark.sphere import UNIFORM_ENTROPY, Floats, coordinates, distance_km, geodesic_median

H3_RESOLUTION = 5
"""Hexagons of about 250 km^2: the scale of the narrowest kernel."""

_STARTS = 8
_MEDIAN_ORDER = 4
_NEAR_KM, _NEAR_ORDER = 1000.0, 9
_SEARCH_ORDER = 3


@dataclass(frozen=True)
class Summary:
    """The answer for one photo.

    Attributes:
        map: relative to the prior (the contract of ``posteriors.map``), mass 1.
        mode: (3,) unit vector of the greatest density.
        median: (3,) unit vector of least expected great-circle distance.
        entropy: differential, nats over steradians; uniform: ln 4 pi.
        information_over_prior: Kullback-Leibler divergence from the prior, nats.
        area50_km2, area90_km2: areas of the highest-density regions.
        parts: connected parts of the 80 % region, heaviest first, and their ``names``.
    """

    map: MultiOrderMap
    mode: Floats
    median: Floats
    entropy: float
    information_over_prior: float
    area50_km2: float
    area90_km2: float
    parts: list[Part]
    names: list[Name]

    @property
    def information_bits(self) -> float:
        """What was learned over the uniform law, bits."""
        return (UNIFORM_ENTROPY - self.entropy) / float(np.log(2.0))

    @property
    def information_over_prior_bits(self) -> float:
        """What the photo said beyond where photos are taken, bits; near 0: ask no more of it than of the prior."""
        return self.information_over_prior / float(np.log(2.0))

    @property
    def mode_h3(self) -> int:
        """The H3 hexagon of the mode, for analysts' joins."""
        latitude, longitude = coordinates(self.mode)
        return int(h3.str_to_int(h3.latlng_to_cell(float(latitude), float(longitude), H3_RESOLUTION)))


def summarise(density: Density, tolerance: float) -> Summary:
    """The map of a density and all that follows from it."""
    relative = refine(density, tolerance).check()
    law = resolve(relative, density.prior)
    ranking = Ranking(law)
    area50, area90 = ranking.area_km2(np.array([0.5, 0.9]))
    parts = connected_parts(ranking)
    return Summary(
        map=relative,
        mode=find_mode(density, law),
        median=find_median(law),
        entropy=entropy(law),
        information_over_prior=divergence(relative, density.prior),
        area50_km2=float(area50),
        area90_km2=float(area90),
        parts=parts,
        names=Gazetteer.shared().names(np.array([part.peak for part in parts])),
    )


def entropy(law: MultiOrderMap) -> float:
    """-integral p ln p of a law that is uniform within cells, nats over steradians."""
    held = law.mass > 0
    return float(-np.sum(law.mass[held] * np.log(law.density[held])))


def divergence(relative: MultiOrderMap, prior: MultiOrderMap) -> float:
    """Kullback-Leibler divergence from the prior of the law that a relative map stands for, nats: exact and >= 0."""
    held = relative.mass > 0
    within = prior.mass_within(relative.order[held], relative.index[held])
    return max(0.0, float(np.sum(relative.mass[held] * np.log(relative.mass[held] / within))))


def find_mode(density: Density, law: MultiOrderMap) -> Floats:
    """The point of greatest density: (3,).

    Mean shift from the densest places, for kernels peak at or between them; the map's densest cell is a candidate
    too, for the prior may outweigh the neighbours. Of equals the southernmost is taken.
    """
    candidates = [law.centres_of(np.argmax(law.density))[None]]
    if len(density.places):
        places = np.unique(density.places, axis=0)
        starts = places[np.argsort(-density.at(places), kind="stable")[:_STARTS]]
        candidates += [starts, climb(starts, density.places, density.weights, density.profile)]
    points = np.concatenate(candidates)
    height = density.at(points)
    best = points[height >= height.max() * (1.0 - 1e-9)]
    rank = np.lexsort(np.round(best, 9).T)
    return np.asarray(best[rank[0]])


def find_median(law: MultiOrderMap) -> Floats:
    """The point of least expected great-circle distance to the law: (3,).

    The expected distance has several minima on a sphere: the best of a coarse grid starts the descent.
    """
    points, mass = pooled(law, _SEARCH_ORDER)
    grid = _search_grid()
    start = grid[np.argmin(distance_km(grid[:, None], points[None]) @ mass)]
    here = geodesic_median(*pooled(law, _MEDIAN_ORDER), start)
    # What pulls from afar pulls as one; what lies about the median decides where in it the balance is.
    near = distance_km(law.centres, here) < _NEAR_KM
    parts = [pooled(law, _NEAR_ORDER, near), pooled(law, _MEDIAN_ORDER, ~near)]
    points, mass = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    return geodesic_median(points, mass, here)


@cache
def _search_grid() -> Floats:
    return cell_centres(_SEARCH_ORDER, np.arange(12 * 4**_SEARCH_ORDER))
