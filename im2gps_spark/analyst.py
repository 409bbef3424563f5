"""SQL on the tables without Spark: DuckDB over a warehouse in a folder, each table under its own name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.store.tables import NAMESPACE, TABLES

if TYPE_CHECKING:
    import duckdb

_EXTENSIONS = ("avro", "iceberg")


def connect(warehouse: str | Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection in which every table of a warehouse is a view of its name.

    Raises:
        UsageError: there is no such folder, or DuckDB is not installed.
    """
    folder = Path(warehouse).absolute() / NAMESPACE
    if not folder.is_dir():
        raise UsageError(f"tables.warehouse: there are no tables in {folder}; run a stage first")
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UsageError("querying needs DuckDB: pip install 'im2gps-spark[duckdb]'") from error
    connection = duckdb.connect()
    for name in _EXTENSIONS:
        connection.load_extension(str(_extension(name)))
    for table in TABLES:
        path = folder / table.name
        if path.is_dir():
            quoted = str(path).replace("'", "''")
            connection.execute(f"CREATE VIEW {table.name} AS SELECT * FROM iceberg_scan('{quoted}')")  # noqa: S608
    return connection


def query(warehouse: str | Path, sql: str) -> str:
    """The result of a query as a table of text.

    Raises:
        UsageError: the query is wrong, in DuckDB's words.
    """
    connection = connect(warehouse)
    import duckdb

    try:
        result = connection.sql(sql)
    except duckdb.Error as error:
        raise UsageError(f"query: {error}") from error
    return "" if result is None else str(result)


def _extension(name: str) -> Path:
    """The extension's file inside its wheel: nothing is downloaded."""
    spec = find_spec(f"duckdb_extension_{name}")
    files = sorted(Path(spec.origin).parent.rglob("*.duckdb_extension")) if spec and spec.origin else []
    if not files:
        raise StageError(f"DuckDB's extension {name} is not installed: pip install 'im2gps-spark[duckdb]'")
    return files[0]
