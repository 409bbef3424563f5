"""Shares of sharpness, width, prior and uniform law, by maximum likelihood on photos whose owners are held out.

The density is a mixture (see ``posterior.refine.Density``), so its shares are found by EM; the two marginals of the
neighbours' part, over sharpness and over width, are kept apart, as the density has them. Where photos are few the
shares are drawn to the defaults.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import Ints, cells_at
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.sphere import Floats

LEAST_PHOTOS = 300
"""Below, the defaults stand."""

CELL_ORDER = 7
"""A true place counts by its cell of this order (51 km): geotags repeat exactly, so the likelihood of points has no
bound, and would be had by ever narrower kernels."""
POINTS_ORDER = 10
"""Densities are averaged over the cells of this order in it."""

# The defaults count as much as this many photos.
_PSEUDO_PHOTOS = 50.0
# The map follows the prior inside its cells, the uniform part too: it must stay well under the map's tolerance.
_LEAST_UNIFORM, _MOST_UNIFORM = 0.002, 0.01
_STEPS = 500
_FOLDS = 5
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
    """

    kernels: Floats
    prior: Floats
    owners: NDArray


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


def fit(evidence: Evidence, start: Shares) -> Shares:
    """The shares of greatest posterior likelihood, by EM from ``start``, which is also where few photos leave them."""
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
        new_top = (parts / total).sum(axis=1) + _PSEUDO_PHOTOS * pull_top
        sharpness = _unit(held.sum(axis=(0, 2)) + _PSEUDO_PHOTOS * pull_top[0] * pull_sharpness)
        width = _unit(held.sum(axis=(0, 1)) + _PSEUDO_PHOTOS * pull_top[0] * pull_width)
        new_top = _unit(new_top)
        moved = np.abs(new_top - top).max()
        top = new_top
        if moved < 1e-7:
            break
    top[:2] *= (1.0 - np.clip(top[2], _LEAST_UNIFORM, _MOST_UNIFORM)) / top[:2].sum()
    top[2] = 1.0 - top[:2].sum()
    return Shares(tuple(sharpness.tolist()), tuple(width.tolist()), *top.tolist())


def _spread(shares: tuple[float, ...]) -> Floats:
    return _unit(np.asarray(shares, np.float64) + 0.01)


def _unit(values: Floats) -> Floats:
    return np.asarray(values / values.sum())


@dataclass(frozen=True)
class Calibration:
    """The shares found for an index version, and how good they are on photos that they were not fitted to.

    Attributes:
        sharpness, sharpness_shares, widths_km, width_shares, prior_share, uniform_share: as in the settings.
        photos, owners: behind the fit.
        gain: mean log likelihood over the prior's, nats, cross-fitted by owner.
        default_gain: the same for the defaults.
        fitted: whether these are fitted shares, or the defaults, because those were better or photos too few.
    """

    sharpness: list[float]
    sharpness_shares: list[float]
    widths_km: list[float]
    width_shares: list[float]
    prior_share: float
    uniform_share: float
    photos: int
    owners: int
    gain: float
    default_gain: float
    fitted: bool

    def shares(self) -> dict[str, object]:
        """The keys of ``PosteriorSettings`` that it sets."""
        names = ("sharpness", "sharpness_shares", "widths_km", "width_shares", "prior_share", "uniform_share")
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> str:
        """Its text form."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """From its text form.

        Raises:
            TypeError, ValueError: it is none.
        """
        return cls(**json.loads(text))

    def describe(self) -> str:
        """A line for people."""
        how = "fitted" if self.fitted else "the defaults"
        few = f" (under {LEAST_PHOTOS} photos)" if self.photos < LEAST_PHOTOS else ""
        sharp = ", ".join(
            f"{a:g}: {s:.2f}" for a, s in zip(self.sharpness, self.sharpness_shares, strict=True) if s > 0.005
        )
        wide = ", ".join(
            f"{w:g} km: {s:.2f}" for w, s in zip(self.widths_km, self.width_shares, strict=True) if s > 0.005
        )
        return (
            f"{how}{few}: sharpness {sharp}; widths {wide}; prior {self.prior_share:.3f}, uniform "
            f"{self.uniform_share:.3f}; gain over the prior {self.gain:.3f} nats (defaults {self.default_gain:.3f}) "
            f"on {self.photos} photos of {self.owners} owners held out"
        )


def calibrate(evidence: Evidence, settings: PosteriorSettings) -> Calibration:
    """The shares for an index, or the settings' own where there are too few photos or the fit does not generalise.

    Args:
        evidence: by the settings' sharpnesses and widths.
    """
    start = Shares.of(settings)
    owners = np.unique(evidence.owners)
    base = np.log(evidence.prior)
    default_gain = float(np.mean(start.log_likelihood(evidence) - base)) if len(base) else 0.0
    shares, gain = start, default_gain
    if len(base) >= LEAST_PHOTOS and len(owners) >= 2 * _FOLDS:
        held_out = float(np.mean(_cross_fitted(evidence, owners, start) - base))
        if held_out > default_gain:
            shares, gain = fit(evidence, start), held_out
    return Calibration(
        sharpness=list(settings.sharpness),
        sharpness_shares=list(shares.sharpness),
        widths_km=list(settings.widths_km),
        width_shares=list(shares.width),
        prior_share=shares.prior,
        uniform_share=shares.uniform,
        photos=len(base),
        owners=len(owners),
        gain=gain,
        default_gain=default_gain,
        fitted=shares is not start,
    )


def _cross_fitted(evidence: Evidence, owners: NDArray, start: Shares) -> Floats:
    """(n,) log likelihoods, each by shares that were fitted to other owners' photos."""
    fold = np.searchsorted(owners, evidence.owners) % _FOLDS
    result = np.empty(len(evidence.prior))
    for number in range(_FOLDS):
        out = fold == number
        parts = [Evidence(evidence.kernels[w], evidence.prior[w], evidence.owners[w]) for w in (~out, out)]
        result[out] = fit(parts[0], start).log_likelihood(parts[1])
    return result
