"""The fast arrays against what ``grid.resolve`` and ``region.Ranking`` say exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, resolve, to_nuniq
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.curve import TOP_ORDER
from im2gps_spark.posterior.law import Law, fill, mass_in
from im2gps_spark.posterior.refine import refine
from im2gps_spark.posterior.region import Ranking
from im2gps_spark.posterior.summary import divergence, entropy
from im2gps_spark.sphere import SPHERE_AREA_KM2, UNIFORM_ENTROPY
from tests.posterior.laws import SEEDS, UNIFORM, anywhere, corpus, mixture, random_map

LEVELS = np.array([0.05, 0.5, 0.8, 0.9, 0.95, 0.999])


def pair(seed: int, splits: int = 60, prior_splits: int = 60) -> tuple[MultiOrderMap, Background]:
    rng = np.random.default_rng(seed)
    return random_map(rng, splits, deepest=9), Background(random_map(rng, prior_splits, deepest=9))


def same(law: Law, exact: MultiOrderMap) -> None:
    assert np.array_equal(law.cells.cells, exact.cells)
    np.testing.assert_allclose(law.cells.mass, exact.mass, rtol=1e-9)
    found = [mass_in(order, index, law.map, law.prior) for order, index in zip(exact.order, exact.index, strict=True)]
    np.testing.assert_allclose(found, exact.mass, rtol=1e-9)
    assert law.top == pytest.approx(np.log(exact.density.max()), abs=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 100), st.integers(0, 100))
def test_the_law_of_a_relative_map_is_what_resolving_it_gives(seed, splits, prior_splits):
    relative, over = pair(seed, splits, prior_splits)
    law = Law.of(relative, over)
    exact = resolve(relative, over.map)
    same(law, exact)
    assert law.entropy == pytest.approx(entropy(exact), abs=1e-9)
    assert law.information_over_prior == pytest.approx(divergence(relative, over.map), abs=1e-9)


@pytest.mark.parametrize("widths_km", [(25.0, 100.0, 400.0, 1600.0), (25.0,)])
def test_so_it_is_for_a_photos_map_over_its_corpus_prior(widths_km):
    photos, over = corpus(0)
    relative = refine(mixture(photos[:20], widths_km=widths_km, over=over), 0.05)
    law, exact = Law.of(relative, over), resolve(relative, over.map)
    same(law, exact)
    assert law.entropy == pytest.approx(entropy(exact), abs=1e-9)
    np.testing.assert_allclose(law.area_km2(LEVELS), Ranking(exact).area_km2(LEVELS), rtol=0.01)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_law_that_is_given_says_nothing_of_a_prior(seed):
    exact = random_map(np.random.default_rng(seed))
    law = Law.resolved(exact)
    same(law, exact)
    assert law.entropy == pytest.approx(entropy(exact), abs=1e-12)
    assert np.isnan(law.information_over_prior)


def test_the_uniform_law_is_exact():
    law = Law.of(MultiOrderMap.uniform(), UNIFORM)
    assert law.entropy == pytest.approx(UNIFORM_ENTROPY, abs=1e-12)
    assert law.information_over_prior == pytest.approx(0.0, abs=1e-12)
    assert law.area_km2(LEVELS) == pytest.approx(SPHERE_AREA_KM2 * LEVELS, rel=1e-12)


def test_cells_without_mass_have_none_and_count_for_nothing():
    mass = np.zeros(12 * 4**3)
    mass[100] = 1.0
    only = MultiOrderMap(to_nuniq(3, np.arange(len(mass))), mass)
    for law in (Law.of(only, UNIFORM), Law.resolved(only)):
        assert law.entropy == pytest.approx(np.log(4 * np.pi / 768))
        assert np.count_nonzero(law.cells.mass) == 1
        assert law.area_km2(np.array([0.5, 0.9])) == pytest.approx(SPHERE_AREA_KM2 / 768 * np.array([0.5, 0.9]))
    assert Law.of(only, UNIFORM).information_over_prior == pytest.approx(np.log(768))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS)
def test_areas_are_those_of_the_ranking_within_a_hundredth(seed):
    relative, over = pair(seed, 200, 200)
    law, exact = Law.of(relative, over), Ranking(resolve(relative, over.map))
    found, expected = law.area_km2(LEVELS), exact.area_km2(LEVELS)
    # Of a bin of densities the mean is taken: its cells differ by a hundredth.
    np.testing.assert_allclose(found, expected, rtol=0.01)
    assert np.all(np.diff(found) > 0)
    assert law.area_km2(np.array([0.0, 1.0])) == pytest.approx([0.0, SPHERE_AREA_KM2], rel=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([0.1, 0.5, 0.8, 0.95]))
def test_what_lies_above_the_threshold_holds_the_level_and_a_bin_less_does_not(seed, level):
    relative, over = pair(seed, 200, 200)
    law = Law.of(relative, over)
    threshold = law.threshold(level)
    log_density = np.log(law.cells.density)
    inside = log_density >= threshold
    assert law.cells.mass[inside].sum() >= level * (1 - 1e-9)
    assert law.cells.mass[log_density >= threshold + 0.01 + 1e-9].sum() < level * (1 + 1e-9)
    exact = Ranking(resolve(relative, over.map)).densest(level)
    assert np.isin(exact, np.flatnonzero(inside)).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS)
def test_pooled_masses_are_those_of_the_cells(seed):
    relative, over = pair(seed)
    law, exact = Law.of(relative, over), resolve(relative, over.map)
    for order in (TOP_ORDER, 7, 4, 0):
        cells = np.arange(12 * 4**order)
        np.testing.assert_allclose(law.pooled_to(order), exact.mass_within(order, cells), rtol=1e-7, atol=1e-15)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 12))
def test_masses_are_right_in_single_cells_of_any_order_and_in_runs_of_them(seed, order):
    """Coarser and finer than the map's cells, than the prior's, and than what is summed beforehand."""
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng, 300, deepest=12))
    relative = random_map(rng, 300, deepest=11)
    law, exact = Law.of(relative, over), resolve(relative, over.map)
    deep = np.concatenate(
        [relative.starts[relative.order > 8], over.map.starts[over.map.order > 8], over.map.starts[:5]]
    )
    for index in (rng.choice(deep, 10) >> (2 * (MAX_ORDER - order))).tolist():
        expected = float(exact.mass_within(order, np.array([index]))[0])
        assert mass_in(order, index, law.map, law.prior) == pytest.approx(expected, rel=1e-7, abs=1e-15)
        run = np.arange(index, min(index + 40, 12 * 4**order))
        out = np.full(len(run), np.nan)
        fill(order, index, index + len(run), law.map, law.prior, out)
        np.testing.assert_allclose(out, exact.mass_within(order, run), rtol=1e-7, atol=1e-15)


def test_densities_sixty_nats_below_the_densest_are_one():
    """As a kernel's own far tail would be, without a uniform share."""
    mass = np.r_[1.0, np.full(11, 1e-40)]
    law = Law.resolved(MultiOrderMap(MultiOrderMap.uniform().cells, mass))
    assert law.area_km2(np.array([1.0 - 1e-12]))[0] == pytest.approx(SPHERE_AREA_KM2 / 12, rel=0.01)
    assert np.isfinite(law.threshold(1.0))


def test_a_law_of_no_more_than_its_prior_says_so():
    over = Background(random_map(np.random.default_rng(0)))
    itself = MultiOrderMap(MultiOrderMap.uniform().cells, over.map.mass_within(0, np.arange(12)))
    law = Law.of(itself, over)
    assert law.information_over_prior == pytest.approx(0.0, abs=1e-12)
    points = anywhere(100, np.random.default_rng(1))
    exact = resolve(itself, over.map)
    assert exact.density[exact.find(points)] == pytest.approx(over.map.density[over.map.find(points)], rel=1e-9)
