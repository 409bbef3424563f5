"""Training: any corpus trains, the same sample to the same bytes, and a vector's place does not depend on company."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from im2gps_spark.index.components import WHITENING
from im2gps_spark.index.plan import Plan, plan
from im2gps_spark.index.training import Trained, find_components, sample_hash, train, train_quantizers


def clustered(n: int, dimension: int = 48, seed: int = 0, clusters: int = 20) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(clusters, dimension))
    return (centre[rng.integers(0, clusters, n)] + 0.4 * rng.normal(size=(n, dimension))).astype(np.float32)


def planned(vectors: np.ndarray, **options: int) -> Plan:
    return plan(len(vectors), vectors.shape[1], **{"sample": len(vectors), "dimension": 32, **options})


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return clustered(1500)


@pytest.fixture(scope="module")
def trained(sample: np.ndarray) -> Trained:
    return train(sample, planned(sample))


def lists_of(index: Any) -> dict[int, tuple[list[int], np.ndarray]]:
    """Ids and codes in each of the inverted lists."""
    found = {}
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(number), size).tolist()
        codes = faiss.rev_swig_ptr(index.invlists.get_codes(number), size * index.code_size)
        found[number] = ids, codes.reshape(size, -1).copy()
    return found


def transforms(trained: Trained) -> list[Any]:
    chain: Any = trained.index.chain
    return [chain.at(i) for i in range(chain.size())]


# --- any corpus ---

SHAPES = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "duplicates": lambda rng, n, d: rng.normal(size=(2, d))[rng.integers(0, 2, n)],
    "constant": lambda rng, n, d: np.full((n, d), 0.3),
    "zero": lambda rng, n, d: np.zeros((n, d)),
    "on a line": lambda rng, n, d: rng.normal(size=(n, 1)) * rng.normal(size=(1, d)),
    "one number": lambda rng, n, d: np.eye(n, d),
    "large": lambda rng, n, d: 1e6 * rng.normal(size=(n, d)),
    "small": lambda rng, n, d: 1e-6 * rng.normal(size=(n, d)),
}


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.integers(1, 70), st.integers(1, 12), st.sampled_from(list(SHAPES)), st.integers(0, 9), st.integers(0, 80))
@example(1, 1, "zero", 0, 0)
@example(1, 12, "normal", 0, 0)
@example(2, 3, "constant", 0, 2)
@example(61, 9, "constant", 0, 80)
@example(70, 12, "duplicates", 0, 80)
def test_any_corpus_from_one_photo_up_trains(n, dimension, shape, seed, lists):
    vectors = SHAPES[shape](np.random.default_rng(seed), n, dimension).astype(np.float32)
    made = planned(vectors, lists=lists)
    trained = train(vectors, made)
    assert trained.ivf.ntotal == 0
    assert (trained.ivf.nlist, trained.ivf.d) == (made.lists, made.dimension)
    assert np.isfinite(trained.centroids).all()

    rotated = trained.rotate(vectors)
    assert rotated.shape == (n, made.dimension)
    length = np.linalg.norm(rotated, axis=1)
    assert np.all((np.abs(length - 1) < 1e-5) | (length == 0))
    near, which = trained.assign(rotated, 1)
    assert np.isfinite(near).all()
    assert set(which.ravel().tolist()) <= set(range(made.lists))
    assert trained.encode(rotated, which[:, 0]).shape == (n, (made.subquantizers * made.bits + 7) // 8)


def test_nothing_is_complained_of(capfd):
    train(clustered(40), planned(clustered(40)))
    train(clustered(3), planned(clustered(3)))
    assert capfd.readouterr() == ("", "")


# --- the same bytes ---


def test_the_same_sample_gives_the_same_bytes(sample, trained):
    again = train(sample.copy(), planned(sample))
    assert again.to_bytes() == trained.to_bytes()


def test_bytes_do_not_depend_on_the_memory_that_a_sample_lies_in(sample, trained):
    assert train(np.asfortranarray(sample), planned(sample)).to_bytes() == trained.to_bytes()


def test_another_sample_gives_other_bytes(sample, trained):
    assert train(sample[::-1].copy(), planned(sample)).to_bytes() != trained.to_bytes()


@pytest.mark.parametrize("good", [True, False])
def test_threads_are_given_back(sample, good):
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)
    try:
        vectors = sample[:60] if good else np.full((60, 48), np.nan, np.float32)
        try:
            train(vectors, planned(sample[:60]))
        except ValueError:
            assert not good
        assert faiss.omp_get_max_threads() == 3
    finally:
        faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("opq", [0, 1])
def test_bytes_do_not_depend_on_the_threads_that_there_are(sample, opq):
    before = faiss.omp_get_max_threads()
    found = set()
    try:
        for threads in (1, 2, 3):
            faiss.omp_set_num_threads(threads)
            found.add(train(sample, planned(sample, opq=opq)).to_bytes())
    finally:
        faiss.omp_set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize(("n", "lists"), [(7000, 20), (30_720, 1024)])
def test_the_order_that_photos_come_in_does_not_matter_once_they_are_sorted(n, lists):
    ids, vectors = np.random.default_rng(1).permutation(n), clustered(n, 12, clusters=1500)
    found = set()
    for seed in (2, 3):
        mixed = np.random.default_rng(seed).permutation(len(ids))
        back = mixed[np.argsort(ids[mixed])]
        found.add(train(vectors[back], planned(vectors, lists=lists)).to_bytes())
    assert len(found) == 1


def test_a_training_goes_through_a_file_unchanged(sample, trained):
    data = trained.to_bytes()
    read = Trained.from_bytes(data)
    assert read.to_bytes() == data
    assert np.array_equal(read.centroids, trained.centroids)
    assert np.array_equal(read.rotate(sample), trained.rotate(sample))
    rotated = trained.rotate(sample)
    _, which = trained.assign(rotated, 1)
    assert np.array_equal(read.encode(rotated, which[:, 0]), trained.encode(rotated, which[:, 0]))


def test_the_file_is_a_plain_faiss_index(sample, trained, tmp_path):
    (tmp_path / "trained.faiss").write_bytes(trained.to_bytes())
    index = faiss.read_index(str(tmp_path / "trained.faiss"))
    assert index.d == sample.shape[1]
    index.add(sample)
    faiss.extract_index_ivf(index).nprobe = trained.ivf.nlist
    _, found = index.search(sample[:50], 5)
    # Of 1500 photos in 20 clusters the photo itself is among the first five codes.
    assert np.mean([i in row for i, row in enumerate(found)]) > 0.9
    assert trained.ivf.ntotal == 0


# --- rotation ---


def test_rotated_vectors_are_of_unit_length(trained):
    strangers = trained.rotate(clustered(300, seed=9))
    assert np.linalg.norm(strangers, axis=1) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 20, 64, 999])
def test_a_vector_does_not_depend_on_its_company(trained, batch):
    """Photos come in batches that follow from partitions, and an index's bytes must not."""
    vectors = clustered(1100, seed=7)
    whole = trained.rotate(vectors)
    parts = [trained.rotate(vectors[i : i + batch]) for i in range(0, len(vectors), batch)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_rotation_is_that_of_the_file(trained):
    vectors = clustered(200, seed=8)
    rotated = vectors
    for transform in transforms(trained):
        rotated = faiss.downcast_VectorTransform(transform).apply(rotated)
    assert trained.rotate(vectors) == pytest.approx(rotated, abs=1e-5)


def test_components_are_the_principal_ones_evened_out():
    rng = np.random.default_rng(4)
    spread = np.array([8.0, 4.0, 2.0, 1.0, 0.01, 0.001])
    axes = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    vectors = ((rng.normal(size=(4000, 6)) * spread) @ axes.T + 5.0).astype(np.float32)
    trained = train(vectors, planned(vectors, dimension=4))
    linear: Any = faiss.downcast_VectorTransform(transforms(trained)[0])
    components = linear.apply(vectors)
    assert components.mean(axis=0) == pytest.approx(0.0, abs=1e-3)
    assert components.std(axis=0) == pytest.approx(spread[:4] ** (1 - 2 * WHITENING), rel=0.05)
    assert np.abs(np.corrcoef(components, rowvar=False) - np.eye(4)).max() < 1e-3
    matrix = faiss.vector_to_array(linear.A).reshape(4, 6)
    cosine = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)) @ axes[:, :4]
    assert np.abs(np.diag(cosine)) == pytest.approx(1.0, abs=0.01)


