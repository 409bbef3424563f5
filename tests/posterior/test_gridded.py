import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.grid import cell_area_sr, cell_centres
from im2gps_spark.posterior.gridded import grid_density
from im2gps_spark.sphere import Floats, concentration, vmf_density
from tests.posterior.laws import PLACES, SEEDS, anywhere, around, at


def exact(places: Floats, weights: Floats, width_km: float, order: int) -> Floats:
    centres = cell_centres(order, np.arange(12 * 4**order))
    total = np.zeros(len(centres))
    for place, weight in zip(places, weights, strict=True):
        chord = centres - place
        total += weight * vmf_density(np.einsum("ij,ij->i", chord, chord), concentration(width_km))
    return total


def total_variation(a: Floats, b: Floats, order: int) -> float:
    return float(0.5 * np.abs(a - b).sum() * cell_area_sr(order))


@pytest.mark.parametrize("width_km", [25.0, 200.0, 800.0, 5000.0, 20_000.0])
@pytest.mark.parametrize("name", PLACES)
def test_one_kernel_is_the_law_itself_wherever_it_lies(name, width_km):
    found = grid_density(at(name)[None], np.ones(1), width_km, 6)
    assert total_variation(found, exact(at(name)[None], np.ones(1), width_km, 6), 6) < 1e-6
    if width_km > 100:  # the side of a cell is 102 km; about the poles cells are longest
        assert found.sum() * cell_area_sr(6) == pytest.approx(1.0, abs=0.02)


@given(SEEDS, st.sampled_from([40.0, 200.0, 1000.0]), st.integers(0, 7), st.booleans())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_many_kernels_are_their_sum_within_a_millionth_of_a_peak(seed, width_km, order, crowded):
    rng = np.random.default_rng(seed)
    places = anywhere(60, rng)
    places = around(places[rng.integers(0, 3, 60)], 300.0, rng) if crowded else places
    weights = rng.dirichlet(np.full(60, 0.5))
    found = grid_density(places, weights, width_km, order)
    peak = float(vmf_density(0.0, concentration(width_km)))
    np.testing.assert_allclose(found, exact(places, weights, width_km, order), rtol=1e-5, atol=1.1e-6 * peak)


def test_weights_are_taken_as_they_are():
    places = anywhere(5, np.random.default_rng(1))
    once = grid_density(places, np.ones(5), 300.0, 5)
    assert np.allclose(grid_density(places, np.full(5, 3.0), 300.0, 5), 3.0 * once, rtol=1e-12)
    assert not grid_density(places, np.zeros(5), 300.0, 5).any()


def test_no_places_no_density():
    assert grid_density(np.zeros((0, 3)), np.zeros(0), 200.0, 4).tolist() == [0.0] * (12 * 4**4)
