"""One photo's answer and its baselines, each scored at the true place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from im2gps_spark.evaluation import baselines
from im2gps_spark.evaluation.leave_out import moved, without
from im2gps_spark.evaluation.scores import LawScores, drawn
from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.posterior.prior import Places, Shape
from im2gps_spark.sphere import Floats, distance_km

NEAREST, KNN, PRIOR, UNIFORM = "nearest", f"knn{baselines.NEIGHBOURS}", "prior", "uniform"
BASELINES = (KNN, NEAREST, PRIOR, UNIFORM)
"""Engines of their own in ``evaluations``. Points: the densest neighbour's, the first's, and draws from the laws."""


@dataclass(frozen=True)
class Answer:
    """A photo as it was answered, and as it was.

    Attributes:
        truth: (3,) unit vector.
        map: relative to the prior of ``version``.
        version: of the index.
        owner: its owner's key among those whose photos leave the prior; None if there is nothing to leave.
        points: unit vectors (3,) by the column of their error, as ``summary.figures`` has them.
        neighbours: (n, 3) places, the nearest first.
    """

    truth: Floats
    map: MultiOrderMap
    version: str
    owner: int | None
    points: Mapping[str, Floats]
    neighbours: Floats


Score = dict[str, Any]
"""By column: a law's scores and errors, floats; ``error_km`` is a list of one guess or several."""


class Judge:
    """Scores answers one by one. What two photos of one prior share is computed once.

    Args:
        priors: by index version.
        draws: points that stand for the prior, and for the uniform law.
        corpus: the corpus' votes by place; None if owners stay in the prior.
        owners: those of the owners who leave it.
        shapes: what the priors are made of, by index version; the defaults where it is not given.
    """

    def __init__(
        self,
        priors: Mapping[str, MultiOrderMap],
        draws: int,
        corpus: Places | None = None,
        owners: Mapping[int, Places] | None = None,
        shapes: Mapping[str, Shape] | None = None,
    ) -> None:
        self._draws, self._corpus, self._owners, self._shapes = draws, corpus, owners or {}, shapes or {}
        self._priors = {version: _Background(prior, draws) for version, prior in priors.items()}
        self._uniform = _Background(MultiOrderMap.uniform(), draws)
        # Photos come owner by owner: the last one's prior is all that is kept.
        self._last: tuple[str, int] | None = None
        self._without: _Background | None = None

    def scores(self, answer: Answer, engine: str) -> dict[str, Score]:
        """The scores of the engine's answer and of every baseline, by engine. What there is not has no column."""
        whole, prior = self._priors[answer.version].law, self._prior(answer)
        law = resolve(moved(answer.map, whole, prior.law), prior.law)
        made: dict[str, Score] = {engine: _at(LawScores(law), answer.truth)}
        for column, point in answer.points.items():
            far = float(distance_km(point, answer.truth))
            made[engine][column] = [far] if column == "error_km" else far
        if len(answer.neighbours):
            made[KNN] = _at(LawScores(baselines.knn_law(answer.neighbours)), answer.truth)
            made[KNN]["error_km"] = [float(distance_km(baselines.knn_point(answer.neighbours), answer.truth))]
            made[NEAREST] = {"error_km": [float(distance_km(answer.neighbours[0], answer.truth))]}
        made |= {PRIOR: prior.at(answer.truth), UNIFORM: self._uniform.at(answer.truth)}
        # All places are equally dense under the uniform law: a region of highest density is any.
        del made[UNIFORM]["hpd_level"]
        return made

    def _prior(self, answer: Answer) -> _Background:
        """The prior of the answer's version, its owner's photos taken out."""
        whole = self._priors[answer.version]
        if self._corpus is None or answer.owner is None or answer.owner not in self._owners:
            return whole
        key = answer.version, answer.owner
        if self._without is None or self._last != key:
            shape = self._shapes.get(answer.version)
            left = without(whole.law, self._corpus, self._owners[answer.owner], shape)
            self._last, self._without = key, _Background(left, self._draws)
        return self._without


class _Background:
    """A law that many photos are held against, with points drawn from it."""

    def __init__(self, law: MultiOrderMap, draws: int) -> None:
        self.law = law
        self._scores = LawScores(law)
        self._points = drawn(law, draws)

    def at(self, truth: Floats) -> Score:
        return _at(self._scores, truth) | {"error_km": distance_km(self._points, truth).tolist()}


def _at(scores: LawScores, truth: Floats) -> Score:
    return {name: float(values[0]) for name, values in scores.at(np.atleast_2d(truth)).items()}
