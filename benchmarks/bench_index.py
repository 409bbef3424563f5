"""Search shard by shard beside one FAISS index of the same codes in memory, and beside shards by row; one thread.

256 numbers, 20,000 clusters, 4,096 lists, 16 of them visited, eight shards, IVF-PQ64. Queries per second are by CPU
time with the coarse pass, all figures from one run. ``IM2GPS_BENCH_ROWS`` is the corpus' size; docs/index.md reports
4,000,000. Recall is of the 120 nearest by the vectors that are kept. Memory is what a process has grown by, at its end.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import best_of, keep
from benchmarks.index_corpus import Corpus, descriptors
from im2gps_spark.index.manifest import shard_files
from im2gps_spark.index.routed import Routed
from im2gps_spark.index.search import Index
from im2gps_spark.index.shard import Shard, by_distance
from im2gps_spark.neighbours import Answers, merge
from im2gps_spark.store.folder import DiskFolder

ROWS = int(os.environ.get("IM2GPS_BENCH_ROWS", "1000000"))
QUERIES, JUDGED, NPROBE, K = 1000, 200, 16, 120
RERANK = (120, 150, 200, 300, 400, 600)
_UNSEEN = 10**6
Found = tuple[NDArray[np.float32], NDArray[np.int64]]


class Opened(Index):
    """An index with all its shards open, as the tasks of a stage have theirs."""

    def __init__(self, folder: DiskFolder) -> None:
        super().__init__(folder)
        self._all = [super(Opened, self).parts(number) for number in range(self.manifest.shards)]

    def parts(self, number: int) -> list[Shard]:
        """See ``Index``."""
        return self._all[number]


def cpu_s(work: Callable[[], object], runs: int = 3) -> float:
    """CPU seconds of the fastest of some runs."""
    return best_of(work, runs, time.process_time)


def opened(path: Path) -> Any:
    """A FAISS index read into memory, without a precomputed table: it is slower with one (docs/index.md)."""
    index = faiss.read_index(str(path), faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE)
    index.use_precomputed_table = -1
    index.nprobe = NPROBE
    return index


def by_code(index: Any, queries: Routed) -> Found:
    """What one index finds in the lists that queries visit."""
    found: Found = index.search_preassigned(queries.vectors, K, queries.lists, queries.near)
    return found


def merged(parts: list[Found]) -> Found:
    """The first of several indexes' candidates, each (n, K), by (distance, id)."""
    distance, ids = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
    rank = by_distance(distance, ids, K)
    return np.take_along_axis(distance, rank, axis=1), np.take_along_axis(ids, rank, axis=1)


def shards_by_code(index: Index, queries: Routed) -> Found:
    """What the shards find by their codes."""
    distance = np.full((len(queries), index.manifest.shards * K), np.finfo(np.float32).max, np.float32)
    ids, filled = np.full(distance.shape, -1, np.int64), np.zeros(len(queries), np.int64)
    for number, which, mine in index.by_shard(queries):
        there = filled[which, None] + np.arange(K)
        distance[which[:, None], there], ids[which[:, None], there] = index.parts(number)[0].scan(
            mine.vectors, mine.lists, mine.near, K
        )
        filled[which] += K
    width = int(filled.max())
    return merged([(distance[:, :width], ids[:, :width])])


def shards_by_vector(index: Index, queries: Routed, rerank: int) -> list[Any]:
    """The neighbours of each query, as geolocate finds them."""
    photos = np.zeros(len(queries), np.int64)
    parts: list[list[Any]] = [[] for _ in range(len(queries))]
    for number, which, mine in index.by_shard(queries):
        found: Answers = index.search_shard(number, mine, photos[which], None, K, rerank)
        for i, part in zip(which.tolist(), found, strict=True):
            parts[i].append(part)
    return [merge(part, K) for part in parts]


