"""Retrieval with lite0 against the recipe's, on the shared Flickr photos, ten folds of owners: gains and coverage.

The same folds, corpora and places for both; each photo counts as 1 / its owner's photos, and ``_by_photo`` is the
figure without that. ``_low`` and ``_high`` are the ends of 95 % intervals, by bootstrap over owners.

- ``nats``: -ln density per steradian at the true place. Rows whose narrowest kernels differ can't be compared by it.
- ``order7``: -ln mass of the true place's HEALPix cell of order 7 (51 km), which they can be.
- ``gain``: how much less that is than by the row's own prior, photo by photo; ``over`` another row: than by that.
- ``recipe_knn``: the yardstick, see ``recipe_knn.py``; ``recipe_knn_125`` is it with the project's whitening.
- ``im2gps``: judged by the maps that it would write, at their tolerance: nothing of the density behind them is seen.
  Its prior is fitted on the other folds; its default shares were found on these very photos. Those of
  ``im2gps_calibrated`` are what calibrate finds on the other folds, drawn to the defaults.
- ``coverage80``: per cent of photos whose place is in the map's 80 % highest-density region.
- ``row_bytes``: of a row of ``posteriors`` in Parquet.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.flickr import FOLDS, METADATA, Photos, load_photos, mean_over_owners
from benchmarks.harness import keep
from benchmarks.im2gps_road import Road, calibrated, shapes
from benchmarks.recipe_knn import Scores, cross_fitted, terms
from im2gps_spark.grid import MultiOrderMap, cell_area_sr, cell_centres, cells_at, resolve
from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.calibration import Graded
from im2gps_spark.posterior.gazetteer import Gazetteer
from im2gps_spark.posterior.prior import Shape
from im2gps_spark.posterior.region import Ranking
from im2gps_spark.posterior.rows import to_batch
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.summary import Summary
from im2gps_spark.sphere import Floats

ORDER = 7
PRIOR = "prior"
_WRITTEN = 500
LEVELS = (0.5, 0.8, 0.9, 0.95)
_DEEPER = 3
"""The yardstick's density is averaged over the centres of a cell's 64 parts: 6 km apart, its kernels have 25."""
DIMENSION, WHITENING = 128, {"recipe_knn": 0.25, "recipe_knn_125": 0.125}


@dataclass
class Judged:
    """What im2gps answered, photo by photo (n,).

    Attributes:
        law, law_cell: logs of the map's density at the true place and of its mass in the place's cell.
        level: highest-density level of the true place.
        cells: of the map.
        answers: of the first photos, to be written.
        seconds: that the answers took.
    """

    law: Floats
    law_cell: Floats
    level: Floats
    cells: Floats
    answers: list[Summary] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def nothing(cls, n: int) -> Judged:
        """To be filled photo by photo."""
        law, law_cell, level, cells = np.empty((4, n))
        return cls(law, law_cell, level, cells)

    def score(self, which: np.ndarray, laws: Iterable[MultiOrderMap], places: Floats) -> None:
        """Fills in the laws of some photos, by their true places (n, 3)."""
        for i, law in zip(which, laws, strict=True):
            place = places[i : i + 1]
            self.law[i] = np.log(law.density[law.find(place)])[0]
            self.law_cell[i] = np.log(law.mass_within(ORDER, cells_at(ORDER, place)))[0]
            self.level[i] = Ranking(law).level(place)[0]


def judge(photos: Photos, made_of: list[Shape], ways: dict[str, list[Graded]]) -> dict[str, Judged]:
    """Each photo by the road on the other folds, with each way's settings for its fold; and the prior of that road.

    Args:
        made_of: by fold, the prior's shape.
        ways: by name and fold.
    """
    fold = photos.folds()
    judged = {name: Judged.nothing(len(photos)) for name in (*ways, PRIOR)}
    Gazetteer.shared()
    for number in range(FOLDS):
        road = Road(photos, np.flatnonzero(fold != number), made_of[number])
        queries = np.flatnonzero(fold == number)
        judged[PRIOR].score(queries, [road.prior] * len(queries), photos.places)
        for name, by in ways.items():
            into = judged[name]
            begin = time.perf_counter()
            answers = list(road.answers(queries, by[number]))
            into.seconds += time.perf_counter() - begin
            into.score(queries, (resolve(answer.map, road.prior) for answer in answers), photos.places)
            into.cells[queries] = [len(answer.map.cells) for answer in answers]
            into.answers += answers[: _WRITTEN - len(into.answers)]
    return judged


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

    def coverage(self, name: str, judged: Judged) -> None:
        """How many of the true places the highest-density regions hold."""
        for level in LEVELS:
            self.mean(f"{name}_coverage{100 * level:.0f}", 100.0 * (judged.level <= level).astype(np.float64), "%")


def main() -> None:
    """Both rows on the same folds; nothing where the photos are not at hand."""
    if not METADATA.exists():
        print(f"recipe: {METADATA} is not there, nothing to measure", file=sys.stderr)
        return
    photos = load_photos()
    made_of = shapes(photos)
    ways = {"im2gps": [Graded((), (PosteriorSettings(),))] * FOLDS, "im2gps_calibrated": calibrated(photos, made_of)}
    judged = judge(photos, made_of, ways)
    prior = judged.pop(PRIOR)
    figures = Figures(photos)
    figures["photos"] = (len(photos), "photos")
    figures["owners"] = (float(photos.owner.max() + 1), "owners")
    figures.mean("im2gps_prior_nats", -prior.law)
    figures.mean("im2gps_prior_order7", -prior.law_cell)
    figures.coverage("im2gps_prior", prior)
    for name, ours in judged.items():
        figures.mean(f"{name}_nats", -ours.law)
        figures.mean(f"{name}_gain", ours.law - prior.law)
        figures.mean(f"{name}_order7", -ours.law_cell)
        figures.mean(f"{name}_order7_gain", ours.law_cell - prior.law_cell)
        figures.coverage(name, ours)
        figures[f"{name}_cells_median"] = (float(np.median(ours.cells)), "cells")
        figures[f"{name}_cells_p90"] = (float(np.quantile(ours.cells, 0.9)), "cells")
        figures[f"{name}_row_bytes"] = (row_bytes(ours.answers), "bytes")
        figures[f"{name}_photos_per_second"] = (len(photos) / ours.seconds, "photos/s")
    for name, whitening in WHITENING.items():
        here, cells = yardstick(photos, whitening)
        figures.mean(f"{name}_prior_nats", -here.prior)
        figures.mean(f"{name}_nats", -here.law)
        figures.mean(f"{name}_gain", here.law - here.prior)
        figures.mean(f"{name}_prior_order7", -cells.prior)
        figures.mean(f"{name}_order7", -cells.law)
        figures.mean(f"{name}_order7_gain", cells.law - cells.prior)
        figures.mean(f"{name}_order7_gain_over_im2gps_prior", cells.law - prior.law_cell)
        for ours_name, ours in judged.items():
            figures.mean(f"{ours_name}_over_{name}_order7", ours.law_cell - cells.law)
            gain = (ours.law_cell - prior.law_cell) - (cells.law - cells.prior)
            figures.mean(f"{ours_name}_gain_over_{name}_gain_order7", gain)
    keep("recipe", figures)


if __name__ == "__main__":
    main()
