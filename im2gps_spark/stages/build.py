"""build: every descriptor of the corpus -> shards of inverted lists, and the prior of where its photos are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.index import shard as shards
from im2gps_spark.index.grouping import group
from im2gps_spark.index.library import Library, Training, name_of
from im2gps_spark.index.manifest import FORMAT, MOMENTS, TRAINED, Manifest, owners_file, shard_files
from im2gps_spark.index.moments import Moments
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.spool import Spool
from im2gps_spark.index.training import Trained
from im2gps_spark.photos.reasons import Status
from im2gps_spark.posterior.accuracy import STREET, UNKNOWN
from im2gps_spark.stages.arrow import rows_alike, spark_schema
from im2gps_spark.stages.corpus import corpus_of
from im2gps_spark.stages.described import descriptor, stage_outcomes, status_is, with_vectors
from im2gps_spark.stages.encoded import ENCODED, encode, no_rows, rows_of
from im2gps_spark.stages.priors import prior_rule, write_prior
from im2gps_spark.stages.run import Run, Tally
from im2gps_spark.store.folder import Folder
from im2gps_spark.store.tables import OUTCOMES

_WRITTEN = pa.schema(
    [
        ("shard", pa.int64()),
        ("rows", pa.int64()),
        ("faiss", pa.string()),
        ("arrow", pa.string()),
        ("moments", pa.binary()),
    ]
)


@dataclass(frozen=True)
class Given:
    """What an index version is made from.

    Attributes:
        run: of the stage.
        training, data: in use, and its FAISS file.
        rows: what is known of each photo of the collection: ok, or why it is not indexed.
        corpus: those that are ok, as ``with_owners`` gives them.
        fingerprint: what names the corpus, and the rule of the prior that is made of it.
    """

    run: Run
    training: Training
    data: bytes
    rows: DataFrame
    corpus: DataFrame
    fingerprint: str


def build(spark: SparkSession, config: Config) -> Tally:
    """Builds an index version from the training in use, and takes it into use.

    The version's name is a hash of what went in: the same corpus and training find the version they made before.

    Raises:
        UsageError: no training, or one for another descriptor; no described photo.
    """
    with given_now(spark, config) as given:
        take_into_use(given, whole_version(given))
    return given.run.finish()


@contextmanager
def given_now(spark: SparkSession, config: Config) -> Iterator[Given]:
    """What there is to index, held as it is now; every photo has been counted.

    Raises:
        UsageError: no training, or one for another descriptor; no described photo.
    """
    run = Run(spark, config, "build", config.index.collection)
    training, data = run.library.training()
    version = descriptor(config.index.descriptor, config.onnx).version
    _same_descriptor(training, config.index.descriptor, version)
    rows = with_vectors(run.lake, corpus_of(run.lake, config), config.index.descriptor, version)
    rows = rows.persist(StorageLevel.DISK_ONLY)
    try:
        run.tally.add(rows.count(), rows)
        run.check()
        corpus = with_owners(rows.filter(status_is(Status.OK)))
        rule = prior_rule(config.geolocate.owner_damping)
        yield Given(run, training, data, rows, corpus, name_of(_fingerprint(corpus), config.index.collection, rule))
    finally:
        rows.unpersist()


def whole_version(given: Given) -> str:
    """The name of the version that has every photo in its shards' own files; it is made unless it is there."""
    run, library = given.run, given.run.library
    name = name_of(given.training.name, given.fingerprint, FORMAT)
    if library.has(name):
        run.say(f"index {name} is there, whole")
    else:
        run.say(f"index {name}: {run.tally.count(Status.OK)} photos into {given.training.plan['shards']} shards")
        _write_index(given, library.version_folder(name), name)
    return name


def take_into_use(given: Given, name: str) -> None:
    """Gives a version its prior, its photos their outcomes, and the version in one step into use."""
    run, library = given.run, given.run.library
    library.put_shape(name, write_prior(run, given.corpus, name))
    run.lake.merge(OUTCOMES, run.stamp(stage_outcomes(given.rows, run.stage, name)))
    _inherit(library, name)
    library.use(name)


def _inherit(library: Library, name: str) -> None:
    """A corpus that has grown by a night is calibrated and searched as it was, until that is measured again."""
    before = library.in_use()
    if not before:
        return
    ours = Manifest.read(library.version_folder(name))
    try:
        theirs = Manifest.read(library.version_folder(before))
    except UsageError:  # of another format: its calibration is another's, too
        return
    if theirs.training_sample != ours.training_sample:
        return
    found = library.calibration(before)
    if found is not None and library.calibration(name) is None:
        library.put_calibration(name, found)
    if theirs.recall and not ours.recall:
        library.put_recall(ours, theirs.recall.inherited())


def _same_descriptor(training: Training, name: str, version: str) -> None:
    if (training.descriptor, training.descriptor_version) != (name, version):
        raise UsageError(
            f"the training {training.name} is for descriptor {training.descriptor} {training.descriptor_version}, "
            f"index.descriptor is {name} {version}; run train"
        )


