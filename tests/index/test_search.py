"""Search shard by shard: the same answer as one index, and as none at all where everything is looked at."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.errors import StageError
from im2gps_spark.index import search
from im2gps_spark.index import shard as shard_files
from im2gps_spark.index.plan import Plan
from im2gps_spark.index.search import Index, choose_nprobe
from im2gps_spark.index.shard import Shard, arrow_bytes, faiss_bytes
from im2gps_spark.index.training import Trained
from im2gps_spark.neighbours import Candidates, merge
from im2gps_spark.store.folder import DiskFolder
from tests.index import Corpus, draw, rows_of, trained_on, write_version

EVERYTHING = 10**9


@dataclass(frozen=True)
class Small:
    """A corpus, and its index."""

    corpus: Corpus
    index: Index

    def ask(
        self,
        vectors: np.ndarray,
        k: int,
        *,
        nprobe: int = EVERYTHING,
        photos: Sequence[int] | None = None,
        owners: Sequence[int] | None = None,
        rerank: int = 0,
    ) -> list[Candidates]:
        """The k nearest of each query, as geolocate finds them: routed, searched shard by shard, merged."""
        queries = self.index.route(vectors, nprobe)
        own = np.array(photos or [0] * len(queries), np.int64)
        theirs = None if owners is None else np.array(owners, np.int64)
        parts: list[list[Candidates]] = [[] for _ in range(len(queries))]
        for shard, which, mine in self.index.by_shard(queries):
            barred = None if theirs is None else theirs[which]
            found = self.index.search_shard(shard, mine, own[which], barred, k, rerank)
            for i, part in zip(which.tolist(), found, strict=True):
                parts[i].append(part)
        return [merge(part, k) for part in parts]


def made(folder: Path, corpus: Corpus, **options: int) -> Small:
    write_version(folder / "version", trained_on(corpus, **options), corpus)
    return Small(corpus, Index(DiskFolder(folder / "version")))


def brute_force(
    small: Small, query: np.ndarray, k: int, photo: int = 0, owner: int | None = None
) -> list[tuple[int, float]]:
    """Ids and distances by looking at every kept vector."""
    rows = rows_of(small.index.trained, small.corpus).sorted()
    seen = (rows.photo_id != photo) & ((rows.owner != owner) if owner is not None else True)
    rotated = small.index.trained.rotate(query[None])[0]
    offset = rows.vectors[seen].astype(np.float32) - rotated
    distance = np.sqrt((offset.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
    rank = np.lexsort((rows.photo_id[seen], distance))[:k]
    return list(zip(rows.photo_id[seen][rank].tolist(), distance[rank].tolist(), strict=True))


def pairs(found: Candidates) -> list[tuple[int, float]]:
    return list(zip(found.photo_id.tolist(), found.distance.tolist(), strict=True))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return made(tmp_path_factory.mktemp("small"), draw(900, seed=2), lists=25, shards=4)


# --- against brute force ---


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 150),
    share=st.sampled_from([1.0, 0.5, 0.1]),
    lists=st.integers(0, 12),
    shards=st.integers(0, 8),
    k=st.integers(1, 200),
    seed=st.integers(0, 99),
    same_owner=st.booleans(),
)
def test_with_every_list_and_every_code_it_is_exact(n, share, lists, shards, k, seed, same_owner):
    corpus = draw(n, dimension=6, seed=seed, distinct=max(1, int(share * n)), owners=4)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_RERANK", EVERYTHING)
        small = made(Path(folder), corpus, lists=lists, shards=shards)
        asked = corpus.take(np.arange(min(n, 8)))
        photos = asked.photo_id.tolist()
        owners = asked.owner.tolist() if same_owner else None
        found = small.ask(asked.vectors, k, photos=photos, owners=owners)
        for i, answer in enumerate(found):
            owner = owners[i] if owners else None
            assert pairs(answer) == brute_force(small, asked.vectors[i], k, photos[i], owner)


@pytest.mark.parametrize("k", [1, 7, 299, 300, 301, 5000])
def test_where_three_codes_a_neighbour_are_all_codes_it_is_exact(tmp_path, k):
    small = made(tmp_path, draw(300, seed=3), shards=3)
    queries = draw(5, seed=4).vectors
    for query, found in zip(queries, small.ask(queries, max(k, 100)), strict=True):
        assert pairs(found)[:k] == brute_force(small, query, k)
        assert len(found) == min(max(k, 100), 300)


@pytest.mark.parametrize("k", [5, 50])
def test_repeated_pictures_are_ordered_by_id(tmp_path, k):
    small = made(tmp_path, draw(600, seed=5, distinct=6), lists=20, shards=5)
    queries = small.corpus.vectors[:4]
    for query, found in zip(queries, small.ask(queries, k), strict=True):
        expected = brute_force(small, query, k)
        assert len({distance for _, distance in expected}) == 1
        assert found.photo_id.tolist() == [photo for photo, _ in expected]


def test_recall_of_the_first_codes_re_ranked(small):
    queries = draw(40, seed=2).vectors
    hits = [
        len({photo for photo, _ in brute_force(small, query, 20)} & set(found.photo_id.tolist()))
        for query, found in zip(queries, small.ask(queries, 20), strict=True)
    ]
    assert np.mean(hits) / 20 > 0.7


# --- against one index ---


def monolith(small: Small) -> Trained:
    """One FAISS index of the same quantizers, with all photos."""
    whole = Trained.from_bytes(small.index.trained.to_bytes())
    rows = rows_of(whole, small.corpus).sorted()
    lists: Any = whole.ivf.invlists
    for number in range(whole.ivf.nlist):
        here = np.flatnonzero(rows.lists == number)
        ids, codes = np.ascontiguousarray(rows.photo_id[here]), np.ascontiguousarray(rows.codes[here])
        if len(here):
            lists.add_entries(number, len(here), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    whole.ivf.ntotal = len(small.corpus)
    whole.ivf.use_precomputed_table = -1
    return whole


def by_code(index: Any, vector: np.ndarray, lists: np.ndarray, near: np.ndarray) -> list[tuple[float, int]]:
    """Everything in some lists of an index, as its codes order it; then ties by id."""
    index.nprobe = len(lists)
    distance, ids = index.search_preassigned(vector[None], index.ntotal, lists[None], near[None])
    return sorted(pair for pair in zip(distance[0].tolist(), ids[0].tolist(), strict=True) if pair[1] >= 0)


@pytest.mark.parametrize("nprobe", [1, 3, 11, 25])
@pytest.mark.parametrize("shards", [1, 2, 7, 25])
def test_distances_are_those_of_one_index_bit_for_bit(tmp_path, nprobe, shards):
    small = made(tmp_path, draw(900, seed=6, distinct=700), lists=25, shards=shards)
    whole = monolith(small)
    assert small.index.manifest.shards == shards
    queries = small.index.route(draw(12, seed=7).vectors, nprobe)
    merged: list[list[tuple[float, int]]] = [[] for _ in range(12)]
    for number, which, mine in small.index.by_shard(queries):
        (shard,) = small.index.parts(number)
        for i, vector, lists, near in zip(which.tolist(), mine.vectors, mine.lists, mine.near, strict=True):
            there = lists >= 0
            merged[i] += by_code(shard.index, vector, np.searchsorted(shard.lists, lists[there]), near[there])
    for i in range(12):
        assert sorted(merged[i]) == by_code(whole.ivf, queries.vectors[i], queries.lists[i], queries.near[i])


@pytest.mark.parametrize("nprobe", [1, 3, 11, 25])
@pytest.mark.parametrize("most", [1, 10, 40, 900])
def test_candidates_of_the_shards_are_those_of_one_index(small, nprobe, most):
    whole = monolith(small)
    queries = small.index.route(draw(30, seed=8).vectors, nprobe)
    for number in range(4):
        (shard,) = small.index.parts(number)
        held = set(shard.photo_id.tolist())
        distance, ids = shard.scan(queries.vectors, queries.lists, queries.near, most)
        for i in range(30):
            every = by_code(whole.ivf, queries.vectors[i], queries.lists[i], queries.near[i])
            mine = [pair for pair in zip(distance[i].tolist(), ids[i].tolist(), strict=True) if pair[1] >= 0]
            assert mine == [pair for pair in every if pair[1] in held][:most]


def divided(folder: Path, shard: Shard, trained: Trained, corpus: Corpus, part: np.ndarray) -> list[Shard]:
    """A shard's photos again, in several parts over the same lists: as it is after some nights."""
    rows, parts = rows_of(trained, corpus), []
    for number in np.unique(part):
        mine = rows.take((part == number) & np.isin(rows.photo_id, shard.photo_id)).sorted()
        codes, photos = folder / f"{number}.faiss", folder / f"{number}.arrow"
        codes.write_bytes(faiss_bytes(trained, shard.lists, mine))
        photos.write_bytes(arrow_bytes(mine))
        parts.append(Shard(codes, photos, shard.lists))
    return parts


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 120),
    share=st.sampled_from([1.0, 0.3, 0.05]),
    lists=st.integers(0, 10),
    shards=st.integers(1, 8),
    nprobe=st.sampled_from([1, 3, EVERYTHING]),
    most=st.integers(1, 130),
    many=st.sampled_from([0, 2, 16, EVERYTHING]),
    seed=st.integers(0, 99),
)
def test_shards_together_have_the_candidates_of_one(n, share, lists, shards, nprobe, most, many, seed):
    """The same distances, bit for bit, and of equal ones the least ids, wherever they are cut off."""
    corpus = draw(n, dimension=6, seed=seed, distinct=max(1, int(share * n)))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        one, several = (made(Path(folder) / str(count), corpus, lists=lists, shards=count) for count in (1, shards))
        queries = one.index.route(corpus.vectors[:6], nprobe)
        found: list[list[tuple[float, int]]] = [[] for _ in range(len(queries))]
        for number, which, mine in several.index.by_shard(queries):
            scanned = several.index.parts(number)[0].scan(mine.vectors, mine.lists, mine.near, most)
            for i, distance, ids in zip(which.tolist(), *scanned, strict=True):
                found[i] += [pair for pair in zip(distance.tolist(), ids.tolist(), strict=True) if pair[1] >= 0]
        # Whichever way the first are selected.
        patch.setattr(shard_files, "_MANY", many)
        distance, ids = one.index.parts(0)[0].scan(queries.vectors, queries.lists, queries.near, most)
        for i in range(len(queries)):
            expected = [pair for pair in zip(distance[i].tolist(), ids[i].tolist(), strict=True) if pair[1] >= 0]
            assert sorted(found[i])[:most] == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 120),
    share=st.sampled_from([1.0, 0.3, 0.05]),
    count=st.integers(1, 5),
    shards=st.integers(1, 3),
    k=st.integers(1, 60),
    rerank=st.sampled_from([0, 1, 60]),
    seed=st.integers(0, 99),
    same_owner=st.booleans(),
)
def test_several_parts_of_a_shard_answer_as_one(n, share, count, shards, k, rerank, seed, same_owner):
    corpus = draw(n, dimension=6, seed=seed, distinct=max(1, int(share * n)), owners=3)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        small = made(Path(name), corpus, lists=5, shards=shards)
        asked = corpus.take(np.arange(min(n, 6)))
        photos, owners = asked.photo_id.tolist(), asked.owner.tolist() if same_owner else None

        def answers() -> list[Candidates]:
            return small.ask(asked.vectors, k, nprobe=3, photos=photos, owners=owners, rerank=rerank)

        whole = answers()
        part = np.random.default_rng(seed).integers(0, count, n)
        parts = []
        for number in range(small.index.manifest.shards):
            (Path(name) / str(number)).mkdir()
            shard = small.index.parts(number)[0]
            parts.append(divided(Path(name) / str(number), shard, small.index.trained, corpus, part))
        patch.setattr(small.index, "parts", lambda number: parts[number])
        for ours, theirs in zip(answers(), whole, strict=True):
            for column in Candidates.__dataclass_fields__:
                assert np.array_equal(getattr(ours, column), getattr(theirs, column))


