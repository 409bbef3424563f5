"""Neighbours to a density: how much each one's place counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from im2gps_spark.grid import MAX_ORDER, cells_at
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.accuracy import capped_shares, least_width_km
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.windows import window_masses
from im2gps_spark.sphere import Floats, concentration, unit_vectors


def standard_similarity(distance: Floats, mean: float, spread: float) -> Floats:
    """Similarity (cosine) in standard deviations above the query's mean over the corpus.

    Queries differ in how similar everything is to them; a vote must not.

    Args:
        distance: Euclidean distance of unit vectors, so cosine = 1 - distance^2 / 2.
        mean, spread: of the query's cosines over the corpus.
    """
    cosine = 1.0 - np.asarray(distance, np.float64) ** 2 / 2.0
    return np.asarray((cosine - mean) / max(spread, 1e-9))


def pooled_score(scores: Mapping[str, Floats], settings: PosteriorSettings) -> Floats:
    """(k,) weighted sum of the experts' scores: the log-linear pool of what they say.

    Args:
        scores: (k,) by expert, each in standard deviations over the corpus.

    Raises:
        KeyError: an expert that the settings name has no score.
    """
    return np.asarray(sum(exponent * scores[name] for name, exponent in settings.experts.items()))


def vote_weights(score: Floats, owner_photos: Floats, settings: PosteriorSettings) -> Floats:
    """(k,) weights that sum to 1: a mixture of exp(sharpness x score), damped by the owner's number of photos.

    Args:
        score: (k,) as ``pooled_score`` gives it.
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


def density_of(candidates: Candidates, weights: Floats, settings: PosteriorSettings, background: Background) -> Density:
    """The photo's density: its neighbours' windows, the prior and the uniform law in their shares.

    Without neighbours it is the prior.

    Args:
        weights: (k,) of the candidates, summing to 1.
    """
    widths = np.array(settings.widths_km)
    shares = np.array(settings.width_shares) / np.sum(settings.width_shares)
    uniform = settings.uniform_share if len(candidates) else 0.0
    heard = 1.0 - settings.prior_share - uniform if len(candidates) else 0.0
    votes = heard * weights[:, None] * capped_shares(widths, shares, least_width_km(candidates.accuracy))
    return Density(
        places=unit_vectors(candidates.latitude, candidates.longitude).reshape(-1, 3),
        votes=votes.reshape(-1, len(widths)),
        widths_km=widths,
        background=background,
        prior_share=1.0 - uniform - heard,
        uniform_share=uniform,
    )


def window_ratios(
    candidates: Candidates, widths_km: Floats, points: Floats, masses: Floats, background: Background
) -> Floats:
    """(k, widths) what each neighbour's window of each width is of the prior, over some points together.

    What ``Density.ratio`` sums, apart; where a geotag does not allow a width, the narrowest that it allows.

    Args:
        points: (n, 3) unit vectors, through a cell for one.
        masses: (n,) of the prior at the points.
    """
    places = unit_vectors(candidates.latitude, candidates.longitude).reshape(-1, 3)
    curve = cells_at(MAX_ORDER, places)
    chord = np.maximum(2.0 - 2.0 * (places @ points.T), 0.0)
    share = masses / masses.sum()
    ratios = np.empty((len(places), len(widths_km)))
    for i, width in enumerate(widths_km.tolist()):
        kernel = np.exp(-0.5 * concentration(width) * chord) @ share
        ratios[:, i] = kernel / window_masses(background, places, curve, width)
    # Row i: the width that a vote of width i is given.
    given = capped_shares(widths_km, np.eye(len(widths_km)), least_width_km(candidates.accuracy))
    return np.asarray(np.einsum("jis,js->ji", given, ratios))
