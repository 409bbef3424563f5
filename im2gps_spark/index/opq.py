"""Optimized product quantization: a rotation after which the parts of a vector lose less by their codes."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray

_MOST_ROWS = 256 * 256
"""What FAISS looks at; more it would draw from."""


def opq_rotation(residuals: NDArray[np.float32], subquantizers: int, bits: int) -> NDArray[np.float64]:
    """A rotation of the space that product quantization of these vectors loses little in (FAISS' OPQMatrix).

    Ge, He, Ke & Sun, *Optimized Product Quantization*, PAMI 2014.

    Args:
        residuals: (n, dimension): what is coded.
        subquantizers: parts of a code.
        bits: of each part.

    Returns:
        (dimension, dimension) float64, orthonormal; from one thread the same for the same residuals.
    """
    dimension = residuals.shape[1]
    shown = np.resize(residuals, (max(len(residuals), 2**bits), dimension))[:_MOST_ROWS]
    codes = faiss.ProductQuantizer(dimension, subquantizers, bits)
    codes.cp.min_points_per_centroid = 1
    rotation = faiss.OPQMatrix(dimension, subquantizers)
    rotation.pq = codes
    rotation.train(np.ascontiguousarray(shown))
    found = faiss.vector_to_array(rotation.A).reshape(dimension, dimension).astype(np.float64)
    # Orthonormal to seven digits as FAISS leaves it: the nearest matrix that is, to all digits.
    left, _, right = np.linalg.svd(found)
    return np.asarray(left @ right)
