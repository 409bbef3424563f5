"""GIST against its definition, and against what it must and must not react to."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from im2gps_spark.descriptors import gist
from im2gps_spark.descriptors.gabor import SCALE_STEP, TOP_FREQUENCY, GaborBank, transfer_function
from im2gps_spark.descriptors.gist import BANK, SIZE, Gist, prefilter
from im2gps_spark.photos.decode import decode
from tests.descriptors.pictures import natural

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "photos" / "images"


def luminance_of(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def grating(cycles_per_pixel: float, angle: float) -> np.ndarray:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    wave = np.cos(2 * np.pi * cycles_per_pixel * (x * np.cos(angle) + y * np.sin(angle)))
    return np.asarray(wave, np.float32)


# --- the filters ---


def test_filters_have_their_analytic_form():
    """At random points, with complex numbers: turned by theta, a point has its angle from the axis."""
    rng = np.random.default_rng(0)
    size = 192
    for count in (4, 6, 8):
        for orientation in range(count):
            frequency = TOP_FREQUENCY / SCALE_STEP ** rng.integers(4)
            response = transfer_function(size, frequency, orientation, count)
            for fx, fy in rng.integers(1, 96, (200, 2)) * rng.choice([-1, 1], (200, 2)):
                turned = complex(fx, fy) * np.exp(1j * np.pi * orientation / count)
                radial = -10 * 0.35 * (abs(turned) / size / frequency - 1) ** 2
                angular = -2 * np.pi * 16 * count**2 / 32**2 * np.angle(turned) ** 2
                expected = np.exp(radial + angular)
                assert response[fy + 96, fx + 96] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_filters_leave_out_what_has_no_direction():
    response = transfer_function(64, TOP_FREQUENCY, 0, 6)
    assert response[32, 32] == 0
    assert not response[0].any()
    assert not response[:, 0].any()


def test_the_bank_covers_the_plane_evenly():
    """At each scale's own frequency the sum of its filters does not depend on the angle."""
    one_side = np.sum([transfer_function(192, 0.3, orientation, 6) for orientation in range(6)], axis=0)[1:, 1:]
    both_sides = one_side + one_side[::-1, ::-1]
    y, x = np.mgrid[-95:96, -95:96]
    ring = both_sides[np.abs(np.hypot(x, y) / 192 - 0.3) < 0.5 / 192]
    assert ring.std() < 0.02 * ring.mean()


# --- energies ---


def plain_energies(bank: GaborBank, image: np.ndarray) -> np.ndarray:
    """What GaborBank.energies stands for, in float64 at every pixel."""
    pad, size = bank.padding, bank.size
    spectrum = np.fft.fft2(np.pad(image.astype(float), pad, mode="symmetric"))
    edges = np.linspace(0, size, bank.grid + 1)
    pixel = np.arange(size)
    share = np.clip(np.minimum(pixel + 1, edges[1:, None]) - np.maximum(pixel, edges[:-1, None]), 0, 1)
    share /= size / bank.grid
    result = []
    for scale, count in enumerate(bank.orientations):
        for orientation in range(count):
            response = transfer_function(size + 2 * pad, TOP_FREQUENCY / SCALE_STEP**scale, orientation, count)
            filtered = np.fft.ifft2(spectrum * np.fft.ifftshift(response))
            magnitude = np.abs(filtered)[pad : pad + size, pad : pad + size]
            result.append(share @ magnitude @ share.T)
    return np.array(result)


@pytest.mark.parametrize(
    "bank",
    [
        BANK,
        GaborBank(grid=4, padding=0, orientations=(8, 8, 4)),
        GaborBank(size=64, grid=3, orientations=(5, 4)),
    ],
    ids=["IM2GPS", "lear_gist", "small"],
)
def test_sampled_responses_have_the_means_of_whole_ones(bank):
    for seed in range(5):
        luminance = luminance_of(natural(seed, bank.size, bank.size))
        image = prefilter(luminance)
        energies, plain = bank.energies(image), plain_energies(bank, image)
        assert energies.shape == (sum(bank.orientations), bank.grid, bank.grid)
        assert np.linalg.norm(energies - plain) < 0.01 * np.linalg.norm(plain)
        assert np.abs(energies - plain).max() < 0.04 * plain.max()


@pytest.mark.parametrize("scale", range(4))
@pytest.mark.parametrize("orientation", range(6))
def test_a_grating_excites_its_own_filter_most(scale, orientation):
    wave = grating(TOP_FREQUENCY / SCALE_STEP**scale, -np.pi * orientation / 6)
    energies = BANK.energies(wave).reshape(4, 6, -1).mean(axis=-1)
    assert np.unravel_index(energies.argmax(), energies.shape) == (scale, orientation)
    # A cosine is two exponentials of amplitude 1/2, and the filter passes one of them at its peak.
    assert energies.max() == pytest.approx(0.5, abs=0.06)
    across = energies[scale, (orientation + 3) % 6]
    assert across < 0.15 * energies.max()


