"""Mean and covariance of the corpus in the index's space: what a query's similarities look like follows from them."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.sphere import Floats

# Vectors that are summed at a time: in float64, 20 MiB of 256 numbers.
_AT_ONCE = 10_000


@dataclass(frozen=True)
class Moments:
    """Sums over some photos.

    Attributes:
        rows: photos.
        total: (dimension,) of their vectors.
        products: (dimension, dimension) of each vector's products with itself.
    """

    rows: int
    total: Floats
    products: Floats

    @classmethod
    def none(cls, dimension: int) -> Moments:
        """Of no photo."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    @classmethod
    def of(cls, vectors: NDArray) -> Moments:
        """Of vectors (n, dimension)."""
        made = cls.none(vectors.shape[1])
        for begin in range(0, len(vectors), _AT_ONCE):
            exact = vectors[begin : begin + _AT_ONCE].astype(np.float64)
            made += cls(len(exact), exact.sum(axis=0), exact.T @ exact)
        return made

    def __add__(self, other: Moments) -> Moments:
        """Of both together."""
        return Moments(self.rows + other.rows, self.total + other.total, self.products + other.products)

    def __sub__(self, other: Moments) -> Moments:
        """Of these photos without others that are among them."""
        return Moments(self.rows - other.rows, self.total - other.total, self.products - other.products)

    @property
    def mean(self) -> Floats:
        """(dimension,)."""
        return np.asarray(self.total / max(self.rows, 1))

    @property
    def covariance(self) -> Floats:
        """(dimension, dimension)."""
        return np.asarray(self.products / max(self.rows, 1) - np.outer(self.mean, self.mean))

    def to_bytes(self) -> bytes:
        """A file."""
        out = io.BytesIO()
        np.savez(out, rows=np.int64(self.rows), total=self.total, products=self.products)
        return out.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Moments:
        """Those in the bytes of a file."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return cls(int(file["rows"]), file["total"], file["products"])
