"""EfficientNet-Lite0 as an ONNX graph, from the weights of a PyTorch port.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019); the Lite
variants are Google's, for devices: no squeeze-and-excitation, ReLU6 in place of swish. Strides, the batch
norms' epsilon and TensorFlow's way of padding do not show in the weights: they are taken over from the
converter that this project began with, whose vectors these equal to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.onnx_writer import Graph

SIDE = 224
"""Of the input, pixels."""
DIMENSION = 1280
"""Of the embedding: the channels before the classifier, averaged over the picture."""
INPUT, OUTPUT = "image", "embedding"
MOMENTS = "moments"
"""The further output: means over space of the stages' outputs and of their squares."""
CHANNELS = (16, 24, 40, 80, 112, 192, 320)
"""Of the stages' outputs."""

_STAGES = ((1, 1), (2, 2), (2, 2), (2, 3), (1, 3), (2, 4), (1, 1))
"""(stride of the first block, number of blocks) of the seven stages of inverted residuals."""
_EPSILON = 1e-3
"""Of the batch norms; TensorFlow's default, not PyTorch's."""


def to_onnx(weights: Mapping[str, NDArray], *, moments: bool = False) -> bytes:
    """The network up to its embedding, batch norms folded into the convolutions.

    Args:
        weights: the ``state_dict`` of the port: float arrays by name.
        moments: whether the seven stages are looked at, too, and pictures may have another side.

    Returns:
        An ONNX file with the input ``image``, N x 3 x 224 x 224 float32, RGB, (x - 127) / 128, and the output
        ``embedding``, N x 1280 float32. With moments, the input is N x 3 x side x side, the side any multiple of 32,
        and there is the output ``moments``, N x 1568 float32: by stage, the means over space of its channels, then the
        means of their squares.

    Raises:
        KeyError: a weight is missing.
    """
    network = _Network(weights)
    name = network.convolution(INPUT, "_conv_stem", "_bn0", stride=2)
    block = 0
    means: list[str] = []
    for stride, repeats in _STAGES:
        for repeat in range(repeats):
            name = network.inverted_residual(name, f"_blocks.{block}", stride if repeat == 0 else 1, repeat > 0)
            block += 1
        if moments:
            square = network.graph.node("Mul", [name, name], f"{name}.square")
            means += [network.mean(name, f"{name}.mean"), network.mean(square, f"{name}.power")]
    name = network.convolution(name, "_conv_head", "_bn1")
    network.mean(name, OUTPUT)
    if not moments:
        return network.graph.model("efficientnet-lite0", {INPUT: ("N", 3, SIDE, SIDE)}, {OUTPUT: ("N", DIMENSION)})
    network.graph.node("Concat", means, MOMENTS, axis=1)
    # Padding is of fixed size in the file. That of 224 is right for all multiples of 32: whatever a stride of 2 meets
    # has an even side.
    return network.graph.model(
        "efficientnet-lite0-moments",
        {INPUT: ("N", 3, "side", "side")},
        {OUTPUT: ("N", DIMENSION), MOMENTS: ("N", 2 * sum(CHANNELS))},
    )


class _Network:
    """Adds layers to a graph and keeps track of the side of the maps between them."""

    def __init__(self, weights: Mapping[str, NDArray]) -> None:
        self.graph = Graph()
        self._weights = weights
        self._side = SIDE
        self._relu6 = [
            self.graph.constant("zero", np.zeros(())),
            self.graph.constant("six", np.full((), 6.0)),
        ]

    def mean(self, name: str, output: str) -> str:
        """Over space: one number a channel."""
        pooled = self.graph.node("GlobalAveragePool", [name], "pooled" if output == OUTPUT else f"{output}.pooled")
        return self.graph.node("Flatten", [pooled], output, axis=1)

    def inverted_residual(self, name: str, prefix: str, stride: int, residual: bool) -> str:
        """Expand (not in the first block), filter channel by channel, project; and add the input."""
        inner = name
        if f"{prefix}._expand_conv.weight" in self._weights:
            inner = self.convolution(inner, f"{prefix}._expand_conv", f"{prefix}._bn0")
        inner = self.convolution(inner, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride, depthwise=True)
        inner = self.convolution(inner, f"{prefix}._project_conv", f"{prefix}._bn2", activation=False)
        return self.graph.node("Add", [inner, name], f"{prefix}.sum") if residual else inner

    def convolution(
        self,
        name: str,
        layer: str,
        norm: str,
        stride: int = 1,
        *,
        depthwise: bool = False,
        activation: bool = True,
    ) -> str:
        """Convolution without bias, batch norm, ReLU6: one Conv and one Clip.

        The norm y = g (x - m) / sqrt(v + e) + b is linear, so it goes into kernel and bias. The sums are in
        float64: they are made once, and rounded once.
        """
        kernel = self._weights[f"{layer}.weight"].astype(np.float64)
        gain, bias, mean, variance = (
            self._weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gain / np.sqrt(variance + _EPSILON)
        before, after = self._same_padding(kernel.shape[2], stride)
        convolved = self.graph.node(
            "Conv",
            [
                name,
                self.graph.constant(f"{layer}.kernel", kernel * scale[:, None, None, None]),
                self.graph.constant(f"{layer}.bias", bias - mean * scale),
            ],
            f"{layer}.linear",
            kernel_shape=kernel.shape[2:],
            strides=(stride, stride),
            pads=(before, before, after, after),
            group=len(kernel) if depthwise else 1,
        )
        return self.graph.node("Clip", [convolved, *self._relu6], layer) if activation else convolved

    def _same_padding(self, kernel: int, stride: int) -> tuple[int, int]:
        """TensorFlow's SAME: ceil(side / stride) outputs; of an odd padding the larger half comes after."""
        outputs = -(-self._side // stride)
        padding = max((outputs - 1) * stride + kernel - self._side, 0)
        self._side = outputs
        return padding // 2, padding - padding // 2
