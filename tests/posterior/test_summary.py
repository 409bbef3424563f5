import h3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from im2gps_spark.grid import MultiOrderMap, resolve, to_nuniq
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.region import hpd_area_km2, hpd_level
from im2gps_spark.posterior.summary import AREA_LEVELS, divergence, entropy, summarise
from im2gps_spark.sphere import (
    EARTH_RADIUS_KM,
    SPHERE_AREA_KM2,
    UNIFORM_ENTROPY,
    concentration,
    distance_km,
    unit_vectors,
)
from tests.posterior.laws import (
    SEEDS,
    anywhere,
    around,
    at,
    corpus,
    law_of,
    mixture,
    nothing,
    random_map,
    sample,
    truths,
    weighed,
)
from tests.posterior.worlds import APART, WORLDS, world

TOLERANCE = 0.02
AREAS = np.array(AREA_LEVELS)


# The uniform law


def test_the_uniform_laws_summary_is_exact():
    summary = summarise(nothing(), 0.05)
    assert summary.entropy == pytest.approx(np.log(4 * np.pi), abs=1e-12)
    assert summary.information_bits == pytest.approx(0.0, abs=1e-12)
    assert summary.information_over_prior_bits == pytest.approx(0.0, abs=1e-12)
    assert summary.no_more_than_prior
    np.testing.assert_allclose(summary.areas_km2, SPHERE_AREA_KM2 * AREAS, rtol=1e-12)
    assert summary.map.density == pytest.approx(1 / (4 * np.pi))


@pytest.mark.parametrize("order", [0, 3, 6])
def test_the_entropy_of_the_uniform_law_is_ln_4_pi_on_any_cells(order):
    n = 12 * 4**order
    assert entropy(MultiOrderMap(to_nuniq(order, np.arange(n)), np.full(n, 1 / n))) == pytest.approx(
        UNIFORM_ENTROPY, abs=1e-12
    )


# Entropy and divergence


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_no_law_has_more_entropy_than_the_uniform_and_what_it_lacks_is_its_divergence_from_it(seed):
    law = random_map(np.random.default_rng(seed))
    assert entropy(law) < UNIFORM_ENTROPY
    assert divergence(law, MultiOrderMap.uniform()) == pytest.approx(UNIFORM_ENTROPY - entropy(law))


def test_the_entropy_of_a_law_by_hand():
    """All in one cell of order 3: the logarithm of its area. Cells without mass have no part in it."""
    mass = np.zeros(12 * 4**3)
    mass[100] = 1.0
    law = MultiOrderMap(to_nuniq(3, np.arange(len(mass))), mass)
    assert entropy(law) == pytest.approx(np.log(4 * np.pi / 768))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 40), st.integers(0, 40))
def test_the_divergence_from_the_prior_is_that_of_the_law_the_map_stands_for(seed, splits, prior_splits):
    rng = np.random.default_rng(seed)
    relative, prior = random_map(rng, splits), random_map(rng, prior_splits)
    law = resolve(relative, prior)
    expected = np.sum(law.mass * np.log(law.density / prior.density[prior.find(law.centres)]))
    assert divergence(relative, prior) == pytest.approx(expected, rel=1e-9)
    assert divergence(relative, prior) > 0
    itself = MultiOrderMap(relative.cells, prior.mass_within(relative.order, relative.index))
    assert divergence(itself, prior) == pytest.approx(0.0, abs=1e-12)


def test_a_photo_without_neighbours_is_answered_by_the_prior_and_says_so():
    photos, over = corpus(0)
    summary = summarise(nothing(over, uniform_share=0.0), 0.05)
    assert summary.information_over_prior == pytest.approx(0.0, abs=1e-12)
    assert summary.no_more_than_prior
    law = resolve(summary.map, over.map)
    assert law.density[law.find(photos)] == pytest.approx(over.map.density[over.map.find(photos)], rel=1e-9)
    assert summary.entropy == pytest.approx(entropy(over.map), abs=1e-9)
    # In bins of a hundredth of a nat.
    np.testing.assert_allclose(summary.areas_km2, hpd_area_km2(over.map, AREAS), rtol=0.01)


def test_evidence_beyond_the_prior_is_counted_in_bits():
    photos, over = corpus(0)
    density = mixture(photos[:3], over=over, prior_share=0.3)
    law = law_of(density, TOLERANCE)
    points, exact, _ = weighed(density, law, 40_000, np.random.default_rng(0))
    weight = exact / exact.sum()
    gain = weight @ np.log(density.at(points) / over.map.density[over.map.find(points)])
    summary = summarise(density, TOLERANCE)
    assert not summary.no_more_than_prior
    # The map rounds the density off, and loses of the order of its tolerance.
    assert summary.information_over_prior == pytest.approx(gain, abs=0.05)
    assert summary.information_over_prior_bits == pytest.approx(summary.information_over_prior / np.log(2))
    assert summary.information_bits == pytest.approx((UNIFORM_ENTROPY - summary.entropy) / np.log(2))


