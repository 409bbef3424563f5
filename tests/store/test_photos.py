"""A photo's bytes: handed out whole, or a failure with its class."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from im2gps_spark.photos.reasons import Reason, Rejected
from im2gps_spark.store.passing import TryAgain
from im2gps_spark.store.photos import read

FINAL = {
    errno.ENOENT: Reason.MISSING_FILE,
    errno.ENOTDIR: Reason.MISSING_FILE,
    errno.ENAMETOOLONG: Reason.MISSING_FILE,
    errno.ELOOP: Reason.MISSING_FILE,
    errno.EACCES: Reason.FORBIDDEN,
    errno.EPERM: Reason.FORBIDDEN,
}
PASSING = [errno.EIO, errno.ETIMEDOUT, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM]


def rejection(uri: object, max_bytes: int = 100) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(str(uri), max_bytes)
    return caught.value


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "1.jpg").write_bytes(b"0123456789")
    return tmp_path / "1.jpg"


def test_a_file_comes_whole_by_path_and_by_uri(photo):
    assert read(str(photo), 100) == read(f"file://{photo}", 100) == b"0123456789"


def test_names_are_taken_as_they_stand(tmp_path):
    for name in ["a b%20c.jpg", "été.jpg", "#1.jpg", "x?y.jpg"]:
        (tmp_path / name).write_bytes(name.encode())
        assert read(str(tmp_path / name), 100) == name.encode()


def test_an_empty_file_is_read_and_left_to_the_decoder(tmp_path):
    (tmp_path / "0.jpg").touch()
    assert read(str(tmp_path / "0.jpg"), 100) == b""


def test_the_longest_file_that_is_read(photo):
    assert len(read(str(photo), 10)) == 10
    too_large = rejection(photo, 9)
    assert (too_large.reason, too_large.detail) == (Reason.TOO_LARGE, "over 9 bytes")


def test_no_more_is_read_than_is_asked_for(tmp_path):
    huge = tmp_path / "huge.jpg"
    huge.touch()
    os.truncate(huge, 2**34)  # takes no room on the disk, and none in memory
    assert rejection(huge, 1000).reason == Reason.TOO_LARGE


def test_what_is_not_there(photo):
    assert rejection(photo.with_name("2.jpg")).reason == Reason.MISSING_FILE
    assert rejection(photo.parent).reason == Reason.MISSING_FILE
    assert rejection(photo / "2.jpg").reason == Reason.MISSING_FILE
    assert rejection(photo.with_name("a" * 300)).reason == Reason.MISSING_FILE


def failing(number: int):
    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", FINAL, ids=errno.errorcode.get)
def test_a_final_failure_has_a_reason(photo, monkeypatch, number):
    monkeypatch.setattr(Path, "open", failing(number))
    failure = rejection(photo)
    assert (failure.reason, failure.detail) == (FINAL[number], os.strerror(number))


@pytest.mark.parametrize("number", PASSING, ids=errno.errorcode.get)
def test_a_failure_that_may_pass_is_tried_again(photo, monkeypatch, number):
    monkeypatch.setattr(Path, "open", failing(number))
    with pytest.raises(TryAgain, match=f"1.jpg: {os.strerror(number)}"):
        read(str(photo), 100)


def test_a_failure_half_way_through_is_tried_again(photo, monkeypatch):
    class Broken:
        read = staticmethod(failing(errno.EIO))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(Path, "open", lambda *_args: Broken())
    with pytest.raises(TryAgain):
        read(str(photo), 100)
