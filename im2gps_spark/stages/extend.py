"""extend: what came to the corpus and went from it since the last build -> delta files beside the index's shards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.deletion import part_rows
from im2gps_spark.index.delta import Change, grown, joined, merges
from im2gps_spark.index.library import name_of
from im2gps_spark.index.manifest import BASE, DELTA, FORMAT, MOMENTS, TRAINED, Manifest, owners_file, shard_files
from im2gps_spark.index.moments import Moments
from im2gps_spark.index.shard import arrow_bytes, faiss_bytes
from im2gps_spark.index.training import Trained
from im2gps_spark.photos.reasons import Status
from im2gps_spark.stages.arrow import runs_of, spark_schema
from im2gps_spark.stages.build import Given, given_now, owners_of, take_into_use, whole_version
from im2gps_spark.stages.encoded import ENCODED, encode, no_rows, rows_of
from im2gps_spark.stages.run import Tally
from im2gps_spark.store.folder import Folder

# Of this share of an index or more, building it anew costs little more than putting it together.
_MOST_CHANGES = 0.5
_STORED_A_BATCH = 100_000

_FACTS = ("photo_id", "latitude", "longitude", "accuracy", "owner")
_STORED = pa.schema(
    [
        ("photo_id", pa.int64()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("accuracy", pa.int8()),
        ("owner", pa.int64()),
        ("shard", pa.int64()),
        ("part", pa.string()),
    ]
)
_WRITTEN = pa.schema(
    [
        ("shard", pa.int64()),
        ("part", pa.string()),
        ("rows", pa.int64()),
        ("files", pa.string()),
        ("came", pa.binary()),
        ("went", pa.binary()),
    ]
)


def extend(spark: SparkSession, config: Config) -> Tally:
    """Makes the index version in use one of the corpus as it is now, and takes that into use.

    Nothing is trained, and photos that the index has are not read again. Where there is no version to go on from, or
    half of it has changed, one is built.

    Raises:
        UsageError, StageError: as ``build``.
    """
    with given_now(spark, config) as given:
        before = _before(given)
        if before is None:
            name = whole_version(given)
        elif before.corpus == given.fingerprint:
            name = before.index_version
            given.run.say(f"index {name} has every photo of the corpus")
        else:
            name = _extended(given, before)
        take_into_use(given, name)
    return given.run.finish()


def _before(given: Given) -> Manifest | None:
    """The version in use, if it was made from the same training."""
    library = given.run.library
    if library.in_use() is None:
        return None
    try:
        index = library.current()
    except UsageError:  # of another format
        return None
    same = index.files[TRAINED] == given.training.sha256 and index.collection == given.run.config.index.collection
    return index if same else None


@dataclass(frozen=True)
class _Gone:
    """What a version has too much.

    Attributes:
        removed: by shard, ids.
        from_base: shards with photos among those that are in their own files.
    """

    removed: dict[int, np.ndarray]
    from_base: frozenset[int]


def _extended(given: Given, before: Manifest) -> str:
    """The name of the version that goes on from another, by its changes."""
    run, library = given.run, given.run.library
    name = name_of(before.index_version, given.fingerprint, FORMAT)
    if library.has(name):
        run.say(f"index {name} is there, whole")
        return name
    source = library.version_folder(before.index_version)
    stored = _stored(given.corpus.sparkSession, before, source).persist(StorageLevel.DISK_ONLY)
    added = given.corpus.join(stored.select(*_FACTS), [*_FACTS], "left_anti").persist(StorageLevel.DISK_ONLY)
    gone = stored.join(given.corpus.select(*_FACTS), [*_FACTS], "left_anti").persist(StorageLevel.DISK_ONLY)
    try:
        counts = added.count(), gone.count()
        if sum(counts) > _MOST_CHANGES * sum(before.rows):
            run.say(f"{counts[0]} photos came and {counts[1]} went: half of index {before.index_version} would change")
            return whole_version(given)
        run.say(f"index {name}: {counts[0]} photos come to {before.index_version} and {counts[1]} go")
        _write_extension(given, before, added, _by_shard(gone), name)
    finally:
        for frame in (gone, added, stored):
            frame.unpersist()
    return name


def _stored(spark: SparkSession, index: Manifest, folder: Folder) -> DataFrame:
    """What a version knows of each photo, and where it has it."""
    parts = [(shard, part) for shard in range(index.shards) for part in index.parts_of(shard)]
    tasks = spark.createDataFrame(parts, "shard bigint, part string").repartition(len(parts))
    return tasks.mapInArrow(partial(_read_stored, index=index, folder=folder), spark_schema(_STORED))


def _read_stored(batches: Iterable[pa.RecordBatch], index: Manifest, folder: Folder) -> Iterator[pa.RecordBatch]:
    """In a Python worker: all columns of shards but the vectors."""
    for batch in batches:
        for where in batch.to_pylist():
            _, photos = shard_files(where["shard"], where["part"])
            file = folder.local(photos, index.files[photos])
            table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
            for begin in range(0, len(table), _STORED_A_BATCH):
                some = table.slice(begin, _STORED_A_BATCH).combine_chunks()
                known = [some.column(name).combine_chunks() for name in _FACTS]
                place = [pa.array([where[name]] * len(some), _STORED.field(name).type) for name in ("shard", "part")]
                yield pa.RecordBatch.from_arrays([*known, *place], schema=_STORED)


def _by_shard(gone: DataFrame) -> _Gone:
    table = gone.select("shard", "part", "photo_id").toArrow()
    shard, photo = (table.column(name).to_numpy() for name in ("shard", "photo_id"))
    from_base = np.array(table.column("part").to_pylist(), object) == BASE
    removed = {int(number): np.sort(photo[shard == number]) for number in np.unique(shard)}
    return _Gone(removed, frozenset(np.unique(shard[from_base]).tolist()))


def _write_extension(given: Given, before: Manifest, added: DataFrame, gone: _Gone, name: str) -> None:
    """The parts that change, side by side; the files that do not are shared; the manifest last."""
    library, spark = given.run.library, given.corpus.sparkSession
    source, target = (library.version_folder(version) for version in (before.index_version, name))
    data = spark.sparkContext.broadcast(given.data)
    encoded = added.mapInArrow(partial(encode, data=data), spark_schema(ENCODED))
    numbers = spark.createDataFrame(list(enumerate(before.shard_of_list)), "list bigint, shard bigint")
    placed = encoded.join(F.broadcast(numbers), "list")
    # A shard that photos only go from has a task, too: a row without a photo.
    columns = [F.lit(None).cast(kind).alias(column) for column, kind in placed.dtypes if column != "shard"]
    bare = spark.createDataFrame([(shard,) for shard in gone.removed], "shard bigint").select(*columns, "shard")
    ordered = placed.unionByName(bare).repartition(before.shards, "shard").sortWithinPartitions("shard", "photo_id")
    work = partial(
        _grow_shards, before=before, source=source, target=target, data=data,
        gone=spark.sparkContext.broadcast(gone), max_delta=given.run.config.index.max_delta,
    )  # fmt: skip
    written = [row.asDict() for row in ordered.mapInArrow(work, spark_schema(_WRITTEN)).collect()]
    _write_manifest(given, before, written, name)


def _grow_shards(
    batches: Iterator[pa.RecordBatch],
    before: Manifest,
    source: Folder,
    target: Folder,
    data: Broadcast,
    gone: Broadcast,
    max_delta: float,
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the parts of shards that change, one shard in memory at a time."""
    trained = Trained.from_bytes(data.value)
    without: _Gone = gone.value
    for shard, table in runs_of(batches, "shard"):
        came = table.filter(pc.is_valid(table.column("photo_id"))).combine_chunks().to_batches()
        rows = joined([rows_of(batch) for batch in came] or [no_rows(trained)])
        change = Change(shard, rows, without.removed.get(shard, np.zeros(0, np.int64)))
        merged = merges(before, change, shard in without.from_base, max_delta)
        yield pa.RecordBatch.from_pylist([_grow(change, merged, trained, before, source, target)], schema=_WRITTEN)