def test_of_each_shard_as_many_are_compared_again_as_are_wanted(small):
    queries = small.index.route(draw(20, seed=16).vectors, 25)
    nobody = np.zeros(20, np.int64)
    for number in range(4):
        _, first = small.index.parts(number)[0].scan(queries.vectors, queries.lists, queries.near, 60)
        for rerank, count in ((7, 7), (30, 20), (0, 20)):
            found = small.index.search_shard(number, queries, nobody, None, 20, rerank)
            assert [len(answer) for answer in found] == [count] * 20
            for answer, ids in zip(found, first, strict=True):
                assert set(answer.photo_id.tolist()) <= set(ids[: rerank or 60].tolist())


def test_every_photo_is_in_one_shard(small):
    manifest = small.index.manifest
    held = [part.photo_id.tolist() for number in range(manifest.shards) for part in small.index.parts(number)]
    assert [len(ids) for ids in held] == manifest.rows
    assert sorted(photo for ids in held for photo in ids) == sorted(small.corpus.photo_id.tolist())


# --- who has no say ---


@pytest.mark.parametrize("nprobe", [2, 25])
def test_a_photo_is_not_its_own_neighbour(small, nprobe):
    asked = small.corpus.take(np.arange(200))
    for photo, found in zip(
        asked.photo_id, small.ask(asked.vectors, 5, nprobe=nprobe, photos=asked.photo_id.tolist()), strict=True
    ):
        assert len(found) == 5
        assert photo not in found.photo_id


