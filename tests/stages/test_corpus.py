"""The corpus: what each rule excludes, in which order, and that neither order nor partitions of the rows matter."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import IngestSection
from im2gps_spark.photos.fingerprint import NEAR_BITS
from im2gps_spark.photos.reasons import Reason
from im2gps_spark.sphere import distance_km, unit_vectors
from im2gps_spark.stages import corpus
from im2gps_spark.stages.corpus import MOMENT_KM, MOMENT_S, excluded

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

NOON = dt.datetime(2007, 8, 3, 12, tzinfo=dt.UTC)
DDL = (
    "photo_id bigint, owner_id string, taken_at timestamp, latitude double, longitude double, "
    "sha256 string, perceptual bigint, width int, height int"
)


@dataclass(frozen=True)
class Shot:
    """A photo as the corpus sees it; by itself it resembles no other."""

    photo_id: int
    owner_id: str = ""
    taken_at: dt.datetime | None = None
    latitude: float = 48.0
    longitude: float = 11.0
    sha256: str | None = ""
    perceptual: int | None = None
    width: int | None = 400
    height: int | None = 300

    def row(self) -> tuple:
        sha = self.sha256 if self.sha256 != "" else f"{self.photo_id:064x}"
        owner = self.owner_id or f"{self.photo_id}@N00"
        place = (self.latitude, self.longitude)
        return (self.photo_id, owner, self.taken_at, *place, sha, self.perceptual, self.width, self.height)


def seconds(after: float) -> dt.datetime:
    return NOON + dt.timedelta(seconds=after)


def verdicts(spark: SparkSession, shots: Sequence[Shot], most: int = 0, parts: int = 2) -> dict[int, tuple]:
    """(reason, detail) of the photos that are excluded."""
    frame = spark.createDataFrame([shot.row() for shot in shots], DDL).repartition(parts)
    rows = excluded(frame, IngestSection(max_photos_per_owner=most)).collect()
    assert Counter(row["photo_id"] for row in rows) == Counter(shot.photo_id for shot in shots)
    assert {row["detail"] for row in rows if row["reason"] is None} <= {None}
    return {row["photo_id"]: (row["reason"], row["detail"]) for row in rows if row["reason"]}


def test_of_identical_files_the_least_id_stays(spark):
    shots = [Shot(7, sha256="a"), Shot(3, sha256="a"), Shot(9, sha256="a"), Shot(4, sha256="b")]
    assert verdicts(spark, shots) == {7: ("identical", "photo 3"), 9: ("identical", "photo 3")}


def test_near_duplicates_go_and_pictures_without_detail_or_of_another_shape_stay(spark):
    shots = [
        Shot(1, perceptual=-1),
        Shot(2, perceptual=-1 ^ 0b111),  # three bits from 1
        Shot(3, perceptual=-1 ^ 0b1111),  # four bits from 1, one from 2, which is gone itself
        Shot(4, perceptual=-1, height=301),
        Shot(5, perceptual=-1, height=330),
        Shot(6),
        Shot(7),
        Shot(8, perceptual=-1 ^ 0x0001_0001_0001_0001),  # four bits from 1, one in each band
        Shot(9, perceptual=-1 ^ 0x0001_0001_0000_0001),
    ]
    near = Reason.NEAR_DUPLICATE
    expected = {2: (near, "photo 1"), 3: (near, "photo 2"), 4: (near, "photo 1"), 9: (near, "photo 4")}
    assert verdicts(spark, shots) == expected


def test_photos_of_an_owner_in_one_place_and_moment_are_one(spark):
    step = 0.0008  # degrees of latitude: 89 m
    shots = [
        Shot(5, "a", seconds(0)),
        Shot(4, "a", seconds(600)),
        Shot(3, "a", seconds(1200)),  # soon after the one before, though not after the first
        Shot(6, "a", seconds(1801)),
        Shot(7, "a", seconds(1850), latitude=48.0 + step),
        Shot(8, "a", seconds(1900), latitude=48.0 + 3 * step),
        Shot(9, "b", seconds(1)),
        Shot(10, "a", None),
        Shot(11, "a", None),
        Shot(12, "c", seconds(0), latitude=0.0, longitude=179.9999),
        Shot(13, "c", seconds(0), latitude=0.0, longitude=-179.9999),  # 22 m on
    ]
    moment = Reason.SAME_MOMENT
    assert verdicts(spark, shots) == {
        4: (moment, "photo 5"),
        3: (moment, "photo 4"),
        7: (moment, "photo 6"),
        13: (moment, "photo 12"),
    }


def test_an_owner_has_no_more_photos_than_the_bound_those_of_the_least_hashes(spark):
    shots = [Shot(i, "a" if i < 10 else "b") for i in range(1, 12)]
    found = verdicts(spark, shots, most=4)
    ranked = spark.range(1, 10).orderBy(F.xxhash64("id")).collect()
    assert found == {row["id"]: (Reason.OWNER_FULL, None) for row in ranked[4:]}
    assert verdicts(spark, shots, most=0) == verdicts(spark, shots, most=9) == {}


def test_photos_whose_picture_has_not_been_seen_displace_none_and_stay(spark):
    shots = [
        Shot(1, "a", seconds(0), sha256=None),
        Shot(2, "a", seconds(1)),
        Shot(3, "a", seconds(2), sha256=None),
        Shot(4, "b", seconds(0), sha256=None),
        *(Shot(i, "b", latitude=float(i)) for i in (5, 6)),
    ]
    assert verdicts(spark, shots, most=2) == {}


def test_each_rule_sees_what_those_before_it_left(spark):
    """A photo that is identical to another does not stand in an owner's way, whatever its time."""
    shots = [
        Shot(1, "a", seconds(-10_000), sha256="x", perceptual=5),
        Shot(2, "b", seconds(0), sha256="x", perceptual=6),  # identical to 1
        Shot(3, "b", seconds(1), perceptual=-1),  # the first of its moment that is left
        Shot(4, "b", seconds(2), perceptual=5),  # near 1, as 2 would be
        Shot(5, "b", seconds(3)),  # of the moment of 3
    ]
    assert verdicts(spark, shots, most=1) == {
        2: (Reason.IDENTICAL, "photo 1"),
        4: (Reason.NEAR_DUPLICATE, "photo 1"),
        5: (Reason.SAME_MOMENT, "photo 3"),
    }


