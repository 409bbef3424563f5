"""Numbers as a reader wants them, and text from strangers made harmless."""

from __future__ import annotations

import base64
import math
from html import escape

from im2gps_spark.sphere import SPHERE_AREA_KM2

DASH = "–"
_NBSP = "\N{NO-BREAK SPACE}"
"""Keeps a number and its unit on one line."""

_LADDER = (
    (3.41, "Central Park"),
    (59.0, "Manhattan"),
    (105.0, "Paris"),
    (730.0, "Singapore"),
    (2_590.0, "Luxembourg"),
    (9_250.0, "Cyprus"),
    (41_300.0, "Switzerland"),
    (92_000.0, "Portugal"),
    (357_000.0, "Germany"),
    (1_000_000.0, "Egypt"),
    (2_780_000.0, "Argentina"),
    (7_690_000.0, "Australia"),
    (17_100_000.0, "Russia"),
    (44_600_000.0, "Asia"),
)
"""km^2; what people have a picture of."""
_HALF_WORLD = 100e6


def text(value: object) -> str:
    """Anything as HTML text, for attributes too; a lone surrogate, which no file can hold, becomes '?'."""
    clean = str(value).encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    return escape(clean, quote=True)


def data_uri(picture: bytes, kind: str) -> str:
    """Bytes of a picture as an address that needs no network; kind is 'jpeg' or 'png'."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def coordinates(latitude: float, longitude: float) -> str:
    """Such as 12.3° N, 45.6° E: a tenth of a degree is some 10 km, finer than most answers."""
    lat, lon = round(latitude, 1), round(longitude, 1)
    return f"{abs(lat):.1f}°{_NBSP}{'S' if lat < 0 else 'N'}, {abs(lon):.1f}°{_NBSP}{'W' if lon < 0 else 'E'}"


def rounded(value: float) -> str:
    """Three significant digits, with commas from a thousand on."""
    if value < 0:
        return "−" + rounded(-value)
    if value >= 100:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    if value >= 1:
        return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.2g}"


def signed(value: float) -> str:
    """Two decimals, with a real minus."""
    return f"{value:.2f}".replace("-", "−")


def kilometres(km: float) -> str:
    """A distance on the ground."""
    return f"{km:.1f}{_NBSP}km" if km < 10 else f"{km:,.0f}{_NBSP}km"


def square_kilometres(km2: float) -> str:
    """An area on the ground."""
    number = f"{rounded(km2 / 1e6)} million" if km2 >= 1e6 else rounded(km2)
    return f"{number}{_NBSP}km²"


def comparison(km2: float) -> str:
    """An area in terms of a well-known one."""
    if km2 >= _HALF_WORLD:
        return f"{percent(km2 / SPHERE_AREA_KM2)} of the Earth"
    known = [(size, name) for size, name in _LADDER if size <= km2 * 1.15]
    if not known:
        return f"smaller than {_LADDER[0][1]}"
    size, name = known[-1]
    times = km2 / size
    return f"about the size of {name}" if times < 1.25 else f"about {times:.1f} times {name}"


def percent(share: float) -> str:
    """A probability or share, 0 to 1."""
    value = 100.0 * share
    if 0 < value < 0.1:
        return f"under 0.1{_NBSP}%"
    return f"{value:.0f}{_NBSP}%" if value >= 10 or value == 0 else f"{value:.1f}{_NBSP}%"


def place(name: str, country: str) -> str:
    """A place and its country, as far as known; as HTML."""
    return ", ".join(text(part) for part in (name, country) if part)


def figure(value: object) -> str:
    """A number or a word in a table, as HTML; a triple is a value with the ends of its interval."""
    if value is None or value == "":
        return DASH
    if isinstance(value, bool) or not isinstance(value, int | float | tuple | list):
        return text(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return rounded(value) if math.isfinite(value) else DASH if math.isnan(value) else text(value)
    if len(value) != 3:
        return ", ".join(figure(part) for part in value)
    middle, low, high = (figure(part) for part in value)
    return f'{middle} <span class="range">{low} to {high}</span>'
