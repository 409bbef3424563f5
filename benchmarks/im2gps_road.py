"""The project's own road by its pure functions, for bench_recipe: a corpus and photos in, their answers out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.flickr import FOLDS, Photos
from im2gps_spark.grid import cell_centres, cells_at
from im2gps_spark.index.plan import plan
from im2gps_spark.index.training import train
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.calibration import Graded, calibrate
from im2gps_spark.posterior.prior import PLACE_ORDER, WIDTHS_KM, Places, Shape, prior_map, step_of
from im2gps_spark.posterior.prior_fit import fit_shape, kernel_columns
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.shares import POINTS_ORDER, Evidence, cells_through
from im2gps_spark.posterior.summary import Summary, summarise
from im2gps_spark.posterior.votes import (
    density_of,
    pooled_score,
    standard_similarity,
    vote_weights,
    weights_by_sharpness,
    window_ratios,
)
from im2gps_spark.sphere import Floats

NEIGHBOURS = 1000


class Road:
    """What train and build make of a corpus, and what geolocate and calibrate do with it.

    Args:
        photos: all of them.
        corpus: positions of those that may be looked at.
        shape: what the prior is made of.
    """

    def __init__(self, photos: Photos, corpus: NDArray[np.int64], shape: Shape) -> None:
        self._photos, self._corpus = photos, corpus
        self._owner_photos, votes = _votes(photos, corpus)
        self.prior = prior_map(photos.places[corpus], votes, steps=step_of(photos.accuracy[corpus]), shape=shape)
        self._background = Background(self.prior)
        self._trained = train(photos.vectors[corpus], plan(len(corpus), photos.vectors.shape[1], sample=len(corpus)))
        self._rotated = self._trained.rotate(photos.vectors[corpus]).astype(np.float64)

    def answers(self, queries: NDArray[np.int64], by: Graded) -> Iterator[Summary]:
        """What geolocate says of each photo."""
        for query in queries:
            near, score = self._neighbours(int(query))
            settings = by.of(score)
            weights = vote_weights(score, near.owner_photos, settings)
            yield summarise(density_of(near, weights, settings, self._background), settings.tolerance)

    def evidence(self, queries: NDArray[np.int64], settings: PosteriorSettings) -> Evidence:
        """What calibrate looks at, of photos that are not in the corpus."""
        photos, widths = self._photos, np.array(settings.widths_km)
        ratios, prior, best = [], [], []
        for query, inside in zip(queries, cells_through(photos.places[queries]), strict=True):
            near, score = self._neighbours(int(query))
            best.append(score.max())
            masses = self.prior.mass_within(POINTS_ORDER, inside)
            found = window_ratios(near, widths, cell_centres(POINTS_ORDER, inside), masses, self._background)
            ratios.append(weights_by_sharpness(score, near.owner_photos, settings) @ found)
            prior.append(masses.sum() / (4.0 * np.pi * len(inside) / (12.0 * 4.0**POINTS_ORDER)))
        density = np.array(prior)
        return Evidence(np.stack(ratios) * density[:, None, None], density, photos.owner[queries], np.array(best))

    def _neighbours(self, query: int) -> tuple[Candidates, Floats]:
        """The nearest of the corpus by exact search, and their scores."""
        photos = self._photos
        cosine = self._rotated @ self._trained.rotate(photos.vectors[query : query + 1])[0].astype(np.float64)
        distance = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
        near = np.lexsort((photos.photo_id[self._corpus], distance))[:NEIGHBOURS]
        rows = self._corpus[near]
        found = Candidates(
            photo_id=photos.photo_id[rows],
            distance=distance[near],
            latitude=photos.latitude[rows],
            longitude=photos.longitude[rows],
            owner_photos=self._owner_photos[near],
            accuracy=photos.accuracy[rows],
        )
        similarity = standard_similarity(found.distance, float(cosine.mean()), float(cosine.std()))
        return found, pooled_score({"similarity": similarity}, PosteriorSettings())


def _votes(photos: Photos, corpus: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(n,) photos of each one's owner in the corpus, and what its vote in the prior is worth."""
    owner = photos.owner[corpus]
    count = np.bincount(owner)[owner].astype(np.float64)
    return count, count ** -PosteriorSettings().owner_damping


def shapes(photos: Photos) -> list[Shape]:
    """By fold, what build makes the prior of when it goes by the photos of the other folds."""
    fold, made = photos.folds(), np.empty((len(photos), len(WIDTHS_KM)))
    for number in range(FOLDS):
        corpus, queries = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        votes = _votes(photos, corpus)[1]
        places = Places(cells_at(PLACE_ORDER, photos.places[corpus]), step_of(photos.accuracy[corpus]), votes)
        points = cell_centres(POINTS_ORDER, cells_through(photos.places[queries]))
        made[queries] = kernel_columns(points, places) / votes.sum()
    return [fit_shape(made[fold != number]) for number in range(FOLDS)]


def calibrated(photos: Photos, made_of: list[Shape]) -> list[Graded]:
    """By fold, the settings with what calibrate finds on the photos of the other folds in the place of theirs."""
    fold, settings = photos.folds(), PosteriorSettings()
    parts = [
        Road(photos, np.flatnonzero(fold != number), shape).evidence(np.flatnonzero(fold == number), settings)
        for number, shape in enumerate(made_of)
    ]
    made = []
    for number in range(FOLDS):
        others = [part for i, part in enumerate(parts) if i != number]
        names = ("kernels", "prior", "owners", "certainty")
        whole = Evidence(*(np.concatenate([getattr(part, name) for part in others]) for name in names))
        made.append(calibrate(whole, settings).graded(settings))
    return made
