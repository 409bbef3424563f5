"""One shard: plain files, the same bytes from the same photos, and nothing lost on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pytest

from im2gps_spark.errors import StageError
from im2gps_spark.index.shard import Rows, Shard, arrow_bytes, faiss_bytes
from im2gps_spark.index.training import Trained
from tests.index import Corpus, draw, rows_of, trained_on

CORPUS = draw(400, seed=1)
FEW_LISTS = np.array([1, 4, 5, 9])


@pytest.fixture(scope="module")
def trained() -> Trained:
    return trained_on(CORPUS, lists=13)[0]


def in_lists(trained: Trained, corpus: Corpus, lists: np.ndarray) -> Rows:
    rows = rows_of(trained, corpus)
    return rows.take(np.isin(rows.lists, lists)).sorted()


def opened(folder: Path, trained: Trained, rows: Rows, lists: np.ndarray) -> Shard:
    (folder / "shard-0007.faiss").write_bytes(faiss_bytes(trained, lists, rows))
    (folder / "shard-0007.arrow").write_bytes(arrow_bytes(rows))
    return Shard(folder / "shard-0007.faiss", folder / "shard-0007.arrow", lists)


@pytest.fixture
def shard(tmp_path: Path, trained: Trained) -> Shard:
    """Four of thirteen lists."""
    return opened(tmp_path, trained, in_lists(trained, CORPUS, FEW_LISTS), FEW_LISTS)


def every_list(trained: Trained, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries, and every list for each of them."""
    rotated = trained.rotate(vectors)
    near, lists = trained.assign(rotated, trained.ivf.nlist)
    return rotated, lists, near


# --- files ---


def test_bytes_do_not_depend_on_the_order_of_rows(trained):
    rows = rows_of(trained, CORPUS)
    lists = np.arange(13)
    files = {
        (faiss_bytes(trained, lists, part), arrow_bytes(part))
        for seed in range(4)
        for part in [rows.take(np.random.default_rng(seed).permutation(len(CORPUS))).sorted()]
    }
    assert len(files) == 1


def test_bytes_do_not_depend_on_the_batches_that_photos_were_encoded_in(trained):
    whole = rows_of(trained, CORPUS).sorted()
    parts = [rows_of(trained, CORPUS.take(np.arange(i, min(i + 7, 400)))) for i in range(0, 400, 7)]
    joined = Rows(*(np.concatenate([getattr(p, n) for p in parts]) for n in Rows.__dataclass_fields__))
    again = joined.take(np.argsort(joined.photo_id))
    for name in ("photo_id", "lists", "codes", "vectors"):
        assert np.array_equal(getattr(again, name), getattr(whole, name))


def test_the_file_is_a_plain_faiss_index(tmp_path, trained):
    rows = in_lists(trained, CORPUS, FEW_LISTS)
    opened(tmp_path, trained, rows, FEW_LISTS)
    index: Any = faiss.read_index(str(tmp_path / "shard-0007.faiss"))
    assert (index.ntotal, index.nlist, index.d) == (len(rows.photo_id), 4, 16)
    assert np.array_equal(index.quantizer.reconstruct_n(0, 4), trained.centroids[FEW_LISTS])
    for local, number in enumerate(FEW_LISTS):
        size = index.invlists.list_size(local)
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(local), size)
        codes = faiss.rev_swig_ptr(index.invlists.get_codes(local), size * index.code_size)
        assert np.array_equal(ids, rows.photo_id[rows.lists == number])
        assert np.array_equal(codes.reshape(size, -1), rows.codes[rows.lists == number])
    # Without a word of ours it finds what it holds.
    index.nprobe = 4
    _, found = index.search(rows.vectors[:40].astype(np.float32), 20)
    assert np.mean([i in row for i, row in zip(rows.photo_id[:40], found, strict=True)]) > 0.9


