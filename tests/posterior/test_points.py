import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from im2gps_spark.grid import MultiOrderMap, cell_centres, cells_at
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.points import (
    DISC_RADII_KM,
    MODE_WIDTH_KM,
    beside,
    find_disc,
    find_median,
    find_mode,
    find_mode_and_discs,
)
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import refine
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, concentration, distance_km, normalised, unit_vectors
from tests.posterior.laws import (
    PLACES,
    SEEDS,
    UNIFORM,
    WIDTHS_KM,
    anywhere,
    around,
    at,
    collection,
    corpus,
    inside,
    mixture,
)
from tests.posterior.worlds import WORLDS, world

NAMES = pytest.mark.parametrize("name", PLACES)


def law_of(density: Density, tolerance: float = 0.05) -> Law:
    return Law.of(refine(density, tolerance), density.background)


class Crumbs:
    """A law as points of equal mass: what is asked of it is asked of these, within 1 / sqrt(their number)."""

    def __init__(self, law: Law, n: int = 40_000) -> None:
        self.points = inside(law.cells, n, np.random.default_rng(0))
        self._tree = cKDTree(self.points)

    def smoothed(self, places: Floats) -> Floats:
        """Sums of kernels of the mode's width."""
        kappa = float(concentration(MODE_WIDTH_KM))
        near = self._tree.query_ball_point(places, 6 * MODE_WIDTH_KM / EARTH_RADIUS_KM)
        return np.array(
            [
                np.exp(-0.5 * kappa * np.sum((self.points[who] - place) ** 2, axis=1)).sum()
                for place, who in zip(places, near, strict=True)
            ]
        )

    def held(self, places: Floats, radius_km: float) -> Floats:
        """Shares within a distance."""
        chord = 2 * np.sin(radius_km / EARTH_RADIUS_KM / 2)
        return np.asarray(self._tree.query_ball_point(places, chord, return_length=True) / len(self.points))

    def expected_km(self, places: Floats) -> Floats:
        """Mean distances."""
        return np.array([distance_km(self.points, place).mean() for place in places])


def towns(seed: int) -> Density:
    """Neighbours of unlike widths: narrow ones of little mass beside broad ones of much."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 8))
    votes = rng.dirichlet(np.full(4, 0.5), n) * rng.dirichlet(np.ones(n))[:, None]
    return Density(anywhere(n, rng), 0.97 * votes, np.array(WIDTHS_KM), UNIFORM, 0.02, 0.01)


def rivals(law: Law, density: Density, rng: np.random.Generator) -> Floats:
    """Places that may beat a point: the law's densest cells, and about the neighbours."""
    centres = law.cells.centres_of(np.argsort(-law.cells.density)[:300])
    about = [around(np.repeat(density.places[:20], 5, axis=0), width, rng) for width in (10.0, 50.0, 200.0)]
    return np.concatenate([centres, density.places, *about])


def test_beside_a_cell_are_itself_and_those_that_touch_it():
    near = beside(3)
    assert np.array_equal(near[:, 0], np.arange(768))
    assert set(np.flatnonzero((near == 100).any(axis=1))) == set(near[100]) - {-1}
    assert (near < 0).any(axis=1).sum() == 24  # 8 corners of three base cells


# The mode


@NAMES
@pytest.mark.parametrize("width_km", [5.0, 25.0, 100.0])
def test_the_mode_of_one_bump_is_its_centre(name, width_km):
    """To a half of its width: the map's cells are a quarter of it."""
    mode = find_mode(law_of(mixture(at(name), widths_km=(width_km,))))
    assert float(distance_km(mode, at(name))) < 0.5 * width_km
    assert np.linalg.norm(mode) == pytest.approx(1.0)


@NAMES
@pytest.mark.parametrize("width_km", [400.0, 1600.0])
def test_the_mode_of_a_broad_bump_is_one_of_the_maps_densest_cells(name, width_km):
    mode = find_mode(law_of(mixture(at(name), widths_km=(width_km,))))
    assert float(distance_km(mode, at(name))) < 0.75 * width_km


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.floats(0.55, 0.95), st.floats(10.0, 100.0))
def test_the_mode_of_two_bumps_is_the_heavier(seed, heavier, width_km):
    rng = np.random.default_rng(seed)
    one = anywhere(1, rng)
    other = around(one, 3000.0, rng)
    if distance_km(one, other)[0] < 8 * width_km:
        other = -one
    density = mixture(np.concatenate([other, one]), [1 - heavier, heavier], widths_km=(width_km,))
    assert float(distance_km(find_mode(law_of(density)), one[0])) < 0.6 * max(width_km, MODE_WIDTH_KM)


