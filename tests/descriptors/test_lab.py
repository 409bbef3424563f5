"""L*a*b* against the formulas of the standards, and against published values."""

from __future__ import annotations

import numpy as np
import pytest

from im2gps_spark.descriptors.lab import lab_thumbnail
from tests.descriptors.pictures import natural


def cie_lab(rgb: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1 (sRGB, D65) and CIE 15: from 0..255 to L*, a*, b*, in float64."""
    coded = np.asarray(rgb, float) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_xyz = [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
    x, y, z = np.moveaxis(linear @ np.transpose(to_xyz) / [0.95047, 1.0, 1.08883], -1, 0)
    fx, fy, fz = (np.where(v > (6 / 29) ** 3, np.cbrt(v), v / (3 * (6 / 29) ** 2) + 4 / 29) for v in (x, y, z))
    return np.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], axis=-1)


def test_the_thumbnail_is_lab_of_the_fields_means():
    pixels = natural(5, 100, 100)
    means = pixels.reshape(5, 20, 5, 20, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(lab_thumbnail(pixels, 5), cie_lab(means), atol=0.03)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb, lab):
    thumbnail = lab_thumbnail(np.full((10, 10, 3), rgb, np.uint8), 1)
    np.testing.assert_allclose(thumbnail[0, 0], lab, atol=0.03)
