import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import CURVE_LENGTH, MAX_ORDER, MultiOrderMap, cell_centres, cells_at, first_point
from im2gps_spark.posterior.background import Background, grid_order
from im2gps_spark.posterior.cut import WHOLE, Cells, cut
from im2gps_spark.posterior.refine import merge
from im2gps_spark.posterior.windows import spread
from tests.posterior.laws import PLACES, SEEDS, UNIFORM, WIDTHS_KM, anywhere, at, mixture, random_map

NEGLIGIBLE = 1e-5


def cells_of(places, votes, over, *, prior_share=0.02, uniform_share=0.01, roots=WHOLE, negligible=NEGLIGIBLE) -> Cells:
    curve = cells_at(MAX_ORDER, places)
    rank = np.argsort(curve)
    layers = spread(over, curve[rank], places[rank], votes[rank], np.array(WIDTHS_KM))
    return cut(layers, over, prior_share, uniform_share, negligible, roots)


def some(seed, n=8, with_prior=True):
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng, 100)) if with_prior else UNIFORM
    places = np.concatenate([anywhere(n, rng), [at(name) for name in PLACES]])
    votes = rng.dirichlet(np.ones(len(places)))[:, None] * rng.dirichlet(np.ones(4), len(places)) * 0.97
    return places, votes, over


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.booleans(), st.sampled_from([1e-3, 1e-5]))
def test_cells_tile_the_sphere_and_hold_all_the_mass(seed, with_prior, negligible):
    places, votes, over = some(seed, with_prior=with_prior)
    cells = cells_of(places, votes, over, negligible=negligible)
    start = first_point(cells.order, cells.index)
    end = start + (np.int64(1) << (2 * (MAX_ORDER - cells.order)))
    assert start[0] == 0
    assert end[-1] == CURVE_LENGTH
    assert np.array_equal(end[:-1], start[1:])
    assert cells.mass.min() > 0
    # By the slope of the logarithm, the four parts of the finest cells come to 2 % more than those, as a rule.
    assert cells.mass.sum() == pytest.approx(1.0, abs=0.03)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_the_priors_masses_are_right_at_every_order(seed):
    """Above and below the pyramid, in cells finer and coarser than the prior's own."""
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng, 300, deepest=13))
    places = over.map.centres[rng.choice(len(over.map.cells), 5)]
    cells = cells_of(places, np.full((5, 4), 0.97 / 20), over)
    assert cells.order.max() > 9
    np.testing.assert_allclose(cells.prior, over.map.mass_within(cells.order, cells.index), rtol=1e-9)
    assert cells.prior.sum() == pytest.approx(1.0, abs=1e-9)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.booleans())
def test_each_cell_has_the_mass_of_the_density(seed, with_prior):
    """Where it is fine enough for its centre to stand for it: within 2 %, and never farther off than by a quarter."""
    places, votes, over = some(seed, with_prior=with_prior)
    cells = cells_of(places, votes, over)
    density = mixture(places, over=over)
    exact = type(density)(places, votes, np.array(WIDTHS_KM), over, 0.02, 0.01)
    fine = np.flatnonzero(cells.order >= 5)
    fine = fine[np.random.default_rng(seed).choice(len(fine), 300)]
    centres = cell_centres(cells.order[fine], cells.index[fine])
    area = np.pi / 3.0 / 4.0 ** cells.order[fine]
    expected = cells.prior[fine] * exact.ratio(centres) + 0.01 / (4 * np.pi) * area
    off = cells.mass[fine] / expected - 1.0
    weight = cells.mass[fine] / cells.mass[fine].sum()
    assert abs(float(weight @ off)) < 0.02
    assert float(weight @ np.abs(off)) < 0.05


def test_cells_are_as_fine_as_the_windows_in_them_and_no_finer():
    place = at("Paris")[None]
    for width, column in zip(WIDTHS_KM, np.eye(4), strict=True):
        cells = cells_of(place, 0.97 * column[None], UNIFORM)
        assert cells.order.max() == grid_order(width) + 1
        here = (first_point(cells.order, cells.index) <= cells_at(MAX_ORDER, place)).sum() - 1
        assert cells.order[here] == grid_order(width) + 1


def test_without_windows_the_roots_are_all():
    over = Background(random_map(np.random.default_rng(0)))
    cells = cut([], over, 0.9, 0.1, NEGLIGIBLE)
    assert np.array_equal(cells.order, np.zeros(12))
    np.testing.assert_allclose(cells.prior, over.map.mass_within(*WHOLE), rtol=1e-12)
    np.testing.assert_allclose(cells.mass, 0.9 * cells.prior + 0.1 / 12, rtol=1e-12)
    # The uniform part is made to follow the prior too, and that is counted.
    law = over.map
    follows = law.mass / cells.prior[law.index >> (2 * law.order)] / 12
    even = 4.0**-law.order / 12
    assert cells.unseen == pytest.approx(0.1 * np.maximum(even - follows, 0.0).sum(), rel=1e-9)
    assert cells.lost == 0.0


@settings(max_examples=10, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 3))
def test_a_part_of_the_sphere_is_cut_as_it_is_in_the_whole(seed, order):
    places, votes, over = some(seed)
    whole = cells_of(places, votes, over)
    root = np.array([order]), cells_at(order, places[:1])
    part = cells_of(places, votes, over, roots=root)
    begin = int(root[1][0]) << (2 * (MAX_ORDER - order))
    end = (int(root[1][0]) + 1) << (2 * (MAX_ORDER - order))
    start = first_point(whole.order, whole.index)
    mine = (start >= begin) & (start < end) & (whole.order >= order)
    assert np.array_equal(part.order, whole.order[mine])
    assert np.array_equal(part.index, whole.index[mine])
    np.testing.assert_allclose(part.mass, whole.mass[mine], rtol=0.05)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS)
def test_what_is_not_looked_into_is_counted(seed):
    """It falls to nothing where nothing is negligible, and is at most the mass that was not looked into."""
    places, votes, over = some(seed)
    lost = [cells_of(places, votes, over, negligible=n).lost for n in (1e-2, 1e-3, 1e-4, 0.0)]
    assert lost[0] > lost[1] > lost[2] > 0.0
    assert lost[-1] < 1e-5
    assert lost[0] < 0.97


# Merging


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([0.2, 0.05, 0.01]))
def test_merged_cells_misplace_no_more_than_the_target_and_keep_the_mass(seed, target):
    places, votes, over = some(seed)
    cells = cells_of(places, votes, over)
    order, index, mass = merge(cells, target)
    assert len(order) < len(cells.order)
    assert mass.sum() == pytest.approx(cells.mass.sum(), rel=1e-9)
    start = first_point(order, index)
    assert np.all(np.diff(start) > 0)
    holder = np.searchsorted(start, first_point(cells.order, cells.index), side="right") - 1
    within = np.bincount(holder, weights=cells.prior)
    misplaced = np.maximum(0.0, cells.mass - cells.prior * (mass / within)[holder]).sum()
    assert misplaced <= target * (1 + 1e-9)
    np.testing.assert_allclose(np.bincount(holder, weights=cells.mass), mass, rtol=1e-9)


def test_a_target_of_nothing_leaves_only_cells_that_follow_the_prior_within():
    places, votes, over = some(0)
    cells = cells_of(places, votes, over)
    order, index, mass = merge(cells, 0.0)
    exact = MultiOrderMap.from_cells(4 * 4**cells.order + cells.index, cells.mass)
    np.testing.assert_allclose(mass, exact.mass_within(order, index), rtol=1e-9)
    assert len(order) > 0.5 * len(cells.order)
