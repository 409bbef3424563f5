"""One at a time: a mark in a folder that whoever works there holds, on disk or in S3.

On disk the system's lock does it, which ends with the process that holds it. In S3 it is an object that its holder
writes anew every few seconds, by conditional requests alone (If-None-Match, If-Match): who finds one that has not been
renewed for ``LEASE_S`` seconds by the store's own clock takes it over.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from im2gps_spark.errors import StageError
from im2gps_spark.store.folder import DiskFolder, Folder, S3Folder

log = logging.getLogger(__name__)

LEASE_S = 30.0
"""Seconds without a sign of life after which a holder counts as gone."""

_RENEWED_EVERY_S = LEASE_S / 5
_WATCHED_EVERY_S = 1.0

Check = Callable[[], None]


@contextmanager
def only_one(folder: Folder, name: str) -> Iterator[Check]:
    """Holds the mark of a name in a folder while the block runs; gives what refuses to go on once it was lost.

    A mark whose holder was killed is taken over: in S3 after ``LEASE_S`` seconds, which are waited for.

    Raises:
        StageError: another process holds it. Or, by what is given: others may have taken it, for the store could not
            be asked for too long.
    """
    if isinstance(folder, S3Folder):
        with _leased(folder, name) as check:
            yield check
    elif isinstance(folder, DiskFolder):
        with _locked(folder, name) as check:
            yield check
    else:
        raise TypeError(f"no marks in {folder}")


@contextmanager
def _locked(folder: DiskFolder, name: str) -> Iterator[Check]:
    folder.root.mkdir(parents=True, exist_ok=True)
    with (folder.root / name).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise _held(folder, name, file.read().strip()) from error
        file.truncate(0)
        file.write(_who())
        file.flush()
        try:
            yield lambda: None
        finally:
            file.truncate(0)


def _held(folder: Folder, name: str, holder: str) -> StageError:
    return StageError(f"{folder}/{name} is held by {holder or 'another process'}, which is at work: let it finish")


def _who() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def _leased(folder: S3Folder, name: str) -> Iterator[Check]:
    lease = _Lease(folder, name)
    lease.take()
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew_until, args=(ended,), daemon=True, name="lease")
    renewing.start()
    try:
        yield lease.check
    finally:
        ended.set()
        renewing.join()
        lease.give_back()


class _Lease:
    """An object that says who is at work."""

    def __init__(self, folder: S3Folder, name: str) -> None:
        from im2gps_spark.store import s3

        self._s3 = s3
        self._folder, self._name = folder, name
        bucket, key = s3.bucket_and_key(f"{folder.root}/{name}")
        self._address = {"Bucket": bucket, "Key": key}
        self._client = s3.shared_client(folder.s3)
        self._etag, self._renewed, self._times = "", 0.0, 0

    def take(self) -> None:
        """Takes the lease; where another has it, waits until it shows whether its holder lives.

        Raises:
            StageError: it does.
        """
        while not self._put(IfNoneMatch="*"):
            seen = self._look()
            if seen is not None and self._dies(seen) and self._put(IfMatch=seen.etag):
                return

    def _dies(self, seen: _Seen) -> bool:
        """Whether the holder gives no sign of life until its time is up; not if it gives the lease back."""
        log.info("%s/%s is held by %s: waiting for a sign of life", self._folder, self._name, seen.holder)
        while (now := self._look()) is not None:
            if now.etag != seen.etag:
                raise _held(self._folder, self._name, now.holder)
            if now.age_s > LEASE_S:
                return True
            time.sleep(_WATCHED_EVERY_S)
        return False

    def renew_until(self, ended: threading.Event) -> None:
        """In a thread of its own: a sign of life every few seconds."""
        while not ended.wait(_RENEWED_EVERY_S):
            # A store that can't be asked for a moment is asked again: ``check`` knows for how long that is good.
            with suppress(*self._s3.FAILURES):
                if not self._put(IfMatch=self._etag):
                    self._renewed = -LEASE_S  # another has it
                    return

    def check(self) -> None:
        """Refuses to go on without the lease."""
        if time.monotonic() - self._renewed > LEASE_S:
            raise StageError(
                f"{self._folder}/{self._name} could not be renewed for {LEASE_S:.0f} s, and may be another's by now; "
                "what was done is kept: run this again"
            )

    def give_back(self) -> None:
        """Removes the object if it is still ours; else it runs out."""
        with suppress(*self._s3.FAILURES):
            seen = self._look()
            if seen is not None and seen.etag == self._etag:
                self._client.delete_object(**self._address)

    def _put(self, **condition: str) -> bool:
        self._times += 1  # so that each writing has another tag
        body = json.dumps({"holder": _who(), "times": self._times}).encode()
        begun = time.monotonic()
        try:
            self._etag = self._client.put_object(**self._address, Body=body, **condition)["ETag"]
        except self._s3.FAILURES as error:
            if self._s3.described(error).startswith(("412", "409")):
                return False
            raise
        self._renewed = begun
        return True

    def _look(self) -> _Seen | None:
        try:
            answer = self._client.get_object(**self._address)
            holder = json.loads(answer["Body"].read())["holder"]
        except self._s3.FAILURES as error:
            if self._s3.fault_of(error) is self._s3.Fault.MISSING:
                return None
            raise
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return _Seen(answer["ETag"], str(holder), (now - answer["LastModified"]).total_seconds())


@dataclass(frozen=True)
class _Seen:
    """A lease as it lies in the store: its version, its holder, and its age by the store's clock."""

    etag: str
    holder: str
    age_s: float
