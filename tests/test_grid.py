import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import (
    CURVE_LENGTH,
    MAX_ORDER,
    MultiOrderMap,
    area_km2,
    cell_area_sr,
    cell_centres,
    cell_side_radians,
    cells_at,
    cells_from_coordinates,
    first_point,
    from_nuniq,
    neighbours,
    resolve,
    to_nuniq,
)
from im2gps_spark.sphere import SPHERE_AREA_KM2, distance_km, unit_vectors
from tests.posterior.laws import SEEDS, anywhere, inside, random_map, spread_out

ORDERS = np.arange(MAX_ORDER + 1)
EVERY_ORDER = pytest.mark.parametrize("order", ORDERS.tolist())


# Cells


@EVERY_ORDER
def test_cell_numbers_come_back(order):
    last = 12 * 4**order - 1
    index = np.unique(np.r_[0, 1, last // 2, last - 1, last, np.random.default_rng(order).integers(0, last, 50)])
    orders, indices = from_nuniq(to_nuniq(order, index))
    assert np.array_equal(orders, np.full(len(index), order))
    assert np.array_equal(indices, index)


def test_cell_numbers_of_all_orders_at_once_come_back():
    """The first and the last of an order lie next to the orders beside it: 4 * 4^29 is far past 2^53."""
    orders = np.concatenate([ORDERS, ORDERS])
    indices = np.concatenate([np.zeros(30, np.int64), 12 * 4**ORDERS - 1])
    back = from_nuniq(to_nuniq(orders, indices))
    assert np.array_equal(back[0], orders)
    assert np.array_equal(back[1], indices)


@pytest.mark.parametrize("wrong", [0, 3, -1, -17, 16 * 4**29, 2**63 - 1, -(2**63)])
def test_what_is_no_cell_number_is_refused(wrong):
    with pytest.raises(ValueError, match="NUNIQ"):
        from_nuniq([16, wrong, 17])


@EVERY_ORDER
def test_children_are_the_quarters_of_their_cell_on_the_curve(order):
    if order == MAX_ORDER:
        assert first_point(order, 12 * 4**order - 1) == CURVE_LENGTH - 1
        return
    index = np.random.default_rng(order).integers(0, 12 * 4**order, 20)
    quarter = 4 ** (MAX_ORDER - order - 1)
    for child in range(4):
        assert np.array_equal(first_point(order + 1, 4 * index + child), first_point(order, index) + child * quarter)


@EVERY_ORDER
def test_a_cell_holds_its_centre(order):
    index = np.random.default_rng(order).integers(0, 12 * 4**order, 200)
    assert np.array_equal(cells_at(order, cell_centres(order, index)), index)


def test_centres_of_cells_of_many_orders():
    index = 11 * 4**ORDERS
    centres = cell_centres(ORDERS, index)
    assert np.linalg.norm(centres, axis=1) == pytest.approx(1.0)
    for order in ORDERS:
        assert centres[order] == pytest.approx(cell_centres(order, index[order : order + 1])[0])


def test_no_cells_and_no_points_are_fine():
    assert cell_centres(5, []).shape == (0, 3)
    assert cells_at(5, np.zeros((0, 3))).shape == (0,)
    assert neighbours(5, []).shape == (0, 8)


@EVERY_ORDER
def test_cells_of_an_order_share_the_sphere(order):
    assert float(cell_area_sr(order)) * 12 * 4**order == pytest.approx(4 * np.pi)
    assert float(cell_side_radians(order)) ** 2 == pytest.approx(float(cell_area_sr(order)))


def test_areas_on_the_ground():
    assert float(area_km2(4 * np.pi)) == pytest.approx(SPHERE_AREA_KM2)
    assert float(area_km2(cell_area_sr(6))) == pytest.approx(10_377, rel=1e-4)
    assert float(area_km2(cell_area_sr(8))) == pytest.approx(648.6, rel=1e-4)


def test_cells_from_coordinates_are_those_of_the_vectors():
    latitude, longitude = np.array([48.85, -17.0]), np.array([2.35, 180.0])
    expected = cells_at(9, unit_vectors(latitude, longitude))
    assert np.array_equal(cells_from_coordinates(9, latitude, longitude), expected)
    with pytest.raises(ValueError, match="longitude"):
        cells_from_coordinates(9, 0.0, 181.0)


@pytest.mark.parametrize("order", [0, 1, 5, 12, 29])
def test_neighbours_touch_and_are_mutual(order):
    index = np.random.default_rng(order).integers(0, 12 * 4**order, 30)
    beside = neighbours(order, index)
    assert beside.shape == (30, 8)
    side = float(cell_side_radians(order))
    for cell, row in zip(index, beside, strict=True):
        near = row[row >= 0]
        assert 6 <= len(near) <= 8
        assert len(set(near.tolist())) == len(near)
        apart = np.linalg.norm(cell_centres(order, near) - cell_centres(order, [cell]), axis=1)
        assert np.all(apart < 3.0 * side)
        assert np.all((neighbours(order, near) == cell).any(axis=1))


# Maps


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 80), st.integers(1, MAX_ORDER))
def test_a_map_tiles_the_sphere(seed, splits, deepest):
    law = random_map(np.random.default_rng(seed), splits, deepest)
    assert law.mass.sum() == pytest.approx(1.0, abs=1e-12)
    assert law.area_sr.sum() == pytest.approx(4 * np.pi)
    assert np.all(np.diff(law.starts) > 0)
    assert law.check() is law
    points = anywhere(200, np.random.default_rng(seed))
    found = law.find(points)
    holds = [int(cells_at(int(law.order[i]), p[None])[0]) for i, p in zip(found, points, strict=True)]
    assert holds == law.index[found].tolist()