def share_of(found: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    """Of the true neighbours (n, K) those found."""
    hits = sum(len(np.intersect1d(f, t)) for f, t in zip(found, truth, strict=True))
    return hits / truth.size


def rss_mib(*names: str) -> float:
    """What this process has in memory; RssAnon is its own, RssFile mapped files, which the system may take back."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0].rstrip(":") in names) / 2**10


def grown(what: str, folder: Path) -> None:
    """In a process of its own: prints by how many MiB searching makes it grow, all and without mapped files."""
    trained_by = Opened(DiskFolder(folder / "version"))
    queries = trained_by.route(descriptors(QUERIES, _UNSEEN), NPROBE)
    shard, which, mine = max(trained_by.by_shard(queries), key=lambda found: len(found[1]))
    photos = np.zeros(len(which), np.int64)
    # What numba brings with it is every worker's anyway.
    trained_by.search_shard(shard, mine.take(slice(2)), photos[:2], None, K)
    del trained_by
    index: Any = None
    before = [rss_mib("VmRSS"), rss_mib("RssAnon")]
    if what == "one":
        index = opened(folder / "one.faiss")
        by_code(index, queries)
    elif what == "codes":
        index = Index(DiskFolder(folder / "version"))
        index.parts(shard)[0].scan(mine.vectors, mine.lists, mine.near, K)
    else:
        index = Index(DiskFolder(folder / "version"))
        index.search_shard(shard, mine, photos, None, K)
    print(rss_mib("VmRSS") - before[0], rss_mib("RssAnon") - before[1])
    del index


def main() -> None:
    """Measures, in a folder that is removed."""
    if len(sys.argv) == 3:
        grown(sys.argv[1], Path(sys.argv[2]))
        return
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        keep("index" if ROWS <= 1_000_000 else f"index-{ROWS // 1_000_000}m", figures(Path(name)))


def figures(folder: Path) -> dict[str, tuple[float, str]]:
    """Everything that is measured."""
    corpus = Corpus.make(folder, ROWS)
    out = {f"{step}_cpu": (seconds, "s") for step, seconds in corpus.seconds.items()}
    corpus.version()
    corpus.codes_only(folder / "one.faiss", slice(None))
    index, one = Opened(DiskFolder(folder / "version")), opened(folder / "one.faiss")
    rows = [folder / f"rows-{i}.faiss" for i in range(index.manifest.shards)]
    for i, path in enumerate(rows):
        corpus.codes_only(path, slice(i, None, len(rows)))
    by_row = [opened(path) for path in rows]
    vectors = descriptors(QUERIES, _UNSEEN)
    queries = index.route(vectors, NPROBE)
    truth = corpus.nearest(queries.vectors[:JUDGED], K)
    out["rows"] = (ROWS, "vectors")
    out["shards_visited"] = (sum(len(w) for _, w, _ in index.by_shard(queries)) / QUERIES, "shards a query")
    out["balance"] = (max(index.manifest.rows) * index.manifest.shards / ROWS, "largest over mean")
    lists_of = corpus.rows.lists[np.searchsorted(corpus.rows.photo_id, truth)]
    visited = [np.isin(mine, lists).mean() for mine, lists in zip(lists_of, queries.lists, strict=False)]
    out["lists_recall"] = (float(np.mean(visited)), "of the 120 nearest")

    expected, found = by_code(one, queries), shards_by_code(index, queries)
    expected = merged([expected])
    out["distances_equal"] = (float(np.array_equal(found[0], expected[0])), "1: bit for bit")
    out["ids_equal"] = (float(np.mean(found[1] == expected[1])), "of candidates")

    def routed() -> Routed:
        """The coarse pass, which all of them begin with."""
        rotated = corpus.trained.rotate(vectors)
        near, lists = corpus.trained.assign(rotated, NPROBE)
        return Routed(rotated, lists, near, np.zeros(QUERIES), np.zeros(QUERIES))

    def of_rows(asked: Routed) -> Found:
        return merged([by_code(each, asked) for each in by_row])

    seconds = {
        "coarse": cpu_s(routed),
        "one": cpu_s(lambda: by_code(one, routed())),
        "shards": cpu_s(lambda: shards_by_code(index, routed())),
        "row_shards": cpu_s(lambda: of_rows(routed())),
    }
    out |= {f"{what}_qps": (QUERIES / s, "queries/s") for what, s in seconds.items()}
    out["shards_over_one"] = (seconds["one"] / seconds["shards"], "ratio of queries/s")
    out["shards_over_row_shards"] = (seconds["row_shards"] / seconds["shards"], "ratio of queries/s")
    out["codes_recall"] = (share_of(found[1][:JUDGED], truth), "of the 120 nearest")
    for rerank in RERANK:
        near = shards_by_vector(index, queries.take(slice(JUDGED)), rerank)
        out[f"rerank_{rerank}_recall"] = (share_of(np.array([n.photo_id for n in near]), truth), "of the 120 nearest")
        took = cpu_s(lambda r=rerank: shards_by_vector(index, routed(), r))  # type: ignore[misc]
        out[f"rerank_{rerank}_qps"] = (QUERIES / took, "queries/s")
        out[f"rerank_{rerank}_over_one"] = (seconds["one"] / took, "ratio of queries/s")

    codes = sum(path.stat().st_size for path in (folder / "version").glob("shard-*.faiss"))
    out["bytes_over_one"] = (codes / (folder / "one.faiss").stat().st_size, "ratio")
    lists = index.manifest.lists_of(0)
    shard, photos = (folder / "version" / name for name in shard_files(0))
    opening = cpu_s(lambda: Shard(shard, photos, lists).photo_id[0], 9)
    out["opening"] = (opening * 1000, "ms")
    for what in ("one", "codes", "vectors"):
        command = [sys.executable, "-m", "benchmarks.bench_index", what, str(folder)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        out[f"memory_{what}"] = (float(printed[0]), "MiB")
        out[f"memory_{what}_own"] = (float(printed[1]), "MiB, without mapped files")
    out["memory_over_one"] = (out["memory_codes"][0] / out["memory_one"][0], "ratio")
    return out


if __name__ == "__main__":
    main()