def test_the_other_file_is_plain_arrow(tmp_path, trained):
    rows = in_lists(trained, CORPUS, FEW_LISTS)
    opened(tmp_path, trained, rows, FEW_LISTS)
    table = pa.ipc.open_file(str(tmp_path / "shard-0007.arrow")).read_all()
    assert table.column("photo_id").to_pylist() == sorted(rows.photo_id.tolist())
    assert table.schema.field("vector").type == pa.list_(pa.float16(), 16)
    assert table.column("vector").to_pylist()[3] == rows.vectors[3].tolist()
    assert table.column("latitude").to_pylist() == rows.latitude.tolist()
    assert table.schema.field("accuracy").type == pa.int8()
    assert table.column("accuracy").to_pylist() == rows.accuracy.tolist()


def test_an_open_shard_gives_back_what_was_written(tmp_path, trained):
    rows = in_lists(trained, CORPUS, FEW_LISTS)
    shard = opened(tmp_path, trained, rows, FEW_LISTS)
    assert np.array_equal(shard.photo_id, rows.photo_id)
    assert np.array_equal(shard.vectors, rows.vectors)
    for name in ("latitude", "longitude", "owner", "accuracy"):
        assert np.array_equal(shard.column(name), getattr(rows, name))
    assert not shard.vectors.flags.owndata  # mapped, not copied


# --- rows ---


def test_rows_are_sorted_with_all_their_columns(trained):
    rows = rows_of(trained, CORPUS)
    ordered = rows.sorted()
    assert np.all(np.diff(ordered.photo_id) > 0)
    rank = np.argsort(rows.photo_id)
    for name in Rows.__dataclass_fields__:
        assert np.array_equal(getattr(ordered, name), getattr(rows, name)[rank])


@pytest.mark.parametrize("again", [0, 7, 399])
def test_a_photo_that_stands_twice_is_refused_by_its_id(trained, again):
    rows = rows_of(trained, CORPUS).take(np.append(np.arange(400), again))
    with pytest.raises(ValueError, match=f"photo {CORPUS.photo_id[again]} stands twice"):
        rows.sorted()


def test_a_photo_of_another_list_is_refused(trained):
    rows = in_lists(trained, CORPUS, np.append(FEW_LISTS, 10))
    with pytest.raises(ValueError, match="list 10 is none of the shard's"):
        faiss_bytes(trained, FEW_LISTS, rows)


@pytest.mark.parametrize("first", [1, 2**53 - 3, 2**62, 2**63 - 5])
def test_ids_keep_all_their_digits(tmp_path, trained, first):
    ids = first + np.arange(5)
    corpus = Corpus(ids, CORPUS.vectors[:5], CORPUS.owner[:5])
    shard = opened(tmp_path, trained, in_lists(trained, corpus, np.arange(13)), np.arange(13))
    rotated, lists, near = every_list(trained, corpus.vectors)
    assert shard.photo_id.tolist() == ids.tolist()
    assert [sorted(row) for row in shard.scan(rotated, lists, near, 5)[1].tolist()] == [ids.tolist()] * 5
    for i, photo in enumerate(ids.tolist()):
        kept = shard.vectors[shard.slots(np.array([[photo]]))[0, 0]]
        assert np.array_equal(kept, rotated[i].astype(np.float16))


# --- candidates ---


def test_candidates_come_from_the_lists_asked_for(shard, trained):
    rows = in_lists(trained, CORPUS, FEW_LISTS)
    rotated, _, _ = every_list(trained, CORPUS.vectors[:6])
    lists = np.array([[4, 2, -1], [9, 4, 1], [0, 2, 3], [-1, -1, -1], [12, 9, 5], [1, -1, 12]])
    near = np.ones(lists.shape, np.float32)
    _, found = shard.scan(rotated, lists, near, 400)
    for row, wanted in zip(found, lists, strict=True):
        mine = rows.photo_id[np.isin(rows.lists, wanted)]
        assert sorted(row[row >= 0].tolist()) == mine.tolist()
        assert np.all(row[len(mine) :] == -1)


