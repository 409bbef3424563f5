"""forget: photos, and all of an owner's, out of tables, index and snapshots for good; tombstones bar their return."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark import Broadcast
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config, ForgetSection
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.deletion import clear_notes, delete, without_owners
from im2gps_spark.index.library import AT_WORK
from im2gps_spark.index.manifest import Manifest, shard_files
from im2gps_spark.photos.reasons import Status
from im2gps_spark.photos.removal import Removal, read_removal
from im2gps_spark.photos.tombstone import OWNER, PHOTO
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.forgotten import tombstone
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store import upkeep
from im2gps_spark.store.folder import Folder
from im2gps_spark.store.lease import Check, only_one
from im2gps_spark.store.tables import OUTCOMES, PHOTOS, TABLES, TOMBSTONES, Table

_BY_PHOTO, _BY_OWNER = ("photo_id", "neighbour_id"), ("owner_id",)
"""Columns that name a photo, and those that name an owner, in whatever table they are."""
_REWRITTEN = pa.schema(
    [
        ("version", pa.string()),
        ("shard", pa.int64()),
        ("part", pa.string()),
        ("rows", pa.int64()),
        ("faiss", pa.string()),
        ("arrow", pa.string()),
    ]
)
_SHOWN = 20
# Iceberg leaves files alone that are younger than a day: a job may be about to commit them.
_ORPHANS = dt.timedelta(hours=25)
_NOT_TOUCHED = (
    "not touched: photos and metadata where they lie; pages that were written (atlas, evaluation); what was made of "
    "many photos together (others' maps, prior, training, calibration, figures), until it is made anew; copies of "
    "shards in index.cache on other machines, until the index is next used there; versions that a bucket keeps of its "
    "objects"
)


def forget(spark: SparkSession, config: Config) -> Tally:
    """Removes the photos of ``forget.photos``, those of ``forget.owners`` and those in the list ``forget.file``.

    Tombstones come first, and the table ``photos``, which knows whose a photo is, last: what was broken off is
    finished by the same call. No other stage may run meanwhile. The tally counts the ids that were asked for.

    Raises:
        UsageError: nothing is named, or the list can't be read; an index version is of an unknown format.
        StageError: a night or another such call is at work; a shard has changed since it was written; a branch or tag
            of a table keeps old rows.
    """
    run = Run(spark, config, "forget")
    asked = _asked(config.forget)
    with only_one(run.library.root, AT_WORK) as still_alone:
        _forget(run, asked, still_alone)
    return run.finish()


def _forget(run: Run, asked: Removal, still_alone: Check) -> None:
    spark = run.lake.spark
    versions = run.library.versions()
    owners = spark.createDataFrame([(owner,) for owner in asked.owners], "owner_id string")
    photos = run.held(_photos(run, asked, owners))
    run.say(f"{len(asked.photos)} photos and {len(asked.owners)} owners asked for: {photos.count()} photos in all")
    _say_unknown(run, asked)
    _bury(run, asked, photos)
    tables = [table for table in TABLES if _named_by(table) and spark.catalog.tableExists(table.path)]
    for table in tables:
        if table is not PHOTOS:
            _out_of_table(run, table, photos, owners)
    still_alone()
    _out_of_index(run, versions, photos, owners)
    still_alone()
    _out_of_table(run, PHOTOS, photos, owners)
    _out_of_snapshots(run, tables)
    run.say(_NOT_TOUCHED)
    _settle(run, asked)


def _asked(section: ForgetSection) -> Removal:
    asked = Removal.of(section.photos, section.owners)
    if section.file:
        try:
            asked |= read_removal(Path(section.file).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"--file {section.file}: can't be used ({error}); nothing was forgotten") from error
    if not len(asked):
        raise UsageError("forget: nothing is named; give --photo ID, --owner ID or --file LIST with ids, one a line")
    return asked


def _photos(run: Run, asked: Removal, owners: DataFrame) -> DataFrame:
    """The ids to be removed, ``photo_id``: those asked for, known or not, and those of the owners in any collection."""
    named = run.lake.spark.createDataFrame([(photo,) for photo in asked.photos], "photo_id bigint")
    theirs = run.lake.read(PHOTOS).join(owners, "owner_id", "left_semi").select("photo_id")
    return named.union(theirs).distinct()


def _say_unknown(run: Run, asked: Removal) -> None:
    """Tells what no row of ``photos`` knows, by tombstones: a log is no place for ids."""
    hashes = run.lake.spark.createDataFrame([(one,) for one in asked.tombstones], "hash string")
    rows = run.lake.read(PHOTOS)
    known = rows.select(tombstone(PHOTO, "photo_id").alias("hash"))
    known = known.union(rows.select(tombstone(OWNER, "owner_id").alias("hash")))
    unknown = sorted(row["hash"] for row in hashes.join(known, "hash", "left_anti").collect())
    if unknown:
        shown = ", ".join(unknown[:_SHOWN]) + (", ..." if len(unknown) > _SHOWN else "")
        run.say(f"{len(unknown)} of them are in no row of photos, a tombstone bars them all the same: {shown}")


def _bury(run: Run, asked: Removal, photos: DataFrame) -> None:
    """Writes the tombstones: of what was asked for, and of each of the owners' photos."""
    named = run.lake.spark.createDataFrame([(one,) for one in asked.tombstones], "hash string")
    hashes = named.union(photos.select(tombstone(PHOTO, "photo_id"))).distinct()
    run.lake.merge(TOMBSTONES, run.stamp(hashes))


