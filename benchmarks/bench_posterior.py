"""One core: the full recipe at k = 1000 with map and summary, on a made-up world of 150 towns and its prior.

``flat`` votes are those of a photo that could be from anywhere, ``sharp`` ones of a photo that knows its town. Parts of
the work are timed apart, in milliseconds a photo. Times are the process' own (it has one thread), not the clock's, and
the best of some runs: others may be at work beside it. ``total_variation`` is between density and map, by points drawn
from the map; ``row_bytes`` of a row of ``posteriors`` in Parquet; ``memory_grown`` over all photos but the first fifth.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.bench_recipe import row_bytes
from benchmarks.harness import best_of, keep
from im2gps_spark.evaluation.scores import drawn
from im2gps_spark.grid import MultiOrderMap, resolve
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.gazetteer import Gazetteer
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.parts import connected_parts
from im2gps_spark.posterior.points import find_median, find_mode_and_discs
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import refine
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.summary import AREA_LEVELS, summarise
from im2gps_spark.posterior.votes import density_of, vote_weights
from im2gps_spark.sphere import coordinates, unit_vectors

PHOTOS, CORPUS, TOWNS, K = 100, 30_000, 150, 1000
WAYS = {"flat": 0.8, "sharp": 3.2}
TOLERANCE = PosteriorSettings().tolerance
_POINTS = 2000


class World:
    """Towns, photos in them, and what they look like."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(2008)
        towns = self._rng.normal(size=(TOWNS, 3))
        self._town = self._rng.choice(TOWNS, CORPUS, p=self._rng.dirichlet(np.full(TOWNS, 0.7)))
        places = towns[self._town] + self._rng.normal(scale=0.02, size=(CORPUS, 3))
        self._latitude, self._longitude = coordinates(places)
        prior = prior_map(unit_vectors(self._latitude, self._longitude), np.ones(CORPUS))
        self.background = Background(prior)

    def photo(self, settings: PosteriorSettings) -> Density:
        """Half of a photo's likeness comes from where it is, half from what else is in it."""
        likeness = (self._rng.normal(size=TOWNS)[self._town] + self._rng.normal(size=CORPUS)) / np.sqrt(2.0)
        near = np.argsort(-likeness)[:K]
        one, street = np.ones(K), np.full(K, 16, np.int8)
        found = Candidates(near, one, self._latitude[near], self._longitude[near], one, street)
        weights = vote_weights(likeness[near], found.owner_photos, settings)
        return density_of(found, weights, settings, self.background)


def total_variation(density: Density, relative: MultiOrderMap) -> float:
    """Between a density, scaled to mass 1, and what its map stands for."""
    law = resolve(relative, density.background.map)
    points = drawn(law, _POINTS)
    ratio = density.at(points) / law.density[law.find(points)]
    return float(np.maximum(0.0, 1.0 - ratio / ratio.mean()).mean())


def parts_of_the_work(densities: list[Density]) -> dict[str, tuple[Callable[[Any], object], list[Any]]]:
    """What is done for a photo, step by step, and what each step is given."""
    maps = [refine(density, TOLERANCE) for density in densities]

    pairs = [(m, d.background) for m, d in zip(maps, densities, strict=True)]
    laws, levels = [Law.of(*pair) for pair in pairs], np.array(AREA_LEVELS)
    return {
        "map": (lambda density: refine(density, TOLERANCE), densities),
        "law": (lambda pair: Law.of(*pair), pairs),
        "law_and_areas": (lambda pair: Law.of(*pair).area_km2(levels), pairs),  # a law keeps what they are read from
        "mode_and_discs": (find_mode_and_discs, laws),
        "median": (find_median, laws),
        "regions": (connected_parts, laws),
    }


def main() -> None:
    """Times all of it, then its parts."""
    world = World()
    Gazetteer.shared()
    figures: dict[str, tuple[float, str]] = {"prior_cells": (len(world.background.map.cells), "cells")}
    for way, sharpness in WAYS.items():
        settings = PosteriorSettings(sharpness=[sharpness], sharpness_shares=[1.0])
        densities = [world.photo(settings) for _ in range(PHOTOS)]
        made = [summarise(density, TOLERANCE) for density in densities[: PHOTOS // 5]]
        before = _resident_mb()
        made += [summarise(density, TOLERANCE) for density in densities[PHOTOS // 5 :]]
        grown = _resident_mb() - before
        runs = [
            _best_of(lambda some=some: [summarise(density, TOLERANCE) for density in some], 3)  # type: ignore[misc]
            for some in (densities[i : i + 10] for i in range(0, PHOTOS, 10))
        ]
        cells = [len(summary.map.cells) for summary in made]
        off = [total_variation(d, s.map) for d, s in zip(densities[:20], made[:20], strict=True)]
        figures[f"{way}_photos_per_second"] = (PHOTOS / sum(runs), "photos/s")
        for name, (step, inputs) in parts_of_the_work(densities).items():
            figures[f"{way}_{name}"] = (1e3 * _best_of(lambda s=step, i=inputs: _each(s, i), 2) / PHOTOS, "ms")  # type: ignore[misc]
        figures[f"{way}_cells_median"] = (float(np.median(cells)), "cells")
        figures[f"{way}_row_bytes"] = (row_bytes(made), "bytes")
        figures[f"{way}_total_variation_mean"] = (float(np.mean(off)), "of 1")
        figures[f"{way}_total_variation_most"] = (float(np.max(off)), "of 1")
        figures[f"{way}_memory_grown"] = (grown, "MB")
    keep("posterior", figures)


def _best_of(work: Callable[[], object], runs: int) -> float:
    """Seconds of the processor that the fastest of some runs takes."""
    return best_of(work, runs, time.process_time)


def _each(step: Callable[[Any], object], inputs: list[Any]) -> None:
    for one in inputs:
        step(one)


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


if __name__ == "__main__":
    main()
