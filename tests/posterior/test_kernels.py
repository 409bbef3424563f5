import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.posterior.kernels import Profile, climb, kernel_sum
from im2gps_spark.sphere import concentration, distance_km, normalised, unit_vectors, vmf_density
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
    profile = Profile.of([25.0, 50.0, 100.0], [3.0, 0.0, 1.0])
    assert profile == Profile((25.0, 100.0), (0.75, 0.25))
    assert profile.mass == pytest.approx(1.0)
    with pytest.raises(ValueError):
        Profile.of([25.0], [0.5, 0.5])


def test_a_profile_splits_by_width_without_loss():
    narrow, wide = RECIPE.split(200.0)
    assert narrow.widths_km == (25.0, 100.0)
    assert wide.widths_km == (200.0, 400.0, 800.0)
    gap = np.geomspace(1e-8, 4.0, 50)
    assert narrow.density(gap) + wide.density(gap) == pytest.approx(RECIPE.density(gap), rel=1e-12)
    assert narrow.mass + wide.mass == pytest.approx(1.0)


def test_a_blurred_profile_is_the_law_of_a_blurred_point():
    """The mean of the kernel over points scattered about where it is read."""
    place = at("Paris")
    rng = np.random.default_rng(0)
    profile, reading = Profile.of([300.0], [1.0]), around(place[None], 200.0, rng)
    scattered = around(np.repeat(reading, 50_000, axis=0), 150.0, rng)
    mean = profile.density(np.sum((scattered - place) ** 2, axis=1)).mean()
    gap = np.sum((reading - place) ** 2, axis=1)
    assert profile.blurred(150.0).density(gap) == pytest.approx(mean, rel=0.01)
    assert profile.blurred(150.0).mass == profile.mass


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


# Climbing


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 40), st.sampled_from([RECIPE, Profile.of([200.0], [1.0])]))
def test_climbing_never_goes_down_and_ends_where_the_slope_is_none(seed, n, profile):
    rng = np.random.default_rng(seed)
    places = around(np.tile(anywhere(1, rng), (n, 1)), 400.0, rng)
    weights = rng.dirichlet(np.ones(n))
    starts = np.concatenate([places, around(places, 200.0, rng)])
    ends = climb(starts, places, weights, profile)
    assert np.linalg.norm(ends, axis=1) == pytest.approx(1.0, abs=1e-9)

    before, after = (exactly(points, places, weights, profile) for points in (starts, ends))
    assert np.all(after >= before - 1e-4 * peak(profile))
    path = [exactly(climb(starts, places, weights, profile, s), places, weights, profile) for s in range(6)]
    assert np.all(np.diff(path, axis=0) >= -1e-4 * peak(profile))

    # The slope along the sphere, in parts of the density a width of the narrowest kernel.
    slope = np.zeros_like(ends)
    for width, share in zip(profile.widths_km, profile.shares, strict=True):
        kappa = concentration(width)
        gap = np.sum((ends[:, None] - places[None]) ** 2, axis=-1)
        slope += share * kappa * (vmf_density(gap, kappa) * weights) @ places
    slope -= np.sum(slope * ends, axis=1, keepdims=True) * ends
    steepness = np.linalg.norm(slope, axis=1) / after / np.sqrt(concentration(min(profile.widths_km)))
    assert steepness.max() < 0.01


@pytest.mark.parametrize("name", PLACES)
def test_climbing_to_one_place_ends_on_it(name):
    place = at(name)
    starts = around(np.tile(place, (20, 1)), 60.0, np.random.default_rng(0))
    ends = climb(starts, place[None], np.ones(1), Profile.of([25.0], [1.0]))
    assert distance_km(ends, place).max() < 1e-3


def test_climbing_leaves_its_starts_alone_and_a_point_without_pull_where_it_is():
    starts = np.stack([at("Pacific"), at("Paris")])
    kept = starts.copy()
    ends = climb(starts, at("Paris")[None], np.ones(1), Profile.of([25.0], [1.0]))
    assert np.array_equal(starts, kept)
    assert np.array_equal(ends[0], starts[0])  # so far off that the kernel is zero in float64


def test_two_near_kernels_have_one_mode_and_two_far_ones_two():
    one = Profile.of([100.0], [1.0])
    near, far = (unit_vectors([0.0, 0.0], [0.0, degrees]) for degrees in (1.5, 4.0))
    half = np.full(2, 0.5)
    joined = climb(near, near, half, one)
    assert distance_km(joined, normalised(near.sum(axis=0))).max() < 1.0
    assert distance_km(climb(far, far, half, one), far).max() < 30.0
