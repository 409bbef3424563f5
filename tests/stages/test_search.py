"""Queries x shards without Spark: what one worker packs, another takes apart unchanged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from im2gps_spark.config import GeolocateSection
from im2gps_spark.index.search import Index
from im2gps_spark.neighbours import Candidates, merge
from im2gps_spark.stages import search
from im2gps_spark.store.folder import DiskFolder
from tests.index import Corpus, draw, trained_on, write_version

CORPUS = draw(300, seed=4)
K = 12


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = tmp_path_factory.mktemp("search") / "version"
    write_version(made, trained_on(CORPUS, lists=8, shards=3), CORPUS)
    return Index(DiskFolder(made))


def batch_of(photos: Corpus) -> pa.RecordBatch:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(photos.vectors.ravel()), photos.vectors.shape[1])
    return pa.RecordBatch.from_arrays(
        [pa.array(photos.photo_id), vectors, pa.array(photos.owner)], names=["photo_id", "vector", "owner"]
    )


def located(index: Index, photos: Corpus, *, same_owner: bool = True, nprobe: int = 8) -> pa.Table:
    settings = GeolocateSection(k=K, exclude_same_owner=same_owner)
    routed = search._route(iter([batch_of(photos)]), lambda: index, nprobe)
    return pa.Table.from_batches(search._search(routed, lambda: index, settings, 3 * K)).sort_by(
        [("photo_id", "ascending"), ("shard", "ascending")]
    )


@pytest.mark.parametrize("same_owner", [True, False])
def test_neighbours_are_handed_on_with_all_that_is_known_of_them(index, same_owner):
    asked = CORPUS.take(np.argsort(CORPUS.photo_id)[:9])
    found = located(index, asked, same_owner=same_owner)
    answers = list(search.by_photo(iter(found.to_batches(max_chunksize=4))))
    assert [photo for photo, *_ in answers] == asked.photo_id.tolist()

    queries = index.route(asked.vectors, 8)
    owners = asked.owner if same_owner else None
    straight: list[list[Candidates]] = [[] for _ in range(9)]
    for shard, which, mine in index.by_shard(queries):
        barred = None if owners is None else owners[which]
        for i, part in zip(which, index.search_shard(shard, mine, asked.photo_id[which], barred, K), strict=True):
            straight[i].append(part)
    for i, (_, parts, mean, spread) in enumerate(answers):
        assert (mean, spread) == (queries.mean[i], queries.spread[i])
        got, expected = merge(parts, K), merge(straight[i], K)
        for name in Candidates.__dataclass_fields__:
            assert np.array_equal(getattr(got, name), getattr(expected, name))
            assert getattr(got, name).dtype == getattr(expected, name).dtype
        assert len(set(got.accuracy.tolist())) > 3


def test_a_few_queries_at_a_time_give_the_same_answers(index, monkeypatch):
    queries = CORPUS.take(np.arange(50))
    together = located(index, queries)
    monkeypatch.setattr(search, "queries_at_once", lambda *_: 7)
    assert located(index, queries).equals(together)


def test_a_query_takes_with_it_the_lists_of_the_shard_only(index):
    (routed,) = search._route(iter([batch_of(CORPUS.take(np.arange(40)))]), lambda: index, 5)
    shard_of_list = np.array(index.manifest.shard_of_list)
    pairs = set()
    for row in routed.to_pylist():
        lists = np.frombuffer(row["lists"], np.int64)
        assert len(lists) == len(row["near"]) // 4 > 0
        assert set(shard_of_list[lists]) == {row["shard"]}
        pairs |= {(row["photo_id"], number) for number in lists.tolist()}
    assert len(pairs) == 40 * 5
