"""Entropy against error: against scipy, closed forms and counting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from im2gps_spark.evaluation.bootstrap import Bootstrap
from im2gps_spark.evaluation.certainty import COVERAGES, RADII_KM, certainty_figures, risk_at, spearman


def ones(n: int) -> np.ndarray:
    return np.ones((1, n))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(3, 60))
def test_rank_correlations_are_scipys(seed, n):
    """With ties, and with photos drawn several times or not at all."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 8, n).astype(float), rng.integers(0, 8, n).astype(float)
    a[0], a[1], b[0], b[1] = 0.0, 1.0, 0.0, 1.0
    assert spearman(a, b, ones(n))[0] == pytest.approx(spearmanr(a, b).statistic)
    times = rng.integers(0, 4, n)
    times[:2] = 1
    which = np.repeat(np.arange(n), times)
    assert spearman(a, b, times[None].astype(float))[0] == pytest.approx(spearmanr(a[which], b[which]).statistic)


def test_a_perfect_ranking_has_the_least_risk():
    """Risk of the first c per cent is max(0, 1 - right / c), and their mean is e + (1 - e) ln(1 - e)."""
    n, wrong_share = 10_000, 0.3
    error = np.where(np.arange(n) < n * (1 - wrong_share), 10.0, 9000.0)
    found = {f.metric: f.value for f in certainty_figures(np.arange(n) / n, error, Bootstrap(np.zeros(n), 0))}
    for c in COVERAGES:
        for radius in RADII_KM:
            assert found[f"risk_{radius:g}km_at_{c}"] == pytest.approx(max(0.0, 1.0 - 70.0 / c), abs=1e-3)
    least = wrong_share + (1 - wrong_share) * np.log(1 - wrong_share)
    assert found["aurc_750km"] == pytest.approx(least, abs=0.003)
    assert found["median_error_km_at_100"] == 10.0
    assert found["spearman_entropy_error"] > 0.7


def test_entropy_that_knows_nothing_has_the_same_risk_at_every_coverage():
    n = 20_000
    rng = np.random.default_rng(0)
    error = np.where(rng.random(n) < 0.4, 9000.0, 10.0)
    found = {f.metric: f.value for f in certainty_figures(rng.random(n), error, Bootstrap(np.zeros(n), 0))}
    for c in COVERAGES:
        assert found[f"risk_750km_at_{c}"] == pytest.approx(0.4, abs=0.04)
    assert found["aurc_750km"] == pytest.approx(0.4, abs=0.04)
    assert abs(found["spearman_entropy_error"]) < 0.03


def test_answers_of_equal_entropy_come_in_no_order():
    wrong = np.array([1.0, 1.0, 0.0, 0.0])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]):
        risk = risk_at(np.zeros(4), wrong[order], np.array([0.25, 0.5, 1.0]), ones(4))
        assert risk[0] == pytest.approx(0.5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_risks_and_medians_are_those_of_the_counted_photos(seed):
    """Where a coverage is a whole number of photos, without ties: their mean and their median."""
    rng = np.random.default_rng(seed)
    entropy, error = rng.permutation(40).astype(float), rng.exponential(2000.0, 40)
    found = {f.metric: f.value for f in certainty_figures(entropy, error, Bootstrap(np.zeros(40), 0))}
    ranked = error[np.argsort(entropy)]
    for c in COVERAGES:
        kept = ranked[: 40 * c // 100]
        assert found[f"risk_2500km_at_{c}"] == pytest.approx((kept > 2500.0).mean())
        assert found[f"median_error_km_at_{c}"] == pytest.approx(np.median(kept))


def test_a_weight_of_two_is_the_photo_twice():
    rng = np.random.default_rng(4)
    entropy, wrong, times = rng.random(30), (rng.random(30) < 0.5).astype(np.float64), rng.integers(0, 3, 30)
    which = np.repeat(np.arange(30), times)
    at = np.array([0.2, 0.5, 1.0])
    once = risk_at(entropy[which], wrong[which], at, ones(len(which)))
    assert risk_at(entropy, wrong, at, times[None].astype(float)) == pytest.approx(once)


def test_intervals_are_about_the_values():
    rng = np.random.default_rng(5)
    entropy = rng.random(300)
    error = np.exp(8.0 * entropy + rng.normal(0.0, 2.0, 300))
    for figure in certainty_figures(entropy, error, Bootstrap(np.arange(300) // 2, 300)):
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value + 1e-9
        assert figure.value <= figure.high + 1e-9
        assert figure.n == 300


def test_one_entropy_for_all_has_no_correlation():
    found = certainty_figures(np.zeros(10), np.arange(10.0), Bootstrap(np.arange(10), 50))
    assert "spearman_entropy_error" not in {figure.metric for figure in found}
