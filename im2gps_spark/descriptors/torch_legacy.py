"""Reads weights saved by torch before its zip format (torch < 1.6); no torch, and nothing is run.

Such a file (torch/serialization.py, ``_legacy_save``) is five pickles (a magic number, the protocol's
version, facts of the machine, the saved object, the keys of its storages) and then for each key an int64
count and the numbers themselves, little-endian. A pickle is a program for a stack machine that may call any
function there is; hence it is not given to :mod:`pickle`. :func:`pickletools.genops` takes it apart, and
the small machine below carries out the few instructions that build numbers, strings, tuples, lists and
dictionaries. It knows four names, which stand for data here; any other name, and any other instruction,
ends the reading.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_ORDERED_DICT = "collections OrderedDict"
_REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"
_STORAGE_DTYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_KNOWN_NAMES = {_ORDERED_DICT, _REBUILD_TENSOR, *_STORAGE_DTYPES}

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Name:
    """A global of the pickle, by name only: nothing is looked up, nothing imported."""

    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(data: bytes) -> dict[str, NDArray]:
    """The tensors of a saved ``state_dict``.

    Args:
        data: the whole file.

    Returns:
        Arrays by name, float32 or int64.

    Raises:
        ValueError: it is no such file, is cut short, or asks for anything but tensors; the message names
        what.
    """
    stream = io.BytesIO(data)
    if _read_pickle(stream) != _MAGIC or _read_pickle(stream) != _PROTOCOL:
        raise ValueError("not a file of torch's legacy format: wrong magic number or protocol")
    _read_pickle(stream)
    saved, keys = _read_pickle(stream), _read_pickle(stream)
    if not isinstance(saved, dict) or not isinstance(keys, list):
        raise ValueError("the file holds no state_dict but something else")
    storages = {item.storage.key: item.storage for item in saved.values() if isinstance(item, _Tensor)}
    arrays = {key: _read_storage(stream, storages, key) for key in keys}
    return {str(name): _as_array(name, item, arrays) for name, item in saved.items()}


def _read_storage(stream: io.BytesIO, storages: Mapping[str, _Storage], key: object) -> NDArray:
    if not isinstance(key, str) or key not in storages:
        raise ValueError(f"the storage {key!r} belongs to no tensor")
    storage = storages[key]
    count = int.from_bytes(stream.read(8), "little", signed=True)
    length = count * np.dtype(storage.dtype).itemsize
    if count != storage.count or not 0 <= length <= stream.getbuffer().nbytes - stream.tell():
        raise ValueError(f"the storage {key!r} is cut short, or not of the announced length")
    return np.frombuffer(stream.read(length), storage.dtype)


def _as_array(name: object, item: object, arrays: Mapping[str, NDArray]) -> NDArray:
    if not isinstance(item, _Tensor):
        raise ValueError(f"{name!r} is no tensor")
    numbers = arrays.get(item.storage.key, np.empty(0))
    extents = (item.offset, *item.shape, *item.strides, math.prod(item.shape))
    if not all(0 <= extent <= len(numbers) for extent in extents):
        raise ValueError(f"the tensor {name!r} is larger than its storage")
    # Strides need not be those of C: kernels that come from TensorFlow are transposed views.
    places = np.asarray(item.offset)
    for size, stride in zip(item.shape, item.strides, strict=True):
        places = np.add.outer(places, stride * np.arange(size))
    if places.size and places.max() >= len(numbers):
        raise ValueError(f"the tensor {name!r} reaches outside of its storage")
    return np.asarray(numbers[places])


def _read_pickle(stream: io.BytesIO) -> Any:
    machine = _Machine()
    name = ""
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            name = opcode.name
            machine.step(name, argument)
        return machine.pop()
    except (IndexError, KeyError, TypeError) as error:  # of the stack, the memo, and what can't be hashed
        raise ValueError(f"the pickle is malformed at {name}: {error!r}") from error


class _Machine:
    """The stack machine, for the instructions that torch writes (pickle protocol 2)."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._below_marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def step(self, opcode: str, argument: Any) -> None:
        """Carries out one instruction.

        Raises:
            ValueError: for an instruction or a name that data has no need of.
        """
        match opcode:
            case "PROTO" | "STOP":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINUNICODE":
                self._push(argument)
            case "NONE":
                self._push(None)
            case "NEWTRUE" | "NEWFALSE":
                self._push(opcode == "NEWTRUE")
            case "EMPTY_DICT":
                self._push({})
            case "EMPTY_LIST":
                self._push([])
            case "EMPTY_TUPLE":
                self._push(())
            case "MARK":
                self._below_marks.append(self._stack)
                self._stack = []
            case "TUPLE":
                self._push(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                items = [self.pop() for _ in range(int(opcode[-1]))]
                self._push(tuple(reversed(items)))
            case "APPENDS":
                items = self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM":
                value, key = self.pop(), self.pop()
                self._top(dict)[key] = value
            case "SETITEMS":
                items = self._pop_to_mark()
                self._top(dict).update(zip(items[::2], items[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self._top(object)
            case "BINGET" | "LONG_BINGET":
                self._push(self._memo[argument])
            case "GLOBAL":
                if argument not in _KNOWN_NAMES:
                    raise ValueError(f"the pickle asks for {argument.replace(' ', '.')}, which is refused")
                self._push(_Name(argument))
            case "BINPERSID":
                self._push(_storage(self.pop()))
            case "REDUCE":
                arguments, function = _expect(tuple, self.pop()), _expect(_Name, self.pop())
                self._push(_call(function, arguments))
            case "BUILD":
                self.pop()  # attributes of the dictionary, its _metadata: no weights in them
                self._top(dict)
            case _:
                raise ValueError(f"the pickle has the instruction {opcode}, which is refused")

    def pop(self) -> Any:
        """Takes what is on top."""
        return self._stack.pop()

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _top(self, kind: type[_T]) -> _T:
        return _expect(kind, self._stack[-1])

    def _pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below_marks.pop()
        return items


def _storage(persistent_id: object) -> _Storage:
    """What torch writes in a storage's stead: ("storage", type, key, device, count, view)."""
    kind, name, key, _, count, view = _expect(tuple, persistent_id)
    if kind != "storage" or view is not None:
        raise ValueError(f"the pickle refers to {kind!r}, or to a view of a storage: neither is known here")
    return _Storage(_expect(str, key), _STORAGE_DTYPES[_expect(_Name, name).text], _expect(int, count))


def _call(function: _Name, arguments: tuple[Any, ...]) -> object:
    """The data that a call of one of the known names stands for."""
    if function.text == _ORDERED_DICT and not arguments:
        return {}
    if function.text == _REBUILD_TENSOR and len(arguments) >= 4:
        storage, offset, shape, strides = arguments[:4]
        sizes = [tuple(_expect(int, size) for size in _expect(tuple, sizes)) for sizes in (shape, strides)]
        return _Tensor(_expect(_Storage, storage), _expect(int, offset), *sizes)
    raise ValueError(f"the pickle calls {function.text.replace(' ', '.')} with {len(arguments)} arguments")


def _expect(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind):
        raise ValueError(f"the pickle has a {type(value).__name__} where a {kind.__name__} belongs")
    return value
