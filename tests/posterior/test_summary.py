from collections.abc import Sequence

import h3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.stats import kstest

from im2gps_spark.grid import MultiOrderMap, resolve, to_nuniq
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.kernels import climb
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import Density, refine
from im2gps_spark.posterior.region import hpd_area_km2, hpd_level
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.summary import divergence, entropy, find_median, find_mode, summarise
from im2gps_spark.posterior.votes import density_of
from im2gps_spark.sphere import (
    EARTH_RADIUS_KM,
    SPHERE_AREA_KM2,
    UNIFORM_ENTROPY,
    Floats,
    concentration,
    distance_km,
    unit_vectors,
)
from tests.posterior.laws import (
    PLACES,
    SEEDS,
    anywhere,
    around,
    at,
    collection,
    mixture,
    nothing,
    random_map,
    sample,
)

PLACE_NAMES = pytest.mark.parametrize("name", PLACES)
TOLERANCE = 0.02

# Worlds whose posterior is known: places, weights, and the kernels' width.
LATITUDES = np.linspace(-80.0, 80.0, 33)
WORLDS: dict[str, tuple[Floats, Sequence[float] | Floats, float]] = {
    "one city": (unit_vectors([48.85], [2.35]), [1.0], 300.0),
    "one city, narrow": (unit_vectors([-33.9], [151.2]), [1.0], 25.0),
    "antipodes": (unit_vectors([30.0, -30.0], [50.0, -130.0]), [0.6, 0.4], 400.0),
    "a ring on longitude 180": (
        unit_vectors(LATITUDES, np.where(np.arange(33) % 2, 180.0, -180.0)),
        np.ones(33),
        300.0,
    ),
    "both poles": (unit_vectors([90.0, -90.0], [0.0, 0.0]), [0.5, 0.5], 300.0),
}
APART = ("one city", "one city, narrow", "antipodes", "both poles")  # worlds whose kernels do not overlap


def world(name: str) -> Density:
    places, weights, width_km = WORLDS[name]
    return mixture(places, weights, widths_km=(width_km,), uniform_share=1e-4)


def law_of(density: Density, tolerance: float = TOLERANCE) -> MultiOrderMap:
    return resolve(refine(density, tolerance), density.prior)


# The uniform law


def test_the_uniform_laws_summary_is_exact():
    summary = summarise(nothing(), 0.05)
    assert summary.entropy == pytest.approx(np.log(4 * np.pi), abs=1e-12)
    assert summary.information_bits == pytest.approx(0.0, abs=1e-12)
    assert summary.information_over_prior_bits == pytest.approx(0.0, abs=1e-12)
    assert summary.area50_km2 == pytest.approx(SPHERE_AREA_KM2 / 2, rel=1e-12)
    assert summary.area90_km2 == pytest.approx(SPHERE_AREA_KM2 * 0.9, rel=1e-12)
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
    photos = collection(0)
    prior = prior_map(photos, np.ones(len(photos)))
    density = density_of(
        Candidates.none(), np.zeros(0), PosteriorSettings.model_validate({"uniform_share": 1e-9}), prior
    )
    summary = summarise(density, 0.05)
    assert summary.information_over_prior == pytest.approx(0.0, abs=1e-9)
    law = resolve(summary.map, prior)
    assert law.density[law.find(photos)] == pytest.approx(prior.density[prior.find(photos)], rel=1e-6)
    assert summary.entropy == pytest.approx(entropy(prior), abs=1e-6)
    assert summary.area50_km2 == pytest.approx(float(hpd_area_km2(prior, np.array([0.5]))[0]), rel=1e-6)


def test_evidence_beyond_the_prior_is_counted_in_bits():
    photos = collection(0)
    prior = prior_map(photos, np.ones(len(photos)))
    density = mixture(photos[:3], prior=prior, prior_share=0.3)
    points = sample(density, 20_000, np.random.default_rng(0))
    gain = np.log(density.at(points) / prior.density[prior.find(points)])
    summary = summarise(density, TOLERANCE)
    # The map rounds the density off, and loses of the order of its tolerance.
    assert summary.information_over_prior == pytest.approx(gain.mean(), abs=0.03)
    assert summary.information_over_prior_bits == pytest.approx(summary.information_over_prior / np.log(2))
    assert summary.information_bits == pytest.approx((UNIFORM_ENTROPY - summary.entropy) / np.log(2))