# Known worlds


@pytest.mark.parametrize("name", WORLDS)
def test_the_entropy_of_a_known_world(name):
    density = world(name)
    points = sample(density, 20_000, np.random.default_rng(0))
    surprise = -np.log(density.at(points))
    found = summarise(density, TOLERANCE).entropy
    assert found == pytest.approx(surprise.mean(), abs=0.02 + 4 * surprise.std() / np.sqrt(20_000))

    if name in APART:
        weights = np.array(WORLDS[name][1])
        share = weights / weights.sum()
        kappa = float(concentration(WORLDS[name][2]))
        kernel = 1.0 - np.log(kappa / (2 * np.pi))  # of a vMF law that is narrow against the sphere
        assert found == pytest.approx(kernel - np.sum(share * np.log(share)), abs=0.02)


@pytest.mark.parametrize("name", WORLDS)
def test_the_areas_of_a_known_world(name):
    density = world(name)
    found = summarise(density, TOLERANCE).areas_km2
    points = sample(density, 40_000, np.random.default_rng(0))
    height = density.at(points)
    inside = height >= np.quantile(height, 1 - AREAS)[:, None]
    # The mean over samples of 1 / p within a region is its area.
    np.testing.assert_allclose(found, EARTH_RADIUS_KM**2 * np.mean(inside / height, axis=1), rtol=0.05)

    if name.startswith("one city"):
        cap = -np.log(1 - AREAS) / concentration(WORLDS[name][2])
        np.testing.assert_allclose(found, 2 * np.pi * EARTH_RADIUS_KM**2 * cap, rtol=0.03)


@pytest.mark.parametrize("name", WORLDS)
def test_truths_of_a_known_world_are_covered_as_often_as_promised(name):
    density, n = world(name), 2000
    levels = hpd_level(law_of(density, TOLERANCE), sample(density, n, np.random.default_rng(1)))
    # The map's tolerance, and the Kolmogorov-Smirnov distance that chance exceeds once in a thousand.
    assert kstest(levels, "uniform").statistic < TOLERANCE + 1.95 / np.sqrt(n)


@pytest.mark.parametrize("tolerance", [0.05, 0.02])
def test_truths_are_covered_where_the_law_follows_a_prior(tolerance):
    photos, over = corpus(4)
    density = mixture(photos[:30], over=over, prior_share=0.3)
    law = law_of(density, tolerance)
    levels = hpd_level(law, truths(density, law, 2000, np.random.default_rng(1)))
    assert kstest(levels, "uniform").statistic < tolerance + 1.95 / np.sqrt(2000)


def test_a_uniform_worlds_truths_are_all_at_one_half():
    assert hpd_level(law_of(nothing()), anywhere(100, np.random.default_rng(0))) == pytest.approx(0.5)


def test_a_distinctive_photo_has_a_tight_answer_and_a_generic_one_a_wide():
    photos, over = corpus(5)
    one_town = around(np.tile(photos[0], (50, 1)), 20.0, np.random.default_rng(0))
    distinctive, generic = (
        summarise(mixture(places, over=over, prior_share=0.1), 0.05) for places in (one_town, photos[:50])
    )
    assert distinctive.entropy < generic.entropy - 0.8
    assert distinctive.areas_km2[0] < generic.areas_km2[0] / 2
    assert distinctive.areas_km2[2] < generic.areas_km2[2] / 2
    assert distinctive.information_over_prior_bits > generic.information_over_prior_bits + 1


# Invariants of the whole row


def alike(one: Density, other: Density) -> None:
    """Two densities whose rows say the same."""
    a, b = summarise(one, 0.05), summarise(other, 0.05)
    assert b.entropy == pytest.approx(a.entropy, abs=1e-6)
    assert b.information_over_prior == pytest.approx(a.information_over_prior, abs=1e-6)
    np.testing.assert_allclose(b.areas_km2, a.areas_km2, rtol=1e-6)
    assert distance_km([a.mode, a.median, *a.discs], [b.mode, b.median, *b.discs]).max() < 0.1
    assert [part.mass for part in b.parts] == pytest.approx([part.mass for part in a.parts], abs=1e-6)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(2, 30), st.booleans())
