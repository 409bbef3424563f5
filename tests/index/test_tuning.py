"""Measured recall: true neighbours as by looking at everything, and of each setting what a plain search by it finds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.index import tuning
from im2gps_spark.index.recall import Row
from im2gps_spark.index.search import Index
from im2gps_spark.index.tuning import MOST_LISTS, Counts, Nearest, Queries, Sweep, count, nearest, table
from im2gps_spark.neighbours import merge
from im2gps_spark.store.folder import DiskFolder
from tests.index import Corpus, draw, rows_of, trained_on, write_version

EVERYTHING = 10**9


def index_of(folder: Path, corpus: Corpus, **options: int) -> Index:
    write_version(folder / "version", trained_on(corpus, **options), corpus)
    return Index(DiskFolder(folder / "version"))


def asked_of(corpus: Corpus, n: int) -> Queries:
    return Queries(corpus.photo_id[:n], corpus.owner[:n], corpus.vectors[:n])


def truth_of(index: Index, queries: Queries, k: int) -> Nearest:
    found = (nearest(index, shard, queries, k) for shard in range(index.manifest.shards))
    return sum(found, start=Nearest.none(len(queries), k))


def counts_of(index: Index, queries: Queries, truth: Nearest, sweep: Sweep) -> Counts:
    found = (count(index, shard, queries, truth.ids, sweep) for shard in range(index.manifest.shards))
    return sum(found, start=Counts.none(len(queries), sweep))


def by_everything(index: Index, corpus: Corpus, queries: Queries, k: int) -> list[list[int]]:
    """Ids of the k nearest of other owners, by a look at every vector."""
    rows = rows_of(index.trained, corpus)
    rotated = index.trained.rotate(queries.vectors)
    found = []
    for i, owner in enumerate(queries.owner):
        offset = rows.vectors.astype(np.float32) - rotated[i]
        distance = np.sqrt((offset.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)  # as search has them
        seen = np.flatnonzero(rows.owner != owner)
        found.append(rows.photo_id[seen[np.lexsort((rows.photo_id[seen], distance[seen]))]][:k].tolist())
    return found


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return draw(900, seed=2)


@pytest.fixture(scope="module")
def index(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Index:
    return index_of(tmp_path_factory.mktemp("tuning"), corpus, lists=25, shards=4)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred photos are several blocks."""
    monkeypatch.setattr(tuning, "_VECTORS", 37)
    monkeypatch.setattr(tuning, "_QUERIES", 7)


# --- what is true ---


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("k", [1, 20, 2000])
def test_true_neighbours_are_those_of_a_look_at_everything(index, corpus, k):
    queries = asked_of(corpus, 40)
    truth = truth_of(index, queries, k)
    expected = by_everything(index, corpus, queries, k)
    assert [ids[ids >= 0].tolist() for ids in truth.ids] == expected
    assert np.array_equal(np.isfinite(truth.distance), truth.ids >= 0)
    assert truth.visible.tolist() == [int((corpus.owner != owner).sum()) for owner in queries.owner]


def test_distances_are_those_of_search(index, corpus):
    queries = asked_of(corpus, 5)
    truth = truth_of(index, queries, 30)
    every = index.route(queries.vectors, EVERYTHING)
    found = [index.search_shard(s, every, queries.photo_id, queries.owner, 30, EVERYTHING) for s in range(4)]
    for i in range(len(queries)):
        parts = [shard[i] for shard in found]
        assert np.array_equal(merge(parts, 30).distance, truth.distance[i])
        assert np.array_equal(merge(parts, 30).photo_id, truth.ids[i])


def test_of_many_copies_the_first_ids_are_meant(tmp_path):
    corpus = draw(300, seed=5, distinct=3)
    index = index_of(tmp_path, corpus, lists=6, shards=2)
    queries = asked_of(corpus, 10)
    assert truth_of(index, queries, 15).ids.tolist() == by_everything(index, corpus, queries, 15)


