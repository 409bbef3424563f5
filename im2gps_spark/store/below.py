"""What lies in a folder and the folders in it."""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from im2gps_spark.errors import UsageError
from im2gps_spark.store.listing import Listed

log = logging.getLogger(__name__)


def files_below(root: Path) -> Iterator[Listed]:
    """Every file below a folder, in no order; links to folders are not followed, for they may lead back.

    Names that are no UTF-8 can be no key: they are left out, and it is said how many they were.

    Raises:
        UsageError: there is no such folder, or one in it may not be read.
    """
    if not root.is_dir():
        raise UsageError(f"photos.root: there is no folder {root}")
    unnameable = 0
    left = [""]
    while left:
        prefix = left.pop()
        try:
            with os.scandir(root / prefix) as entries:
                for entry in entries:
                    key = prefix + entry.name
                    if not _is_text(key):
                        unnameable += 1
                    elif entry.is_dir(follow_symlinks=False):
                        left.append(f"{key}/")
                    elif (found := _file(entry, key)) is not None:
                        yield found
        except OSError as error:
            raise UsageError(
                f"photos.root: {root / prefix} can't be listed ({error.strerror}): let us read it"
            ) from error
    if unnameable:
        log.warning("manifest: %d names below %s are no UTF-8 and were left out", unnameable, root)


def _file(entry: os.DirEntry[str], key: str) -> Listed | None:
    """None: no file, or gone by now."""
    try:
        if not entry.is_file():
            return None
        state = entry.stat()
    except FileNotFoundError:
        return None
    return Listed(key, state.st_size, dt.datetime.fromtimestamp(state.st_mtime, dt.UTC), None)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
