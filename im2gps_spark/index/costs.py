"""What a plan costs, about: time, memory and disk, before work starts."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from im2gps_spark.errors import UsageError
from im2gps_spark.index.clustering import ITERATIONS, NEAR_GROUPS, NEAR_PASSES, TWO_LEVELS
from im2gps_spark.index.plan import Plan
from im2gps_spark.index.training import MOST_FOR_CODES

# Multiplications and additions a second of one core, by what is done; from benchmarks/bench_train.py.
_NEAREST = 9.0e10
"""Squared distances to many centroids (float32)."""
_DOUBLE = 4.0e10
"""Products of matrices in float64."""
_SINGLY = 2.0e10
"""The same, vector by vector."""
_WORDS = 2.5e10
"""Squared distances of short parts to code words."""
_WORDS_TRAINED_ON_FEW, _WORDS_TRAINED, _FEW = 2.4e9, 1.6e10, 31_000
"""The same, within k-means; FAISS goes another, quicker way from about so many vectors on."""
_GATHERED = 4
"""Times as long as a distance takes whose vector must be fetched first."""
_CODE_ROUNDS = 25
_OPQ_ROUNDS = 50
_PROCESS_BYTES = 300 * 2**20
"""Of a Python process with FAISS and Spark's driver in it, before anything is read."""


@dataclass(frozen=True)
class Costs:
    """Of training and building an index, on a core of about 2024.

    Attributes:
        train_s: seconds of one core: the driver's.
        train_bytes: most memory of the driver's Python process.
        build_s: seconds of one core, to be divided among all, for maps, lists and codes; reading, shuffling and
            writing come on top.
        task_bytes: most memory of a task that writes a shard.
        index_bytes: files of an index version.
    """

    train_s: float
    train_bytes: float
    build_s: float
    task_bytes: float
    index_bytes: float

    def describe(self) -> list[str]:
        """In lines."""
        return [
            f"train takes about {duration(self.train_s)} of one core and {size(self.train_bytes)} of the driver",
            f"build computes for about {duration(self.build_s)} of one core, besides what it reads and shuffles, and a "
            f"task takes {size(self.task_bytes)} of memory; the index takes {size(self.index_bytes)} of disk",
        ]


def costs(plan: Plan) -> Costs:
    """What a plan costs."""
    row_bytes = _row_bytes(plan)
    return Costs(
        train_s=_train_s(plan),
        train_bytes=_train_bytes(plan),
        build_s=plan.rows * _encode_s(plan),
        # Rows as they come, as one array, and as bytes of the files.
        task_bytes=_PROCESS_BYTES + 3 * row_bytes * plan.rows / plan.shards,
        index_bytes=plan.rows * row_bytes,
    )


def refuse_beyond(made: Costs, there_is: float | None, of: str) -> None:
    """Refuses a training that memory will not do for.

    Args:
        there_is: bytes that the driver's process may have; None if that is not known.
        of: what the bytes are, for the message.

    Raises:
        UsageError: names what is needed, what there is, and what to lower.
    """
    if there_is is not None and made.train_bytes > there_is:
        raise UsageError(
            f"train needs about {size(made.train_bytes)} of memory, and there are {size(there_is)} ({of}); lower "
            "index.training_sample, index.lists or index.dimension, or give index.memory_gb what the driver may use"
        )


def _train_s(plan: Plan) -> float:
    flops = 2.0 * plan.dimension
    shown = min(plan.sample, MOST_FOR_CODES)
    rotated = 2.0 * plan.input_dimension * plan.dimension * plan.sample
    alone = plan.components_sample < plan.sample
    words = flops * (1 << plan.bits) * shown / (_WORDS_TRAINED_ON_FEW if shown < _FEW else _WORDS_TRAINED)
    seconds = (
        plan.components_sample * plan.input_dimension**2 / _DOUBLE
        + 10.0 * plan.input_dimension**3 / _DOUBLE
        + rotated / (_SINGLY if alone else _DOUBLE)
        + flops * _distances(plan) / _NEAREST
        + flops * shown * 2 * plan.lists / _NEAREST
        + _CODE_ROUNDS * words
    )
    if plan.opq:
        seconds += _OPQ_ROUNDS * (5 * words + 3 * flops * plan.dimension * shown / _NEAREST)
    return seconds


def _distances(plan: Plan) -> float:
    """Between vectors and centroids, that clustering computes."""
    if plan.lists < TWO_LEVELS:
        return float(ITERATIONS) * plan.sample * plan.lists
    groups = isqrt(plan.lists)
    first = ITERATIONS * min(plan.sample, 256 * groups) * groups
    near = NEAR_PASSES * (groups + NEAR_GROUPS * _GATHERED * plan.lists / groups)
    return float(first + plan.sample * (groups + ITERATIONS * plan.lists / groups + near + plan.lists))


def _train_bytes(plan: Plan) -> float:
    numbers = 4.0
    read = numbers * plan.components_sample * plan.input_dimension
    rotated = numbers * plan.sample * plan.dimension
    shown = numbers * min(plan.sample, MOST_FOR_CODES) * plan.dimension
    # Both at once where the components' sample is all of it; lists of rows, and k-means' own copies of parts.
    sample = read + rotated if plan.components_sample == plan.sample else max(read, rotated)
    work = 40.0 * plan.sample + 3 * numbers * plan.lists * plan.dimension + shown * (8 if plan.opq else 4)
    return _PROCESS_BYTES + max(sample + 24.0 * plan.input_dimension**2, rotated + work)


def _encode_s(plan: Plan) -> float:
    """Of one photo: the map, its list, its code."""
    return 2.0 * plan.dimension * (plan.input_dimension / _DOUBLE + plan.lists / _NEAREST + (1 << plan.bits) / _WORDS)


def _row_bytes(plan: Plan) -> float:
    # Ids stand in both files of a shard; place, owner and accuracy in one.
    return plan.code_bytes + 2 * 8 + 2.0 * plan.dimension + 29


def duration(seconds: float) -> str:
    """Two digits, in seconds, minutes or hours."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 1.5 * length:
            return f"{_two_digits(seconds / length)} {unit}"
    return f"{_two_digits(seconds)} seconds"


def size(number: float) -> str:
    """Two digits, in MiB, GiB or TiB."""
    for unit, length in (("TiB", 2.0**40), ("GiB", 2.0**30)):
        if number >= length:
            return f"{_two_digits(number / length)} {unit}"
    return f"{_two_digits(number / 2**20)} MiB"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}" if value >= 0.1 else "0.1"
