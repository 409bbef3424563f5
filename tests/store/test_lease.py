"""One at a time, on disk and in S3: a second is refused, a killed one is succeeded."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from im2gps_spark.errors import StageError
from im2gps_spark.sample.objects import Server
from im2gps_spark.store import lease, s3
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.folder import Folder, folder_at
from im2gps_spark.store.lease import only_one
from im2gps_spark.store.settings import S3Settings


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder is gone after two seconds; the store's clock has whole ones."""
    monkeypatch.setattr(lease, "LEASE_S", 2.0)
    monkeypatch.setattr(lease, "_RENEWED_EVERY_S", 0.2)
    monkeypatch.setattr(lease, "_WATCHED_EVERY_S", 0.1)


@pytest.fixture(params=["disk", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, quick: None) -> Iterator[Folder]:
    if request.param == "disk":
        yield folder_at(tmp_path, S3Settings(), Cache())
    else:
        server: Server = request.getfixturevalue("objects")
        yield folder_at(f"s3://photos/{tmp_path.name}", S3Settings(endpoint=server.endpoint), Cache(str(tmp_path)))


def for_five_seconds(check: lease.Check) -> None:
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        check()
        time.sleep(0.1)


def test_a_second_is_refused_while_the_first_is_at_work(folder):
    with only_one(folder, "NIGHT") as check:
        with (
            pytest.raises(StageError, match=r"NIGHT is held by process \d+ on .*: let it finish"),
            only_one(folder, "NIGHT"),
        ):
            pass
        with only_one(folder, "ANOTHER"):
            check()
    with only_one(folder, "NIGHT"):
        pass


def test_what_fails_gives_the_mark_back(folder):
    with pytest.raises(ZeroDivisionError), only_one(folder, "NIGHT"):
        raise ZeroDivisionError
    with only_one(folder, "NIGHT"):
        pass


def test_a_killed_holder_is_succeeded(folder, tmp_path):
    """The holder is another process; it says so, and is killed as it stands."""
    server = folder.s3.endpoint if hasattr(folder, "s3") else ""
    program = f"""
        import sys, time
        from im2gps_spark.store.cache import Cache
        from im2gps_spark.store.folder import folder_at
        from im2gps_spark.store.lease import only_one
        from im2gps_spark.store.settings import S3Settings
        with only_one(folder_at({str(folder)!r}, S3Settings(endpoint={server!r}), Cache()), "NIGHT"):
            print("held", flush=True)
            time.sleep(60)
    """
    holder = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with only_one(folder, "NIGHT") as check:
        check()


def test_a_lease_that_another_took_is_told_to_its_holder(objects, tmp_path, quick):
    place = folder_at(f"s3://photos/{tmp_path.name}", S3Settings(endpoint=objects.endpoint), Cache())
    with only_one(place, "NIGHT") as check:
        check()
        s3.shared_client(S3Settings(endpoint=objects.endpoint)).put_object(
            Bucket="photos", Key=f"{tmp_path.name}/NIGHT", Body=json.dumps({"holder": "another"}).encode()
        )
        with pytest.raises(StageError, match="may be another's by now"):
            for_five_seconds(check)
    assert b"another" in place.read("NIGHT")


def test_a_store_that_is_silent_for_too_long_ends_the_work(objects, tmp_path, quick, monkeypatch):
    place = folder_at(f"s3://photos/{tmp_path.name}", S3Settings(endpoint=objects.endpoint), Cache())
    with only_one(place, "NIGHT") as check:

        def fail(*_: object, **__: object) -> None:
            raise ConnectionResetError

        with monkeypatch.context() as patch:
            patch.setattr(lease._Lease, "_put", fail)
            with pytest.raises(StageError, match="run this again"):
                for_five_seconds(check)
