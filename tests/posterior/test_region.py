import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, area_km2, cells_at, neighbours, to_nuniq
from im2gps_spark.posterior import region
from im2gps_spark.posterior.refine import refine
from im2gps_spark.posterior.region import Ranking, hpd_area_km2, hpd_level, pooled
from im2gps_spark.sphere import EARTH_RADIUS_KM, SPHERE_AREA_KM2, concentration, distance_km, unit_vectors
from tests.posterior.laws import PLACES, SEEDS, at, inside, mixture, random_map, sample


def connected_parts(law, level=0.8, most=10):
    return region.connected_parts(Ranking(law), level, most)


def base_cells(mass) -> MultiOrderMap:
    return MultiOrderMap(to_nuniq(0, np.arange(12)), np.asarray(mass, float))


def at_order(order, mass) -> MultiOrderMap:
    return MultiOrderMap(to_nuniq(order, np.arange(12 * 4**order)), mass / mass.sum())


def cap_radius_km(mass, width_km):
    """Within which of its centre a vMF law has a mass: 1 - cos r = -ln(1 - mass) / kappa, nearly."""
    return EARTH_RADIUS_KM * np.arccos(1.0 + np.log(1.0 - mass) / concentration(width_km))


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


# Connected parts


def components_by_brute_force(law: MultiOrderMap, level: float, order: int) -> list[float]:
    """Masses of the parts, on cells of one fine order."""
    rank = np.argsort(-law.density, kind="stable")
    chosen = np.zeros(len(law.mass), bool)
    chosen[rank[: int(np.searchsorted(np.cumsum(law.mass[rank]), level)) + 1]] = True
    index = np.arange(12 * 4**order)
    holder = np.searchsorted(law.starts, index << (2 * (MAX_ORDER - order)), side="right") - 1
    on = chosen[holder]
    beside = neighbours(order, index)
    linked = on[:, None] & (beside >= 0) & on[beside]
    source, slot = np.nonzero(linked)
    graph = coo_array((np.ones(len(source)), (source, beside[source, slot])), shape=(len(index),) * 2)
    label = connected_components(graph, directed=False)[1]
    share = law.mass[holder] / 4.0 ** (order - law.order[holder])
    mass = np.bincount(label[on], weights=share[on])
    return sorted(mass[mass > 0].tolist(), reverse=True)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 120), st.sampled_from([0.1, 0.3, 0.5, 0.8]))
def test_parts_are_the_connected_ones(seed, splits, level):
    law = random_map(np.random.default_rng(seed), splits, deepest=4)
    parts = connected_parts(law, level, most=1000)
    assert [p.mass for p in parts] == pytest.approx(components_by_brute_force(law, level, 4))
    assert sum(p.mass for p in parts) >= level * (1 - 1e-9)
    assert sum(p.area_km2 for p in parts) >= float(hpd_area_km2(law, np.array([level]))[0]) * (1 - 1e-9)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("width_km", [60.0, 900.0])
def test_one_kernel_is_one_part_of_known_size_wherever_it_lies(name, width_km):
    """A kernel cut by a seam of the grid would fall in two."""
    relative = refine(mixture(at(name), widths_km=(width_km,), uniform_share=1e-4), 0.02)
    (part,) = connected_parts(relative)
    assert part.mass == pytest.approx(0.8, abs=0.01)
    radius = cap_radius_km(0.8, width_km)
    area = 2 * np.pi * EARTH_RADIUS_KM**2 * (1 - np.cos(radius / EARTH_RADIUS_KM))
    assert part.area_km2 == pytest.approx(area, rel=0.05)
    assert part.radius_km == pytest.approx(cap_radius_km(0.72, width_km), rel=0.15)
    assert float(distance_km(part.peak, at(name))) < 0.35 * width_km


def test_parts_come_by_mass_and_no_more_than_asked_for():
    places = unit_vectors([0.0, 40.0, -40.0], [0.0, 90.0, 180.0])
    law = refine(mixture(places, [0.2, 0.5, 0.3], widths_km=(100.0,), uniform_share=1e-4), 0.02)
    parts = connected_parts(law, 0.9)
    assert [float(distance_km(places, p.peak).argmin()) for p in parts] == [1, 2, 0]
    assert [p.mass for p in parts] == pytest.approx([0.5, 0.3, 0.2], abs=0.06)
    assert len(connected_parts(law, 0.9, most=2)) == 2


def test_a_region_across_longitude_180_and_one_over_the_pole_are_not_cut():
    for latitude, longitude in (([-17.0, -17.0], [179.0, -179.0]), ([89.0, 89.0], [0.0, 180.0])):
        law = refine(mixture(unit_vectors(latitude, longitude), widths_km=(200.0,), uniform_share=1e-4), 0.02)
        assert len(connected_parts(law)) == 1


def test_the_whole_sphere_is_one_part():
    (part,) = connected_parts(MultiOrderMap.uniform(), 1.0)
    assert part.mass == pytest.approx(1.0)
    assert part.area_km2 == pytest.approx(SPHERE_AREA_KM2)


def test_a_part_of_one_cell_has_the_cells_own_radius():
    mass = np.full(12 * 4**5, 1e-9)
    mass[777] = 1.0
    (part,) = connected_parts(at_order(5, mass), 0.5)
    assert part.radius_km == pytest.approx(np.sqrt(part.area_km2 / np.pi))
    assert int(cells_at(5, part.peak[None])[0]) == 777


# Pooling


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 5))
def test_pooling_keeps_the_mass_and_the_mean(seed, order):
    law = random_map(np.random.default_rng(seed), 80)
    points, mass = pooled(law, order)
    assert mass.sum() == pytest.approx(1.0)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0)
    assert len(points) <= 12 * 4**order
    coarse = cells_at(order, law.centres)
    for cell in np.unique(coarse)[:5]:
        held = coarse == cell
        mean = law.mass[held] @ law.centres[held]
        nearest = distance_km(points, mean / np.linalg.norm(mean)).argmin()
        assert mass[nearest] == pytest.approx(law.mass[held].sum())


def test_pooling_leaves_out_what_has_no_mass():
    law = base_cells(np.r_[np.zeros(6), np.full(6, 1 / 6)])
    points, mass = pooled(law, 2)
    assert len(points) == len(mass) == 6


# The samples that these tests draw


def test_samples_of_a_kernel_have_its_radii():
    kernel = mixture(at("Paris"), widths_km=(300.0,), uniform_share=0.0)
    points = sample(kernel, 20_000, np.random.default_rng(0))
    far = distance_km(points, at("Paris"))
    for mass in (0.5, 0.9):
        assert float(np.mean(far < cap_radius_km(mass, 300.0))) == pytest.approx(mass, abs=0.01)
