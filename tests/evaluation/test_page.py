"""The page: all that was measured, nothing from outside, and text that stays text."""

import re

import numpy as np
import pytest

from im2gps_spark.evaluation.bootstrap import Bootstrap, Figure
from im2gps_spark.evaluation.charts import Axis, Chart, percent_axis, plain_axis
from im2gps_spark.evaluation.page import Report, render
from im2gps_spark.evaluation.plots import entropy_chart, levels_chart, reliability_chart, risk_chart
from im2gps_spark.evaluation.summary import compare, with_gains
from tests.atlas.test_page import EVIL, Reader


def report(n=60, resamples=50, **changes) -> Report:
    rng = np.random.default_rng(0)

    def law(worse):
        return {
            "nll": rng.normal(worse, 0.5, n),
            "nll_order7": rng.normal(worse, 0.5, n),
            "energy_score_km": rng.normal(3000.0 + worse, 100.0, n),
            "hpd_level": rng.random(n),
            "entropy": rng.normal(0.0, 1.0, n),
            "error_km": np.exp(rng.normal(7.0, 1.0, n)),
        }

    scores = with_gains({"im2gps": law(0.0), "prior": law(1.0), "nearest": {"error_km": rng.random(n)}}, "prior")
    owners = np.arange(n) // 2
    strata = {"all": np.ones(n, bool), f"tag {EVIL}": np.arange(n) < 30}
    mine = scores["im2gps"]
    given = {
        "collection": "uploads",
        "engine": "im2gps",
        "baselines": ("nearest", "prior"),
        "rows": compare(scores, strata, owners, resamples),
        "level": mine["hpd_level"],
        "entropy": mine["entropy"],
        "error_km": mine["error_km"],
        "owners": owners,
        "resamples": resamples,
        "about": {"Index": "abc"},
    }
    return Report(**{**given, **changes})


@pytest.fixture(scope="module")
def page() -> str:
    return render(report())


def test_the_page_shows_every_part(page):
    seen = Reader(page)
    assert not seen.open
    assert len([tag for tag, _ in seen.tags if tag == "svg"]) == 4
    for words in (
        "Reliability",
        "Risk and coverage",
        "By kind of photo",
        "gain over the prior, nats",
        "energy score, km",
    ):
        assert words in seen.text
    assert "Photos 60 Owners 30 Index abc" in seen.text


def test_the_page_takes_nothing_from_outside(page):
    tags = Reader(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "base", "img", "form"}
    assert not [value for _, attributes in tags for value in attributes.values() if value and "//" in value]
    assert "url(" not in page
    assert "@import" not in page


def test_names_of_strata_and_collections_are_text():
    seen = Reader(render(report(collection=EVIL, about={EVIL: EVIL})))
    assert not {tag for tag, _ in seen.tags} & {"script", "img"}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert "alert('1')" in seen.text


def test_the_same_report_gives_the_same_page(page):
    assert render(report()) == page


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (Figure("gain_over_prior", 0.5, 0.4, 0.6, 60), "gain 0.500 nats a photo (0.400 to 0.600)."),
        (Figure("gain_over_prior", 0.06, -0.01, 0.14, 60), "(−0.010 to 0.140): these photos are too few to tell that"),
        (Figure("gain_over_prior", 0.5, None, None, 60), "gain 0.500 nats a photo."),
        (Figure("coverage90", 0.91, 0.86, 0.94, 60), "hold 91.0 % of the true places, as they should."),
        (Figure("coverage90", 0.7, 0.6, 0.8, 60), "hold 70.0 % of the true places, too few."),
        (Figure("coverage90", 0.99, 0.97, 1.0, 60), "hold 99.0 % of the true places, too many."),
        (Figure("coverage90", 0.99, None, None, 60), "hold 99.0 % of the true places."),
    ],
)
def test_the_verdict_follows_the_interval(figure, said):
    text = Reader(render(report(rows=[("im2gps", "all", figure)]))).text
    assert said in text


def test_without_resamples_there_are_no_intervals():
    html = render(report(resamples=0))
    assert 'class="range"' not in html.replace('<polygon class="range"', "")


def test_a_photo_of_one_owner_gives_a_page():
    seen = Reader(render(report(n=1)))
    assert not seen.open


def test_charts_stay_within_their_frames():
    rng = np.random.default_rng(1)
    level = rng.random(50)
    charts = [
        reliability_chart(level, Bootstrap(np.arange(50), 20)),
        levels_chart(np.full(50, 0.99)),
        entropy_chart(rng.normal(size=3000), np.concatenate([[0.0, 25_000.0], rng.random(2998)])),
        entropy_chart(np.zeros(1), np.zeros(1)),
        risk_chart(report().figures("im2gps")),
        risk_chart({}),
    ]
    for svg in charts:
        assert "nan" not in svg
        assert "inf" not in svg
        for pair in re.findall(r'points="([^"]+)"', svg):
            x, y = np.array([point.split(",") for point in pair.split()], float).T
            assert x.min() >= 0
            assert x.max() <= 480
            assert y.min() >= 0
            assert y.max() <= 320
    assert charts[2].count("<circle") <= 2000


def test_axes_place_what_they_mark():
    axis = percent_axis("share")
    assert [words for _, words in axis.ticks] == ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]
    assert axis.at(np.array([-1.0, 0.25, 2.0])).tolist() == [0.0, 0.25, 1.0]
    logs = Axis("km", 1.0, 10_000.0, [], logarithmic=True)
    assert logs.at(np.array([0.0, 1.0, 100.0])) == pytest.approx([0.0, 0.0, 0.5])
    for low, high in ((-1.03, -0.55), (0.0, 0.0), (-7.0, 2.5), (1e-3, 2e-3)):
        ticks = plain_axis("nats", low, high).ticks
        assert 3 <= len(ticks) <= 9
    assert "<text" in Chart(axis, logs, "a title").svg()
