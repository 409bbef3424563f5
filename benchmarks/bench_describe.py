"""describe on Spark, local[2], beside the same work in two processes of Python alone; ten times the photos; memory.

Rates are of the whole stage, tables and counts included, in a session whose workers have loaded their models.
``share_of_bare``: Spark's rate by that of the bare processes (goal: 0.90 or more); ``further``: of photos beyond the
first, without what a stage takes for itself. ``cost_at_10_times``: time a photo
with ten times the photos by that before (goal: 1.1 or less). Peaks are resident memory of a Python worker, libraries
included: with small photos only, and with 20 megapixels in each tenth. The photos are those in ``harness.PHOTOS``, or
else the sample's.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.harness import PHOTOS, keep, peak_of
from im2gps_spark.config import Config, DescribeSection, OnnxSection
from im2gps_spark.photos.metadata import COLUMNS_25
from im2gps_spark.sample import make_sample
from im2gps_spark.session import session
from im2gps_spark.stages import stage

COUNT, TIMES, LARGE = 1000, 10, 400
LARGE_SHAPE = (3648, 5472, 3)
CORES = 2


def main() -> None:
    """Describes some thousand photos four times over: some minutes."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = _photos(work)
        figures: dict[str, tuple[float, str]] = {"photos": (COUNT, "photos")}
        config = _config(work, work / "small")
        with session(config, "bench"), peak_of("pyspark.daemon") as peak:
            _described(config, photos, 600, "warm")
            small = _described(config, photos, COUNT, "some")
            large = _described(config, photos, COUNT * TIMES, "many")
            figures["worker_peak"] = (peak(), "MiB")
        bare = _bare(photos)
        figures["bare_rate"] = (COUNT / bare, "photos/s")
        figures["spark_rate"] = (COUNT / small, "photos/s")
        figures[f"spark_rate_{TIMES}_times"] = (COUNT * TIMES / large, "photos/s")
        figures["share_of_bare"] = (bare / small, "x")
        figures[f"share_of_bare_{TIMES}_times"] = (bare * TIMES / large, "x")
        further = (large - small) / (COUNT * (TIMES - 1))
        figures["share_of_bare_further"] = (bare / COUNT / further, "x")
        figures[f"cost_at_{TIMES}_times"] = (large / small / TIMES, "x")
        config = _config(work, work / "large")
        with session(config, "bench"), peak_of("pyspark.daemon") as peak:
            _described(config, _with_large(work, photos), LARGE, "large")
            figures["worker_peak_20_megapixels"] = (peak(), "MiB")
        keep("describe", figures)


def _photos(work: Path) -> list[Path]:
    found = sorted((PHOTOS / "images").glob("*.jpg"))[:COUNT]
    if not found:
        make_sample(work / "sample", corpus=COUNT, uploads=0, seed=1)
        found = sorted((work / "sample" / "photos" / "images").glob("*.jpg"))[:COUNT]
    return found


def _with_large(work: Path, photos: list[Path]) -> list[Path]:
    """A tenth of the photos replaced by one of 20 megapixels, with some texture."""
    import cv2

    coarse = np.random.default_rng(1).integers(0, 256, (57, 86, 3), np.uint8)
    file = work / "large.jpg"
    cv2.imwrite(str(file), cv2.resize(coarse, LARGE_SHAPE[1::-1], interpolation=cv2.INTER_CUBIC))
    return [file if i % 10 == 5 else photo for i, photo in enumerate(photos)]


def _config(work: Path, folder: Path) -> Config:
    return Config.model_validate(
        {
            "photos": {"root": str(work / "photos"), "key": "{photo_id}.jpg"},
            "tables": {"warehouse": str(folder)},
            "spark": {"master": f"local[{CORES}]"},
        }
    )


def _described(config: Config, photos: list[Path], count: int, name: str) -> float:
    """Seconds that describe takes for so many photos, which are the same ones over and over under ids of their own."""
    root = Path(config.photos.root)
    root.mkdir(exist_ok=True)
    first = 10**6 * sum(1 for _ in root.parent.glob("*.tsv")) + 1
    lines = []
    for n in range(count):
        (root / f"{first + n}.jpg").symlink_to(photos[n % len(photos)])
        fields = {"photo_id": str(first + n), "owner_id": f"{n % 97}@N00", "marker": "0", "accuracy": "16"}
        fields |= {"latitude": f"{n % 170 - 84.5}", "longitude": f"{n % 359 - 179}", "extension": "jpg"}
        lines.append("\t".join(fields.get(column, "") for column in COLUMNS_25))
    metadata = root.parent / f"{name}.tsv"
    metadata.write_text("\n".join(lines) + "\n")
    given = config.model_copy(
        update={"photos": config.photos.model_copy(update={"metadata": [str(metadata)], "collection": name})}
    )
    with session(given, "bench") as spark:
        stage("ingest")(spark, given)
        begin = time.perf_counter()
        tally = stage("describe")(spark, given)
        seconds = time.perf_counter() - begin
    if tally.rows_in != count:
        raise RuntimeError(f"{name}: {tally}")
    return seconds


def _bare(photos: list[Path]) -> float:
    """Seconds that two processes take for the same, each for half of the photos; the better of two times."""
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        parts = [photos[i::CORES] for i in range(CORES)]
        times = []
        for some in ([part[:50] for part in parts], parts, parts):
            begin = time.perf_counter()
            pool.map(_describe_bare, some, chunksize=1)
            times.append(time.perf_counter() - begin)
    return min(times[1:])


def _describe_bare(photos: list[Path]) -> None:
    from im2gps_spark.descriptors.batch import Task, describe
    from im2gps_spark.photos.decode import decode, limit_threads
    from im2gps_spark.stages.described import descriptor
    from im2gps_spark.store.photos import read

    limit_threads()
    settings = DescribeSection()
    descriptors = {name: descriptor(name, OnnxSection()) for name in settings.descriptors}
    tasks = [Task(i, str(photo), tuple(descriptors)) for i, photo in enumerate(photos)]
    results = describe(tasks, descriptors, lambda uri: read(uri, settings.max_bytes), decode, settings.batch)
    if sum(len(result.vectors) for result in results) == 0:
        raise RuntimeError("nothing was described")


if __name__ == "__main__":
    main()
