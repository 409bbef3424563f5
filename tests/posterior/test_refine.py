from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import Density, refine
from im2gps_spark.posterior.region import hpd_area_km2
from im2gps_spark.posterior.summary import entropy
from im2gps_spark.sphere import Floats, distance_km, vmf_density
from tests.posterior.laws import (
    PLACES,
    SEEDS,
    WIDTHS_KM,
    anywhere,
    around,
    at,
    collection,
    mixture,
    nothing,
    random_map,
    sample,
    total_variation,
)

TOLERANCES = pytest.mark.parametrize("tolerance", [0.1, 0.05, 0.02])


def over_prior(places, weights=None, prior=None, widths_km=WIDTHS_KM) -> Density:
    return mixture(places, weights, widths_km=widths_km, prior=prior, prior_share=0.5)


def prior_of(photos) -> MultiOrderMap:
    return prior_map(photos, np.ones(len(photos)))


@cache
def corpus(seed: int) -> tuple[Floats, MultiOrderMap]:
    """The photos of a collection, and their prior."""
    photos = collection(seed)
    return photos, prior_of(photos)


def within(density: Density, tolerance: float) -> MultiOrderMap:
    """The density's map, whose error was found to be under the tolerance (and 4 standard errors)."""
    relative = refine(density, tolerance).check()
    error, uncertainty = total_variation(density, relative)
    assert error <= tolerance + 4.0 * uncertainty
    return relative


# The density


def test_a_density_is_the_sum_of_its_parts():
    prior = random_map(np.random.default_rng(0))
    density = mixture(
        np.stack([at("Paris"), at("Pacific")]),
        [3.0, 1.0],
        widths_km=(500.0,),
        prior=prior,
        prior_share=0.3,
        uniform_share=0.2,
    )
    points = sample(density, 500, np.random.default_rng(1))
    kernels = sum(
        w * vmf_density(np.sum((points - at(name)) ** 2, axis=1), (6371.0 / 500.0) ** 2)
        for w, name in ((0.75, "Paris"), (0.25, "Pacific"))
    )
    beyond = 0.5 * kernels + 0.2 / (4 * np.pi)
    assert density.beyond_prior(points) == pytest.approx(beyond, rel=1e-3)
    assert density.at(points) == pytest.approx(beyond + 0.3 * prior.density[prior.find(points)], rel=1e-3)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from(sorted(PLACES)))
def test_a_kernel_on_a_pole_or_on_longitude_180_is_one_elsewhere_turned(seed, name):
    rng = np.random.default_rng(seed)
    places = np.concatenate([at(name)[None], around(np.tile(at(name), (9, 1)), 300.0, rng), anywhere(5, rng)])
    weights = rng.dirichlet(np.ones(15))
    turn = Rotation.random(rng=rng).as_matrix()
    here, there = mixture(places, weights), mixture(places @ turn.T, weights)
    points = sample(here, 500, rng)
    np.testing.assert_allclose(there.at(points @ turn.T), here.at(points), rtol=1e-9)


# Its map


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 10), st.booleans(), st.sampled_from([0.3, 0.1, 0.05]))
def test_a_map_tiles_the_sphere_with_mass_one_and_is_positive_everywhere(seed, n, with_prior, tolerance):
    rng = np.random.default_rng(seed)
    places, weights = anywhere(n, rng), rng.dirichlet(np.ones(n))
    prior = random_map(rng) if with_prior else None
    relative = refine(mixture(places, weights, prior=prior, prior_share=0.3), tolerance)
    assert relative.mass.sum() == pytest.approx(1.0, abs=1e-9)
    assert relative.mass.min() > 0
    assert np.all(np.diff(relative.starts) > 0)
    assert relative.area_sr.sum() == pytest.approx(4 * np.pi)


@TOLERANCES
@pytest.mark.parametrize("width_km", [25.0, 100.0, 400.0, 1500.0])
@pytest.mark.parametrize("name", PLACES)
def test_one_kernel_anywhere_is_within_the_tolerance(name, width_km, tolerance):
    within(mixture(at(name), widths_km=(width_km,)), tolerance)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, st.floats(15.0, 2000.0))
def test_one_kernel_of_any_width_is_within_the_tolerance(seed, width_km):
    within(mixture(anywhere(1, np.random.default_rng(seed)), widths_km=(width_km,)), 0.05)


@TOLERANCES
@pytest.mark.parametrize("widths_km", [WIDTHS_KM, (25.0,), (200.0,)], ids=["recipe", "25 km", "200 km"])
@pytest.mark.parametrize("n", [10, 100])
def test_many_kernels_over_the_uniform_law_are_within_the_tolerance(n, widths_km, tolerance):
    rng = np.random.default_rng(n)
    places = collection(n, 400)[rng.choice(400, n)]
    within(mixture(places, rng.pareto(1.0, n), widths_km=widths_km), tolerance)


@TOLERANCES
@pytest.mark.parametrize("widths_km", [WIDTHS_KM, (25.0,), (200.0,)], ids=["recipe", "25 km", "200 km"])
@pytest.mark.parametrize("n", [1, 10, 100])
def test_kernels_over_the_prior_of_their_own_collection_are_within_the_tolerance(n, widths_km, tolerance):
    photos, prior = corpus(n)
    rng = np.random.default_rng(n)
    within(over_prior(photos[rng.choice(len(photos), n)], rng.pareto(1.0, n), prior, widths_km), tolerance)