def test_more_lists_may_be_asked_for_than_a_shard_has(shard, trained):
    rotated, lists, near = every_list(trained, CORPUS.vectors[:9])
    _, found = shard.scan(rotated, lists, near, 400)
    held = in_lists(trained, CORPUS, FEW_LISTS).photo_id.tolist()
    assert [sorted(row[row >= 0].tolist()) for row in found] == [held] * 9


def test_candidates_do_not_depend_on_other_queries(shard, trained):
    rotated, lists, near = every_list(trained, CORPUS.vectors[:50])
    together = shard.scan(rotated, lists[:, :5], near[:, :5], 12)
    for i in range(50):
        alone = shard.scan(rotated[i : i + 1], lists[i : i + 1, :5], near[i : i + 1, :5], 12)
        for ours, theirs in zip(alone, together, strict=True):
            assert np.array_equal(ours[0], theirs[i])


def test_candidates_are_in_the_order_of_distance_and_id(tmp_path, trained):
    corpus = Corpus(np.arange(300) * 7 + 1, np.repeat(CORPUS.vectors[:3], 100, axis=0), np.zeros(300, np.int64))
    shard = opened(tmp_path, trained, in_lists(trained, corpus, np.arange(13)), np.arange(13))
    rotated, lists, near = every_list(trained, CORPUS.vectors[:6])
    distance, ids = shard.scan(rotated, lists, near, 310)
    assert len(np.unique(distance[0, :300])) == 3
    for row in range(6):
        assert list(zip(distance[row], ids[row], strict=True))[:300] == sorted(
            zip(distance[row, :300], ids[row, :300], strict=True)
        )
    assert np.all(ids[:, 300:] == -1)
    # Cut off among ties, those with the smallest ids are left: FAISS looks at a list in the order of its ids.
    for most in (1, 50, 100, 130, 299):
        less = shard.scan(rotated, lists, near, most)
        assert np.array_equal(less[0], distance[:, :most])
        assert np.array_equal(less[1], ids[:, :most])


def test_rows_are_found_by_id(shard):
    n = len(shard.photo_id)
    rows = np.random.default_rng(0).integers(0, n, (20, 2 * n))
    assert np.array_equal(shard.slots(shard.photo_id[rows]), rows)
    assert shard.slots(np.array([[-1, shard.photo_id[3], -1]])).tolist() == [[-1, 3, -1]]
    assert shard.slots(np.zeros((4, 0), np.int64)).shape == (4, 0)


@pytest.mark.parametrize("stranger", [0, 1, 2**62])
def test_codes_of_unknown_photos_are_refused(shard, stranger):
    with pytest.raises(StageError, match=r"shard-0007.faiss has codes of photos"):
        shard.slots(np.array([[shard.photo_id[0], stranger + shard.photo_id[0] + 1]]))


def test_distances_are_those_of_the_kept_vectors(shard):
    queries = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
    rows = np.random.default_rng(2).integers(-1, len(shard.photo_id), (5, 200))
    found = shard.distances(queries, rows, np.full(rows.shape, 7.0))
    offset = shard.vectors[rows].astype(np.float32) - queries[:, None]
    expected = np.sqrt((offset.astype(np.float64) ** 2).sum(axis=2)).astype(np.float32)
    assert np.array_equal(found, np.where(rows >= 0, expected, 7.0))
    assert np.sum(rows < 0) > 2


# --- a shard without photos ---


def test_a_shard_without_photos(tmp_path, trained):
    nobody = rows_of(trained, CORPUS).take(np.zeros(0, np.int64)).sorted()
    shard = opened(tmp_path, trained, nobody, FEW_LISTS)
    assert shard.index.ntotal == 0
    assert shard.photo_id.tolist() == []
    rotated, lists, near = every_list(trained, CORPUS.vectors[:2])
    assert shard.scan(rotated, lists, near, 3)[1].tolist() == [[-1] * 3] * 2
    assert shard.vectors.shape == (0, 16)
