"""Parameters of an index: sensible for a corpus of any size, and said before work starts."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from im2gps_spark.index.plan import Plan, plan

POINTS_A_CENTROID = 30
# Thirty sizes a decade, from one photo to a billion.
SIZES = sorted({int(10 ** (i / 30)) for i in range(271)})


def planned(rows: int, **options: int) -> Plan:
    return plan(rows, **{"input_dimension": 1280, "sample": 250_000, **options})


def check(made: Plan) -> None:
    """What holds of every plan: FAISS can carry it out, and clustering has points enough."""
    assert 1 <= made.sample <= made.rows
    assert 1 <= made.shards <= made.lists <= made.sample
    assert made.lists <= 2 or made.lists * POINTS_A_CENTROID <= made.sample
    assert 1 <= made.dimension <= made.input_dimension
    assert made.dimension == 1 or made.dimension <= (made.sample - 1) // 2
    assert made.dimension % made.subquantizers == 0
    assert made.dimension / made.subquantizers <= 4
    assert 1 <= made.bits <= 8
    assert made.bits == 1 or 2**made.bits * POINTS_A_CENTROID <= made.sample
    assert 1 <= made.components_sample <= made.sample


@pytest.mark.parametrize("rows", SIZES[::8])
def test_every_size_has_a_plan(rows):
    made = planned(rows)
    check(made)
    assert made.rows == rows
    assert made.sample <= min(rows, 250_000)
    assert made.shards >= min(rows, 2)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.integers(1, 10**9) | st.integers(1, 3000),
    st.integers(1, 4096),
    st.integers(1, 10**6),
    st.integers(1, 4096),
    st.integers(0, 10**6) | st.integers(0, 50),
    st.integers(0, 4096),
)
@example(1, 1, 1, 1, 0, 0)
@example(10**8, 1280, 1, 128, 0, 0)
@example(2, 1280, 2, 128, 10**6, 4096)
def test_whatever_is_asked_for_can_be_done(rows, input_dimension, sample, dimension, lists, shards):
    made = plan(rows, input_dimension, sample=sample, dimension=dimension, lists=lists, shards=shards)
    check(made)
    assert made.dimension <= dimension
    assert made.lists <= max(lists, 2) or not lists
    assert made.shards <= shards or not shards
    assert all(made.describe())


@pytest.mark.parametrize("name", ["sample", "dimension", "lists", "subquantizers", "bits", "shards"])
def test_a_larger_corpus_never_gets_less(name):
    values = [getattr(planned(rows), name) for rows in SIZES]
    assert all(before <= after for before, after in pairwise(values))
    assert values[0] == 1 < values[-1]


@pytest.mark.parametrize("rows", [10_000, 123_456, 10**6, 10**7, 10**8])
def test_lists_grow_with_the_root_of_the_corpus(rows):
    assert 2 * rows**0.5 <= planned(rows, sample=rows).lists <= 4 * rows**0.5


@pytest.mark.parametrize("rows", SIZES[::8])
def test_the_sample_is_no_larger_than_what_is_trained_on_it_needs(rows):
    made = planned(rows, sample=10**7)
    needs = POINTS_A_CENTROID * made.lists, 128 * 256, 10 * made.input_dimension
    assert made.sample == min(rows, max(needs))


def test_of_a_large_sample_a_part_gives_the_components():
    assert planned(10**6).components_sample == planned(10**6).sample == 61_440
    assert planned(10**8).components_sample == 65_536
    assert plan(10**8, 4096, sample=10**6).components_sample == 20 * 4096


def test_the_training_sample_bounds_the_lists():
    assert planned(10**8, sample=30_000).lists == 1000


def test_what_is_asked_for_is_done_where_the_corpus_bears_it():
    made = planned(10**6, lists=777, shards=5, dimension=60)
    assert (made.lists, made.shards, made.dimension, made.subquantizers) == (777, 5, 60, 15)


def test_large_corpora_are_divided_among_more_shards():
    assert [planned(rows).shards for rows in (100, 10**6, 10**7, 10**8)] == [2, 2, 5, 50]


@pytest.mark.parametrize("rows", [0, -1])
def test_an_empty_corpus_has_no_plan(rows):
    with pytest.raises(ValueError, match="at least one described, geotagged photo"):
        planned(rows)


def test_the_plan_is_said():
    said = [plan(50_000, 1280, sample=20_000, dimension=128, opq=opq).describe() for opq in (0, 1)]
    assert said[0] == [
        "50000 descriptors of 1280 numbers, 20000 of them to train on",
        "128 components, 512 lists, 32 x 8 bits (32 bytes a photo), 2 shards",
    ]
    assert said[1][1] == "128 components, turned by OPQ, 512 lists, 32 x 8 bits (32 bytes a photo), 2 shards"


def test_a_small_corpus_is_told_so():
    said = planned(1000).describe()
    assert len(said) == 3
    assert "a small corpus: codes of 5 bits, for 8 want 7680 photos to train on" in said[-1]
    assert len(planned(7679).describe()) == 3
    assert len(planned(7680).describe()) == 2


def test_the_manifest_gets_plain_numbers():
    made = planned(3000)
    assert Plan(**made.as_dict()) == made
    assert {type(value) for value in made.as_dict().values()} == {int}