def test_energy_lies_where_the_texture_is():
    image = grating(0.3, 0.0)
    image[:, 64:] = 0
    energies = BANK.energies(image)[0]
    assert energies[:, :2].min() > 10 * energies[:, 3:].max()


# --- the prefilter ---


def test_prefilter_evens_out_exposure_and_contrast():
    luminance = luminance_of(natural(3))
    darker = prefilter(luminance * np.float32(0.5))
    bright = prefilter(luminance)
    assert np.corrcoef(darker.ravel(), bright.ravel())[0, 1] > 0.98
    assert abs(bright.mean()) < 0.05
    assert 0.3 < bright.std() < 1.5


def test_prefilter_is_that_of_lmgist():
    """In float64, with numpy's full transform: log, low-pass at fc, local contrast."""
    luminance = luminance_of(natural(4))
    padded = np.pad(np.log(luminance.astype(float) + 1), 5, mode="symmetric")
    cycles = np.fft.fftfreq(138, 1 / 138)
    spread = 4 / np.sqrt(np.log(2))
    low = np.exp(-(cycles[:, None] ** 2 + cycles[None, :] ** 2) / spread**2)
    detail = padded - np.fft.ifft2(np.fft.fft2(padded) * low).real
    contrast = np.sqrt(np.abs(np.fft.ifft2(np.fft.fft2(detail**2) * low)))
    expected = (detail / (0.2 + contrast))[5:-5, 5:-5]
    np.testing.assert_allclose(prefilter(luminance), expected, atol=2e-5)


# --- the descriptor ---


def described(*pictures: np.ndarray) -> np.ndarray:
    descriptor = Gist()
    return descriptor.describe([descriptor.prepare(pixels) for pixels in pictures])


def test_vectors():
    vectors = described(natural(0), natural(1, 300, 200))
    assert vectors.shape == (2, Gist.dimension) == (2, 675)
    assert vectors.dtype == np.float32
    assert described().shape == (0, 675)


def test_a_mirrored_picture_mirrors_the_grid():
    picture = natural(6)
    vector, mirrored = described(picture, picture[:, ::-1].copy())
    texture, colour = vector[:600].reshape(4, 6, 5, 5), vector[600:].reshape(5, 5, 3)
    swapped = [0, 5, 4, 3, 2, 1]  # an angle becomes its negative, modulo pi
    np.testing.assert_allclose(mirrored[:600].reshape(4, 6, 5, 5), texture[:, swapped, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(mirrored[600:].reshape(5, 5, 3), colour[:, ::-1], atol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 128, 255])
def test_a_picture_of_one_colour(level):
    (vector,) = described(np.full((40, 60, 3), level, np.uint8))
    assert np.isfinite(vector).all()
    assert np.abs(vector[:600]).max() < 1e-3  # no texture


def test_vectors_do_not_depend_on_the_batch_or_the_threads():
    descriptor = Gist()
    prepared = [descriptor.prepare(natural(seed)) for seed in range(6)]
    alone = np.concatenate([descriptor.describe([picture]) for picture in prepared])
    np.testing.assert_array_equal(descriptor.describe(prepared), alone)
    np.testing.assert_array_equal(descriptor.describe(prepared[::-1])[::-1], alone)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 2):
            cv2.setNumThreads(threads)
            np.testing.assert_array_equal(descriptor.describe(prepared), alone)
    finally:
        cv2.setNumThreads(before)


def test_describing_leaves_its_input_alone():
    descriptor = Gist()
    picture = descriptor.prepare(natural(8))
    before = picture.copy()
    descriptor.describe([picture])
    np.testing.assert_array_equal(picture, before)


def test_the_version_follows_the_parameters(monkeypatch):
    version = Gist().version
    assert len(version) == 16
    assert int(version, 16) >= 0
    assert Gist().version == version
    monkeypatch.setattr(gist, "TEXTURE_SHARE", 0.5)
    assert Gist().version != version


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"needs the real photos of {REAL_PHOTOS}")
def test_both_parts_weigh_as_they_say():
    paths = sorted(REAL_PHOTOS.glob("*.jpg"))[::8]
    vectors = described(*(decode(path.read_bytes()) for path in paths))
    squared = 2 * vectors.var(axis=0, ddof=1, dtype=np.float64)  # mean squared difference of two photos
    assert squared[:600].sum() == pytest.approx(2 / 3, rel=0.1)
    assert squared[600:].sum() == pytest.approx(1 / 3, rel=0.1)
