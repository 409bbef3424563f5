"""The log-polar Gabor bank of GIST, and the mean magnitude of its responses over a grid.

The transfer functions are those of LMgist.m, the code of Oliva & Torralba, "Modeling the shape of the
scene" (IJCV 42(3), 2001), read as published in the LabelMe toolbox: a filter of centre frequency f0
(cycles/pixel) and orientation theta, one of n at its scale, is

    H(f, phi) = exp(-3.5 (f / f0 - 1)^2) exp(-2 pi (n / 8)^2 (phi + theta)^2)

with phi + theta taken into [-pi, pi]: a Gaussian in log-polar terms on one side of the frequency plane, so
the response is complex and its magnitude the local amplitude of that frequency and orientation.

Only |response| averaged over a grid's fields is asked for, and that allows two economies. A filter is nil
outside of a band, so a response need not be computed at every pixel: an inverse transform just large enough
for the band gives samples of it. And moving the band to the origin changes a response by a phase only.
Together they save three quarters of the time and change GIST by half a percent of its length (cosine
0.99999), where two photos lie some 70 percent apart: the tests hold it against the plain road.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

TOP_FREQUENCY = 0.3
"""Centre of the finest scale, cycles/pixel."""
SCALE_STEP = 1.85
"""Ratio of the centres of neighbouring scales."""
_CUTOFF = 0.02
"""A filter's band ends where it falls below this share of its peak."""
_SAMPLES_PER_FIELD = 6
"""The fewest samples along a side of a field that its mean is taken over."""

Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class GaborBank:
    """A bank of filters for square pictures.

    Attributes:
        size: the pictures' side, pixels.
        padding: pixels by which a picture is continued symmetrically on all sides, as the transform is
            periodic.
        orientations: number of orientations at each scale, finest first.
        grid: fields along a side.
    """

    size: int = 128
    padding: int = 32
    orientations: tuple[int, ...] = (6, 6, 6, 6)
    grid: int = 5

    def energies(self, image: Floats32) -> Floats32:
        """Mean |response| in each field.

        A field is a ``grid``-th of the picture's side exactly, be it a whole number of pixels or not (LMgist
        rounds down), hence a mirrored picture has mirrored fields.

        Args:
            image: (size, size) float32.

        Returns:
            (sum(orientations), grid, grid) float32: scales from fine to coarse, orientations, rows, columns.
        """
        pad = self.padding
        padded = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REFLECT)
        spectrum = np.fft.fftshift(_dft(padded.astype(np.complex64)))
        result = np.empty((sum(self.orientations), self.grid, self.grid), np.float32)
        for band, fields in zip(_bands(self), result, strict=True):
            magnitude = np.abs(band.response(spectrum)[band.inside, band.inside])
            cv2.resize(magnitude, fields.shape, dst=fields, interpolation=cv2.INTER_AREA)
        return result

    @property
    def padded_size(self) -> int:
        """Side of the padded picture, pixels."""
        return self.size + 2 * self.padding


def transfer_function(size: int, frequency: float, orientation: int, orientations: int) -> NDArray[np.float64]:
    """One filter in the frequency domain.

    Args:
        size: of the (padded) picture, even.
        frequency: of the centre, cycles/pixel.
        orientation: which of the ``orientations`` of its scale, from 0.
        orientations: how many its scale has.

    Returns:
        (size, size) float64, rows of vertical and columns of horizontal frequency, from -size/2 to size/2 - 1
        cycles/picture. Zero at frequency 0 and at -size/2, which stands for both signs: neither has a
        direction. LMgist keeps them; without them the filters of a mirrored picture are the mirrored filters.
    """
    cycles = np.arange(-size // 2, size // 2)
    radius = np.hypot(*np.meshgrid(cycles, cycles)) / size
    angle = np.arctan2(cycles[:, None], cycles[None, :]) + np.pi * orientation / orientations
    angle = np.remainder(angle + np.pi, 2 * np.pi) - np.pi
    width = 2 * np.pi * (orientations / 8) ** 2
    response = np.exp(-3.5 * (radius / frequency - 1) ** 2 - width * angle**2)
    response[0, :] = response[:, 0] = response[size // 2, size // 2] = 0.0
    return np.asarray(response)


@dataclass(frozen=True)
class _Band:
    """One filter cut to its band.

    Attributes:
        rows, columns: the band's place in the centred spectrum.
        kernel: complex64, the filter there, with the phase that puts samples at the centres of their cells.
        samples: of the response, along a side of the padded picture.
        inside: those that lie in the picture itself.
    """

    rows: slice
    columns: slice
    kernel: NDArray[np.complex64]
    samples: int
    inside: slice

    def response(self, spectrum: NDArray[np.complex64]) -> NDArray[np.complex64]:
        """(samples, samples) complex64: the response but for a phase, which its magnitude does not see."""
        height, width = self.kernel.shape
        band = np.zeros((self.samples, self.samples), np.complex64)
        np.multiply(spectrum[self.rows, self.columns], self.kernel, out=band[:height, :width])
        return _dft(band, cv2.DFT_INVERSE)


@cache
def _bands(bank: GaborBank) -> tuple[_Band, ...]:
    return tuple(
        _cut(bank, TOP_FREQUENCY / SCALE_STEP**scale, orientation, count)
        for scale, count in enumerate(bank.orientations)
        for orientation in range(count)
    )


def _cut(bank: GaborBank, frequency: float, orientation: int, orientations: int) -> _Band:
    size = bank.padded_size
    full = transfer_function(size, frequency, orientation, orientations)
    rows, columns = (_extent(np.max(full, axis=axis) >= _CUTOFF) for axis in (1, 0))
    samples = _sample_count(bank, max(rows.stop - rows.start, columns.stop - columns.start))
    # Sample k of a side stands for a cell of size/samples pixels, whose centre lies at (k + 1/2) cells,
    # less half a pixel as pixels' centres are whole numbers.
    centre = (size / samples - 1) / 2
    phase = np.exp(2j * np.pi * centre * np.arange(-size // 2, size // 2) / size)
    kernel = (full * phase[:, None] * phase[None, :])[rows, columns] / size**2
    border = bank.padding * samples // size
    return _Band(rows, columns, kernel.astype(np.complex64), samples, slice(border, samples - border))


def _extent(true: NDArray[np.bool_]) -> slice:
    places = np.flatnonzero(true)
    return slice(int(places[0]), int(places[-1]) + 1)


def _sample_count(bank: GaborBank, band: int) -> int:
    """The fewest samples of a response that hold its band, fill the fields, and are quick to transform.

    The border of the picture has to fall between samples.
    """
    size = bank.padded_size
    unit = size // math.gcd(size, bank.padding)
    least = max(band, math.ceil(_SAMPLES_PER_FIELD * bank.grid * size / bank.size))
    quick = (count for count in range(unit, size, unit) if count >= least and _is_quick(count))
    return next(quick, size)


def _is_quick(count: int) -> bool:
    while count % 2 == 0:
        count //= 2
    return count in (1, 3, 9)


def _dft(values: NDArray[np.complex64], flags: int = 0) -> NDArray[np.complex64]:
    """OpenCV's transform, unscaled: three times as fast as pocketfft, numpy's and scipy's, at these sizes."""
    pairs = values.view(np.float32).reshape(*values.shape, 2)
    return np.asarray(cv2.dft(pairs, flags=flags)).view(np.complex64)[..., 0]