def with_owners(corpus: DataFrame) -> DataFrame:
    """The corpus' photos, places and vectors with a hash of each ``owner`` and the number of ``owner_photos``.

    ``accuracy`` is a geotag's level, 1 to 16, and 0 where the metadata have none or a number that is no level.
    """
    counts = corpus.groupBy("owner_id").agg(F.count("*").cast("float").alias("owner_photos"))
    rows = corpus.join(counts, "owner_id").withColumn("owner", F.xxhash64("owner_id"))
    known = F.col("accuracy").between(UNKNOWN, STREET)
    rows = rows.withColumn("accuracy", F.when(known, F.col("accuracy")).otherwise(UNKNOWN).cast("tinyint"))
    return rows.select("photo_id", "latitude", "longitude", "accuracy", "owner", "owner_photos", "vector")


def _fingerprint(corpus: DataFrame) -> str:
    """What names a corpus, whatever the order of its rows."""
    each = F.xxhash64(*(F.col(c) for c in corpus.columns)).cast("decimal(38,0)")
    row = corpus.agg(F.count("*").alias("n"), F.sum(each).alias("s")).collect()[0]
    return f"{row['n']}:{row['s']}"


def owners_of(corpus: DataFrame) -> Owners:
    """How many photos each owner has in a corpus, as ``with_owners`` gives it."""
    return Owners.of_table(corpus.groupBy("owner").agg(F.count("*").alias("photos")).toArrow())


def _write_index(given: Given, folder: Folder, name: str) -> None:
    """The shards, side by side; then what belongs to all; the manifest last."""
    corpus, training, data = given.corpus, given.training, given.data
    count = training.plan["shards"]
    broadcast = corpus.sparkSession.sparkContext.broadcast(data)
    encoded = corpus.mapInArrow(partial(encode, data=broadcast), spark_schema(ENCODED)).persist(StorageLevel.DISK_ONLY)
    trained = Trained.from_bytes(data)
    sizes = np.zeros(trained.ivf.nlist, np.int64)
    for row in encoded.groupBy("list").count().collect():
        sizes[row["list"]] = row["count"]
    shard_of_list = group(trained.centroids, sizes, count)

    numbers = [(i, int(s)) for i, s in enumerate(shard_of_list)]
    placed = encoded.join(
        F.broadcast(corpus.sparkSession.createDataFrame(numbers, "list bigint, shard bigint")), "list"
    )
    ordered = placed.repartitionById(count, F.col("shard").cast("int")).sortWithinPartitions("shard", "photo_id")
    write = partial(_write_shards, folder=folder, data=broadcast, shard_of_list=shard_of_list)
    written = {row["shard"]: row.asDict() for row in ordered.mapInArrow(write, spark_schema(_WRITTEN)).collect()}
    encoded.unpersist()

    files: dict[str, str] = {}
    rows: list[int] = []
    moments = Moments.none(trained.ivf.d)
    for shard in range(count):
        made = written.get(shard)
        if made is None:  # none of its lists has a photo
            lists = np.flatnonzero(shard_of_list == shard)
            with TemporaryDirectory() as passing:
                made = _write_shard(folder, trained, lists, shard, no_rows(trained), Path(passing))
        files |= dict(zip(shard_files(shard), (made["faiss"], made["arrow"]), strict=True))
        rows.append(made["rows"])
        moments += Moments.from_bytes(made["moments"])
    files[TRAINED] = folder.write(TRAINED, data)
    files[MOMENTS] = folder.write(MOMENTS, moments.to_bytes())
    owners = owners_of(corpus).to_bytes()
    files[owners_file(owners)] = folder.write(owners_file(owners), owners)
    Manifest(
        format=FORMAT,
        index_version=name,
        descriptor=training.descriptor,
        descriptor_version=training.descriptor_version,
        collection=given.run.config.index.collection,
        plan=training.plan,
        training_sample=training.training_sample,
        shard_of_list=[int(s) for s in shard_of_list],
        rows=rows,
        delta_rows=[0] * count,
        owners=owners_file(owners),
        corpus=given.fingerprint,
        files=files,
    ).write(folder)


def _write_shards(
    batches: Iterator[pa.RecordBatch], folder: Folder, data: Broadcast, shard_of_list: np.ndarray
) -> Iterator[pa.RecordBatch]:
    """In a Python worker: rows sorted by shard and id to files.

    A shard passes through this machine's disk, twice its files' size. Memory holds its codes, 32 bytes a photo besides,
    and 10,000 vectors at a time.
    """
    trained = Trained.from_bytes(data.value)
    pieces = (piece for batch in batches for piece in rows_alike(batch, "shard"))
    for shard, mine in groupby(pieces, key=itemgetter(0)):
        with TemporaryDirectory(dir=os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None) as passing:
            with Spool(Path(passing)) as spool:
                for _, rows in mine:
                    spool.add(rows_of(rows))
                whole = spool.rows()
            made = _write_shard(folder, trained, np.flatnonzero(shard_of_list == shard), shard, whole, Path(passing))
            del whole  # its columns are mapped from there
        yield pa.RecordBatch.from_pylist([made], schema=_WRITTEN)


def _write_shard(
    folder: Folder, trained: Trained, lists: np.ndarray, shard: int, rows: shards.Rows, passing: Path
) -> dict:
    """A shard's files, by way of a folder on this machine's disk."""
    codes, photos = shard_files(shard)
    shards.write_faiss(passing / codes, trained, lists, rows)
    shards.write_arrow(passing / photos, rows)
    return {
        "shard": shard,
        "rows": len(rows.photo_id),
        "faiss": folder.put(codes, passing / codes),
        "arrow": folder.put(photos, passing / photos),
        "moments": Moments.of(rows.vectors).to_bytes(),
    }
