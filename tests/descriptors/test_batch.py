"""Batches of photos: each photo's outcome is its own, and its bytes are read once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.descriptors.batch import Described, Task, describe
from im2gps_spark.photos.reasons import Reason, Rejected, Status
from im2gps_spark.store.passing import TryAgain

BOTH = ("mean", "size")


class Mean:
    """A descriptor that knows a picture by its grey level; 13 is a level that it fails on."""

    name, version, dimension, preprocessing = "mean", "1", 2, "none"

    def __init__(self) -> None:
        self.batches: list[int] = []

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        return np.array([pixels.mean()])

    def describe(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(prepared))
        level = np.concatenate(prepared)
        return np.stack([np.where(level == 13, np.nan, level), -level], axis=1).astype(np.float32)


class Size(Mean):
    """A descriptor that knows a picture by its size; a width of 7 is one that it fails on."""

    name, version, dimension = "size", "1", 1

    def prepare(self, pixels: np.ndarray) -> np.ndarray:
        return np.array(pixels.shape[:1], np.float64)

    def describe(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(prepared))
        size = np.stack(prepared)
        return np.where(size == 7, np.inf, size).astype(np.float32)


class Store:
    """Photos by what their uris say: a grey level and a width, or a failure."""

    def __init__(self) -> None:
        self.reads: Counter[str] = Counter()
        self.decoded = 0

    def read(self, uri: str) -> bytes:
        self.reads[uri] += 1
        if uri.endswith("missing"):
            raise Rejected(Reason.MISSING_FILE, "No such file")
        if uri.endswith("stale"):
            raise TryAgain(f"{uri}: Stale file handle")
        return uri.encode()

    def decode(self, data: bytes) -> np.ndarray:
        self.decoded += 1
        if data.endswith(b"torn"):
            raise Rejected(Reason.TRUNCATED)
        _, level, width = data.decode().split("/")
        return np.full((int(width), 2, 3), int(level), np.uint8)


def run(tasks: Sequence[Task], batch: int = 4, store: Store | None = None) -> list[Described]:
    store = store or Store()
    return list(describe(tasks, {"mean": Mean(), "size": Size()}, store.read, store.decode, batch))


def outcome(result: Described) -> tuple:
    vectors = {name: vector.tolist() for name, vector in result.vectors.items()}
    return result.photo_id, result.status, result.reason, result.detail, vectors


def tasks_of(*uris: str, descriptors: tuple[str, ...] = BOTH) -> list[Task]:
    return [Task(i, f"{i}/{uri}", descriptors) for i, uri in enumerate(uris)]


def test_vectors_in_the_order_of_the_tasks():
    found = run([Task(9, "a/5/2", BOTH), Task(3, "a/6/3", BOTH), Task(7, "a/8/1", BOTH)])
    assert [outcome(result) for result in found] == [
        (9, Status.OK, None, None, {"mean": [5.0, -5.0], "size": [2.0]}),
        (3, Status.OK, None, None, {"mean": [6.0, -6.0], "size": [3.0]}),
        (7, Status.OK, None, None, {"mean": [8.0, -8.0], "size": [1.0]}),
    ]


def test_each_photo_gets_the_descriptors_that_it_asks_for():
    found = run([Task(1, "a/5/2", ("size",)), Task(2, "a/6/3", ("mean",)), Task(3, "a/8/1", ("size", "mean"))])
    assert [outcome(result)[4] for result in found] == [
        {"size": [2.0]},
        {"mean": [6.0, -6.0]},
        {"mean": [8.0, -8.0], "size": [1.0]},
    ]


def test_a_final_failure_is_rejected_with_its_reason():
    missing, torn = run(tasks_of("missing", "torn"))
    assert outcome(missing) == (0, Status.REJECTED, Reason.MISSING_FILE, "No such file", {})
    assert outcome(torn) == (1, Status.REJECTED, Reason.TRUNCATED, None, {})


def test_a_failure_that_may_pass_is_to_be_tried_again():
    (stale,) = run(tasks_of("stale"))
    assert outcome(stale) == (0, Status.RETRY, Reason.READ_FAILED, "0/stale: Stale file handle", {})


@pytest.mark.parametrize("uri", ["13/2", "5/7", "13/7"], ids=["NaN", "infinite", "both"])
def test_numbers_that_are_not_finite_are_rejected_and_half_a_photo_is_not_kept(uri):
    (bad,) = run(tasks_of(uri))
    assert outcome(bad) == (0, Status.REJECTED, Reason.BAD_DESCRIPTOR, "mean, size", {})


def test_a_long_detail_is_cut():
    def read(_uri: str) -> bytes:
        raise Rejected(Reason.FORBIDDEN, "x" * 10_000)

    (found,) = describe(tasks_of("1/1"), {}, read, Store().decode, 1)
    assert found.detail == "x" * 500


def test_bytes_are_read_and_decoded_once_a_photo():
    store = Store()
    tasks = tasks_of("5/2", "missing", "6/3", "torn", "stale", "13/1")
    run(tasks, 2, store)
    assert store.reads == {task.uri: 1 for task in tasks}
    assert store.decoded == 4


def test_without_a_descriptor_asked_for_nothing_is_read():
    store = Store()
    found = run([Task(1, "a/missing", ()), Task(2, "a/5/2", ()), Task(3, "a/5/2", ("mean",))], 4, store)
    assert [outcome(result)[:3] for result in found] == [(i, Status.OK, None) for i in (1, 2, 3)]
    assert [sorted(result.vectors) for result in found] == [[], [], ["mean"]]
    assert store.reads == {"a/5/2": 1}


def test_a_fingerprint_comes_where_it_is_asked_for():
    store = Store()
    tasks = [Task(1, "a/5/2", ("size",), fingerprint=True), Task(2, "b/5/2", ("size",)), Task(3, "c/6/4", (), True)]
    one, two, three = run(tasks, 4, store)
    assert two.picture is None
    assert one.picture is not None
    assert (one.picture.width, one.picture.height) == (2, 2)
    assert one.picture.sha256 == hashlib.sha256(b"a/5/2").hexdigest()
    assert three.picture is not None  # read for that alone
    assert (three.picture.height, three.vectors) == (4, {})
    assert store.reads == {"a/5/2": 1, "b/5/2": 1, "c/6/4": 1}


def test_a_photo_that_fails_has_no_fingerprint():
    failed = run([Task(i, f"{i}/{uri}", BOTH, True) for i, uri in enumerate(["torn", "13/2", "missing", "stale"])])
    assert [result.picture for result in failed] == [None] * 4


def test_no_tasks():
    assert run([]) == []


def test_a_descriptor_sees_no_more_than_a_batch_and_never_nothing():
    mean, size, store = Mean(), Size(), Store()
    tasks = tasks_of(*["5/2"] * 5, *["missing"] * 3, "5/2", descriptors=("mean",))
    list(describe(tasks, {"mean": mean, "size": size}, store.read, store.decode, 3))
    assert (mean.batches, size.batches) == ([3, 2, 1], [])


def test_photos_are_read_when_their_batch_is_due():
    store = Store()
    results = describe(tasks_of(*["5/2"] * 6), {"mean": Mean(), "size": Size()}, store.read, store.decode, 2)
    assert not store.reads
    next(results)
    assert len(store.reads) == 2


URIS = st.one_of(
    st.sampled_from(["missing", "stale", "torn", "13/2", "5/7"]),
    st.tuples(st.integers(0, 255), st.integers(1, 9)).map(lambda pair: "{}/{}".format(*pair)),
)
ASKED = st.sampled_from([(), ("mean",), ("size",), BOTH, BOTH[::-1]])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(URIS, ASKED), max_size=12), st.integers(1, 13))
def test_no_photo_touches_another(photos, batch):
    tasks = [Task(100 - i, f"{i}/{uri}", asked) for i, (uri, asked) in enumerate(photos)]
    alone = [outcome(run([task], 1)[0]) for task in tasks]
    assert [outcome(result) for result in run(tasks, batch)] == alone
    assert [photo for photo, *_ in alone] == [task.photo_id for task in tasks]
