import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MultiOrderMap, area_km2, to_nuniq
from im2gps_spark.posterior.region import Ranking, hpd_area_km2, hpd_level
from im2gps_spark.sphere import SPHERE_AREA_KM2
from tests.posterior.laws import SEEDS, inside, random_map


def base_cells(mass) -> MultiOrderMap:
    return MultiOrderMap(to_nuniq(0, np.arange(12)), np.asarray(mass, float))


def at_order(order, mass) -> MultiOrderMap:
    return MultiOrderMap(to_nuniq(order, np.arange(12 * 4**order)), mass / mass.sum())


# Areas and levels


def test_areas_of_a_law_by_hand():
    """Half the mass in one cell of twelve, three tenths in three, the rest in eight."""
    law = base_cells([0.025] * 8 + [0.1, 0.5, 0.1, 0.1])
    cell = SPHERE_AREA_KM2 / 12
    levels = np.array([0.0, 0.25, 0.5, 0.6, 0.8, 0.9, 1.0])
    assert hpd_area_km2(law, levels) == pytest.approx(cell * np.array([0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 12.0]))


def test_the_ranking_is_by_density_not_by_mass():
    """A quarter cell with less mass than a whole one, but denser."""
    cells = to_nuniq(np.r_[[1] * 4, [0] * 11], np.r_[np.arange(4), np.arange(1, 12)])
    law = MultiOrderMap(cells, np.r_[0.1, 0.02, 0.02, 0.02, 0.3, np.full(10, 0.054)])
    assert float(hpd_area_km2(law, np.array([0.1]))[0]) == pytest.approx(SPHERE_AREA_KM2 / 48)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_no_region_of_that_mass_is_smaller(seed):
    rng = np.random.default_rng(seed)
    law = random_map(rng)
    levels = np.linspace(0.0, 1.0, 21)
    areas = hpd_area_km2(law, levels)
    assert np.all(np.diff(areas) >= -1e-6)
    assert areas[-1] == pytest.approx(SPHERE_AREA_KM2)
    for _ in range(20):
        some = rng.random(len(law.mass)) < rng.random()
        region_area = float(area_km2(law.area_sr[some].sum()))
        assert region_area >= float(hpd_area_km2(law, np.array([law.mass[some].sum()]))[0]) * (1 - 1e-9)


def test_the_uniform_laws_regions_are_shares_of_the_sphere_and_all_levels_one_half():
    uniform = at_order(3, np.ones(12 * 4**3))
    assert hpd_area_km2(uniform, np.array([0.5, 0.9])) == pytest.approx(SPHERE_AREA_KM2 * np.array([0.5, 0.9]))
    points = inside(uniform, 100, np.random.default_rng(0))
    assert hpd_level(uniform, points) == pytest.approx(0.5)


def test_levels_of_a_law_by_hand():
    """What is denser counts whole; the cell itself, and those of its density, by half."""
    law = base_cells([0.025] * 8 + [0.1, 0.5, 0.1, 0.1])
    expected = np.r_[np.full(8, 0.9), 0.65, 0.25, 0.65, 0.65]
    assert hpd_level(law, law.centres) == pytest.approx(expected)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS)
def test_levels_against_brute_force(seed):
    law = random_map(np.random.default_rng(seed))
    points = inside(law, 30, np.random.default_rng(seed))
    here = law.density[law.find(points)][:, None]
    denser = (law.mass * (law.density > here * (1 + 1e-9))).sum(axis=1)
    equal = (law.mass * (np.abs(law.density / here - 1) <= 1e-9)).sum(axis=1)
    assert hpd_level(law, points) == pytest.approx(denser + equal / 2)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_truths_drawn_from_a_law_have_levels_whose_mean_is_one_half(seed):
    law = random_map(np.random.default_rng(seed), splits=100)
    levels = hpd_level(law, inside(law, 4000, np.random.default_rng(seed)))
    assert levels.mean() == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 4000))


# The cells themselves


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0]))
def test_the_densest_cells_are_the_fewest_that_hold_a_mass(seed, level):
    law = random_map(np.random.default_rng(seed))
    ranking = Ranking(law)
    chosen = ranking.densest(level)
    assert np.all(np.diff(chosen) > 0)
    assert law.mass[chosen].sum() >= level * (1 - 1e-9)
    rest = np.setdiff1d(np.arange(len(law.mass)), chosen)
    if len(rest):
        assert law.density[rest].max() <= law.density[chosen].min() * (1 + 1e-9)
    last = chosen[np.argmin(law.density[chosen])]
    assert law.mass[chosen].sum() - law.mass[last] <= level * (1 + 1e-9)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_one_ranking_answers_as_the_functions_do(seed):
    law = random_map(np.random.default_rng(seed))
    points, levels = inside(law, 20, np.random.default_rng(seed)), np.array([0.1, 0.5, 0.9])
    assert np.array_equal(Ranking(law).level(points), hpd_level(law, points))
    assert np.array_equal(Ranking(law).area_km2(levels), hpd_area_km2(law, levels))
