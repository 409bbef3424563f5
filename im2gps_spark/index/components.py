"""From descriptors to unit vectors of the index's space: scaled principal components, as one linear map."""

from __future__ import annotations

from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

# Components are divided by their variance to this power. 0 would leave similarity to the few strongest, 0.5 give
# noise a full vote; between is best on held-out owners (docs/posterior.md), and less is better in a small corpus.
WHITENING = 0.125
_BLOCK = 8192
"""Rows that are in memory in float64 at once."""


@dataclass(frozen=True)
class Linear:
    """x -> matrix x + offset, then to unit length, as an index's file holds it: in numbers of float32.

    Attributes:
        matrix: (dimension, input dimension) float64.
        offset: (dimension,) float64.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def rounded(cls, matrix: NDArray[np.float64], offset: NDArray[np.float64]) -> Linear:
        """The map with its numbers rounded to float32."""
        return cls(matrix.astype(np.float32).astype(np.float64), offset.astype(np.float32).astype(np.float64))

    @classmethod
    def of(cls, transform: faiss.LinearTransform) -> Linear:
        """The map in an index's file."""
        matrix = faiss.vector_to_array(transform.A).reshape(transform.d_out, transform.d_in)
        return cls(matrix.astype(np.float64), faiss.vector_to_array(transform.b).astype(np.float64))

    def transform(self) -> faiss.LinearTransform:
        """The map as FAISS has it, without the unit length."""
        made = faiss.LinearTransform(self.matrix.shape[1], self.matrix.shape[0], True)
        faiss.copy_array_to_vector(self.matrix.astype(np.float32).ravel(), made.A)
        faiss.copy_array_to_vector(self.offset.astype(np.float32), made.b)
        made.is_trained = True
        return made

    def then(self, rotation: NDArray[np.float64]) -> Linear:
        """The map followed by a rotation (dimension, dimension), which leaves lengths and distances as they are."""
        return self.rounded(rotation @ self.matrix, rotation @ self.offset)

    def apply(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Descriptors (n, input dimension) to unit vectors (n, dimension)."""
        # FAISS sums in float32, in an order that changes with n: a vector's last bits, and an index's bytes, would
        # follow from the batches that photos come in. Sums in float64 round to one float32 in any order.
        made = np.empty((len(vectors), len(self.matrix)), np.float32)
        for begin in range(0, len(vectors), _BLOCK):
            exact = np.asarray(vectors[begin : begin + _BLOCK], np.float64) @ self.matrix.T + self.offset
            made[begin : begin + _BLOCK] = _unit(exact)
        return made

    def apply_singly(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """As ``apply``, to the last bit the same in whatever company a vector comes.

        Among the hundred million numbers of a large sample, a few lie so near the middle between two of float32 that
        the order of a sum in float64 decides; clustering would go another way from there. It takes twice as long.
        """
        made = np.empty((len(vectors), len(self.matrix)), np.float32)
        for begin in range(0, len(vectors), _BLOCK):
            each = np.asarray(vectors[begin : begin + _BLOCK], np.float64)[:, :, None]
            # A stack of products, each of the matrix with one vector.
            made[begin : begin + _BLOCK] = _unit(np.matmul(self.matrix, each)[:, :, 0] + self.offset)
        return made


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


def components(sample: NDArray[np.float32], dimension: int) -> Linear:
    """The first principal components of a sample (n, input dimension), scaled by variance^-WHITENING."""
    mean = sample.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((len(mean),) * 2)
    for begin in range(0, len(sample), _BLOCK):
        centred = sample[begin : begin + _BLOCK] - mean
        covariance += centred.T @ centred
    variance, axes = np.linalg.eigh(covariance / len(sample))
    rank = np.argsort(-variance, kind="stable")[:dimension]
    kept = np.maximum(variance[rank], max(float(variance.max()), 1e-30) * 1e-9)
    # An axis' sign is the solver's whim: its largest part is made positive.
    axes = axes[:, rank] * np.sign(axes[np.argmax(np.abs(axes[:, rank]), axis=0), rank])
    matrix = (axes * kept**-WHITENING).T
    return Linear.rounded(matrix, -(matrix @ mean))
