import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, cells_at
from im2gps_spark.posterior.background import BLOCK, Background, grid_order
from im2gps_spark.posterior.windows import pooled_votes, spread, window_masses
from im2gps_spark.sphere import concentration, distance_km, vmf_density
from tests.posterior.laws import PLACES, SEEDS, UNIFORM, anywhere, around, at, corpus, random_map

WIDTHS = [5.0, 6.0, 25.0, 48.0, 100.0, 400.0, 700.0, 1600.0, 10_000.0]


def along_the_curve(places, votes):
    curve = cells_at(MAX_ORDER, places)
    rank = np.argsort(curve, kind="stable")
    return curve[rank], places[rank], votes[rank]


def windows(over, places, votes, widths_km, used=0):
    """Layers of windows of places in any order."""
    curve, places, votes = along_the_curve(places, votes)
    return spread(over, curve, places, votes, widths_km, used)


def laid_out(over, layer, width_km):
    """A layer as masses, ratios and centres of its cells: (blocks, BLOCK) and (blocks, BLOCK, 3)."""
    work, level = over.room_for(0), over.level(width_km)
    slots = level.slot_of[layer.block]
    return work.mass[layer.row], work.ratio[layer.row], level.centres[slots].swapaxes(1, 2)


def windows_mass_by_hand(over, place, width_km):
    """The integral of prior times kernel of peak 1, by Monte Carlo: and its standard error."""
    prior = over.map
    points = around(np.repeat(place[None], 40_000, axis=0), width_km, np.random.default_rng(0))
    density = prior.density[prior.find(points)]
    peak = float(vmf_density(0.0, concentration(width_km)))
    return density.mean() / peak, density.std() / np.sqrt(len(points)) / peak


# The mass of a window


@pytest.mark.parametrize("width_km", WIDTHS)
@pytest.mark.parametrize("name", [*PLACES, None])
def test_over_the_uniform_prior_a_windows_mass_is_its_kernels(name, width_km):
    """Within 0.7 %, and 1.5 % on a pole, where cells are kites."""
    places = anywhere(200, np.random.default_rng(0)) if name is None else at(name)[None]
    places = places[np.abs(places[:, 2]) < 0.95] if name is None else places
    found = window_masses(UNIFORM, places, cells_at(MAX_ORDER, places), width_km)
    exact = 1.0 / (4.0 * np.pi * float(vmf_density(0.0, concentration(width_km))))
    np.testing.assert_allclose(found, exact, rtol=0.015 if "pole" in str(name) else 0.007)
    if name is None:
        assert found.mean() == pytest.approx(exact, rel=0.001)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from([100.0, 300.0, 1600.0]))
def test_over_a_prior_it_is_the_integral_of_both(seed, width_km):
    """Cells of half a width see a prior's steps within them as if they were even: a few per cent."""
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng, 40, deepest=4))
    place = anywhere(1, rng)
    found = float(window_masses(over, place, cells_at(MAX_ORDER, place), width_km)[0])
    exact, uncertainty = windows_mass_by_hand(over, place[0], width_km)
    assert found == pytest.approx(exact, rel=0.05, abs=4 * uncertainty)


def test_over_a_corpus_prior_the_mean_window_is_right_and_none_is_far_off():
    photos, over = corpus(0)
    some = photos[:60]
    for width_km in (25.0, 100.0, 400.0, 1600.0):
        found = window_masses(over, some, cells_at(MAX_ORDER, some), width_km)
        exact = np.array([windows_mass_by_hand(over, place, width_km)[0] for place in some])
        assert np.mean(found / exact) == pytest.approx(1.0, abs=0.02)
        assert np.abs(np.log(found / exact)).max() < 0.25


# Windows on their grid


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 30), st.sampled_from(WIDTHS), st.booleans())
def test_a_window_has_mass_one_on_its_grid_over_any_prior(seed, n, width_km, with_prior):
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng, 100)) if with_prior else UNIFORM
    votes = rng.dirichlet(np.ones(n))[:, None]
    (layer,) = windows(over, anywhere(n, rng), votes, np.array([width_km]))
    mass, _, _ = laid_out(over, layer, width_km)
    assert mass.min() >= 0
    assert mass.sum() == pytest.approx(1.0, abs=1e-3)  # blocks that hold under 1e-5 of a kernel's peak are left out
    np.testing.assert_allclose(np.diff(layer.before), mass.sum(axis=1), rtol=1e-5, atol=1e-12)
    assert layer.before[0] == 0.0
    assert np.all(np.diff(layer.block) > 0)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.sampled_from(WIDTHS))
