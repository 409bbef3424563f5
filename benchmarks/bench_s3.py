"""Photos from S3 (a SeaweedFS of one's own) with 20 ms added to each request, decoded one after the other.

``rate`` by number of threads that read ahead; ``times_one_thread`` of the default. ``direct``: without the added time.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import PHOTOS, best_of, keep
from im2gps_spark.config import Config
from im2gps_spark.photos.decode import decode, limit_threads
from im2gps_spark.sample.objects import serving
from im2gps_spark.store import s3
from im2gps_spark.store.ahead import read_ahead
from im2gps_spark.store.passing import Patience
from im2gps_spark.store.photos import PhotoStore
from im2gps_spark.store.settings import S3Settings

COUNT, LATENCY_S = 500, 0.020
THREADS = (1, 8, 16, 32, 48)


def main() -> None:
    """Uploads photos to a server that it starts; nothing where there are none."""
    files = sorted((PHOTOS / "images").rglob("*.jpg"))[:COUNT]
    if not files:
        print(f"s3: no photos in {PHOTOS}, nothing to measure", file=sys.stderr)
        return
    limit_threads()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        os.environ.update(server.keys.environment)
        settings = S3Settings(endpoint=server.endpoint)
        uris = []
        for file in files:
            s3.client(settings).put_object(Bucket="photos", Key=file.name, Body=file.read_bytes())
            uris.append(f"s3://photos/{file.name}")
        store = PhotoStore(2**26, settings, Patience(60.0, 100))
        most = Config().describe.fetch_mb * 2**20

        def slow(uri: str, make_room: Callable[[int], None]) -> bytes:
            time.sleep(LATENCY_S)
            return store.read(uri, make_room)

        def work(read: Callable[[str, Callable[[int], None]], bytes], threads: int) -> None:
            for _, load in read_ahead(uris, read, threads, most):
                decode(load())

        figures: dict[str, tuple[float, str]] = {"photos": (len(uris), "photos")}
        for threads in THREADS:
            seconds = best_of(lambda n=threads: work(slow, n), 2)  # type: ignore[misc]
            figures[f"rate_{threads}_threads"] = (len(uris) / seconds, "photos/s")
        default = Config().describe.fetch_threads
        figures["times_one_thread"] = (figures[f"rate_{default}_threads"][0] / figures["rate_1_threads"][0], "x")
        figures["direct_1_threads"] = (len(uris) / best_of(lambda: work(store.read, 1), 2), "photos/s")
        figures[f"direct_{default}_threads"] = (len(uris) / best_of(lambda: work(store.read, default), 2), "photos/s")
        keep("s3", figures)


if __name__ == "__main__":
    main()