# Known worlds


@pytest.mark.parametrize("name", WORLDS)
def test_the_entropy_of_a_known_world(name):
    density = world(name)
    points = sample(density, 20_000, np.random.default_rng(0))
    surprise = -np.log(density.at(points))
    found = entropy(law_of(density))
    assert found == pytest.approx(surprise.mean(), abs=0.02 + 4 * surprise.std() / np.sqrt(20_000))

    if name in APART:
        weights = np.array(WORLDS[name][1])
        share = weights / weights.sum()
        kappa = float(concentration(WORLDS[name][2]))
        kernel = 1.0 - np.log(kappa / (2 * np.pi))  # of a vMF law that is narrow against the sphere
        assert found == pytest.approx(kernel - np.sum(share * np.log(share)), abs=0.02)


@pytest.mark.parametrize("name", WORLDS)
def test_the_areas_of_a_known_world(name):
    density, levels = world(name), np.array([0.5, 0.8, 0.9, 0.95])
    found = hpd_area_km2(law_of(density), levels)
    points = sample(density, 40_000, np.random.default_rng(0))
    height = density.at(points)
    inside = height >= np.quantile(height, 1 - levels)[:, None]
    # The mean over samples of 1 / p within a region is its area.
    np.testing.assert_allclose(found, EARTH_RADIUS_KM**2 * np.mean(inside / height, axis=1), rtol=0.05)

    if name.startswith("one city"):
        cap = -np.log(1 - levels) / concentration(WORLDS[name][2])
        np.testing.assert_allclose(found, 2 * np.pi * EARTH_RADIUS_KM**2 * cap, rtol=0.03)


@pytest.mark.parametrize("name", WORLDS)
def test_truths_of_a_known_world_are_covered_as_often_as_promised(name):
    density, n = world(name), 2000
    truths = sample(density, n, np.random.default_rng(1))
    levels = hpd_level(law_of(density), truths)
    # The map's tolerance, and the Kolmogorov-Smirnov distance that chance exceeds once in a thousand.
    assert kstest(levels, "uniform").statistic < TOLERANCE + 1.95 / np.sqrt(n)


@pytest.mark.parametrize("tolerance", [0.05, 0.02])
def test_truths_are_covered_where_the_law_follows_a_prior(tolerance):
    photos = collection(4)
    density = mixture(photos[:30], prior=prior_map(photos, np.ones(len(photos))), prior_share=0.5)
    levels = hpd_level(law_of(density, tolerance), sample(density, 2000, np.random.default_rng(1)))
    assert kstest(levels, "uniform").statistic < tolerance + 1.95 / np.sqrt(2000)


def test_a_uniform_worlds_truths_are_all_at_one_half():
    truths = anywhere(100, np.random.default_rng(0))
    assert hpd_level(law_of(nothing()), truths) == pytest.approx(0.5)


def test_a_distinctive_photo_has_a_tight_answer_and_a_generic_one_a_wide():
    photos = collection(5)
    prior = prior_map(photos, np.ones(len(photos)))
    one_town = around(np.tile(photos[0], (50, 1)), 20.0, np.random.default_rng(0))
    distinctive = summarise(mixture(one_town, prior=prior, prior_share=0.1), 0.05)
    generic = summarise(mixture(photos[:50], prior=prior, prior_share=0.1), 0.05)
    assert distinctive.entropy < generic.entropy - 2
    assert distinctive.area50_km2 < generic.area50_km2 / 5
    assert distinctive.area90_km2 < generic.area90_km2 / 2
    assert distinctive.information_over_prior_bits > generic.information_over_prior_bits + 2


# The mode


