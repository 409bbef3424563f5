"""The index at a size: made-up descriptors of 256 numbers in real tables; train, build, search in bulk under Spark.

``IM2GPS_BENCH_ROWS`` photos (a million unless said; docs/index.md reports four), ``IM2GPS_BENCH_QUERIES`` queries
(100,000). Of each step: seconds, the most resident memory of a Python worker, and what it leaves on the disk. The JVM
has the memory of ``spark.driver_memory``; its peak is of all steps. Steps run one after the other on local[2].
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from benchmarks.harness import keep, peak_of
from benchmarks.index_corpus import DIMENSION, descriptors
from im2gps_spark.config import Config, OnnxSection
from im2gps_spark.index.library import Library
from im2gps_spark.session import session
from im2gps_spark.stages import stage
from im2gps_spark.stages.arrow import spark_schema
from im2gps_spark.stages.described import descriptor
from im2gps_spark.stages.search import find_neighbours
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import DESCRIPTORS, PHOTOS

ROWS = int(os.environ.get("IM2GPS_BENCH_ROWS", "1000000"))
QUERIES = int(os.environ.get("IM2GPS_BENCH_QUERIES", "100000"))
NAME, CHUNK, CITIES, PHOTOS_AN_OWNER = "gist", 20_000, 5_000, 40
# The rest of a vector as long as the descriptor's, whose name it has, is zero.
WIDTH = descriptor(NAME, OnnxSection()).dimension

_MADE = pa.schema([("photo_id", pa.int64()), ("vector", pa.list_(pa.float32()))])


def main() -> None:
    """Minutes a million."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("IM2GPS_BENCH_FOLDER")) as folder:
        work = Path(folder)
        config = Config.model_validate(
            {
                "tables": {"warehouse": str(work / "warehouse")},
                "index": {"root": str(work / "index"), "descriptor": NAME, "dimension": DIMENSION},
                "geolocate": {"k": 120, "exclude_same_owner": True},
                "spark": {"master": "local[2]"},
            }
        )
        figures: dict[str, tuple[float, str]] = {"rows": (ROWS, "photos"), "queries": (QUERIES, "photos")}
        steps: dict[str, tuple[Callable[[SparkSession, Config], object], str]] = {
            "tables": (write_tables, "warehouse"),
            "train": (stage("train"), "index"),
            "build": (stage("build"), "index"),
            "search": (search, "index"),
        }
        with peak_of("SparkSubmit") as jvm:
            for name, (does, where) in steps.items():
                before = size(work / where)
                # A session of its own: workers of its own, whose peaks are of this step.
                with session(config, "bench") as spark, peak_of("pyspark.daemon") as peak:
                    begin = time.perf_counter()
                    does(spark, config)
                    figures[f"{name}_seconds"] = (time.perf_counter() - begin, "s")
                    figures[f"{name}_worker_peak"] = (peak(), "MiB")
                figures[f"{name}_disk"] = ((size(work / where) - before) / 2**20, "MiB")
                print(name, *(f"{figure} {value:.4g} {unit}" for figure, (value, unit) in figures.items()), flush=True)
            figures["jvm_peak"] = (jvm(), "MiB")
        figures["queries_a_second"] = (QUERIES / figures["search_seconds"][0], "photos/s")
        keep("scale", figures)


def write_tables(spark: SparkSession, config: Config) -> None:
    """Photos in some thousand cities, and their descriptors, as ingest and describe would have written them."""
    lake, numbers = Lake(spark), F.col("photo_id")
    ids = spark.range(1, ROWS + 1, numPartitions=-(-ROWS // CHUNK)).withColumnRenamed("id", "photo_id")
    city, angle = F.pmod(F.xxhash64(numbers), F.lit(CITIES)), F.pmod(F.xxhash64(numbers, F.lit(1)), F.lit(10_000)) / 1e5
    facts = {
        "owner_id": F.concat((numbers % (ROWS // PHOTOS_AN_OWNER)).cast("string"), F.lit("@N00")),
        "collection": F.lit(config.index.collection),
        "latitude": F.degrees(F.asin(2.0 * (city + 0.5) / CITIES - 1.0)) * 0.9 + angle,
        "longitude": F.pmod(city * 137.508 + angle, F.lit(360.0)) - 180.0,
        "accuracy": F.lit(16),
        "status": F.lit("ok"),
        "run_id": F.lit("bench"),
    }
    lake.append(PHOTOS, like(ids.withColumns(facts), PHOTOS.columns))
    made = ids.mapInArrow(_vectors, spark_schema(_MADE))
    about = {"descriptor": F.lit(NAME), "version": F.lit(descriptor(NAME, config.onnx).version)}
    about |= {"preprocessing": F.lit("made up"), "run_id": F.lit("bench")}
    lake.append(DESCRIPTORS, like(made.withColumns(about), DESCRIPTORS.columns))


def like(rows: DataFrame, columns: tuple[tuple[str, str], ...]) -> DataFrame:
    """The rows with all columns of a table: null where they have none of the name."""
    return rows.select(
        *((F.col(name) if name in rows.columns else F.lit(None)).cast(kind).alias(name) for name, kind in columns)
    )


def _vectors(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """In a Python worker: descriptors of photos, batch by batch."""
    for batch in batches:
        ids = batch.column("photo_id")
        vectors = np.zeros((len(ids), WIDTH), np.float32)
        vectors[:, :DIMENSION] = descriptors(len(ids), int(ids[0].as_py()))
        ends = pa.array(np.arange(len(ids) + 1, dtype=np.int32) * vectors.shape[1])
        lists = pa.ListArray.from_arrays(ends, pa.array(vectors.ravel()))
        yield pa.RecordBatch.from_arrays([ids, lists], schema=_MADE)


def search(spark: SparkSession, config: Config) -> None:
    """The neighbours of new descriptors, each of an owner of its own, counted."""
    library = Library(Path(config.index.root))
    manifest = library.current()
    ids = spark.range(10**9, 10**9 + QUERIES, numPartitions=-(-QUERIES // CHUNK)).withColumnRenamed("id", "photo_id")
    queries = ids.mapInArrow(_vectors, spark_schema(_MADE)).withColumn("owner_id", F.col("photo_id").cast("string"))
    folder = library.version_folder(manifest.index_version)
    found = find_neighbours(queries, QUERIES, manifest, folder, config.geolocate)
    answered = found.select("photo_id").distinct().count()
    if answered != QUERIES:
        raise RuntimeError(f"{QUERIES} queries and {answered} answers")


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    main()