def test_a_photo_that_is_not_excluded_is_its_own_nearest(small):
    asked = small.corpus.take(np.arange(50))
    found = small.ask(asked.vectors, 5)
    assert [answer.photo_id[0] for answer in found] == asked.photo_id.tolist()


def without_owner(folder: Path, small: Small, owner: int) -> Small:
    """The index of the others' photos, with the same quantizers and grouping."""
    others = small.corpus.take(small.corpus.owner != owner)
    manifest = small.index.manifest
    quantizers = small.index.trained, Plan(**manifest.plan)
    write_version(folder / "version", quantizers, others, np.array(manifest.shard_of_list))
    return Small(others, Index(DiskFolder(folder / "version")))


@pytest.mark.parametrize("nprobe", [3, 25])
@pytest.mark.parametrize("k", [1, 5, 40])
def test_an_excluded_owner_might_as_well_not_be_there(tmp_path, small, nprobe, k):
    owner = int(small.corpus.owner[0])
    own = small.corpus.take(small.corpus.owner == owner)
    assert len(own) > 50
    others = without_owner(tmp_path, small, owner)
    asked = own.take(np.arange(30))
    found = small.ask(asked.vectors, k, nprobe=nprobe, photos=asked.photo_id.tolist(), owners=[owner] * 30)
    assert [pairs(answer) for answer in found] == [
        pairs(answer) for answer in others.ask(asked.vectors, k, nprobe=nprobe)
    ]
    assert not {photo for answer in found for photo in answer.photo_id.tolist()} & set(own.photo_id.tolist())


