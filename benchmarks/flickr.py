"""The 2,000 shared Flickr photos, described; split by owner; means over owners with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import PHOTOS
from im2gps_spark.descriptors.batch import Task, describe
from im2gps_spark.descriptors.registry import load
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.photos.metadata import Rules, parse
from im2gps_spark.photos.reasons import Status
from im2gps_spark.sphere import Floats, unit_vectors
from im2gps_spark.store.photos import read

METADATA = PHOTOS / "yfcc100m.tsv"
FOLDS = 10
_SEED = 2008
_RESAMPLES = 4000
_MIN_ACCURACY = 6


@dataclass(frozen=True)
class Photos:
    """Photos in the order of their metadata.

    Attributes:
        photo_id: (n,) int64.
        vectors: (n, d) float32, their descriptors.
        latitude, longitude: (n,) degrees; ``places`` as unit vectors (n, 3).
        accuracy: (n,) of the geotag, 1 (world) to 16 (street).
        owner: (n,) whose they are, 0 ... owners - 1.
    """

    photo_id: NDArray[np.int64]
    vectors: NDArray[np.float32]
    latitude: Floats
    longitude: Floats
    places: Floats
    accuracy: NDArray[np.int8]
    owner: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.photo_id)

    @property
    def weight(self) -> Floats:
        """(n,) 1 / photos of the owner: each owner counts once."""
        return np.asarray(1.0 / np.bincount(self.owner)[self.owner])

    def folds(self) -> NDArray[np.int64]:
        """(n,) number of the fold, drawn for each owner: whoever is judged has no photo in the corpus."""
        owners = int(self.owner.max()) + 1
        return np.asarray(np.random.default_rng(_SEED).permutation(owners)[self.owner] % FOLDS)


def load_photos(name: str = "lite0") -> Photos:
    """Reads the shared photos and describes them on one core (15 s with lite0).

    Args:
        name: of the descriptor.

    Raises:
        FileNotFoundError: they are not at hand.
    """
    lines = METADATA.read_bytes().splitlines()
    rules = Rules(str(PHOTOS / "images"), PhotoKey("{photo_id}.jpg"), needs_geotag=True, min_accuracy=_MIN_ACCURACY)
    rows = parse(lines, [0] * len(lines), METADATA.name, rules).to_pylist()
    rows = [row for row in rows if row["status"] == Status.OK]
    limit_threads()
    descriptor = load(name)
    tasks = [Task(row["photo_id"], row["uri"], (descriptor.name,)) for row in rows]
    described = list(describe(tasks, {descriptor.name: descriptor}, lambda uri: read(uri, 2**26), decode, batch=32))
    kept = [i for i, photo in enumerate(described) if photo.status == Status.OK]
    rows = [rows[i] for i in kept]
    latitude, longitude = (np.array([row[name] for row in rows]) for name in ("latitude", "longitude"))
    return Photos(
        photo_id=np.array([row["photo_id"] for row in rows]),
        vectors=np.stack([described[i].vectors[descriptor.name] for i in kept]),
        latitude=latitude,
        longitude=longitude,
        places=unit_vectors(latitude, longitude),
        accuracy=np.array([row["accuracy"] for row in rows], np.int8),
        owner=np.unique([row["owner_id"] for row in rows], return_inverse=True)[1],
    )


@dataclass(frozen=True)
class Mean:
    """A mean over photos with its 95 % interval, by bootstrap over owners."""

    value: float
    low: float
    high: float


def mean_over_owners(values: Floats, owner: NDArray[np.int64], weight: Floats) -> Mean:
    """The weighted mean of (n,) values; owners, not photos, are drawn with replacement, for theirs are alike."""
    total = np.bincount(owner, weights=values * weight)
    whole = np.bincount(owner, weights=weight)
    present = whole > 0
    total, whole = total[present], whole[present]
    rng = np.random.default_rng(_SEED)
    drawn = rng.multinomial(len(total), np.full(len(total), 1.0 / len(total)), _RESAMPLES)
    low, high = np.quantile((drawn @ total) / (drawn @ whole), [0.025, 0.975])
    return Mean(float(total.sum() / whole.sum()), float(low), float(high))
