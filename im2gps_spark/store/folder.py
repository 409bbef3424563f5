"""Folders of files on disk or in S3, by one protocol. Every file appears whole or not at all."""

from __future__ import annotations

import datetime as dt
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from im2gps_spark.errors import StageError
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.files import sha256, write_whole, written_whole
from im2gps_spark.store.passing import Patience, TryAgain
from im2gps_spark.store.settings import MEND, SCHEME, S3Settings

T = TypeVar("T")

_DEADLINE_S, _TRIES = 60.0, 50
_CHUNK = 8 * 2**20
_CHECKSUM = "sha256"


class Folder(Protocol):
    """A folder. Names may have slashes; what is missing raises FileNotFoundError, as a file does."""

    def __hash__(self) -> int:
        """A folder is a value: equal ones are the same place."""

    def __truediv__(self, name: str) -> Folder:
        """The folder of a name below this one."""

    def read(self, name: str) -> bytes:
        """The bytes of a file."""

    def write(self, name: str, data: bytes) -> str:
        """Writes a file, in one step; returns the SHA-256 of the bytes."""

    def share(self, name: str, other: Folder, checksum: str) -> None:
        """Has a file of another folder of the same kind here, too, in one step; what becomes of it there is no matter.

        Its bytes are neither looked at nor sent; on a disk both are one file where the file system allows it.
        """

    def put(self, name: str, path: Path) -> str:
        """Writes a file with the bytes of one on this machine's disk, in one step; returns their SHA-256."""

    def checksum(self, name: str) -> str | None:
        """The SHA-256 of a file; None if there is none, or in S3 one that was not written by ``write``."""

    def written_at(self, name: str) -> dt.datetime:
        """When a file was written, in UTC."""

    def local(self, name: str, checksum: str) -> Path:
        """A file on this machine's disk with the bytes that have a checksum.

        Raises:
            StageError: the file has other bytes.
        """

    def drop_copies(self, name: str) -> None:
        """Removes what copies ``local`` made of a file on this machine, if any."""

    def names(self) -> list[str]:
        """The names of what lies right in the folder, sorted."""

    def remove(self, name: str) -> None:
        """Removes a file or a folder with all in it, if it is there."""


def folder_at(place: str | Path, s3: S3Settings, cache: Cache) -> Folder:
    """The folder of a path or of s3://BUCKET/PREFIX."""
    if str(place).startswith(SCHEME):
        return S3Folder(str(place).rstrip("/"), s3, cache)
    return DiskFolder(Path(str(place).removeprefix("file://")).absolute())


