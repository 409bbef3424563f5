"""The linear map: what it keeps, how it is held, and that a vector's place does not follow from its company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.index.components import WHITENING, Linear, components


def drawn(n: int, dimension: int = 20, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, dimension)) * 1.3 ** -np.arange(dimension) + 2.0).astype(np.float32)


@pytest.fixture(scope="module")
def linear() -> Linear:
    return components(drawn(2000), 8)


@pytest.mark.parametrize("n", [9, 8192, 8193, 20_000])
def test_components_of_any_number_of_rows_are_those_of_the_covariance(n):
    sample = drawn(n)
    found = components(sample, 3)
    variance, axes = np.linalg.eigh(np.cov(sample, rowvar=False, bias=True, dtype=np.float64))
    wanted = axes[:, ::-1][:, :3] * variance[::-1][:3] ** -WHITENING
    assert np.abs(found.matrix) == pytest.approx(np.abs(wanted.T), rel=1e-3, abs=1e-4)
    assert found.matrix @ sample.mean(axis=0, dtype=np.float64) + found.offset == pytest.approx(0.0, abs=1e-5)


def test_the_map_is_held_in_numbers_of_the_file(linear):
    assert np.array_equal(linear.matrix, linear.matrix.astype(np.float32))
    read = Linear.of(linear.transform())
    assert np.array_equal(read.matrix, linear.matrix)
    assert np.array_equal(read.offset, linear.offset)


def test_vectors_come_out_at_unit_length(linear):
    vectors = drawn(9000, seed=1)
    exact = vectors.astype(np.float64) @ linear.matrix.T + linear.offset
    wanted = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    for found in (linear.apply(vectors), linear.apply_singly(vectors)):
        assert found.dtype == np.float32
        assert found == pytest.approx(wanted, abs=1e-7)


def test_the_mean_has_no_direction():
    still = Linear(np.eye(3), np.zeros(3))
    assert still.apply(np.zeros((1, 3), np.float32)).tolist() == [[0.0] * 3]
    assert still.apply_singly(np.zeros((1, 3), np.float32)).tolist() == [[0.0] * 3]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=9), st.integers(0, 5))
def test_a_vector_by_itself_is_the_same_in_any_company(parts, seed):
    vectors = drawn(sum(parts), 300, seed)
    found = components(drawn(700, 300), 64)
    alone = [found.apply_singly(part) for part in np.split(vectors, np.cumsum(parts)[:-1])]
    assert np.array_equal(np.concatenate(alone), found.apply_singly(vectors))


def test_a_rotation_after_it_changes_no_distance(linear):
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    before, after = (map_.apply(drawn(50, seed=4)) for map_ in (linear, linear.then(rotation)))
    assert after == pytest.approx(before @ rotation.T, abs=1e-6)
    assert after @ after.T == pytest.approx(before @ before.T, abs=1e-6)