@settings(max_examples=50, deadline=None, derandomize=True)
@given(SEEDS, st.data())
def test_a_missing_a_repeated_and_a_nested_cell_are_refused(seed, data):
    law = random_map(np.random.default_rng(seed), splits=10)
    one = data.draw(st.integers(0, len(law.cells) - 1))
    gap = np.delete(law.cells, one)
    twice = np.insert(law.cells, one, law.cells[one])
    child = np.insert(law.cells, one + 1, to_nuniq(law.order[one] + 1, 4 * law.index[one]))
    for cells in (gap, twice, child):
        with pytest.raises(ValueError, match="cover the sphere"):
            MultiOrderMap(cells, np.full(len(cells), 1.0 / len(cells)))
        with pytest.raises(ValueError, match="cover the sphere"):
            MultiOrderMap.from_cells(cells, np.full(len(cells), 1.0 / len(cells)))


def test_cells_out_of_order_are_refused_and_sorted_on_demand():
    law = random_map(np.random.default_rng(7))
    rank = np.random.default_rng(8).permutation(len(law.cells))
    with pytest.raises(ValueError, match="sorted"):
        MultiOrderMap(law.cells[rank], law.mass[rank])
    again = MultiOrderMap.from_cells(law.cells[rank], law.mass[rank])
    assert np.array_equal(again.cells, law.cells)
    assert np.array_equal(again.mass, law.mass)


@pytest.mark.parametrize("wrong", [-1e-9, np.nan, np.inf])
def test_a_mass_that_is_none_is_refused(wrong):
    mass = np.full(12, 1 / 12)
    mass[4] = wrong
    with pytest.raises(ValueError, match="finite and not negative"):
        MultiOrderMap(to_nuniq(0, np.arange(12)), mass)


def test_a_map_of_nothing_and_one_of_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="cover the sphere"):
        MultiOrderMap(np.zeros(0, np.int64), np.zeros(0))
    with pytest.raises(ValueError, match="one mass"):
        MultiOrderMap(to_nuniq(0, np.arange(12)), np.full(11, 1 / 11))
    with pytest.raises(ValueError, match="NUNIQ"):
        MultiOrderMap(np.arange(3, 15), np.full(12, 1 / 12))


@pytest.mark.parametrize(("total", "good"), [(1 + 5e-7, True), (1 + 5e-6, False), (1 - 5e-6, False), (0.0, False)])
def test_a_map_whose_mass_is_not_one_is_found_out(total, good):
    law = MultiOrderMap(to_nuniq(0, np.arange(12)), np.full(12, total / 12))
    if good:
        assert law.check() is law
    else:
        with pytest.raises(ValueError, match="not 1"):
            law.check()


def test_the_uniform_map():
    uniform = MultiOrderMap.uniform().check()
    assert uniform.density == pytest.approx(1 / (4 * np.pi))
    assert np.array_equal(uniform.cells, np.arange(4, 16))


def test_a_map_knows_its_densities_centres_and_running_sum():
    law = random_map(np.random.default_rng(3))
    assert law.density * law.area_sr == pytest.approx(law.mass)
    assert np.array_equal(law.find(law.centres), np.arange(len(law.cells)))
    first = cell_centres(MAX_ORDER, law.starts)
    assert np.array_equal(law.find(first), np.arange(len(law.cells)))
    assert law.centres_of(np.array([5, 2])) == pytest.approx(law.centres[[5, 2]])
    assert law.cumulative[0] == 0.0
    assert np.diff(law.cumulative) == pytest.approx(law.mass)


# Looking up


@pytest.mark.parametrize("order", [0, 3, 11, 29])
def test_longitude_180_and_minus_180_are_one_place(order):
    latitude = np.linspace(-90.0, 90.0, 1001)
    east, west = (cells_from_coordinates(order, latitude, np.full(1001, s)) for s in (180.0, -180.0))
    assert np.array_equal(east, west)


