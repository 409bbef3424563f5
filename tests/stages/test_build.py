"""What build takes of each photo, and what its workers make of them without Spark."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from pyspark import Broadcast
from pyspark.sql import SparkSession

from im2gps_spark.index import moments
from im2gps_spark.index.shard import arrow_bytes, faiss_bytes
from im2gps_spark.stages import build, encoded
from im2gps_spark.stages.build import with_owners
from im2gps_spark.store.folder import DiskFolder
from tests.index import draw, rows_of, trained_on


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_files_do_not_depend_on_the_batches_that_rows_come_in(tmp_path, monkeypatch, size):
    monkeypatch.setattr(moments, "_AT_ONCE", 100)
    corpus, shard_of_list = draw(240, seed=3), np.array([0, 2, 2, 0, 0, 2])
    trained, _ = trained_on(corpus, lists=6)
    rows = rows_of(trained, corpus).sorted()
    columns = {name: pa.array(getattr(rows, name)) for name in encoded._KNOWN}
    flat = pa.array(corpus.vectors[np.argsort(corpus.photo_id)].ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, corpus.vectors.shape[1])
    data = cast(Broadcast, SimpleNamespace(value=trained.to_bytes()))

    described = pa.table(columns).to_batches(max_chunksize=max(size, 20))
    table = pa.Table.from_batches(encoded.encode(iter(described), data))
    shard = pa.array(shard_of_list[table.column("list").to_numpy()])
    placed = table.append_column("shard", shard).sort_by([("shard", "ascending"), ("photo_id", "ascending")])
    batches = iter(placed.combine_chunks().to_batches(max_chunksize=size))
    written = pa.Table.from_batches(build._write_shards(batches, DiskFolder(tmp_path), data, shard_of_list))

    assert written.column("shard").to_pylist() == [0, 2]
    for made in written.to_pylist():
        lists = np.flatnonzero(shard_of_list == made["shard"])
        mine = rows.take(np.isin(rows.lists, lists))
        assert made["rows"] == len(mine.photo_id) > 100
        stem = tmp_path / f"shard-000{made['shard']}"
        assert stem.with_suffix(".faiss").read_bytes() == faiss_bytes(trained, lists, mine)
        assert stem.with_suffix(".arrow").read_bytes() == arrow_bytes(mine)
        vectors = mine.vectors.astype(np.float64)
        sums = moments.Moments.from_bytes(made["moments"])
        assert sums.rows == len(vectors)
        assert sums.total == pytest.approx(vectors.sum(axis=0), abs=1e-9)
        assert sums.products == pytest.approx(vectors.T @ vectors, abs=1e-9)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.spark
@pytest.mark.timeout(300)
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
