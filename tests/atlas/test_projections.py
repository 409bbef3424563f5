import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from im2gps_spark.atlas import azimuthal, equal_earth
from im2gps_spark.atlas.entry import Place
from im2gps_spark.sphere import distance_km, unit_vectors

latitudes = st.floats(-89.9, 89.9)
longitudes = st.floats(-180.0, 180.0)


def stretch(forward, latitude, longitude):
    """Area on the plane of a small square on the ground, over its area on the ground."""
    h = 1e-5
    north = np.subtract(forward(latitude + h, longitude), forward(latitude - h, longitude))
    east = np.subtract(forward(latitude, longitude + h), forward(latitude, longitude - h))
    square = (2.0 * np.radians(h)) ** 2 * np.cos(np.radians(latitude))
    return float((east[0] * north[1] - east[1] * north[0]) / square)


@given(latitudes, longitudes)
def test_equal_earth_is_undone_by_its_inverse(latitude, longitude):
    back = equal_earth.inverse(*equal_earth.forward(latitude, longitude))
    assert distance_km(unit_vectors(*back), unit_vectors(latitude, longitude)) < 1e-3


@given(st.floats(-89.0, 89.0), st.floats(-167.0, 179.0))
def test_equal_earth_keeps_areas(latitude, longitude):
    assert stretch(equal_earth.forward, latitude, longitude) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("centre", [(43.8, 11.3), (0.0, 180.0), (90.0, 0.0), (-89.9, -120.0)])
def test_close_ups_keep_areas_and_put_north_up(centre: Place):
    grid = azimuthal.around(*centre, radius_km=500.0, width=64)
    disc = 2.0 * np.pi * (1.0 - np.cos(500.0 / 6371.0))
    assert float(grid.coverage.sum()) * grid.pixel_area_sr == pytest.approx(disc, rel=0.01)
    assert np.allclose(grid.xy(*centre), 32.0, atol=1e-6)
    _, row = grid.xy(centre[0] - 1.0 if centre[0] > 0 else centre[0] + 1.0, centre[1])
    assert row > 32.0 if centre[0] > 0 else row < 32.0


def test_close_up_refuses_a_radius_that_is_none():
    with pytest.raises(ValueError, match="radius"):
        azimuthal.around(0.0, 0.0, 0.0, 64)


@pytest.mark.parametrize("width", [16, 97, 240])
def test_pixels_of_the_world_add_up_to_the_sphere(width):
    grid = equal_earth.world(width)
    assert float(grid.coverage.sum()) * grid.pixel_area_sr == pytest.approx(4.0 * np.pi, rel=0.5 / width)
    assert grid.coverage[0, 0] == 0.0
    assert grid.coverage[grid.height // 2, width // 2] == 1.0
    assert np.all(np.diff(grid.curve) >= 0)


def test_the_map_is_cut_where_no_country_is():
    west, _ = equal_earth.forward(65.0, equal_earth.CENTRAL_MERIDIAN - 179.99)
    east, _ = equal_earth.forward(65.0, equal_earth.CENTRAL_MERIDIAN + 179.99)
    assert west < 0 < east
    assert equal_earth.inverse(0.0, 0.0)[1] == pytest.approx(equal_earth.CENTRAL_MERIDIAN)


def test_points_off_the_map_are_nowhere():
    assert np.isnan(equal_earth.inverse(equal_earth.X_MAX * 0.999, equal_earth.Y_MAX * 0.999)[0])
    assert np.isnan(equal_earth.inverse(0.0, equal_earth.Y_MAX * 1.01)[0])


@pytest.mark.parametrize("width", [0, 15, 4097])
def test_widths_out_of_range_are_refused(width):
    with pytest.raises(ValueError, match="wide"):
        equal_earth.world(width)