# --- OPQ ---


@pytest.fixture(scope="module")
def turned(sample: np.ndarray) -> Trained:
    return train(sample, planned(sample, opq=1))


def test_what_is_turned_is_as_far_apart_as_before(trained, turned):
    strangers = clustered(300, seed=5)
    plain, other = trained.rotate(strangers), turned.rotate(strangers)
    assert not np.allclose(plain, other, atol=0.1)
    assert other @ other.T == pytest.approx(plain @ plain.T, abs=1e-5)
    near, which = trained.assign(plain, 3)
    their_near, their_which = turned.assign(other, 3)
    assert np.array_equal(which, their_which)
    assert near == pytest.approx(their_near, abs=1e-5)


def test_a_turned_index_is_made_again_to_the_byte(sample, trained, turned):
    assert train(sample, planned(sample, opq=1)).to_bytes() == turned.to_bytes() != trained.to_bytes()


def test_codes_lose_less_once_turned():
    # Of uneven spread: the first parts of a code have much to say, the last hardly anything.
    rng = np.random.default_rng(6)
    vectors = (rng.normal(size=(8000, 32)) * 2.0 ** -np.arange(0, 8, 0.25)).astype(np.float32)
    sample, strangers = vectors[:7000], vectors[7000:]
    plain, other = (train(sample, planned(sample, opq=opq)) for opq in (0, 1))
    assert other.errors(other.rotate(strangers)).code < 0.8 * plain.errors(plain.rotate(strangers)).code


