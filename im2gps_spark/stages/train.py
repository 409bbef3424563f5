"""train: a sample of the corpus' descriptors -> rotation and quantizers in the index's folder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from im2gps_spark.config import Config
from im2gps_spark.index import training
from im2gps_spark.index.components import Linear
from im2gps_spark.index.costs import costs, refuse_beyond
from im2gps_spark.index.memory import allowed_bytes
from im2gps_spark.index.plan import Plan, plan
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.corpus import corpus_of
from im2gps_spark.stages.described import descriptor, stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.stages.sample import choose, collect
from im2gps_spark.store.tables import OUTCOMES


def train(spark: SparkSession, config: Config) -> Tally:
    """Trains an index on ``index.collection`` and takes the training into use.

    Raises:
        UsageError: the collection has no photo that is described by ``index.descriptor``; memory will not do.
    """
    run = Run(spark, config, "train", config.index.collection)
    name = config.index.descriptor
    kind = descriptor(name, config.onnx)
    rows = with_vectors(run.lake, corpus_of(run.lake, config), name, kind.version).persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(rows.count(), rows)
        run.check()
        parameters = _plan(run, kind.dimension)
        ids, rotated, linear = _sample(rows.filter(status_is(Status.OK)), parameters)
        trained, errors = training.train_quantizers(rotated, linear, parameters)
        sample = training.sample_hash(ids, rotated)
        made = run.library.put_training(trained, name, kind.version, sample, parameters, errors)
        run.say(f"training {made.name} in {run.library.root}")
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(rows, run.stage, made.name)))
    finally:
        rows.unpersist()
    return run.finish()


def _plan(run: Run, input_dimension: int) -> Plan:
    """The parameters, said with what they cost; refused where memory will not do."""
    index = run.config.index
    made = plan(
        run.tally.count(Status.OK), input_dimension, sample=index.training_sample, dimension=index.dimension,
        lists=index.lists, shards=index.shards, opq=int(index.rotation == "opq"),
    )  # fmt: skip
    cost = costs(made)
    for line in (*made.describe(), *cost.describe()):
        run.say(line)
    refuse_beyond(cost, *allowed_bytes(index.memory_gb))
    return made


def _sample(usable: DataFrame, made: Plan) -> tuple[NDArray[np.int64], NDArray[np.float32], Linear]:
    """Ids of the sample, its vectors after the linear map, and that map."""
    first = choose(usable, made.rows, made.components_sample)
    vectors = collect(first, made.input_dimension)
    linear = training.find_components(vectors, made.dimension)
    if made.components_sample == made.sample:
        return first.ids, linear.apply(vectors), linear
    del vectors  # the sample is about to come, shorter by the components left out
    sample = choose(usable, made.rows, made.sample)
    return sample.ids, collect(sample, made.dimension, linear), linear
