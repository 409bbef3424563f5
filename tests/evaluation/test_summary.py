"""Scores of many photos to figures, with the units in their names."""

import numpy as np
import pytest

from im2gps_spark.evaluation.bootstrap import Bootstrap
from im2gps_spark.evaluation.summary import GEOSCORE_KM, compare, disc_of, figures, with_gains


def values(scores, owners=None):
    n = len(next(iter(scores.values())))
    return {f.metric: f.value for f in figures(scores, Bootstrap(np.arange(n) if owners is None else owners, 0))}


def test_errors_give_accuracies_medians_means_and_the_geoscore():
    found = values({"error_km": np.array([0.5, 20.0, 150.0, 3000.0])})
    assert [found[f"accuracy_{r}km"] for r in (1, 25, 200, 750, 2500)] == [0.25, 0.5, 0.75, 0.75, 0.75]
    assert found["median_error_km"] == 85.0
    assert found["mean_error_km"] == pytest.approx(792.625)
    each = 5000.0 * np.exp(-np.array([0.5, 20.0, 150.0, 3000.0]) / GEOSCORE_KM)
    assert found["geoscore"] == pytest.approx(each.mean())


def test_each_radius_has_its_own_disc_point():
    assert [disc_of(r) for r in (1.0, 25.0, 200.0, 750.0, 2500.0)] == [25.0, 25.0, 200.0, 750.0, 750.0]
    found = values(
        {
            "disc25_error_km": np.array([0.5, 20.0]),
            "disc200_error_km": np.array([30.0, 300.0]),
            "disc750_error_km": np.array([800.0, 3000.0]),
        }
    )
    assert found == {
        "disc_accuracy_1km": 0.5,
        "disc_accuracy_25km": 1.0,
        "disc_accuracy_200km": 0.5,
        "disc_accuracy_750km": 0.0,
        "disc_accuracy_2500km": 0.5,
    }


def test_what_is_unknown_is_not_counted():
    made = figures(
        {"nll": np.array([1.0, np.nan, 3.0]), "disc25_error_km": np.full(3, np.nan)}, Bootstrap(np.arange(3), 9)
    )
    assert [(f.metric, f.value, f.n) for f in made] == [("nll", 2.0, 2)]


def test_coverage_is_the_share_of_truths_inside():
    found = values({"hpd_level": np.array([0.1, 0.5, 0.85, 0.99])})
    assert found == {"coverage50": 0.5, "coverage80": 0.5, "coverage90": 0.75, "coverage95": 0.75}


def test_several_guesses_a_photo_are_averaged():
    found = values({"error_km": np.array([[10.0, 1000.0], [10.0, 10.0]])})
    assert found["accuracy_25km"] == 0.75
    assert found["median_error_km"] == 10.0
    assert found["mean_error_km"] == pytest.approx(257.5)


def test_gains_are_over_the_priors_scores_of_the_same_photos():
    nll = {"nll": np.array([1.0, 2.0]), "nll_order7": np.array([1.5, 2.5])}
    prior = {"nll": np.array([2.0, 2.0]), "nll_order7": np.array([2.0, 2.0])}
    found = with_gains({"mine": nll, "prior": prior, "nearest": {"error_km": np.zeros(2)}}, "prior")
    assert found["mine"]["gain_over_prior"].tolist() == [1.0, 0.0]
    assert found["mine"]["gain_over_prior_order7"].tolist() == [0.5, -0.5]
    assert set(found["prior"]) == {"nll", "nll_order7"}
    assert set(found["nearest"]) == {"error_km"}


def test_certainty_is_judged_on_the_main_strata_of_engines_with_one_point():
    rng = np.random.default_rng(0)
    one = {"entropy": rng.random(50), "error_km": rng.random(50)}
    many = {"entropy": rng.random(50), "error_km": rng.random((50, 3))}
    parts = {"all": np.ones(50, bool), "tag sea": np.arange(50) < 20}
    made = compare({"mine": one, "prior": many}, parts, np.arange(50), 20)
    judged = {(engine, stratum) for engine, stratum, f in made if f.metric == "aurc_750km"}
    assert judged == {("mine", "all")}
    assert {f.n for _, stratum, f in made if stratum == "tag sea"} == {20}
