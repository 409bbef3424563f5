import numpy as np
import pytest

from im2gps_spark.posterior.accuracy import least_width_km


@pytest.mark.parametrize(
    ("level", "least", "most"),
    [(16, 0.1, 0.5), (11, 10, 15), (6, 200, 400), (3, 1000, 4000), (1, 5000, 10_000), (0, 0.1, 0.5)],
)
def test_widths_of_the_levels_that_flickr_names(level, least, most):
    assert least <= least_width_km(np.array([level]))[0] <= most


def test_each_level_halves_the_width():
    width = least_width_km(np.arange(1, 17))
    assert np.all(np.diff(width) < 0)
    assert width[2:] == pytest.approx(width[1:-1] / 2)


def test_unknown_accuracy_widens_nothing():
    assert least_width_km(np.array([0, 16])).tolist() == [least_width_km(np.arange(17)).min()] * 2


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint8])
def test_shape_and_type(kind):
    width = least_width_km(np.array([16, 6, 6, 0], kind))
    assert width.shape == (4,)
    assert width.dtype == np.float64
    assert least_width_km(np.zeros(0, kind)).shape == (0,)


def test_the_table_can_t_be_changed_from_outside():
    least_width_km(np.array([6]))[0] = 0.0
    assert least_width_km(np.array([6]))[0] > 200


@pytest.mark.parametrize("level", [-1, 17, 127, -128])
def test_other_levels_are_refused_by_number(level):
    with pytest.raises(ValueError, match=f"accuracy {level} is no level"):
        least_width_km(np.array([16, level], np.int8))


@pytest.mark.parametrize("levels", [[6.0], [np.nan], [True]])
def test_what_is_no_whole_number_is_refused(levels):
    with pytest.raises(ValueError, match="whole numbers"):
        least_width_km(np.array(levels))
