"""Who takes the sample's photos: few who take many and many who take few, each around places of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from im2gps_spark.sample.places import Gazetteer, Place
from im2gps_spark.sample.words import device, nickname

FIRST_DAY = datetime(2004, 2, 10)
"""When Flickr opened: the first date taken."""
LAST_DAY = datetime(2014, 4, 1)
"""The last date taken and uploaded in the corpus; the uploads come after it."""
MOST_HOMES = 4


@dataclass(frozen=True)
class Owner:
    """A member of the made-up community.

    Attributes:
        owner_id: a Flickr NSID, e.g. ``12345678@N00``.
        nickname, device: free text.
        homes: 1 to ``MOST_HOMES`` cities where they take photos, the first the most.
        arrivals: when they came to each; they live in the first and stay some days in the others.
        activity: how many photos they take, relative to others.
    """

    owner_id: str
    nickname: str
    device: str
    homes: tuple[Place, ...]
    arrivals: tuple[datetime, ...]
    activity: float

    def home(self, rng: np.random.Generator) -> int:
        """Position of the home of their next photo: the first two times in three."""
        return 0 if rng.random() < 2.0 / 3.0 else int(rng.integers(len(self.homes)))

    def date_at(self, rng: np.random.Generator, home: int) -> datetime:
        """When they took a photo at one of their homes."""
        if home == 0:
            return any_date(rng)
        return min(self.arrivals[home] + timedelta(seconds=int(rng.exponential(3.0) * 86_400)), LAST_DAY)


def any_date(rng: np.random.Generator) -> datetime:
    """A second of the years that the corpus spans."""
    return FIRST_DAY + timedelta(seconds=int(rng.integers(int((LAST_DAY - FIRST_DAY).total_seconds()))))


def draw_owners(rng: np.random.Generator, count: int, gazetteer: Gazetteer, used: set[str]) -> list[Owner]:
    """New owners, none with an id in ``used``, which is added to.

    Their activity follows Pareto's law with index 1.2: of 400, the busiest takes about one photo in twenty.
    """
    homes = gazetteer.draw(rng, count * MOST_HOMES)
    activity = 1.0 + rng.pareto(1.2, count)
    owners = []
    for i in range(count):
        own = homes[i * MOST_HOMES : i * MOST_HOMES + int(rng.integers(1, MOST_HOMES + 1))]
        arrivals = [any_date(rng) for _ in own]
        owners.append(
            Owner(
                _owner_id(rng, used),
                nickname(rng),
                device(rng),
                tuple(own),
                tuple(arrivals),
                float(activity[i]),
            )
        )
    return owners


def shares(owners: Sequence[Owner]) -> list[float]:
    """The owners' activities, scaled to sum to 1."""
    total = sum(owner.activity for owner in owners)
    return [owner.activity / total for owner in owners]


def _owner_id(rng: np.random.Generator, used: set[str]) -> str:
    while True:
        owner_id = f"{rng.integers(10_000_000, 100_000_000)}@N0{rng.integers(9)}"
        if owner_id not in used:
            used.add(owner_id)
            return owner_id
