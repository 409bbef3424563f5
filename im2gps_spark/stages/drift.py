"""How well a training still describes new photos: their quantization errors over those of its sample."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark import Broadcast
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from im2gps_spark.index.training import Trained
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.run import Run

_ERRORS = pa.schema([("n", pa.int64()), ("coarse", pa.float64()), ("code", pa.float64())])


@dataclass(frozen=True)
class Drift:
    """Ratios of mean squared errors: of 1, new photos are described as well as those that were trained on.

    Attributes:
        n: new photos.
        coarse, code: as in ``index.training.Errors``.
    """

    n: int
    coarse: float
    code: float


def drift_of(run: Run, described: DataFrame) -> Drift | None:
    """The drift of photos with a ``vector``; None where there is none, or the training's errors were not measured."""
    training, data = run.library.training()
    if not training.coarse_error or not training.code_error:
        return None
    work = partial(_errors, data=described.sparkSession.sparkContext.broadcast(data))
    sums = described.select("vector").mapInArrow(work, spark_schema(_ERRORS))
    n, coarse, code = sums.agg(F.sum("n"), F.sum("coarse"), F.sum("code")).collect()[0]
    if not n:
        return None
    return Drift(n, coarse / n / training.coarse_error, code / n / training.code_error)


def _errors(batches: Iterable[pa.RecordBatch], data: Broadcast) -> Iterator[pa.RecordBatch]:
    """In a Python worker: sums of errors."""
    trained = Trained.from_bytes(data.value)
    for batch in batches:
        flat = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
        errors = trained.errors(trained.rotate(flat.reshape(batch.num_rows, -1).astype(np.float32)))
        row = {"n": errors.n, "coarse": errors.n * errors.coarse, "code": errors.n * errors.code}
        yield pa.RecordBatch.from_pylist([row], schema=_ERRORS)