def test_an_answer_does_not_depend_on_the_queries_beside_it(small):
    """Partitions decide which queries come together: one whose owner has many photos must not help the others."""
    asked = small.corpus.take(np.arange(60))
    photos = asked.photo_id.tolist()
    stranger = int(small.corpus.owner.max()) + 1
    owners = [int(owner) if i % 3 == 0 else stranger for i, owner in enumerate(asked.owner)]
    together = small.ask(asked.vectors, 4, photos=photos, owners=owners)
    for i in range(60):
        alone = small.ask(asked.vectors[i : i + 1], 4, photos=photos[i : i + 1], owners=owners[i : i + 1])
        assert pairs(alone[0]) == pairs(together[i])


def test_a_corpus_of_one_owner_leaves_its_owner_without_neighbours(tmp_path):
    small = made(tmp_path, draw(80, seed=9, owners=1))
    owner = int(small.corpus.owner[0])
    assert [len(answer) for answer in small.ask(small.corpus.vectors[:3], 5, owners=[owner] * 3)] == [0] * 3
    assert [len(answer) for answer in small.ask(small.corpus.vectors[:3], 5, owners=[owner + 1] * 3)] == [5] * 3


# --- edges ---


def test_one_photo_is_a_corpus(tmp_path):
    small = made(tmp_path, draw(1, seed=1))
    photo = int(small.corpus.photo_id[0])
    assert small.ask(small.corpus.vectors, 10)[0].photo_id.tolist() == [photo]
    assert len(small.ask(small.corpus.vectors, 10, photos=[photo])[0]) == 0


