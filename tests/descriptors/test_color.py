"""The histogram of colours: what it counts, and what it must not react to."""

from __future__ import annotations

import numpy as np
import pytest

from im2gps_spark.descriptors import color
from im2gps_spark.descriptors.color import BINS, HIGHEST, LOWEST, Color, histogram
from tests.descriptors.pictures import natural, through_jpeg
from tests.descriptors.test_lab import cie_lab


def described(*pictures: np.ndarray) -> np.ndarray:
    descriptor = Color()
    return descriptor.describe([descriptor.prepare(pixels) for pixels in pictures])


def of_colour(*rgb: int) -> np.ndarray:
    return np.full((128, 128, 3), rgb, np.uint8)


@pytest.mark.parametrize("rgb", [(90, 120, 160), (200, 170, 120), (128, 128, 128), (30, 60, 20)])
def test_one_colour_is_counted_where_it_lies(rgb):
    """The mean of the bins' centres, each as often as it was counted, is the colour itself."""
    found = histogram(of_colour(*rgb))
    assert found.shape == BINS
    assert np.count_nonzero(found) <= 8
    for axis, value in enumerate(cie_lab(np.array(rgb))):
        step = (HIGHEST[axis] - LOWEST[axis]) / BINS[axis]
        centres = LOWEST[axis] + step * (np.arange(BINS[axis]) + 0.5)
        shares = found.sum(axis=tuple({0, 1, 2} - {axis}))
        assert shares @ centres == pytest.approx(np.clip(value, centres[0], centres[-1]), abs=0.05)


@pytest.mark.parametrize("rgb", [(0, 0, 255), (0, 255, 0), (255, 0, 255), (255, 255, 255), (0, 0, 0)])
def test_colours_beyond_the_bins_are_counted_at_the_edge(rgb):
    found = histogram(of_colour(*rgb))
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0


def test_two_halves_share_the_pixels():
    left, right = (0, 0, 0), (220, 40, 40)
    picture = of_colour(*left)
    picture[:, 64:] = right
    expected = (histogram(of_colour(*left)) + histogram(of_colour(*right))) / 2
    np.testing.assert_allclose(histogram(picture), expected, atol=1e-12)


def test_squared_distance_is_twice_the_squared_hellinger_distance():
    pictures = natural(0), natural(1)
    first, second = (histogram(picture).ravel() for picture in pictures)
    hellinger = 1 - np.sqrt(first * second).sum()
    a, b = described(*pictures).astype(float)
    assert np.sum((a - b) ** 2) == pytest.approx(2 * hellinger, rel=1e-4)
    a, b = described(of_colour(0, 0, 0), of_colour(255, 255, 255)).astype(float)
    assert np.sum((a - b) ** 2) == pytest.approx(2, rel=1e-6)


def test_it_does_not_see_where_colours_are():
    picture = natural(2)
    vector, mirrored, upside_down = described(picture, picture[:, ::-1].copy(), picture[::-1].copy())
    np.testing.assert_allclose(mirrored, vector, atol=1e-5)
    np.testing.assert_allclose(upside_down, vector, atol=1e-5)


def test_jpeg_changes_it_little():
    picture = natural(3, 375, 500)
    vector, again, tinted = described(picture, through_jpeg(picture, 50), np.roll(picture, 1, axis=2))
    assert np.sum((vector - again) ** 2) < 0.005
    assert np.sum((vector - tinted) ** 2) > 0.05


def test_the_version_follows_the_parameters(monkeypatch):
    version = Color().version
    monkeypatch.setattr(color, "HIGHEST", (100.0, 60.0, 60.0))
    assert Color().version != version
