"""Codecs of inverted lists, each with exact re-ranking of its first R: queries a second at a recall of .98; one thread.

R is the least of a few at which .98 of the 120 nearest are found, by vectors of 16 bits; FAISS' selection or ours,
whichever is faster. Made-up descriptors as in bench_index, ``IM2GPS_BENCH_ROWS`` of them; and lite0 of the shared
Flickr photos, eight parts of each, where they are at hand.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_index import cpu_s, share_of
from benchmarks.harness import PHOTOS, keep
from benchmarks.index_corpus import descriptors
from im2gps_spark.descriptors.registry import load
from im2gps_spark.index import kernels
from im2gps_spark.index.plan import plan
from im2gps_spark.index.shard import by_distance
from im2gps_spark.index.training import train
from im2gps_spark.photos.decode import decode, limit_threads

ROWS = int(os.environ.get("IM2GPS_BENCH_ROWS", "300000"))
QUERIES, K, RECALL = 500, 120, 0.98
RERANK = (120, 150, 200, 300, 400, 600, 1000)
CODECS = (
    "PQ32", "PQ64", "PQ64x4fs", "PQ128x4fs", "RaBitQ", "RaBitQ2", "RaBitQ4", "RaBitQfs", "RaBitQfs2", "SQ4", "SQ8",
)  # fmt: skip
_UNSEEN = 10**6
_CHUNK = 50_000


@dataclass(frozen=True)
class Problem:
    """Unit vectors to be found again.

    Attributes:
        vectors: (n, d) float16; queries: (m, d) float32.
        centroids: (lists, d) float32, of which each query visits ``nprobe``.
        truth: (m, k) the nearest.
    """

    vectors: NDArray[np.float16]
    queries: NDArray[np.float32]
    centroids: NDArray[np.float32]
    nprobe: int
    truth: NDArray[np.int64]

    @classmethod
    def of(cls, rotated: NDArray[np.float16], queries: NDArray[np.float32], lists: int, nprobe: int) -> Problem:
        """Clusters them, and finds the true neighbours by looking at all."""
        d = rotated.shape[1]
        kmeans = faiss.Kmeans(d, lists, niter=8, seed=1, max_points_per_centroid=40)
        kmeans.train(np.asarray(rotated[: 40 * lists], np.float32))
        best = faiss.ResultHeap(len(queries), K)
        for first in range(0, len(rotated), _CHUNK):
            distance, found = faiss.knn(queries, np.asarray(rotated[first : first + _CHUNK], np.float32), K)
            best.add_result(distance, found + first)
        best.finalize()
        return cls(rotated, queries, kmeans.centroids, nprobe, best.I)

    def turned(self) -> Problem:
        """The same by other axes, at random: a bit a number wants all of them to say as much."""
        noise = np.random.default_rng(1).standard_normal((self.queries.shape[1],) * 2)
        axes = np.linalg.qr(noise)[0].astype(np.float32)
        vectors = np.concatenate(
            [
                (np.asarray(self.vectors[first : first + _CHUNK], np.float32) @ axes).astype(np.float16)
                for first in range(0, len(self.vectors), _CHUNK)
            ]
        )
        return Problem(vectors, self.queries @ axes, self.centroids @ axes, self.nprobe, self.truth)


def made_up() -> Problem:
    """The corpus of bench_index."""
    made = plan(ROWS, 256, sample=30_000, dimension=256, lists=2)
    trained = train(descriptors(30_000, 0), made)
    rotated = np.empty((ROWS, made.dimension), np.float16)
    for chunk, first in enumerate(range(0, ROWS, _CHUNK)):
        here = rotated[first : first + _CHUNK]
        here[:] = trained.rotate(descriptors(len(here), chunk))
    return Problem.of(rotated, trained.rotate(descriptors(QUERIES, _UNSEEN)), 1024, 16)


def of_photos() -> Problem:
    """Parts of the shared photos; those of the last photos are the queries."""
    limit_threads()
    network, described = load("lite0"), []
    for path in sorted((PHOTOS / "images").rglob("*.jpg")):
        picture = decode(path.read_bytes())
        high, wide = (side // 3 for side in picture.shape[:2])
        parts = [picture] + [picture[y : y + 2 * high, x : x + 2 * wide] for y in (0, high) for x in (0, wide)]
        parts += [picture[:, : 2 * wide], picture[:, wide:], picture[high // 2 : -high // 2]]
        described.append(network.describe([network.prepare(np.ascontiguousarray(part)) for part in parts]))
    every = np.concatenate(described).astype(np.float32)
    made = plan(len(every), every.shape[1], sample=len(every), dimension=128, lists=2)
    rotated = train(every, made).rotate(every)
    return Problem.of(rotated[:-QUERIES].astype(np.float16), rotated[-QUERIES:], 16, 16)


def index_of(codec: str, problem: Problem) -> Any:
    """A FAISS index with the problem's lists and vectors."""
    made = faiss.index_factory(problem.queries.shape[1], f"IVF{len(problem.centroids)},{codec}")
    faiss.downcast_index(made.quantizer).add(problem.centroids)
    made.train(np.asarray(problem.vectors[:_CHUNK], np.float32))
    if hasattr(made, "use_precomputed_table"):
        made.use_precomputed_table = -1
    for first in range(0, len(problem.vectors), _CHUNK):
        made.add(np.asarray(problem.vectors[first : first + _CHUNK], np.float32))
    made.nprobe = problem.nprobe
    return made


