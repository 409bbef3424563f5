"""Networks in onnxruntime, run so that a picture's numbers do not depend on its company."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def planes(pixels: Pixels, mean: float, scale: float) -> NDArray[np.float32]:
    """(3, height, width) float32 of (height, width, 3): (x - mean) / scale."""
    made = pixels.transpose(2, 0, 1).astype(np.float32)
    made -= mean
    made /= scale
    return made


def run(
    session: InferenceSession,
    outputs: Sequence[str],
    pictures: Sequence[Pixels],
    to_input: Callable[[Pixels], NDArray[np.float32]],
) -> list[NDArray[np.float32]]:
    """What the network says of pictures.

    Always in batches of one size, with zeros for pictures where the last is not full: numbers may follow the size.

    Args:
        session: of a network with one input, whose first axis is the batch's.
        outputs: names of outputs, each with the batch's axis first.
        pictures: n of one shape.
        to_input: what the network takes for a picture.

    Returns:
        (n, ...) for each output.
    """
    (taken,) = session.get_inputs()
    may_be_many = session.get_providers()[0] == _CUDA[0] and not isinstance(taken.shape[0], int)
    size = GPU_RUN if may_be_many else CPU_RUN
    shapes = {value.name: value.shape[1:] for value in session.get_outputs()}
    found = [[np.zeros((0, *shapes[name]), np.float32)] for name in outputs] if not pictures else [[] for _ in outputs]
    for start in range(0, len(pictures), size):
        some = [to_input(pixels) for pixels in pictures[start : start + size]]
        batch = np.zeros((size, *some[0].shape), np.float32)
        batch[: len(some)] = some
        for parts, part in zip(found, session.run(list(outputs), {taken.name: batch}), strict=True):
            parts.append(part[: len(some)])
    return [np.concatenate(parts) for parts in found]
