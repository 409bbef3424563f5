"""One photo's answer beside its baselines."""

import numpy as np
import pytest

from im2gps_spark.evaluation import judge as judging
from im2gps_spark.evaluation.judge import BASELINES, KNN, NEAREST, PRIOR, UNIFORM, Answer, Judge
from im2gps_spark.evaluation.scores import LAW, LawScores
from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.posterior.prior import Places
from im2gps_spark.sphere import distance_km, unit_vectors
from tests.evaluation.laws import about, uneven

TRUTH = unit_vectors(47.0, 9.0)
POINT = unit_vectors(46.0, 8.0)
QUESTION = Places(np.zeros(1, np.int64), np.zeros(1, np.int8), np.ones(1))


def answer(**changes) -> Answer:
    given = {
        "truth": TRUTH,
        "map": uneven(1),
        "version": "v",
        "owner": None,
        "points": {"error_km": POINT, "disc200_error_km": TRUTH},
        "neighbours": unit_vectors([10.0, 47.1, 47.2], [0.0, 9.0, 9.0]),
    }
    return Answer(**{**given, **changes})


def test_every_engine_has_its_scores_and_points():
    prior = about(50.0, 0.0, 3000.0)
    found = Judge({"v": prior}, 16).scores(answer(), "im2gps")
    assert set(found) == {"im2gps", *BASELINES}
    law = LawScores(resolve(uneven(1), prior)).at(TRUTH[None])
    assert {name: found["im2gps"][name] for name in LAW} == pytest.approx({n: float(v[0]) for n, v in law.items()})
    assert found["im2gps"]["error_km"] == [pytest.approx(float(distance_km(POINT, TRUTH)))]
    assert found["im2gps"]["disc200_error_km"] == 0.0
    assert found[NEAREST]["error_km"][0] == pytest.approx(float(distance_km(unit_vectors(10.0, 0.0), TRUTH)))
    assert found[KNN]["error_km"][0] < 30.0  # two of three agree
    assert [len(found[engine]["error_km"]) for engine in (PRIOR, UNIFORM)] == [16, 16]
    assert found[UNIFORM]["nll"] == pytest.approx(np.log(4.0 * np.pi))
    assert "hpd_level" not in found[UNIFORM]


def test_a_photo_without_neighbours_has_no_scores_of_theirs():
    found = Judge({"v": about(50.0, 0.0, 3000.0)}, 4).scores(answer(neighbours=np.zeros((0, 3))), "im2gps")
    assert set(found) == {"im2gps", PRIOR, UNIFORM}


@pytest.fixture
def left_out(monkeypatch):
    """Priors without an owner, as a made-up law; and how often one was asked for."""
    asked = []

    def without(prior, corpus, owner, shape):
        asked.append(owner)
        return about(-50.0, 100.0, 2000.0)

    monkeypatch.setattr(judging, "without", without)
    return asked


def test_an_owner_who_leaves_takes_prior_and_answer_along(left_out):
    prior = about(47.0, 9.0, 500.0)
    judge = Judge({"v": prior}, 4, QUESTION, {7: QUESTION})
    stays, leaves = judge.scores(answer(), "im2gps"), judge.scores(answer(owner=7), "im2gps")
    assert leaves[PRIOR]["nll"] > stays[PRIOR]["nll"] + 1.0
    assert leaves["im2gps"]["nll"] > stays["im2gps"]["nll"] + 1.0
    assert leaves[UNIFORM] == stays[UNIFORM]


def test_an_owners_prior_is_made_once_for_photos_in_a_row(left_out):
    judge = Judge({"v": MultiOrderMap.uniform()}, 4, QUESTION, {7: QUESTION, 8: QUESTION})
    for owner in (7, 7, None, 7, 8, 9, 8):
        judge.scores(answer(owner=owner), "im2gps")
    assert len(left_out) == 2


def test_nobody_leaves_where_owners_are_known(left_out):
    judge = Judge({"v": MultiOrderMap.uniform()}, 4, None, {7: QUESTION})
    judge.scores(answer(owner=7), "im2gps")
    assert not left_out
