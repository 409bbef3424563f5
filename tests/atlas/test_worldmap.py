import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.atlas import heat
from im2gps_spark.atlas.azimuthal import around
from im2gps_spark.atlas.entry import Neighbour, Place
from im2gps_spark.atlas.equal_earth import world
from im2gps_spark.atlas.worldmap import Marks, detail_radius_km, draw, draw_detail, heatmap
from im2gps_spark.grid import MultiOrderMap, to_nuniq
from im2gps_spark.sphere import coordinates
from tests.atlas.laws import bump, pixels, single_cell

WIDTH = 240


def lit_at(picture: np.ndarray, latitude: float, longitude: float, reach: int = 1) -> int:
    """The most opaque of the pixels about a place."""
    grid = world(picture.shape[1])
    x, y = (int(v) for v in grid.xy(latitude, longitude))
    near = picture[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1, 3]
    return int(near.max())


@settings(max_examples=40, deadline=None)
@given(st.floats(-90.0, 90.0), st.floats(-180.0, 180.0), st.integers(0, 20))
def test_the_smallest_cell_is_on_the_map_with_all_its_mass(latitude, longitude, order):
    mass = heatmap(single_cell(latitude, longitude, order), WIDTH)
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)
    assert np.all(mass[world(WIDTH).coverage == 0] == 0)


@pytest.mark.parametrize("place", [(-13.16, -72.5), (-17.0, 180.0), (90.0, 0.0), (-90.0, 100.0), (65.0, -169.0)])
def test_a_single_cell_of_order_12_is_seen(place: Place):
    law = single_cell(*place, order=12)
    latitude, longitude = coordinates(law.centres[law.mass.argmax()])  # at a pole, any meridian's end
    assert lit_at(pixels(draw(law, width=WIDTH, with_backdrop=False)), float(latitude), float(longitude)) > 200


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_mass_on_the_raster_is_the_laws(order, seed):
    weights = np.random.default_rng(seed).pareto(1.0, 12 * 4**order) + 1e-9
    law = MultiOrderMap(to_nuniq(order, np.arange(len(weights))), weights / weights.sum())
    assert heatmap(law, WIDTH).sum() == pytest.approx(1.0, abs=1e-9)


def test_mixed_orders_keep_their_shares():
    """Cells of all sizes at once: each spot has the mass of its own cell, to a pixel's rounding."""
    peak = single_cell(10.0, 20.0, 14)
    broad = bump(-30.0, 130.0, 800.0)
    coarse = np.union1d(peak.starts, broad.starts)
    order = np.maximum(peak.order[peak_at(peak, coarse)], broad.order[peak_at(broad, coarse)])
    index = coarse >> (2 * (29 - order))
    mass = 0.3 * peak.mass_within(order, index) + 0.7 * broad.mass_within(order, index)
    law = MultiOrderMap(to_nuniq(order, index), mass)
    drawn = heatmap(law, WIDTH)
    x, y = (int(v) for v in world(WIDTH).xy(10.0, 20.0))
    assert drawn[y - 1 : y + 2, x - 1 : x + 2].sum() == pytest.approx(0.3, abs=0.01)
    assert drawn.sum() == pytest.approx(1.0, abs=1e-9)


def peak_at(law: MultiOrderMap, starts: np.ndarray) -> np.ndarray:
    return np.searchsorted(law.starts, starts, side="right") - 1


@pytest.mark.parametrize("order", [3, 4, 5])
def test_the_uniform_law_is_even(order):
    n = 12 * 4**order
    law = MultiOrderMap(to_nuniq(order, np.arange(n)), np.full(n, 1.0 / n))
    inner = heatmap(law, 720)[world(720).coverage == 1]
    assert inner.std() / inner.mean() < 0.03


@pytest.mark.parametrize("latitude", [0.0, 45.0, -70.0])
def test_a_spread_looks_as_large_at_any_latitude(latitude):
    """The equal-area property, seen on the picture: pixels inside the 90 % outline."""
    grid = world(720)

    def area(at: float) -> int:
        field = heat.density(grid.masses(bump(at, 10.0, 900.0, order=6)), grid)
        return int((field >= heat.seen_levels(field, grid, (0.9,))[0]).sum())

    assert area(latitude) == pytest.approx(area(20.0), rel=0.03)


@pytest.mark.parametrize("place", [(0.0, 180.0), (-17.0, -179.9), (90.0, 0.0), (-90.0, 0.0), (66.0, -169.0)])
def test_dateline_poles_and_the_maps_edge(place: Place):
    law = bump(*place, width_km=400.0)
    field = heatmap(law, WIDTH)
    assert field.sum() == pytest.approx(1.0, abs=1e-9)
    assert lit_at(pixels(draw(law, width=WIDTH, mode=place, truth=place)), *place) == 255


