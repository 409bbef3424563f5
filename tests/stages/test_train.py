"""train: the sample does not depend on partitions, and what it can't do is refused before it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.components import components
from im2gps_spark.index.library import Library
from im2gps_spark.index.plan import Plan
from im2gps_spark.index.training import Trained
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.sample import Sample, choose, collect

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

PHOTOS, NUMBERS = 300, 24


@dataclass(frozen=True)
class Described:
    """Photos with vectors, and their ids in the order of the hashes."""

    rows: DataFrame
    vectors: dict[int, list[float]]
    by_hash: list[int]


@pytest.fixture(scope="module")
def described(spark: SparkSession) -> Described:
    rng = np.random.default_rng(5)
    ids = rng.choice(2**50, PHOTOS, replace=False).tolist()
    vectors = {i: rng.normal(size=NUMBERS).astype(np.float32).tolist() for i in ids}
    rows = spark.createDataFrame(list(vectors.items()), "photo_id bigint, vector array<float>").cache()
    ranked = rows.selectExpr("photo_id", "xxhash64(photo_id) AS hash").orderBy("hash", "photo_id").collect()
    return Described(rows, vectors, [row["photo_id"] for row in ranked])


@pytest.mark.parametrize("most", [1, 3, 100, PHOTOS - 1, PHOTOS, PHOTOS + 50])
@pytest.mark.parametrize("partitions", [1, 5])
def test_the_sample_is_of_the_least_hashes_and_comes_by_id(described, most, partitions):
    sample = choose(described.rows.repartition(partitions), PHOTOS, most)
    assert sample.ids.tolist() == sorted(described.by_hash[:most])
    found = collect(sample, NUMBERS)
    assert found.dtype == np.float32
    assert found.tolist() == [described.vectors[i] for i in sample.ids.tolist()]


def test_the_workers_map_to_the_same_bits_whatever_the_partitions(described):
    linear = components(np.array(list(described.vectors.values()), np.float32), 8)
    found = [collect(choose(described.rows.repartition(n), PHOTOS, 200), 8, linear) for n in (1, 2, 7)]
    alone = linear.apply_singly(collect(choose(described.rows, PHOTOS, 200), NUMBERS))
    assert {array.tobytes() for array in found} == {alone.tobytes()}


def test_photos_that_went_meanwhile_are_missed(described):
    sample = choose(described.rows, PHOTOS, 20)
    with pytest.raises(StageError, match="of 20 photos, and 19 came"):
        collect(Sample(sample.rows.filter(f"photo_id <> {sample.ids[7]}"), sample.ids), NUMBERS)


# --- the stage ---


def test_of_a_large_sample_a_part_gives_the_components(road, tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "components_sample", property(lambda self: min(self.sample, 150)))
    for name in ("one", "two"):
        tally = road.workshop.run("train", f"index.root={tmp_path}/{name}", "index.dimension=16")
        assert tally.count(Status.OK) > 150
    (one, data), (two, _) = (Library(tmp_path / name).training() for name in ("one", "two"))
    assert one == two
    trained = Trained.from_bytes(data)
    assert (trained.ivf.d, one.plan["sample"]) == (16, tally.count(Status.OK))


def test_another_rotation_is_another_training_and_the_same_distances(road, tmp_path):
    road.workshop.run("train", f"index.root={tmp_path}", "index.rotation=opq")
    plain, data = Library(road.workshop.folder / "index").training()
    turned, turned_data = Library(tmp_path).training()
    assert turned.name != plain.name
    assert turned.training_sample == plain.training_sample
    assert (turned.plan["opq"], plain.plan["opq"]) == (1, 0)
    vectors = np.random.default_rng(0).normal(size=(9, turned.plan["input_dimension"])).astype(np.float32)
    ours, theirs = (Trained.from_bytes(d).rotate(vectors) for d in (data, turned_data))
    assert theirs @ theirs.T == pytest.approx(ours @ ours.T, abs=1e-5)


def test_memory_that_will_not_do_is_refused_beforehand(road, tmp_path):
    with pytest.raises(UsageError, match=r"train needs about .* MiB \(index.memory_gb\); lower index.training_sample"):
        road.workshop.run("train", f"index.root={tmp_path}/index", "index.memory_gb=0.01")
    assert not (tmp_path / "index").exists()
