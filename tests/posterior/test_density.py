import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from im2gps_spark.grid import MAX_ORDER, cells_at
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.windows import window_masses
from im2gps_spark.sphere import concentration, vmf_density
from tests.posterior.laws import (
    PLACES,
    SEEDS,
    UNIFORM,
    WIDTHS_KM,
    anywhere,
    around,
    at,
    corpus,
    inside,
    kernels_at,
    mixture,
    nothing,
    random_map,
    sample,
)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 30), st.floats(5.0, 10_000.0))
def test_over_the_uniform_prior_windows_are_von_mises_fisher_kernels(seed, n, width_km):
    """Within 0.7 % away from the poles: what the grid's sums for their masses are off."""
    rng = np.random.default_rng(seed)
    places = anywhere(40, rng)
    density = mixture(places[np.abs(places[:, 2]) < 0.95][:n], widths_km=(width_km, 800.0))
    points = sample(density, 500, rng)
    expected = 0.97 * kernels_at(density, points) + 0.03 / (4 * np.pi)
    np.testing.assert_allclose(density.at(points), expected, rtol=0.007)


@pytest.mark.parametrize("name", PLACES)
def test_so_they_are_on_poles_longitude_180_and_corners(name):
    """Within 1.5 %: about a pole cells are kites."""
    rng = np.random.default_rng(0)
    density = mixture(np.concatenate([at(name)[None], around(np.tile(at(name), (9, 1)), 300.0, rng)]))
    points = sample(density, 500, rng)
    expected = 0.97 * kernels_at(density, points) + 0.03 / (4 * np.pi)
    np.testing.assert_allclose(density.at(points), expected, rtol=0.015)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from(sorted(PLACES)))
def test_a_kernel_on_a_pole_or_on_longitude_180_is_one_elsewhere_turned(seed, name):
    rng = np.random.default_rng(seed)
    places = np.concatenate([at(name)[None], around(np.tile(at(name), (9, 1)), 300.0, rng), anywhere(5, rng)])
    weights = rng.dirichlet(np.ones(15))
    turn = Rotation.random(rng=rng).as_matrix()
    here, there = mixture(places, weights), mixture(places @ turn.T, weights)
    points = sample(here, 500, rng)
    np.testing.assert_allclose(there.at(points @ turn.T), here.at(points), rtol=0.015)


def test_a_density_is_the_sum_of_its_parts():
    over = Background(random_map(np.random.default_rng(0)))
    places = np.stack([at("Paris"), at("Pacific")])
    votes = np.array([[0.3, 0.1], [0.0, 0.2]])
    density = Density(places, votes, np.array([500.0, 1000.0]), over, 0.35, 0.05)
    points = anywhere(500, np.random.default_rng(1))
    prior = over.map.density[over.map.find(points)]
    expected = 0.35 * prior + 0.05 / (4 * np.pi)
    for i, width in enumerate((500.0, 1000.0)):
        masses = window_masses(over, places, cells_at(MAX_ORDER, places), width)
        for place, vote, mass in zip(places, votes[:, i], masses, strict=True):
            kernel = vmf_density(np.sum((points - place) ** 2, axis=1), concentration(width))
            expected += vote * prior * kernel / (mass * float(vmf_density(0.0, concentration(width))))
    np.testing.assert_allclose(density.at(points), expected, rtol=1e-9)
    np.testing.assert_allclose(density.at(points), prior * density.ratio(points) + 0.05 / (4 * np.pi), rtol=1e-12)


@pytest.mark.parametrize("width_km", [25.0, 100.0, 400.0, 1600.0])
def test_windows_follow_the_prior(width_km):
    """Two points at the same distance have densities in the ratio of the prior's, if the uniform law has no share."""
    photos, over = corpus(0)
    density = mixture(photos[0], widths_km=(width_km,), over=over, uniform_share=0.0, prior_share=0.0)
    rng = np.random.default_rng(0)
    ring = around(np.repeat(photos[:1], 300, axis=0), width_km, rng)
    prior = over.map.density[over.map.find(ring)]
    kernel = np.exp(-0.5 * concentration(width_km) * np.sum((ring - photos[0]) ** 2, axis=1))
    ratio = density.at(ring) / prior / kernel
    assert prior.max() > 5 * prior.min()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 20))
def test_its_mass_is_one_over_any_prior_of_its_own_photos(seed, n):
    """Within 3 %, which is the windows' on their grid, and 4 standard errors of the sum over the prior's cells."""
    photos, over = corpus(1)
    rng = np.random.default_rng(seed)
    density = mixture(
        photos[rng.choice(len(photos), n)], rng.pareto(1.0, n), widths_km=(100.0, 400.0, 1600.0), over=over
    )
    points = inside(over.map, 4000, rng)
    ratio = density.at(points) / over.map.density[over.map.find(points)]
    assert ratio.mean() == pytest.approx(1.0, abs=0.03 + 4 * ratio.std() / np.sqrt(4000))


@pytest.mark.parametrize("over", [UNIFORM, Background(random_map(np.random.default_rng(3)))], ids=["uniform", "prior"])
def test_without_neighbours_it_is_the_prior_and_its_uniform_part(over):
    points = anywhere(200, np.random.default_rng(0))
    expected = 0.9 * over.map.density[over.map.find(points)] + 0.1 / (4 * np.pi)
    np.testing.assert_allclose(nothing(over, 0.1).at(points), expected, rtol=1e-12)


def test_it_is_positive_everywhere():
    photos, over = corpus(0)
    density = mixture(photos[:3], widths_km=(25.0,), over=over)
    assert density.at(anywhere(500, np.random.default_rng(0))).min() >= 0.01 / (4 * np.pi)


def test_widths_that_one_neighbour_may_not_have_are_anothers():
    """Votes of nought in a column are as good as no such neighbour."""
    places = anywhere(3, np.random.default_rng(0))
    votes = np.array([[0.2, 0.0, 0.0, 0.1], [0.0, 0.3, 0.0, 0.0], [0.0, 0.0, 0.0, 0.37]])
    density = Density(places, votes, np.array(WIDTHS_KM), UNIFORM, 0.02, 0.01)
    points = sample(density, 300, np.random.default_rng(1))
    alone = [
        Density(places[[j]], votes[[j]][:, [s]], np.array([WIDTHS_KM[s]]), UNIFORM, 0.0, 0.0).at(points)
        for j, s in zip(*np.nonzero(votes), strict=True)
    ]
    np.testing.assert_allclose(density.at(points), sum(alone) + 0.03 / (4 * np.pi), rtol=1e-9)
