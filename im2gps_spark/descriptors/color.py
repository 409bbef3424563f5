"""Which colours a picture has, wherever they are: a joint histogram over CIE L*a*b* in 784 numbers.

IM2GPS (Hays & Efros, CVPR 2008) counts pixels in 4 x 14 x 14 bins of L*, a* and b* and compares by chi-squared (the
numbers of bins read second-hand, the distance from memory). Not known, and hence constants here: the bins' range, and
how a pixel between two bins is counted.

A vector holds the square roots of the shares, so its length is 1 and the squared Euclidean distance of two is twice
the squared Hellinger distance of the histograms: 0 for equal ones, 2 for such as have no bin in common. It behaves
like chi-squared, of which it is the leading term where histograms differ little, and suits an index that knows L2 only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.gist import SIZE
from im2gps_spark.descriptors.lab import lab_thumbnail
from im2gps_spark.descriptors.protocol import Pixels, Vectors
from im2gps_spark.descriptors.resize import stretch

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

SIDE = 64
"""Side of the picture whose pixels are counted: each is the mean of some fifty of a photo's, so that what JPEG does to
single pixels, and to colour at half their resolution, has no say."""
BINS = (4, 14, 14)
"""Of L*, a*, b*."""
LOWEST = (0.0, -70.0, -70.0)
HIGHEST = (100.0, 70.0, 70.0)
"""Outer edges of the bins; what lies beyond is counted in the outermost. sRGB reaches to 108 in blue, photos rarely."""

_STRIDES = np.array([BINS[1] * BINS[2], BINS[2], 1])


def histogram(picture: Pixels) -> NDArray[np.float64]:
    """Shares of the pixels in each bin.

    A pixel between the centres of two bins is shared by them, along each axis, in proportion to its nearness: so a
    small change of colour is a small change of the histogram.

    Args:
        picture: (n, n, 3) uint8, RGB, at least ``SIDE`` to a side.

    Returns:
        (4, 14, 14) float64, L*, a*, b*; its sum is 1.
    """
    lab = lab_thumbnail(picture, SIDE).reshape(-1, 3)
    lowest, highest, bins = (np.array(values, np.float32) for values in (LOWEST, HIGHEST, BINS))
    place = np.clip((lab - lowest) * (bins / (highest - lowest)) - np.float32(0.5), 0, bins - 1)
    low = np.minimum(place.astype(np.int64), np.array(BINS) - 2)
    shares = np.stack([low + 1 - place, place - low], axis=2)
    parts = shares[:, 0, :, None, None] * shares[:, 1, None, :, None] * shares[:, 2, None, None, :]
    corners = np.indices((2, 2, 2)).reshape(3, 8)
    counted = (low @ _STRIDES)[:, None] + _STRIDES @ corners
    total = np.bincount(counted.ravel(), parts.ravel(), minlength=int(np.prod(BINS)))
    return np.asarray(total.reshape(BINS) / len(lab))


@dataclass(frozen=True)
class Color:
    """The descriptor ``color``: 784 square roots of shares (L*, a*, b*), of length 1.

    It does not change when the picture is mirrored or turned upside down, but for rounding.
    """

    name: ClassVar[str] = "color"
    dimension: ClassVar[int] = BINS[0] * BINS[1] * BINS[2]
    preprocessing: ClassVar[str] = f"RGB stretched to {SIZE} x {SIZE}, area interpolation"

    @property
    def version(self) -> str:
        """Hash of the parameters and of the code's revision."""
        return fingerprint(
            descriptor=self.name, revision=REVISION, size=[SIZE, SIDE], bins=BINS, range=[LOWEST, HIGHEST]
        )

    def prepare(self, pixels: Pixels) -> NDArray:
        """(128, 128, 3) uint8, the same picture as that of ``gist``."""
        return stretch(pixels, SIZE)

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, 784) float32 of n prepared pictures."""
        result = np.empty((len(prepared), self.dimension), np.float32)
        for picture, row in zip(prepared, result, strict=True):
            row[...] = np.sqrt(histogram(picture)).ravel()
        return result
