"""Descriptors by name. What a descriptor needs is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from im2gps_spark.descriptors.protocol import Descriptor

_CLASSES = {
    "gist": ("gist", "Gist"),
    "lite0": ("lite0", "Lite0"),
    "color": ("color", "Color"),
    "tiny": ("tiny", "Tiny"),
    "lines": ("lines", "Lines"),
    "classic": ("classic", "Classic"),
    "lite0-deep": ("lite0_deep", "Lite0Deep"),
    "onnx": ("onnx_file", "OnnxFile"),
}
"""Module beside this one, and class in it, of each."""

NAMES = tuple(_CLASSES)


def load(name: str, **options: Any) -> Descriptor:
    """The descriptor of a name.

    Args:
        name: one of ``NAMES``.
        options: of that descriptor, e.g. ``threads`` of ``lite0``, ``settings`` of ``onnx``.

    Raises:
        ValueError: there is no such descriptor.
        TypeError: the descriptor has no such option.
    """
    if name not in _CLASSES:
        raise ValueError(f"there is no descriptor {name!r}; there are {', '.join(NAMES)}")
    module, kind = _CLASSES[name]
    made: Descriptor = getattr(import_module(f"{__package__}.{module}"), kind)(**options)
    return made
