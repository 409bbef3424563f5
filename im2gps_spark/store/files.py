"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_whole(path: Path, data: bytes) -> str:
    """Writes a file under a passing name and gives it its own at once; returns the SHA-256 of the bytes."""
    with written_whole(path) as passing, passing.open("wb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A passing name to write a file under; it gets its own at the end, and is gone if the work failed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        yield passing
        with passing.open("r+b") as file:
            os.fsync(file.fileno())
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
