"""Networks in onnxruntime, run so that a picture's numbers do not depend on its company."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.protocol import Pixels

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CPU_RUN = 1
"""Pictures a run. Larger runs came out the same to the last bit when tried, and slower: the maps of one picture stay in
the cache."""
GPU_RUN = 32

_CUDA = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"})
"""Neither an algorithm chosen by the clock nor shortened mantissas: runs would differ from one another."""


def open_session(model: bytes, threads: int) -> InferenceSession:
    """A session for the content of an ONNX file, on a GPU where onnxruntime offers one, else on the CPU.

    Args:
        threads: for one run on the CPU.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    offered = onnxruntime.get_available_providers()
    providers = [*([_CUDA] if _CUDA[0] in offered else []), "CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model, options, providers=providers)


def run(
    session: InferenceSession, outputs: Sequence[str], pictures: Sequence[Pixels], side: int, mean: float, scale: float
) -> list[NDArray[np.float32]]:
    """What the network says of pictures, each of (x - mean) / scale.

    Always in batches of one size, with zeros for pictures where the last is not full: numbers may follow the size.

    Args:
        session: of a network with one input, N x 3 x side x side float32.
        outputs: names of outputs, each N x numbers.
        pictures: n of (side, side, 3) uint8.

    Returns:
        (n, numbers) for each output.
    """
    size = GPU_RUN if session.get_providers()[0] == _CUDA[0] else CPU_RUN
    (taken,) = (value.name for value in session.get_inputs())
    batch = np.zeros((size, 3, side, side), np.float32)
    numbers = {value.name: value.shape[1] for value in session.get_outputs()}
    result = [np.empty((len(pictures), numbers[name]), np.float32) for name in outputs]
    for start in range(0, len(pictures), size):
        some = pictures[start : start + size]
        batch[len(some) :] = 0
        for pixels, planes in zip(some, batch, strict=False):
            planes[...] = pixels.transpose(2, 0, 1)
            planes -= mean
            planes /= scale
        for into, found in zip(result, session.run(list(outputs), {taken: batch}), strict=True):
            into[start : start + len(some)] = found[: len(some)]
    return result
