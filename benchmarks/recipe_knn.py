"""The recipe's row of nearest neighbours (shared/docs/posterior.md), written down plainly: what im2gps must reach.

    p(y|x) = sum_s pi_s sum_j w_j vMF(y; y_j, (6371 / s)^2) + pi_prior prior(y) + pi_uniform / 4 pi

over the k = 1000 most similar photos, w_j proportional to o_j exp(a z_j): z is the cosine of half-whitened principal
components in standard deviations above the query's mean, o = (photos of the owner)^-1/2. The prior is a mixture of the
same widths over all photos of the corpus. All shares by EM, and a from a grid, on the photos of the other folds.
Every kernel is evaluated exactly; nothing here is of the project but the vMF law.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.flickr import FOLDS, Photos
from im2gps_spark.sphere import Floats, concentration, vmf_density

WIDTHS_KM = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0)
SHARPNESS = (0.4, 0.6, 0.8, 1.0, 1.2, 1.6)
NEIGHBOURS = 1000
_UNIFORM = 1.0 / (4.0 * np.pi)
_EM_STEPS = 300


@dataclass(frozen=True)
class Terms:
    """What the mixtures are made of, at n photos, each by the corpus without its fold. All per steradian.

    Attributes:
        kernels: (sharpnesses, widths, n) of the neighbours.
        prior: (widths, n) of the whole corpus.
    """

    kernels: Floats
    prior: Floats


@dataclass(frozen=True)
class Scores:
    """(n,) log densities at the photos, nats per steradian, of the law and of its own prior; cross-fitted."""

    law: Floats
    prior: Floats


def half_whitened(corpus: Floats, queries: Floats, dimension: int, power: float) -> tuple[Floats, Floats]:
    """Unit vectors of principal components divided by (their variance)^power, fitted on the corpus."""
    mean = corpus.mean(axis=0)
    _, spread, axes = np.linalg.svd(corpus - mean, full_matrices=False)
    matrix = axes[:dimension].T * (spread[:dimension] ** 2 / len(corpus)) ** -power
    rotated = [(part - mean) @ matrix for part in (corpus, queries)]
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in rotated]
    return unit[0], unit[1]


def neighbour_weights(corpus: Floats, queries: Floats, votes: Floats) -> Floats:
    """(sharpnesses, queries, corpus) weights, each row of which sums to 1; zero beyond the nearest."""
    cosine = queries @ corpus.T
    score = (cosine - cosine.mean(axis=1, keepdims=True)) / cosine.std(axis=1, keepdims=True)
    kept = min(NEIGHBOURS, score.shape[1])
    least = -np.partition(-score, kept - 1, axis=1)[:, kept - 1 : kept]
    best = score.max(axis=1, keepdims=True)
    weights = np.stack([np.exp(a * (score - best)) * votes * (score >= least) for a in SHARPNESS])
    return np.asarray(weights / weights.sum(axis=2, keepdims=True))


def terms(photos: Photos, points: Floats, dimension: int, power: float) -> Terms:
    """The terms at points (n, m, 3), each the mean over a photo's m points.

    Args:
        dimension, power: of the rotation, see ``half_whitened``.
    """
    fold, n = photos.folds(), len(photos)
    vectors = photos.vectors.astype(np.float64)
    kernels, prior = np.empty((len(SHARPNESS), len(WIDTHS_KM), n)), np.empty((len(WIDTHS_KM), n))
    for number in range(FOLDS):
        queries, corpus = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        owner = photos.owner[corpus]
        votes = 1.0 / np.sqrt(np.bincount(owner)[owner].astype(np.float64))
        weights = neighbour_weights(*half_whitened(vectors[corpus], vectors[queries], dimension, power), votes)
        for i, query in enumerate(queries):
            chord = 2.0 - 2.0 * (points[query] @ photos.places[corpus].T)
            for s, width in enumerate(WIDTHS_KM):
                density = vmf_density(np.maximum(chord, 0.0), concentration(width)).mean(axis=0)
                kernels[:, s, query] = weights[:, i] @ density
                prior[s, query] = votes @ density / votes.sum()
    return Terms(kernels, prior)


def em(parts: Floats, weight: Floats) -> Floats:
    """(p,) shares of a mixture of greatest likelihood, from its parts' densities (p, n) at weighted samples."""
    shares = np.full(len(parts), 1.0 / len(parts))
    for _ in range(_EM_STEPS):
        held = shares[:, None] * parts
        shares = (held / held.sum(axis=0)) @ weight / weight.sum()
    return np.asarray(shares)


def cross_fitted(fitted: Terms, judged: list[Terms], fold: NDArray[np.int64], weight: Floats) -> list[Scores]:
    """Scores by shares and a sharpness that were fitted to the other folds' photos.

    Args:
        fitted: the terms that shares are fitted to; ``judged``: those that the same laws are scored by.
        weight: (n,) of the photos.
    """
    scores = [Scores(np.empty(len(fold)), np.empty(len(fold))) for _ in judged]
    for number in range(FOLDS):
        held_out, others = fold == number, fold != number
        of_prior = em(_with_uniform(fitted.prior)[:, others], weight[others])
        best, shares = 0, np.zeros(0)
        most = -np.inf
        for a in range(len(SHARPNESS)):
            parts = _law(fitted, a, of_prior)[:, others]
            found = em(parts, weight[others])
            likelihood = float(np.log(found @ parts) @ weight[others])
            if likelihood > most:
                best, shares, most = a, found, likelihood
        for into, given in zip(scores, judged, strict=True):
            into.prior[held_out] = np.log(of_prior @ _with_uniform(given.prior)[:, held_out])
            into.law[held_out] = np.log(shares @ _law(given, best, of_prior)[:, held_out])
    return scores


def _law(given: Terms, sharpness: int, of_prior: Floats) -> Floats:
    """(parts, n): the neighbours' widths, the prior, the uniform law."""
    prior = of_prior @ _with_uniform(given.prior)
    return np.concatenate([given.kernels[sharpness], prior[None], np.full((1, len(prior)), _UNIFORM)])


def _with_uniform(parts: Floats) -> Floats:
    return np.concatenate([parts, np.full((1, parts.shape[1]), _UNIFORM)])
