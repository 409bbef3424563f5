"""One core: photos a second through map and summary, flat votes and sharp ones; cells a photo; total variation."""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

from benchmarks.harness import best_of, keep
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.gazetteer import Gazetteer
from im2gps_spark.posterior.prior import prior_map
from im2gps_spark.posterior.refine import Density
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.summary import Summary, summarise
from im2gps_spark.posterior.votes import density_of, vote_weights
from im2gps_spark.sphere import coordinates, unit_vectors

PHOTOS, CORPUS, K = 20, 3000, 1000


def main() -> None:
    """Times the posterior on a made-up world of clustered places."""
    rng = np.random.default_rng(2008)
    towns = rng.normal(size=(150, 3))
    town = rng.integers(0, 150, CORPUS)
    places = towns[town] + rng.normal(scale=0.02, size=(CORPUS, 3))
    latitude, longitude = coordinates(places)
    prior = prior_map(unit_vectors(latitude, longitude), np.ones(CORPUS))
    Gazetteer.shared()
    figures: dict[str, tuple[float, str]] = {"prior_cells": (len(prior.cells), "cells")}
    for name, sharpness in (("flat", 0.8), ("sharp", 3.2)):
        settings = PosteriorSettings(sharpness=[sharpness], sharpness_shares=[1.0])
        densities: list[Density] = []
        for _ in range(PHOTOS):
            # Half of a photo's likeness comes from where it is, half from what else is in it.
            likeness = (rng.normal(size=150)[town] + rng.normal(size=CORPUS)) / np.sqrt(2.0)
            near = np.argsort(-likeness)[:K]
            score = likeness[near]
            found = Candidates(near, np.ones(K), latitude[near], longitude[near], np.ones(K))
            densities.append(density_of(found, vote_weights(score, found.owner_photos, settings), settings, prior))
        made: list[Summary] = []

        def work(those: list[Density] = densities, into: list[Summary] = made, tolerance: float = 0.05) -> None:
            into[:] = [summarise(density, tolerance) for density in those]

        seconds = best_of(work, 3)
        figures[f"{name}_photos_per_second"] = (PHOTOS / seconds, "photos/s")
        figures[f"{name}_cells_median"] = (float(np.median([len(s.map.cells) for s in made])), "cells")
    keep("posterior", figures)


if __name__ == "__main__":
    main()