def test_levels_hold_their_shares():
    grid = world(WIDTH)
    law = bump(20.0, 30.0, 1500.0)
    field = heat.density(grid.masses(law), grid)
    for share, level in zip((0.5, 0.9), heat.seen_levels(field, grid, (0.5, 0.9)), strict=True):
        held = float((field * grid.coverage)[field >= level].sum() / (field * grid.coverage).sum())
        assert share <= held < share + 0.02
    # On an analytic law: a von Mises-Fisher disc of share s ends at density (1 - s) of the peak's.
    half, most = heat.law_levels(law, (0.5, 0.9))
    peak = float(law.density.max()) * 4.0 * np.pi
    assert half / peak == pytest.approx(0.5, abs=0.03)
    assert most / peak == pytest.approx(0.1, abs=0.03)
    assert half > most


def test_an_answer_that_says_nothing_is_dim():
    flat = pixels(draw(MultiOrderMap.uniform(), width=WIDTH, with_backdrop=False))
    spot = pixels(draw(bump(0.0, 11.0, 300.0), width=WIDTH, with_backdrop=False))
    middle = flat.shape[0] // 2, WIDTH // 2
    assert flat[middle][:3].max() < 190 < spot[middle][:3].min()
    assert flat[middle][3] < 230 < spot[middle][3]


def test_a_law_without_mass_is_an_empty_map():
    empty = MultiOrderMap(to_nuniq(0, np.arange(12)), np.zeros(12))
    assert not pixels(draw(empty, width=WIDTH, with_backdrop=False))[..., 3].any()


def test_pictures_are_the_same_bytes_and_clear_outside():
    law = bump(40.0, 10.0, 300.0, floor=0.1)
    first = draw(law, width=WIDTH, mode=(40.0, 10.0), truth=(41.0, 9.0))
    assert first == draw(law, width=WIDTH, mode=(40.0, 10.0), truth=(41.0, 9.0))
    picture = pixels(first)
    assert picture.shape == (world(WIDTH).height, WIDTH, 4)
    assert picture[0, 0, 3] == picture[-1, -1, 3] == 0


def test_marks_leave_their_traces():
    law = bump(40.0, 10.0, 300.0)
    there = Neighbour(1, -30.0, -60.0, 0.1, 0.0)
    plain = pixels(draw(law, width=WIDTH, with_backdrop=False))
    marked = pixels(draw(law, width=WIDTH, with_backdrop=False, truth=(0.0, 100.0), neighbours=[there]))
    for place in ((0.0, 100.0), (-30.0, -60.0)):
        assert lit_at(plain, *place) == 0
        assert lit_at(marked, *place, reach=2) > 100


def test_a_place_off_the_earth_is_refused():
    with pytest.raises(ValueError, match="latitude"):
        draw_detail(bump(0.0, 0.0, 300.0), radius_km=500.0, width=64, marks=Marks(), centre=(91.0, 0.0))


def test_close_up_only_for_tight_answers():
    assert detail_radius_km(single_cell(10.0, 20.0, 12), (10.0, 20.0)) == 100.0
    assert detail_radius_km(bump(10.0, 20.0, 300.0), (10.0, 20.0)) == 1000.0
    assert detail_radius_km(MultiOrderMap.uniform(), (10.0, 20.0)) is None


@pytest.mark.parametrize("place", [(43.8, 11.3), (-17.0, 180.0), (90.0, 0.0)])
def test_close_up_shows_the_peak_in_its_middle(place: Place):
    marks = Marks(None, (0.0, 50.0), ())
    png = draw_detail(single_cell(*place, order=14), radius_km=250.0, width=120, marks=marks, centre=place)
    picture = pixels(png)
    assert picture.shape == (120, 120, 4)
    assert picture[0, 0, 3] == 0
    assert picture[58:62, 58:62, :3].max() > 200


def test_close_up_holds_the_mass_that_is_near():
    law = bump(43.8, 11.3, 100.0, order=8)
    grid = around(43.8, 11.3, 1000.0, 100)
    assert grid.masses(law).sum() == pytest.approx(1.0, abs=0.01)
    assert grid.masses(single_cell(43.8, 11.3, 20)).sum() == pytest.approx(1.0, abs=1e-9)
    assert grid.masses(single_cell(-43.8, 11.3, 20)).sum() == 0.0
