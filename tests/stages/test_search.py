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
from tests.index import draw, trained_on, write_version

CORPUS = draw(300, seed=4)
K = 12


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = tmp_path_factory.mktemp("search") / "version"
    write_version(made, trained_on(CORPUS, lists=8, shards=3), CORPUS)
    return Index(DiskFolder(made))


@pytest.mark.parametrize("same_owner", [True, False])
def test_neighbours_are_handed_on_with_all_that_is_known_of_them(index, same_owner):
    asked = CORPUS.take(np.argsort(CORPUS.photo_id)[:9])
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(asked.vectors.ravel()), asked.vectors.shape[1])
    batch = pa.RecordBatch.from_arrays(
        [pa.array(asked.photo_id), vectors, pa.array(asked.owner)], names=["photo_id", "vector", "owner"]
    )
    settings = GeolocateSection(k=K, exclude_same_owner=same_owner)
    routed = search._route(iter([batch]), lambda: index, 8)
    found = pa.Table.from_batches(search._search(routed, lambda: index, settings)).sort_by(
        [("photo_id", "ascending"), ("shard", "ascending")]
    )
    answers = list(search.by_photo(iter(found.to_batches(max_chunksize=4))))
    assert [photo for photo, *_ in answers] == asked.photo_id.tolist()

    queries = index.route(asked.vectors, 8)
    for (photo, parts, mean, spread), query, owner in zip(answers, queries, asked.owner.tolist(), strict=True):
        barred = [(photo, owner if same_owner else None)]
        straight = [index.search_shard(s, [query], barred, K)[0] for s in index.shards_of(query.lists)]
        assert (mean, spread) == (query.mean, query.spread)
        got, expected = merge(parts, K), merge(straight, K)
        for name in Candidates.__dataclass_fields__:
            assert np.array_equal(getattr(got, name), getattr(expected, name))
            assert getattr(got, name).dtype == getattr(expected, name).dtype
        assert len(set(got.accuracy.tolist())) > 3
