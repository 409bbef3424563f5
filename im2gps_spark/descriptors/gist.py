"""GIST with colour: the layout of a scene in 600 numbers of texture and 75 of colour.

Oliva & Torralba, "Modeling the shape of the scene: a holistic representation of the spatial envelope" (IJCV
42(3), 2001), as their code LMgist.m computes it; IM2GPS (Hays & Efros, CVPR 2008) takes 6 orientations at 4
scales and sets a thumbnail of 5 x 5 in L*a*b* beside it (both read second-hand). From memory, and hence
constants here rather than "as in the paper": the grid of 5 x 5, and squared Euclidean distance over both
parts.

What differs from LMgist.m, on purpose: the picture is stretched where LMgist crops it to a square;
luminance is that of Rec. 601 in place of the mean of R, G and B; its range is not stretched to 0..255,
which one bright pixel could upset; and what :mod:`gabor` says of its fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.gabor import SCALE_STEP, TOP_FREQUENCY, Floats32, GaborBank
from im2gps_spark.descriptors.lab import lab_thumbnail
from im2gps_spark.descriptors.protocol import Pixels, Vectors
from im2gps_spark.descriptors.resize import stretch

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

SIZE = 128
"""Side of the picture that is described, pixels."""
CUTOFF_CYCLES = 4.0
"""fc of the prefilter, cycles/picture: its low-pass falls to one half there."""
PREFILTER_PADDING = 5
"""Pixels of symmetric continuation for the prefilter, as in LMgist.m."""
CONTRAST_FLOOR = 0.2
"""Added to the local contrast it divides by, as in LMgist.m: flat regions (sky) stay flat."""
BANK = GaborBank(size=SIZE, padding=32, orientations=(6, 6, 6, 6), grid=5)

# Each part is divided by the root mean square distance of two random photos in it, measured once on 2,000
# photos of Flickr, so that neither the unit of L*a*b* nor the number of filters decides what counts. Then
# texture takes two thirds of the squared distance and colour one: the weights of Hays & Efros' Scene
# Completion, from memory, and among the best for the likelihood of those 2,000 photos' places.
TEXTURE_SPREAD = 1.32
COLOUR_SPREAD = 190.0
TEXTURE_SHARE = 2.0 / 3.0


def prefilter(luminance: Floats32) -> Floats32:
    """Whitens a picture and evens out its local contrast.

    The logarithm less its low-pass, divided by its local deviation (the root of its low-passed square) and a
    floor. Low-passes are Gaussian and periodic on the continued picture.

    Args:
        luminance: (n, n) float32 in 0..255.

    Returns:
        (n, n) float32, about zero and of unit order.
    """
    pad = PREFILTER_PADDING
    padded = cv2.copyMakeBorder(np.log1p(luminance), pad, pad, pad, pad, cv2.BORDER_REFLECT)
    log = np.asarray(padded, np.float32)
    detail = log - _low_pass(log)
    contrast = np.sqrt(np.abs(_low_pass(detail**2)))  # |.|: rounding may leave a zero negative
    return np.asarray(detail / (CONTRAST_FLOOR + contrast), np.float32)[pad:-pad, pad:-pad]


def _low_pass(image: Floats32) -> Floats32:
    # A transform rather than a product of matrices: BLAS rounds differently with each number of threads.
    spectrum = scipy.fft.rfft2(image) * _gaussian(len(image))
    return np.asarray(scipy.fft.irfft2(spectrum, s=image.shape), np.float32)


@cache
def _gaussian(size: int) -> Floats32:
    down, across = np.fft.fftfreq(size, 1 / size), np.fft.rfftfreq(size, 1 / size)
    squared = down[:, None] ** 2 + across[None, :] ** 2
    return np.asarray(np.exp(-squared * np.log(2) / CUTOFF_CYCLES**2), np.float32)


@dataclass(frozen=True)
class Gist:
    """The descriptor ``gist``.

    A vector is 600 mean magnitudes (scale, orientation, row, column) and 75 of L*a*b* (row, column,
    channel). The squared distance of two random photos is about 1 on average. A vector depends on its
    picture only, bit by bit: neither on the batch nor on the number of threads.
    """

    name: ClassVar[str] = "gist"
    dimension: ClassVar[int] = (sum(BANK.orientations) + 3) * BANK.grid**2
    preprocessing: ClassVar[str] = f"RGB stretched to {SIZE} x {SIZE}, area interpolation"

    @property
    def version(self) -> str:
        """Hash of the parameters and of the code's revision."""
        return fingerprint(
            descriptor=self.name,
            revision=REVISION,
            size=SIZE,
            prefilter=[CUTOFF_CYCLES, PREFILTER_PADDING, CONTRAST_FLOOR],
            bank=[BANK.padding, BANK.orientations, BANK.grid, TOP_FREQUENCY, SCALE_STEP],
            weights=[TEXTURE_SPREAD, COLOUR_SPREAD, TEXTURE_SHARE],
        )

    def prepare(self, pixels: Pixels) -> NDArray:
        """(128, 128, 3) uint8."""
        return stretch(pixels, SIZE)

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, 675) float32 of n prepared pictures."""
        result = np.empty((len(prepared), self.dimension), np.float32)
        for pixels, row in zip(prepared, result, strict=True):
            luminance = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
            texture = BANK.energies(prefilter(luminance)).ravel()
            colour = lab_thumbnail(pixels, BANK.grid).ravel()
            row[: texture.size] = texture * np.float32(TEXTURE_SHARE**0.5 / TEXTURE_SPREAD)
            row[texture.size :] = colour * np.float32((1 - TEXTURE_SHARE) ** 0.5 / COLOUR_SPREAD)
        return result