def test_the_order_of_the_neighbours_does_not_matter(seed, n, with_prior):
    rng = np.random.default_rng(seed)
    photos, over = corpus(1)
    over = over if with_prior else Background(MultiOrderMap.uniform())
    which, weights = rng.choice(len(photos), n), rng.dirichlet(np.ones(n))
    rank = rng.permutation(n)
    alike(mixture(photos[which], weights, over=over), mixture(photos[which][rank], weights[rank], over=over))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 20))
def test_a_neighbour_repeated_is_one_of_doubled_weight(seed, n):
    rng = np.random.default_rng(seed)
    photos, over = corpus(2)
    places, weights = photos[rng.choice(len(photos), n)], rng.dirichlet(np.ones(n))
    doubled = weights * np.r_[2.0, np.ones(n - 1)]
    repeated = np.concatenate([places[:1], places]), np.r_[weights[0], weights]
    alike(mixture(places, doubled, over=over), mixture(*repeated, over=over))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 20))
def test_the_answer_turns_with_the_world(seed, n):
    """Up to the cells of the grid, which do not turn: their tolerance, and a side of the finest that matter."""
    rng = np.random.default_rng(seed)
    places = around(np.tile(anywhere(1, rng), (n, 1)), 500.0, rng)
    weights, turn = rng.dirichlet(np.ones(n)), Rotation.random(rng=rng).as_matrix()
    here, there = (mixture(p, weights, widths_km=(200.0,), prior_share=0.0) for p in (places, places @ turn.T))
    one, other = (summarise(d, TOLERANCE) for d in (here, there))
    assert other.entropy == pytest.approx(one.entropy, abs=0.04)
    np.testing.assert_allclose(other.areas_km2[:3], one.areas_km2[:3], rtol=0.1)
    points = sample(here, 2000, rng)
    laws = [law_of(d, TOLERANCE) for d in (here, there)]
    ratio = laws[1].density[laws[1].find(points @ turn.T)] / laws[0].density[laws[0].find(points)]
    assert np.abs(ratio - 1).mean() < 0.2
    assert float(distance_km(turn @ one.median, other.median)) < 30.0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_place_that_is_none_is_refused(bad):
    with pytest.raises(ValueError, match="itude must be finite"):
        unit_vectors([0.0, bad], [0.0, 0.0])


# The row


def test_the_parts_have_names_and_the_mode_its_hexagon():
    places = unit_vectors([48.85, -18.14], [2.35, 178.44])
    summary = summarise(mixture(places, [0.6, 0.4], widths_km=(25.0,)), 0.05)
    assert [name.country for name in summary.names] == ["France", "Fiji"]
    assert [part.mass for part in summary.parts] == pytest.approx([0.5, 0.3], abs=0.1)
    assert np.all(np.diff(summary.areas_km2) > 0)
    near = h3.grid_disk(h3.latlng_to_cell(48.85, 2.35, 5), 1)
    assert h3.int_to_str(summary.mode_h3) in near


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 20))
def test_a_summary_holds_together(seed, n):
    rng = np.random.default_rng(seed)
    over = Background(random_map(rng))
    density = mixture(anywhere(n, rng), over=over, prior_share=0.3) if n else nothing(over)
    summary = summarise(density, 0.1)
    law = Law.of(summary.map, over)
    assert summary.map.mass.sum() == pytest.approx(1.0, abs=1e-9)
    assert summary.entropy == pytest.approx(entropy(resolve(summary.map, over.map)), abs=1e-9)
    assert summary.information_over_prior == pytest.approx(divergence(summary.map, over.map), abs=1e-9)
    assert summary.entropy <= UNIFORM_ENTROPY
    assert 0 < summary.areas_km2[0] < summary.areas_km2[-1] < SPHERE_AREA_KM2
    assert np.linalg.norm([summary.mode, summary.median, *summary.discs], axis=1) == pytest.approx(1.0)
    masses = [part.mass for part in summary.parts]
    assert masses == sorted(masses, reverse=True)
    assert len(summary.names) == len(summary.parts) <= 10
    assert sum(masses) <= 1.0
    assert law.cells.mass.sum() == pytest.approx(1.0)


def test_a_crowd_outweighs_a_heavy_one_alone():
    crowd = around(np.tile(at("Paris"), (40, 1)), 50.0, np.random.default_rng(0))
    places = np.concatenate([at("Pacific")[None], crowd])
    summary = summarise(mixture(places, np.r_[0.2, np.full(40, 0.02)], widths_km=(100.0,)), 0.05)
    assert float(distance_km(summary.mode, at("Paris"))) < 50.0
    assert max(float(distance_km(disc, at("Paris"))) for disc in summary.discs) < 100.0