def _named_by(table: Table) -> list[str]:
    """The columns by which rows of a table are a photo's or an owner's."""
    return [name for name in table.column_names if name in (*_BY_PHOTO, *_BY_OWNER)]


def _out_of_table(run: Run, table: Table, photos: DataFrame, owners: DataFrame) -> None:
    named = {name: owners if name in _BY_OWNER else photos for name in _named_by(table)}
    run.say(f"{table.name}: {run.lake.delete(table, named)} rows removed")


def _out_of_index(run: Run, versions: list[Manifest], photos: DataFrame, owners: DataFrame) -> None:
    """Every version's shards, side by side; then each version's manifest; last what was left of broken-off work."""
    ids = photos.toArrow().column("photo_id").to_numpy()
    parts = [
        (m.index_version, shard, part) for m in versions for shard in range(m.shards) for part in m.parts_of(shard)
    ]
    rewritten: dict[str, list[dict]] = {manifest.index_version: [] for manifest in versions}
    if parts:
        spark = run.lake.spark
        places = {m.index_version: (run.library.version_folder(m.index_version), m) for m in versions}
        work = partial(_rewrite, places=places, ids=spark.sparkContext.broadcast(ids))
        tasks = spark.createDataFrame(parts, "version string, shard bigint, part string").repartition(len(parts))
        for row in tasks.mapInArrow(work, spark_schema(_REWRITTEN)).collect():
            rewritten[row["version"]].append(row.asDict())
    hashes = owners.select(F.xxhash64("owner_id").alias("owner")).toArrow().column("owner").to_numpy()
    for manifest in versions:
        _write_manifest(run, manifest, rewritten[manifest.index_version], hashes)
    run.say(f"index: {run.library.remove_remains()} remains of work that was broken off removed")


def _rewrite(
    batches: Iterator[pa.RecordBatch], places: dict[str, tuple[Folder, Manifest]], ids: Broadcast
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: shards without the photos, one in memory at a time."""
    for batch in batches:
        for row in batch.to_pylist():
            folder, manifest = places[row["version"]]
            made = delete(folder, manifest, row["shard"], row["part"], ids.value)
            if made:
                faiss, arrow = (made.files[name] for name in shard_files(made.shard, made.part))
                out = {**row, "rows": made.rows, "faiss": faiss, "arrow": arrow}
                yield pa.RecordBatch.from_pylist([out], schema=_REWRITTEN)


def _write_manifest(run: Run, manifest: Manifest, rewritten: list[dict], owners: NDArray[np.int64]) -> None:
    """The manifest of the shards as they are now. Copies of what they were go from this machine."""
    folder = run.library.version_folder(manifest.index_version)
    now = without_owners(folder, manifest, owners)
    for made in rewritten:
        sums = dict(zip(shard_files(made["shard"], made["part"]), (made["faiss"], made["arrow"]), strict=True))
        now = now.with_part(made["shard"], made["part"], made["rows"], sums)
    if now is not manifest:
        now.write(folder)
    for made in rewritten:
        for name in shard_files(made["shard"], made["part"]):
            folder.drop_copies(name)
        clear_notes(folder, made["shard"], made["part"])
    if now.owners != manifest.owners:
        folder.drop_copies(manifest.owners)
    gone, shards = sum(manifest.rows) - sum(now.rows), len({made["shard"] for made in rewritten})
    run.say(f"index {manifest.index_version}: {gone} photos removed, {shards} of {now.shards} shards rewritten")


def _out_of_snapshots(run: Run, tables: list[Table]) -> None:
    """Leaves each table its rows as they are now, and no file that held others."""
    spark, expired, orphans = run.lake.spark, 0, 0
    for table in tables:
        upkeep.forget_removed_files(spark, table)
        expired += upkeep.expire(spark, table, upkeep.ALWAYS)
        if upkeep.snapshots(spark, table) > 1:
            raise StageError(
                f"table {table.name}: branches or tags keep older snapshots, and the rows in them; "
                f"drop what {table.path}.refs lists besides main and run this again"
            )
        orphans += upkeep.remove_orphans(spark, table, dt.datetime.now(dt.UTC) - _ORPHANS)
    run.say(f"{expired} snapshots expired, {orphans} files of no snapshot removed")


def _settle(run: Run, asked: Removal) -> None:
    """An outcome for each id that was asked for, under its tombstone."""
    rows = run.lake.rows(
        OUTCOMES, [(None, run.stage, Status.OK.value, None, None, None, None, None, one) for one in asked.tombstones]
    )
    run.tally.add(len(asked), rows)
    run.check()
    run.lake.merge(OUTCOMES, run.stamp(rows))