@pytest.mark.parametrize("seed", range(10))
def test_nothing_is_denser_than_the_mode(seed):
    """By a twentieth: 40,000 points of the law, of which some hundred are under the kernel."""
    density = towns(seed)
    law = law_of(density)
    crumbs = Crumbs(law)
    best = crumbs.smoothed(rivals(law, density, np.random.default_rng([seed, 1]))).max()
    assert float(crumbs.smoothed(find_mode(law)[None])[0]) > 0.95 * best - 2 * np.sqrt(best)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.05])
def test_a_small_town_outweighs_the_country_about_another_that_is_spread_thin(share):
    """More of the law lies about any place of the country than about the town, in cells as large as a kernel."""
    places = np.stack([at("Paris"), at("Pacific")])
    votes = 0.97 * np.array([[0.0, 0.6 - share, 0.4], [share, 0.0, 0.0]])
    law = law_of(Density(places, votes, np.array([25.0, 400.0, 1600.0]), UNIFORM, 0.02, 0.01))
    assert float(distance_km(find_mode(law), at("Pacific"))) < 15.0
    assert float(distance_km(find_disc(law, 25.0), at("Pacific"))) < 15.0


def test_the_prior_may_outweigh_the_neighbours():
    prior = prior_map(around(np.tile(at("Paris"), (30, 1)), 10.0, np.random.default_rng(0)), np.ones(30))
    density = mixture(at("Pacific"), widths_km=(500.0,), over=Background(prior), prior_share=0.5)
    assert float(distance_km(find_mode(law_of(density)), at("Paris"))) < 50.0


# Discs


@pytest.mark.parametrize("seed", range(4))
def test_one_look_for_mode_and_discs_finds_what_looks_of_their_own_find(seed):
    law = law_of(towns(seed))
    mode, discs = find_mode_and_discs(law)
    assert np.array_equal(mode, find_mode(law))
    assert np.array_equal(discs, [find_disc(law, radius) for radius in DISC_RADII_KM])


@NAMES
@pytest.mark.parametrize("radius_km", DISC_RADII_KM)
def test_the_disc_of_one_bump_is_about_its_centre(name, radius_km):
    """To a third of the radius: its grid is a quarter of that, and the map's cells are a quarter of the width."""
    law = law_of(mixture(at(name), widths_km=(radius_km,)))
    assert float(distance_km(find_disc(law, radius_km), at(name))) < 0.35 * radius_km


@pytest.mark.parametrize("radius_km", DISC_RADII_KM)
@pytest.mark.parametrize("seed", range(6))
def test_no_disc_holds_much_more(seed, radius_km):
    """Than by a tenth: centres are sought a quarter of the radius apart; and 4 standard errors of 40,000 points."""
    density = towns(seed)
    law = law_of(density)
    crumbs = Crumbs(law)
    best = crumbs.held(rivals(law, density, np.random.default_rng([seed, 1])), radius_km).max()
    found = float(crumbs.held(find_disc(law, radius_km)[None], radius_km)[0])
    assert found > 0.9 * best - 4 * np.sqrt(best / 40_000)


def test_a_larger_disc_holds_more_and_may_lie_elsewhere():
    """One narrow town, or three within 300 km of each other that together hold more."""
    three = normalised(at("Paris") + np.array([[0.03, 0.0, 0.0], [0.0, 0.03, 0.0], [0.0, 0.0, 0.03]]))
    places = np.concatenate([at("Pacific")[None], three])
    law = law_of(mixture(places, [0.4, 0.2, 0.2, 0.2], widths_km=(20.0,)))
    assert float(distance_km(find_disc(law, 25.0), at("Pacific"))) < 25.0
    assert float(distance_km(find_disc(law, 200.0), three.mean(axis=0) / np.linalg.norm(three.mean(axis=0)))) < 150.0


# The median


@NAMES
@pytest.mark.parametrize("width_km", [25.0, 100.0, 300.0, 1000.0])
def test_the_median_of_a_symmetric_law_is_its_centre(name, width_km):
    law = law_of(mixture(at(name), widths_km=(width_km,), uniform_share=1e-4, prior_share=0.0))
    assert float(distance_km(find_median(law), at(name))) < max(0.2 * width_km, 5.0)