def test_lists_and_shards_without_photos(tmp_path):
    # Two pictures many times: most lists are empty, and with them whole shards.
    small = made(tmp_path, draw(600, seed=10, distinct=2), lists=20, shards=10)
    assert small.index.manifest.rows.count(0) >= 5
    found = small.ask(small.corpus.vectors[:2], 700)
    assert [len(answer) for answer in found] == [600, 600]


def test_no_queries(small):
    nobody = small.index.route(np.zeros((0, 24), np.float32), 5)
    assert len(nobody) == 0
    assert list(small.index.by_shard(nobody)) == []
    assert len(small.index.search_shard(0, nobody, np.zeros(0, np.int64), None, 5)) == 0


def test_neighbours_bring_what_is_known_of_them(small):
    (found,) = small.ask(small.corpus.vectors[:1], 30)
    rows = rows_of(small.index.trained, small.corpus)
    place = {photo: i for i, photo in enumerate(rows.photo_id.tolist())}
    which = np.array([place[photo] for photo in found.photo_id.tolist()])
    assert np.array_equal(found.latitude, rows.latitude[which])
    assert np.array_equal(found.longitude, rows.longitude[which])
    assert np.array_equal(found.owner_photos, [np.sum(rows.owner == owner) for owner in rows.owner[which]])
    assert np.array_equal(found.accuracy, rows.accuracy[which])
    assert found.accuracy.dtype == np.int8
    assert len(set(found.accuracy.tolist())) > 5
    assert {value.dtype.kind for value in (found.latitude, found.owner_photos, found.distance)} == {"f"}


# --- routing ---


def test_queries_are_routed_to_their_nearest_lists(small):
    vectors = draw(20, seed=11).vectors
    centroids = small.index.trained.centroids
    shard_of_list = np.array(small.index.manifest.shard_of_list)
    queries = small.index.route(vectors, 4)
    for i in range(20):
        assert np.array_equal(queries.vectors[i], small.index.trained.rotate(vectors[i : i + 1])[0])
        distance = ((centroids - queries.vectors[i]) ** 2).sum(axis=1)
        assert np.array_equal(queries.lists[i], np.argsort(distance)[:4])
        assert queries.near[i] == pytest.approx(np.sort(distance)[:4], abs=1e-5)
    visited: list[list[tuple[int, float]]] = [[] for _ in range(20)]
    for number, which, mine in small.index.by_shard(queries):
        assert np.array_equal(mine.vectors, queries.vectors[which])
        assert np.array_equal(mine.spread, queries.spread[which])
        for i, lists, near in zip(which.tolist(), mine.lists, mine.near, strict=True):
            there = lists >= 0
            assert there[0]
            assert np.all(shard_of_list[lists[there]] == number)
            visited[i] += zip(lists[there].tolist(), near[there].tolist(), strict=True)
    for i in range(20):
        assert sorted(visited[i]) == sorted(zip(queries.lists[i].tolist(), queries.near[i].tolist(), strict=True))


