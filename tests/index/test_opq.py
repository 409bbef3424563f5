"""OPQ: a rotation, nothing else; the same from the same vectors; and of any number of them."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from im2gps_spark.index.opq import opq_rotation


def uneven(n: int, seed: int = 0) -> np.ndarray:
    """Vectors with nearly all their spread in the first part of four."""
    spread = np.repeat([8.0, 0.5, 0.2, 0.1], 4)
    vectors = np.random.default_rng(seed).normal(size=(n, 16)) * spread
    return np.asarray(vectors, np.float32)


def coded_error(vectors: np.ndarray, seed: int = 1) -> float:
    codes = faiss.ProductQuantizer(16, 4, 5)
    codes.cp.min_points_per_centroid = 1
    codes.cp.seed = seed
    codes.train(np.ascontiguousarray(vectors, np.float32))
    lost = vectors - codes.decode(codes.compute_codes(np.ascontiguousarray(vectors, np.float32)))
    return float((lost**2).sum(axis=1).mean())


@pytest.fixture(autouse=True)
def _one_thread():
    with threadpool_limits(limits=1):
        yield


@pytest.mark.parametrize("n", [1, 20, 3000])
def test_it_is_a_rotation(n, capfd):
    found = opq_rotation(uneven(n), 4, 5)
    assert found @ found.T == pytest.approx(np.eye(16), abs=1e-12)
    assert capfd.readouterr() == ("", "")


def test_the_same_vectors_give_the_same_rotation():
    assert np.array_equal(opq_rotation(uneven(2000), 4, 5), opq_rotation(uneven(2000).copy(), 4, 5))


def test_it_spreads_what_there_is_to_code_over_the_parts():
    vectors = uneven(3000)
    turned = vectors @ opq_rotation(vectors, 4, 5).T
    shares = turned.reshape(-1, 4, 4).var(axis=0).sum(axis=1)
    assert shares.max() < 0.5 * shares.sum()
    assert coded_error(turned) < 0.7 * coded_error(vectors)
