"""The reader of torch's old files: it returns numbers, or refuses; it never runs anything."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.descriptors.torch_legacy import read_state_dict

# As much of torch as pickle needs to write what torch writes.
_torch, _utils = types.ModuleType("torch"), types.ModuleType("torch._utils")


class FloatStorage:
    pass


class LongStorage:
    pass


def _rebuild_tensor_v2():
    pass


for _module, _thing in ((_torch, FloatStorage), (_torch, LongStorage), (_utils, _rebuild_tensor_v2)):
    _thing.__module__ = _module.__name__
    setattr(_module, _thing.__name__, _thing)


class Stored:
    """A storage: pickled by a persistent id."""

    def __init__(self, key: str, numbers: np.ndarray) -> None:
        self.key, self.numbers = key, numbers

    def persistent_id(self):
        kind = FloatStorage if self.numbers.dtype == np.float32 else LongStorage
        return ("storage", kind, self.key, "cpu", len(self.numbers), None)


class Tensor:
    """A view of a storage: pickled as a call of torch's function."""

    def __init__(self, storage: Stored, offset: int, shape: tuple, strides: tuple) -> None:
        self.arguments: tuple = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.persistent_id() if isinstance(obj, Stored) else None


def _pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch", _torch)
        patch.setitem(sys.modules, "torch._utils", _utils)
        _Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def legacy_file(state: object, *storages: Stored, system: bytes | None = None) -> bytes:
    head = _pickled(0x1950A86A20F9469CFC6C) + _pickled(1001) + (system or _pickled({"little_endian": True}))
    body = b"".join(len(s.numbers).to_bytes(8, "little") + s.numbers.tobytes() for s in storages)
    return head + _pickled(state) + _pickled([s.key for s in storages]) + body


KERNEL = Stored("1", np.arange(24, dtype=np.float32))
COUNT = Stored("2", np.array([7, 8], np.int64))
STATE = OrderedDict(
    plain=Tensor(KERNEL, 0, (2, 3, 4), (12, 4, 1)),
    transposed=Tensor(KERNEL, 0, (4, 3, 2), (1, 4, 12)),
    part=Tensor(KERNEL, 20, (4,), (1,)),
    scalar=Tensor(COUNT, 1, (), ()),
)
FILE = legacy_file(STATE, KERNEL, COUNT)


def test_tensors_come_back():
    state = read_state_dict(FILE)
    numbers = np.arange(24).reshape(2, 3, 4)
    assert list(state) == list(STATE)
    np.testing.assert_array_equal(state["plain"], numbers)
    np.testing.assert_array_equal(state["transposed"], numbers.T)
    np.testing.assert_array_equal(state["part"], [20, 21, 22, 23])
    assert state["scalar"].shape == ()
    assert state["scalar"] == 8
    assert state["plain"].dtype == np.float32


def test_attributes_of_the_dictionary_are_passed_over():
    state = OrderedDict(STATE)
    state._metadata = OrderedDict(version=1)  # type: ignore[attr-defined]
    assert list(read_state_dict(legacy_file(state, KERNEL, COUNT))) == list(STATE)


@pytest.mark.parametrize("name", ["os system", "posix system", "builtins eval", "torch load", "collections deque"])
def test_a_call_is_refused_by_name(name, monkeypatch):
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was run"))
    module, function = name.split()
    call = f"\x80\x02c{module}\n{function}\nX\x04\0\0\0true\x85R.".encode("latin-1")
    with pytest.raises(ValueError, match=f"{module}.{function}"):
        read_state_dict(legacy_file(STATE, KERNEL, COUNT, system=call))


class Plain:
    pass


@pytest.mark.parametrize(
    ("program", "opcode"),
    [
        (pickle.dumps(Plain(), protocol=4), "FRAME"),
        (b"\x80\x02\x8c\x02os\x8c\x06system\x93.", "SHORT_BINUNICODE"),
        (b"(ios\nsystem\n.", "INST"),
        (b"(cos\nsystem\no.", "os.system"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02)\x81.", "NEWOBJ"),
    ],
)
def test_other_instructions_are_refused_by_name(program, opcode):
    with pytest.raises(ValueError, match=opcode):
        read_state_dict(legacy_file(STATE, KERNEL, COUNT, system=program))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(KERNEL, 1, (24,), (1,)),
        Tensor(KERNEL, -1, (4,), (1,)),
        Tensor(KERNEL, 0, (2, 2), (1, 23)),
        Tensor(KERNEL, 3, (4,), (-1,)),
        Tensor(KERNEL, 0, (0, 2**62), (1, 1)),
        Tensor(KERNEL, 0, (2**70,), (1,)),
        Tensor(KERNEL, 0, (5,), (0, 1)),
    ],
)
def test_a_tensor_stays_within_its_storage(tensor):
    with pytest.raises(ValueError):
        read_state_dict(legacy_file({"bad": tensor}, KERNEL))


@pytest.mark.parametrize("state", [[1, 2], {"a": 1}, "text", {"a": {"b": 2}}])
def test_what_is_no_state_dict_is_refused(state):
    with pytest.raises(ValueError):
        read_state_dict(legacy_file(state))


def test_every_truncation_is_refused():
    for length in range(len(FILE)):
        with pytest.raises(ValueError):
            read_state_dict(FILE[:length])


@settings(max_examples=500)
@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutated_files_give_arrays_or_value_errors(edits):
    mutated = bytearray(FILE)
    for place, value in edits:
        mutated[place] = value
    with contextlib.suppress(ValueError):
        assert all(isinstance(array, np.ndarray) for array in read_state_dict(bytes(mutated)).values())