def test_ratios_are_the_windows_over_the_prior_and_the_slopes_are_theirs(seed, width_km):
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng, 100))
    # Places farther apart than half a width, so that none is pooled with another.
    places = np.stack([at(name) for name in ("Paris", "north pole", "longitude 180", "Pacific")])
    votes = rng.dirichlet(np.ones(4))
    (layer,) = windows(over, places, votes[:, None], np.array([width_km]))
    mass, ratio, centres = laid_out(over, layer, width_km)
    z = window_masses(over, places, cells_at(MAX_ORDER, places), width_km)
    kappa = float(concentration(width_km))
    offset = places[:, None, None] - centres[None]
    kernels = np.exp(-0.5 * kappa * np.sum(offset**2, axis=-1)) * (votes / z)[:, None, None]
    exact, slope = kernels.sum(axis=0), kappa * np.sum(kernels[..., None] * offset, axis=0)
    # A window has blocks for about three widths: farther off, a strong one may end beside a weak one.
    ended = float((votes / z).max()) * np.exp(-0.5 * 3.0**2)
    near = np.min(distance_km(places[:, None, None], centres[None]), axis=0) < 2.5 * width_km
    assert near.sum() > 100
    np.testing.assert_allclose(ratio[:, 0][near], exact[near], rtol=0.01, atol=ended)
    steep = np.linalg.norm(slope, axis=-1) + 150.0 * ended * np.sqrt(kappa)
    off = np.linalg.norm(ratio[:, 1:].swapaxes(1, 2) - slope, axis=-1)
    assert (off / steep)[near].max() < 0.02
    cells = layer.block[:, None] * BLOCK + np.arange(BLOCK)
    held = exact * over.map.mass_within(layer.order, cells)
    np.testing.assert_allclose(mass[near], held[near], rtol=0.01, atol=ended * over.map.mass.max())


def test_layers_come_the_widest_first_and_widths_without_votes_have_none():
    places = anywhere(5, np.random.default_rng(0))
    votes = np.tile([0.1, 0.0, 0.05, 0.05], (5, 1))
    layers = windows(UNIFORM, places, votes, np.array([25.0, 50.0, 1600.0, 100.0]))
    assert [layer.order for layer in layers] == [grid_order(width) for width in (1600.0, 100.0, 25.0)]
    assert [layer.before[-1] for layer in layers] == pytest.approx([0.25, 0.25, 0.5], abs=1e-3)
    rows = np.concatenate([layer.row for layer in layers])
    assert len(np.unique(rows)) == len(rows)


def test_windows_written_behind_others_leave_those_alone():
    over = Background(UNIFORM.map)
    places, votes = anywhere(3, np.random.default_rng(0)), np.full((3, 1), 1 / 3)
    first = windows(over, places, votes, np.array([100.0]))
    kept = laid_out(over, first[0], 100.0)[0].copy()
    used = len(first[0].block)
    second = windows(over, -places, votes, np.array([100.0]), used)
    assert second[0].row.min() >= used
    assert np.array_equal(laid_out(over, first[0], 100.0)[0], kept)


def test_no_votes_no_layers():
    nowhere = np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 1))
    assert spread(UNIFORM, *nowhere, np.array([100.0])) == []


# Pooling


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 60), st.integers(3, 10))
def test_votes_are_pooled_by_cell_at_their_barycentre(seed, n, order):
    rng = np.random.default_rng(seed)
    curve, places, votes = along_the_curve(around(np.tile(at("Paris"), (n, 1)), 200.0, rng), rng.random(n))
    votes[rng.random(n) < 0.3] = 0.0
    cell, middle, total = pooled_votes(curve, places, votes, order)
    here = cells_at(order, places)
    assert np.array_equal(cell, np.unique(here[votes > 0]))
    for one, point, mass in zip(cell, middle, total, strict=True):
        mine = here == one
        assert mass == pytest.approx(votes[mine].sum())
        mean = votes[mine] @ places[mine]
        assert float(distance_km(point, mean / np.linalg.norm(mean))) < 1e-6
    assert total.sum() == pytest.approx(votes.sum())
