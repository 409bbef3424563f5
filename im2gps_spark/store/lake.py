"""Reading and writing the Iceberg tables: every write is one atomic commit, and a repeated one changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import and_

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.store.tables import CATALOG, NAMESPACE, Table

# Rows that are deleted are not to stay in their files beside a note that they are: files are written anew.
_COPY = ", ".join(f"'write.{write}.mode'='copy-on-write'" for write in ("delete", "update", "merge"))
_PROPERTIES = f"TBLPROPERTIES ('format-version'='2', 'write.parquet.compression-codec'='zstd', {_COPY})"


class Lake:
    """The project's tables in a session's catalog; they are made when they are first asked for."""

    def __init__(self, spark: SparkSession) -> None:
        self.spark = spark
        self._made: set[str] = set()

    def read(self, table: Table) -> DataFrame:
        """The table as it stands now."""
        self._ensure(table)
        return self.spark.table(table.path)

    def merge(self, table: Table, rows: DataFrame, whole: DataFrame | None = None) -> None:
        """Puts rows in: new keys are added, changed rows rewritten, equal ones left as they are.

        A row that differs in its provenance alone counts as equal. Two source rows of one key make Iceberg refuse
        the whole write.

        Args:
            table: where to.
            rows: with the table's columns by name; read more than once, so persist what is dear or not repeatable.
            whole: values of some key columns for which ``rows`` is all there is: other rows of theirs go.
        """
        self._ensure(table)
        compared = [c for c in table.column_names if c not in table.key + table.provenance]

        def pair(column: str) -> Column:
            # In a merge the target's columns go by the table's full name.
            return F.col(f"{table.path}.{column}").eqNullSafe(F.col(f"s.{column}"))

        same_row = reduce(and_, (pair(c) for c in table.key))
        changed = ~reduce(and_, (pair(c) for c in compared), F.lit(True))
        columns = {c: F.col(f"s.{c}") for c in table.column_names}
        source = rows.select(*table.column_names).withColumn("gone", F.lit(False))
        if whole is not None:
            source = source.unionByName(self._gone(table, rows, whole))
        gone = F.col("s.gone")
        merge = source.alias("s").mergeInto(table.path, same_row)
        merge = merge.whenMatched(gone).delete().whenMatched(changed).update(columns)
        merge.whenNotMatched(~gone).insert(columns).merge()

    def _gone(self, table: Table, rows: DataFrame, whole: DataFrame) -> DataFrame:
        """Rows of the table that the incoming ones leave no place for."""
        there = self.read(table).join(whole.distinct(), whole.columns, "left_semi")
        left = there.join(rows.select(*table.key), list(table.key), "left_anti")
        return left.select(*table.column_names).withColumn("gone", F.lit(True))

    def append(self, table: Table, rows: DataFrame) -> None:
        """Adds rows whose keys the caller knows to be new."""
        self._ensure(table)
        rows.select(*table.column_names).writeTo(table.path).append()

    def replace(self, table: Table, condition: str, rows: DataFrame) -> None:
        """Puts rows in the place of those that meet the condition, in one commit."""
        self._ensure(table)
        rows.select(*table.column_names).writeTo(table.path).overwrite(F.expr(condition))

    def delete(self, table: Table, named: Mapping[str, DataFrame]) -> int:
        """Removes rows in one commit, or in none if there are none; returns how many there were.

        Args:
            table: where from.
            named: for columns of the table, frames of one column: a row goes if any of its values is among them.
        """
        self._ensure(table)
        views = {f"named_{table.name}_{column}": rows for column, rows in named.items()}
        for view, rows in views.items():
            rows.createOrReplaceTempView(view)
        among = " OR ".join(f"{c} IN (SELECT * FROM {view})" for c, view in zip(named, views, strict=True))  # noqa: S608
        where = f"{table.path} WHERE {among}"
        try:
            count: int = self.spark.sql(f"SELECT count(*) FROM {where}").collect()[0][0]  # noqa: S608
            if count:
                self.spark.sql(f"DELETE FROM {where}")  # noqa: S608
        finally:
            for view in views:
                self.spark.catalog.dropTempView(view)
        return count

    def rows(self, table: Table, values: Sequence[Sequence[object]]) -> DataFrame:
        """A DataFrame of the table's schema from a few rows at hand."""
        return self.spark.createDataFrame([tuple(v) for v in values], table.ddl)

    def _ensure(self, table: Table) -> None:
        if table.name in self._made:
            return
        if not self._made:
            self.spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.{NAMESPACE}")
        if not self.spark.catalog.tableExists(table.path):
            self._create(table)
        # A table made by an earlier version gets the columns that have come since; its old rows have nulls there.
        there = set(self.spark.table(table.path).columns)
        if new := [f"{name} {kind}" for name, kind in table.columns if name not in there]:
            self.spark.sql(f"ALTER TABLE {table.path} ADD COLUMNS ({', '.join(new)})")
        self._made.add(table.name)

    def _create(self, table: Table) -> None:
        by = f"PARTITIONED BY ({', '.join(table.partitioned_by)})" if table.partitioned_by else ""
        first, *others = (f"{name} {kind}" for name, kind in table.columns)
        # SeaweedFS' catalog refuses a partitioning by the first column, whose id in the request is 0: it comes last,
        # and is moved to its place.
        late = table.column_names[0] in table.partitioned_by
        ddl = ", ".join([*others, first] if late else [first, *others])
        self.spark.sql(f"CREATE TABLE IF NOT EXISTS {table.path} ({ddl}) USING iceberg {by} {_PROPERTIES}")
        if late:
            self.spark.sql(f"ALTER TABLE {table.path} ALTER COLUMN {table.column_names[0]} FIRST")
