"""The map is within its tolerance of the density: by Monte Carlo, give or take 4 standard errors.

No cell is finer than a quarter of a kernel's width, so that a tolerance under about 0.045 is not kept where few narrow
kernels stand alone: see ``test_the_finest_cells_alone_misplace_a_twentieth_at_most``.
"""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import refine
from im2gps_spark.sphere import Floats, distance_km
from tests.posterior.laws import (
    PLACES,
    SEEDS,
    UNIFORM,
    WIDTHS_KM,
    anywhere,
    around,
    at,
    collection,
    corpus,
    mixture,
    nothing,
    random_map,
    total_variation,
)

TOLERANCES = pytest.mark.parametrize("tolerance", [0.1, 0.05])
VOTES = {
    "equal": lambda n, rng: np.ones(n),
    "uneven": lambda n, rng: rng.pareto(1.0, n),
    "one heavy, the rest light": lambda n, rng: np.r_[1.0, np.full(n - 1, 0.3 / n)],
}


def within(density: Density, tolerance: float) -> MultiOrderMap:
    """The density's map, whose error was found to be under the tolerance (and 4 standard errors)."""
    relative = refine(density, tolerance).check()
    error, uncertainty = total_variation(density, relative)
    assert uncertainty < 0.2 * tolerance
    assert error <= tolerance + 4.0 * uncertainty
    return relative


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 10), st.booleans(), st.sampled_from([0.3, 0.1, 0.05]))
def test_a_map_tiles_the_sphere_with_mass_one_and_is_positive_everywhere(seed, n, with_prior, tolerance):
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng)) if with_prior else UNIFORM
    relative = refine(mixture(anywhere(n, rng), rng.dirichlet(np.ones(n)), over=over), tolerance)
    assert relative.mass.sum() == pytest.approx(1.0, abs=1e-9)
    assert relative.mass.min() > 0
    assert np.all(np.diff(relative.starts) > 0)
    assert relative.area_sr.sum() == pytest.approx(4 * np.pi)


# Over the uniform prior


@TOLERANCES
@pytest.mark.parametrize("width_km", [25.0, 48.0, 100.0, 400.0, 1600.0])
@pytest.mark.parametrize("name", PLACES)
def test_one_kernel_anywhere_is_within_the_tolerance(name, width_km, tolerance):
    within(mixture(at(name), widths_km=(width_km,)), tolerance)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, st.floats(5.0, 10_000.0))
def test_one_kernel_of_any_width_is_within_the_tolerance(seed, width_km):
    within(mixture(anywhere(1, np.random.default_rng(seed)), widths_km=(width_km,)), 0.05)


@TOLERANCES
@pytest.mark.parametrize("widths_km", [WIDTHS_KM, (25.0,), (200.0,)], ids=["recipe", "25 km", "200 km"])
@pytest.mark.parametrize("votes", VOTES)
@pytest.mark.parametrize("n", [5, 1000])
def test_neighbours_in_crowds_are_within_the_tolerance(n, votes, widths_km, tolerance):
    rng = np.random.default_rng(n)
    within(mixture(rng.permutation(collection(n))[:n], VOTES[votes](n, rng), widths_km=widths_km), tolerance)


@TOLERANCES
def test_a_thousand_neighbours_each_alone_are_within_the_tolerance(tolerance):
    """Each is light; what all of them together would lose is not."""
    within(mixture(anywhere(1000, np.random.default_rng(3))), tolerance)


@pytest.mark.parametrize("name", PLACES)
def test_a_crowd_about_a_seam_of_the_grid_is_within_the_tolerance(name):
    rng = np.random.default_rng(1)
    places = around(np.tile(at(name), (50, 1)), 100.0, rng)
    within(mixture(places, rng.random(50), widths_km=(50.0,)), 0.05)


@TOLERANCES
@pytest.mark.parametrize("n", [1, 40])
def test_votes_that_differ_by_width_are_within_the_tolerance(n, tolerance):
    """As neighbours of unlike accuracy have them: some only the widest, some the narrow ones."""
    rng = np.random.default_rng(n)
    votes = rng.dirichlet(np.full(4, 0.2), n) * rng.dirichlet(np.ones(n))[:, None]
    places = around(np.tile(at("Paris"), (n, 1)), 2000.0, rng)
    within(Density(places, 0.97 * votes, np.array(WIDTHS_KM), UNIFORM, 0.02, 0.01), tolerance)


def test_the_order_of_the_widths_does_not_matter():
    places = collection(2)[:30]
    one = refine(mixture(places, widths_km=(25.0, 400.0, 100.0), shares=(1.0, 2.0, 3.0)), 0.05)
    other = refine(mixture(places, widths_km=(400.0, 100.0, 25.0), shares=(2.0, 3.0, 1.0)), 0.05)
    assert np.array_equal(one.cells, other.cells)
    np.testing.assert_allclose(one.mass, other.mass, rtol=1e-9)


