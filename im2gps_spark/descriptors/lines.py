"""How the straight edges of a picture run, and how long they are: two histograms of 17 bins.

IM2GPS (Hays & Efros, CVPR 2008) finds straight lines among Canny's edges in the way of Video Compass (Kosecka & Zhang,
ECCV 2002) and takes histograms of their angles and of their lengths, 17 bins each (read second-hand); the L1 distance
is from memory, and not taken: square roots of shares make squared Euclidean distance twice the squared Hellinger
distance, as in :mod:`color`.

What differs: segments are found by LSD (Grompone von Gioi et al., "LSD: a Line Segment Detector", IPOL 2012), OpenCV's
own, which groups pixels by the direction of their gradient as Video Compass does, but has no threshold to set for
edges: noise has no segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.protocol import Pixels, Vectors

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

LONGEST_SIDE = 128
"""Pixels of the picture's longest side when segments are looked for; smaller pictures stay as they are. It keeps its
shape: stretched, it would have other angles. Of 128, 160, 200 and 256 none gained clearly more on the places of 2,000
photos of Flickr, and the smallest is five times as fast as the largest."""
BINS = 17
"""Of angles, and of lengths."""
SHORTEST, LONGEST = 0.02, 1.0
"""Centres of the first and the last bin of lengths, as shares of the longest side; the others between them in equal
ratios. What lies beyond is counted there."""

Floats = NDArray[np.float64]


def segments(pixels: Pixels) -> Floats:
    """The straight edges of a picture.

    Args:
        pixels: (height, width, 3) uint8, RGB.

    Returns:
        (n, 4) float64: x, y of both ends, as shares of the longest side.
    """
    grey = _shrunk(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)))
    found: NDArray | None = cv2.createLineSegmentDetector(cv2.LSD_REFINE_NONE).detect(grey)[0]
    if found is None:
        return np.zeros((0, 4))
    return np.asarray(found.reshape(-1, 4) / float(max(grey.shape)), np.float64)


def _shrunk(grey: NDArray) -> NDArray:
    height, width = grey.shape
    ratio = LONGEST_SIDE / max(height, width)
    if ratio >= 1:
        return grey
    size = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))


def histograms(ends: Floats) -> Floats:
    """Shares of the segments' total length by angle and by length.

    A segment is shared by the two bins whose centres it lies between, in proportion to its nearness.

    Args:
        ends: (n, 4), see :func:`segments`.

    Returns:
        (2, 17) float64. Of angles: bin k is about 180 k / 17 degrees, counted from horizontal against the clock, and
        wraps, so that a mirrored segment is in bin -k. Of lengths: from short to long. Each sums to 1, or is 0
        where there are no segments.
    """
    across, up = ends[:, 2] - ends[:, 0], ends[:, 1] - ends[:, 3]
    length = np.hypot(across, up)
    ends, across, up, length = (values[length > 0] for values in (ends, across, up, length))
    if not len(length):
        return np.zeros((2, BINS))
    turn = np.arctan2(up, across) / np.pi * BINS
    grade = np.log(length / SHORTEST) / np.log(LONGEST / SHORTEST) * (BINS - 1)
    grade = np.clip(grade, 0, BINS - 1)
    return np.asarray(np.stack([_counted(place, length) for place in (turn, grade)]) / length.sum())


def _counted(place: Floats, weight: Floats) -> Floats:
    """Weights by place, in bins; places wrap, which those of lengths never reach."""
    low = np.floor(place)
    above = place - low
    first = low.astype(np.int64) % BINS
    below = np.bincount(first, weight * (1 - above), minlength=BINS)
    return np.asarray(below + np.bincount((first + 1) % BINS, weight * above, minlength=BINS))


@dataclass(frozen=True)
class Lines:
    """The descriptor ``lines``: square roots of shares, 17 by angle and 17 by length.

    The squared distance of two pictures is from 0 to 4. All zeros where there is no straight edge.
    """

    name: ClassVar[str] = "lines"
    dimension: ClassVar[int] = 2 * BINS
    preprocessing: ClassVar[str] = (
        f"luminance, longest side {LONGEST_SIDE} at most, area interpolation; segments by LSD"
    )

    @property
    def version(self) -> str:
        """Hash of the parameters and of the code's revision."""
        return fingerprint(
            descriptor=self.name, revision=REVISION, size=LONGEST_SIDE, bins=BINS, lengths=[SHORTEST, LONGEST]
        )

    def prepare(self, pixels: Pixels) -> NDArray:
        """(2, 17) float64, the histograms: a picture that keeps its shape has no fixed size to be handed on in."""
        return histograms(segments(pixels))

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, 34) float32 of n pairs of histograms."""
        return np.sqrt(np.reshape(prepared, (len(prepared), self.dimension))).astype(np.float32)
