import numpy as np
import pyarrow as pa
import pytest

from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.points import DISC_RADII_KM
from im2gps_spark.posterior.rows import ANSWER, to_batch
from im2gps_spark.posterior.summary import AREA_LEVELS, Summary, summarise
from im2gps_spark.sphere import coordinates
from im2gps_spark.store.tables import NEIGHBOURS, POSTERIORS
from tests.posterior.laws import at, mixture, nothing


@pytest.fixture(scope="module")
def summaries() -> list[Summary]:
    return [summarise(mixture(at("longitude 180"), widths_km=(100.0,)), 0.05), summarise(nothing(), 0.05)]


@pytest.fixture(scope="module")
def rows(summaries):
    near = Candidates(
        np.array([7, 8]), np.array([0.1, 0.2]), np.array([60.0, 61.0]), np.array([180.0, -179.0]),
        np.ones(2), np.full(2, 16, np.int8),
    )  # fmt: skip
    batch = to_batch([11, 12], summaries, [(near, np.array([0.75, 0.25])), (Candidates.none(), np.zeros(0))])
    assert batch.schema == ANSWER
    batch.validate(full=True)
    return batch.to_pylist()


def test_a_row_says_what_the_summary_says(rows, summaries):
    for row, summary in zip(rows, summaries, strict=True):
        said = row["posterior"]
        for name, point in (("mode", summary.mode), ("median", summary.median)):
            assert (said[f"{name}_latitude"], said[f"{name}_longitude"]) == pytest.approx(coordinates(point))
        for radius, disc in zip(DISC_RADII_KM, summary.discs, strict=True):
            there = said[f"disc{radius:g}_latitude"], said[f"disc{radius:g}_longitude"]
            assert there == pytest.approx(coordinates(disc))
        assert [said[f"area{100 * level:.0f}_km2"] for level in AREA_LEVELS] == pytest.approx(summary.areas_km2)
        assert said["entropy"] == summary.entropy
        assert said["mode_h3"] == summary.mode_h3
        assert said["no_more_than_prior"] == summary.no_more_than_prior
    assert [row["posterior"]["no_more_than_prior"] for row in rows] == [False, True]


def test_maps_and_regions_are_whole(rows, summaries):
    for row, summary in zip(rows, summaries, strict=True):
        cells, masses = zip(*((part["cell"], part["mass"]) for part in row["posterior"]["map"]), strict=True)
        assert np.array_equal(cells, summary.map.cells)
        assert np.array_equal(masses, summary.map.mass)
        regions = row["posterior"]["regions"]
        assert [region["rank"] for region in regions] == list(range(1, len(summary.parts) + 1))
        assert [region["mass"] for region in regions] == [part.mass for part in summary.parts]
        assert [region["country"] for region in regions] == [name.country for name in summary.names]


def test_neighbours_come_nearest_first_with_their_weights(rows):
    assert [(near["rank"], near["neighbour_id"], near["weight"]) for near in rows[0]["neighbours"]] == [
        (1, 7, 0.75),
        (2, 8, 0.25),
    ]
    assert rows[1]["neighbours"] == []


def test_every_column_is_one_of_the_tables():
    for name, table in (("posterior", POSTERIORS), ("neighbours", NEIGHBOURS)):
        kind = ANSWER.field(name).type
        struct = kind.value_type if pa.types.is_list(kind) else kind
        assert {field.name for field in struct} <= {column for column, _ in table.columns}
