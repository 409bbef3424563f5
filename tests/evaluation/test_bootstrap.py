"""Intervals by owners."""

import numpy as np
import pytest

from im2gps_spark.evaluation.bootstrap import Bootstrap, Figure


def ends(figure: Figure) -> tuple[float, float]:
    assert figure.low is not None
    assert figure.high is not None
    return figure.low, figure.high


def width(figure: Figure) -> float:
    low, high = ends(figure)
    return high - low


def test_a_mean_has_its_value_and_its_usual_interval():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, 400)
    figure = Bootstrap(np.arange(400), 2000).mean("m", values)
    assert (figure.metric, figure.n) == ("m", 400)
    assert figure.value == values.mean()
    half = 1.96 * values.std() / np.sqrt(400)
    assert figure.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert figure.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_photos_of_one_owner_count_as_one():
    """A hundred copies of each of ten values tell no more than the ten."""
    values = np.random.default_rng(1).normal(size=10)
    once = Bootstrap(np.arange(10), 4000).mean("m", values)
    copies = Bootstrap(np.repeat(np.arange(10), 100), 4000).mean("m", np.repeat(values, 100))
    alone = Bootstrap(np.arange(1000), 4000).mean("m", np.repeat(values, 100))
    assert width(copies) == pytest.approx(width(once), rel=0.05)
    assert width(alone) < 0.2 * width(once)


def test_medians_are_medians_and_their_intervals_hold():
    values = np.random.default_rng(2).exponential(size=501)
    figure = Bootstrap(np.arange(501), 1000).median("m", values)
    assert figure.value == np.median(values)
    low, high = ends(figure)
    assert low < figure.value < high
    assert width(figure) < 0.4


def test_guesses_of_a_photo_are_weighted_with_it():
    """All guesses of the one far photo: it is in or out, so the median is the one value or the other."""
    errors = np.array([[1.0] * 5, [1.0] * 5, [9.0] * 5])
    figure = Bootstrap(np.array(["a", "b", "c"]), 500).median("m", errors)
    assert (figure.value, figure.low, figure.high, figure.n) == (1.0, 1.0, 9.0, 3)


@pytest.mark.parametrize(("owners", "resamples"), [(["a"] * 5, 100), (list("abcde"), 0)])
def test_one_owner_or_no_resamples_give_no_interval(owners, resamples):
    draw = Bootstrap(np.array(owners), resamples)
    for figure in (draw.mean("m", np.arange(5.0)), draw.median("m", np.arange(5.0))):
        assert (figure.value, figure.low, figure.high) == (2.0, None, None)


def test_some_of_the_photos_are_resampled_by_their_owners():
    draw = Bootstrap(np.array(["a", "a", "b", "c"]), 100)
    some = np.array([True, True, False, False])
    assert draw.among(np.ones(4, bool)) is draw
    assert draw.among(some).owners == 1
    assert draw.among(some) is draw.among(some.copy())


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(3).normal(size=50)
    assert Bootstrap(np.arange(50), 200).mean("m", values) == Bootstrap(np.arange(50), 200).mean("m", values)
