"""How much photos' places gain by their neighbours, for many descriptors quickly: what does not depend on them once.

The density is the project's (windows over the prior, owners damped), with shares of sharpness and width that are
fitted to the photos of the other folds; a true place counts by its cell of order 7. Neighbours are found exactly. A
descriptor is given by the inner products of all photos, so that a mixture of parts is a weighted sum of matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from benchmarks.flickr import FOLDS, Photos
from im2gps_spark.grid import cell_centres
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.prior import Shape, prior_map, step_of
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.shares import CELL_ORDER, POINTS_ORDER, Evidence, Shares, cells_through, fit
from im2gps_spark.posterior.votes import standard_similarity, weights_by_sharpness, window_ratios
from im2gps_spark.sphere import Floats

NEIGHBOURS = 1000
_DEFAULT_PHOTOS = 50.0
"""What the default shares count as in a fit, as in ``calibrate``."""


@dataclass(frozen=True)
class Fold:
    """A fold's photos and the corpus of the other folds.

    Attributes:
        queries, corpus: positions.
        owner_photos: (corpus,) photos of each one's owner in the corpus.
        ratios: (queries, corpus, widths) float32, of each window over the prior, in the cell of the query's place.
        prior: (queries,) mean density of the prior in that cell, per steradian.
    """

    queries: NDArray[np.int64]
    corpus: NDArray[np.int64]
    owner_photos: Floats
    ratios: NDArray[np.float32]
    prior: Floats


def folds_of(photos: Photos, made_of: list[Shape]) -> list[Fold]:
    """Everything but the descriptors: two minutes for 2,000 photos.

    Args:
        made_of: by fold, the prior's shape.
    """
    fold = photos.folds()
    return [
        _fold(photos, np.flatnonzero(fold == number), np.flatnonzero(fold != number), made_of[number])
        for number in range(FOLDS)
    ]


def _fold(photos: Photos, queries: NDArray[np.int64], corpus: NDArray[np.int64], shape: Shape) -> Fold:
    settings = PosteriorSettings()
    owner = photos.owner[corpus]
    owner_photos = np.bincount(owner)[owner].astype(np.float64)
    votes = owner_photos**-settings.owner_damping
    prior = prior_map(photos.places[corpus], votes, steps=step_of(photos.accuracy[corpus]), shape=shape)
    background, widths = Background(prior), np.array(settings.widths_km)
    everybody = Candidates(
        photo_id=photos.photo_id[corpus],
        distance=np.zeros(len(corpus)),
        latitude=photos.latitude[corpus],
        longitude=photos.longitude[corpus],
        owner_photos=owner_photos,
        accuracy=photos.accuracy[corpus],
    )
    ratios = np.empty((len(queries), len(corpus), len(widths)), np.float32)
    density = np.empty(len(queries))
    for i, inside in enumerate(cells_through(photos.places[queries])):
        masses = prior.mass_within(POINTS_ORDER, inside)
        ratios[i] = window_ratios(everybody, widths, cell_centres(POINTS_ORDER, inside), masses, background)
        density[i] = masses.sum() / (4.0 * np.pi / (12.0 * 4.0**CELL_ORDER))
    return Fold(queries, corpus, owner_photos, ratios, density)


@dataclass(frozen=True)
class Components:
    """Principal components of a fold's corpus, strongest first.

    Attributes:
        variance: (most,).
        corpus, queries: (photos, most) coordinates.
    """

    variance: Floats
    corpus: Floats
    queries: Floats

    def cosines(self, dimension: int, whitening: float) -> Floats:
        """(queries, corpus) of the first components, each divided by its variance to a power."""
        scale = self.variance[:dimension] ** -whitening
        queries, corpus = (
            part / np.linalg.norm(part, axis=1, keepdims=True)
            for part in (self.queries[:, :dimension] * scale, self.corpus[:, :dimension] * scale)
        )
        return np.asarray(queries @ corpus.T)


def components(products: Floats, fold: Fold, most: int) -> Components:
    """By the inner products (n, n) of all photos' descriptors."""
    within = products[np.ix_(fold.corpus, fold.corpus)]
    across = products[np.ix_(fold.queries, fold.corpus)]
    to_mean = within.mean(axis=0)
    centred = within - to_mean - to_mean[:, None] + to_mean.mean()
    other = across - to_mean - across.mean(axis=1, keepdims=True) + to_mean.mean()
    n = len(fold.corpus)
    values, vectors = eigh(centred, subset_by_index=[n - most, n - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    return Components(values / n, vectors * np.sqrt(values), other @ vectors / np.sqrt(values))


def gains(folds: list[Fold], owners: NDArray[np.int64], cosines: list[Floats]) -> Floats:
    """(n,) nats that each photo's place is likelier than by the prior of its fold; shares fitted on the other folds.

    Args:
        owners: (n,) whose the photos are.
        cosines: by fold, (queries, corpus).
    """
    evidence = [_evidence(fold, owners, cosine) for fold, cosine in zip(folds, cosines, strict=True)]
    start, found = Shares.of(PosteriorSettings()), np.empty(len(owners))
    for number, fold in enumerate(folds):
        others = [part for i, part in enumerate(evidence) if i != number]
        names = ("kernels", "prior", "owners", "certainty")
        whole = Evidence(*(np.concatenate([getattr(part, name) for part in others]) for name in names))
        law = fit(whole, start, _DEFAULT_PHOTOS).log_likelihood(evidence[number])
        found[fold.queries] = law - np.log(fold.prior)
    return found


def _evidence(fold: Fold, owners: NDArray[np.int64], cosines: Floats) -> Evidence:
    settings = PosteriorSettings()
    kernels = np.empty((len(fold.queries), len(settings.sharpness), len(settings.widths_km)))
    best = np.empty(len(fold.queries))
    for i, cosine in enumerate(cosines):
        near = np.argpartition(-cosine, NEIGHBOURS)[:NEIGHBOURS]
        distance = np.sqrt(np.maximum(2.0 - 2.0 * cosine[near], 0.0))
        score = standard_similarity(distance, float(cosine.mean()), float(cosine.std()))
        kernels[i] = weights_by_sharpness(score, fold.owner_photos[near], settings) @ fold.ratios[i, near]
        best[i] = score.max()
    return Evidence(kernels * fold.prior[:, None, None], fold.prior, owners[fold.queries], best)
