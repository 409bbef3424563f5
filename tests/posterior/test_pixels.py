import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import MAX_ORDER, MultiOrderMap
from im2gps_spark.posterior import pixels
from im2gps_spark.posterior.pixels import pixel_areas_sr, pixel_masses
from im2gps_spark.posterior.shape import Disc, Polygon, mass_inside
from im2gps_spark.sphere import unit_vectors
from tests.posterior.laws import PLACES, SEEDS, at, random_map
from tests.posterior.test_shape import spike

UNIFORM = MultiOrderMap.uniform()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (18, 36), (181, 90)])
def test_pixels_share_the_sphere(height, width):
    area = pixel_areas_sr(height, width)
    assert area.sum() * width == pytest.approx(4 * np.pi)
    assert area == pytest.approx(area[::-1])
    np.testing.assert_allclose(pixel_masses(UNIFORM, height, width, 20), np.tile(area[:, None], width) / (4 * np.pi))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 40), st.integers(1, 80), st.integers(1, 3), st.integers(1, MAX_ORDER))
def test_no_mass_is_lost_however_small_or_large_the_cells(seed, height, width, side, deepest):
    law = random_map(np.random.default_rng(seed), 60, deepest)
    mass = pixel_masses(law, height, width, side)
    assert mass.shape == (height, width)
    assert mass.min() >= 0
    assert mass.sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("order", [12, 20, MAX_ORDER])
@pytest.mark.parametrize("place", PLACES)
def test_a_small_cell_is_in_the_pixel_of_its_place(place, order):
    mass = pixel_masses(spike(at(place), order), 90, 180, 2)
    row, column = np.unravel_index(mass.argmax(), mass.shape)
    latitude, longitude = PLACES[place]
    assert mass[row, column] == pytest.approx(1.0)
    assert abs(latitude - (89.0 - 2.0 * row)) <= 1.01
    away = (longitude - (-179.0 + 2.0 * column) + 180.0) % 360.0 - 180.0
    assert abs(away) <= 1.01 or abs(latitude) == 90.0


def test_rows_go_from_north_to_south_and_columns_from_west_to_east():
    quarter = MultiOrderMap(UNIFORM.cells, np.r_[np.ones(4) / 4, np.zeros(8)])  # about the north pole
    mass = pixel_masses(quarter, 4, 8, 8)
    assert mass[0].sum() > 0.4
    assert mass[2:].sum() == 0.0
    east = pixel_masses(spike(unit_vectors(12.0, 103.0), 8), 18, 36, 2)
    assert east[7, 28] == pytest.approx(1.0)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(SEEDS)
def test_rows_are_bands_of_latitude_and_columns_lunes(seed):
    law = random_map(np.random.default_rng(seed))
    mass = pixel_masses(law, 18, 36, 8)
    caps = [mass_inside(law, Disc(at("north pole"), np.radians(angle))) for angle in (30.0, 60.0, 90.0, 150.0)]
    assert np.cumsum(mass.sum(axis=1))[[2, 5, 8, 14]] == pytest.approx(caps, abs=0.01)
    lune = Polygon.of([90.0, 0.0, -90.0, 0.0], [0.0, 170.0, 0.0, -160.0])
    assert mass[:, [35, 0, 1]].sum() == pytest.approx(mass_inside(law, lune), abs=0.01)


def test_it_is_the_same_in_one_go_and_in_many(monkeypatch):
    law = random_map(np.random.default_rng(3))
    whole = pixel_masses(law, 20, 30, 3)
    monkeypatch.setattr(pixels, "_AT_ONCE", 200)
    np.testing.assert_allclose(pixel_masses(law, 20, 30, 3), whole, rtol=1e-12)
