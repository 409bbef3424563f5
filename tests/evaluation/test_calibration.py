import numpy as np
import pytest

from im2gps_spark.evaluation.bootstrap import Bootstrap
from im2gps_spark.evaluation.calibration import histogram, reliability


def test_uniform_levels_lie_on_the_diagonal():
    level = np.random.default_rng(0).random(5000)
    found = reliability(level, Bootstrap(np.arange(5000), 300))
    assert found.observed == pytest.approx(found.nominal, abs=0.03)
    assert np.all(found.low <= found.observed)
    assert np.all(found.observed <= found.high)
    assert (found.low <= found.nominal).mean() > 0.7


def test_levels_that_are_low_lie_above_it():
    found = reliability(np.random.default_rng(1).random(5000) ** 2, Bootstrap(np.arange(5000), 0))
    assert np.all(found.observed[1:-1] > found.nominal[1:-1])
    assert np.array_equal(found.low, found.observed)


def test_the_histogram_counts_everyone_and_its_range_holds_a_calibrated_one():
    inside = []
    for seed in range(100):
        found = histogram(np.random.default_rng(seed).random(300))
        assert found.counts.sum() == 300
        assert found.low < found.expected == 30.0 < found.high
        inside.append(np.mean((found.counts >= found.low) & (found.counts <= found.high)))
    assert np.mean(inside) == pytest.approx(0.96, abs=0.02)
