import numpy as np
import pytest

from im2gps_spark.atlas.entry import two_cases
from im2gps_spark.grid import MultiOrderMap
from tests.atlas.laws import bump, entry


def test_errors_are_great_circles_from_mode_and_median():
    quarter = entry(mode=(0.0, 10.0), truth=(0.0, 100.0))
    assert quarter.error_km == pytest.approx(np.pi / 2 * 6371.0)
    assert quarter.median_error_km == quarter.error_km
    across = entry(mode=(0.0, 179.9), truth=(0.0, -179.9))
    assert across.error_km == pytest.approx(np.radians(0.2) * 6371.0)


def test_nothing_is_said_of_an_unknown_truth():
    unknown = entry()
    assert (unknown.error_km, unknown.median_error_km, unknown.truth_level, unknown.held) == (None,) * 4


def test_level_of_the_truth_is_the_mass_that_is_denser():
    law = bump(0.0, 0.0, 500.0, order=7)
    # On the plane exp(-d^2 / 2 s^2) of the mass of a round Gaussian lies beyond d.
    for degrees in (2.0, 5.0, 9.0):
        level = entry(law=law, mode=(0.0, 0.0), truth=(degrees, 0.0)).truth_level
        d = np.radians(degrees) * 6371.0 / 500.0
        assert level == pytest.approx(1.0 - np.exp(-d * d / 2.0), abs=0.04)


def test_truths_drawn_from_the_answer_have_uniform_levels():
    law = bump(50.0, 178.0, 700.0, floor=0.2)
    rng = np.random.default_rng(5)
    chosen = rng.choice(len(law.cells), size=400, p=law.mass / law.mass.sum())
    levels = []
    for centre in law.centres[chosen]:
        at = (float(np.degrees(np.arcsin(centre[2]))), float(np.degrees(np.arctan2(centre[1], centre[0]))))
        levels.append(entry(law=law, truth=at).truth_level)
    # The floor is a plateau, on which all levels are equal; below it they are uniform.
    assert np.mean(np.array(levels) < 0.5) == pytest.approx(0.5, abs=0.08)


def test_on_a_uniform_answer_every_truth_is_held():
    assert entry(law=MultiOrderMap.uniform(), truth=(10.0, 10.0)).truth_level == 0.0


def test_saying_little_is_known_only_with_the_prior():
    assert entry(over_prior=0.1).says_little
    assert not entry(over_prior=3.0).says_little
    assert not entry(over_prior=None).says_little


def test_two_cases_need_two_photos():
    assert two_cases([]) is None
    assert two_cases([entry()]) is None


def test_tight_case_is_one_that_was_right():
    wrong = entry(1, bits=14.0, truth=(-40.0, 170.0), law=bump(43.8, 11.3, 300.0))
    right = entry(2, bits=12.0, truth=(43.9, 11.2))
    unknown = entry(3, bits=13.0)
    generic = entry(4, bits=0.4, truth=(-40.0, 170.0))
    assert not wrong.held
    assert two_cases([generic, wrong, unknown, right]) == (right, generic)


def test_near_counts_as_right_even_outside_the_region():
    law = bump(43.8, 11.3, 20.0, order=9)
    near = entry(1, bits=15.0, truth=(44.9, 11.3), law=law)
    assert not near.held
    assert near.error_km is not None
    assert near.error_km < 200.0
    generic = entry(2, bits=1.0, truth=(43.8, 11.3))
    assert two_cases([generic, near]) == (near, generic)


def test_without_a_right_one_unknown_truths_come_first():
    far = (-40.0, 170.0)
    law = bump(43.8, 11.3, 300.0)
    wrong, unknown = entry(1, bits=14.0, truth=far, law=law), entry(2, bits=9.0)
    generic = entry(3, bits=0.5, truth=far, law=law)
    assert two_cases([wrong, unknown, generic]) == (unknown, generic)
    assert two_cases([generic, wrong]) == (wrong, generic)


def test_ties_go_to_the_smaller_id_whatever_the_order():
    photos = [entry(i, bits=3.0) for i in (5, 4, 9, 7)]
    tight, wide = two_cases(photos) or pytest.fail("two cases of four photos")
    assert (tight.photo_id, wide.photo_id) == (4, 5)
    assert two_cases(photos[::-1]) == (tight, wide)
