"""From a view to a JPEG file as a camera would have left it: exposure, white balance, grain, compression."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Self

import cv2
import numpy as np

from im2gps_spark.descriptors.protocol import Pixels

_GRAIN_SIDE = 1024
_GRAIN_SPREAD = 32.0
"""Standard deviation of the stored grain, levels; four of them fit into a byte."""


@dataclass(frozen=True)
class Exposure:
    """How a photo departs from the view that it shows.

    Attributes:
        gain: factor on the light.
        gamma: exponent on it; below 1 lifts the shadows.
        contrast: factor on the distance from middle grey.
        balance: factors on red, green and blue.
        grain: standard deviation of the noise, levels.
        quality: of the JPEG, 1 to 100.
    """

    gain: float
    gamma: float
    contrast: float
    balance: tuple[float, float, float]
    grain: float
    quality: int

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        """One that leaves the place recognisable."""
        red, blue = rng.normal(1.0, 0.03, 2)
        return cls(
            gain=float(rng.uniform(0.9, 1.25)),
            gamma=float(rng.uniform(0.75, 1.05)),
            contrast=float(rng.uniform(0.9, 1.15)),
            balance=(float(red), 1.0, float(blue)),
            grain=float(rng.uniform(0.5, 3.0)),
            quality=int(rng.integers(75, 96)),
        )


def expose(view: Pixels, exposure: Exposure, rng: np.random.Generator) -> Pixels:
    """The view (height, width, 3) RGB as the camera records it; the generator moves the grain about."""
    light = np.arange(256)[:, None] / 255.0 * exposure.gain * np.array(exposure.balance)
    curve = 0.5 + exposure.contrast * (np.clip(light, 0.0, 1.0) ** exposure.gamma - 0.5)
    table = np.rint(np.clip(curve, 0.0, 1.0) * 255.0).astype(np.uint8)[None]
    height, width = view.shape[:2]
    top, left = rng.integers(0, [_GRAIN_SIDE - height + 1, _GRAIN_SIDE - width + 1])
    grain = _grain()[top : top + height, left : left + width]
    share = exposure.grain / _GRAIN_SPREAD
    return np.asarray(cv2.addWeighted(cv2.LUT(view, table), 1.0, grain, share, -128.0 * share), np.uint8)


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """The file's bytes of an RGB picture (height, width, 3)."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()


@cache
def _grain() -> Pixels:
    """White noise around 128, drawn once and cut from at random: fresh noise costs more than the view."""
    noise = np.random.default_rng(0).normal(128.0, _GRAIN_SPREAD, (_GRAIN_SIDE, _GRAIN_SIDE, 3))
    return np.rint(np.clip(noise, 0.0, 255.0)).astype(np.uint8)
