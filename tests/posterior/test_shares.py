"""Photos drawn from mixtures whose shares are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.shares import CELL_ORDER, POINTS_ORDER, Evidence, Shares, cells_through, fit, widened
from im2gps_spark.sphere import unit_vectors
from tests.posterior.laws import SEEDS

UNIFORM = 1.0 / (4.0 * np.pi)
PLACES = 50
START = Shares((0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), 0.8, 0.18, 0.02)


def drawn(truth: Shares, n: int, seed: int = 0, certainty: float = 0.0) -> Evidence:
    """Photos in a world of 50 places of equal area; each photo's parts are laws of its own over them."""
    rng = np.random.default_rng(seed)
    shape = (n, len(truth.sharpness), len(truth.width), PLACES)
    kernels, prior = rng.dirichlet(np.full(PLACES, 0.1), shape[:-1]), rng.dirichlet(np.full(PLACES, 0.3), n)
    law = truth.kernel * np.einsum("m,s,nmsp->np", truth.sharpness, truth.width, kernels)
    law += truth.prior * prior + truth.uniform / PLACES
    place = (rng.random(n)[:, None] > np.cumsum(law, axis=1)).sum(axis=1).clip(max=PLACES - 1)
    per_area = PLACES * UNIFORM
    return Evidence(
        kernels[np.arange(n), :, :, place] * per_area,
        prior[np.arange(n), place] * per_area,
        rng.integers(0, max(n // 4, 1), n),
        np.full(n, certainty),
    )


@pytest.mark.parametrize(
    "truth",
    [
        Shares((0.8, 0.2), (0.1, 0.3, 0.6), 0.7, 0.27, 0.03),
        Shares((0.1, 0.9), (0.6, 0.4, 0.0), 0.9, 0.07, 0.03),
        Shares((0.5, 0.5), (1 / 3, 1 / 3, 1 / 3), 0.3, 0.67, 0.03),
    ],
)
def test_shares_are_found_again(truth):
    found = fit(drawn(truth, 20_000), START, 1.0)
    assert found.sharpness == pytest.approx(truth.sharpness, abs=0.03)
    assert found.width == pytest.approx(truth.width, abs=0.03)
    assert (found.kernel, found.prior) == pytest.approx((truth.kernel, truth.prior), abs=0.03)
    assert found.uniform == pytest.approx(truth.uniform, abs=0.02)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(SEEDS, st.integers(1, 200), st.floats(0.0, 1000.0))
def test_shares_are_shares(seed, n, pseudo_photos):
    truth = Shares((0.8, 0.2), (0.1, 0.3, 0.6), 0.5, 0.2, 0.3)
    found = fit(drawn(truth, n, seed), START, pseudo_photos)
    assert sum(found.sharpness) == pytest.approx(1.0)
    assert sum(found.width) == pytest.approx(1.0)
    assert found.kernel + found.prior + found.uniform == pytest.approx(1.0)
    assert min(*found.sharpness, *found.width, found.kernel, found.prior) >= 0
    # What a map cannot follow is bounded.
    assert 0.03 - 1e-12 <= found.uniform <= 0.04 + 1e-12
    assert np.all(np.isfinite(found.log_likelihood(drawn(truth, n, seed))))


def test_a_fit_is_likelier_than_its_start_and_few_photos_stay_with_that():
    truth = Shares((0.9, 0.1), (0.1, 0.1, 0.8), 0.5, 0.47, 0.03)
    evidence = drawn(truth, 500)
    free, held = fit(evidence, START, 1.0), fit(evidence, START, 5000.0)
    gains = [s.log_likelihood(evidence).mean() - START.log_likelihood(evidence).mean() for s in (free, held)]
    assert gains[0] > gains[1] > 0
    assert abs(held.kernel - START.kernel) < abs(free.kernel - START.kernel) / 3


def test_widened_shares_are_shares():
    assert widened(np.array([0.5, 0.3, 0.2]), 0.1) == pytest.approx([0.45, 0.32, 0.23])
    assert widened(np.array([1.0]), 0.1) == pytest.approx([1.0])


def test_the_likelihood_by_hand():
    evidence = Evidence(np.full((1, 2, 3), 2.0), np.array([0.5]), np.zeros(1), np.zeros(1))
    assert START.log_likelihood(evidence)[0] == pytest.approx(np.log(0.8 * 2.0 + 0.18 * 0.5 + 0.02 * UNIFORM))


def test_the_settings_shares():
    shares = Shares.of(PosteriorSettings(sharpness_shares=[1, 1, 2, 0, 0], prior_share=0.1, uniform_share=0.02))
    assert shares.sharpness == (0.25, 0.25, 0.5, 0.0, 0.0)
    assert (shares.kernel, shares.prior, shares.uniform) == pytest.approx((0.88, 0.1, 0.02))


def test_the_cells_through_a_cell_are_all_in_it():
    inside = cells_through(unit_vectors([90.0, 10.0], [0.0, 180.0]))
    assert inside.shape == (2, 4 ** (POINTS_ORDER - CELL_ORDER))
    parents = inside >> (2 * (POINTS_ORDER - CELL_ORDER))
    assert np.all(parents == parents[:, :1])
    assert len(np.unique(inside)) == inside.size
