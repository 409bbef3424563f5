"""The picture of 16 x 16."""

from __future__ import annotations

import cv2
import numpy as np

from im2gps_spark.descriptors import tiny
from im2gps_spark.descriptors.tiny import CHROMA, SCALE, SIDE, Tiny
from tests.descriptors.pictures import natural, through_jpeg
from tests.descriptors.test_lab import cie_lab


def described(*pictures: np.ndarray) -> np.ndarray:
    descriptor = Tiny()
    return descriptor.describe([descriptor.prepare(pixels) for pixels in pictures])


def test_it_is_lab_of_the_fields_means():
    picture = natural(0)
    means = picture.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3))
    (vector,) = described(picture)
    np.testing.assert_allclose(vector.reshape(16, 16, 3) * SCALE, cie_lab(means) * [1, CHROMA, CHROMA], atol=0.06)


def test_black_and_white_lie_one_apart():
    black, white = described(np.zeros((20, 30, 3), np.uint8), np.full((20, 30, 3), 255, np.uint8))
    assert np.abs(np.linalg.norm(white - black) - 1) < 1e-3


def test_a_mirrored_picture_mirrors_the_pixels():
    picture = natural(1)
    vector, mirrored = described(picture, picture[:, ::-1].copy())
    grid = vector.reshape(SIDE, SIDE, 3)
    np.testing.assert_allclose(mirrored.reshape(SIDE, SIDE, 3), grid[:, ::-1], atol=1e-6)


def test_size_and_jpeg_change_it_little():
    picture, other = natural(2, 375, 500), natural(3, 375, 500)
    half = np.asarray(cv2.resize(picture, (250, 188), interpolation=cv2.INTER_AREA))
    vector, again, different = described(picture, through_jpeg(half, 60), other)
    assert np.sum((vector - again) ** 2) < 0.01 * np.sum((vector - different) ** 2)


def test_the_version_follows_the_parameters(monkeypatch):
    version = Tiny().version
    monkeypatch.setattr(tiny, "CHROMA", 1.0)
    assert Tiny().version != version
