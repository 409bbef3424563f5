import hpgeom
import numpy as np
import pytest

from im2gps_spark.posterior.curve import cell_centre, part_centres


def some_cells(order: int) -> np.ndarray:
    """The first and the last cells of each base cell, and others between."""
    inside = 4**order
    ends = np.arange(12)[:, None] * inside + np.unique(np.clip([0, 1, 2, inside // 2, inside - 2, inside - 1], 0, None))
    middle = np.random.default_rng(order).integers(0, 12 * inside, 300)
    return np.unique(np.concatenate([ends.ravel() % (12 * inside), middle]))


@pytest.mark.parametrize("order", range(30))
def test_centres_of_cells_are_those_of_healpix(order):
    cells = some_cells(order)
    found = np.array([cell_centre(np.int64(order), np.int64(cell)) for cell in cells])
    expected = np.stack(hpgeom.pixel_to_vector(1 << order, cells, nest=True), axis=-1)
    np.testing.assert_allclose(found, expected, atol=1e-14)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_all_cells_of_a_coarse_order(order):
    """Both polar caps, the equatorial belt and the rings between."""
    cells = np.arange(12 * 4**order)
    found = np.array([cell_centre(order, cell) for cell in cells])
    np.testing.assert_allclose(
        found, np.stack(hpgeom.pixel_to_vector(1 << order, cells, nest=True), axis=-1), atol=1e-14
    )


@pytest.mark.parametrize("order", [0, 1, 2, 5, 7, 20])
def test_centres_of_a_cells_parts_are_those_of_healpix(order):
    for cell in some_cells(order).tolist():
        found = np.empty((3, 64))
        part_centres(order, cell, *found)
        expected = hpgeom.pixel_to_vector(8 << order, cell * 64 + np.arange(64), nest=True)
        np.testing.assert_allclose(found, expected, atol=1e-14)