@TOLERANCES
def test_a_large_uniform_share_is_within_the_tolerance(tolerance):
    photos, over = corpus(3)
    within(mixture(photos[:10], over=over, uniform_share=0.05), tolerance)


@pytest.mark.parametrize("width_km", [25.0, 100.0, 400.0])
def test_the_finest_cells_alone_misplace_a_twentieth_at_most(width_km):
    """What a tolerance of next to nothing leaves: the slope of a kernel within cells of a quarter of its width."""
    density = mixture(at("Paris"), widths_km=(width_km,), uniform_share=1e-4)
    error, uncertainty = total_variation(density, refine(density, 1e-3))
    assert error < 0.045 + 4.0 * uncertainty


# Over priors


@cache
def crowd(name: str) -> tuple[Floats, Background]:
    """Photos about a place and a few elsewhere, and their prior."""
    rng = np.random.default_rng(1)
    photos = np.concatenate([around(np.tile(at(name), (200, 1)), 300.0, rng), anywhere(100, rng)])
    return photos, Background(prior_map(photos, np.ones(300)))


@TOLERANCES
@pytest.mark.parametrize("widths_km", [WIDTHS_KM, (25.0,), (200.0,)], ids=["recipe", "25 km", "200 km"])
@pytest.mark.parametrize("votes", VOTES)
@pytest.mark.parametrize("n", [5, 1000])
def test_neighbours_over_the_prior_of_their_own_collection_are_within_the_tolerance(n, votes, widths_km, tolerance):
    photos, over = corpus(4)
    rng = np.random.default_rng(n)
    within(mixture(rng.permutation(photos)[:n], VOTES[votes](n, rng), widths_km=widths_km, over=over), tolerance)


@TOLERANCES
@pytest.mark.parametrize("name", PLACES)
def test_one_neighbour_in_a_crowd_anywhere_is_within_the_tolerance(name, tolerance):
    photos, over = crowd(name)
    within(mixture(photos[0], over=over), tolerance)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([WIDTHS_KM, (60.0,), (300.0, 1000.0)]))
def test_neighbours_over_a_prior_of_any_shape_are_within_the_tolerance(seed, widths_km):
    rng = np.random.default_rng(seed)
    density = mixture(
        anywhere(6, rng), rng.pareto(1.0, 6), widths_km=widths_km, over=Background(random_map(rng, deepest=3))
    )
    within(density, 0.1)


@TOLERANCES
def test_exact_repeats_of_one_geotag_are_within_the_tolerance(tolerance):
    photos, over = corpus(0)
    places = np.concatenate([np.tile(photos[0], (60, 1)), np.tile(photos[1], (30, 1)), photos[2:32]])
    weights = np.random.default_rng(0).random(120)
    within(mixture(places, weights), tolerance)
    within(mixture(places, weights, over=over), tolerance)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_neighbour_alone_in_the_middle_of_an_ocean_is_not_missed(share):
    """All other photos, and the prior with them, lie elsewhere."""
    crowd = around(np.tile(at("Paris"), (50, 1)), 200.0, np.random.default_rng(0))
    over = Background(prior_map(crowd, np.ones(50)))
    places, weights = np.concatenate([crowd, at("Pacific")[None]]), np.append(np.full(50, (1 - share) / 50), share)
    density = mixture(places, weights, widths_km=(25.0,), over=over, prior_share=0.5)
    law = resolve(refine(density, 0.05), over.map)
    mass = float(law.mass[distance_km(law.centres, at("Pacific")) < 100.0].sum())  # 4 widths
    assert mass == pytest.approx(0.49 * share, rel=0.1)


# Its size


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_larger_tolerance_takes_fewer_cells(with_prior):
    photos, over = corpus(3)
    density = mixture(photos[:20], over=over if with_prior else UNIFORM)
    loose, middle, tight = (len(refine(density, tolerance).cells) for tolerance in (0.1, 0.05, 0.02))
    assert loose < middle < tight


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_density_that_is_its_prior_needs_only_the_coarsest_cells(with_prior):
    over = corpus(3)[1] if with_prior else UNIFORM
    relative = refine(nothing(over), 0.02)
    assert relative.order.max() == 0
    share = over.map.mass_within(relative.order, relative.index)
    assert relative.mass == pytest.approx(0.995 * share + 0.005 / 12, rel=1e-9)


def test_a_narrow_kernel_needs_cells_about_it_only():
    relative = refine(mixture(at("Paris"), widths_km=(10.0,)), 0.05)
    small = relative.order >= 8
    assert relative.order.max() <= 12
    assert distance_km(relative.centres[small], at("Paris")).max() < 150.0