def crowd(count: int) -> list[Shot]:
    """Photos that repeat one another in every way, drawn by chance."""
    rng = np.random.default_rng(4)
    hashes = rng.integers(-(2**63), 2**63 - 1, 40)
    shots = []
    for photo_id in rng.permutation(np.arange(1, count + 1)).tolist():
        flips = int(np.bitwise_or.reduce(1 << rng.integers(0, 63, int(rng.integers(0, 5))), initial=0))
        unseen = rng.random() < 0.1
        shots.append(
            Shot(
                photo_id,
                f"{rng.integers(6)}@N00",
                None if rng.random() < 0.1 else seconds(int(rng.integers(40_000))),
                latitude=48.0 + 0.001 * int(rng.integers(2)),
                sha256=None if unseen else f"{rng.integers(3 * count):064x}",
                perceptual=None if unseen or rng.random() < 0.6 else int(rng.choice(hashes)) ^ flips,
            )
        )
    return shots


def judged(shots: Sequence[Shot], most: int, hash_of: dict[int, int]) -> dict[int, str]:
    """The rules, photo by photo."""
    left = sorted((shot for shot in shots if shot.sha256 is not None), key=lambda shot: shot.photo_id)
    found: dict[int, str] = {}

    def drop(reason: Reason, gone: list[Shot]) -> None:
        found.update({shot.photo_id: reason.value for shot in gone})
        left[:] = [shot for shot in left if shot not in gone]

    def near(one: Shot, other: Shot) -> bool:
        if one.perceptual is None or other.perceptual is None:
            return False
        return ((one.perceptual ^ other.perceptual) & (2**64 - 1)).bit_count() <= NEAR_BITS

    drop(Reason.IDENTICAL, [a for i, a in enumerate(left) if any(a.sha256 == b.sha256 for b in left[:i])])
    drop(Reason.NEAR_DUPLICATE, [a for i, a in enumerate(left) if any(near(a, b) for b in left[:i])])
    gone = []
    for owner in sorted({shot.owner_id for shot in left}):
        dated = [(s.taken_at, s.photo_id, s) for s in left if s.owner_id == owner and s.taken_at is not None]
        ordered = [shot for *_, shot in sorted(dated, key=lambda row: row[:2])]
        for a, b in pairwise(ordered):
            apart = float(distance_km(unit_vectors(a.latitude, a.longitude), unit_vectors(b.latitude, b.longitude)))
            assert a.taken_at is not None
            assert b.taken_at is not None
            if (b.taken_at - a.taken_at).total_seconds() <= MOMENT_S and apart <= MOMENT_KM:
                gone.append(b)
    drop(Reason.SAME_MOMENT, gone)
    for owner in sorted({shot.owner_id for shot in left}):
        mine = sorted((s for s in left if s.owner_id == owner), key=lambda shot: hash_of[shot.photo_id])
        drop(Reason.OWNER_FULL, mine[most:])
    return found


def test_the_corpus_is_what_the_rules_say_whatever_the_order_and_the_partitions(spark):
    shots, most = crowd(600), 40
    hash_of = {row["id"]: row["h"] for row in spark.range(1, 601).withColumn("h", F.xxhash64("id")).collect()}
    expected = judged(shots, most, hash_of)
    assert min(Counter(expected.values()).values()) > 20  # or the test would say nothing
    assert len(set(expected.values())) == 4
    found = verdicts(spark, shots, most)
    assert {photo_id: reason for photo_id, (reason, _) in found.items()} == expected
    assert verdicts(spark, sorted(shots, key=lambda shot: -shot.photo_id), most, parts=5) == found


def test_batches_may_end_anywhere():
    rng = np.random.default_rng(1)
    rows = np.sort(rng.integers(0, 4, 90))
    table = pa.table(
        {
            "band": rows,
            "photo_id": np.arange(90) + 1000 * rows,
            "perceptual": rng.integers(0, 256, 90),
            "aspect": np.zeros(90),
        }
    )

    def near(size: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pa.Table.from_batches(
            corpus._near(table.to_batches(max_chunksize=size))
        ).to_pylist()
        return found

    assert len(near(90)) > 30
    assert all(near(size) == near(90) for size in (1, 2, 7, 40))
