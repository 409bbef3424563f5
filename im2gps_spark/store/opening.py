"""Files of metadata, in a file system or in S3: what there is under a name, and how it is opened.

Photos are read otherwise (``store.photos``): for few large files pyarrow's file system is simpler, and seeks.
"""

from __future__ import annotations

from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from im2gps_spark.errors import UsageError
from im2gps_spark.store.settings import MEND, SCHEME, S3Settings

_BUFFER = 2**20


def files_under(name: str, s3: S3Settings) -> dict[str, int] | None:
    """Files and their sizes, in the order of their names: the one that is named, or all in the folder that is.

    What is hidden in a folder, by a dot or an underscore, is left out. None: there is nothing of that name.

    Raises:
        UsageError: the store can't be asked.
    """
    if name.startswith(SCHEME):
        return _objects_under(name.removeprefix(SCHEME).rstrip("/"), s3)
    path = Path(name.removeprefix("file://"))
    if not path.exists():
        return None
    if not path.is_dir():
        return {str(path): path.stat().st_size}
    found = (p for p in path.rglob("*") if p.is_file() and not _hidden(p.relative_to(path)))
    return {str(p): p.stat().st_size for p in sorted(found)}


def _objects_under(name: str, s3: S3Settings) -> dict[str, int] | None:
    from pyarrow import fs

    try:
        here = _bucket_store(s3).get_file_info(name)
        if here.type == fs.FileType.NotFound:
            return None
        if here.type == fs.FileType.File:
            return {SCHEME + name: here.size}
        inside = _bucket_store(s3).get_file_info(fs.FileSelector(name, recursive=True))
    except OSError as error:
        raise UsageError(f"{SCHEME}{name}: the store can't be asked ({error}); {MEND}") from error
    files = (info for info in inside if info.type == fs.FileType.File and not _hidden(Path(info.path[len(name) + 1 :])))
    return {SCHEME + info.path: info.size for info in sorted(files, key=lambda info: info.path)}


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)


def opened(path: str, s3: S3Settings) -> BufferedReader:
    """A file for reading; it can seek.

    Raises:
        OSError: it can't be opened.
    """
    if path.startswith(SCHEME):
        return BufferedReader(_bucket_store(s3).open_input_file(path.removeprefix(SCHEME)), _BUFFER)
    return Path(path).open("rb")


@lru_cache(maxsize=4)
def _bucket_store(s3: S3Settings) -> Any:
    from pyarrow import fs

    url = urlsplit(s3.endpoint)
    return fs.S3FileSystem(
        anonymous=s3.anonymous,
        region=s3.region,
        endpoint_override=url.netloc or None,
        scheme=url.scheme or "https",
        connect_timeout=s3.connect_timeout_s,
        request_timeout=s3.read_timeout_s,
    )
