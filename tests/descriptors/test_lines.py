"""Straight edges: drawn ones are found, and counted at their angle and their length."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from im2gps_spark.descriptors import lines
from im2gps_spark.descriptors.lines import BINS, LONGEST, SHORTEST, Lines, histograms, segments
from tests.descriptors.pictures import natural


def segment(length: float, degrees: float) -> np.ndarray:
    """One that rises to the right by an angle, as (1, 4)."""
    angle = np.deg2rad(degrees)
    return np.array([[0.5, 0.5, 0.5 + length * np.cos(angle), 0.5 - length * np.sin(angle)]])


def drawn(length: int, degrees: float, height: int = 300, width: int = 400) -> np.ndarray:
    """A bright half-plane's edge, as long as asked for, in the middle: a bar much wider than its edges are apart."""
    picture = np.full((height, width, 3), 60, np.uint8)
    angle = np.deg2rad(degrees)
    along, across = np.array([np.cos(angle), -np.sin(angle)]), np.array([np.sin(angle), np.cos(angle)])
    middle = np.array([width, height]) / 2
    corners = [middle + a * length / 2 * along + b * 3 * across for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    cv2.fillPoly(picture, [np.round(np.array(corners) * 16).astype(np.int32)], (220, 220, 220), cv2.LINE_AA, 4)
    return picture


def turned(first: np.ndarray, second: float) -> np.ndarray:
    """Degrees between directions, which are the same at 180."""
    return np.abs((first - second + 90) % 180 - 90)


# --- segments ---


@pytest.mark.parametrize("degrees", [0, 20, 45, 70, 90, 110, 150])
def test_a_drawn_bar_has_two_long_edges(degrees):
    found = segments(drawn(200, degrees))
    length = np.hypot(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1])
    angle = np.rad2deg(np.arctan2(found[:, 1] - found[:, 3], found[:, 2] - found[:, 0]))
    long = length > 0.3
    assert long.sum() == 2
    np.testing.assert_allclose(length[long], 0.5, atol=0.04)  # 200 of 400 pixels
    assert turned(angle[long], degrees).max() < 2


@pytest.mark.parametrize("degrees", [30, 90])
def test_lengths_are_shares_of_the_longest_side(degrees):
    """Whether it has to shrink or not."""
    for scale in (0.5, 1, 4):
        picture = cv2.resize(drawn(200, degrees), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        found = segments(np.asarray(picture, np.uint8))
        length = np.hypot(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1])
        assert length.max() == pytest.approx(0.5, abs=0.05)


# --- histograms ---


@pytest.mark.parametrize("which", range(BINS))
def test_a_segment_at_a_bins_centre_is_counted_there(which):
    angles, _ = histograms(segment(0.2, 180 * which / BINS))
    assert angles[which] == pytest.approx(1)
    assert angles.sum() == pytest.approx(1)
    _, lengths = histograms(segment(SHORTEST * (LONGEST / SHORTEST) ** (which / (BINS - 1)), 10))
    assert lengths[which] == pytest.approx(1)
    assert lengths.sum() == pytest.approx(1)


def test_a_segment_between_two_centres_is_shared():
    angles, _ = histograms(segment(0.2, 180 * 16.75 / BINS))
    assert angles[16] == pytest.approx(0.25)
    assert angles[0] == pytest.approx(0.75)


def test_a_segment_has_no_direction():
    one = segment(0.2, 33.0)
    np.testing.assert_allclose(histograms(one[:, [2, 3, 0, 1]]), histograms(one), atol=1e-12)


def test_long_segments_count_for_more():
    both = np.concatenate([segment(0.3, 0), segment(0.1, 180 * 5 / BINS)])
    angles, _ = histograms(both)
    assert angles[0] == pytest.approx(0.75)
    assert angles[5] == pytest.approx(0.25)


@pytest.mark.parametrize("length", [1e-6, 0.01, 1.3])
def test_lengths_beyond_the_bins_are_counted_in_the_outermost(length):
    _, lengths = histograms(segment(length, 0))
    assert lengths[-1 if length > 1 else 0] == pytest.approx(1)


def test_no_segments_at_all():
    assert not histograms(np.zeros((0, 4))).any()
    assert not histograms(np.full((2, 4), 0.5)).any()


def test_a_mirrored_segment_mirrors_the_angles():
    ends = np.random.default_rng(0).uniform(size=(50, 4))
    mirrored = ends.copy()
    mirrored[:, [0, 2]] = 1 - mirrored[:, [0, 2]]
    angles, lengths = histograms(ends)
    other_angles, other_lengths = histograms(mirrored)
    np.testing.assert_allclose(other_angles, angles[-np.arange(BINS)], atol=1e-12)
    np.testing.assert_allclose(other_lengths, lengths, atol=1e-12)


# --- the descriptor ---


def described(*pictures: np.ndarray) -> np.ndarray:
    descriptor = Lines()
    return descriptor.describe([descriptor.prepare(pixels) for pixels in pictures])


def test_vectors():
    vectors = described(drawn(200, 0), natural(1, 300, 200))
    assert vectors.shape == (2, 34)
    np.testing.assert_allclose(np.sum(vectors.reshape(2, 2, 17) ** 2, axis=2), 1, rtol=1e-5)


def test_a_mirrored_picture_mirrors_the_angles():
    picture = drawn(200, 180 * 3 / BINS)
    vector, mirrored = described(picture, picture[:, ::-1].copy())
    assert vector[:BINS].argmax() == 3
    assert mirrored[:BINS].argmax() == BINS - 3
    np.testing.assert_allclose(mirrored[:BINS] ** 2, vector[:BINS][-np.arange(BINS)] ** 2, atol=0.05)


def test_what_is_built_differs_from_what_grows():
    """Upright and level edges against such of all directions."""
    walls = [drawn(length, degrees) for length in (150, 200) for degrees in (0, 90)]
    rng = np.random.default_rng(1)
    twigs = [
        np.maximum.reduce([drawn(int(rng.integers(40, 80)), angle) for angle in rng.uniform(0, 180, 9)]) for _ in "ab"
    ]
    vectors = described(np.maximum(walls[0], walls[1]), np.maximum(walls[2], walls[3]), *twigs)
    distance = np.sum((vectors[:, None] - vectors) ** 2, axis=2)
    assert distance[0, 1] < distance[:2, 2:].min()
    assert distance[2, 3] < distance[:2, 2:].min()


def test_the_version_follows_the_parameters(monkeypatch):
    version = Lines().version
    monkeypatch.setattr(lines, "SHORTEST", 0.03)
    assert Lines().version != version
