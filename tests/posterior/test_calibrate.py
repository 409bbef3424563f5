import json

import numpy as np
import pytest

from im2gps_spark.posterior.calibration import LEAST_PHOTOS, Calibration, Grade, Graded, calibrate
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.posterior.shares import Evidence, Shares
from tests.posterior.test_shares import drawn

DEFAULTS = PosteriorSettings(
    sharpness=[1.0, 4.0],
    sharpness_shares=[0.5, 0.5],
    widths_km=[25.0, 100.0, 400.0],
    width_shares=[1.0, 1.0, 1.0],
    prior_share=0.2,
    uniform_share=0.02,
)
VAGUE = Shares((0.9, 0.1), (0.05, 0.05, 0.9), 0.3, 0.67, 0.03)
SURE = Shares((0.1, 0.9), (0.8, 0.1, 0.1), 0.95, 0.03, 0.02)


def together(*parts: Evidence) -> Evidence:
    owners = [part.owners + 10_000 * i for i, part in enumerate(parts)]
    kernels, prior, certainty = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("kernels", "prior", "certainty")
    )
    return Evidence(kernels, prior, np.concatenate(owners), certainty)


def test_what_is_found_is_what_photos_were_drawn_by():
    found = calibrate(drawn(VAGUE, 3000), DEFAULTS)
    assert found.fitted
    assert found.gain > found.default_gain + 0.05
    for grade in found.grades:
        assert grade.prior_share == pytest.approx(VAGUE.prior, abs=0.1)
        assert grade.width_shares == pytest.approx(VAGUE.width, abs=0.1)


def test_photos_of_two_kinds_get_grades_of_their_own():
    """A third of the photos is sure of its place."""
    rng = np.random.default_rng(0)
    parts = drawn(VAGUE, 3000, 1), drawn(SURE, 1500, 2)
    scores = rng.normal(2.0, 0.1, 3000), rng.normal(6.0, 0.1, 1500)
    evidence = together(*(Evidence(p.kernels, p.prior, p.owners, s) for p, s in zip(parts, scores, strict=True)))
    found = calibrate(evidence, DEFAULTS)
    assert [grade.upper is None for grade in found.grades] == [False, False, True]
    vague, _, sure = (grade.prior_share for grade in found.grades)
    assert vague > 0.5
    assert sure < 0.15
    by = found.graded(DEFAULTS)
    assert by.of(np.array([1.0, 1.5])).prior_share == vague
    assert by.of(np.array([6.0, 0.0])).prior_share == sure
    assert by.of(np.zeros(0)).prior_share == vague


@pytest.mark.parametrize("photos", [0, 1, LEAST_PHOTOS - 1])
def test_too_few_photos_leave_the_defaults_and_say_so(photos):
    found = calibrate(drawn(VAGUE, photos), DEFAULTS)
    assert not found.fitted
    assert found.grades == [Grade.of(Shares.of(DEFAULTS), None)]
    assert f"under {LEAST_PHOTOS} photos" in found.describe()[0]


def test_three_hundred_photos_are_enough():
    assert calibrate(drawn(VAGUE, LEAST_PHOTOS), DEFAULTS).fitted


def test_few_owners_are_no_sample_however_many_photos():
    evidence = drawn(VAGUE, 1000)
    few = Evidence(evidence.kernels, evidence.prior, evidence.owners % 5, evidence.certainty)
    assert not calibrate(few, DEFAULTS).fitted


def test_where_the_defaults_are_right_nothing_much_is_gained():
    found = calibrate(drawn(Shares.of(DEFAULTS), 2000), DEFAULTS)
    assert found.gain == pytest.approx(found.default_gain, abs=0.01)
    assert found.gain >= found.default_gain


def test_the_gain_is_that_of_photos_that_were_not_fitted_to():
    found = calibrate(drawn(VAGUE, 600), DEFAULTS)
    fresh = drawn(VAGUE, 20_000, 77)
    grade = found.grades[0]
    shares = Shares(
        tuple(grade.sharpness_shares),
        tuple(grade.width_shares),
        1.0 - grade.prior_share - grade.uniform_share,
        grade.prior_share,
        grade.uniform_share,
    )
    gain = shares.log_likelihood(fresh) - np.log(fresh.prior)
    assert found.gain == pytest.approx(gain.mean(), abs=4.0 * gain.std() / np.sqrt(600))


def test_the_order_of_the_photos_does_not_matter():
    evidence = drawn(VAGUE, 500)
    one, other = calibrate(evidence, DEFAULTS), calibrate(evidence.take(np.arange(500)[::-1]), DEFAULTS)
    assert one.gain == pytest.approx(other.gain, abs=1e-9)
    assert one.grades[0].prior_share == pytest.approx(other.grades[0].prior_share, abs=1e-9)


def test_its_text_is_the_whole_of_it():
    found = calibrate(drawn(VAGUE, 500), DEFAULTS)
    assert Calibration.from_json(found.to_json()) == found
    with pytest.raises(TypeError):
        Calibration.from_json(json.dumps({**json.loads(found.to_json()), "more": 1}))
    assert all(line.count("nats") or line.startswith("best score") for line in found.describe())


def test_settings_keep_what_was_not_fitted():
    found = calibrate(drawn(VAGUE, 500), DEFAULTS)
    (one, *_) = found.graded(DEFAULTS.model_copy(update={"tolerance": 0.1, "owner_damping": 0.25})).settings
    assert (one.tolerance, one.owner_damping) == (0.1, 0.25)
    assert one.prior_share == found.grades[0].prior_share


def test_one_grade_is_for_every_photo():
    by = Graded((), (DEFAULTS,))
    assert by.of(np.array([100.0])) is DEFAULTS
    assert by.of(np.zeros(0)) is DEFAULTS
