"""SQL on the tables without Spark: DuckDB over a warehouse, in a folder or in S3, each table under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.store.settings import S3Settings
from im2gps_spark.store.tables import NAMESPACE, TABLES

if TYPE_CHECKING:
    import duckdb

    from im2gps_spark.config import Config

_EXTENSIONS = ("avro", "iceberg")


def connect(warehouse: str | Path | Config) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in which every table of a warehouse is a view of its name.

    Args:
        warehouse: the folder, or a configuration whose tables may be in S3. Of those in S3 a view is the table as it
            is now, until its files are removed by ``maintain``.

    Raises:
        UsageError: there are no tables, or DuckDB is not installed.
    """
    if isinstance(warehouse, str | Path):
        return _connected(_in_folder(Path(warehouse).absolute()), None)
    if not warehouse.tables.catalog:
        return _connected(_in_folder(Path(warehouse.tables.warehouse).absolute()), None)
    from im2gps_spark.store.catalog import metadata_files

    tables = warehouse.tables
    found = metadata_files(tables.catalog, tables.warehouse, NAMESPACE, tables.signing, warehouse.s3)
    return _connected(found, warehouse.s3)


def query(warehouse: str | Path | Config, sql: str) -> str:
    """The result of a query as a table of text.

    Raises:
        UsageError: the query is wrong, in DuckDB's words.
    """
    connection = connect(warehouse)
    import duckdb

    try:
        result = connection.sql(sql)
        return "" if result is None else str(result)
    except duckdb.Error as error:
        raise UsageError(f"query: {error}") from error


def _in_folder(warehouse: Path) -> dict[str, str]:
    folder = warehouse / NAMESPACE
    if not folder.is_dir():
        raise UsageError(f"tables.warehouse: there are no tables in {folder}; run a stage first")
    return {table.name: str(folder / table.name) for table in TABLES if (folder / table.name).is_dir()}


def _connected(places: Mapping[str, str], s3: S3Settings | None) -> duckdb.DuckDBPyConnection:
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UsageError("querying needs DuckDB: pip install 'im2gps-spark[duckdb]'") from error
    connection = duckdb.connect()
    for name in (*_EXTENSIONS, *(["httpfs"] if s3 else [])):
        connection.load_extension(str(_extension(name)))
    if s3:
        _let_in(connection, s3)
    for name, place in places.items():
        view = f'CREATE VIEW "{name}" AS SELECT * FROM iceberg_scan({_text(place)})'  # noqa: S608
        connection.execute(view)
    return connection


def _let_in(connection: duckdb.DuckDBPyConnection, s3: S3Settings) -> None:
    """Gives DuckDB what the standard chain of credentials has, for this connection alone."""
    import boto3

    found = None if s3.anonymous else boto3.Session().get_credentials()
    options = {"REGION": s3.region}
    if found is not None:
        frozen = found.get_frozen_credentials()
        options |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key, "SESSION_TOKEN": frozen.token or ""}
    if s3.endpoint:
        url = urlsplit(s3.endpoint)
        options |= {"ENDPOINT": url.netloc, "URL_STYLE": "path", "USE_SSL": str(url.scheme == "https").lower()}
    given = ", ".join(f"{name} {_text(value)}" for name, value in options.items() if value)
    connection.execute(f"CREATE SECRET (TYPE s3, {given})")


def _text(value: str) -> str:
    quoted = value.replace("'", "''")
    return f"'{quoted}'"


def _extension(name: str) -> Path:
    """The extension's file inside its wheel: nothing is downloaded."""
    spec = find_spec(f"duckdb_extension_{name}")
    files = sorted(Path(spec.origin).parent.rglob("*.duckdb_extension")) if spec and spec.origin else []
    if not files:
        raise StageError(f"DuckDB's extension {name} is not installed: pip install 'im2gps-spark[duckdb]'")
    return files[0]
