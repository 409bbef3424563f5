"""Arrow's schemas in Spark's types, and its batches put together again by a column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType


def spark_schema(schema: pa.Schema) -> StructType:
    """The schema that mapInArrow must be told for batches of an Arrow schema; it casts nothing."""
    return from_arrow_schema(schema)


def runs_of(batches: Iterable[pa.RecordBatch], column: str) -> Iterator[tuple[int, pa.Table]]:
    """Rows that are sorted by a column of whole numbers, as a table for each of its values, one in memory at a time."""
    held: list[pa.RecordBatch] = []
    current = -1
    for batch in batches:
        value = batch.column(column).to_numpy()
        cuts = np.concatenate([[0], np.flatnonzero(np.diff(value)) + 1, [len(value)]])
        for begin, end in pairwise(cuts):
            if end > begin and value[begin] != current:
                if held:
                    yield current, pa.Table.from_batches(held)
                held, current = [], int(value[begin])
            held.append(batch.slice(begin, end - begin))
    if held:
        yield current, pa.Table.from_batches(held)