@dataclass(frozen=True)
class DiskFolder:
    """A folder of a file system; workers on other machines must have it under the same path."""

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def __truediv__(self, name: str) -> DiskFolder:
        return DiskFolder(self.root / name)

    def read(self, name: str) -> bytes:
        """See ``Folder``."""
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> str:
        """See ``Folder``."""
        return write_whole(self.root / name, data)

    def share(self, name: str, other: Folder, _checksum: str) -> None:
        """See ``Folder``."""
        source = Path(str(other)) / name
        with written_whole(self.root / name) as passing:
            try:
                passing.hardlink_to(source)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without such links
                shutil.copyfile(source, passing)

    def put(self, name: str, path: Path) -> str:
        """See ``Folder``."""
        with written_whole(self.root / name) as passing:
            shutil.copyfile(path, passing)
            return sha256(passing)

    def checksum(self, name: str) -> str | None:
        """See ``Folder``; the file is read."""
        path = self.root / name
        return sha256(path) if path.is_file() else None

    def written_at(self, name: str) -> dt.datetime:
        """See ``Folder``."""
        return dt.datetime.fromtimestamp((self.root / name).stat().st_mtime, dt.UTC)

    def local(self, name: str, _checksum: str) -> Path:
        """The file itself; its bytes are not looked at."""
        path = self.root / name
        if not path.is_file():
            raise FileNotFoundError(str(path))
        return path

    def drop_copies(self, name: str) -> None:
        """There are none."""

    def names(self) -> list[str]:
        """See ``Folder``."""
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    def remove(self, name: str) -> None:
        """See ``Folder``."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class S3Folder:
    """Objects below a prefix. Failures that may pass are waited for, a minute at most.

    Attributes:
        root: s3://BUCKET/PREFIX, without a trailing slash.
        s3: which store.
        cache: where ``local`` puts its copies.
    """

    root: str
    s3: S3Settings
    cache: Cache = field(repr=False)

    def __str__(self) -> str:
        return self.root

    def __truediv__(self, name: str) -> S3Folder:
        return S3Folder(f"{self.root}/{name}", self.s3, self.cache)

    def read(self, name: str) -> bytes:
        """See ``Folder``."""

        def read(client: Any, address: dict[str, str]) -> bytes:
            answer = client.get_object(**address)
            data: bytes = answer["Body"].read()
            if len(data) != answer["ContentLength"]:
                raise TryAgain(f"{len(data)} of {answer['ContentLength']} bytes came")
            return data

        return self._ask(name, read)

    def write(self, name: str, data: bytes) -> str:
        """See ``Folder``."""
        checksum = hashlib.sha256(data).hexdigest()
        about = {_CHECKSUM: checksum}
        self._ask(name, lambda client, address: client.put_object(**address, Body=data, Metadata=about))
        return checksum

    def share(self, name: str, other: Folder, checksum: str) -> None:
        """See ``Folder``; the store copies it, a large one in parts."""
        bucket, _, key = f"{other}/{name}".removeprefix(SCHEME).partition("/")
        # Said again: of a file that is copied in parts the store would not copy what was noted beside it.
        about = {"Metadata": {_CHECKSUM: checksum}, "MetadataDirective": "REPLACE"}

        def copy(client: Any, address: dict[str, str]) -> None:
            client.copy({"Bucket": bucket, "Key": key}, address["Bucket"], address["Key"], ExtraArgs=about)

        self._ask(name, copy)

    def put(self, name: str, path: Path) -> str:
        """See ``Folder``; of 5 GiB at most."""
        checksum = sha256(path)

        def put(client: Any, address: dict[str, str]) -> None:
            with path.open("rb") as file:
                client.put_object(**address, Body=file, Metadata={_CHECKSUM: checksum})

        self._ask(name, put)
        return checksum

    def checksum(self, name: str) -> str | None:
        """See ``Folder``; what ``write`` noted beside the object, not read anew: ``local`` does that."""
        try:
            about = self._ask(name, lambda client, address: client.head_object(**address))["Metadata"]
        except FileNotFoundError:
            return None
        found: str | None = about.get(_CHECKSUM)
        return found

    def written_at(self, name: str) -> dt.datetime:
        """See ``Folder``; as the store has it."""
        found: dt.datetime = self._ask(name, lambda client, address: client.head_object(**address))["LastModified"]
        return found.astimezone(dt.UTC)

    def local(self, name: str, checksum: str) -> Path:
        """See ``Folder``; a copy in the cache."""
        try:
            return self.cache.file(self._copy(name), checksum, lambda path: self._fetch(name, path))
        except ValueError as error:
            raise StageError(f"{self.root}/{name} {error}: it has changed since it was written") from error

    def drop_copies(self, name: str) -> None:
        """See ``Folder``."""
        self.cache.drop(self._copy(name))

    def _copy(self, name: str) -> str:
        """What a file is called in the cache: by its whole address, for two indexes have files of the same name."""
        below = f"{self.root}/{name}".removeprefix(SCHEME).replace("..", "__")
        return f"{hashlib.sha256(self.s3.endpoint.encode()).hexdigest()[:12]}/{below}"

    def _fetch(self, name: str, path: Path) -> str:
        def fetch(client: Any, address: dict[str, str]) -> str:
            answer = client.get_object(**address)
            digest, size = hashlib.sha256(), 0
            with path.open("wb") as file:
                for chunk in answer["Body"].iter_chunks(_CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
            if size != answer["ContentLength"]:
                raise TryAgain(f"{size} of {answer['ContentLength']} bytes came")
            return digest.hexdigest()

        return self._ask(name, fetch)

    def names(self) -> list[str]:
        """See ``Folder``."""
        found = set()
        for key in self._keys(""):
            found.add(key.partition("/")[0])
        return sorted(found)

    def remove(self, name: str) -> None:
        """See ``Folder``."""
        self._ask(name, lambda client, address: client.delete_object(**address))
        for key in self._keys(f"{name}/"):
            self._ask(f"{name}/{key}", lambda client, address: client.delete_object(**address))

    def _keys(self, below: str) -> list[str]:
        """Keys that begin with the folder and ``below``, without that beginning."""

        def every(client: Any, address: dict[str, str]) -> list[str]:
            begin = address["Key"]
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=address["Bucket"], Prefix=begin)
            return [entry["Key"][len(begin) :] for page in pages for entry in page.get("Contents", [])]

        return self._ask(below, every)

    def _ask(self, name: str, work: Callable[[Any, dict[str, str]], T]) -> T:
        """What a request gives.

        Raises:
            FileNotFoundError, PermissionError: as a file system would.
            StageError: the store could not be asked in time.
        """
        from im2gps_spark.store import s3  # boto3 takes a while to load, and few need it

        uri = f"{self.root}/{name}"
        bucket, _, key = uri.removeprefix(SCHEME).partition("/")

        def once() -> T:
            try:
                return work(s3.shared_client(self.s3), {"Bucket": bucket, "Key": key})
            except s3.FAILURES as error:
                match s3.fault_of(error):
                    case s3.Fault.MISSING:
                        raise FileNotFoundError(f"{uri}: {s3.described(error)}") from error
                    case s3.Fault.FORBIDDEN:
                        raise PermissionError(f"{uri}: {s3.described(error)}; {MEND}") from error
                    case _:
                        raise TryAgain(s3.described(error)) from error

        try:
            return Patience(_DEADLINE_S, _TRIES).until_it_works(once)
        except TryAgain as error:
            raise StageError(f"{uri}: the store can't be asked ({error}); {MEND}") from error