@PLACE_NAMES
@pytest.mark.parametrize("width_km", [25.0, 800.0])
def test_the_mode_of_one_bump_is_its_centre(name, width_km):
    density = mixture(at(name), widths_km=(width_km,))
    assert float(distance_km(find_mode(density, law_of(density, 0.05)), at(name))) < 0.01 * width_km


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.floats(0.51, 0.95), st.floats(25.0, 500.0))
def test_the_mode_of_two_bumps_is_the_heavier(seed, heavier, width_km):
    rng = np.random.default_rng(seed)
    one = anywhere(1, rng)
    other = around(one, 3000.0, rng)
    if distance_km(one, other)[0] < 6 * width_km:
        other = -one
    density = mixture(np.concatenate([other, one]), [1 - heavier, heavier], widths_km=(width_km,))
    assert float(distance_km(find_mode(density, law_of(density, 0.1)), one[0])) < 0.01 * width_km


def test_many_light_photos_in_one_town_outweigh_a_heavy_one_alone():
    crowd = around(np.tile(at("Paris"), (40, 1)), 50.0, np.random.default_rng(0))
    places = np.concatenate([at("Pacific")[None], crowd])
    density = mixture(places, np.r_[0.2, np.full(40, 0.02)], widths_km=(100.0,))
    assert float(distance_km(find_mode(density, law_of(density, 0.05)), at("Paris"))) < 50.0


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_denser_than_the_mode(seed):
    rng = np.random.default_rng(seed)
    photos = collection(seed)
    density = mixture(photos[:40], rng.pareto(1.0, 40))
    mode = find_mode(density, law_of(density, 0.05))
    everywhere = np.concatenate(
        [
            sample(density, 20_000, rng),
            density.places,
            climb(density.places, density.places, density.weights, density.profile),
        ]
    )
    assert density.at(mode[None])[0] >= density.at(everywhere).max() * (1 - 1e-3)


def test_the_prior_may_outweigh_the_neighbours():
    prior = prior_map(around(np.tile(at("Paris"), (30, 1)), 10.0, np.random.default_rng(0)), np.ones(30))
    density = mixture(at("Pacific"), widths_km=(500.0,), prior=prior, prior_share=0.5)
    assert float(distance_km(find_mode(density, law_of(density, 0.05)), at("Paris"))) < 50.0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.booleans())
def test_the_mode_does_not_depend_on_the_order_of_the_neighbours_even_in_a_tie(seed, tie):
    rng = np.random.default_rng(seed)
    places = anywhere(6, rng)
    weights = np.ones(6) if tie else rng.dirichlet(np.ones(6))
    modes = []
    for rank in (np.arange(6), rng.permutation(6), rng.permutation(6)):
        density = mixture(places[rank], weights[rank], widths_km=(100.0,))
        modes.append(find_mode(density, law_of(density, 0.1)))
    assert distance_km(modes, modes[0]).max() < 1e-3


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_the_mode_turns_with_the_world(seed):
    rng = np.random.default_rng(seed)
    places = around(np.tile(anywhere(1, rng), (8, 1)), 500.0, rng)
    weights, turn = rng.dirichlet(np.ones(8)), Rotation.random(rng=rng).as_matrix()
    here, there = (mixture(p, weights, widths_km=(200.0,)) for p in (places, places @ turn.T))
    modes = [find_mode(d, law_of(d, 0.1)) for d in (here, there)]
    assert float(distance_km(turn @ modes[0], modes[1])) < 2.0


# The median


@PLACE_NAMES
@pytest.mark.parametrize("width_km", [25.0, 100.0, 300.0, 1000.0])
def test_the_median_of_a_symmetric_law_is_its_centre(name, width_km):
    law = law_of(mixture(at(name), widths_km=(width_km,)))
    assert float(distance_km(find_median(law), at(name))) < 0.15 * width_km


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.floats(100.0, 1000.0))
def test_the_median_of_two_unequal_bumps_lies_at_the_heavier(seed, width_km):
    rng = np.random.default_rng(seed)
    heavy = anywhere(1, rng)
    light = around(heavy, 3000.0, rng)
    law = law_of(mixture(np.concatenate([light, heavy]), [0.2, 0.8], widths_km=(width_km,)), 0.05)
    assert float(distance_km(find_median(law), heavy[0])) < 0.8 * width_km


