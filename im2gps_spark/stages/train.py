"""train: a sample of the corpus' descriptors -> rotation and quantizers in the index's folder."""

from __future__ import annotations

import numpy as np
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.index import training
from im2gps_spark.index.plan import plan
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.corpus import corpus_of
from im2gps_spark.stages.described import descriptor, stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.tables import OUTCOMES


def train(spark: SparkSession, config: Config) -> Tally:
    """Trains an index on ``index.collection`` and takes the training into use.

    Raises:
        UsageError: the collection has no photo that is described by ``index.descriptor``.
    """
    run = Run(spark, config, "train", config.index.collection)
    name = config.index.descriptor
    version = descriptor(name, config.onnx).version
    rows = with_vectors(run.lake, corpus_of(run.lake, config), name, version).persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(rows.count(), rows)
        run.check()
        usable = rows.filter(status_is(Status.OK))
        ids, vectors = _sample(usable, config.index.training_sample)
        parameters = plan(
            run.tally.count(Status.OK), vectors.shape[1], sample=config.index.training_sample,
            dimension=config.index.dimension, lists=config.index.lists, shards=config.index.shards,
        )  # fmt: skip
        for line in parameters.describe():
            run.say(line)
        trained = training.train(vectors, parameters)
        sample = training.sample_hash(ids, vectors)
        errors = trained.errors(trained.rotate(vectors))
        made = run.library.put_training(trained, name, version, sample, parameters, errors)
        run.say(f"training {made.name} in {run.library.root}")
        run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(rows, run.stage, made.name)))
    finally:
        rows.unpersist()
    return run.finish()


def _sample(rows: DataFrame, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids and vectors of at most so many photos: those of the least hashes, sorted by id."""
    chosen = rows.select("photo_id", "vector").orderBy(F.xxhash64("photo_id"), "photo_id").limit(most)
    table = chosen.toArrow().sort_by("photo_id").combine_chunks()
    flat = table.column("vector").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    ids = table.column("photo_id").to_numpy()
    return ids, flat.reshape(len(ids), -1).astype(np.float32)
