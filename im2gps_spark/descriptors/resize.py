"""The one way in which descriptors bring pictures to their size."""

from __future__ import annotations

import cv2
import numpy as np

from im2gps_spark.descriptors.protocol import Pixels


def stretch(pixels: Pixels, side: int) -> Pixels:
    """A picture stretched to a square, without regard to its shape: nothing of the scene is cut off.

    Shrinking averages over the area of each new pixel, which does not alias; growing interpolates linearly. A
    picture that has to shrink along one axis and to grow along the other does so in this order, for OpenCV's
    area interpolation is one only where both axes shrink.

    Args:
        pixels: (height, width, 3) uint8.
        side: of the square, pixels.

    Returns:
        (side, side, 3) uint8, a copy.
    """
    height, width = pixels.shape[:2]
    smaller = (min(width, side), min(height, side))
    shrunk = cv2.resize(pixels, smaller, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
