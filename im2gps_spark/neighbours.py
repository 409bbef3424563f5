"""The neighbours of a photo: what search hands to the posterior."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.sphere import Floats


@dataclass(frozen=True)
class Candidates:
    """The neighbours of one photo, nearest first.

    Attributes:
        photo_id: (k,) int64.
        distance: (k,) Euclidean distance of the rotated unit descriptors, in [0, 2].
        latitude, longitude: (k,) degrees.
        owner_photos: (k,) photos of the neighbour's owner in the corpus, at least 1.
        accuracy: (k,) int8, of the geotag: Flickr's level, 1 (world) to 16 (street); 0 where it is unknown.
    """

    photo_id: NDArray[np.int64]
    distance: Floats
    latitude: Floats
    longitude: Floats
    owner_photos: Floats
    accuracy: NDArray[np.int8]

    @classmethod
    def none(cls) -> Candidates:
        """No neighbours at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.int8))

    def take(self, rank: NDArray[np.int64]) -> Candidates:
        """Some of the neighbours, by position."""
        return Candidates(*(getattr(self, name)[rank] for name in self.__dataclass_fields__))

    def __len__(self) -> int:
        return len(self.photo_id)


@dataclass(frozen=True)
class Answers:
    """The neighbours of several photos, one photo's after another's.

    Attributes:
        ends: (n + 1,) int64; photo i's are those from ends[i] to ends[i + 1].
        flat: all of them.
    """

    ends: NDArray[np.int64]
    flat: Candidates

    @classmethod
    def none(cls, photos: int) -> Answers:
        """No neighbours for some photos."""
        return cls(np.zeros(photos + 1, np.int64), Candidates.none())

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, photo: int) -> Candidates:
        if not 0 <= photo < len(self):
            raise IndexError(photo)
        here = slice(self.ends[photo], self.ends[photo + 1])
        return Candidates(*(getattr(self.flat, name)[here] for name in Candidates.__dataclass_fields__))

    def __iter__(self) -> Iterator[Candidates]:
        return (self[photo] for photo in range(len(self)))


def merge(parts: Sequence[Candidates], k: int) -> Candidates:
    """The k nearest of several shards' candidates, by (distance, id)."""
    if not parts:
        return Candidates.none()
    whole = Candidates(*(np.concatenate([getattr(p, n) for p in parts]) for n in Candidates.__dataclass_fields__))
    return whole.take(np.lexsort((whole.photo_id, whole.distance))[:k])