@pytest.mark.parametrize("name", ["one city", "one city, narrow", "antipodes", "a ring on longitude 180"])
def test_the_median_of_a_known_world(name):
    """The middle of the ring, and the heavier of antipodes: of equal ones any place is as good."""
    expected = at("longitude 180 on the equator") if "ring" in name else WORLDS[name][0][0]
    median = find_median(law_of(world(name), 0.02))
    assert float(distance_km(median, expected)) < (0.8 if name == "antipodes" else 0.2) * WORLDS[name][2]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("with_prior", [False, True])
def test_no_place_is_nearer_to_the_law_than_the_median(seed, with_prior):
    """By half a per cent of the expected distance: places all over, by the law, and about the median."""
    rng = np.random.default_rng(seed)
    photos, over = corpus(0) if with_prior else (collection(seed), UNIFORM)
    law = law_of(mixture(photos[: 5 * (seed + 1)], over=over), 0.1)
    median = find_median(law)
    crumbs = Crumbs(law, 10_000)
    about = np.concatenate([around(np.tile(median, (50, 1)), width, rng) for width in (30.0, 300.0)])
    others = crumbs.expected_km(np.concatenate([anywhere(100, rng), crumbs.points[::200], about]))
    assert float(crumbs.expected_km(median[None])[0]) <= others.min() * 1.005


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_valley_beside_the_way_is_not_taken_for_the_median(seed):
    """The heaviest place, in the middle of a ring that is nearer to its antipode: best nearby, and far from best."""
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    ring = unit_vectors(np.full(12, -40.0), np.arange(12) * 30.0 - 165.0)
    places = np.concatenate([unit_vectors(90.0, 0.0)[None], ring]) @ turn.T
    law = law_of(mixture(places, np.r_[0.2, np.full(12, 0.8 / 12)], widths_km=(200.0,)), 0.1)
    cost = Crumbs(law, 4000).expected_km(np.stack([find_median(law), -places[0], places[0]]))
    assert cost[0] < cost[1] < 0.8 * cost[2]


# All of them


@pytest.mark.parametrize("seed", range(4))
def test_points_do_not_depend_on_the_order_of_the_neighbours(seed):
    rng = np.random.default_rng(seed)
    photos, over = corpus(0)
    weights, rank = rng.pareto(1.0, 30), rng.permutation(30)
    laws = [law_of(mixture(photos[:30][r], weights[r], over=over)) for r in (np.arange(30), rank)]
    for find in (find_mode, find_median, *(lambda law, r=r: find_disc(law, r) for r in DISC_RADII_KM)):
        assert float(distance_km(find(laws[0]), find(laws[1]))) < 1.0


@pytest.mark.parametrize("seed", range(4))
def test_points_turn_with_the_world(seed):
    """Up to the grid's cells: those of a quarter of a kernel's width."""
    rng = np.random.default_rng(seed)
    places = around(np.tile(anywhere(1, rng), (8, 1)), 500.0, rng)
    weights, turn = rng.dirichlet(np.ones(8)), Rotation.random(rng=rng).as_matrix()
    here, there = (law_of(mixture(p, weights, widths_km=(60.0,)), 0.02) for p in (places, places @ turn.T))
    assert float(distance_km(turn @ find_mode(here), find_mode(there))) < 30.0
    assert float(distance_km(turn @ find_median(here), find_median(there))) < 30.0


def test_points_of_the_uniform_law_are_on_the_sphere():
    law = Law.resolved(MultiOrderMap.uniform())
    points = np.stack([find_mode(law), find_median(law), *(find_disc(law, radius) for radius in DISC_RADII_KM)])
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0)


def test_points_of_a_law_in_one_cell_lie_in_it():
    mass = np.zeros(12 * 4**5)
    mass[7000] = 1.0
    law = Law.resolved(MultiOrderMap(4 * 4**5 + np.arange(len(mass)), mass))
    centre = cell_centres(5, np.array([7000]))[0]
    for point in (find_mode(law), find_disc(law, 25.0), find_disc(law, 200.0)):
        assert int(cells_at(5, point[None])[0]) == 7000
    assert float(distance_km(find_median(law), centre)) < 20.0
    assert float(distance_km(find_disc(law, 750.0), centre)) < 750.0 - 100.0  # half of the cell's side
