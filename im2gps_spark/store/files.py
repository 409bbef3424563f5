"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes) -> str:
    """Writes a file under a passing name and gives it its own at once; returns the SHA-256 of the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with passing.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        passing.replace(path)
    finally:
        passing.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()


def sha256(path: Path) -> str:
    """The SHA-256 of a file, read in parts."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
