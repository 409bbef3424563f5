from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import resolve
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.refine import refine
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.votes import (
    density_of,
    pooled_score,
    standard_similarity,
    vote_weights,
    weights_by_sharpness,
    window_ratios,
)
from im2gps_spark.sphere import coordinates, unit_vectors
from tests.posterior.laws import SEEDS, UNIFORM, anywhere, corpus, random_map


def tuned(**keys: Any) -> PosteriorSettings:
    return PosteriorSettings(**keys)


DEFAULTS = tuned(owner_damping=0.5)


def candidates(n: int, rng: np.random.Generator) -> Candidates:
    latitude, longitude = coordinates(anywhere(n, rng))
    distance = np.sort(rng.uniform(0.2, 1.4, n))
    photos, accuracy = rng.integers(1, 200, n).astype(float), rng.integers(3, 17, n).astype(np.int8)
    return Candidates(np.arange(n), distance, latitude, longitude, photos, accuracy)


def weights_of(near: Candidates, settings: PosteriorSettings = DEFAULTS):
    return vote_weights(standard_similarity(near.distance, 0.3, 0.1), near.owner_photos, settings)


# Similarity


def test_similarity_is_the_cosine_in_standard_deviations():
    assert standard_similarity(np.array([0.0, 1.0, np.sqrt(2.0)]), 0.1, 0.2) == pytest.approx([4.5, 2.0, -0.5])


def test_a_query_to_which_all_is_equally_similar_has_no_favourites():
    score = standard_similarity(np.ones(5), 0.5, 0.0)
    assert score == pytest.approx(np.zeros(5))
    assert vote_weights(score, np.ones(5), DEFAULTS) == pytest.approx(np.full(5, 0.2))


# Weights


@settings(max_examples=100, deadline=None, derandomize=True)
@given(SEEDS, st.integers(2, 100), st.floats(0.0, 5.0), st.floats(0.0, 1.0))
def test_the_odds_of_two_neighbours_are_those_of_their_scores_and_owners(seed, n, sharpness, damping):
    rng = np.random.default_rng(seed)
    score, photos = rng.normal(0, 2, n), rng.integers(1, 500, n).astype(float)
    one = tuned(sharpness=[sharpness], sharpness_shares=[1.0], owner_damping=damping)
    weight = vote_weights(score, photos, one)
    odds = sharpness * (score[0] - score[1]) - damping * np.log(photos[0] / photos[1])
    assert np.log(weight[0] / weight[1]) == pytest.approx(odds, abs=1e-9)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 100))
def test_weights_are_a_law_mixed_over_the_sharpnesses_in_their_shares(seed, n):
    rng = np.random.default_rng(seed)
    score, photos = rng.normal(0, 2, n), rng.integers(1, 500, n).astype(float)
    several = tuned(sharpness=[0.5, 2.0, 8.0], sharpness_shares=[1.0, 3.0, 0.0])
    weight = vote_weights(score, photos, several)
    assert weight.sum() == pytest.approx(1.0)
    assert weight.min() >= 0
    rows = [vote_weights(score, photos, tuned(sharpness=[s], sharpness_shares=[1.0])) for s in several.sharpness]
    assert weights_by_sharpness(score, photos, several) == pytest.approx(np.array(rows), rel=1e-9)
    assert weight == pytest.approx(0.25 * rows[0] + 0.75 * rows[1], rel=1e-9)
    rank = rng.permutation(n)
    assert vote_weights(score[rank], photos[rank], several) == pytest.approx(weight[rank], rel=1e-9)


@pytest.mark.parametrize("damping", [0.0, 0.5, 1.0])
def test_equal_similarities_leave_the_owners_damping(damping):
    photos = np.array([1.0, 4.0, 16.0, 4.0])
    expected = photos**-damping
    weight = vote_weights(np.full(4, 1.7), photos, tuned(owner_damping=damping))
    assert weight == pytest.approx(expected / expected.sum())


