"""One answer out of the tables as a file: the right one, whole, or one clear line."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from pyspark.sql import SparkSession

from im2gps_spark.errors import UsageError
from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.posterior import Posterior
from im2gps_spark.session import session
from im2gps_spark.stages.export import export
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import POSTERIORS, PRIORS
from tests.posterior.laws import random_map
from tests.stages import Workshop

pytestmark = [pytest.mark.spark, pytest.mark.timeout(300)]

PRIOR = random_map(np.random.default_rng(1), 60)
MAPS = {(7, "2026-11-22"): 2, (7, "2026-11-23"): 3, (8, "2026-11-23"): 4}


def map_of(photo_id: int, night: str) -> MultiOrderMap:
    return random_map(np.random.default_rng(MAPS[photo_id, night]))


def posterior(lake: Lake, photo_id: int, night: str, version: str = "v1") -> None:
    """Puts an answer into the table: nothing but what an export needs."""
    cells = Posterior(map_of(photo_id, night), PRIOR).to_arrow().to_pylist()
    row: dict[str, Any] = {"photo_id": photo_id, "engine": "im2gps", "index_version": version}
    row |= {"night": dt.date.fromisoformat(night), "map": [(cell["cell"], cell["mass"]) for cell in cells]}
    lake.append(POSTERIORS, lake.rows(POSTERIORS, [[row.get(name) for name in POSTERIORS.column_names]]))


@pytest.fixture(scope="module")
def workshop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = Workshop.opened(tmp_path_factory.mktemp("export"))
    with made.lake() as lake:
        rows = zip(PRIOR.cells.tolist(), PRIOR.mass.tolist(), strict=True)
        lake.append(PRIORS, lake.rows(PRIORS, [("v1", cell, mass) for cell, mass in rows]))
        posterior(lake, 7, "2026-11-22")
        posterior(lake, 7, "2026-11-23")
        posterior(lake, 8, "2026-11-23", version="gone")
    return made


def run(workshop: Workshop, photo_id: int, path: Path, *overrides: str) -> None:
    config = workshop.config(*overrides)
    with session(config, "test") as spark:
        export(spark, config, photo_id, path)


@pytest.mark.parametrize(("overrides", "night"), [((), "2026-11-23"), (("geolocate.night=2026-11-22",), "2026-11-22")])
def test_an_answer_is_written_whole_and_says_where_it_comes_from(workshop, tmp_path, overrides, night):
    path = tmp_path / "new" / "7.fits"
    run(workshop, 7, path, *overrides)
    expected = Posterior(map_of(7, night), PRIOR).law
    law = Posterior.from_fits(path).law
    assert np.array_equal(law.cells, expected.cells)
    assert law.mass == pytest.approx(expected.mass, rel=1e-12)
    header = fits.getheader(path, 1)
    assert [header[key] for key in ("PHOTO_ID", "ENGINE", "INDEXVER", "NIGHT")] == [7, "im2gps", "v1", night]

    first = path.read_bytes()
    run(workshop, 7, path, *overrides)
    assert path.read_bytes() == first
    assert [file.name for file in path.parent.iterdir()] == ["7.fits"]


@pytest.mark.parametrize(
    ("photo_id", "overrides", "message"),
    [
        (9, (), "photo 9 has no posterior by im2gps; run geolocate"),
        (7, ("geolocate.night=2026-11-21",), "photo 7 has no posterior by im2gps of night 2026-11-21"),
        (8, (), "no map of index gone"),
    ],
)
def test_what_is_not_there_is_said_in_one_line_and_nothing_is_written(workshop, tmp_path, photo_id, overrides, message):
    with pytest.raises(UsageError, match=message):
        run(workshop, photo_id, tmp_path / "a.fits", *overrides)
    assert list(tmp_path.iterdir()) == []
