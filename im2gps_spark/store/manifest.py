"""The list of what lies below ``photos.root``, as a file: one row an object, sorted by key."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.store.below import files_below
from im2gps_spark.store.files import written_whole
from im2gps_spark.store.listing import Listed, Page, in_chunks, listed
from im2gps_spark.store.passing import Patience, TryAgain
from im2gps_spark.store.settings import SCHEME, S3Settings
from im2gps_spark.store.sorting import in_order

log = logging.getLogger(__name__)

MANIFEST = pa.schema(
    [
        ("uri", pa.string()),
        ("key", pa.string()),
        ("bytes", pa.int64()),
        ("modified", pa.timestamp("us", "UTC")),
        ("etag", pa.string()),
    ]
)
"""Columns of a manifest. ``key`` is below the root, as ``photos.key`` makes it, and ``uri`` as in the table photos."""

_LISTED = pa.schema([field for field in MANIFEST if field.name != "uri"])
_ROWS_A_GROUP = 100_000
_PROGRESS_S = 5.0

Write = Callable[[Path, Iterable[pa.Table]], None]


def write_manifest(root: str, to: Path, s3: S3Settings, threads: int, deadline_s: float) -> int:
    """Lists what lies below a root into a file, which appears whole or not at all; returns the number of rows.

    Objects whose key ends in a slash are a store's way to note a folder, and are left out.

    Args:
        root: s3://BUCKET, s3://BUCKET/PREFIX, or a folder.
        to: .parquet, .tsv or .tsv.gz; replaced if it is there.
        s3: which store ``s3://`` means.
        threads: requests under way at once.
        deadline_s: from a request's first try: after it no further one begins, and the listing fails.

    Raises:
        UsageError: an unknown suffix; no such folder or bucket, or nothing below it, or it may not be listed.
        StageError: the store did not answer in time.
    """
    write = _writer(to)
    root = root.rstrip("/") if root.startswith(SCHEME) else str(Path(root.removeprefix("file://")).absolute())
    rows = _watched(_objects(root, s3, threads, deadline_s))
    count = 0

    def tables(folder: Path) -> Iterator[pa.Table]:
        nonlocal count
        for table in in_order((_batch(page) for page in rows if page), "key", folder):
            count += table.num_rows
            yield _with_uri(table, root)
        if not count:
            raise UsageError(f"photos.root: nothing lies below {root}: mend photos.root")

    try:
        with tempfile.TemporaryDirectory(prefix="im2gps-manifest-") as folder, written_whole(to) as passing:
            write(passing, tables(Path(folder)))
    except TryAgain as error:
        raise StageError(f"manifest: {error}; no answer within {deadline_s:g} s, run it again") from error
    return count


def _objects(root: str, s3: S3Settings, threads: int, deadline_s: float) -> Iterator[list[Listed]]:
    if not root.startswith(SCHEME):
        return in_chunks(files_below(Path(root)))
    from im2gps_spark.store.s3 import page  # boto3 takes a while to load, and few need it

    bucket, _, folder = root.removeprefix(SCHEME).partition("/")
    below = f"{folder}/" if folder else ""
    # The deadline is each page's own: of a million pages many may fail once, and all come in the end.
    patience = Patience(deadline_s, tries=sys.maxsize)

    def ask(prefix: str, one_level: bool, following: str | None) -> Page:
        return patience.until_it_works(lambda: page(bucket, below, prefix, one_level, following, s3))

    return listed(ask, threads)


def _watched(pages: Iterator[list[Listed]]) -> Iterator[list[Listed]]:
    """The same, with a line of progress every few seconds and one at the end."""
    begin = said = time.monotonic()
    count = 0

    def say() -> None:
        log.info("manifest: %d objects, %.0f a second", count, count / max(time.monotonic() - begin, 1e-9))

    for page in pages:
        count += len(page)
        if time.monotonic() - said > _PROGRESS_S:
            said = time.monotonic()
            say()
        yield page
    say()


def _batch(page: list[Listed]) -> pa.RecordBatch:
    columns = zip(*page, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _LISTED, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_LISTED)


def _with_uri(table: pa.Table, root: str) -> pa.Table:
    uris = pc.binary_join_element_wise(pa.scalar(root), table["key"], "/")
    return table.add_column(0, MANIFEST.field("uri"), uris)


def _writer(to: Path) -> Write:
    for suffix, write in _WRITERS.items():
        if to.name.endswith(suffix) and not to.is_dir():
            return write
    raise UsageError(f"--to {to}: must name a file that ends in {', '.join(_WRITERS)}")


def _write_parquet(file: Path, tables: Iterable[pa.Table]) -> None:
    with pq.ParquetWriter(file, MANIFEST, compression="zstd") as writer:
        for table in _larger(tables):
            writer.write_table(table)


def _larger(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables that make good row groups."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(one.num_rows for one in held) >= _ROWS_A_GROUP:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _write_tsv(file: Path, tables: Iterable[pa.Table]) -> None:
    with file.open("w", encoding="utf-8", newline="") as text:
        _write_lines(text, tables)


def _write_tsv_gz(file: Path, tables: Iterable[pa.Table]) -> None:
    with _gzip_text(file) as text:
        _write_lines(text, tables)


@contextmanager
def _gzip_text(file: Path) -> Iterator[TextIO]:
    # Without the time of writing: the same list is the same file.
    with file.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        text = io.TextIOWrapper(packed, "utf-8", newline="")
        yield text
        text.flush()
        text.detach()


def _write_lines(text: TextIO, tables: Iterable[pa.Table]) -> None:
    """A heading, then a line a row. A key with a tab, a quote or a line's end is put in quotes."""
    writer = csv.writer(text, "excel-tab", lineterminator="\n")
    writer.writerow(MANIFEST.names)
    for table in tables:
        columns = [column.to_pylist() for column in table.columns]
        at = MANIFEST.get_field_index("modified")
        columns[at] = [moment.isoformat(timespec="seconds") for moment in columns[at]]
        writer.writerows(zip(*columns, strict=True))


_WRITERS: dict[str, Write] = {".parquet": _write_parquet, ".tsv": _write_tsv, ".tsv.gz": _write_tsv_gz}
