"""What a demonstration puts into a store of its own: a folder's files as objects, and a bucket for tables."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from im2gps_spark.sample.objects import Server
from im2gps_spark.store.s3 import bucket_and_key, client
from im2gps_spark.store.settings import S3Settings

_THREADS = 16


def upload(place: Path, uri: str, server: Server) -> int:
    """A file, or every file of a folder, as an object below s3://BUCKET/PREFIX; returns how many."""
    folder = place if place.is_dir() else place.parent
    store = client(S3Settings(endpoint=server.endpoint), server.keys.access, server.keys.secret)

    def put(file: Path) -> None:
        bucket, key = bucket_and_key(f"{uri}/{file.relative_to(folder).as_posix()}")
        store.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    files = sorted(path for path in folder.rglob("*") if path.is_file()) if place.is_dir() else [place]
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, files))
    return len(files)


def make_table_bucket(name: str, server: Server) -> None:
    """A bucket that the server's Iceberg REST catalog takes for a warehouse, s3://NAME."""
    import boto3

    keys = {"aws_access_key_id": server.keys.access, "aws_secret_access_key": server.keys.secret}
    tables = boto3.client("s3tables", endpoint_url=server.endpoint, region_name=S3Settings().region, **keys)
    with suppress(tables.exceptions.ConflictException):  # it is there, from an earlier time
        tables.create_table_bucket(name=name)
