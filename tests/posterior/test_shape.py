import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap, cells_at, to_nuniq
from im2gps_spark.posterior import shape
from im2gps_spark.posterior.shape import TOLERANCE, Disc, Polygon, mass_inside
from im2gps_spark.sphere import EARTH_RADIUS_KM, coordinates, normalised, unit_vectors
from tests.posterior.laws import PLACES, SEEDS, anywhere, at, inside, random_map

UNIFORM = MultiOrderMap.uniform()
LATITUDES = st.one_of(st.sampled_from([-90.0, -41.8103, 0.0, 90.0]), st.floats(-90, 90))
LONGITUDES = st.one_of(st.sampled_from([-180.0, -90.0, 0.0, 45.0, 180.0]), st.floats(-180, 180))


def cap(radius_km):
    """The share of the sphere within a distance."""
    return np.sin(radius_km / EARTH_RADIUS_KM / 2.0) ** 2


def star(place, rng, corners=9, reach=0.6):
    """A polygon around a place: latitudes, longitudes, and the triangles (corners, 3, 3) from there that fill it."""
    east = normalised(np.cross(place, np.eye(3)[np.argmin(np.abs(place))]))
    north = np.cross(place, east)
    angle = (np.arange(corners) + rng.uniform(0.1, 0.9, corners)) / corners * 2.0 * np.pi
    far = rng.uniform(0.2, 1.0, corners) * reach
    across = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north
    rim = np.cos(far)[:, None] * place + np.sin(far)[:, None] * across
    triangles = np.stack([np.broadcast_to(place, rim.shape), rim, np.roll(rim, -1, axis=0)], axis=1)
    latitudes, longitudes = coordinates(rim)
    return latitudes, longitudes, triangles


def triangle_areas(triangles):
    """Steradians (Van Oosterom & Strackee 1983)."""
    a, b, c = np.moveaxis(triangles, 1, 0)
    dots = [np.sum(p * q, axis=1) for p, q in ((a, b), (b, c), (c, a))]
    return 2.0 * np.arctan2(np.abs(np.linalg.det(triangles)), 1.0 + sum(dots))


def in_triangles(points, triangles):
    """Which points lie in one of the triangles."""
    found = np.zeros(len(points), bool)
    for t in triangles:
        turn = np.sign(np.linalg.det(t))
        sides = [points @ np.cross(t[i], t[(i + 1) % 3]) * turn > 0 for i in range(3)]
        found |= np.all(sides, axis=0)
    return found


