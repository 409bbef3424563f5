"""Shares of sharpness, width, prior and uniform law, by maximum likelihood on photos whose owners are held out.

The density is a mixture (see ``posterior.density``), so its shares are found by EM; the two marginals of the
neighbours' part, over sharpness and over width, are kept apart, as the density has them. Where photos are few the
shares are drawn to those that EM starts from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import Ints, cells_at
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.sphere import Floats

CELL_ORDER = 7
"""A true place counts by its cell of this order (51 km): geotags repeat exactly, so the likelihood of points has no
bound, and would be had by ever narrower kernels."""
POINTS_ORDER = 10
"""Densities are averaged over the cells of this order in it."""

# The map follows the prior inside its cells, the uniform part too: it must stay well under the map's tolerance. What is
# likeliest on the photos at hand is under the least, by a hair; without it, regions of 90 % held 88 % of 2,000 photos.
_LEAST_UNIFORM, _MOST_UNIFORM = 0.03, 0.04
_STEPS = 500
_UNIFORM_DENSITY = 1.0 / (4.0 * np.pi)


def cells_through(truth: Floats) -> Ints:
    """(n, m) cells of ``POINTS_ORDER`` in the cell of ``CELL_ORDER`` about each true place (n, 3)."""
    inside = 4 ** (POINTS_ORDER - CELL_ORDER)
    return np.asarray(cells_at(CELL_ORDER, truth)[:, None] * inside + np.arange(inside))


@dataclass(frozen=True)
class Evidence:
    """What calibration looks at: mean densities in the cells of photos' true places, their owners held out.

    Attributes:
        kernels: (n, sharpnesses, widths) of the neighbours' windows, by sharpness of the votes and by width.
        prior: (n,) of the prior without the photo's owner.
        owners: (n,) whose the photos are.
        certainty: (n,) score of the photo's best neighbour.
    """

    kernels: Floats
    prior: Floats
    owners: NDArray
    certainty: Floats

    def take(self, which: NDArray) -> Evidence:
        """Some of the photos, by position or mask."""
        return Evidence(self.kernels[which], self.prior[which], self.owners[which], self.certainty[which])


@dataclass(frozen=True)
class Shares:
    """The mixture's shares; ``sharpness`` and ``width`` sum to 1 each, and so do ``kernel``, ``prior``, ``uniform``."""

    sharpness: tuple[float, ...]
    width: tuple[float, ...]
    kernel: float
    prior: float
    uniform: float

    @classmethod
    def of(cls, settings: PosteriorSettings) -> Shares:
        """The shares in settings."""
        sharpness = np.array(settings.sharpness_shares) / np.sum(settings.sharpness_shares)
        width = np.array(settings.width_shares) / np.sum(settings.width_shares)
        kernel = 1.0 - settings.prior_share - settings.uniform_share
        return cls(
            tuple(sharpness.tolist()), tuple(width.tolist()), kernel, settings.prior_share, settings.uniform_share
        )

    def log_likelihood(self, evidence: Evidence) -> Floats:
        """(n,) log densities at the true places, nats per steradian."""
        kernels = np.einsum("m,s,nms->n", self.sharpness, self.width, evidence.kernels)
        return np.asarray(np.log(self.kernel * kernels + self.prior * evidence.prior + self.uniform * _UNIFORM_DENSITY))


def fit(evidence: Evidence, start: Shares, pseudo_photos: float) -> Shares:
    """The shares of greatest posterior likelihood, by EM from ``start``, which counts as some photos itself."""
    # A part that starts at nothing would stay there: each gets a little.
    pull_sharpness, pull_width = _spread(start.sharpness), _spread(start.width)
    pull_top = _spread((start.kernel, start.prior, start.uniform))
    sharpness, width, top = pull_sharpness, pull_width, pull_top
    kernels, n = evidence.kernels, len(evidence.prior)
    for _ in range(_STEPS):
        by_kernel = top[0] * np.einsum("m,s,nms->nms", sharpness, width, kernels)
        parts = np.stack([by_kernel.sum(axis=(1, 2)), top[1] * evidence.prior, np.full(n, top[2] * _UNIFORM_DENSITY)])
        total = parts.sum(axis=0)
        held = by_kernel / total[:, None, None]
        new_top = (parts / total).sum(axis=1) + pseudo_photos * pull_top
        sharpness = _unit(held.sum(axis=(0, 2)) + pseudo_photos * pull_top[0] * pull_sharpness)
        width = _unit(held.sum(axis=(0, 1)) + pseudo_photos * pull_top[0] * pull_width)
        # Within the steps, so that what the uniform law may not have goes where it does most good.
        new_top = _bounded(_unit(new_top))
        moved = np.abs(new_top - top).max()
        top = new_top
        if moved < 1e-7:
            break
    return Shares(tuple(sharpness.tolist()), tuple(width.tolist()), *top.tolist())


def widened(width: Floats, part: float) -> Floats:
    """Shares of widths, increasing, with a part of each gone to the next wider."""
    up = part * width[:-1]
    return np.asarray(np.append(width[:-1] - up, width[-1]) + np.append(0.0, up))


def _bounded(top: Floats) -> Floats:
    """Shares of kernels, prior and uniform law, the last within its bounds."""
    uniform = float(np.clip(top[2], _LEAST_UNIFORM, _MOST_UNIFORM))
    return np.append(top[:2] / top[:2].sum() * (1.0 - uniform), uniform)


def _spread(shares: tuple[float, ...]) -> Floats:
    return _unit(np.asarray(shares, np.float64) + 0.01)


def _unit(values: Floats) -> Floats:
    return np.asarray(values / values.sum())
