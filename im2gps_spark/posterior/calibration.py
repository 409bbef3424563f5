"""What calibration finds for an index version: the density's shares, by how certain retrieval is of a photo.

A photo that the corpus has the like of and one that it has not ask for other shares. Both are fitted to photos of the
corpus itself, each located without its owner (``posterior.shares``), and used only if they do better on owners that
they were not fitted to.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.shares import Evidence, Shares, fit, widened
from im2gps_spark.sphere import Floats

LEAST_PHOTOS = 300
"""Below, the defaults stand."""

# The defaults count as much as this many photos, and what is found for all photos as so many of a grade.
_DEFAULT_PHOTOS, _ALL_PHOTOS = 50.0, 100.0
# What is likeliest is a little too sharp: with a part of each width's share gone to the next wider, regions of 80 %
# held 77.3 % of 2,000 Flickr photos instead of 76.9, at .002 nats less (benchmarks/bench_recipe.py).
_WIDER = 0.15
_FOLDS = 5
_GRADES = 3


@dataclass(frozen=True)
class Grade:
    """Shares for photos whose best neighbour's score is at most ``upper`` (None: any) and above the grade's before.

    Attributes:
        sharpness_shares, width_shares, prior_share, uniform_share: as in the settings.
    """

    upper: float | None
    sharpness_shares: list[float]
    width_shares: list[float]
    prior_share: float
    uniform_share: float

    @classmethod
    def of(cls, shares: Shares, upper: float | None) -> Grade:
        """Shares as a grade."""
        return cls(upper, list(shares.sharpness), list(shares.width), shares.prior, shares.uniform)

    def keys(self) -> dict[str, Any]:
        """The keys of ``PosteriorSettings`` that it sets."""
        return {name: value for name, value in asdict(self).items() if name != "upper"}


@dataclass(frozen=True)
class Graded:
    """Settings for every photo, by the score of its best neighbour.

    Attributes:
        upper: (grades - 1,) increasing: the most that each grade's score may be, but for the last.
        settings: one for each grade.
    """

    upper: tuple[float, ...]
    settings: tuple[PosteriorSettings, ...]

    def of(self, score: Floats) -> PosteriorSettings:
        """A photo's settings, by its neighbours' scores (k,)."""
        return self.settings[int(np.searchsorted(self.upper, score.max(initial=-np.inf)))]


@dataclass(frozen=True)
class Calibration:
    """The shares found for an index version, and how good they are on photos that they were not fitted to.

    Attributes:
        sharpness, widths_km: as in the settings.
        grades: by rising score.
        photos, owners: behind the fit.
        gain: mean log likelihood over the prior's, nats, cross-fitted by owner.
        default_gain: the same for the defaults.
        fitted: whether these are fitted shares, or the defaults, because those were better or photos too few.
    """

    sharpness: list[float]
    widths_km: list[float]
    grades: list[Grade]
    photos: int
    owners: int
    gain: float
    default_gain: float
    fitted: bool

    def graded(self, settings: PosteriorSettings) -> Graded:
        """Settings with what was found in the place of their own."""
        ladder = {"sharpness": self.sharpness, "widths_km": self.widths_km}
        each = tuple(settings.model_copy(update={**ladder, **grade.keys()}) for grade in self.grades)
        return Graded(tuple(grade.upper for grade in self.grades if grade.upper is not None), each)

    def to_json(self) -> str:
        """Its text form."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """From its text form.

        Raises:
            TypeError, ValueError, KeyError: it is none.
        """
        read = json.loads(text)
        return cls(**{**read, "grades": [Grade(**grade) for grade in read["grades"]]})

    def describe(self) -> list[str]:
        """Lines for people."""
        how = "fitted" if self.fitted else "the defaults"
        few = f" (under {LEAST_PHOTOS} photos)" if self.photos < LEAST_PHOTOS else ""
        first = (
            f"{how}{few}: gain over the prior {self.gain:.3f} nats (defaults {self.default_gain:.3f}) on {self.photos} "
            f"photos of {self.owners} owners held out"
        )
        return [first, *(self._line(grade) for grade in self.grades)]

    def _line(self, grade: Grade) -> str:
        sharp = zip(self.sharpness, grade.sharpness_shares, strict=True)
        wide = zip(self.widths_km, grade.width_shares, strict=True)
        best = "any" if grade.upper is None else f"up to {grade.upper:.1f}"
        return (
            f"best score {best}: sharpness {', '.join(f'{a:g}: {s:.2f}' for a, s in sharp if s > 0.005)}; "
            f"widths {', '.join(f'{w:g} km: {s:.2f}' for w, s in wide if s > 0.005)}; "
            f"prior {grade.prior_share:.3f}, uniform {grade.uniform_share:.3f}"
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
    grades, gain = [Grade.of(start, None)], default_gain
    if len(base) >= LEAST_PHOTOS and len(owners) >= 2 * _FOLDS:
        upper = np.quantile(evidence.certainty, np.arange(1, _GRADES) / _GRADES)
        for bounds in (upper[:0], upper):
            held_out = float(np.mean(_cross_fitted(evidence, owners, start, bounds) - base))
            if held_out > gain:
                gain = held_out
                found = _fit_grades(evidence, start, bounds)
                grades = [Grade.of(s, u) for s, u in zip(found, [*bounds.tolist(), None], strict=True)]
    return Calibration(
        sharpness=list(settings.sharpness),
        widths_km=list(settings.widths_km),
        grades=grades,
        photos=len(base),
        owners=len(owners),
        gain=gain,
        default_gain=default_gain,
        fitted=gain > default_gain,
    )


def _fit_grades(evidence: Evidence, start: Shares, bounds: Floats) -> list[Shares]:
    """Shares of each grade, drawn to those of all photos together."""
    found = [fit(evidence, start, _DEFAULT_PHOTOS)]
    if len(bounds):
        grade = np.searchsorted(bounds, evidence.certainty)
        found = [fit(evidence.take(grade == g), found[0], _ALL_PHOTOS) for g in range(len(bounds) + 1)]
    return [replace(shares, width=tuple(widened(np.array(shares.width), _WIDER).tolist())) for shares in found]


def _cross_fitted(evidence: Evidence, owners: NDArray, start: Shares, bounds: Floats) -> Floats:
    """(n,) log likelihoods, each by shares that were fitted to other owners' photos."""
    fold = np.searchsorted(owners, evidence.owners) % _FOLDS
    grade = np.searchsorted(bounds, evidence.certainty)
    result = np.empty(len(evidence.prior))
    for number in range(_FOLDS):
        for g, shares in enumerate(_fit_grades(evidence.take(fold != number), start, bounds)):
            mine = (fold == number) & (grade == g)
            result[mine] = shares.log_likelihood(evidence.take(mine))
    return result