def test_an_album_of_hundred_votes_like_ten_strangers():
    photos = np.r_[np.full(100, 100.0), np.ones(10)]
    weight = vote_weights(np.zeros(110), photos, tuned(owner_damping=0.5))
    assert weight[:100].sum() == pytest.approx(weight[100:].sum())


def test_extreme_scores_do_not_overflow_and_an_owner_of_no_photos_counts_as_of_one():
    weight = vote_weights(np.array([1e6, 0.0, -1e6]), np.ones(3), tuned(sharpness=[50.0], sharpness_shares=[1.0]))
    assert weight == pytest.approx([1.0, 0.0, 0.0])
    assert vote_weights(np.zeros(2), np.array([0.0, 1.0]), DEFAULTS) == pytest.approx([0.5, 0.5])


def test_no_neighbours_no_weights():
    assert vote_weights(np.zeros(0), np.zeros(0), DEFAULTS).shape == (0,)


# The density


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 40))
def test_the_order_of_the_neighbours_does_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    near, prior = candidates(n, rng), Background(random_map(rng))
    moved = near.take(rng.permutation(n))
    points = np.concatenate([anywhere(100, rng), unit_vectors(near.latitude, near.longitude)])
    expected = density_of(near, weights_of(near), DEFAULTS, prior).at(points)
    np.testing.assert_allclose(density_of(moved, weights_of(moved), DEFAULTS, prior).at(points), expected, rtol=1e-10)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 40))
def test_a_repeated_neighbour_is_one_of_doubled_weight(seed, n):
    """An owner of a quarter of the photos, under a damping of one half, has votes of twice the weight."""
    rng = np.random.default_rng(seed)
    near = candidates(n, rng)
    near.owner_photos[0] = 40.0
    repeated = near.take(np.r_[0, np.arange(n)])
    points = np.concatenate([anywhere(100, rng), unit_vectors(near.latitude, near.longitude)])
    twice = density_of(repeated, weights_of(repeated), DEFAULTS, UNIFORM).at(points)
    near.owner_photos[0] = 10.0
    doubled = density_of(near, weights_of(near), DEFAULTS, UNIFORM).at(points)
    np.testing.assert_allclose(twice, doubled, rtol=1e-10)


def test_shares_are_the_settings():
    near = candidates(5, np.random.default_rng(0))
    density = density_of(near, weights_of(near), tuned(prior_share=0.3, uniform_share=0.04), UNIFORM)
    shares = (density.votes.sum(), density.prior_share, density.uniform_share)
    assert shares == pytest.approx((0.66, 0.3, 0.04))


def test_without_neighbours_the_answer_is_the_prior():
    prior = random_map(np.random.default_rng(1))
    density = density_of(Candidates.none(), np.zeros(0), DEFAULTS, Background(prior))
    points = anywhere(500, np.random.default_rng(2))
    expected = prior.density[prior.find(points)]
    assert density.at(points) == pytest.approx(expected, rel=1e-12)
    law = resolve(refine(density, 0.05), prior)
    assert law.density[law.find(points)] == pytest.approx(expected, rel=1e-9)


def test_a_prior_share_of_all_silences_the_neighbours():
    near, prior = candidates(5, np.random.default_rng(0)), random_map(np.random.default_rng(1))
    settings = tuned(prior_share=1 - 1e-12, uniform_share=1e-12)
    density = density_of(near, weights_of(near), settings, Background(prior))
    points = anywhere(500, np.random.default_rng(2))
    assert density.at(points) == pytest.approx(prior.density[prior.find(points)], rel=1e-6)


