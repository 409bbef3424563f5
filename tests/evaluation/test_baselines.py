import numpy as np
import pytest

from im2gps_spark.evaluation.baselines import UNIFORM_SHARE, WIDTH_KM, knn_law, knn_point
from im2gps_spark.grid import MultiOrderMap, cell_area_sr, cell_centres
from im2gps_spark.sphere import concentration, distance_km, unit_vectors, vmf_density
from tests.evaluation.laws import anywhere


def test_the_mixture_is_the_sum_of_its_kernels():
    """Against its density on cells sixteen times finer: within 3 % total variation."""
    places = anywhere(120, np.random.default_rng(0))
    law = knn_law(places).check()
    exact = np.zeros(len(law.cells))
    for part in np.array_split(np.arange(16 * len(exact)), 48):
        gap = 2.0 - 2.0 * cell_centres(8, part) @ places.T
        kernels = vmf_density(gap, concentration(WIDTH_KM)).mean(axis=1)
        density = (1.0 - UNIFORM_SHARE) * kernels + UNIFORM_SHARE / (4.0 * np.pi)
        exact += np.bincount(part // 16, weights=density * cell_area_sr(8), minlength=len(exact))
    assert exact.sum() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(law.mass - exact).sum() / 2.0 < 0.03


def test_it_is_positive_everywhere():
    assert knn_law(unit_vectors([10.0], [10.0])).density.min() == pytest.approx(UNIFORM_SHARE / (4.0 * np.pi))


def test_without_neighbours_it_is_uniform():
    assert np.array_equal(knn_law(np.zeros((0, 3))).mass, MultiOrderMap.uniform().mass)


def test_its_point_is_where_neighbours_agree():
    places = unit_vectors([0.0, 50.0, 50.1, 50.2, -80.0], [0.0, 10.0, 10.0, 10.0, 0.0])
    assert distance_km(knn_point(places), places[2]) < 1e-6
    assert distance_km(knn_point(places[:1]), places[0]) < 1e-6
