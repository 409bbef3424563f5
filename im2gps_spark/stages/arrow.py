"""Arrow schemas of the pure rooms in Spark's types."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType


def spark_schema(schema: pa.Schema) -> StructType:
    """The schema that mapInArrow must be told for batches of an Arrow schema; it casts nothing."""
    return from_arrow_schema(schema)
