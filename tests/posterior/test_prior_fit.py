import numpy as np
import pytest

from im2gps_spark.grid import cell_centres, cells_at
from im2gps_spark.posterior.prior import PLACE_ORDER, WIDTHS_KM, Places, Shape
from im2gps_spark.posterior.prior_fit import LEAST_PHOTOS, fit_shape, kernel_columns
from im2gps_spark.posterior.shares import POINTS_ORDER, cells_through
from im2gps_spark.sphere import concentration, vmf_density
from tests.posterior.laws import anywhere, around, at


def pooled(points, steps=None, votes=None):
    cells = cells_at(PLACE_ORDER, points)
    step = np.zeros(len(points), np.int8) if steps is None else np.asarray(steps, np.int8)
    return Places(cells, step, np.ones(len(points)) if votes is None else votes)


def test_columns_are_sums_of_kernels_by_width():
    rng = np.random.default_rng(0)
    places = np.concatenate([around(np.tile(at("longitude 180"), (30, 1)), 50.0, rng), anywhere(100, rng)])
    votes = rng.random(130)
    points = places[:10, None]
    found = kernel_columns(points, pooled(places, votes=votes))
    for i, width in enumerate(WIDTHS_KM):
        chord = np.sum((points[:, 0][:, None] - places[None]) ** 2, axis=-1)
        exact = vmf_density(chord, concentration(width)) @ votes
        # Places are pooled in cells of four tenths of a width, and of 1.6 km.
        np.testing.assert_allclose(found[:, i], exact, rtol=0.15)


def test_a_row_is_the_mean_over_its_points():
    rng = np.random.default_rng(1)
    photos = pooled(around(np.tile(at("Paris"), (50, 1)), 100.0, rng))
    inside = cell_centres(POINTS_ORDER, cells_through(at("Paris")[None]))
    each = kernel_columns(inside[0][:, None], photos)
    np.testing.assert_allclose(kernel_columns(inside, photos)[0], each.mean(axis=0), rtol=1e-3)


def test_a_geotag_that_is_rough_has_its_own_width_for_the_narrower_ones():
    rough = kernel_columns(at("Paris")[None, None], pooled(at("Paris")[None], [3]))[0]
    exact = kernel_columns(at("Paris")[None, None], pooled(at("Paris")[None], [0]))[0]
    assert rough[:3] == pytest.approx(np.full(3, exact[3]))
    assert rough[3:] == pytest.approx(exact[3:])


@pytest.mark.parametrize("width", range(1, len(WIDTHS_KM)))
def test_the_width_that_photos_are_spread_by_gets_most(width):
    rng = np.random.default_rng(2)
    towns = anywhere(60, rng)
    corpus = around(towns[rng.integers(0, 60, 3000)], WIDTHS_KM[width], rng)
    photos = around(towns[rng.integers(0, 60, 1000)], WIDTHS_KM[width], rng)
    shape = fit_shape(kernel_columns(photos[:, None], pooled(corpus)) / len(corpus))
    assert sum(shape.shares) == pytest.approx(1.0)
    # Kernels about photos that are spread by a width: narrower ones will do where those are many.
    assert sum(shape.shares[max(width - 2, 0) : width + 1]) > 0.6
    assert sum(shape.shares[width + 2 :]) < 0.1


def test_photographers_who_return_to_the_same_sights_make_it_narrow():
    rng = np.random.default_rng(3)
    sights = anywhere(100, rng)
    corpus, photos = sights[rng.integers(0, 100, 3000)], sights[rng.integers(0, 100, 600)]
    shape = fit_shape(kernel_columns(photos[:, None], pooled(corpus)) / len(corpus))
    assert shape.shares[0] > 0.6
    assert shape.uniform == 0.06
    assert sum(shape.shares) == pytest.approx(1.0)


def test_photos_all_over_are_the_uniform_laws():
    rng = np.random.default_rng(4)
    photos = anywhere(600, rng)
    corpus = around(np.tile(at("Paris"), (500, 1)), 100.0, rng)
    assert fit_shape(kernel_columns(photos[:, None], pooled(corpus)) / 500).uniform > 0.5


def test_few_photos_leave_the_defaults():
    assert fit_shape(np.ones((LEAST_PHOTOS - 1, len(WIDTHS_KM)))) == Shape()


def test_a_shapes_text_is_the_whole_of_it_and_other_widths_are_refused():
    shape = fit_shape(np.random.default_rng(5).random((400, len(WIDTHS_KM))))
    assert Shape.from_json(shape.to_json()) == shape
    with pytest.raises(ValueError, match="widths"):
        Shape.from_json(shape.to_json().replace("1600.0", "1500.0"))
