"""The project's own road by its pure functions, for bench_recipe: a corpus and photos in, their laws out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.flickr import Photos
from im2gps_spark.index.plan import plan
from im2gps_spark.index.training import train
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.summary import Summary, summarise
from im2gps_spark.posterior.votes import density_of, standard_similarity, vote_weights

NEIGHBOURS = 1000


class Road:
    """What train and build make of a corpus, and geolocate with it.

    Args:
        photos: all of them.
        corpus: positions of those that may be looked at.
    """

    def __init__(self, photos: Photos, corpus: NDArray[np.int64], settings: PosteriorSettings) -> None:
        self._photos, self._corpus, self._settings = photos, corpus, settings
        owner = photos.owner[corpus]
        self._owner_photos = np.bincount(owner)[owner].astype(np.float64)
        votes = self._owner_photos**-settings.owner_damping
        self.prior = prior_map(photos.places[corpus], votes)
        self._background = Background(self.prior)
        self._trained = train(photos.vectors[corpus], plan(len(corpus), photos.vectors.shape[1], sample=len(corpus)))
        self._rotated = self._trained.rotate(photos.vectors[corpus]).astype(np.float64)

    def candidates(self, query: int) -> tuple[Candidates, float, float]:
        """The nearest of the corpus by exact search; mean and spread of the query's cosines over all of it."""
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
        return found, float(cosine.mean()), float(cosine.std())

    def answers(self, queries: NDArray[np.int64]) -> Iterator[Summary]:
        """What geolocate says of each photo."""
        for query in queries:
            near, mean, spread = self.candidates(int(query))
            weights = vote_weights(standard_similarity(near.distance, mean, spread), near.owner_photos, self._settings)
            yield summarise(density_of(near, weights, self._settings, self._background), self._settings.tolerance)
