"""What is said of a plan's costs: more for more, in words that can be read, and a refusal that names the mend."""

from __future__ import annotations

from dataclasses import astuple
from itertools import pairwise

import pytest

from im2gps_spark.errors import UsageError
from im2gps_spark.index.costs import Costs, costs, duration, refuse_beyond, size
from im2gps_spark.index.plan import plan

SIZES = sorted({int(10 ** (i / 10)) for i in range(91)})
SAMPLE = 10**6


def of(rows: int, input_dimension: int = 1280, **options: int) -> Costs:
    return costs(plan(rows, input_dimension, **{"sample": SAMPLE, **options}))


def test_every_corpus_from_one_photo_to_a_billion_has_its_costs():
    for rows in SIZES:
        assert all(value > 0 for value in astuple(of(rows)))


@pytest.mark.parametrize("name", ["train_bytes", "build_s", "index_bytes"])
def test_a_larger_corpus_costs_more(name):
    values = [getattr(of(rows), name) for rows in SIZES]
    # A sample in two parts takes a tenth less memory than one that comes whole.
    assert all(before <= 1.1 * after for before, after in pairwise(values))
    assert all(before <= after for before, after in pairwise(values) if name != "train_bytes")
    assert values[-1] > 2 * values[0]


def test_a_larger_sample_takes_longer():
    values = [of(10**9, sample=sample).train_s for sample in (10**5, 10**6, 10**7)]
    assert all(2 * before < after for before, after in pairwise(values))


@pytest.mark.parametrize("option", [{"lists": 8000}, {"dimension": 256}, {"opq": 1}])
def test_what_is_asked_for_beyond_the_rule_costs_time(option):
    assert of(10**6, **option).train_s > 1.2 * of(10**6).train_s


def test_a_hundred_million_photos_fit_a_usual_machine():
    made = of(10**8)
    assert made.train_bytes < 4 * 2**30
    assert made.train_s < 3600
    assert made.index_bytes == pytest.approx(10**8 * (32 + 16 + 256 + 29))


def test_costs_are_said():
    said = Costs(90.0, 2.5 * 2**30, 7260.0, 300 * 2**20, 33.3e9).describe()
    assert said == [
        "train takes about 1.5 minutes of one core and 2.5 GiB of the driver",
        "build computes for about 2 hours of one core, besides what it reads and shuffles, and a task takes 300 MiB of "
        "memory; the index takes 31 GiB of disk",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.001, "0.1 seconds"),
        (1.26, "1.3 seconds"),
        (89.0, "89 seconds"),
        (91.0, "1.5 minutes"),
        (5300.0, "88 minutes"),
        (123_456.0, "34 hours"),
        (1.234e7, "3400 hours"),
    ],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(1.0, "0.1 MiB"), (2**20, "1 MiB"), (999.4 * 2**20, "1000 MiB"), (3e12, "2.7 TiB")]
)
def test_sizes(number, words):
    assert size(number) == words


def test_memory_that_will_not_do_is_refused_by_name():
    made = of(10**8)
    refuse_beyond(made, None, "not known")
    refuse_beyond(made, made.train_bytes, "all of it")
    with pytest.raises(UsageError) as caught:
        refuse_beyond(made, 2.0**20, "index.memory_gb")
    said = str(caught.value)
    assert said.startswith(
        f"train needs about {size(made.train_bytes)} of memory, and there are 1 MiB (index.memory_gb)"
    )
    for setting in ("index.training_sample", "index.lists", "index.dimension", "index.memory_gb"):
        assert setting in said
