import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from im2gps_spark.sphere import (
    EARTH_RADIUS_KM,
    SPHERE_AREA_KM2,
    UNIFORM_ENTROPY,
    concentration,
    coordinates,
    distance_km,
    geodesic_median,
    normalised,
    unit_vectors,
    vmf_density,
)
from tests.posterior.laws import SEEDS, anywhere, around

LATITUDES = st.floats(-90.0, 90.0)
LONGITUDES = st.floats(-180.0, 180.0)


def haversine_km(latitude1, longitude1, latitude2, longitude2):
    phi1, lam1, phi2, lam2 = np.radians([latitude1, longitude1, latitude2, longitude2])
    h = np.sin((phi2 - phi1) / 2) ** 2 + np.cos(phi1) * np.cos(phi2) * np.sin((lam2 - lam1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(min(h, 1.0)))


# Points


@pytest.mark.parametrize(
    ("latitude", "longitude", "vector"),
    [
        (0.0, 0.0, (1, 0, 0)),
        (0.0, 90.0, (0, 1, 0)),
        (0.0, 180.0, (-1, 0, 0)),
        (0.0, -180.0, (-1, 0, 0)),
        (90.0, 77.0, (0, 0, 1)),
        (-90.0, -180.0, (0, 0, -1)),
    ],
)
def test_the_axes_lie_where_geography_puts_them(latitude, longitude, vector):
    assert unit_vectors(latitude, longitude) == pytest.approx(np.array(vector, float), abs=1e-15)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LATITUDES, LONGITUDES)
def test_coordinates_come_back(latitude, longitude):
    vector = unit_vectors(latitude, longitude)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-15)
    again = coordinates(3.7 * vector)
    assert float(again[0]) == pytest.approx(latitude, abs=1e-12)
    assert float(distance_km(unit_vectors(*again), vector)) < 1e-8  # at a pole the longitude is anybody's guess
    assert abs(again[1]) <= 180.0


def test_points_keep_their_shape():
    latitude, longitude = np.zeros((4, 5)), np.ones((4, 5))
    assert unit_vectors(latitude, longitude).shape == (4, 5, 3)
    assert [c.shape for c in coordinates(unit_vectors(latitude, longitude))] == [(4, 5), (4, 5)]
    assert unit_vectors([], []).shape == (0, 3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 90.0000001, -91.0])
def test_a_latitude_off_the_sphere_is_refused(wrong):
    with pytest.raises(ValueError, match="latitude"):
        unit_vectors([0.0, wrong], [0.0, 0.0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 180.0000001, -181.0, 360.0])
def test_a_longitude_off_the_sphere_is_refused(wrong):
    with pytest.raises(ValueError, match="longitude"):
        unit_vectors([0.0, 0.0], [0.0, wrong])


def test_normalised_vectors_have_length_one_and_no_direction_is_refused():
    assert np.linalg.norm(normalised([[3.0, 0, 4.0], [0, 1e-6, 0]]), axis=1) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="direction"):
        normalised(unit_vectors(10.0, 20.0) + unit_vectors(-10.0, -160.0))
    with pytest.raises(ValueError, match="direction"):
        normalised([np.nan, 0.0, 1.0])


# Distances


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        ((48.8566, 2.3522), (51.5074, -0.1278), 343.56),  # Paris, London
        ((40.7128, -74.0060), (51.5074, -0.1278), 5570.2),  # New York, London
        ((35.6762, 139.6503), (37.7749, -122.4194), 8274.6),  # Tokyo, San Francisco: across longitude 180
        ((-18.1416, 178.4419), (-13.8333, -171.7667), 1150.7),  # Suva, Apia: across it, too
        ((0.0, 0.0), (0.0, 1.0), 111.195),
        ((90.0, 0.0), (0.0, 123.0), 10007.543),
    ],
)
def test_distances_between_known_cities(a, b, km):
    assert float(distance_km(unit_vectors(*a), unit_vectors(*b))) == pytest.approx(km, rel=3e-5)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(LATITUDES, LONGITUDES, LATITUDES, LONGITUDES)
def test_distance_is_the_haversine(latitude1, longitude1, latitude2, longitude2):
    a, b = unit_vectors(latitude1, longitude1), unit_vectors(latitude2, longitude2)
    expected = haversine_km(latitude1, longitude1, latitude2, longitude2)
    # Near the antipode both take the arc sine of nearly 1, which leaves tenths of a metre.
    near_antipode = expected > 0.99 * np.pi * EARTH_RADIUS_KM
    assert float(distance_km(a, b)) == pytest.approx(expected, abs=1e-3 if near_antipode else 1e-7)
    assert distance_km(a, b) == distance_km(b, a)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(LATITUDES, LONGITUDES)
