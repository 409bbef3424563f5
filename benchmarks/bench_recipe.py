"""Retrieval with lite0 against the recipe's, on the shared Flickr photos, ten folds of owners: gains and coverage.

The same folds, corpora and places for both; each photo counts as 1 / its owner's photos, and ``_by_photo`` is the
figure without that. ``_low`` and ``_high`` are the ends of 95 % intervals, by bootstrap over owners.

- ``nats``: -ln density per steradian at the true place. Rows whose narrowest kernels differ can't be compared by it.
- ``order7``: -ln mass of the true place's HEALPix cell of order 7 (51 km), which they can be.
- ``gain``: how much less that is than by a prior, photo by photo: the row's own, or the one of im2gps.
- ``recipe_knn``: the yardstick, see ``recipe_knn.py``; ``recipe_knn_125`` is it with the project's whitening.
- ``im2gps``: judged by the maps that it would write, at their tolerance: nothing of the density behind them is seen.
- ``coverage80``: per cent of photos whose place is in the map's 80 % highest-density region.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.flickr import FOLDS, Photos, load_photos, mean_over_owners
from benchmarks.harness import keep
from benchmarks.im2gps_road import Road
from benchmarks.recipe_knn import Scores, cross_fitted, terms
from im2gps_spark.grid import MultiOrderMap, cell_area_sr, cell_centres, cells_at, resolve
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.gazetteer import Gazetteer
from im2gps_spark.posterior.region import Ranking
from im2gps_spark.posterior.rows import to_batch
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.summary import Summary
from im2gps_spark.sphere import Floats

ORDER = 7
_WRITTEN = 500
LEVELS = (0.5, 0.8, 0.9, 0.95)
_DEEPER = 3
"""The yardstick's density is averaged over the centres of a cell's 64 parts: 6 km apart, its kernels have 25."""
DIMENSION, WHITENING = 128, {"recipe_knn": 0.25, "recipe_knn_125": 0.125}


@dataclass
class Judged:
    """What im2gps answered, photo by photo (n,); logs of densities and of masses of the true places' cells."""

    law: Floats
    prior: Floats
    law_cell: Floats
    prior_cell: Floats
    level: Floats
    cells: Floats
    answers: list[Summary] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def nothing(cls, n: int) -> Judged:
        """To be filled fold by fold."""
        law, prior, law_cell, prior_cell, level, cells = np.empty((6, n))
        return cls(law, prior, law_cell, prior_cell, level, cells)


def judge(photos: Photos) -> Judged:
    """Each photo by the road on the other folds."""
    fold, cell = photos.folds(), cells_at(ORDER, photos.places)
    out = Judged.nothing(len(photos))
    Gazetteer.shared()
    for number in range(FOLDS):
        road = Road(photos, np.flatnonzero(fold != number), PosteriorSettings())
        queries = np.flatnonzero(fold == number)
        here = photos.places[queries]
        out.prior[queries] = np.log(road.prior.density[road.prior.find(here)])
        out.prior_cell[queries] = np.log(road.prior.mass_within(ORDER, cell[queries]))
        begin = time.perf_counter()
        answers = list(road.answers(queries))
        out.seconds += time.perf_counter() - begin
        for query, answer in zip(queries, answers, strict=True):
            _score(out, int(query), resolve(answer.map, road.prior), photos, cell)
            out.cells[query] = len(answer.map.cells)
        out.answers += answers
    return out


def _score(out: Judged, query: int, law: MultiOrderMap, photos: Photos, cell: np.ndarray) -> None:
    place = photos.places[query : query + 1]
    out.law[query] = np.log(law.density[law.find(place)])[0]
    out.law_cell[query] = np.log(law.mass_within(ORDER, cell[query : query + 1]))[0]
    out.level[query] = Ranking(law).level(place)[0]


