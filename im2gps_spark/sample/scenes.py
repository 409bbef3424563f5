"""The law that the sample's photos follow: who took what, where, when and how, before anything goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from im2gps_spark.sample import words
from im2gps_spark.sample.people import LAST_DAY, Owner, any_date, shares
from im2gps_spark.sample.places import EDGES, Place, anywhere, beside

LANDMARK_SHARE = 0.35
ANYWHERE_SHARE = 0.12
"""Shares of photos at landmarks and anywhere at all; the rest are taken at home, or at the map's edges."""
EDGE_EVERY = 60
"""One photo in so many lies at the edge of the map: this and the others in ``EDGES``, in turn."""
LANDMARK_RADIUS_KM = 10.0
HOME_SPREAD_KM = 25.0
NARROWEST_KM, WIDEST_KM = 200.0, 1500.0
MOST_TURN = 15.0
"""Degrees between north and up in a photo."""
SHAPES = ((500, 375), (375, 500), (480, 320), (400, 300), (384, 384), (300, 400), (320, 213), (256, 256))
"""Widths and heights of photos, pixels."""


@dataclass(frozen=True)
class Photo:
    """One photo, all of it true.

    Attributes:
        photo_id: positive, of 9 to 11 digits, as Flickr's were.
        place: where it was taken, rounded to the six decimals that metadata carry.
        side_km, size, heading: the view, as ``BlueMarble.view`` takes it.
        taken, uploaded: the second never before the first.
        accuracy: Flickr's level of the geotag, 6 to 16.
        title, description, tags: as written, not yet URL-encoded.
    """

    photo_id: int
    owner: Owner
    place: Place
    side_km: float
    size: tuple[int, int]
    heading: float
    taken: datetime
    uploaded: datetime
    accuracy: int
    title: str
    description: str
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Landmark:
    """A place that many photograph, from about the same height."""

    place: Place
    side_km: float


@dataclass(frozen=True)
class _Scene:
    """What a photo is of: where, how much of it, and when."""

    place: Place
    side_km: float
    taken: datetime


class PhotoLaw:
    """Draws photos, never two with one id.

    Args:
        rng: all chance comes from here.
        landmarks: the most popular first.
    """

    def __init__(self, rng: np.random.Generator, landmarks: Sequence[Place]) -> None:
        self._rng = rng
        self.landmarks = [Landmark(place, _log_uniform(rng, 350.0, 1000.0)) for place in landmarks]
        # Zipf's law, flattened so that the last of 80 landmarks still has a handful of photos in 3,000.
        popularity = np.cumsum(np.arange(1.0, len(landmarks) + 1.0) ** -0.7)
        self._popularity = popularity / popularity[-1]
        self._ids: set[int] = set()

    def draw(self, count: int, owners: Sequence[Owner], *, edges: bool, night: datetime | None = None) -> list[Photo]:
        """Photos by these owners: each takes one before any takes a second, as far as ``count`` goes.

        Args:
            count: how many.
            owners: who takes them; after the first round by their activity.
            edges: whether some lie at the edges of the map.
            night: when it begins, if all are uploaded in the 24 hours from then on; otherwise each is
                uploaded some days after it was taken.
        """
        rng = self._rng
        by = list(range(min(count, len(owners))))
        by += rng.choice(len(owners), size=count - len(by), p=shares(owners)).tolist()
        at_edge = min(max(count // EDGE_EVERY, len(EDGES)), count // 6) if edges else 0
        order = rng.permutation(count).tolist()
        return [
            self._photo(number, owners[by[i]], self._scene(owners[by[i]], number if number < at_edge else None), night)
            for number, i in enumerate(order)
        ]

    def _scene(self, owner: Owner, edge: int | None) -> _Scene:
        """What an owner's next photo is of; if ``edge`` is a number, that one of the edges."""
        rng = self._rng
        side_km = _log_uniform(rng, NARROWEST_KM, WIDEST_KM)
        kind = rng.random()
        if edge is not None:
            return _Scene(EDGES[edge % len(EDGES)], side_km, any_date(rng))
        if kind < LANDMARK_SHARE:
            landmark = self.landmarks[int(np.searchsorted(self._popularity, rng.random()))]
            place = beside(landmark.place, rng.uniform(0.0, LANDMARK_RADIUS_KM), rng.uniform(0.0, 360.0))
            side_km = float(np.clip(landmark.side_km * np.exp(rng.normal(0.0, 0.25)), NARROWEST_KM, WIDEST_KM))
            return _Scene(place, side_km, any_date(rng))
        if kind < LANDMARK_SHARE + ANYWHERE_SHARE:
            return _Scene(anywhere(rng), side_km, any_date(rng))
        home = owner.home(rng)
        place = beside(owner.homes[home], rng.rayleigh(HOME_SPREAD_KM), rng.uniform(0.0, 360.0))
        return _Scene(place, side_km, owner.date_at(rng, home))

    def _photo(self, number: int, owner: Owner, scene: _Scene, night: datetime | None) -> Photo:
        rng, taken = self._rng, scene.taken
        place = Place(round(scene.place.latitude, 6), round(scene.place.longitude, 6), scene.place.names)
        title, description = words.title(rng, place), words.description(rng)
        tags = words.tags(rng, place, taken)
        if number % words.HOSTILE_EVERY == 0:
            title = description = words.HOSTILE[number // words.HOSTILE_EVERY % len(words.HOSTILE)]
            tags = (*tags, title.replace(",", ""))
        return Photo(
            photo_id=self._photo_id(),
            owner=owner,
            place=place,
            side_km=scene.side_km,
            size=SHAPES[int(rng.integers(len(SHAPES)))],
            heading=float(rng.uniform(-MOST_TURN, MOST_TURN)),
            taken=taken,
            uploaded=self._upload_date(taken, night),
            # The better of two draws: most geotags were set on a street map.
            accuracy=int(rng.integers(6, 17, 2).max()),
            title=title,
            description=description,
            tags=tags,
        )

    def _upload_date(self, taken: datetime, night: datetime | None) -> datetime:
        if night is not None:
            return night + timedelta(seconds=int(self._rng.integers(86_400)))
        return min(taken + timedelta(seconds=int(self._rng.exponential(20.0) * 86_400)), LAST_DAY)

    def id_after(self, photo_id: int) -> int:
        """The next id that no photo has."""
        photo_id += 1
        while photo_id in self._ids:
            photo_id += 1
        self._ids.add(photo_id)
        return photo_id

    def _photo_id(self) -> int:
        while True:
            photo_id = int(10.0 ** self._rng.uniform(8.0, 11.0))
            if photo_id not in self._ids:
                self._ids.add(photo_id)
                return photo_id


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
