"""A photo's bytes from where it is kept. Every failure has a class: final, or one that may pass."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from im2gps_spark.photos.reasons import Reason, Rejected
from im2gps_spark.store.passing import Patience, TryAgain
from im2gps_spark.store.settings import SCHEME, S3Settings

# What a file system can say for good. Of anything else, the disk or the network behind it may be well again tomorrow.
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


def _no_bound(_: int) -> None:
    """Memory is not counted."""


@dataclass(frozen=True)
class PhotoStore:
    """Where photos are kept: a file system, or S3.

    Attributes:
        max_bytes: larger photos are refused.
        s3: which store ``s3://`` means.
        patience: with failures of S3 that may pass; a file system has its own.
    """

    max_bytes: int
    s3: S3Settings
    patience: Patience

    def read(self, uri: str, make_room: Callable[[int], None] = _no_bound) -> bytes:
        """The bytes of a photo.

        Args:
            make_room: called with the size of what lies in S3 before it is read.

        Raises:
            Rejected, TryAgain: as ``store.s3.read`` and ``read`` do.
        """
        if not uri.startswith(SCHEME):
            return read(uri, self.max_bytes)
        from im2gps_spark.store import s3  # boto3 takes a while to load, and few need it

        return self.patience.until_it_works(lambda: s3.read(uri, self.max_bytes, self.s3, make_room))


def exists(uri: str, settings: S3Settings) -> bool:
    """Whether there is a photo, as far as one look tells.

    Raises:
        UsageError: there is no store.
    """
    if not uri.startswith(SCHEME):
        return Path(uri).exists()
    from im2gps_spark.store import s3

    return s3.exists(uri, settings)


def read(uri: str, max_bytes: int) -> bytes:
    """The bytes of a photo in the file system.

    Raises:
        Rejected: there is nothing, or nothing that may be read, or more than ``max_bytes``.
        TryAgain: the failure may pass.
    """
    path = Path(uri.removeprefix("file://"))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Rejected(Reason.MISSING_FILE, "not a file")  # to open a pipe would wait for ever
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        if error.errno in _MISSING | _FORBIDDEN:
            reason = Reason.FORBIDDEN if error.errno in _FORBIDDEN else Reason.MISSING_FILE
            raise Rejected(reason, error.strerror or "") from error
        raise TryAgain(f"{path}: {error.strerror}") from error
    if len(data) > max_bytes:
        raise Rejected(Reason.TOO_LARGE, f"over {max_bytes} bytes")
    return data