def _grow(
    change: Change, merged: bool, trained: Trained, before: Manifest, source: Folder, target: Folder
) -> dict[str, object]:
    shard, part = change.shard, BASE if merged else DELTA
    there = before.parts_of(shard) if merged else before.parts_of(shard)[1:]
    parts = [part_rows(source, before, shard, name) for name in there]
    rows = grown(parts, change)
    files = {}
    if merged or len(rows.photo_id):
        data = faiss_bytes(trained, before.lists_of(shard), rows), arrow_bytes(rows)
        files = {name: target.write(name, one) for name, one in zip(shard_files(shard, part), data, strict=True)}
    went = [Moments.of(one.vectors[np.isin(one.photo_id, change.removed)]) for one in parts]
    return {
        "shard": shard,
        "part": part,
        "rows": len(rows.photo_id),
        "files": json.dumps(files),
        "came": Moments.of(change.added.vectors).to_bytes(),
        "went": sum(went, Moments.none(trained.ivf.d)).to_bytes(),
    }


def _write_manifest(given: Given, before: Manifest, written: list[dict], name: str) -> None:
    library = given.run.library
    source, target = (library.version_folder(version) for version in (before.index_version, name))
    now, moments = before, Moments.from_bytes(source.read(MOMENTS))
    for made in sorted(written, key=lambda row: int(row["shard"])):
        if made["part"] == BASE:
            now = now.with_part(made["shard"], DELTA, 0, {})
        now = now.with_part(made["shard"], made["part"], made["rows"], json.loads(made["files"]))
        moments += Moments.from_bytes(made["came"])
        moments -= Moments.from_bytes(made["went"])
    if sum(now.rows) != given.run.tally.count(Status.OK):
        raise StageError(
            f"build: {given.run.tally.count(Status.OK)} photos went in and {sum(now.rows)} are in index {name}; "
            "it was not taken into use"
        )
    same = {file: sha for file, sha in now.files.items() if before.files.get(file) == sha}
    for file, checksum in same.items():
        if file not in (MOMENTS, before.owners):
            target.share(file, source, checksum)
    owners = owners_of(given.corpus).to_bytes()
    files = {file: checksum for file, checksum in now.files.items() if file != before.owners}
    files[MOMENTS] = target.write(MOMENTS, moments.to_bytes())
    files[owners_file(owners)] = target.write(owners_file(owners), owners)
    replace(
        now, index_version=name, corpus=given.fingerprint, owners=owners_file(owners), files=files, recall=None
    ).write(target)
