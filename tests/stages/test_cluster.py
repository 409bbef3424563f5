"""The road on a cluster, everything in S3, workers killed in the middle: the tables are those of a quiet run."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from im2gps_spark.cluster import Cluster, standalone, write_code
from im2gps_spark.sample.buckets import make_table_bucket, upload
from im2gps_spark.sample.objects import Server
from im2gps_spark.store.tables import DESCRIPTORS, NEIGHBOURS, OUTCOMES, PHOTOS, POSTERIORS, PRIORS, Table
from tests.conftest import NIGHT
from tests.stages import Road, Workshop
from tests.store.faults import faulty

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

ROOT = "s3://photos/cluster"
PHOTOS_BEFORE = 150
"""So many photos of 440 have been asked for when the first worker is killed."""


class Murderer:
    """Kills a worker in the middle of describe, and another in the middle of geolocate, by what they ask S3 for."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.stage = ""
        self.asked: Counter[str] = Counter()
        self.killed: list[str] = []

    def watch(self, path: str, _time: int) -> None:
        """A fault for the proxy; it does nothing to the answers."""
        kind = "photo" if "/images/" in path else "shard" if path.endswith(".arrow") else "other"
        self.asked[f"{self.stage} {kind}"] += 1
        if self.asked["describe photo"] > PHOTOS_BEFORE:
            self.kill("describe")
        if self.asked["geolocate shard"]:
            self.kill("geolocate")

    def kill(self, stage: str) -> None:
        if stage not in self.killed:
            self.killed.append(stage)
            self.cluster.kill_worker(len(self.killed) - 1)


def test_workers_killed_in_the_middle_of_describe_and_of_geolocate_change_nothing(
    road: Road, objects: Server, tmp_path
):
    upload(road.sample.folder / "photos", f"{ROOT}/photos", objects)
    make_table_bucket("cluster", objects)
    code = write_code(tmp_path / "code.zip")
    with standalone(tmp_path / "cluster", workers=3) as cluster:
        murderer = Murderer(cluster)
        with faulty(objects.endpoint, murderer.watch) as endpoint:
            there = in_s3(tmp_path, objects, endpoint, {"master": cluster.url}, code)
            driver = subprocess.Popen(
                [sys.executable, "-m", "tests.stages.on_cluster", there.file, f"{ROOT}/photos/uploads.tsv"],
                stdout=subprocess.PIPE,
                stderr=(tmp_path / "driver.log").open("wb"),
                text=True,
            )
            assert driver.stdout is not None
            said = []
            for line in driver.stdout:
                said.append(line.strip())
                murderer.stage = said[-1].removeprefix("at ")
            words = (tmp_path / "driver.log").read_text(errors="replace")[-3000:]
            assert driver.wait() == 0, words
    assert said[-1] == "done"
    assert murderer.killed == ["describe", "geolocate"]
    assert [worker.returncode for worker in cluster.workers[:2]] == [-9, -9]

    here = in_s3(tmp_path, objects, objects.endpoint, {}, code)
    for table in (DESCRIPTORS, NEIGHBOURS, POSTERIORS, PRIORS):
        assert here.plain(table) == road.workshop.plain(table), table.name
    for table in (PHOTOS, OUTCOMES):
        assert counted(here, table) == counted(road.workshop, table), table.name


def in_s3(folder: Path, server: Server, endpoint: str, spark: dict[str, Any], code: Path) -> Workshop:
    """A workshop like the road's, with photos, index and tables in S3, its executors on the shipped code."""
    conf = {"spark.executor.memory": "700m", "spark.submit.pyFiles": str(code)} if spark else {}
    made = Workshop.opened(
        folder,
        photos={
            "root": f"{ROOT}/photos",
            "key": "images/{photo_id}.jpg",
            "metadata": [f"{ROOT}/photos/corpus.tsv.gz", f"{ROOT}/photos/corpus-old.tsv"],
        },
        tables={"warehouse": "s3://cluster", "catalog": server.catalog, "signing": "s3tables"},
        s3={"endpoint": endpoint},
        index={"root": f"{ROOT}/index", "cache": str(folder / "cache")},
        geolocate={"exclude_same_owner": True, "night": NIGHT},
        spark=spark,
    )
    with made.file.open("a", encoding="utf-8") as file:
        file.write("[spark.conf]\n" + "".join(f'"{key}" = "{value}"\n' for key, value in conf.items()))
    return made


def counted(workshop: Workshop, table: Table) -> Counter[tuple[object, ...]]:
    """How many rows have an outcome: of the stages that ran in both places."""
    rows = workshop.rows(table, "stage NOT IN ('evaluate', 'atlas')" if table is OUTCOMES else "true")
    return Counter((row.get("stage"), row["collection"], row["photo_id"], row["status"], row["reason"]) for row in rows)
