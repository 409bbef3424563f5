"""Pictures that descriptors are tried on."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 128


def natural(seed: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A picture with the spectrum of natural ones: amplitude falling as 1 / frequency."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    radius[0, 0] = np.inf
    noise = np.fft.fft2(rng.normal(size=(3, height, width))) / radius
    waves = np.fft.ifft2(noise).real.transpose(1, 2, 0)
    return np.asarray(np.clip(128 + 45 * waves / waves.std(), 0, 255), np.uint8)


def through_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """A picture as it is after coding and decoding."""
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
