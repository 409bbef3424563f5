"""Stretching: means over areas, copies, and every shape of picture."""

from __future__ import annotations

import numpy as np
import pytest

from im2gps_spark.descriptors.resize import stretch


def test_shrinking_averages_over_areas():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    means = pixels.reshape(20, 3, 20, 2, 3).mean(axis=(1, 3))
    assert np.abs(stretch(pixels, 20) - means).max() <= 0.51


def test_shrinking_does_not_alias_where_the_other_axis_grows():
    stripes = np.zeros((4, 1000, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.all(stretch(stripes, 100) == 100)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (7, 3), (128, 128), (127, 129), (2000, 300)])
def test_every_shape_becomes_the_square(shape):
    pixels = np.full((*shape, 3), (10, 20, 30), np.uint8)
    square = stretch(pixels, 128)
    assert square.shape == (128, 128, 3)
    assert square.dtype == np.uint8
    assert np.all(square == (10, 20, 30))
    assert not np.may_share_memory(square, pixels)
