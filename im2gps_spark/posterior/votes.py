"""Neighbours to a density: how much each one's place counts."""

from __future__ import annotations

import numpy as np

from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.kernels import Profile
from im2gps_spark.posterior.refine import Density
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.sphere import Floats, unit_vectors

_UNHEARD = 0.001
"""Share of the votes that is not worth a kernel each; far below the map's tolerance."""


def standard_similarity(distance: Floats, mean: float, spread: float) -> Floats:
    """Similarity (cosine) in standard deviations above the query's mean over the corpus.

    Queries differ in how similar everything is to them; a vote must not.

    Args:
        distance: Euclidean distance of unit vectors, so cosine = 1 - distance^2 / 2.
        mean, spread: of the query's cosines over the corpus.
    """
    cosine = 1.0 - np.asarray(distance, np.float64) ** 2 / 2.0
    return np.asarray((cosine - mean) / max(spread, 1e-9))


def vote_weights(score: Floats, owner_photos: Floats, settings: PosteriorSettings) -> Floats:
    """(k,) weights that sum to 1: a mixture of exp(sharpness x score), damped by the owner's number of photos.

    The score is a sum of experts'; retrieval's standardised similarity is the one so far.
    """
    shares = np.array(settings.sharpness_shares) / np.sum(settings.sharpness_shares)
    return np.asarray(shares @ weights_by_sharpness(score, owner_photos, settings))


def weights_by_sharpness(score: Floats, owner_photos: Floats, settings: PosteriorSettings) -> Floats:
    """(sharpnesses, k) weights, each row of which sums to 1."""
    log_weight = np.outer(settings.sharpness, score)
    log_weight -= settings.owner_damping * np.log(np.maximum(owner_photos, 1.0))
    if log_weight.shape[1] == 0:
        return log_weight
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def density_of(candidates: Candidates, weights: Floats, settings: PosteriorSettings, prior: MultiOrderMap) -> Density:
    """The photo's density: its neighbours' kernels, the prior and the uniform law in their shares.

    Without neighbours the prior takes their share. The lightest neighbours, a thousandth of the votes together, are
    left out: where votes are sharp they are nearly all, and each costs as much as a heavy one.
    """
    kernel_share = 1.0 - settings.prior_share - settings.uniform_share if len(candidates) else 0.0
    rank = np.argsort(-weights, kind="stable")
    heard = np.sort(rank[: int(np.searchsorted(np.cumsum(weights[rank]), 1.0 - _UNHEARD)) + 1])
    return Density(
        places=unit_vectors(candidates.latitude[heard], candidates.longitude[heard]).reshape(-1, 3),
        weights=weights[heard] / weights[heard].sum() if len(heard) else weights,
        profile=Profile.of(settings.widths_km, settings.width_shares),
        prior=prior,
        kernel_share=kernel_share,
        prior_share=1.0 - settings.uniform_share - kernel_share,
        uniform_share=settings.uniform_share,
    )
