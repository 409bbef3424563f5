"""The colours of the maps, chosen in a perceptually even space (Ottosson's Oklab)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.sphere import Floats

Colour = tuple[int, int, int]
"""sRGB, 0 to 255 each."""

SEA: Colour = (16, 24, 39)
LAND: Colour = (47, 58, 76)
GRATICULE: Colour = (148, 163, 190)
CONTOUR: Colour = (255, 255, 255)
INK: Colour = (6, 9, 16)
"""What markers are rimmed with, so that they stand out from heat as well as from the sea."""
MODE: Colour = (255, 255, 255)
TRUTH: Colour = (94, 234, 212)
NEIGHBOUR: Colour = (226, 232, 240)

_STOPS = ((76, 70, 158), (140, 66, 170), (209, 70, 130), (247, 124, 88), (253, 190, 96), (255, 248, 204))
"""From faint to dense, ever lighter: the order survives colour blindness and a print in greys."""

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def oklab(srgb: NDArray) -> Floats:
    """Oklab coordinates (..., 3) of sRGB colours (..., 3) from 0 to 255; the first is lightness, 0 to 1."""
    v = np.asarray(srgb, np.float64) / 255.0
    linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T)


def _srgb(lab: Floats) -> Floats:
    linear = ((lab @ np.linalg.inv(_TO_LAB).T) ** 3) @ np.linalg.inv(_TO_LMS).T
    linear = np.clip(linear, 0.0, 1.0)
    return np.asarray(255.0 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@lru_cache(maxsize=1)
def ramp() -> NDArray[np.float32]:
    """(256, 4) float32: sRGB from 0 to 255, and opacity from 0 to 1, from nothing to the densest.

    Equal steps of the scale are equal steps of colour to the eye. The faint end fades into the map beneath.
    """
    stops = oklab(np.array(_STOPS))
    walked = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(stops, axis=0), axis=1))])
    at = np.linspace(0.0, walked[-1], 256)
    lab = np.stack([np.interp(at, walked, stops[:, channel]) for channel in range(3)], axis=1)
    t = np.linspace(0.0, 1.0, 256)
    fade = np.clip(t / 0.5, 0.0, 1.0)
    opacity = 0.95 * fade * fade * (3.0 - 2.0 * fade)
    table = np.concatenate([_srgb(lab), opacity[:, None]], axis=1).astype(np.float32)
    table.flags.writeable = False
    return table


def css(colour: Colour) -> str:
    """A colour in CSS' notation."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def css_ramp() -> str:
    """The colour ramp as a CSS gradient over the map's land, for legends."""
    table = ramp()[:: 255 // 15]
    mixed = table[:, 3:] * table[:, :3] + (1.0 - table[:, 3:]) * np.array(LAND)
    stops = ", ".join(css((int(r), int(g), int(b))) for r, g, b in np.rint(mixed))
    return f"linear-gradient(to right, {stops})"