def first_by_code(index: Any, problem: Problem, most: int, *, every: bool) -> NDArray[np.int64]:
    """The first candidates (m, most): selected by FAISS, or of every code that is looked at, by numpy."""
    near, lists = index.quantizer.search(problem.queries, problem.nprobe)
    if not every:
        return np.asarray(index.search_preassigned(problem.queries, most, lists, near)[1])
    ends, distance, found = index.range_search_preassigned(problem.queries, 1e30, lists, near)
    ids = np.full((len(problem.queries), most), -1, np.int64)
    for i, (a, b) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        chosen = found[a:b] if b - a <= most else found[a:b][np.argpartition(distance[a:b], most - 1)[:most]]
        ids[i, : len(chosen)] = chosen
    return ids


def re_ranked(problem: Problem, slots: NDArray[np.int64]) -> NDArray[np.int64]:
    """The k nearest of candidates by their vectors."""
    distance = np.full(slots.shape, np.inf)
    kernels.exact_distances(problem.vectors.view(np.uint16), slots, problem.queries, distance, kernels.LINE)
    return np.take_along_axis(slots, by_distance(distance, slots, K), axis=1)


def measured(codec: str, problem: Problem) -> dict[str, tuple[float, str]]:
    """A codec's row of the table."""
    index, ways = index_of(codec, problem), [False] if codec.endswith(("fs", "fs2")) else [False, True]

    def fastest(work: Callable[[bool], object]) -> float:
        return len(problem.queries) / min(cpu_s(lambda w=way: work(w)) for way in ways)  # type: ignore[misc]

    out = {"bytes": (float(index.code_size), "bytes a vector")}
    plain = first_by_code(index, problem, K, every=False)
    out["recall"] = (share_of(plain, problem.truth), "of the 120 nearest, by codes")
    out["qps"] = (fastest(lambda way: first_by_code(index, problem, K, every=way)), "queries/s, by codes")
    for rerank in RERANK:
        found = re_ranked(problem, first_by_code(index, problem, rerank, every=False))
        recall = share_of(found, problem.truth)
        out[f"recall_{rerank}"] = (recall, "of the 120 nearest, re-ranked")
        if recall >= RECALL:
            out["R"] = (rerank, "re-ranked")
            qps = fastest(lambda way: re_ranked(problem, first_by_code(index, problem, int(out["R"][0]), every=way)))
            out["qps_R"] = (qps, "queries/s, re-ranked")
            break
    return out


def main() -> None:
    """Both tables."""
    faiss.omp_set_num_threads(1)
    figures: dict[str, tuple[float, str]] = {}
    problems = {"made_up": made_up} | ({"lite0": of_photos} if (PHOTOS / "images").is_dir() else {})
    for name, make in problems.items():
        begin = time.process_time()
        problem = make()
        figures[f"{name}_rows"] = (len(problem.vectors), f"vectors of {problem.queries.shape[1]}")
        figures[f"{name}_made"] = (time.process_time() - begin, "s")
        turned = problem.turned()
        for codec in CODECS:
            row = measured(codec, turned if codec.startswith("RaBitQ") else problem)
            figures |= {f"{name}_{codec}_{figure}": value for figure, value in row.items()}
    keep("codecs", figures)


if __name__ == "__main__":
    main()
