"""The energy score against closed forms and Monte Carlo."""

import numpy as np
import pytest

from im2gps_spark.evaluation.energy import Energy
from im2gps_spark.evaluation.scores import drawn
from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.sphere import EARTH_RADIUS_KM, coordinates, distance_km, unit_vectors
from tests.evaluation.laws import about, anywhere, spike, uneven


def test_the_uniform_law_scores_its_closed_forms_everywhere():
    km, chord = Energy(MultiOrderMap.uniform()).scores(anywhere(20, np.random.default_rng(0)))
    assert km == pytest.approx(np.pi * EARTH_RADIUS_KM / 4.0, rel=1e-4)
    assert km == pytest.approx(5003.8, rel=1e-4)
    assert chord == pytest.approx(2.0 / 3.0, rel=1e-4)


def test_two_draws_from_the_uniform_law_are_a_quarter_of_the_globe_apart():
    km, chord = Energy(MultiOrderMap.uniform()).own
    assert km == pytest.approx(np.pi * EARTH_RADIUS_KM / 2.0, rel=2e-4)
    assert chord == pytest.approx(4.0 / 3.0, rel=2e-4)


@pytest.mark.parametrize("place", [(48.9, 2.4), (90.0, 0.0), (0.0, 180.0)])
def test_a_point_mass_scores_the_distance(place):
    here = unit_vectors(*place)
    truths = anywhere(50, np.random.default_rng(1))
    km, chord = Energy(spike(here)).scores(truths)
    assert km == pytest.approx(distance_km(truths, here), abs=2.0)  # its cell has 1.6 km
    assert chord == pytest.approx(np.linalg.norm(truths - here, axis=1), abs=4e-4)


LAWS = {
    "broad": about(48.0, 2.0, 3000.0),
    "with a floor": about(-33.0, 151.0, 1000.0, floor=0.1),
    "narrow": about(60.0, 179.9, 300.0, order=6),
    "narrower than pools": about(0.0, 0.0, 100.0, order=7),
    "uneven": uneven(1),
    "uneven, too": uneven(2),
}


@pytest.mark.parametrize("name", LAWS)
def test_two_draws_are_as_far_apart_as_by_monte_carlo(name):
    law, n = LAWS[name], 400_000
    a, b = drawn(law, n, seed=1), drawn(law, n, seed=2)
    km, chord = Energy(law).own
    for found, sampled in ((km, distance_km(a, b)), (chord, np.linalg.norm(a - b, axis=1))):
        error = 4.0 * sampled.std() / np.sqrt(n)
        assert found == pytest.approx(sampled.mean(), rel=2e-3, abs=error)


@pytest.mark.parametrize("name", LAWS)
def test_scores_are_as_by_monte_carlo(name):
    law, n = LAWS[name], 400_000
    a, b = drawn(law, n, seed=3), drawn(law, n, seed=4)
    truths = np.concatenate([anywhere(3, np.random.default_rng(5)), drawn(law, 3, seed=6)])
    for truth, km, chord in zip(truths, *Energy(law).scores(truths), strict=True):
        by_arc = distance_km(a, truth).mean() - distance_km(a, b).mean() / 2.0
        by_chord = (np.linalg.norm(a - truth, axis=1) - np.linalg.norm(a - b, axis=1) / 2.0).mean()
        assert km == pytest.approx(by_arc, abs=0.002 * distance_km(a, b).mean() + 15.0)
        assert chord == pytest.approx(by_chord, abs=0.005)


@pytest.mark.parametrize(("latitude", "longitude", "width_km"), [(48.0, 2.0, 500.0), (45.0, 10.0, 1000.0)])
def test_no_other_law_scores_better_on_average_than_the_true_one(latitude, longitude, width_km):
    true = about(48.0, 2.0, 1000.0)
    truths = drawn(true, 600, seed=7)
    km, chord = Energy(true).scores(truths)
    other_km, other_chord = Energy(about(latitude, longitude, width_km)).scores(truths)
    assert km.mean() < other_km.mean()
    assert chord.mean() < other_chord.mean()


def test_a_turn_of_the_globe_changes_nothing():
    """A law about the pole, and the same about a place on the equator."""
    truth = [unit_vectors(70.0, 40.0)], [unit_vectors(0.0, 20.0)]
    pole, equator = about(90.0, 0.0, 800.0), about(0.0, 0.0, 800.0)
    a = Energy(pole).scores(np.array(truth[0]))[0]
    b = Energy(equator).scores(np.array(truth[1]))[0]
    assert a == pytest.approx(b, rel=1e-3)
    assert coordinates(pole.centres[np.argmax(pole.density)])[0] > 88.0
