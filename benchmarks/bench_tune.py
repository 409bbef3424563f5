"""What search's work costs: a code scanned, and a vector compared again. Where recall.CODE_US and VECTOR_US come from.

One thread, and the time of the thread itself, so that others on the machine don't count. The index is of random
descriptors, of 128 components and 32 bytes as a corpus of its size gets, in one shard.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from benchmarks.harness import best_of, keep
from im2gps_spark.index.plan import plan
from im2gps_spark.index.routed import Routed
from im2gps_spark.index.search import Index
from im2gps_spark.index.training import train
from im2gps_spark.store.folder import DiskFolder
from tests.index import Corpus, write_version

ROWS, INPUT, SAMPLE, CLUSTERS = 200_000, 256, 30_000, 2_000
QUERIES, RUNS = 64, 7
NPROBES, RERANKS = (16, 128), (300, 3000)


def main() -> None:
    """Measures, and keeps what came out."""
    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, INPUT))
    vectors = (centres[rng.integers(0, CLUSTERS, ROWS + QUERIES)] + rng.normal(size=(ROWS + QUERIES, INPUT))).astype(
        np.float32
    )
    corpus = Corpus(np.arange(1, ROWS + 1), vectors[:ROWS], np.arange(ROWS))
    made = plan(ROWS, INPUT, sample=SAMPLE, shards=1)
    with tempfile.TemporaryDirectory() as folder:
        write_version(Path(folder) / "version", (train(corpus.vectors[:SAMPLE], made), made), corpus)
        index = Index(DiskFolder(Path(folder) / "version"))
        figures = costs(index, vectors[ROWS:])
    keep("tune", {"rows": (float(ROWS), ""), "lists": (float(made.lists), ""), **figures})


def costs(index: Index, vectors: np.ndarray) -> dict[str, tuple[float, str]]:
    """Microseconds a code and a vector, by differences of searches that do more of one of them."""
    few_lists, many_lists = (index.route(vectors, nprobe) for nprobe in NPROBES)
    few_vectors, many_vectors = RERANKS
    base = search(index, few_lists, few_vectors)
    code = (search(index, many_lists, few_vectors) - base) / (codes_of(index, many_lists) - codes_of(index, few_lists))
    vector = (search(index, few_lists, many_vectors) - base) / (len(vectors) * (many_vectors - few_vectors))
    return {"code": (1e6 * code, "us"), "vector": (1e6 * vector, "us"), "ratio": (vector / code, "")}


def search(index: Index, routed: Routed, rerank: int) -> float:
    """Seconds for all queries; of each as many come back as are compared again."""
    nobody = np.zeros(len(routed), np.int64)
    return seconds(lambda: index.search_shard(0, routed, nobody, None, rerank, rerank))


def codes_of(index: Index, routed: Routed) -> int:
    """Codes in the lists that are visited."""
    return int(index.parts(0)[0].sizes[routed.lists].sum())


def seconds(work: Callable[[], object]) -> float:
    """Of this thread, the least of some runs."""
    return best_of(work, RUNS, time.thread_time)


if __name__ == "__main__":
    main()