def spike(point, order):
    """All of the mass in the cell of an order around a point (3,)."""
    own = cells_at(order, point[None])[0] >> 2 * np.arange(order, -1, -1)
    beside = [4 * (own[level] // 4) + np.arange(4) if level else np.arange(12) for level in range(order + 1)]
    cells = [to_nuniq(level, i[i != own[level]]) for level, i in enumerate(beside)]
    last = to_nuniq(order, own[-1:])
    return MultiOrderMap.from_cells(np.concatenate([*cells, last]), np.r_[np.zeros(sum(map(len, cells))), 1.0])


# Discs


@settings(max_examples=40, deadline=None, derandomize=True)
@given(LATITUDES, LONGITUDES, st.floats(0, 4.3))
def test_of_the_uniform_law_a_disc_holds_its_share_of_the_sphere(latitude, longitude, decades):
    radius = 10.0**decades
    assert mass_inside(UNIFORM, Disc.of(latitude, longitude, radius)) == pytest.approx(
        cap(radius), rel=0.5 * TOLERANCE, abs=1e-9
    )


def test_a_disc_of_nothing_and_one_of_everything():
    assert mass_inside(UNIFORM, Disc.of(10.0, 180.0, 0.0)) < 1e-9
    assert mass_inside(UNIFORM, Disc.of(10.0, 180.0, np.pi * EARTH_RADIUS_KM)) == pytest.approx(1.0, abs=1e-12)
    assert mass_inside(UNIFORM, Disc.of(10.0, 180.0, 1e6)) == 1.0


@pytest.mark.parametrize("order", [19, MAX_ORDER])
@pytest.mark.parametrize("place", PLACES)
def test_what_lies_in_one_small_cell_is_wholly_inside_or_wholly_outside(place, order):
    """Of 12 m and of 12 mm: nothing is lost between cells of such different orders."""
    law = spike(at(place), order)
    assert mass_inside(law, Disc(at(place), 1e-4)) == pytest.approx(1.0)
    assert mass_inside(law, Disc(-at(place), 1.0)) < 1e-9
    latitudes, longitudes, _ = star(at(place), np.random.default_rng(1))
    assert mass_inside(law, Polygon.of(latitudes, longitudes)) == pytest.approx(1.0)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(SEEDS)
def test_the_tolerance_is_held_for_any_map(seed):
    rng = np.random.default_rng(seed)
    law = random_map(rng, 80, deepest=9)
    for point in anywhere(1, rng):
        disc = Disc(point, float(10.0 ** rng.uniform(-3, 0.4)))
        exact = mass_inside(law, disc, 1e-4)
        for tolerance in (1e-1, 1e-2, 1e-3):
            assert mass_inside(law, disc, tolerance) == pytest.approx(exact, rel=1.2 * tolerance, abs=2e-9)


@pytest.mark.parametrize(("latitude", "longitude"), [(90.5, 0), (np.nan, 0), (0, 180.5), (0, np.inf)])
def test_a_place_that_is_none_is_refused(latitude, longitude):
    with pytest.raises(ValueError, match="within"):
        Disc.of(latitude, longitude, 10.0)
    with pytest.raises(ValueError, match="within"):
        Polygon.of([0.0, 10.0, latitude], [0.0, 10.0, longitude])
    with pytest.raises(ValueError, match="within"):
        Polygon.of([0.0, 10.0, 5.0], [0.0, 10.0, 20.0], inside=(latitude, longitude))


@pytest.mark.parametrize("radius", [-1.0, np.nan, np.inf])
def test_a_radius_that_is_none_is_refused(radius):
    with pytest.raises(ValueError, match="radius"):
        Disc.of(0.0, 0.0, radius)


# Polygons


def test_an_octant_is_an_eighth():
    """Its corners and edges lie on those of the cells."""
    for sign in (-90.0, 90.0):
        for west in (-180.0, -90.0, 0.0, 90.0):
            octant = Polygon.of([0.0, 0.0, sign], [west, west + 90.0, 0.0])
            assert mass_inside(UNIFORM, octant) == pytest.approx(1 / 8, rel=TOLERANCE)


@pytest.mark.parametrize("inside", [(0.0, 0.0), (0.0, -90.0), (0.0, 180.0), (-41.8103, 45.0)])
def test_a_point_inside_says_which_half_of_the_sphere(inside):
    """Its antipode may be a cell's centre, to which no one arc leads."""
    latitudes, longitudes = [0.5, 0.5, 0.5], [0.0, 120.0, -120.0]
    southern = MultiOrderMap(UNIFORM.cells, np.r_[np.zeros(8), np.full(4, 0.25)])
    assert mass_inside(southern, Polygon.of(latitudes, longitudes, inside)) == pytest.approx(1.0)
    assert mass_inside(southern, Polygon.of(latitudes, longitudes, (80.0, 10.0))) < 1e-9
    assert mass_inside(UNIFORM, Polygon.of([0.0] * 3, longitudes, (1.0, 10.0))) == pytest.approx(0.5, rel=TOLERANCE)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(SEEDS, st.one_of(st.sampled_from(list(PLACES.values())), st.tuples(LATITUDES, LONGITUDES)))
def test_of_the_uniform_law_a_polygon_holds_its_share_of_the_sphere(seed, place):
    latitudes, longitudes, triangles = star(unit_vectors(*place), np.random.default_rng(seed))
    expected = triangle_areas(triangles).sum() / (4.0 * np.pi)
    found = mass_inside(UNIFORM, Polygon.of(latitudes, longitudes))
    assert found == pytest.approx(expected, rel=TOLERANCE)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(SEEDS)
def test_a_polygon_holds_what_its_triangles_hold(seed):
    rng = np.random.default_rng(seed)
    law = random_map(rng)
    latitudes, longitudes, triangles = star(anywhere(1, rng)[0], rng)
    found = mass_inside(law, Polygon.of(latitudes, longitudes))
    drawn = in_triangles(inside(law, 20_000, rng), triangles).mean()
    assert abs(found - drawn) < 5.0 * np.sqrt(found * (1 - found) / 20_000) + 1e-3


@settings(max_examples=6, deadline=None, derandomize=True)
@given(SEEDS, st.integers(0, 8))
def test_neither_the_sense_nor_the_first_vertex_matter_and_the_rest_is_outside(seed, first):
    rng = np.random.default_rng(seed)
    law = random_map(rng)
    place = anywhere(1, rng)[0]
    corners = star(place, rng)[:2]
    found = mass_inside(law, Polygon.of(*corners))
    for same in ([np.roll(c, first)[::-1] for c in corners], [np.append(c, c[0]) for c in corners]):
        assert mass_inside(law, Polygon.of(*same)) == pytest.approx(found, rel=TOLERANCE, abs=1e-9)
    latitude, longitude = coordinates(-place)
    rest = mass_inside(law, Polygon.of(corners[0], corners[1], (float(latitude), float(longitude))))
    assert rest == pytest.approx(1.0 - found, abs=TOLERANCE)


@pytest.mark.parametrize("east", [180.0, -180.0])
def test_edges_across_longitude_180_go_the_short_way(east):
    latitudes = [-10.0, -10.0, 10.0, 10.0]
    here = mass_inside(UNIFORM, Polygon.of(latitudes, [-20.0, 0.0, 0.0, -20.0]))
    assert mass_inside(UNIFORM, Polygon.of(latitudes, [160.0, east, -east, 160.0])) == pytest.approx(
        here, rel=TOLERANCE
    )
    astride = mass_inside(UNIFORM, Polygon.of(latitudes, [170.0, -170.0, -170.0, 170.0]))
    assert astride == pytest.approx(here, rel=TOLERANCE)


def test_where_edges_cross_sides_alternate():
    """A bow tie: its two halves are inside, what is between them is not."""
    bow = Polygon.of([-10, 10, -10, 10], [-10, 10, 10, -10])
    found = bow.holds(unit_vectors([5.0, -5.0, 0.0, 0.0], [0.0, 0.0, 5.0, -5.0]))
    assert found.tolist() == [False, False, True, True]


def test_a_coast_of_a_thousand_vertices_takes_seconds_at_most():
    rng = np.random.default_rng(3)
    longitudes = np.linspace(-180.0, 180.0, 1000, endpoint=False)
    latitudes = 70.0 - 8.0 * rng.random(1000)
    rim = unit_vectors(latitudes, longitudes)
    pole = np.broadcast_to([0.0, 0.0, 1.0], rim.shape)
    expected = triangle_areas(np.stack([pole, rim, np.roll(rim, -1, axis=0)], axis=1)).sum() / (4.0 * np.pi)
    begin = time.monotonic()
    assert mass_inside(UNIFORM, Polygon.of(latitudes, longitudes)) == pytest.approx(expected, rel=1e-4)
    assert time.monotonic() - begin < 20.0


def test_a_polygon_without_an_inside_has_no_mass_and_comes_to_an_end(monkeypatch):
    monkeypatch.setattr(shape, "_MOST_CUT", 2000)
    assert mass_inside(UNIFORM, Polygon.of([0.0, 0.0, 0.0], [0.0, 10.0, 5.0])) < 1e-5


@pytest.mark.parametrize(
    ("latitudes", "longitudes", "message"),
    [
        ([], [], "three"),
        ([0, 1], [0, 1], "three"),
        ([0, 1, 0, 1], [0, 1, 0, 1], "three"),
        ([90, 90, 90, 0], [0, 50, 100, 0], "three"),
        ([0, 0, 5], [180, -180, 0], "three"),
        ([0, 0, 5], [0, 180, 90], "antipodes"),
        ([0, 0, 0], [0, 120, -120], "equally large"),
        ([0, 1, 2], [0, 1], "one latitude and one longitude"),
        (1.0, 2.0, "one latitude and one longitude"),
    ],
)
def test_what_is_no_polygon_is_refused(latitudes, longitudes, message):
    with pytest.raises(ValueError, match=message):
        Polygon.of(np.asarray(latitudes, float), np.asarray(longitudes, float))


def test_a_point_on_the_border_is_not_inside():
    with pytest.raises(ValueError, match="on its border"):
        Polygon.of([0, 0, 90], [0, 90, 0], inside=(0.0, 45.0))
