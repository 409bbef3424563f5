"""Writes ONNX files: as much of the format as a convolutional network takes, without the onnx package.

An ONNX file is one protocol-buffers message (onnx.proto3 of github.com/onnx/onnx). On the wire a message is
its fields one after the other, each a key (number and wire type) and either a varint or a length and bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

IR_VERSION = 8
OPSET = 13

# Of TensorProto.DataType and AttributeProto.AttributeType:
_FLOAT = 1
_INT, _INTS = 2, 7


class Graph:
    """A network under construction: nodes in the order of execution, and its constants."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, name: str, values: NDArray) -> str:
        """Adds a float32 tensor of weights and returns its name."""
        numbers = np.asarray(values, "<f4")
        dimensions = b"".join(_integer(1, size) for size in numbers.shape)
        self._constants.append(dimensions + _integer(2, _FLOAT) + _text(8, name) + _bytes(9, numbers.tobytes()))
        return name

    def node(self, operator: str, inputs: Iterable[str], output: str, **attributes: int | Sequence[int]) -> str:
        """Adds an operator of ai.onnx and returns its output's name."""
        self._nodes.append(
            b"".join(_text(1, name) for name in inputs)
            + _text(2, output)
            + _text(3, output)  # the node's own name
            + _text(4, operator)
            + b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        )
        return output

    def model(
        self, name: str, inputs: dict[str, Sequence[int | str]], outputs: dict[str, Sequence[int | str]]
    ) -> bytes:
        """The finished file.

        Args:
            name: of the graph.
            inputs: shapes of the float32 inputs by name; a string stands for a size that is open.
            outputs: likewise.
        """
        graph = (
            b"".join(_bytes(1, node) for node in self._nodes)
            + _text(2, name)
            + b"".join(_bytes(5, constant) for constant in self._constants)
            + b"".join(_bytes(11, _value(*item)) for item in inputs.items())
            + b"".join(_bytes(12, _value(*item)) for item in outputs.items())
        )
        opset = _text(1, "") + _integer(2, OPSET)
        return _integer(1, IR_VERSION) + _text(2, "im2gps-spark") + _bytes(7, graph) + _bytes(8, opset)


def _attribute(name: str, value: int | Sequence[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _integer(3, value) + _integer(20, _INT)
    return _text(1, name) + b"".join(_integer(8, item) for item in value) + _integer(20, _INTS)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = (_text(2, size) if isinstance(size, str) else _integer(1, size) for size in shape)
    tensor = _integer(1, _FLOAT) + _bytes(2, b"".join(_bytes(1, size) for size in sizes))
    return _text(1, name) + _bytes(2, _bytes(1, tensor))


def _varint(number: int) -> bytes:
    """Base 128, least significant first, the high bit set on all bytes but the last; for numbers >= 0."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _integer(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, content: str) -> bytes:
    return _bytes(field, content.encode())
