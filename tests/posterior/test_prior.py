import numpy as np
import pytest
from hypothesis import given, settings

from im2gps_spark.posterior.prior import SHARES, TOLERANCE, UNIFORM_SHARE, WIDTHS_KM, prior_map
from im2gps_spark.sphere import distance_km
from tests.posterior.laws import PLACES, SEEDS, anywhere, apart, around, at, collection, mixture, total_variation


def test_without_places_the_prior_is_uniform():
    prior = prior_map(np.zeros((0, 3)), np.zeros(0))
    assert prior.density == pytest.approx(1 / (4 * np.pi))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_the_prior_is_a_law_and_positive_everywhere(seed):
    rng = np.random.default_rng(seed)
    prior = prior_map(around(np.tile(anywhere(1, rng), (30, 1)), 50.0, rng), rng.random(30)).check()
    # All photos in one corner of the Earth: its antipode still has its part of the uniform share.
    assert prior.density.min() > 0.9 * UNIFORM_SHARE / (4 * np.pi)


@pytest.mark.parametrize("name", PLACES)
def test_it_is_denser_where_photos_are(name):
    places = around(np.tile(at(name), (100, 1)), 100.0, np.random.default_rng(0))
    prior = prior_map(places, np.ones(100))
    far = anywhere(500, np.random.default_rng(1))
    far = far[distance_km(far, at(name)) > 3000]
    crowd, desert = prior.density[prior.find(places)], prior.density[prior.find(far)]
    assert crowd.min() > 50 * desert.max()
    assert distance_km(prior.centres[prior.density.argmax()], at(name)) < 300


@pytest.mark.parametrize("tolerance", [TOLERANCE, 0.05])
@pytest.mark.parametrize("n", [1, 50, 1000])
def test_it_is_the_kernel_density_within_the_tolerance(n, tolerance):
    places = collection(n, n)
    weights = np.random.default_rng(n).pareto(1.0, n) + 0.01
    density = mixture(places, weights, widths_km=WIDTHS_KM, shares=SHARES, prior_share=0.0, uniform_share=UNIFORM_SHARE)
    error, uncertainty = total_variation(density, prior_map(places, weights, tolerance))
    assert error <= tolerance + 4 * uncertainty


def test_heavier_places_are_denser_and_only_the_weights_proportions_count():
    places = np.stack([at("Paris"), at("Pacific")])
    prior = prior_map(places, np.array([3.0, 1.0]))
    heavy, light = prior.density[prior.find(places)]
    assert heavy == pytest.approx(3 * light, rel=0.1)
    again = prior_map(places, np.array([3000.0, 1000.0]))
    assert np.array_equal(again.cells, prior.cells)
    assert again.mass == pytest.approx(prior.mass, rel=1e-9)


def test_pooled_places_are_as_good_as_each_photos_own_and_their_order_does_not_matter():
    photos = collection(2, 300)
    each = prior_map(photos, np.ones(300))
    places, counts = np.unique(photos, axis=0, return_counts=True)
    assert len(places) < 300
    rank = np.random.default_rng(0).permutation(300)
    # A tie may fall the other way by rounding, and split one cell or another.
    assert apart(each, prior_map(places, counts.astype(float))) < 1e-3
    assert apart(each, prior_map(photos[rank], np.ones(300))) < 1e-3


def test_a_place_without_weight_does_not_count():
    places = np.stack([at("Paris"), at("Pacific")])
    assert apart(prior_map(places, np.array([1.0, 0.0])), prior_map(places[:1], np.ones(1))) < 1e-3


def test_a_smaller_tolerance_takes_more_cells():
    photos = collection(1, 200)
    assert len(prior_map(photos, np.ones(200), 0.05).cells) > len(prior_map(photos, np.ones(200), 0.2).cells)


@pytest.mark.parametrize("weights", [[1.0, -1e-9], [1.0, np.nan], [1.0, np.inf], [0.0, 0.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="weights of a prior"):
        prior_map(np.stack([at("Paris"), at("Pacific")]), np.array(weights))
