import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.posterior.kernels import Profile, kernel_sum
from im2gps_spark.sphere import concentration, vmf_density
from tests.posterior.laws import PLACES, SEEDS, SHARES, WIDTHS_KM, anywhere, around, at

RECIPE = Profile.of(WIDTHS_KM, SHARES)
PROFILES = pytest.mark.parametrize(
    "profile",
    [
        RECIPE,
        Profile.of([1.0], [1.0]),
        Profile.of([25.0], [1.0]),
        Profile.of([800.0], [1.0]),
        Profile.of([1e4], [1.0]),
    ],
    ids=["recipe", "1 km", "25 km", "800 km", "10,000 km"],
)


def exactly(points, places, weights, profile):
    """The same sum in plain formulas: 1 - cos by the dot product's complement, width by width."""
    total = np.zeros(len(points))
    for place, weight in zip(places, weights, strict=True):
        gap = np.sum((points - place) ** 2, axis=1)
        for width, share in zip(profile.widths_km, profile.shares, strict=True):
            total += weight * share * vmf_density(gap, concentration(width))
    return total


def peak(profile):
    return float(profile.density(np.zeros(1))[0])


# Profiles


def test_a_profile_is_scaled_to_mass_one_and_drops_parts_without_a_share():
    assert Profile.of([25.0, 50.0, 100.0], [3.0, 0.0, 1.0]) == Profile((25.0, 100.0), (0.75, 0.25))
    with pytest.raises(ValueError):
        Profile.of([25.0], [0.5, 0.5])


# Sums


@PROFILES
def test_sums_are_exact_to_a_thousandth_of_the_peak(profile):
    rng = np.random.default_rng(0)
    places = anywhere(30, rng)
    weights = rng.dirichlet(np.ones(30))
    width = np.tile(np.repeat([0.3, 1.0, 2.0, 4.0], 100) * min(profile.widths_km), 5)
    near = around(places[rng.integers(0, 30, 2000)], width, rng)
    points = np.concatenate([near, anywhere(500, rng), places, -places])
    error = kernel_sum(points, places, weights, profile) - exactly(points, places, weights, profile)
    assert np.abs(error).max() < 1e-3 * peak(profile) * weights.max()


@PROFILES
@pytest.mark.parametrize("name", PLACES)
def test_a_point_on_the_place_and_one_opposite(profile, name):
    place = at(name)[None]
    one = np.ones(1)
    assert float(kernel_sum(place, place, one, profile)[0]) == pytest.approx(peak(profile), rel=1e-6)
    opposite = float(profile.density(np.array([4.0]))[0])
    assert float(kernel_sum(-place, place, one, profile)[0]) == pytest.approx(opposite, rel=1e-6)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 50))
def test_the_order_of_the_places_does_not_matter_and_a_repeat_is_a_doubled_weight(seed, n):
    rng = np.random.default_rng(seed)
    places, weights = anywhere(n, rng), rng.dirichlet(np.ones(n))
    points = np.concatenate([places, anywhere(50, rng)])
    expected = kernel_sum(points, places, weights, RECIPE)
    rank = rng.permutation(n)
    np.testing.assert_allclose(kernel_sum(points, places[rank], weights[rank], RECIPE), expected, rtol=1e-12)
    twice = kernel_sum(points, np.concatenate([places, places]), np.tile(weights / 2, 2), RECIPE)
    np.testing.assert_allclose(twice, expected, rtol=1e-12)


def test_sums_of_nothing():
    nowhere, points = np.zeros((0, 3)), anywhere(5, np.random.default_rng(0))
    assert np.array_equal(kernel_sum(points, nowhere, np.zeros(0), RECIPE), np.zeros(5))
    assert kernel_sum(nowhere, points, np.ones(5), RECIPE).shape == (0,)
