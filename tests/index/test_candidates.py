"""Who may be a neighbour, and how many are looked at until enough of them are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.index import candidates
from im2gps_spark.index.candidates import Listed, first_of, together
from im2gps_spark.index.routed import Routed, packed
from im2gps_spark.index.shard import Rows, Shard, arrow_bytes, faiss_bytes
from im2gps_spark.index.training import Trained
from tests.index import Corpus, draw, rows_of, trained_on

LISTS = 9


def opened(folder: Path, trained: Trained, rows: Rows) -> Shard:
    (folder / "a.faiss").write_bytes(faiss_bytes(trained, np.arange(LISTS), rows))
    (folder / "a.arrow").write_bytes(arrow_bytes(rows))
    return Shard(folder / "a.faiss", folder / "a.arrow", np.arange(LISTS))


def asked(trained: Trained, corpus: Corpus, nprobe: int = LISTS) -> Routed:
    rotated = trained.rotate(corpus.vectors)
    near, lists = trained.assign(rotated, nprobe)
    return Routed(rotated, lists, near, np.zeros(len(corpus)), np.zeros(len(corpus)))


@pytest.mark.parametrize("at_once", [1, 50, 10**6])
@pytest.mark.parametrize("most", [1, 5, 60, 500])
@pytest.mark.parametrize("owners", [1, 3, 40])
def test_what_is_barred_might_as_well_not_be_there(tmp_path, monkeypatch, owners, most, at_once):
    """However many photos an owner has: it is looked on until enough of the others' are found."""
    monkeypatch.setattr(candidates, "_AT_ONCE", at_once)
    corpus = draw(400, seed=owners, owners=owners, distinct=300)
    trained, _ = trained_on(corpus, lists=LISTS)
    rows = rows_of(trained, corpus).sorted()
    some = corpus.take(np.arange(25))
    queries = asked(trained, some, 4)
    shard = opened(tmp_path, trained, rows)
    found = first_of(shard, queries, some.photo_id, some.owner, most)
    own = first_of(shard, queries, some.photo_id, None, most)
    for i in range(25):
        for answer, seen in (
            (found, (rows.owner != some.owner[i]) & (rows.photo_id != some.photo_id[i])),
            (own, rows.photo_id != some.photo_id[i]),
        ):
            rest = opened(tmp_path, trained, rows.take(seen))
            alone = queries.take(slice(i, i + 1))
            distance, ids = rest.scan(alone.vectors, alone.lists, alone.near, most)
            there = ids[0] >= 0
            assert np.array_equal(answer.photo_id[i], ids[0])
            assert np.array_equal(answer.distance[i][there], distance[0][there])
            assert np.all(np.isinf(answer.distance[i][~there]))
            assert np.array_equal(rows.photo_id[answer.slot[i][there]], ids[0][there])
            assert np.all(answer.slot[i][~there] == -1)


@pytest.mark.parametrize("owner", [-(2**63), -1, 2**53 + 1, 2**63 - 1])
def test_owners_are_64_bit_hashes(tmp_path, owner):
    drawn = draw(400, seed=1)
    trained, _ = trained_on(drawn, lists=LISTS)
    drawn = drawn.take(np.arange(30))
    corpus = Corpus(drawn.photo_id, drawn.vectors, np.where(np.arange(30) % 3, 0, owner))
    shard = opened(tmp_path, trained, rows_of(trained, corpus).sorted())
    queries = asked(trained, corpus.take(np.arange(2)))
    for theirs, count in ((owner, 20), (owner ^ 1, 30)):
        found = first_of(shard, queries, np.zeros(2, np.int64), np.full(2, theirs), 30)
        assert (found.photo_id >= 0).sum(axis=1).tolist() == [count, count]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(0, 5), st.integers(1, 30), st.integers(0, 99))
def test_parts_together_are_ordered_by_distance_and_id(parts, queries, most, seed):
    rng = np.random.default_rng(seed)
    listed = []
    for number in range(parts):
        distance = np.sort(rng.integers(0, 5, (queries, most)).astype(np.float32), axis=1)
        distance[:, rng.integers(0, most + 1) :] = np.inf
        ids = rng.permuted(np.tile(np.arange(most), (queries, 1)), axis=1) * parts + number
        ids = np.where(np.isinf(distance), -1, ids)
        listed.append(Listed(distance, ids, ids // parts, np.zeros_like(ids)))
    whole = together(listed, most)
    assert whole.photo_id.shape == (queries, most)
    for i in range(queries):
        every = sorted((d, p) for one in listed for d, p in zip(one.distance[i], one.photo_id[i], strict=True))
        there = [(d, p) for d, p in every if p >= 0][:most]
        found = list(zip(whole.distance[i], whole.photo_id[i], strict=True))
        if parts > 1:
            assert found[: len(there)] == there
        assert sorted(p for _, p in found if p >= 0) == sorted(p for _, p in there)
        for photo, slot, part in zip(whole.photo_id[i], whole.slot[i], whole.part[i], strict=True):
            if photo >= 0:
                assert (part, slot) == (photo % parts, photo // parts)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 5), st.integers(1, 9), st.integers(0, 99))
def test_lists_are_moved_to_the_left_in_their_order(n, width, seed):
    rng = np.random.default_rng(seed)
    lists, near = rng.integers(0, 50, (n, width)), rng.random((n, width)).astype(np.float32)
    mine = rng.random((n, width)) < 0.4
    to_lists, to_near = packed(mine, lists, near)
    assert to_lists.shape == to_near.shape == (n, max(1, mine.sum(axis=1).max(initial=0)))
    for i in range(n):
        count = mine[i].sum()
        assert np.array_equal(to_lists[i, :count], lists[i, mine[i]])
        assert np.array_equal(to_near[i, :count], near[i, mine[i]])
        assert np.all(to_lists[i, count:] == -1)