# --- in parts, as the stage does it ---


def test_the_parts_of_training_give_what_the_whole_does(sample, trained):
    made = planned(sample)
    linear = find_components(sample, made.dimension)
    rotated = linear.apply(sample)
    found, errors = train_quantizers(rotated, linear, made)
    assert found.to_bytes() == trained.to_bytes()
    assert np.array_equal(rotated, trained.rotate(sample))
    assert errors == trained.errors(rotated)
    assert 0 < errors.code < errors.coarse


def test_rotated_vectors_that_are_not_the_plan_s(sample):
    made = planned(sample)
    linear = find_components(sample, made.dimension)
    with pytest.raises(ValueError, match=r"the plan is for \(1500, 32\)"):
        train_quantizers(linear.apply(sample[:-1]), linear, made)


# --- lists and codes ---


def test_the_nearest_lists_come_first(sample, trained):
    rotated = trained.rotate(sample[:200])
    near, which = trained.assign(rotated, 5)
    distance = ((rotated[:, None].astype(np.float64) - trained.centroids[None]) ** 2).sum(axis=2)
    assert np.array_equal(which, np.argsort(distance, axis=1)[:, :5])
    assert near == pytest.approx(np.sort(distance, axis=1)[:, :5], abs=1e-5)


def test_there_are_no_more_lists_than_there_are(sample, trained):
    near, which = trained.assign(trained.rotate(sample[:3]), 10**6)
    assert near.shape == which.shape == (3, trained.ivf.nlist)
    assert [sorted(row) for row in which.tolist()] == [list(range(trained.ivf.nlist))] * 3


def test_codes_and_lists_are_those_that_faiss_would_choose(sample, trained):
    rotated = trained.rotate(sample)
    _, which = trained.assign(rotated, 1)
    codes = trained.encode(rotated, which[:, 0])
    filled = Trained.from_bytes(trained.to_bytes())  # named: its parts live as long as it does
    filled.ivf.add_with_ids(rotated, np.arange(len(rotated)))
    for number, (ids, theirs) in lists_of(filled.ivf).items():
        assert ids == np.flatnonzero(which[:, 0] == number).tolist()
        assert np.array_equal(codes[ids], theirs)


def test_nothing_goes_in_and_nothing_comes_out(trained):
    none = trained.rotate(np.zeros((0, 48), np.float32))
    near, which = trained.assign(none, 3)
    assert none.shape == (0, trained.ivf.d)
    assert near.shape == which.shape == (0, 3)
    assert trained.encode(none, which[:, 0]).shape == (0, trained.ivf.code_size)


# --- what is refused ---


@pytest.mark.parametrize("shape", [(59, 48), (61, 48), (60, 47), (60,), (0, 48)])
def test_a_sample_that_is_not_the_plan_s(sample, shape):
    with pytest.raises(ValueError, match=r"the plan is for \(60, 48\) descriptors"):
        train(np.zeros(shape, np.float32), planned(sample[:60]))


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(sample, number):
    vectors = sample[:60].copy()
    vectors[41, 7] = number
    with pytest.raises(ValueError, match="not finite"):
        train(vectors, planned(vectors))


# --- the sample's name ---


def test_a_sample_is_named_by_its_photos_and_their_numbers(sample):
    ids = np.arange(60)
    name = sample_hash(ids, sample[:60])
    assert name == sample_hash(ids.copy(), np.asfortranarray(sample[:60]))
    assert name == sample_hash(ids.astype(">i8"), sample[:60].astype(">f4"))
    changed = sample[:60].copy()
    changed[3, 3] += 1e-6
    others = [(ids + 1, sample[:60]), (ids[::-1], sample[:60]), (ids, changed), (ids[:59], sample[:59])]
    assert len({name, *(sample_hash(*other) for other in others)}) == 5