@pytest.mark.parametrize("name", ["one city", "one city, narrow", "antipodes", "a ring on longitude 180"])
def test_the_median_of_a_known_world(name):
    """The middle of the ring, and the heavier of antipodes: of equal ones any place is as good."""
    expected = at("longitude 180 on the equator") if "ring" in name else WORLDS[name][0][0]
    median = find_median(law_of(world(name)))
    assert float(distance_km(median, expected)) < (0.8 if name == "antipodes" else 0.15) * WORLDS[name][2]


@pytest.mark.parametrize("seed", range(8))
def test_no_place_is_nearer_to_the_law_than_the_median(seed):
    """To a two-hundredth of the expected distance: places all over, by the law, and about the median."""
    rng = np.random.default_rng(seed)
    density = mixture(collection(seed)[: 5 * (seed + 1)])
    law = law_of(density, 0.1)
    median = find_median(law)
    truths = sample(density, 4000, rng)
    rivals = np.concatenate([anywhere(100, rng), truths[:100], around(np.tile(median, (100, 1)), 100.0, rng)])
    expected = distance_km(rivals[:, None], truths[None]).mean(axis=1)
    assert float(distance_km(median, truths).mean()) <= expected.min() * 1.005


@settings(max_examples=40, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_valley_beside_the_way_is_not_taken_for_the_median(seed):
    """The heaviest place, in the middle of a ring that is nearer to its antipode: best nearby, and far from best."""
    rng = np.random.default_rng(seed)
    turn = Rotation.random(rng=rng).as_matrix()
    ring = unit_vectors(np.full(12, -40.0), np.arange(12) * 30.0 - 165.0)
    places = np.concatenate([unit_vectors(90.0, 0.0)[None], ring]) @ turn.T
    law = law_of(mixture(places, np.r_[0.2, np.full(12, 0.8 / 12)], widths_km=(200.0,)), 0.1)

    def cost(place):
        return float(law.mass @ distance_km(law.centres, place))

    assert cost(find_median(law)) < cost(-places[0]) < 0.8 * cost(places[0])


# The row


def test_the_parts_have_names_and_the_mode_its_hexagon():
    places = unit_vectors([48.85, -18.14], [2.35, 178.44])
    summary = summarise(mixture(places, [0.6, 0.4], widths_km=(25.0,)), 0.05)
    assert [name.country for name in summary.names] == ["France", "Fiji"]
    assert [part.mass for part in summary.parts] == pytest.approx([0.5, 0.3], abs=0.1)
    assert summary.area50_km2 < summary.area90_km2
    assert h3.latlng_to_cell(48.85, 2.35, 5) == h3.int_to_str(summary.mode_h3)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 20))
def test_a_summary_holds_together(seed, n):
    rng = np.random.default_rng(seed)
    prior = random_map(rng)
    density = mixture(anywhere(n, rng), prior=prior, prior_share=0.3) if n else nothing(prior)
    summary = summarise(density, 0.1)
    assert summary.map.mass.sum() == pytest.approx(1.0, abs=1e-9)
    assert summary.entropy <= UNIFORM_ENTROPY
    assert summary.information_over_prior >= 0
    assert 0 < summary.area50_km2 < summary.area90_km2 < SPHERE_AREA_KM2
    assert np.linalg.norm([summary.mode, summary.median], axis=1) == pytest.approx(1.0)
    masses = [part.mass for part in summary.parts]
    assert masses == sorted(masses, reverse=True)
    assert len(summary.names) == len(summary.parts) <= 10


def test_a_neighbour_repeated_is_one_of_doubled_weight_in_the_whole_row():
    one = summarise(mixture(at("Paris"), widths_km=(100.0,)), 0.05)
    three = summarise(mixture(np.tile(at("Paris"), (3, 1)), widths_km=(100.0,)), 0.05)
    assert three.entropy == pytest.approx(one.entropy, abs=1e-6)
    assert three.area90_km2 == pytest.approx(one.area90_km2, rel=1e-6)
    assert float(distance_km(three.mode, one.mode)) < 1e-3