def test_antipodes_are_half_the_way_round(latitude, longitude):
    here = unit_vectors(latitude, longitude)
    assert float(distance_km(here, -here)) == pytest.approx(np.pi * EARTH_RADIUS_KM, rel=1e-7)
    assert float(distance_km(here, here)) == 0.0


@pytest.mark.parametrize("metres", [0.1, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("latitude", [-89.5, 0.0, 51.0])
def test_close_points_are_told_apart_to_a_millimetre(metres, latitude):
    north = np.degrees(metres / 1000.0 / EARTH_RADIUS_KM)
    apart = distance_km(unit_vectors(latitude, 30.0), unit_vectors(latitude + north, 30.0))
    assert 1000.0 * float(apart) == pytest.approx(metres, abs=1e-3)


def test_distances_broadcast():
    a, b = anywhere(4, np.random.default_rng(0)), anywhere(7, np.random.default_rng(1))
    table = distance_km(a[:, None], b[None])
    assert table.shape == (4, 7)
    assert table[2, 5] == distance_km(a[2], b[5])


# Kernels


def test_constants():
    assert pytest.approx(2.5310242, abs=1e-7) == UNIFORM_ENTROPY
    assert pytest.approx(510_064_472, rel=1e-8) == SPHERE_AREA_KM2
    widths = np.array([25.0, 100.0, 200.0, 500.0])
    assert concentration(widths) == pytest.approx(np.array([64_943, 4_059, 1_014.7, 162.4]), rel=3e-4)


@pytest.mark.parametrize("kappa", [1e-6, 0.3, 1.0, 162.4, 64_943.0, 4e7])
def test_a_kernel_has_mass_one(kappa):
    # Over t = 1 - cos(angle), in which the sphere's area is 2 pi dt and the kernel an exponential.
    scale = min(2.0, 40.0 / kappa)
    mass, _ = quad(lambda t: 2 * np.pi * float(vmf_density(2 * t, kappa)), 0.0, scale)
    assert mass == pytest.approx(1.0, rel=1e-9)


def test_a_wide_kernel_is_the_textbook_formula_and_the_widest_is_uniform():
    angle = np.linspace(0.0, np.pi, 50)
    chord_squared = (2 * np.sin(angle / 2)) ** 2
    textbook = 3.0 / (4 * np.pi * np.sinh(3.0)) * np.exp(3.0 * np.cos(angle))
    assert vmf_density(chord_squared, 3.0) == pytest.approx(textbook, rel=1e-12)
    assert vmf_density(chord_squared, 1e-9) == pytest.approx(1 / (4 * np.pi), rel=1e-8)


def test_kernels_broadcast_over_concentrations():
    chord_squared, kappa = np.array([0.0, 0.5, 4.0]), np.array([[1.0], [10.0]])
    table = vmf_density(chord_squared, kappa)
    assert table.shape == (2, 3)
    assert table[1, 1] == vmf_density(0.5, 10.0)


# The geodesic median


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.floats(1.0, 3000.0))
def test_the_median_of_a_symmetric_crowd_is_its_centre(seed, width_km):
    rng = np.random.default_rng(seed)
    centre = anywhere(1, rng)[0]
    half = around(np.tile(centre, (20, 1)), width_km, rng)
    mirrored = 2 * (half @ centre)[:, None] * centre - half
    points, weights = np.concatenate([half, mirrored]), np.tile(rng.random(20) + 0.1, 2)
    start = around(centre[None], width_km, rng)[0]
    assert float(distance_km(geodesic_median(points, weights, start), centre)) < 0.01 * width_km


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_place_with_most_of_the_weight_is_the_median(seed):
    rng = np.random.default_rng(seed)
    points = anywhere(10, rng)
    weights = np.append(np.full(9, 0.4 / 9), 0.6)
    start = around(points[-1:], 2000.0, rng)[0]
    assert float(distance_km(geodesic_median(points, weights, start), points[-1])) < 1.0


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_no_place_nearby_is_better_than_the_median_and_the_start_is_no_better(seed):
    rng = np.random.default_rng(seed)
    points = around(np.tile(anywhere(1, rng), (30, 1)), 2000.0, rng)
    weights, start = rng.dirichlet(np.ones(30)), points[0]
    median = geodesic_median(points, weights, start)

    def cost(place):
        return float(weights @ distance_km(points, place))

    assert np.linalg.norm(median) == pytest.approx(1.0, abs=1e-12)
    assert cost(median) <= cost(start)
    for reach in (20.0, 200.0):
        assert cost(median) < min(cost(p) for p in around(np.tile(median, (30, 1)), reach, rng)) + 1e-3


def test_the_median_of_one_place_is_that_place_even_from_its_antipode_or_itself():
    place = unit_vectors(20.0, 30.0)
    one = np.ones(1)
    assert geodesic_median(place[None], one, place) == pytest.approx(place)
    assert float(distance_km(geodesic_median(place[None], one, unit_vectors(-60.0, 170.0)), place)) < 1e-3
