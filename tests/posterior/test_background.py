import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, cell_centres, cell_side_radians, cells_at, neighbours
from im2gps_spark.posterior.background import BLOCK, BLOCK_ORDERS, Background, grid_order, rings
from im2gps_spark.posterior.curve import TOP_ORDER
from im2gps_spark.posterior.refine import refine
from im2gps_spark.posterior.summary import summarise
from im2gps_spark.sphere import EARTH_RADIUS_KM, distance_km
from tests.posterior.laws import PLACES, SEEDS, anywhere, around, at, collection, corpus, mixture, random_map

WIDTHS = [5.0, 6.0, 25.0, 48.0, 100.0, 400.0, 700.0, 1600.0, 10_000.0]


def blocks_about(width_km, places):
    """The blocks that a width's kernels about places are evaluated on."""
    shift = 2 * (MAX_ORDER - grid_order(width_km) + BLOCK_ORDERS)
    return cells_at(MAX_ORDER, places) >> shift


# The prior


@pytest.mark.parametrize("mass", [[0.1] * 10 + [0.0, 0.0], [0.1] * 12, [np.nextafter(0, 1)] + [0.05] * 11])
def test_a_prior_without_mass_somewhere_or_of_another_mass_than_one_is_refused(mass):
    with pytest.raises(ValueError, match=r"positive everywhere|not 1"):
        Background(MultiOrderMap(MultiOrderMap.uniform().cells, np.array(mass)))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS)
def test_the_pyramid_holds_the_masses_of_all_coarse_cells(seed):
    rng = np.random.default_rng(seed)
    background = Background(random_map(rng, 200, deepest=12))
    for order in range(TOP_ORDER + 1):
        first = 4 * (4**order - 1)
        cells = rng.integers(0, 12 * 4**order, 50)
        np.testing.assert_allclose(
            background.pyramid[first + cells], background.map.mass_within(order, cells), rtol=1e-9, atol=1e-15
        )
    assert len(background.pyramid) == 4 * (4 ** (TOP_ORDER + 1) - 1)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS)
def test_each_coarse_cell_knows_the_map_cell_that_holds_its_first_point(seed):
    background = Background(random_map(np.random.default_rng(seed), 200, deepest=12))
    start = np.arange(12 * 4**TOP_ORDER) << (2 * (MAX_ORDER - TOP_ORDER))
    here = background.first_of
    assert np.all(background.map.starts[here] <= start)
    assert np.all(np.append(background.map.starts, 2**62)[here + 1] > start)


# Blocks


@pytest.mark.parametrize("width_km", WIDTHS)
def test_cells_are_a_quarter_to_half_of_a_width_and_no_coarser_than_order_three(width_km):
    order = grid_order(width_km)
    side = float(cell_side_radians(order)) * EARTH_RADIUS_KM
    assert side <= 0.52 * width_km
    assert order == BLOCK_ORDERS or side > 0.25 * width_km


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from(WIDTHS), st.sampled_from([None, *PLACES]))
def test_blocks_about_a_place_hold_all_that_lies_within_two_and_a_half_widths(seed, width_km, name):
    rng = np.random.default_rng(seed)
    place = anywhere(1, rng) if name is None else at(name)[None]
    level = Background(MultiOrderMap.uniform()).level(width_km)
    slot = level.ensure(blocks_about(width_km, place))
    held = level.block[level.around[slot[0]][level.around[slot[0]] >= 0]]
    points = around(np.repeat(place, 2000, axis=0), width_km, rng)
    near = points[distance_km(points, place) < 2.5 * width_km]
    assert np.isin(blocks_about(width_km, near), held).all()
    assert len(np.unique(held)) == len(held)


@pytest.mark.parametrize("width_km", WIDTHS)
def test_blocks_hold_the_priors_masses_and_the_centres_of_its_cells(width_km):
    rng = np.random.default_rng(0)
    background = Background(random_map(rng, 300, deepest=14))
    level = background.level(width_km)
    blocks = np.unique(blocks_about(width_km, anywhere(20, rng)))
    slots = level.ensure(blocks)
    cells = blocks[:, None] * BLOCK + np.arange(BLOCK)
    assert np.array_equal(level.block[slots], blocks)
    np.testing.assert_allclose(level.mass[slots], background.map.mass_within(level.order, cells), rtol=1e-6)
    centres = level.centres[slots].swapaxes(1, 2)
    assert distance_km(centres, cell_centres(level.order, cells)).max() < 1e-3  # float32: half a metre