def yardstick(photos: Photos, whitening: float) -> tuple[Scores, Scores]:
    """The recipe's logs of densities at the places, and of the masses of their cells."""
    cell = cells_at(ORDER, photos.places)
    parts = cell_centres(ORDER + _DEEPER, cell[:, None] * 4**_DEEPER + np.arange(4**_DEEPER))
    at_place = terms(photos, photos.places[:, None], DIMENSION, whitening)
    in_cell = terms(photos, parts, DIMENSION, whitening)
    here, cells = cross_fitted(at_place, [at_place, in_cell], photos.folds(), photos.weight)
    area = float(np.log(cell_area_sr(ORDER)))
    return here, Scores(cells.law + area, cells.prior + area)


def row_bytes(answers: list[Summary]) -> float:
    """Bytes of a row of ``posteriors`` in Parquet, zstd at Iceberg's level."""
    batch = to_batch(list(range(len(answers))), answers, [(Candidates.none(), np.zeros(0))] * len(answers))
    table = pa.Table.from_batches([batch]).select(["posterior"]).flatten()
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3)
    return float(sink.getvalue().size) / len(answers)


class Figures(dict[str, tuple[float, str]]):
    """Figures with their intervals.

    Args:
        photos: whose owners are resampled.
    """

    def __init__(self, photos: Photos) -> None:
        super().__init__()
        self._photos = photos

    def mean(self, name: str, values: Floats, unit: str = "nats") -> None:
        """The weighted mean of (n,) values, its interval, and the plain mean."""
        found = mean_over_owners(values, self._photos.owner, self._photos.weight)
        self[name] = (found.value, unit)
        self[f"{name}_low"], self[f"{name}_high"] = (found.low, unit), (found.high, unit)
        self[f"{name}_by_photo"] = (float(values.mean()), unit)


def main() -> None:
    """Both rows on the same folds."""
    photos = load_photos()
    ours = judge(photos)
    figures = Figures(photos)
    figures["photos"] = (len(photos), "photos")
    figures["owners"] = (float(photos.owner.max() + 1), "owners")
    figures.mean("im2gps_prior_nats", -ours.prior)
    figures.mean("im2gps_nats", -ours.law)
    figures.mean("im2gps_gain", ours.law - ours.prior)
    figures.mean("im2gps_prior_order7", -ours.prior_cell)
    figures.mean("im2gps_order7", -ours.law_cell)
    figures.mean("im2gps_order7_gain", ours.law_cell - ours.prior_cell)
    for name, whitening in WHITENING.items():
        here, cells = yardstick(photos, whitening)
        figures.mean(f"{name}_prior_nats", -here.prior)
        figures.mean(f"{name}_nats", -here.law)
        figures.mean(f"{name}_gain", here.law - here.prior)
        figures.mean(f"{name}_gain_over_im2gps_prior", here.law - ours.prior)
        figures.mean(f"{name}_prior_order7", -cells.prior)
        figures.mean(f"{name}_order7", -cells.law)
        figures.mean(f"{name}_order7_gain", cells.law - cells.prior)
        figures.mean(f"{name}_order7_gain_over_im2gps_prior", cells.law - ours.prior_cell)
        figures.mean(f"im2gps_over_{name}_order7", ours.law_cell - cells.law)
        figures.mean(f"im2gps_prior_over_{name}_prior_order7", ours.prior_cell - cells.prior)
        figures.mean(f"im2gps_gain_over_{name}_gain", (ours.law - ours.prior) - (here.law - here.prior))
    for level in LEVELS:
        within = 100.0 * (ours.level <= level).astype(np.float64)
        figures.mean(f"im2gps_coverage{100 * level:.0f}", within, "%")
    figures["im2gps_cells_median"] = (float(np.median(ours.cells)), "cells")
    figures["im2gps_cells_p90"] = (float(np.quantile(ours.cells, 0.9)), "cells")
    figures["im2gps_row_bytes"] = (row_bytes(ours.answers[:_WRITTEN]), "bytes")
    figures["im2gps_photos_per_second"] = (len(photos) / ours.seconds, "photos/s")
    keep("recipe", figures)


if __name__ == "__main__":
    main()
