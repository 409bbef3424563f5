"""Photos in S3, by a real server: the tables are those of the same photos in a folder, whatever befalls the answers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.sample.objects import Server, serving
from im2gps_spark.store import s3
from im2gps_spark.store.settings import S3Settings
from im2gps_spark.store.tables import DESCRIPTORS, OUTCOMES, PHOTOS
from tests.stages import Sample, Workshop
from tests.store.faults import faulty

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

ROOT = "s3://photos/sample of ü"


@dataclass(frozen=True)
class Shelf:
    """The sample's uploads, in a folder and in a bucket."""

    sample: Sample
    server: Server

    def ingested(self, folder: Path, root: str, endpoint: str = "") -> Workshop:
        """A workshop whose photos lie below a root, and their metadata with them."""
        folder.mkdir()
        metadata = f"{root}/uploads.tsv" if root == ROOT else str(self.sample.folder / "photos" / "uploads.tsv")
        photos = {
            "collection": "uploads",
            "root": root,
            "key": "images/{photo_id}.jpg",
            "metadata": [metadata],
        }
        describe = {"descriptors": ["gist"], "retry_deadline_s": 10.0, "max_failure_rate": 0.5}
        store = {"endpoint": endpoint or self.server.endpoint}
        made = Workshop.opened(folder, photos=photos, describe=describe, s3=store)
        made.run("ingest")
        return made


@pytest.fixture(scope="module")
def shelf(spark: SparkSession, objects: Server, sample: Sample) -> Shelf:
    """With every picture of the sample in the bucket."""
    store = s3.client(S3Settings(endpoint=objects.endpoint))
    root = sample.folder / "photos"

    def put(file: Path) -> None:
        _, key = s3.bucket_and_key(f"{ROOT}/{file.relative_to(root)}")
        store.put_object(Bucket="photos", Key=key, Body=file.read_bytes())

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, (file for file in root.rglob("*") if file.is_file())))
    return Shelf(sample, objects)