@pytest.mark.parametrize("pole", [90.0, -90.0])
@pytest.mark.parametrize("order", [0, 6, 29])
def test_a_pole_lies_in_one_of_the_four_cells_that_meet_there(pole, order):
    index = np.arange(4) * 4**order + (4**order - 1 if pole > 0 else 8 * 4**order)
    longitude = np.linspace(-180.0, 180.0, 25)
    assert set(cells_from_coordinates(order, np.full(25, pole), longitude)) <= set(index.tolist())
    assert int(cells_at(order, np.array([[0.0, 0.0, np.sign(pole)]]))[0]) in index
    apart = distance_km(cell_centres(order, index), unit_vectors(pole, 0.0))
    assert apart == pytest.approx(apart[0], rel=1e-6, abs=1e-6)


def test_a_map_finds_longitude_180_from_both_sides_in_one_cell():
    law = random_map(np.random.default_rng(4), splits=200)
    latitude = np.linspace(-90.0, 90.0, 501)
    east, west = (law.find(unit_vectors(latitude, np.full(501, s))) for s in (180.0, -180.0))
    assert np.array_equal(east, west)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 60))
def test_mass_within_cells_finer_and_coarser(seed, splits):
    law = random_map(np.random.default_rng(seed), splits, deepest=4)
    fine = spread_out(law, 5)
    for order in range(6):
        index = np.arange(12 * 4**order)
        expected = fine.reshape(len(index), -1).sum(axis=1)
        np.testing.assert_allclose(law.mass_within(order, index), expected, rtol=1e-9, atol=1e-15)


def test_mass_within_cells_of_many_orders_at_once():
    law = random_map(np.random.default_rng(1))
    assert law.mass_within(law.order, law.index) == pytest.approx(law.mass, rel=1e-12)
    orders = np.array([0, 2, 29])
    one_by_one = [float(law.mass_within(order, index)) for order, index in zip(orders, 3 * 4**orders, strict=True)]
    assert law.mass_within(orders, 3 * 4**orders) == pytest.approx(one_by_one)


def test_a_small_mass_between_great_ones_is_exact():
    mass = np.array([0.5, 1e-20] + [0.05] * 10)
    law = MultiOrderMap(to_nuniq(0, np.arange(12)), mass)
    assert float(law.mass_within(0, 1)) == pytest.approx(1e-20, rel=1e-12)
    assert float(law.mass_within(3, 70)) == pytest.approx(1e-20 / 64, rel=1e-12)


# The contract of ``posteriors.map``


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 60), st.integers(0, 60))
def test_within_a_cell_the_density_follows_the_prior(seed, relative_splits, prior_splits):
    rng = np.random.default_rng(seed)
    relative, prior = random_map(rng, relative_splits), random_map(rng, prior_splits)
    law = resolve(relative, prior).check()
    assert law.mass_within(relative.order, relative.index) == pytest.approx(relative.mass, rel=1e-9)

    fine = spread_out(prior, 6)
    points = anywhere(100, rng)
    cell = relative.find(points)
    shares = [
        fine[i * 4 ** (6 - o) : (i + 1) * 4 ** (6 - o)].sum()
        for o, i in zip(relative.order[cell], relative.index[cell], strict=True)
    ]
    expected = relative.mass[cell] / shares * prior.density[prior.find(points)]
    assert law.density[law.find(points)] == pytest.approx(expected, rel=1e-9)


def test_the_uniform_prior_changes_nothing_and_a_coarse_map_of_the_prior_is_the_prior():
    prior = random_map(np.random.default_rng(2))
    points = inside(prior, 500, np.random.default_rng(3))
    expected = prior.density[prior.find(points)]
    over_uniform = resolve(prior, MultiOrderMap.uniform())
    assert np.array_equal(over_uniform.cells, prior.cells)
    assert over_uniform.mass == pytest.approx(prior.mass, rel=1e-12)
    coarse = MultiOrderMap(to_nuniq(0, np.arange(12)), prior.mass_within(0, np.arange(12)))
    law = resolve(coarse, prior)
    assert law.density[law.find(points)] == pytest.approx(expected, rel=1e-12)


def test_a_prior_of_zero_is_refused_only_where_there_is_mass():
    half = MultiOrderMap(to_nuniq(0, np.arange(12)), np.r_[np.zeros(6), np.full(6, 1 / 6)])
    other = MultiOrderMap(to_nuniq(0, np.arange(12)), np.r_[np.full(6, 1 / 6), np.zeros(6)])
    assert resolve(half, half).mass == pytest.approx(half.mass)
    with pytest.raises(ValueError, match="prior map is zero"):
        resolve(other, half)
