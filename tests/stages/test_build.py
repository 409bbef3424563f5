"""What build takes of each photo."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.stages.build import with_owners

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


def test_owners_are_counted_and_strange_accuracies_are_unknown_ones(spark: SparkSession):
    levels = [16, 6, 1, 0, 17, 999_999, None]
    rows = [(i, float(i), -float(i), level, f"{i % 2}@N00", [0.5]) for i, level in enumerate(levels)]
    columns = "photo_id bigint, latitude double, longitude double, accuracy int, owner_id string, vector array<float>"
    made = with_owners(spark.createDataFrame(rows, columns))
    assert dict(made.dtypes)["accuracy"] == "tinyint"
    found = {row["photo_id"]: row for row in made.collect()}
    assert [found[i]["accuracy"] for i in range(7)] == [16, 6, 1, 0, 0, 0, 0]
    assert [found[i]["owner_photos"] for i in range(7)] == [4.0, 3.0, 4.0, 3.0, 4.0, 3.0, 4.0]
    assert len({row["owner"] for row in found.values()}) == 2