@pytest.fixture(scope="module")
def in_folder(shelf: Shelf, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = shelf.ingested(tmp_path_factory.mktemp("shelf") / "folder", str(shelf.sample.folder / "photos"))
    made.run("describe")
    return made


def found(workshop: Workshop) -> tuple[list[tuple], list[tuple]]:
    """What a workshop made of its photos."""
    vectors = [(r["photo_id"], r["version"], tuple(r["vector"])) for r in workshop.rows(DESCRIPTORS)]
    outcomes = workshop.rows(OUTCOMES, "stage = 'describe'")
    return sorted(vectors), sorted((r["photo_id"], r["status"], r["reason"] or "") for r in outcomes)


def test_the_tables_are_those_of_the_same_photos_in_a_folder(shelf, in_folder, tmp_path):
    there = shelf.ingested(tmp_path / "bucket", ROOT)
    there.run("describe")
    assert found(there) == found(in_folder)
    ours, theirs = (
        [(row["photo_id"], row["status"], row["reason"]) for row in workshop.rows(PHOTOS)]
        for workshop in (there, in_folder)
    )
    assert sorted(ours, key=repr) == sorted(theirs, key=repr)
    assert {row["uri"].startswith(f"{ROOT}/images/") for row in there.rows(PHOTOS, "status = 'ok'")} == {True}
    reasons = {reason for _, status, reason in found(there)[1] if status == Status.REJECTED}
    assert reasons >= {Reason.MISSING_FILE, Reason.TRUNCATED}


def at_random(share: float, what: str) -> Callable[[str, int], str | None]:
    """The same answers each time, drawn by their path."""
    return lambda path, time: what if crc32(f"{path} {time}".encode()) < share * 2**32 else None


@pytest.mark.parametrize("what", ["503", "cut", "reset"])
def test_faults_that_pass_leave_no_trace(shelf, in_folder, tmp_path, what):
    with faulty(shelf.server.endpoint, at_random(0.3, what)) as endpoint:
        there = shelf.ingested(tmp_path / "bucket", ROOT, endpoint)
        there.run("describe")
    assert found(there) == found(in_folder)


def test_what_does_not_pass_in_time_is_taken_up_by_the_next_run_and_nothing_else_is(shelf, in_folder, tmp_path):
    down = [True]
    unlucky = {row["photo_id"] for row in in_folder.rows(DESCRIPTORS)[:3]}
    asked = []

    def fault(path: str, time: int) -> str | None:
        asked.append(path)
        return "503" if down[0] and any(str(photo) in path for photo in unlucky) else None

    with faulty(shelf.server.endpoint, fault) as endpoint:
        there = shelf.ingested(tmp_path / "bucket", ROOT, endpoint)
        tally = there.run("describe", "describe.retry_deadline_s=1.0")
        assert tally.count(Status.RETRY) == 3
        waiting = there.rows(OUTCOMES, "status = 'retry'")
        assert {row["photo_id"] for row in waiting} == unlucky
        assert {row["reason"] for row in waiting} == {Reason.READ_FAILED}
        down[0], before = False, len(asked)
        again = there.run("describe")
    assert again.rows_in == again.count(Status.OK) == 3
    assert len(asked) == before + 3
    assert found(there) == found(in_folder)


def test_a_store_that_is_down_stops_the_job_and_nothing_is_recorded(shelf, tmp_path):
    there = shelf.ingested(tmp_path / "bucket", ROOT)
    with pytest.raises(StageError, match=r"read_failed"):
        there.run("describe", 's3.endpoint="http://127.0.0.1:9"', "describe.retry_deadline_s=0.1")
    assert found(there) == ([], [])


# How often a photo is asked for in vain before the store is started again.
IN_VAIN = 4


@pytest.mark.timeout(600)
def test_an_outage_with_faults_before_and_after_it_leaves_no_trace(spark, sample, tmp_path):
    """The server stops in the middle and comes back; 5 % of the answers are 503, 1 % of the bodies are cut short."""
    root = sample.folder / "photos"

    def described(name: str, photos: str, **store: object) -> tuple[list[tuple], list[tuple]]:
        (tmp_path / name).mkdir()
        made = Workshop.opened(
            tmp_path / name,
            photos={"root": photos, "key": "images/{photo_id}.jpg", "metadata": [str(root / "corpus.tsv.gz")]},
            describe={"descriptors": ["gist"], "retry_deadline_s": 120.0},
            s3=store,
        )
        made.run("ingest", "ingest.min_accuracy=0")
        made.run("describe")
        return found(made)

    calm = described("calm", str(root))
    befell: Counter[str] = Counter()
    in_vain: Counter[str] = Counter()
    middle, down, enough = threading.Event(), threading.Event(), threading.Event()

    def fault(path: str, time: int) -> str | None:
        befell["asked"] += 1
        if befell["asked"] > len(calm[1]) // 2:
            middle.set()
        if down.is_set():
            in_vain[path] += 1
            if in_vain[path] >= IN_VAIN:
                enough.set()
        drawn = crc32(f"{path} {time}".encode()) / 2**32
        what = "503" if drawn < 0.05 else "cut" if drawn < 0.06 else None
        befell[str(what)] += 1
        return what

    # Workers have the credentials of the tests' other server: here anybody may read.
    with serving(tmp_path / "server", public=["photos"]) as server:
        store = s3.client(S3Settings(endpoint=server.endpoint), server.keys.access, server.keys.secret)

        def put(file: Path) -> None:
            store.put_object(Bucket="photos", Key=f"images/{file.name}", Body=file.read_bytes())

        def outage() -> None:
            middle.wait(200)
            server.stop()
            down.set()
            enough.wait(60)
            down.clear()
            server.start()

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(put, (root / "images").glob("*.jpg")))
        with faulty(server.endpoint, fault) as endpoint, ThreadPoolExecutor(1) as pool:
            ended = pool.submit(outage)
            stormy = described("stormy", "s3://photos", endpoint=endpoint, anonymous=True)
            ended.result()
    assert enough.is_set()
    assert befell["503"] > 5
    assert befell["cut"] > 0
    assert stormy == calm


def test_a_root_without_photos_or_a_store_that_is_not_there_is_told_before_anything_is_written(shelf, tmp_path):
    with pytest.raises(UsageError, match=r"photos\.root"):
        shelf.ingested(tmp_path / "nothing", "s3://photos/nothing here")
    with pytest.raises(UsageError, match=r"s3\.endpoint"):
        shelf.ingested(tmp_path / "nowhere", ROOT, "http://127.0.0.1:9")
