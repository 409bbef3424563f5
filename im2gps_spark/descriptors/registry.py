"""Descriptors by name. What a descriptor needs is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from im2gps_spark.descriptors.protocol import Descriptor


def _gist(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.gist import Gist

    return Gist(**options)


def _lite0(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.lite0 import Lite0

    return Lite0(**options)


def _color(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.color import Color

    return Color(**options)


def _tiny(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.tiny import Tiny

    return Tiny(**options)


def _lines(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.lines import Lines

    return Lines(**options)


def _classic(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.classic import Classic

    return Classic(**options)


def _lite0_deep(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.lite0_deep import Lite0Deep

    return Lite0Deep(**options)


def _onnx(**options: Any) -> Descriptor:
    from im2gps_spark.descriptors.onnx_file import OnnxFile

    return OnnxFile(**options)


_MAKERS: dict[str, Callable[..., Descriptor]] = {
    "gist": _gist,
    "lite0": _lite0,
    "color": _color,
    "tiny": _tiny,
    "lines": _lines,
    "classic": _classic,
    "lite0-deep": _lite0_deep,
    "onnx": _onnx,
}

NAMES = tuple(_MAKERS)


def load(name: str, **options: Any) -> Descriptor:
    """The descriptor of a name.

    Args:
        name: one of ``NAMES``.
        options: of that descriptor, e.g. ``threads`` of ``lite0``, ``settings`` of ``onnx``.

    Raises:
        ValueError: there is no such descriptor.
        TypeError: the descriptor has no such option.
    """
    if name not in _MAKERS:
        raise ValueError(f"there is no descriptor {name!r}; there are {', '.join(NAMES)}")
    return _MAKERS[name](**options)