@pytest.mark.parametrize("width_km", [25.0, 100.0, 800.0])
def test_one_ring_is_a_block_and_those_that_touch_it(width_km):
    level = Background(MultiOrderMap.uniform()).level(width_km)
    assert rings(width_km) == 1
    blocks = np.unique(blocks_about(width_km, np.stack([at(name) for name in PLACES])))
    for block, slot in zip(blocks, level.ensure(blocks), strict=True):
        beside = neighbours(level.order - BLOCK_ORDERS, block[None])[0]
        found = level.around[slot]
        assert sorted(level.block[found[found >= 0]]) == sorted([block, *beside[beside >= 0]])


@pytest.mark.parametrize("width_km", [6.0, 45.0, 700.0])
def test_two_rings_are_those_that_touch_the_first_too(width_km):
    level = Background(MultiOrderMap.uniform()).level(width_km)
    assert rings(width_km) == 2
    blocks = np.unique(blocks_about(width_km, np.stack([at(name) for name in PLACES])))
    for block, slot in zip(blocks, level.ensure(blocks), strict=True):
        order = level.order - BLOCK_ORDERS
        first = neighbours(order, block[None]).ravel()
        second = neighbours(order, first[first >= 0]).ravel()
        found = level.around[slot]
        assert set(level.block[found[found >= 0]]) == {block, *first, *second} - {-1}


# Memory


def test_blocks_are_made_once_however_they_are_asked_for():
    level = Background(MultiOrderMap.uniform()).level(100.0)
    blocks = blocks_about(100.0, collection(0, 50))
    slots = level.ensure(blocks)
    made = level.count
    assert np.array_equal(level.ensure(blocks), slots)
    assert np.array_equal(level.ensure(blocks[::-1]), slots[::-1])
    assert level.count == made == len(np.unique(level.block[: level.count]))
    # Those that lie about the first are there, but nothing is known of what lies about them until they are asked for.
    level.ensure(level.block[:made].copy())
    assert level.count > made


def test_a_second_photo_of_the_same_places_makes_no_new_block_and_takes_no_new_memory():
    photos, prior = corpus(0)[0], corpus(0)[1].map
    over = Background(prior)
    rng = np.random.default_rng(0)
    weights = rng.random(200)
    summarise(mixture(photos[:200], weights, over=over), 0.05)
    counts = {key: level.count for key, level in over._levels.items()}
    work = over.room_for(0)
    for _ in range(3):
        rank = rng.permutation(200)
        refine(mixture(photos[rank], weights[rank], over=over), 0.05)
        assert {key: level.count for key, level in over._levels.items()} == counts
        assert over.room_for(0) is work


def test_memory_is_bounded_by_the_corpus_places_not_by_the_number_of_photos():
    """Neighbours are photos of the corpus: once all their blocks are made, there is no other."""
    photos = corpus(0)[0]
    over = Background(corpus(0)[1].map)
    mixture(photos, over=over).at(photos[:1])
    bound = sum(level.count for level in over._levels.values())
    rng = np.random.default_rng(1)
    for _ in range(30):
        refine(mixture(photos[rng.choice(len(photos), 50)], over=over), 0.05)
    assert sum(level.count for level in over._levels.values()) == bound
    assert len(over.room_for(0).mass) <= 2 * bound
    over.forget()
    assert not over._levels


def test_room_grows_and_keeps_what_is_in_it():
    background = Background(MultiOrderMap.uniform())
    few = background.room_for(3)
    few.mass[:] = np.arange(3)[:, None]
    many = background.room_for(100)
    assert len(many.mass) >= 100
    assert np.array_equal(many.mass[:3], few.mass)
    assert background.room_for(50) is many
