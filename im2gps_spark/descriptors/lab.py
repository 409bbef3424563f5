"""Small pictures in CIE L*a*b*: the one place where descriptors get their colours from."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.protocol import Pixels


def lab_thumbnail(pixels: Pixels, side: int) -> NDArray[np.float32]:
    """The picture shrunk to ``side`` x ``side`` by area, in CIE L*a*b* (D65, from sRGB).

    Returns:
        (side, side, 3) float32: L* in 0..100; a*, b* about -127..127.
    """
    small = cv2.resize(pixels.astype(np.float32) / 255, (side, side), interpolation=cv2.INTER_AREA)
    # sRGB's curve (IEC 61966-2-1) by hand: COLOR_RGB2Lab goes by a coarse table and errs by 0.3 units.
    linear = np.where(small <= 0.04045, small / 12.92, ((small + 0.055) / 1.055) ** 2.4)
    return np.asarray(cv2.cvtColor(linear.astype(np.float32), cv2.COLOR_LRGB2Lab), np.float32)
