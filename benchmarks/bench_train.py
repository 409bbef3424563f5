"""One core: training an index, on synthetic vectors of 256 numbers in 20,000 clusters, and on real photos.

- ``flat``, ``two_levels`` (without the passes over all lists) and ``cluster`` (what training does): processor seconds
  for 4096 lists from 30 vectors a list; coarse recall: of a query's true 100 nearest, the share in the 16 lists nearest
  to it; and what share of the corpus is in those. Queries and corpus are not the sample.
- ``real``, if the shared photos are at hand: lite0, judged on owners that were not trained on; ``error``, mean squared,
  of list and code, with OPQ and without, and their ratio; ``recall``: the share of a held-out photo's true 100 nearest
  among the first 300 codes of all lists.
- ``large``: 500,000 vectors for 16,666 lists in a process of their own: seconds and memory, and what was said
  beforehand over what it was.
- ``rate``: the unit costs of ``index/costs.py``, multiplications and additions a second.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import faiss
import numpy as np

from benchmarks.flickr import load_photos
from benchmarks.harness import PHOTOS, keep
from im2gps_spark.index import clustering
from im2gps_spark.index.components import components
from im2gps_spark.index.costs import costs
from im2gps_spark.index.plan import plan
from im2gps_spark.index.training import Trained, find_components, train, train_quantizers

DIMENSION, CLUSTERS, SPREAD = 256, 20_000, 0.7
LISTS, NPROBE, NEAREST = 4096, 16, 100
OTHERS, QUERIES = 30_000, 400
LARGE_SAMPLE = 500_000
_FIRST_CODES = 300
Figures = dict[str, tuple[float, str]]
Found = TypeVar("Found")


class World:
    """Clusters all over the space: a vector's nearest are of its own cluster."""

    def __init__(self, seed: int = 2008) -> None:
        self._rng = np.random.default_rng(seed)
        self._centres = self._rng.standard_normal((CLUSTERS, DIMENSION), np.float32)

    def draw(self, n: int) -> np.ndarray:
        """(n, DIMENSION) float32."""
        return self.draw_of(self.clusters(n))

    def clusters(self, n: int) -> np.ndarray:
        """(n,) numbers of clusters."""
        return self._rng.integers(0, CLUSTERS, n)

    def draw_of(self, clusters: np.ndarray) -> np.ndarray:
        """(n, DIMENSION) float32 of these clusters."""
        noise = self._rng.standard_normal((len(clusters), DIMENSION), np.float32)
        return np.asarray(self._centres[clusters] + np.float32(SPREAD) * noise)


def cpu_s(work: Callable[[], Found], runs: int = 1) -> tuple[float, Found]:
    """Processor seconds of the fastest of some runs, and what it gave."""
    best = np.inf
    for _ in range(runs):
        begin = time.process_time()
        found = work()
        best = min(best, time.process_time() - begin)
    return best, found


def lists_compared() -> Figures:
    """Time and coarse recall of the ways to find centroids."""
    world = World()
    sample, asked = world.draw(30 * LISTS), world.clusters(QUERIES)
    queries = world.draw_of(asked)
    # As much of a corpus of millions as their nearest can be among.
    corpus = np.concatenate([world.draw_of(np.repeat(asked, NEAREST + 50)), world.draw(OTHERS)])
    truth = faiss.knn(queries, corpus, NEAREST)[1]
    ways: dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], int]] = {
        "two_levels": (clustering.two_levels, 2),
        "cluster": (clustering.cluster, 2),
        "flat": (clustering.flat, 1),
    }
    figures: Figures = {}
    for name, (way, runs) in ways.items():
        seconds, centroids = cpu_s(lambda way=way: way(sample, LISTS), runs)  # type: ignore[misc]
        list_of = faiss.knn(corpus, centroids, 1)[1][:, 0]
        visited = faiss.knn(queries, centroids, NPROBE)[1]
        hit = (list_of[truth][:, :, None] == visited[:, None, :]).any(axis=2)
        error, of_sample = (found[:, 0] for found in faiss.knn(sample, centroids, 1))
        share = np.bincount(of_sample, minlength=LISTS)[visited].sum(axis=1).mean() / len(sample)
        figures |= {
            f"{name}_cpu": (seconds, "s"),
            f"{name}_coarse_recall": (float(hit.mean()), "of 1"),
            f"{name}_visited": (float(share), "of the corpus"),
            f"{name}_coarse_error": (float(error.mean(dtype=np.float64)), ""),
        }
    flat = figures["flat_cpu"][0]
    figures |= {f"{name}_times_as_fast": (flat / figures[f"{name}_cpu"][0], "x") for name in ways if name != "flat"}
    return figures


