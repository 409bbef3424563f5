"""Scores of laws whose truths are drawn from themselves."""

import numpy as np
import pytest
from scipy.stats import kstest

from im2gps_spark.evaluation.scores import LAW, LawScores, drawn
from im2gps_spark.grid import MultiOrderMap, cell_area_sr, cells_at
from im2gps_spark.sphere import SPHERE_AREA_KM2, UNIFORM_ENTROPY
from tests.evaluation.laws import about, anywhere, spike, uneven


def test_every_score_has_its_column():
    found = LawScores(about(10.0, 20.0, 500.0)).at(anywhere(3, np.random.default_rng(0)))
    assert set(found) == set(LAW)
    assert {values.shape for values in found.values()} == {(3,)}


def test_the_uniform_laws_scores_are_known():
    found = LawScores(MultiOrderMap.uniform()).at(anywhere(5, np.random.default_rng(0)))
    for name in ("nll", "nll_order7", "entropy"):
        assert found[name] == pytest.approx(UNIFORM_ENTROPY)
    assert found["area50_km2"] == pytest.approx(SPHERE_AREA_KM2 / 2.0)
    assert found["area90_km2"] == pytest.approx(SPHERE_AREA_KM2 * 0.9)


@pytest.mark.parametrize("seed", range(5))
def test_a_calibrated_law_is_found_calibrated(seed):
    """Truths drawn from the law: their levels are uniform, and their NLL is the law's entropy on average."""
    law, n = about(30.0, -100.0, 1500.0, order=4, floor=0.05), 2000
    found = LawScores(law).at(drawn(law, n, seed=seed))
    assert kstest(found["hpd_level"], "uniform").pvalue > 1e-4
    for level in (0.5, 0.9):
        assert (found["hpd_level"] <= level).mean() == pytest.approx(level, abs=4.0 * np.sqrt(level * (1 - level) / n))
    assert found["nll"].mean() == pytest.approx(found["entropy"][0], abs=4.0 * found["nll"].std() / np.sqrt(n))


def test_at_a_fixed_resolution_a_finer_spike_gains_nothing():
    place = anywhere(1, np.random.default_rng(3))
    coarse, fine = (LawScores(spike(place[0], order)).at(place) for order in (7, 12))
    assert fine["nll"] < coarse["nll"]
    assert fine["nll_order7"] == pytest.approx(coarse["nll_order7"])
    assert coarse["nll_order7"] == pytest.approx(coarse["nll"])


def test_at_a_fixed_resolution_the_cells_mean_density_counts():
    law = uneven(4)
    truths = anywhere(50, np.random.default_rng(4))
    points = np.concatenate([drawn(law, 200_000, seed=5)])
    found = LawScores(law).at(truths)["nll_order7"]
    # Cells of the law that are coarser than order 7 have one density; a finer one is counted out.
    coarse = law.order[law.find(truths)] <= 7
    assert found[coarse] == pytest.approx(-np.log(law.density[law.find(truths)][coarse]))
    heaviest = cells_at(7, points[:1])
    share = (cells_at(7, points) == heaviest[0]).mean()
    inside = law.mass_within(7, heaviest)
    assert share == pytest.approx(inside[0], abs=4.0 * np.sqrt(inside[0] / len(points)) + 1e-4)
    assert -np.log(inside[0] / cell_area_sr(7)) == pytest.approx(LawScores(law).at(points[:1])["nll_order7"][0])


def test_draws_follow_the_law():
    law = uneven(6)
    points = drawn(law, 100_000, seed=1)
    found = np.bincount(law.find(points), minlength=len(law.cells)) / len(points)
    assert np.abs(found - law.mass).max() < 0.01
    assert np.array_equal(drawn(law, 10), drawn(law, 10))
    assert len(np.unique(drawn(MultiOrderMap.uniform(), 100), axis=0)) == 100
