"""The descriptor ``onnx``: any network in an ONNX file, by configuration, held against the file's own signature."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.onnx_session import open_session, run
from im2gps_spark.descriptors.onnx_settings import OnnxSettings
from im2gps_spark.descriptors.protocol import Pixels, Vectors
from im2gps_spark.descriptors.resize import stretch

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

_AXES = {"none": (2,), "first": (3,), "mean": (3, 4)}
"""By pooling, the numbers of axes that an output may have."""


@dataclass(frozen=True)
class OnnxFile:
    """The descriptor ``onnx``: what a network says of a stretched picture, as a vector of unit length.

    Attributes:
        settings: which network, what it takes, and what of its answer counts.
        threads: of onnxruntime, for one picture.

    Raises:
        ValueError: on first use: the file is none that onnxruntime reads, or its signature is not what the settings
            say; the message names the key to mend. Or it has changed meanwhile.
        OSError: likewise: the file can't be read.
    """

    settings: OnnxSettings = field(default_factory=OnnxSettings)
    threads: int = 1

    name: ClassVar[str] = "onnx"

    @cached_property
    def version(self) -> str:
        """Hash of the file's content, the settings but for its path, and the code's revision."""
        return fingerprint(
            descriptor=self.name,
            revision=REVISION,
            model=self._checksum,
            settings=self.settings.model_dump(exclude={"model"}),
        )

    @cached_property
    def _checksum(self) -> str:
        return hashlib.sha256(_content(self.settings.model)).hexdigest()

    @cached_property
    def dimension(self) -> int:
        """Found by showing the network one grey picture."""
        side = self.settings.side
        return int(self.describe([np.full((side, side, 3), 127, np.uint8)]).shape[1])

    @property
    def preprocessing(self) -> str:
        """What is done to the pixels."""
        s = self.settings
        return f"{s.colours} stretched to {s.side} x {s.side}, area interpolation; (x - {s.mean}) / {s.scale}"

    def prepare(self, pixels: Pixels) -> NDArray:
        """(side, side, 3) uint8."""
        return stretch(pixels, self.settings.side)

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, dimension) float32 of n prepared pictures, each of length 1; NaN where the network says nothing."""
        session = _session(self.settings.model_dump_json(), self._checksum, self.threads, os.getpid())
        if not prepared:
            return np.zeros((0, self.dimension), np.float32)
        output = self.settings.output or session.get_outputs()[0].name
        (said,) = run(session, [output], prepared, self._input)
        pooled = self._pooled(said).astype(np.float64)
        length = np.linalg.norm(pooled, axis=1, keepdims=True)
        return np.asarray(pooled / np.where(length > 0, length, np.nan), np.float32)

    def _input(self, pixels: Pixels) -> NDArray[np.float32]:
        given = self.settings
        ordered = pixels if given.colours == "RGB" else pixels[..., ::-1]
        mean, scale = (np.array(values, np.float32) for values in (given.mean, given.scale))
        image = np.asarray((ordered - mean) / scale, np.float32)
        return image if given.layout == "NHWC" else image.transpose(2, 0, 1)

    def _pooled(self, said: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.settings.pooling == "first":
            return said[:, 0]
        if said.ndim == 4:
            return np.asarray(said.mean(axis=(2, 3), dtype=np.float64), np.float32)
        return np.asarray(said.mean(axis=1, dtype=np.float64), np.float32) if said.ndim == 3 else said


def _content(model: str) -> bytes:
    if not model:
        raise ValueError("onnx.model names no file: the descriptor onnx needs one")
    return Path(model).read_bytes()


@cache
def _session(settings: str, checksum: str, threads: int, process: int) -> InferenceSession:
    """One session a process, network and number of threads; its signature is that of the settings (as JSON)."""
    given = OnnxSettings.model_validate_json(settings)
    content = _content(given.model)
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError(f"onnx.model {given.model} has changed since its version was taken")
    try:
        session = open_session(content, threads)
    except Exception as error:  # onnxruntime's own classes, which differ from release to release
        raise ValueError(f"onnx.model {given.model}: onnxruntime can't read it: {_first_line(error)}") from error
    _check_input(session, given)
    _check_output(session, given)
    return session


def _check_input(session: InferenceSession, given: OnnxSettings) -> None:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise ValueError(f"onnx.model {given.model} has the inputs {names}; it must have one, for pictures")
    (taken,) = inputs
    if taken.type != "tensor(float)":
        raise ValueError(f"onnx.model {given.model} takes {taken.type}; it must take float32")
    offered = {"NCHW": [1, 3, given.side, given.side], "NHWC": [1, given.side, given.side, 3]}[given.layout]
    # What is no number in the file is open.
    fits = len(taken.shape) == 4 and all(
        size == wanted or not isinstance(size, int) for size, wanted in zip(taken.shape, offered, strict=True)
    )
    if not fits:
        raise ValueError(
            f"onnx.model {given.model} takes {taken.shape}, and would be given {offered}: "
            "mend onnx.side or onnx.layout (a batch of fixed size must be 1)"
        )


def _check_output(session: InferenceSession, given: OnnxSettings) -> None:
    outputs = {value.name: value for value in session.get_outputs()}
    names = ", ".join(outputs)
    if not given.output and len(outputs) > 1:
        raise ValueError(f"onnx.model {given.model} has the outputs {names}: onnx.output must name one of them")
    if given.output and given.output not in outputs:
        raise ValueError(f"onnx.model {given.model} has no output {given.output!r} (onnx.output); it has {names}")
    said = outputs[given.output or names]
    if said.type != "tensor(float)":
        raise ValueError(f"onnx.model {given.model} gives {said.type} as {said.name}; it must be float32")
    if len(said.shape) not in _AXES[given.pooling]:
        raise ValueError(
            f"onnx.model {given.model} gives {said.shape} as {said.name}, which onnx.pooling={given.pooling} "
            f"is not for: it takes {' or '.join(map(str, _AXES[given.pooling]))} axes"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