def test_the_whole_corpus_with_equal_weights_says_little_beyond_the_prior():
    """Not nothing: the prior is what it is at its own widths, and windows blur it a little more."""
    photos, over = corpus(3)
    latitude, longitude = coordinates(photos)
    n = len(photos)
    near = Candidates(np.arange(n), np.ones(n), latitude, longitude, np.ones(n), np.full(n, 16, np.int8))
    density = density_of(near, np.full(n, 1 / n), DEFAULTS, over)
    law, prior = resolve(refine(density, 0.05), over.map), over.map
    gap = np.abs(law.mass - prior.mass_within(law.order, law.index)).sum() / 2
    one = resolve(refine(density_of(near.take(np.arange(20)), np.full(20, 0.05), DEFAULTS, over), 0.05), prior)
    assert gap < 0.2
    assert np.abs(one.mass - prior.mass_within(one.order, one.index)).sum() / 2 > 2 * gap


def test_a_geotag_of_a_country_has_no_narrow_window():
    near = candidates(2, np.random.default_rng(0))
    near.accuracy[:] = [16, 5]
    votes = density_of(near, np.full(2, 0.5), DEFAULTS, UNIFORM).votes
    assert votes[0, 0] > 0
    assert votes[1, 0] == 0
    assert votes[1].sum() == pytest.approx(votes[0].sum())


# Experts


def test_a_score_is_the_weighted_sum_of_the_experts():
    score = pooled_score({"similarity": np.array([1.0, 2.0])}, tuned(experts={"similarity": 0.5}))
    assert score == pytest.approx([0.5, 1.0])
    with pytest.raises(KeyError):
        pooled_score({}, DEFAULTS)


def test_window_ratios_are_the_parts_of_the_densitys_ratio():
    photos, over = corpus(5)
    near = candidates(10, np.random.default_rng(0))
    near.latitude[:], near.longitude[:] = coordinates(photos[:10])
    points = photos[20:21]
    density = density_of(near, weights_of(near), DEFAULTS, over)
    parts = window_ratios(near, density.widths_km, points, np.ones(1), over)
    shares = np.array(DEFAULTS.width_shares) / np.sum(DEFAULTS.width_shares)
    heard = 1.0 - DEFAULTS.prior_share - DEFAULTS.uniform_share
    found = heard * weights_of(near) @ parts @ shares + DEFAULTS.prior_share
    assert found == pytest.approx(density.ratio(points)[0], rel=1e-9)


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(np.nan, 0.0), (np.inf, 0.0), (90.5, 0.0), (-91.0, 0.0), (0.0, np.nan), (0.0, -np.inf), (0.0, 180.5)],
)
def test_coordinates_off_the_sphere_are_refused(latitude, longitude):
    near = candidates(3, np.random.default_rng(0))
    near.latitude[1], near.longitude[1] = latitude, longitude
    with pytest.raises(ValueError, match="itude must be finite"):
        density_of(near, weights_of(near), DEFAULTS, UNIFORM)


# Settings


@pytest.mark.parametrize(
    "wrong",
    [
        {"widths_km": [25.0]},
        {"widths_km": [], "width_shares": []},
        {"widths_km": [4.5], "width_shares": [1.0]},
        {"widths_km": [20_000.0], "width_shares": [1.0]},
        {"widths_km": [100.0, 25.0, 400.0, 1600.0]},
        {"width_shares": [0.5, -0.1, 0.1, 0.5]},
        {"width_shares": [0.0] * 4},
        {"prior_share": 0.98, "uniform_share": 0.03},
        {"uniform_share": 0.06},
        {"experts": {}},
        {"experts": {"tarot": 1.0}},
        {"uniform_share": 0.0},
        {"tolerance": 0.0},
        {"tolerance": 1.0},
        {"sharpness": [-1.0], "sharpness_shares": [1.0]},
        {"sharpness": [51.0], "sharpness_shares": [1.0]},
        {"sharpness": [1.0, 2.0], "sharpness_shares": [1.0]},
        {"sharpness": [1.0], "sharpness_shares": [0.0]},
        {"owner_damping": 1.5},
        {"prior_shares": 0.5},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError):
        PosteriorSettings(**wrong)
