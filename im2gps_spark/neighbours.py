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

    def take(self, rank: NDArray[np.int64] | slice) -> Candidates:
        """Some of the neighbours, by position."""
        # Spelt out, for it is done for every photo and shard.
        return Candidates(
            self.photo_id[rank],
            self.distance[rank],
            self.latitude[rank],
            self.longitude[rank],
            self.owner_photos[rank],
            self.accuracy[rank],
        )

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
        return self.flat.take(slice(*self.ends[photo : photo + 2]))

    def __iter__(self) -> Iterator[Candidates]:
        return (self[photo] for photo in range(len(self)))


def merge(parts: Sequence[Candidates], k: int) -> Candidates:
    """The k nearest of several shards' candidates, by (distance, id)."""
    if not parts:
        return Candidates.none()
    whole = Candidates(
        np.concatenate([part.photo_id for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.concatenate([part.latitude for part in parts]),
        np.concatenate([part.longitude for part in parts]),
        np.concatenate([part.owner_photos for part in parts]),
        np.concatenate([part.accuracy for part in parts]),
    )
    return whole.take(np.lexsort((whole.photo_id, whole.distance))[:k])
