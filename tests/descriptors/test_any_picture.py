"""What every classic descriptor owes to any picture, and must not react to."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.descriptors.registry import load
from tests.descriptors.pictures import natural

CLASSIC = ("gist", "color", "tiny", "lines", "classic")
each_classic = pytest.mark.parametrize("name", CLASSIC)


@st.composite
def pictures(draw):
    """Of one colour, of noise, of noise in one channel, of two halves; as narrow as can be, too."""
    height, width = draw(st.tuples(st.integers(1, 300), st.integers(1, 300)) | st.sampled_from([(1, 1), (1, 700)]))
    if draw(st.booleans()):
        height, width = width, height
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pixels = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    match draw(st.sampled_from(["plain", "noise", "channel", "halves", "two levels"])):
        case "noise":
            pixels[...] = rng.integers(0, 256, pixels.shape)
        case "channel":
            pixels[..., rng.integers(3)] = rng.integers(0, 256, pixels.shape[:2])
        case "halves":
            pixels[: height // 2] = 255 - pixels[: height // 2]
        case "two levels":
            pixels[...] = 255 * rng.integers(0, 2, (height, width, 1))
    return pixels


@each_classic
@settings(max_examples=60, deadline=None, derandomize=True)
@given(pixels=pictures())
def test_any_picture_has_a_vector_of_numbers(name, pixels):
    descriptor = load(name)
    before = pixels.copy()
    prepared = descriptor.prepare(pixels)
    usual = descriptor.prepare(natural(0, 40, 30))
    assert (prepared.shape, prepared.dtype) == (usual.shape, usual.dtype)
    vectors = descriptor.describe([prepared])
    assert vectors.shape == (1, descriptor.dimension)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(pixels, before)


@each_classic
def test_what_was_prepared_is_a_copy(name):
    descriptor = load(name)
    pixels = natural(1)
    prepared = descriptor.prepare(pixels)
    vector = descriptor.describe([prepared])
    pixels[...] = 0
    np.testing.assert_array_equal(descriptor.describe([prepared]), vector)


@each_classic
def test_vectors_do_not_depend_on_the_batch_or_the_threads(name):
    descriptor = load(name)
    some = [natural(seed, 100 + 30 * seed, 150) for seed in range(5)]

    def prepared() -> list[np.ndarray]:
        return [descriptor.prepare(pixels) for pixels in some]

    alone = np.concatenate([descriptor.describe([picture]) for picture in prepared()])
    before = cv2.getNumThreads()
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            np.testing.assert_array_equal(descriptor.describe(prepared()), alone)
            np.testing.assert_array_equal(descriptor.describe(prepared()[::-1])[::-1], alone)
    finally:
        cv2.setNumThreads(before)


@each_classic
def test_no_pictures(name):
    descriptor = load(name)
    assert descriptor.describe([]).shape == (0, descriptor.dimension)
