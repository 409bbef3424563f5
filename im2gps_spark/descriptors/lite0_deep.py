"""The descriptor ``lite0-deep``: a larger picture and its mirror seen by EfficientNet-Lite0, and its middle layers.

Views, weight and size were chosen on held-out owners (docs/learned.md, benchmarks/bench_deep.py).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.efficientnet_lite import CHANNELS, DIMENSION, MOMENTS, OUTPUT
from im2gps_spark.descriptors.fingerprint import fingerprint
from im2gps_spark.descriptors.lite0 import MEAN, SCALE, WEIGHTS_SHA256, model_bytes, network_input
from im2gps_spark.descriptors.onnx_session import open_session, run
from im2gps_spark.descriptors.protocol import Pixels, Vectors
from im2gps_spark.descriptors.resize import stretch

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

REVISION = 1
"""Raised whenever a change of the code changes the numbers."""

SIDE = 320
"""Of the picture, pixels: the network takes any multiple of 32."""
VIEWS = ("stretched", "mirrored")

EMBEDDING_WEIGHT = 0.85
"""Of expected squared distance; the moments of all stages share the rest."""
# fmt: off
SPREADS = (
    1.1872,
    1.4063, 0.2619, 0.8611, 0.2057, 1.0922, 0.1607, 1.0056, 0.2199, 1.0914, 0.1648, 1.1084, 0.3217, 1.3263, 0.3927,
)
# fmt: on
"""Root mean square distance of two of 2,000 Flickr photos, in the embedding and in each part of the moments."""

_MOMENTS = tuple(width for channels in CHANNELS for width in (channels, channels))


@cache
def _session(threads: int, process: int) -> InferenceSession:
    """One session a process and number of threads. A fork makes its own: threads do not survive it."""
    return open_session(model_bytes(moments=True), threads)


@dataclass(frozen=True)
class Looks:
    """What the network says of n pictures, view by view in the order of ``VIEWS``.

    Attributes:
        embeddings: (n, views, 1280) float32, as the network gives them.
        moments: (n, views, 1568) float32: by stage, means over space of its channels, then means of their squares.
    """

    embeddings: NDArray[np.float32]
    moments: NDArray[np.float32]


def look(pictures: Sequence[Pixels], threads: int = 1) -> Looks:
    """The network's numbers of n pictures (320, 320, 3) uint8; one's do not depend on the others or the threads."""
    session = _session(threads, os.getpid())
    mirrored = [picture[:, ::-1] for picture in pictures]
    found = [run(session, [OUTPUT, MOMENTS], view, network_input) for view in (pictures, mirrored)]
    embeddings, moments = (np.stack([view[i] for view in found], axis=1) for i in range(2))
    return Looks(embeddings, moments)


def combine(looks: Looks) -> Vectors:
    """(n, 2848) float32: the embedding, then the moments by stage.

    Part by part a unit vector, divided by what two photos lie apart in it (root mean square, ``SPREADS``) and times the
    root of its weight: expected squared distances are in the proportion of the weights.
    """
    parts = [embedding(looks.embeddings), *moments_by_part(looks.moments.mean(axis=1))]
    weights = [EMBEDDING_WEIGHT] + [(1.0 - EMBEDDING_WEIGHT) / len(_MOMENTS)] * len(_MOMENTS)
    factors = np.sqrt(weights) / SPREADS
    return np.concatenate(
        [part * factor for part, factor in zip(parts, factors, strict=True)], axis=1, dtype=np.float32
    )


def embedding(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n, 1280) unit vectors: the sum of (n, views, 1280), each view of length 1."""
    return _unit(_unit(embeddings).sum(axis=1))


def moments_by_part(moments: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Signed square roots of (n, 1568) moments, as unit vectors (n, channels): means, then mean squares, by stage."""
    roots = np.sign(moments) * np.sqrt(np.abs(moments.astype(np.float64)))
    return [_unit(part) for part in np.split(roots, np.cumsum(_MOMENTS)[:-1], axis=1)]


def _unit(vectors: NDArray) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors.astype(np.float64), axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


@dataclass(frozen=True)
class Lite0Deep:
    """The descriptor ``lite0-deep``: 2848 numbers; see :func:`combine`.

    Attributes:
        threads: of onnxruntime, for one picture; the numbers did not depend on it when tried.
    """

    threads: int = 1

    name: ClassVar[str] = "lite0-deep"
    dimension: ClassVar[int] = DIMENSION + sum(_MOMENTS)
    preprocessing: ClassVar[str] = (
        f"RGB stretched to {SIDE} x {SIDE}, area interpolation, and its mirror; (x - 127) / 128"
    )

    @property
    def version(self) -> str:
        """Hash of the weights, the views, the combination and the code's revision."""
        return fingerprint(
            descriptor=self.name,
            revision=REVISION,
            weights=WEIGHTS_SHA256,
            input=[SIDE, MEAN, SCALE],
            views=VIEWS,
            embedding_weight=EMBEDDING_WEIGHT,
            spreads=SPREADS,
        )

    def prepare(self, pixels: Pixels) -> NDArray:
        """(320, 320, 3) uint8."""
        return stretch(pixels, SIDE)

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """(n, 2848) float32 of n prepared pictures."""
        return combine(look(prepared, self.threads))
