"""Shards that grow: the same answers as of an index built at once, and the same files once the parts are one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.index.deletion import part_rows
from im2gps_spark.index.delta import Change, grown, joined, merges
from im2gps_spark.index.manifest import BASE, DELTA, Manifest
from im2gps_spark.index.moments import Moments
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.search import Index
from im2gps_spark.index.shard import arrow_bytes, faiss_bytes
from im2gps_spark.store.folder import DiskFolder
from tests.index import draw, owners_of, rows_of, trained_on, write_version

CORPUS = draw(300, seed=8, distinct=120)
QUANTIZERS = trained_on(CORPUS, lists=8, shards=3)
ROWS = rows_of(QUANTIZERS[0], CORPUS)
SHARD_OF_LIST = np.array([0, 0, 1, 1, 1, 2, 2, 2])


def version(folder: Path, later: np.ndarray | None = None) -> Manifest:
    return write_version(folder, QUANTIZERS, CORPUS, SHARD_OF_LIST, later)


def answers(folder: Path, k: int) -> list[tuple]:
    """All that a search of each shard tells of some queries."""
    index = Index(DiskFolder(folder))
    told = []
    for shard, which, queries in index.by_shard(index.route(CORPUS.vectors[:20], 5)):
        found = index.search_shard(shard, queries, CORPUS.photo_id[which], CORPUS.owner[which], k)
        told.append((shard, which.tolist(), found.ends.tolist(), *(
            getattr(found.flat, name).tolist() for name in found.flat.__dataclass_fields__
        )))  # fmt: skip
    return told


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.floats(0, 1), st.sampled_from([1, 3, 40, 300]))
def test_a_shard_in_two_parts_answers_as_one(tmp_path_factory, seed, share, k):
    folder = tmp_path_factory.mktemp("versions")
    later = np.random.default_rng(seed).random(len(CORPUS)) < share
    version(folder / "whole")
    version(folder / "parts", later)
    assert answers(folder / "parts", k) == answers(folder / "whole", k)


def test_parts_that_become_one_are_the_files_of_a_build_at_once(tmp_path):
    later = np.random.default_rng(3).random(len(CORPUS)) < 0.4
    whole, parts = version(tmp_path / "whole"), version(tmp_path / "parts", later)
    for shard in range(3):
        assert parts.parts_of(shard) == [BASE, DELTA]
        assert parts.rows_of(shard, BASE) + parts.rows_of(shard, DELTA) == parts.rows[shard] == whole.rows[shard]
        stored = [part_rows(DiskFolder(tmp_path / "parts"), parts, shard, part) for part in (BASE, DELTA)]
        rows = joined(stored)
        data = faiss_bytes(QUANTIZERS[0], whole.lists_of(shard), rows), arrow_bytes(rows)
        assert data[0] == (tmp_path / "whole" / f"shard-000{shard}.faiss").read_bytes()
        assert data[1] == (tmp_path / "whole" / f"shard-000{shard}.arrow").read_bytes()


def test_photos_come_and_go():
    mine = ROWS.sorted()
    parts = [mine.take(np.arange(0, 200)), mine.take(np.arange(200, 280))]
    change = Change(0, mine.take(np.arange(280, 300)), mine.photo_id[[5, 210, 279]])
    now = grown(parts, change)
    assert now.photo_id.tolist() == np.delete(mine.photo_id, [5, 210, 279]).tolist()
    assert np.array_equal(now.codes, np.delete(mine.codes, [5, 210, 279], axis=0))


def test_a_photo_whose_place_has_changed_goes_and_comes_again():
    mine = ROWS.sorted()
    moved = mine.take(np.array([7]))
    moved.latitude[:] = 12.5
    now = grown([mine], Change(0, moved, moved.photo_id))
    assert now.latitude[7] == 12.5
    assert np.array_equal(np.delete(now.latitude, 7), np.delete(mine.latitude, 7))


def test_a_photo_that_is_there_already_is_refused():
    mine = ROWS.sorted()
    with pytest.raises(ValueError, match="stands twice"):
        grown([mine], Change(0, mine.take(np.array([7])), np.zeros(0, np.int64)))


def test_parts_become_one_past_a_share_and_when_the_first_is_touched(tmp_path):
    index = version(tmp_path, np.arange(len(CORPUS)) >= 290)
    own, delta = index.rows_of(0, BASE), index.rows_of(0, DELTA)
    assert own > 50
    assert delta > 0
    none = np.zeros(0, np.int64)
    for more in range(20):
        change = Change(0, ROWS.take(np.arange(more)), none)
        assert merges(index, change, False, 0.1) == (delta + more > 0.1 * own)
        assert merges(index, change, True, 0.1)
    assert merges(index, Change(0, ROWS.take(np.arange(1)), none), False, 0.0)


def test_a_delta_that_has_lost_its_photos_is_no_part(tmp_path):
    index = version(tmp_path, np.arange(len(CORPUS)) >= 290)
    now = index.with_part(0, DELTA, 0, {})
    assert now.parts_of(0) == [BASE]
    assert now.rows[0] == index.rows_of(0, BASE)
    assert set(index.files) - set(now.files) == {"shard-0000.delta.faiss", "shard-0000.delta.arrow"}


def test_moments_add_up():
    vectors = ROWS.vectors
    whole, some = Moments.of(vectors), Moments.of(vectors[:100])
    rest = whole - some
    assert rest.rows == 200
    assert rest.mean == pytest.approx(vectors[100:].astype(float).mean(axis=0), abs=1e-12)
    assert rest.covariance == pytest.approx(np.cov(vectors[100:].astype(float), rowvar=False, bias=True), abs=1e-12)
    again = Moments.from_bytes((some + rest).to_bytes())
    assert again.covariance == pytest.approx(whole.covariance, abs=1e-12)


def test_owners_are_counted_by_their_hashes(tmp_path):
    owners = owners_of(CORPUS)
    (tmp_path / "owners.arrow").write_bytes(owners.to_bytes())
    opened = Owners.opened(tmp_path / "owners.arrow")
    asked = np.array([*owners.owner.tolist(), -999, 2**62])
    expected = [*(np.sum(CORPUS.owner == one) for one in owners.owner), 1, 1]
    assert opened.count(asked).tolist() == expected
    left = opened.without(owners.owner[:2])
    assert left.count(owners.owner[:3]).tolist() == [1, 1, expected[2]]
    nobody = Owners.from_bytes(left.without(left.owner).to_bytes())
    assert nobody.count(asked).tolist() == [1] * len(asked)
