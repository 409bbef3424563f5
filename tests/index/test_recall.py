"""The table of recall and the choice from it; how it is kept in the manifest, and what search makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.library import Library
from im2gps_spark.index.manifest import FORMAT, MANIFEST, Manifest
from im2gps_spark.index.recall import VOTERS, Recall, Row, Setting, choose
from im2gps_spark.index.search import choose_nprobe, setting_in_use
from im2gps_spark.store.folder import DiskFolder


def row(nprobe: int, rerank: int, recall: float, voters: float = 1.0, codes: float = 0.0, vectors: float = 0.0) -> Row:
    return Row.of(Setting(nprobe, rerank), recall, voters, codes, vectors)


# From the cheapest to the dearest, whatever the unit costs.
ROWS = [
    Row(nprobe, rerank, recall, 1.0, 1e3 * nprobe, float(rerank), work_us=work)
    for work, (nprobe, rerank, recall) in enumerate(
        [(1, 100, 0.60), (1, 300, 0.70), (8, 100, 0.90), (8, 300, 0.96), (64, 100, 0.95), (64, 300, 0.99)], 1
    )
]
RECALL = Recall(0.95, 120, 1000, 50, "corpus", "v1", ROWS[3], ROWS)


def manifest(recall: Recall | None = None, **changes: object) -> Manifest:
    fields = {
        "format": FORMAT,
        "index_version": "v1",
        "descriptor": "gist",
        "descriptor_version": "0",
        "collection": "corpus",
        "plan": {"lists": 64},
        "training_sample": "s",
        "shard_of_list": [0] * 64,
        "rows": [2_000_000],
        "delta_rows": [0],
        "owners": "owners.arrow",
        "corpus": "c",
        "files": {},
    }
    return Manifest(**{**fields, **changes}, recall=recall)  # type: ignore[arg-type]


# --- the choice ---


@pytest.mark.parametrize(
    ("target", "chosen"), [(0.5, (1, 100)), (0.65, (1, 300)), (0.95, (8, 300)), (0.97, (64, 300)), (0.999, (64, 300))]
)
def test_the_cheapest_setting_that_reaches_the_target(target, chosen):
    for rows in (ROWS, ROWS[::-1]):
        assert choose(rows, target).setting == Setting(*chosen)


def test_a_target_out_of_reach_gets_the_cheapest_of_the_best():
    rows = [row(1, 100, 0.5), row(4, 100, 0.8, codes=10.0), row(2, 100, 0.8, codes=5.0)]
    assert choose(rows, 0.9).setting == Setting(2, 100)


def test_a_setting_that_lets_fewer_vote_is_no_cheaper_way():
    few = [row(1, 10, 0.99, voters=VOTERS - 0.01), row(2, 10, 0.99, voters=VOTERS, codes=1e9)]
    assert choose(few, 0.9) == few[1]
    # Where none finds enough, those that find most are chosen from.
    fewer = [row(1, 10, 0.99, voters=0.2), row(2, 10, 0.9, voters=0.3), row(4, 10, 0.95, voters=0.3)]
    assert choose(fewer, 0.9) == fewer[1]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([0.5, 0.99, 1.0]), st.integers(0, 9)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([0.1, 0.5, 0.7, 0.9, 1.0]),
)
def test_no_other_setting_that_would_do_is_cheaper(found, target):
    rows = [row(i + 1, 7, recall, voters=voters, codes=codes) for i, (recall, voters, codes) in enumerate(found)]
    chosen = choose(rows, target)
    good = [r for r in rows if r.recall >= target and r.voters >= VOTERS]
    if good:
        assert chosen in good
        assert chosen.work_us == min(r.work_us for r in good)
    elif any(r.voters >= VOTERS for r in rows):
        assert chosen.recall == max(r.recall for r in rows if r.voters >= VOTERS)


def test_work_is_that_of_codes_and_vectors():
    codes, vectors = row(1, 1, 1.0, codes=1e3).work_us, row(1, 1, 1.0, vectors=1e3).work_us
    assert 0 < codes < vectors
    assert row(1, 1, 1.0, codes=2e3, vectors=3e3).work_us == pytest.approx(2 * codes + 3 * vectors)


def test_what_is_said():
    *lines, verdict = RECALL.describe()
    assert lines[0].split() == ["lists", "codes", "R=100", "R=300"]
    assert [line.split() for line in lines[1:]] == [
        ["1", "1,000", "0.6000", "0.7000"],
        ["8", "8,000", "0.9000", "0.9600"],
        ["64", "64,000", "0.9500", "0.9900"],
    ]
    assert verdict.startswith("the cheapest setting for a recall of 0.95: nprobe 8, rerank 300: recall@120 0.9600, ")
    assert RECALL.holds
    short = replace(RECALL, target=0.995, chosen=ROWS[5])
    assert not short.holds
    assert short.verdict().startswith("a recall of 0.995 is out of reach, the promise does not hold; the best there is")
    assert "recall@120 0.9900" in short.verdict()
    starred = replace(RECALL, rows=[replace(ROWS[0], voters=VOTERS - 0.01), *ROWS[1:]]).describe()
    assert starred[1].split() == ["1", "1,000", "0.6000*", "0.7000"]
    assert starred[-2].startswith("* finds fewer than 99% of the neighbours")


# --- in the manifest ---


def test_the_manifest_keeps_the_whole_table(tmp_path):
    folder = DiskFolder(tmp_path)
    manifest(RECALL).write(folder)
    assert Manifest.read(folder) == manifest(RECALL)
    assert json.loads(folder.read(MANIFEST))["recall"]["rows"][0]["recall"] == 0.6


def test_an_open_version_stays_the_same_when_it_is_tuned(tmp_path):
    assert manifest(RECALL).digest == manifest().digest
    assert manifest(RECALL).digest != manifest(RECALL, rows=[5]).digest


def test_a_manifest_from_before_is_read_and_written_as_it_was(tmp_path):
    folder = DiskFolder(tmp_path)
    manifest().write(folder)
    assert "recall" not in json.loads(folder.read(MANIFEST))
    assert Manifest.read(folder).recall is None


@pytest.mark.parametrize("broken", [{}, {"rows": []}, "much", {"rows": [{"nprobe": 1}]}])
def test_a_table_that_is_none_is_refused(tmp_path, broken):
    folder = DiskFolder(tmp_path)
    manifest(RECALL).write(folder)
    fields = json.loads(folder.read(MANIFEST))
    folder.write(MANIFEST, json.dumps({**fields, "recall": broken}).encode())
    with pytest.raises(UsageError, match="holds no index version"):
        Manifest.read(folder)


def test_what_was_measured_is_of_the_version_as_it_was(tmp_path: Path):
    library = Library(tmp_path)
    folder = library.version_folder("v1")
    measured = manifest()
    measured.write(folder)
    library.put_recall(measured, RECALL)
    assert Manifest.read(folder) == manifest(RECALL)
    library.put_recall(measured, RECALL.inherited())  # again, of the version that was measured before
    assert Manifest.read(folder).recall == RECALL.inherited()
    changed = manifest(rows=[1_999_999])
    changed.write(folder)
    with pytest.raises(StageError, match="has changed while it was measured; run tune again"):
        library.put_recall(measured, RECALL)
    assert Manifest.read(folder) == changed


def test_a_later_version_inherits_the_setting_and_not_the_table():
    later = RECALL.inherited()
    assert (later.chosen, later.measured_on, later.target) == (RECALL.chosen, "v1", 0.95)
    assert later.rows == []


# --- in use ---


def test_search_goes_by_what_was_tuned():
    assert setting_in_use(manifest(RECALL), 1000) == Setting(8, 300)
    assert setting_in_use(manifest(RECALL.inherited()), 1000) == Setting(8, 300)
    assert setting_in_use(manifest(RECALL), 200) == Setting(8, 300)


def test_what_is_asked_for_goes_before_what_was_tuned():
    assert setting_in_use(manifest(RECALL), 1000, nprobe=5) == Setting(5, 300)
    assert setting_in_use(manifest(RECALL), 1000, rerank=700) == Setting(8, 700)
    assert setting_in_use(manifest(RECALL), 1000, 5, 700) == Setting(5, 700)


def test_without_tuning_or_for_more_neighbours_the_rule_holds():
    for index, k in ((manifest(), 500), (manifest(), 1000), (manifest(RECALL), 1001)):
        assert setting_in_use(index, k) == Setting(choose_nprobe(64, 2_000_000, k), 3 * k)
