"""Fingerprints: the same picture in another size or quality is near, another picture and a blank one are not."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.photos.decode import decode
from im2gps_spark.photos.fingerprint import BANDS, NEAR_ASPECT, NEAR_BITS, fingerprint, near_before, perceptual_hash


def scene(seed: int, height: int = 300, width: int = 400) -> np.ndarray:
    """A picture of coarse and fine patches, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(
            rng.uniform(0, 255, (side, side, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
        for side in (4, 9, 30)
    ]
    mixed: np.ndarray = np.clip(0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2], 0, 255)
    return mixed.astype(np.uint8)


def stored(pixels: np.ndarray, quality: int) -> np.ndarray:
    """The picture after a JPEG of a quality."""
    return decode(cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes())


def bits_apart(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return ((one ^ other) & (2**64 - 1)).bit_count()


def test_a_fingerprint_says_what_a_picture_is():
    pixels = scene(1)
    made = fingerprint(b"the file", pixels)
    assert made.sha256 == hashlib.sha256(b"the file").hexdigest()
    assert (made.width, made.height) == (400, 300)
    assert made.perceptual == perceptual_hash(pixels)
    assert -(2**63) <= (made.perceptual or 0) < 2**63


def test_a_hash_is_that_of_its_definition():
    """By the cosine transform written out, bit by bit."""
    pixels = scene(2, 32, 32)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(float)
    waves = np.cos(np.pi * np.outer(np.arange(32), np.arange(32) + 0.5) / 32)
    low = (waves @ grey @ waves.T)[1:9, 1:9].ravel()
    number = int("".join("1" if value > np.median(low) else "0" for value in low), 2)
    assert perceptual_hash(pixels) == (number - 2**64 if number >= 2**63 else number)


@pytest.mark.parametrize("seed", range(20))
def test_a_smaller_and_a_poorer_copy_are_near(seed):
    pixels = scene(seed)
    smaller = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    for copy in (stored(pixels, 60), stored(smaller, 80), stored(np.clip(pixels * 1.05, 0, 255).astype(np.uint8), 90)):
        assert bits_apart(perceptual_hash(pixels), perceptual_hash(copy)) <= NEAR_BITS


def test_other_pictures_are_far():
    hashes = [perceptual_hash(scene(seed)) for seed in range(60)]
    apart = [bits_apart(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 2 * NEAR_BITS


def test_a_mirrored_picture_is_another():
    pixels = scene(3)
    assert bits_apart(perceptual_hash(pixels), perceptual_hash(pixels[:, ::-1].copy())) > 2 * NEAR_BITS


def test_pictures_with_nothing_to_see_have_no_hash():
    rng = np.random.default_rng(0)
    ramp = np.linspace(90, 200, 300)[:, None, None] + np.zeros((300, 400, 3))
    for blank in (np.full((300, 400, 3), 200), ramp, ramp + rng.normal(0, 3, ramp.shape), ramp.transpose(1, 0, 2)):
        assert perceptual_hash(np.clip(blank, 0, 255).astype(np.uint8)) is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (33, 31)])
def test_odd_shapes_have_a_fingerprint(shape):
    made = fingerprint(b"", np.zeros((*shape, 3), np.uint8))
    assert (made.height, made.width) == shape
    assert made.perceptual is None


# --- what is near ---


def test_hashes_that_differ_by_three_bits_share_a_band():
    """Why bands suffice: three bits can't touch all four."""
    assert BANDS > NEAR_BITS


def near(bands: list[int], bits: list[int], window: int = 100, aspect: list[float] | None = None, known: int = 0):
    shapes = aspect or [0.0] * len(bits)
    return near_before(np.array(bands), np.array(bits, np.int64), np.array(shapes), window, known).tolist()


def test_the_last_near_one_before_is_found_within_the_band():
    assert near([1, 1, 1, 2], [0, 0b111, 0b11111, 0]) == [0, 1, 1, 0]
    assert near([1, 1, 1], [0, -1, 0b1]) == [0, 0, 2]
    assert near([1, 1], [0, 0b1111]) == [0, 0]
    assert near([1, 1], [-1, 2**63 - 1]) == [0, 1]  # the sign is a bit like the others


def test_pictures_of_another_shape_are_not_near():
    assert near([1, 1], [5, 5], aspect=[0.0, 1.1 * NEAR_ASPECT]) == [0, 0]
    assert near([1, 1], [5, 5], aspect=[0.0, -0.9 * NEAR_ASPECT]) == [0, 1]


def test_the_window_and_the_known_rows_bound_what_is_compared():
    assert near([1, 1, 1], [0, -1, 0], window=1) == [0, 0, 0]
    assert near([1, 1, 1], [0, 0, 0], known=2) == [0, 0, 1]
    assert near([], []) == []


ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 63)), max_size=40)


@settings(derandomize=True, max_examples=200)
@given(ROWS, st.integers(1, 6), st.integers(0, 5))
def test_near_before_is_what_a_loop_finds(rows, window, known):
    rows = sorted(rows, key=lambda row: row[0])
    expected = []
    for i, (band, bits) in enumerate(rows):
        steps = [
            step
            for step in range(1, min(window, i) + 1)
            if rows[i - step][0] == band and (rows[i - step][1] ^ bits).bit_count() <= NEAR_BITS
        ]
        expected.append(min(steps, default=0) if i >= known else 0)
    assert near([b for b, _ in rows], [b for _, b in rows], window, known=known) == expected