def test_a_query_knows_its_similarities_over_the_corpus(small):
    kept = rows_of(small.index.trained, small.corpus).vectors.astype(np.float64)
    queries = small.index.route(draw(20, seed=12).vectors, 1)
    for i in range(20):
        cosine = kept @ queries.vectors[i].astype(np.float64)
        assert queries.mean[i] == pytest.approx(cosine.mean(), abs=1e-9)
        assert queries.spread[i] == pytest.approx(cosine.std(), abs=1e-9)


def test_a_corpus_of_one_picture_has_no_spread(tmp_path):
    small = made(tmp_path, draw(40, seed=13, distinct=1))
    assert small.index.route(small.corpus.vectors[:2], 1).spread == pytest.approx([0, 0], abs=1e-3)


def test_a_query_is_routed_alike_in_any_company(small):
    vectors = small.corpus.vectors
    together = small.index.route(vectors, 3)
    for size in (1, 7):
        for begin in range(0, 35, size):
            alone = small.index.route(vectors[begin : begin + size], 3)
            company = together.take(slice(begin, begin + size))
            for name in ("vectors", "mean", "spread"):
                assert np.array_equal(getattr(alone, name), getattr(company, name))


def test_a_version_is_opened_once_a_process(small):
    folder, digest = small.index.folder, small.index.manifest.digest
    assert Index.opened(folder, digest) is Index.opened(DiskFolder(Path(str(folder))), digest)
    with pytest.raises(StageError, match="has changed while it was in use"):
        Index.opened(folder, "of another day")
    assert small.index.parts(1)[0] is small.index.parts(1)[0]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 40_000), st.integers(0, 10**8), st.integers(1, 100_000))
def test_lists_enough_are_visited(lists, rows, k):
    nprobe = choose_nprobe(lists, rows, k)
    assert 1 <= nprobe <= lists
    if rows <= 50_000:
        assert nprobe == lists
    elif nprobe < lists:
        assert nprobe >= 16
        assert nprobe * rows >= 20 * k * lists
        assert nprobe == 16 or (nprobe - 1) * rows < 20 * k * lists


# --- merge ---

DISTANCES = st.sampled_from([0.0, 0.5, np.nextafter(0.5, 1), 1.0, 2.0])


def candidates(some: Sequence[tuple[float, int]]) -> Candidates:
    distance = np.array([d for d, _ in some], np.float64)
    photo = np.array([p for _, p in some], np.int64)
    owner_photos, accuracy = (photo % 5).astype(np.float64), (photo % 17).astype(np.int8)
    return Candidates(photo, distance, photo / 2.0, -photo / 2.0, owner_photos, accuracy)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(DISTANCES, st.integers(2**53, 2**53 + 60)), unique_by=lambda pair: pair[1], max_size=40),
    st.integers(1, 5),
    st.integers(0, 50),
)
def test_parts_are_merged_by_distance_and_id(some, parts, k):
    merged = merge([candidates(some[i::parts]) for i in range(parts)], k)
    whole = candidates(sorted(some)[:k])
    for name in Candidates.__dataclass_fields__:
        assert np.array_equal(getattr(merged, name), getattr(whole, name))
        assert getattr(merged, name).dtype == getattr(whole, name).dtype


def test_nothing_merged_is_nothing():
    assert len(merge([], 5)) == 0
    assert len(merge([Candidates.none(), Candidates.none()], 5)) == 0
    assert merge([], 5).photo_id.dtype == np.int64
    assert merge([], 5).accuracy.dtype == np.int8