@TOLERANCES
@pytest.mark.parametrize("name", PLACES)
def test_one_neighbour_by_the_recipe_in_a_crowd_anywhere_is_within_the_tolerance(name, tolerance):
    rng = np.random.default_rng(1)
    crowd = around(np.tile(at(name), (200, 1)), 300.0, rng)
    within(over_prior(at(name), prior=prior_of(np.concatenate([crowd, anywhere(800, rng)]))), tolerance)


@TOLERANCES
def test_exact_repeats_of_one_geotag_are_within_the_tolerance(tolerance):
    rng = np.random.default_rng(0)
    photos = collection(0)
    places = np.concatenate([np.tile(photos[0], (60, 1)), np.tile(photos[1], (30, 1)), photos[2:32]])
    within(mixture(places, rng.random(120)), tolerance)
    within(over_prior(places, rng.random(120), prior_of(photos)), tolerance)


@pytest.mark.parametrize("tolerance", [0.1, 0.05])
@pytest.mark.parametrize("name", ["north pole", "longitude 180", "a corner of three base cells"])
def test_a_crowd_about_a_seam_of_the_grid_is_within_the_tolerance(name, tolerance):
    rng = np.random.default_rng(1)
    places = around(np.tile(at(name), (50, 1)), 100.0, rng)
    within(mixture(places, rng.random(50), widths_km=(50.0,)), tolerance)


def test_a_tight_tolerance_is_kept_too():
    within(mixture(at("Paris"), widths_km=(1000.0,)), 0.005)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_narrow_kernel_alone_in_the_middle_of_an_ocean_is_not_missed(share):
    """All other photos, and the prior with them, lie elsewhere."""
    crowd = around(np.tile(at("Paris"), (50, 1)), 200.0, np.random.default_rng(0))
    alone = np.concatenate([crowd, at("Pacific")[None]])
    weights = np.append(np.full(50, (1 - share) / 50), share)
    density = over_prior(alone, weights, prior_of(crowd), widths_km=(25.0,))
    law = resolve(refine(density, 0.05), density.prior)
    densest = law.centres[np.argsort(-law.density)]
    close = distance_km(densest, at("Pacific")) < 75.0  # 3 sigma: all but a hundredth of a kernel
    mass = law.mass[np.argsort(-law.density)][close].sum()
    assert mass == pytest.approx(0.495 * share, abs=0.05)
    assert mass > 0.6 * 0.495 * share


# Its size


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_larger_tolerance_takes_fewer_cells(with_prior):
    photos = collection(3)
    prior = prior_of(photos) if with_prior else None
    density = mixture(photos[:20], prior=prior, prior_share=0.5)
    loose, middle, tight = (len(refine(density, tolerance).cells) for tolerance in (0.1, 0.05, 0.02))
    assert loose < middle < tight


@pytest.mark.parametrize("with_prior", [False, True])
def test_a_density_that_is_its_prior_needs_only_the_coarsest_cells(with_prior):
    photos = collection(3)
    density = nothing(prior_of(photos) if with_prior else None)
    relative = within(density, 0.02)
    assert relative.order.max() <= 1
    share = density.prior.mass_within(relative.order, relative.index)
    assert relative.mass == pytest.approx(0.995 * share + 0.005 * relative.area_sr / (4 * np.pi), rel=1e-9)


def test_no_cell_is_finer_than_asked_for():
    density = mixture(at("Paris"), widths_km=(10.0,))
    assert refine(density, 0.05, finest_order=7).order.max() == 7
    assert 8 <= within(density, 0.1).order.max() <= 12


# What must not change it


def apart(a: MultiOrderMap, b: MultiOrderMap, points) -> float:
    """Total variation of two laws, by samples of the first."""
    return float(np.mean(np.maximum(0.0, 1.0 - b.density[b.find(points)] / a.density[a.find(points)])))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_neighbours_and_how_repeats_are_written_do_not_change_the_map(seed):
    rng = np.random.default_rng(seed)
    places, weights = anywhere(20, rng), rng.dirichlet(np.ones(20))
    rank = rng.permutation(20)
    density = mixture(places, weights)
    expected, points = refine(density, 0.05), sample(density, 5000, rng)
    # A tie may fall the other way by rounding, and split one cell or another: far less than the tolerance.
    assert apart(expected, refine(mixture(places[rank], weights[rank]), 0.05), points) < 1e-3
    twice = mixture(
        np.concatenate([places, places[:5]]), np.append(np.r_[weights[:5] / 2, weights[5:]], weights[:5] / 2)
    )
    assert apart(expected, refine(twice, 0.05), points) < 1e-3


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from(sorted(PLACES)))
def test_a_turned_density_has_the_same_entropy_and_areas_up_to_the_grids_cells(seed, name):
    rng = np.random.default_rng(seed)
    crowd = np.concatenate([at(name)[None], around(np.tile(at(name), (4, 1)), 600.0, rng)])
    weights = rng.dirichlet(np.ones(5))
    turn = Rotation.random(rng=rng).as_matrix()
    laws = [refine(mixture(p, weights, widths_km=(150.0, 500.0)), 0.02) for p in (crowd, crowd @ turn.T)]
    assert entropy(laws[0]) == pytest.approx(entropy(laws[1]), abs=0.01)
    here, there = (hpd_area_km2(law, np.array([0.5, 0.8, 0.9])) for law in laws)
    np.testing.assert_allclose(there, here, rtol=0.03)