def opq_compared(name: str, sample: np.ndarray, strangers: np.ndarray) -> Figures:
    """Errors and recall of codes with OPQ and without, on vectors that were not trained on."""
    made = plan(len(sample), sample.shape[1], sample=len(sample))
    sample = sample[: made.sample]
    figures: Figures = {}
    errors = {}
    for way, opq in (("pca", 0), ("opq", 1)):
        seconds, trained = cpu_s(lambda opq=opq: train(sample, replace(made, opq=opq)))  # type: ignore[misc]
        errors[way] = trained.errors(trained.rotate(strangers)).code
        figures[f"{name}_{way}_cpu"] = (seconds, "s")
        figures[f"{name}_{way}_error"] = (errors[way], "")
        figures[f"{name}_{way}_recall"] = (code_recall(trained, sample, strangers), "of 1")
    figures[f"{name}_error_opq"] = (errors["opq"] / errors["pca"], "x")
    return figures


def code_recall(trained: Trained, corpus: np.ndarray, queries: np.ndarray) -> float:
    """Of queries' true nearest in the corpus, how many are among the first by their codes."""
    rotated, asked = trained.rotate(corpus), trained.rotate(queries)
    truth = faiss.knn(asked, rotated, NEAREST)[1]
    filled = Trained.from_bytes(trained.to_bytes())
    filled.ivf.add(rotated)
    filled.ivf.nprobe = filled.ivf.nlist
    found = filled.ivf.search(asked, _FIRST_CODES)[1]
    return float(np.mean([np.isin(t, f).mean() for t, f in zip(truth, found, strict=True)]))


def large() -> None:
    """In a process of its own: trains on a large sample, and prints what it took."""
    world = World()
    made = plan(10**9, DIMENSION, sample=LARGE_SAMPLE, dimension=DIMENSION, lists=LARGE_SAMPLE // 30)
    rotated = np.empty((made.sample, made.dimension), np.float32)
    linear = find_components(world.draw(made.components_sample), made.dimension)
    for begin in range(0, made.sample, 20_000):
        rotated[begin : begin + 20_000] = linear.apply(world.draw(min(20_000, made.sample - begin)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    begin_s = time.process_time()
    train_quantizers(rotated, linear, made)
    taken = time.process_time() - begin_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    said = costs(made)
    print(json.dumps([taken, before, peak, said.train_s, said.train_bytes]))


def large_apart() -> Figures:
    """The large sample's figures."""
    command = [sys.executable, "-c", "from benchmarks import bench_train; bench_train.large()"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    taken, before, peak, said_s, said_bytes = json.loads(out.splitlines()[-1])
    return {
        "large_cpu": (taken, "s"),
        "large_memory_before": (before / 2**20, "MiB"),
        "large_memory": (peak / 2**20, "MiB"),
        "large_time_said": (said_s / taken, "of what it took"),
        "large_memory_said": (said_bytes / peak, "of what it took"),
    }


def rates() -> Figures:
    """Unit costs."""
    rng = np.random.default_rng(1)
    n, wide, short, lists = 20_000, 1280, 128, 4096
    vectors = rng.standard_normal((n, wide), np.float32)
    linear = components(vectors[:4000], short)
    rotated = linear.apply(vectors)
    codes = faiss.ProductQuantizer(short, short // 4, 8)
    codes.train(rotated[:10_000])
    centroids = rotated[:lists]
    singly = vectors[:4000]
    work: dict[str, tuple[Callable[[], np.ndarray], float]] = {
        "nearest": (lambda: faiss.knn(rotated, centroids, 1)[1], 2.0 * n * lists * short),
        "double": (lambda: linear.apply(vectors), 2.0 * n * wide * short),
        "singly": (lambda: linear.apply_singly(singly), 2.0 * len(singly) * wide * short),
        "words": (lambda: codes.compute_codes(rotated), 2.0 * n * 256 * short),
    }
    return {f"rate_{name}": (flops / cpu_s(run, 5)[0], "flop/s") for name, (run, flops) in work.items()}


def main() -> None:
    """All of them, in four minutes of a core."""
    figures = rates() | lists_compared()
    if PHOTOS.exists():
        photos = load_photos()
        held = photos.folds() == 0
        figures |= opq_compared("real", photos.vectors[~held], photos.vectors[held])
    keep("train", figures | large_apart())


if __name__ == "__main__":
    main()
