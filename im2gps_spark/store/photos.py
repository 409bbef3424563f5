"""A photo's bytes from where it is kept. Every failure has a class: final, or one that may pass."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from im2gps_spark.photos.reasons import Reason, Rejected

# What a file system can say for good. Of anything else, the disk or the network behind it may be well again tomorrow.
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


class TryAgain(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """Reading failed in a way that may pass: the photo is to be taken up by a later run."""


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