# --- what is found ---


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 200),
    owners=st.integers(1, 6),
    lists=st.integers(0, 12),
    shards=st.integers(0, 6),
    k=st.integers(1, 30),
    more=st.integers(0, 60),
    seed=st.integers(0, 99),
)
def test_every_setting_is_counted_as_a_plain_search_by_it(n, owners, lists, shards, k, more, seed):
    corpus = draw(n, dimension=6, seed=seed, owners=owners)
    with tempfile.TemporaryDirectory() as folder:
        index = index_of(Path(folder), corpus, lists=lists, shards=shards)
        queries = asked_of(corpus, 12)
        sweep = Sweep.of(index.manifest.plan["lists"], k, k + more)
        truth = truth_of(index, queries, k)
        counts = counts_of(index, queries, truth, sweep)
        barred = queries.photo_id, queries.owner
        held = rows_of(index.trained, corpus).lists
        for p, nprobe in enumerate(sweep.nprobe):
            routed = index.route(queries.vectors, nprobe)
            assert counts.codes[:, p].tolist() == [int(np.isin(held, query).sum()) for query in routed.lists]
            for r, rerank in enumerate(sweep.rerank):
                # Of so many neighbours everything that was re-ranked comes back.
                found = [index.search_shard(s, routed, *barred, n, rerank) for s in range(index.manifest.shards)]
                for i in range(len(queries)):
                    whole = merge([shard[i] for shard in found], n)
                    assert len(whole) == counts.vectors[i, p, r]
                    hits = np.isin(whole.photo_id[:k], truth.ids[i]).sum()
                    assert hits == counts.hits[i, p, r]


def measured(index: Index, queries: Queries, k: int, neighbours: int) -> dict[tuple[int, int], Row]:
    sweep = Sweep.of(index.manifest.plan["lists"], k, neighbours)
    truth = truth_of(index, queries, k)
    rows = table(counts_of(index, queries, truth, sweep), truth, sweep, neighbours)
    assert [(row.nprobe, row.rerank) for row in rows] == [(p, r) for p in sweep.nprobe for r in sweep.rerank]
    return {(row.nprobe, row.rerank): row for row in rows}


@pytest.mark.usefixtures("small_blocks")
def test_more_work_finds_no_less_of_one_list_and_all_of_every_one(index, corpus):
    rows = measured(index, asked_of(corpus, 60), 20, 400)
    lists, reranks = (sorted({key[side] for key in rows}) for side in (0, 1))
    assert lists == [1, 2, 3, 4, 6, 8, 12, 16, 24, 25]
    for nprobe in lists:
        recall = [rows[nprobe, rerank].recall for rerank in reranks]
        vectors = [rows[nprobe, rerank].vectors for rerank in reranks]
        assert recall == sorted(recall)
        assert vectors == sorted(vectors)
        assert len({rows[nprobe, rerank].codes for rerank in reranks}) == 1
    # With all of a list's photos re-ranked nothing that is nearer takes a true neighbour's place.
    whole = [rows[nprobe, reranks[-1]] for nprobe in lists]
    assert [row.recall for row in whole] == sorted(row.recall for row in whole)
    assert [row.codes for row in whole] == sorted(row.codes for row in whole)
    assert 0.1 < whole[0].recall < 0.9
    assert (whole[-1].recall, whole[-1].codes, whole[-1].voters) == (1.0, 900.0, 1.0)
    assert rows[1, reranks[0]].voters < 0.5


def test_recall_does_not_follow_from_how_the_index_is_cut(corpus, tmp_path):
    queries = asked_of(corpus, 30)
    truths = []
    for shards in (1, 5):
        cut = index_of(tmp_path / str(shards), corpus, lists=25, shards=shards)
        truths.append(truth_of(cut, queries, 20))
        rows = measured(cut, queries, 20, 400)
        assert rows[25, max(key[1] for key in rows)].recall == 1.0
    assert np.array_equal(truths[0].ids, truths[1].ids)
    assert np.array_equal(truths[0].distance, truths[1].distance)


def test_a_corpus_of_one_owner_has_nothing_to_measure_by(tmp_path):
    corpus = draw(50, owners=1)
    index = index_of(tmp_path, corpus)
    with pytest.raises(ValueError, match="no query has a neighbour of another owner"):
        measured(index, asked_of(corpus, 5), 3, 10)


# --- what is tried ---


@pytest.mark.parametrize(
    ("lists", "nprobe"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 3, 4, 6, 8]), (25, [1, 2, 3, 4, 6, 8, 12, 16, 24, 25])],
)
def test_lists_grow_by_a_third_or_a_half_up_to_all_of_them(lists, nprobe):
    assert list(Sweep.of(lists, 5, 100).nprobe) == nprobe


def test_of_many_lists_no_more_than_the_bound_are_visited():
    assert Sweep.of(100_000, 5, 100).nprobe[-3:] == (512, 768, MOST_LISTS)


def test_what_search_does_untuned_is_tried_and_never_fewer_than_are_wanted():
    assert Sweep.of(4, 120, 1000).rerank == (125, 250, 500, 1000, 2000, 3000, 6000)
    assert Sweep.of(4, 120, 120).rerank == (120, 240, 360, 720)
