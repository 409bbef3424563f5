"""Copies of files from S3 on a machine's disk, named by their checksums: they can be mapped, and are fetched once."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from im2gps_spark.errors import UsageError

# What was opened in the last hour stays: another process may be about to map it.
_IN_USE_S = 3600.0


@dataclass(frozen=True)
class Cache:
    """A folder of copies, shared by the processes of one user.

    Attributes:
        folder: empty for one below the system's folder of temporary files.
        most_bytes: copies beyond this that were not used for an hour go, the longest unused first.
    """

    folder: str = ""
    most_bytes: int = 100 * 2**30

    @property
    def root(self) -> Path:
        """Where the copies lie; made, for this user alone, if it is not there.

        Raises:
            UsageError: it is another user's, or can't be made.
        """
        path = Path(self.folder or Path(tempfile.gettempdir()) / f"im2gps-cache-{os.getuid()}").absolute()
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Whoever may write there may put another index in the place of ours.
            mine = path.stat().st_uid == os.getuid()
        except OSError as error:
            raise UsageError(f"index.cache: {path} can't be made ({error.strerror}); name another folder") from error
        if not mine:
            raise UsageError(f"index.cache: {path} belongs to another user; name another folder")
        return path

    def file(self, name: str, checksum: str, fetch: Callable[[Path], str]) -> Path:
        """The copy of a file.

        Args:
            name: a path without ``..``; only one copy of a name is kept, the latest.
            checksum: SHA-256 of the bytes.
            fetch: writes the file to a path, and gives its SHA-256.

        Raises:
            ValueError: what was fetched has another checksum.
        """
        path = self.root / name / checksum
        with self._alone(path):
            if not path.exists():
                self._fetch(path, checksum, fetch)
            os.utime(path)
        return path

    def drop(self, name: str) -> None:
        """Removes the copies of a file, if there are any; a process that has one mapped keeps what it maps."""
        folder = self.root / name
        if folder.is_dir():
            with self._alone(folder / "any"):
                _remove_but(folder, ".lock")

    def _fetch(self, path: Path, checksum: str, fetch: Callable[[Path], str]) -> None:
        passing = path.with_name(".coming")
        try:
            found = fetch(passing)
            if found != checksum:
                raise ValueError(f"has the SHA-256 {found}, not {checksum}")
            passing.replace(path)
        finally:
            passing.unlink(missing_ok=True)
        _remove_but(path.parent, path.name, ".lock")  # copies of what the file was before
        self._make_room(path)

    @contextmanager
    def _alone(self, path: Path) -> Iterator[None]:
        """One process at a time fetches a file; the others wait and find it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with (path.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, new: Path) -> None:
        copies = [(p.stat().st_mtime, p.stat().st_size, p) for p in self.root.rglob("*") if _is_copy(p)]
        over = sum(size for _, size, _ in copies) - self.most_bytes
        for used, size, path in sorted(copies):
            if over <= 0 or used > time.time() - _IN_USE_S:
                return
            if path != new:
                path.unlink(missing_ok=True)
                over -= size


def _remove_but(folder: Path, *names: str) -> None:
    for other in folder.iterdir():
        if other.name not in names:
            other.unlink(missing_ok=True)


def _is_copy(path: Path) -> bool:
    return len(path.name) == 64 and path.is_file()
