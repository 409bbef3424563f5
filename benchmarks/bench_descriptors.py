"""What each descriptor knows of places, and what it costs: on the shared Flickr photos, whoever took a photo left out.

For each descriptor alone, and for ``classic`` and ``lite0``:

- ``gain``: nats per steradian over the prior at the true place, by the plain posterior of ``recipe_knn.py`` with the
  project's own rotation (whitening 1/8, 128 components), ten folds of owners, shares and sharpness cross-fitted.
- ``over_NAME``: how much more that is than by descriptor NAME, photo by photo.
- ``near_R``: per cent of photos whose nearest other, by the descriptor's own distance and of other owners, was taken
  within R km; ``near20_R``: per cent of the twenty nearest. ``chance_R``: of all photos of others.
- ``ms``: preparing and describing a decoded photo of 500 pixels in one thread; ``x_decode``: by that of decoding it.
- ``spread``: standard deviation of the squared distance of two photos of other owners, to be held against ``SPREADS``.

Each photo counts as 1 / its owner's photos. ``_low`` and ``_high`` are ends of 95 % intervals, by bootstrap over
owners.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_recipe import DIMENSION, WHITENING, Figures
from benchmarks.flickr import METADATA, Photos, load_photos
from benchmarks.harness import PHOTOS, best_of, keep
from benchmarks.recipe_knn import cross_fitted, terms
from im2gps_spark.descriptors.protocol import Descriptor, Pixels
from im2gps_spark.descriptors.registry import load
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.sphere import Floats, distance_km

PARTS = ("gist", "color", "tiny", "lines")
NAMES = (*PARTS, "classic", "lite0")
RADII_KM = (200, 750, 2500)
NEAREST = 20
_LONGEST_SIDE, _TIMED = 500, 60


def gains(photos: Photos) -> Floats:
    """(n,) log density at the true place, over the prior's."""
    found = terms(photos, photos.places[:, None], DIMENSION, WHITENING["recipe_knn_125"])
    (scores,) = cross_fitted(found, [found], photos.folds(), photos.weight)
    return scores.law - scores.prior


def squared_distances(photos: Photos) -> Floats:
    """(n, n) by the descriptor; infinite for photos of one owner."""
    vectors = photos.vectors.astype(np.float64)
    square = np.sum(vectors**2, axis=1)
    distances = square[:, None] + square - 2.0 * vectors @ vectors.T
    distances[photos.owner[:, None] == photos.owner] = np.inf
    return np.asarray(distances)


def away_km(photos: Photos) -> Floats:
    """(n, n) distances of the places on the ground; of photos of one owner, nan."""
    away = np.stack([distance_km(place, photos.places) for place in photos.places])
    away[photos.owner[:, None] == photos.owner] = np.nan
    return away


def nearest(distances: Floats, count: int) -> NDArray[np.int64]:
    """(n, count) the nearest by (n, n) distances, in no order."""
    return np.argpartition(distances, count - 1, axis=1)[:, :count]


def time_ms(work: Callable[[], object], photos: int) -> float:
    """Milliseconds a photo."""
    return 1000.0 * best_of(work) / photos


def describe_all(descriptor: Descriptor, pictures: list[Pixels]) -> None:
    """As a batch, like ``describe`` does."""
    descriptor.describe([descriptor.prepare(pixels) for pixels in pictures])


def costs(figures: Figures) -> None:
    """Times of decoding, and of each descriptor beside it."""
    limit_threads()
    files: list[bytes] = []
    for path in sorted((PHOTOS / "images").glob("*.jpg")):
        data = path.read_bytes()
        if len(files) < _TIMED and max(decode(data).shape) == _LONGEST_SIDE:
            files.append(data)
    pictures = [decode(data) for data in files]
    decoding = time_ms(lambda: [decode(data) for data in files], len(files))
    figures["decode_ms"] = (decoding, "ms")
    for name in NAMES:
        descriptor = load(name)
        taken = time_ms(partial(describe_all, descriptor, pictures), len(files))
        figures[f"{name}_ms"], figures[f"{name}_x_decode"] = (taken, "ms"), (taken / decoding, "x")


def main() -> None:
    """All descriptors: some minutes; nothing where the photos are not at hand."""
    if not METADATA.exists():
        print(f"descriptors: {METADATA} is not there, nothing to measure", file=sys.stderr)
        return
    gain: dict[str, Floats] = {}
    away: Floats | None = None
    for name in NAMES:
        photos = load_photos(name)
        if away is None:
            away, figures = away_km(photos), Figures(photos)
            costs(figures)
            for radius in RADII_KM:
                figures.mean(
                    f"chance_{radius}", 100.0 * np.nanmean(np.where(np.isnan(away), away, away <= radius), axis=1), "%"
                )
        gain[name] = gains(photos)
        figures.mean(f"{name}_gain", gain[name])
        distances = squared_distances(photos)
        figures[f"{name}_spread"] = (float(distances[np.isfinite(distances)].std()), "squared distance")
        for count, label in ((1, "near"), (NEAREST, f"near{NEAREST}")):
            found = np.take_along_axis(away, nearest(distances, count), axis=1)
            for radius in RADII_KM:
                figures.mean(f"{name}_{label}_{radius}", 100.0 * np.mean(found <= radius, axis=1), "%")
    for part in PARTS:
        figures.mean(f"classic_over_{part}", gain["classic"] - gain[part])
    figures.mean("lite0_over_classic", gain["lite0"] - gain["classic"])
    keep("descriptors", figures)


if __name__ == "__main__":
    main()
