"""What a descriptor is: the one protocol that classic and learned ones share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""A decoded picture, (height, width, 3), RGB."""
Vectors = NDArray[np.float32]


class Descriptor(Protocol):
    """A map from pictures to vectors, in two steps so that a batch holds small inputs and not decoded pictures.

    Attributes:
        name: what it is asked for by, e.g. ``lite0``.
        version: hexadecimal hash of all that shapes the numbers; vectors of two versions are never compared.
        dimension: length of a vector.
        preprocessing: what is done to the pixels first, in words, kept beside each vector.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def version(self) -> str: ...  # noqa: D102

    @property
    def dimension(self) -> int: ...  # noqa: D102

    @property
    def preprocessing(self) -> str: ...  # noqa: D102

    def prepare(self, pixels: Pixels) -> NDArray:
        """The descriptor's input for one picture: an array of fixed shape and dtype, a copy."""
        ...

    def describe(self, prepared: Sequence[NDArray]) -> Vectors:
        """Vectors (n, dimension) float32 of n prepared inputs; row i depends on input i only.

        Squared Euclidean distance between rows is the distance that the descriptor means.
        """
        ...
