"""Decoding: every kind of picture comes out as seen, every kind of damage as one of the reasons."""

from __future__ import annotations

import contextlib
import io
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from im2gps_spark.photos.containers import MAX_CHUNKS, MAX_SCANS, MAX_SEGMENTS, read_header
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.photos.reasons import Reason, Rejected

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "photos" / "images"
ORIENTATION_TAG = 0x0112


def scene() -> Image.Image:
    """A smooth picture, 64 wide and 48 high, without any symmetry."""
    y, x = np.mgrid[0:48, 0:64]
    return Image.fromarray(np.stack([4 * x, 5 * y, 2 * x + y], axis=-1).astype(np.uint8))


def soft_alpha() -> Image.Image:
    return Image.fromarray(np.tile(np.arange(0, 256, 4, dtype=np.uint8), (48, 1)))


def saved(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def over_white(image: Image.Image) -> np.ndarray:
    rgba = np.asarray(image.convert("RGBA")).astype(float)
    alpha = rgba[..., 3:] / 255
    return np.floor(rgba[..., :3] * alpha + 255 * (1 - alpha) + 0.5)


def pillow_rgb(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def with_alpha(image: Image.Image) -> Image.Image:
    result = image.convert("LA" if image.mode == "L" else "RGBA")
    result.putalpha(soft_alpha())
    return result


def reason_of(data: bytes, **limits) -> Reason:
    with pytest.raises(Rejected) as caught:
        decode(data, **limits)
    return caught.value.reason


def differs(pixels: np.ndarray, expected: np.ndarray) -> int:
    """The largest difference of two pictures, in grey levels."""
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.shape == expected.shape
    return int(np.abs(pixels.astype(int) - expected.astype(int)).max())


# --- whole pictures ---


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB"])
def test_opaque_png_is_exact(mode):
    data = saved(scene().convert(mode), "PNG")
    assert differs(decode(data), pillow_rgb(data)) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_upper_half(channels):
    deep = np.random.default_rng(0).integers(0, 2**16, (48, 64, channels), dtype=np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert differs(decode(data), np.broadcast_to(deep[..., ::-1] >> 8, (48, 64, 3))) == 0


def test_sixteen_bits_with_alpha():
    deep = np.full((48, 64, 4), 0x8000, np.uint16)
    deep[..., 0] = 0xFFFF  # blue, for OpenCV
    data = cv2.imencode(".png", deep)[1].tobytes()
    assert decode(data)[0, 0].tolist() == [191, 191, 255]  # (128 * 128 + 255 * 127) / 255 = 191.2


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_alpha_is_laid_over_white(mode):
    image = with_alpha(scene().convert(mode))
    assert differs(decode(saved(image, "PNG")), over_white(image)) <= 1


def test_what_lies_under_full_transparency_is_not_seen():
    hidden = scene().convert("RGBA")
    hidden.putalpha(0)
    assert np.all(decode(saved(hidden, "PNG")) == 255)


def test_palette_with_transparency():
    image = scene().convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    data = saved(image, "PNG", transparency=bytes(range(0, 256, 16)))
    assert differs(decode(data), over_white(Image.open(io.BytesIO(data)))) <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(mode, progressive):
    data = saved(scene().convert(mode), "JPEG", quality=95, progressive=progressive)
    assert differs(decode(data), pillow_rgb(data)) <= 3  # two roundings of YCbCr or of CMYK


@pytest.mark.parametrize("options", [{"quality": 90}, {"lossless": True}])
def test_webp(options):
    data = saved(scene(), "WEBP", **options)
    assert differs(decode(data), pillow_rgb(data)) == 0


@pytest.mark.parametrize("options", [{"quality": 90}, {"lossless": True}])
def test_webp_with_alpha(options):
    data = saved(with_alpha(scene()), "WEBP", **options)
    assert differs(decode(data), over_white(Image.open(io.BytesIO(data)))) <= 1


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame(form):
    options = {"lossless": True} if form == "WEBP" else {}
    moving = saved(scene(), form, save_all=True, append_images=[ImageOps.invert(scene())], **options)
    assert differs(decode(moving), np.asarray(scene())) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("transparent", [False, True])
def test_exif_orientation(form, orientation, transparent):
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    image = with_alpha(scene()) if transparent and form != "JPEG" else scene()
    data = saved(image, form, exif=exif, **({"quality": 95} if form == "JPEG" else {"lossless": True}))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert differs(decode(data), over_white(upright)) <= 3


@given(st.binary(max_size=80))
def test_exif_is_never_a_reason_to_refuse(noise):
    exif = b"Exif\0\0" + noise
    data = _with_app1(saved(scene(), "JPEG"), exif)
    assert read_header(data).orientation in range(1, 9)
    assert decode(data).size == 48 * 64 * 3


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_exif_orientation_out_of_range_is_upright(value):
    directory = struct.pack("<HHHIHHI", 1, ORIENTATION_TAG, 3, 1, value, 0, 0)
    data = _with_app1(saved(scene(), "JPEG"), b"Exif\0\0II*\0\x08\0\0\0" + directory)
    assert read_header(data).orientation == 1


def test_restart_markers_belong_to_the_scan():
    data = cv2.imencode(".jpg", np.asarray(scene()), [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    assert b"\xff\xd3" in data
    assert differs(decode(data), pillow_rgb(data)) <= 3


def test_what_follows_a_picture_is_ignored():
    data = saved(scene(), "JPEG")
    preview = saved(scene().resize((8, 8)), "JPEG")
    expected = decode(data)
    for tail in (b"\0" * 50, b"\xff" * 50, preview, preview[:100]):
        assert differs(decode(data + tail), expected) == 0
    assert decode(saved(scene(), "PNG") + b"tail").shape == (48, 64, 3)
    assert decode(saved(scene(), "WEBP") + b"tail").shape == (48, 64, 3)


# --- damage ---


def _with_app1(jpeg: bytes, body: bytes) -> bytes:
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def _with_thumbnail() -> bytes:
    """A JPEG whose EXIF holds a whole JPEG, end-of-image marker and all."""
    thumbnail = saved(scene().resize((16, 12)), "JPEG")
    return _with_app1(saved(scene(), "JPEG"), b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail)


WHOLE = {
    "jpeg": saved(scene(), "JPEG", quality=95),
    "progressive": saved(scene(), "JPEG", progressive=True),
    "thumbnail": _with_thumbnail(),
    "restarts": cv2.imencode(".jpg", np.asarray(scene()), [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes(),
    "cmyk": saved(scene().convert("CMYK"), "JPEG"),
    "png": saved(scene(), "PNG"),
    "png alpha": saved(with_alpha(scene()), "PNG"),
    "png palette": saved(scene().convert("P"), "PNG", transparency=3),
    "webp": saved(scene(), "WEBP"),
    "webp lossless": saved(scene(), "WEBP", lossless=True),
    "webp alpha": saved(with_alpha(scene()), "WEBP"),
    "webp animated": saved(scene(), "WEBP", save_all=True, append_images=[ImageOps.invert(scene())]),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_every_truncation_is_refused(kind):
    data = WHOLE[kind]
    assert decode(data).shape == (48, 64, 3)
    for length in [*range(64), *range(64, len(data) - 64, 7), *range(len(data) - 64, len(data))]:
        reason = reason_of(data[:length])
        if length == 0:
            assert reason is Reason.EMPTY_FILE
        elif length < 12:
            assert reason in (Reason.NOT_A_PICTURE, Reason.TRUNCATED)
        else:
            assert reason is Reason.TRUNCATED, f"{length} of {len(data)} bytes"


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=150)
@given(data=st.data())
def test_mutated_bytes_give_a_picture_or_a_reason(kind, data):
    mutated = bytearray(WHOLE[kind])
    edits = st.lists(st.tuples(st.integers(0, len(mutated) - 1), st.integers(0, 255)), min_size=1, max_size=8)
    for place, value in data.draw(edits):
        mutated[place] = value
    cut = data.draw(st.integers(0, len(mutated)))
    tail = data.draw(st.integers(cut, len(mutated)))
    for damaged in (bytes(mutated), bytes(mutated[:cut] + mutated[tail:])):
        with contextlib.suppress(Rejected):
            pixels = decode(damaged, max_megapixels=1)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert 0 < pixels.size <= 3e6


@given(
    st.binary(max_size=200),
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBP", b""]),
)
def test_noise_is_refused(noise, magic):
    with pytest.raises(Rejected):
        decode(magic + noise)


@pytest.mark.parametrize("data", [b"<html>404 Not Found</html>", b"GIF89a\x01\0\x01\0", b"\xff\xd8", b"\0" * 99])
def test_not_a_picture(data):
    assert reason_of(data) is Reason.NOT_A_PICTURE


def test_damage_within_a_png_is_found_by_its_checksums():
    damaged = bytearray(WHOLE["png"])
    damaged[damaged.index(b"IDAT") + 30] ^= 1
    assert reason_of(bytes(damaged)) is Reason.UNDECODABLE


def test_decoder_and_header_must_agree(monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((5, 5, 3), np.uint8))
    assert reason_of(WHOLE["jpeg"]) is Reason.UNDECODABLE


# --- limits ---


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(width: int, height: int, *chunks: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + _chunk(b"IEND", b"")


def _resized_jpeg(width: int, height: int) -> bytes:
    data = bytearray(WHOLE["jpeg"])
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _resized_webp(width: int, height: int) -> bytes:
    data = bytearray(WHOLE["webp alpha"])
    at = data.index(b"VP8X")
    data[at + 12 : at + 15] = (width - 1).to_bytes(3, "little")
    data[at + 15 : at + 18] = (height - 1).to_bytes(3, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "bomb",
    [
        _png(60_000, 60_000, _chunk(b"IDAT", zlib.compress(bytes(10_000)))),
        _png(2**31 - 1, 2**31 - 1),
        _resized_jpeg(65_500, 65_500),
        _resized_webp(2**24, 2**24),
    ],
    ids=["png", "png, largest", "jpeg", "webp"],
)
def test_a_bomb_is_refused_by_its_header(bomb, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    assert reason_of(bomb) is Reason.TOO_LARGE


def test_limits_are_inclusive():
    data = WHOLE["jpeg"]
    decode(data, max_megapixels=64 * 48 / 1e6, max_bytes=len(data))
    assert reason_of(data, max_megapixels=(64 * 48 - 1) / 1e6) is Reason.TOO_LARGE
    assert reason_of(data, max_bytes=len(data) - 1) is Reason.TOO_LARGE


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_a_picture_without_pixels(size):
    assert reason_of(_png(*size, _chunk(b"IDAT", b""))) is Reason.UNDECODABLE
    assert reason_of(_resized_jpeg(*size)) is Reason.UNDECODABLE


def test_a_jpeg_of_endless_scans():
    data = WHOLE["progressive"]
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    assert reason_of(data[:-2] + scan * MAX_SCANS + data[-2:]) is Reason.UNDECODABLE


def test_a_jpeg_of_two_frames():
    data = WHOLE["jpeg"]
    at = data.index(b"\xff\xc0")
    frame = data[at : at + 19]
    assert reason_of(data[:at] + frame + data[at:]) is Reason.UNDECODABLE


@pytest.mark.parametrize(
    "hostile",
    [
        b"\xff\xd8\xff" + b"\xff" * 10_000_000,
        b"\xff\xd8" + b"\xff\x01" * 5_000_000,
        b"\xff\xd8" + b"\xff\xe0\0\x02" * 2_500_000,
        WHOLE["jpeg"][:-2] + b"\xff\0" * 5_000_000,
        WHOLE["jpeg"][:-2] + b"\xff\xd0" * 5_000_000,
        WHOLE["jpeg"][:-2] + b"\xff\xda\0\x02" * 2_500_000,
        _png(8, 8, _chunk(b"tEXt", b"") * (MAX_CHUNKS + 1)),
        b"RIFF" + struct.pack("<I", 4 + 22 + 8 * 10**6) + b"WEBP" + b"VP8X" + struct.pack("<I", 10)
        + bytes(10) + (b"JUNK" + bytes(4)) * 10**6,
    ],
    ids=["FF", "TEM", "APP0", "stuffing", "RST", "SOS", "tEXt", "JUNK"],
)  # fmt: skip
def test_walking_hostile_files_is_bounded(hostile):
    begun = time.process_time()
    assert reason_of(hostile) in (Reason.TRUNCATED, Reason.UNDECODABLE)
    assert time.process_time() - begun < 0.5


def test_bounds_leave_room_for_real_files():
    icc = b"\xff\xe2\xff\xff" + bytes(65_533)
    data = WHOLE["jpeg"]
    assert MAX_SEGMENTS > 300
    assert decode(data[:2] + icc * 256 + data[2:]).shape == (48, 64, 3)


def test_threads_of_opencv():
    before = cv2.getNumThreads()
    try:
        limit_threads()
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)


@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"needs the real photos of {REAL_PHOTOS}")
def test_real_photos():
    paths = sorted(REAL_PHOTOS.glob("*.jpg"))[::7]
    assert len(paths) > 200
    for path in paths:
        pixels = decode(path.read_bytes())
        assert pixels.shape[2] == 3
        assert 100 < max(pixels.shape) <= 500
