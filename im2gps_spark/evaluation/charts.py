"""Charts as SVG: axes, lines, bands, bars, dots and words; colours and fonts are the page's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from im2gps_spark.atlas.words import text
from im2gps_spark.sphere import Floats

_WIDTH, _HEIGHT = 480, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 24, 14, 46
_TICKS = 8.0


@dataclass(frozen=True)
class Axis:
    """One side of a chart.

    Attributes:
        label: what it shows, with its unit.
        low, high: its ends.
        ticks: values that are marked, and their words.
        logarithmic: whether equal steps are equal ratios.
    """

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    logarithmic: bool = False

    def at(self, values: Floats) -> Floats:
        """Values as parts of the axis, 0 to 1; what lies beyond an end is put there."""
        low, high, v = self.low, self.high, np.clip(np.asarray(values, np.float64), self.low, self.high)
        if self.logarithmic:
            low, high, v = np.log(low), np.log(high), np.log(v)
        return np.asarray((v - low) / (high - low))


class Chart:
    """A chart under construction; marks are drawn in the order in which they come.

    Args:
        x, y: the axes.
        title: says in words what is seen, for those who do not see it.
    """

    def __init__(self, x: Axis, y: Axis, title: str) -> None:
        self._x, self._y, self._title = x, y, title
        self._marks: list[str] = []

    def line(self, x: Floats, y: Floats, kind: str) -> None:
        """A line through points (n,); kind is a class of the page's style."""
        self._marks.append(f'<polyline class="{kind}" points="{self._points(x, y)}"/>')

    def band(self, x: Floats, low: Floats, high: Floats, kind: str) -> None:
        """The area between two lines over the same (n,)."""
        there = np.concatenate([x, np.asarray(x)[::-1]])
        self._marks.append(
            f'<polygon class="{kind}" points="{self._points(there, np.concatenate([low, np.asarray(high)[::-1]]))}"/>'
        )

    def bars(self, edges: Floats, heights: Floats, kind: str) -> None:
        """Bars from the lower end of the y axis between edges (n + 1,), heights (n,)."""
        x, y = self._across(edges), self._down(heights)
        for left, right, top in zip(x[:-1], x[1:], y, strict=True):
            width, height = max(right - left - 1.5, 0.5), _HEIGHT - _BOTTOM - top
            self._marks.append(
                f'<rect class="{kind}" x="{left + 0.75:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
            )

    def dots(self, x: Floats, y: Floats, kind: str, radius: float) -> None:
        """A dot at each of (n,) points."""
        self._marks += [
            f'<circle class="{kind}" cx="{a:.1f}" cy="{b:.1f}" r="{radius:g}"/>'
            for a, b in zip(self._across(x), self._down(y), strict=True)
        ]

    def word(self, x: float, y: float, words: str, kind: str, anchor: str = "end") -> None:
        """Words at a point, just above it."""
        a, b = float(self._across(np.array(x))), float(self._down(np.array(y)))
        self._marks.append(
            f'<text class="{kind}" x="{a:.1f}" y="{b - 6:.1f}" text-anchor="{anchor}">{text(words)}</text>'
        )

    def svg(self) -> str:
        """The chart as an element of HTML."""
        return (
            f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(self._title)}">'
            f"{self._axes()}{''.join(self._marks)}</svg>"
        )

    def _axes(self) -> str:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = []
        for value, words in self._x.ticks:
            a = float(self._across(np.array(value)))
            parts.append(f'<line class="grid" x1="{a:.1f}" x2="{a:.1f}" y1="{_TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="tick" x="{a:.1f}" y="{bottom + 16}" text-anchor="middle">{text(words)}</text>')
        for value, words in self._y.ticks:
            b = float(self._down(np.array(value)))
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{b:.1f}" y2="{b:.1f}"/>')
            parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{b + 4:.1f}" text-anchor="end">{text(words)}</text>')
        middle = (_LEFT + right) / 2, (_TOP + bottom) / 2
        for label, where in (
            (self._x.label, f'x="{middle[0]:.0f}" y="{_HEIGHT - 8}"'),
            (self._y.label, f'transform="translate(13 {middle[1]:.0f}) rotate(-90)"'),
        ):
            parts.append(f'<text class="axis" {where} text-anchor="middle">{text(label)}</text>')
        return "".join(parts)

    def _points(self, x: Floats, y: Floats) -> str:
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(self._across(x), self._down(y), strict=True))

    def _across(self, values: Floats) -> Floats:
        return np.asarray(_LEFT + self._x.at(values) * (_WIDTH - _LEFT - _RIGHT))

    def _down(self, values: Floats) -> Floats:
        return np.asarray(_HEIGHT - _BOTTOM - self._y.at(values) * (_HEIGHT - _TOP - _BOTTOM))


def percent_axis(label: str, high: float = 1.0) -> Axis:
    """An axis of shares from 0 to ``high``, marked in per cent."""
    return Axis(label, 0.0, high, [(v, f"{100 * v:g} %") for v in _even(0.0, high)])


def plain_axis(label: str, low: float, high: float) -> Axis:
    """An axis of numbers between two ends and a little beyond."""
    margin = 0.04 * (high - low) or 0.5
    low, high = low - margin, high + margin
    return Axis(label, low, high, [(v, f"{v:g}".replace("-", "−")) for v in _even(low, high)])


def _even(low: float, high: float) -> list[float]:
    """At most nine multiples of 1, 2 or 5 powers of ten between two ends."""
    power = 10.0 ** np.floor(np.log10((high - low) / _TICKS))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if (high - low) / (m * power) <= _TICKS)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [round(float(i * step), 12) + 0.0 for i in np.arange(first, last + 1)]
