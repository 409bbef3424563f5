"""One session, and what it must not do: serve another warehouse's tables, or be stopped by who did not make it."""

from __future__ import annotations

from threading import Thread

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.session import session
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import RUNS
from tests.stages import Workshop

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]


def test_each_warehouse_has_its_own_tables_in_one_spark(spark, tmp_path):
    shops = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shops.append(Workshop.opened(tmp_path / name))
        with shops[-1].lake() as lake:
            row = (name, *(None for _ in RUNS.columns[1:]))
            lake.append(RUNS, lake.rows(RUNS, [row]))
    for shop in [*shops, *reversed(shops)]:
        assert [row["run_id"] for row in shop.rows(RUNS)] == [shop.folder.name]


def test_a_session_that_is_running_is_not_stopped(spark, tmp_path):
    config = Workshop.opened(tmp_path).config()

    def work() -> None:
        with session(config, "test") as mine:
            counted.append(Lake(mine).read(RUNS).count())

    counted: list[int] = []
    work()
    thread = Thread(target=work)  # has no active session of its own
    thread.start()
    thread.join()
    assert counted == [0, 0]
    assert spark.range(3).count() == 3
    assert SparkSession.getActiveSession() is not None
