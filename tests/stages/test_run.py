"""Counts that don't add up stop a stage before it writes anything."""

from __future__ import annotations

from collections import Counter
from importlib import import_module

import pytest

from im2gps_spark.errors import StageError
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.stages.run import Tally


def tally(rows_in: int, **counts: int) -> Tally:
    made = Tally(rows_in)
    made.outcomes.update({(status, None if status == Status.OK else Reason.VIDEO): n for status, n in counts.items()})
    return made


@pytest.mark.parametrize("counts", [{"ok": 3}, {"ok": 1, "rejected": 1, "retry": 1}, {"rejected": 3}])
def test_counts_that_add_up_pass(counts):
    tally(3, **counts).check("ingest")


@pytest.mark.parametrize("counts", [{}, {"ok": 2}, {"ok": 4}, {"ok": 1, "rejected": 1}])
def test_rows_that_were_lost_or_doubled_are_refused(counts):
    with pytest.raises(StageError, match=r"ingest: .*3 in = "):
        tally(3, **counts).check("ingest")


def test_a_tally_says_what_became_of_the_rows():
    assert str(tally(6, ok=3, rejected=2, retry=1)).startswith("6 in = 3 ok + 2 rejected + 1 to retry (")


def test_the_reasons_are_a_table_the_most_frequent_first():
    made = Tally(12, Counter({("ok", None): 3, ("rejected", "video"): 2, ("retry", "read_failed"): 7}))
    assert made.reasons() == [
        "retry     read_failed          7  " + Reason.READ_FAILED.meaning,
        "rejected  video                2  the line describes a video",
    ]
    assert Tally(3, Counter({("ok", None): 3})).reasons() == []


def on_rows(step):
    """A step of the driver whose rows lose one."""
    return lambda *arguments: (rows := step(*arguments)).limit(rows.count() - 1)


def on_rows_twice(step):
    """A step of the driver whose rows hold one of them twice."""
    return lambda *arguments: (rows := step(*arguments)).union(rows.limit(1))


def on_batches(step):
    """A step of the workers whose batches lose a row each."""

    def spoilt(batches, **settings):
        for batch in step(batches, **settings):
            yield batch.slice(1)

    return spoilt


@pytest.mark.spark
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("stage", "step", "spoil"),
    [
        ("ingest", "_without_repeats", on_rows),
        ("ingest", "_without_repeats", on_rows_twice),
        ("describe", "_work", on_batches),
        ("geolocate", "_answers", on_rows),
    ],
)
def test_rows_that_are_lost_on_the_way_leave_everything_as_it_was(road, monkeypatch, stage, step, spoil):
    module = import_module(f"im2gps_spark.stages.{stage}")
    monkeypatch.setattr(module, step, spoil(getattr(module, step)))
    before = road.workshop.files()
    # Settings of which nothing is done yet.
    with pytest.raises(StageError, match=r"rows were lost or doubled|answers came out; nothing was written"):
        road.workshop.run(stage, "describe.descriptors=gist", "geolocate.night=2026-11-25")
    assert road.workshop.files() == before
