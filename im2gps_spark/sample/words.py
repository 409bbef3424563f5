"""What people write beside their photos, in many scripts, with what a web page must not take at its word."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from im2gps_spark.sample.places import Place

HOSTILE_EVERY = 20
"""One photo in so many has a text of ``HOSTILE`` for its title, a tag and its description."""

HOSTILE = (
    "<b>bold</b> coast",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><!-- ",
    "'); DROP TABLE photos; --",
    "tab\there, line\nbreak, null \\N",
    "50% off & more + &lt;already escaped&gt;",
    "\u202egnp.eman \u200b\ufeff",
    '=HYPERLINK("https://example.org")',
    "{{7*7}} ${HOME} %s %n",
)
"""Markup, quotes, separators, escapes, invisible marks and formulas: harmless when taken for text."""

_TITLES = (
    "{}",
    "View of {}",
    "{} from above",
    "Über {}",
    "Vista aérea de {}",
    "Вид на {}",
    "Θέα: {}",
    "منظر {}",
    "נוף {}",
    "{} की तस्वीर",
    "{}の眺め",
    "{}上空",
    "{} 전경",
    "ทิวทัศน์ {}",
    "{} 🌍✨",
    "🏖️ {}",
)
_TITLES_AT_SEA = (
    "Window seat",
    "Nothing but blue",
    "Облака",
    "海の上",
    "في مكان ما",
    "कहीं",
    "✈️",
    "Where is this?",
)
_TAGS = (
    "travel",
    "aerial",
    "coast",
    "view",
    "satellite",
    "bluemarble",
    "путешествие",
    "سفر",
    "旅行",
    "यात्रा",
    "📷",
    "earth",
)
_DESCRIPTIONS = (
    "",
    "",
    "",
    "Taken on the way home.",
    'More in <a href="https://example.org/sets/1">my set</a>.',
    "Снято по дороге домой.\nЕщё фото — позже.",
    "帰り道に撮影。",
)
_NAMES = (
    "Ada M.",
    "r0ver",
    "José Ñ.",
    "Ольга",
    "سارة",
    "さくら",
    "अनिल",
    "Łukasz",
    "민준",
    "Ελένη",
    "🦉 owl",
    "<i>kay</i>",
)
_DEVICES = ("", "", "Terra MODIS", "Window Seat 12A", "Kite Camera Mk II", "Balloon & Box")


def title(rng: np.random.Generator, place: Place) -> str:
    """A title; one in ten photos has none."""
    if rng.random() < 0.1:
        return ""
    if not place.names:
        return _one(rng, _TITLES_AT_SEA)
    return _one(rng, _TITLES).format(_one(rng, place.names))


def tags(rng: np.random.Generator, place: Place, taken: datetime) -> tuple[str, ...]:
    """Tags without spaces or commas, as Flickr keeps them; one in five photos has none."""
    if rng.random() < 0.2:
        return ()
    drawn = [_one(rng, _TAGS) for _ in range(rng.integers(1, 5))]
    if rng.random() < 0.3:
        drawn.append(str(taken.year))
    if place.names and rng.random() < 0.7:
        drawn.append(_one(rng, place.names))
    return tuple(dict.fromkeys("".join(tag.lower().split()).replace(",", "") for tag in drawn))


def description(rng: np.random.Generator) -> str:
    """A description, often empty, at times with markup or several lines."""
    return _one(rng, _DESCRIPTIONS)


def nickname(rng: np.random.Generator) -> str:
    """A name to go by, with a number."""
    return f"{_one(rng, _NAMES)} {rng.integers(1000)}"


def device(rng: np.random.Generator) -> str:
    """A made-up camera, or none."""
    return _one(rng, _DEVICES)


def _one(rng: np.random.Generator, texts: Sequence[str]) -> str:
    return texts[int(rng.integers(len(texts)))]
