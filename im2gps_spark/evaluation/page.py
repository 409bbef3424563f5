"""The evaluation as one HTML page, opened from disk, that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from string import Template

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.atlas import words
from im2gps_spark.atlas.words import text
from im2gps_spark.evaluation import plots
from im2gps_spark.evaluation.bootstrap import Bootstrap, Figure
from im2gps_spark.evaluation.legend import FIGURES, KM, NATS, PERCENT, STRATA, method, value
from im2gps_spark.evaluation.strata import ALL
from im2gps_spark.evaluation.summary import Row
from im2gps_spark.sphere import Floats


@dataclass(frozen=True)
class Report:
    """What the page shows.

    Attributes:
        collection: whose photos were judged.
        engine: whose answers; ``baselines`` are beside it.
        rows: the figures of all of them.
        level, entropy, error_km: (n,) of the engine's answers, for the charts; the error is the mode's.
        owners: (n,) whose the photos are.
        resamples: of the owners behind the figures' intervals.
        about: more to be said at the top: name to text.
        owners_left_out: whether owners count as new, so that their photos are no evidence.
    """

    collection: str
    engine: str
    baselines: Sequence[str]
    rows: Sequence[Row]
    level: Floats
    entropy: Floats
    error_km: Floats
    owners: NDArray
    resamples: int
    about: Mapping[str, str] = field(default_factory=dict)
    owners_left_out: bool = False

    def figures(self, engine: str, stratum: str = ALL) -> dict[str, Figure]:
        """The figures of an engine on a stratum, by metric."""
        return {f.metric: f for by, part, f in self.rows if (by, part) == (engine, stratum)}


def render(report: Report) -> str:
    """The page as HTML. Texts are escaped; the same report gives the same bytes."""
    mine = report.figures(report.engine)
    title = f"How good are the answers for {report.collection}?"
    return Template(resource("im2gps_spark.evaluation", "page.html")).substitute(
        title=text(title),
        css=resource("im2gps_spark.atlas", "page.css") + resource("im2gps_spark.evaluation", "page.css"),
        verdict=_verdict(report, mine),
        lead=_lead(report, mine),
        body="\n".join([_table(report), _calibration(report), _certainty(report, mine), _strata(report)]),
        method=text(method(report.resamples, report.owners_left_out)),
    )


def resource(package: str, name: str) -> str:
    """A text file of a package."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _verdict(report: Report, mine: Mapping[str, Figure]) -> str:
    """What the figures come to, in two sentences."""
    parts = []
    gain = mine.get("gain_over_prior")
    if gain is not None:
        sure = _between(gain, NATS)
        if gain.low is not None and gain.high is not None and gain.low <= 0 <= gain.high:
            sure += ": these photos are too few to tell that from nothing"
        number = value(gain.value, NATS)
        parts.append(f"Over where photos are taken anyway, the answers gain {number} nats a photo{sure}.")
    holds = mine.get("coverage90")
    if holds is not None:
        judged = ""
        if holds.low is not None and holds.high is not None:
            judged = ", too few" if holds.high < 0.9 else ", too many" if holds.low > 0.9 else ", as they should"
        parts.append(f"Their 90 % regions hold {value(holds.value, PERCENT)} of the true places{judged}.")
    return text(" ".join(parts))


def _lead(report: Report, mine: Mapping[str, Figure]) -> str:
    shown = {"Photos": f"{len(report.owners):,}", "Owners": f"{len(np.unique(report.owners)):,}", **report.about}
    for metric, label, form in (
        ("accuracy_750km", "Within 750 km", PERCENT),
        ("median_error_km", "Median error, km", KM),
        ("energy_score_km", "Energy score, km", KM),
    ):
        if metric in mine:
            shown[label] = value(mine[metric].value, form)
    items = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in shown.items())
    return f'<dl class="lead">{items}</dl>'


def _table(report: Report) -> str:
    engines = (report.engine, *report.baselines)
    by_engine = {engine: report.figures(engine) for engine in engines}
    head = "".join(f'<th scope="col">{text(engine)}</th>' for engine in engines)
    body = []
    for group, lines in FIGURES.items():
        shown = [line for line in lines if any(line[0] in figures for figures in by_engine.values())]
        if shown:
            body.append(f'<tr class="group"><th colspan="{len(engines) + 1}" scope="colgroup">{text(group)}</th></tr>')
        for metric, label, form in shown:
            cells = "".join(f"<td>{_cell(by_engine[engine].get(metric), form)}</td>" for engine in engines)
            body.append(f'<tr><th scope="row">{text(label)}</th>{cells}</tr>')
    return (
        '<section><h2>All figures</h2><p class="note">Beside baselines. Small figures are 95 % intervals.</p>'
        '<div class="table figures" role="region" aria-label="All figures" tabindex="0"><table>'
        f'<thead><tr><th scope="col"></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div></section>'
    )


def _strata(report: Report) -> str:
    names = list(dict.fromkeys(stratum for _, stratum, _ in report.rows))
    head = "".join(f'<th scope="col">{text(label)}</th>' for _, label, _ in STRATA)
    body = []
    for name in names:
        mine = report.figures(report.engine, name)
        photos = max((figure.n for figure in mine.values()), default=0)
        cells = "".join(f"<td>{_cell(mine.get(metric), form)}</td>" for metric, _, form in STRATA)
        body.append(f'<tr><th scope="row" dir="auto">{text(name)}</th><td>{photos:,}</td>{cells}</tr>')
    return (
        f'<section><h2>By kind of photo</h2><p class="note">The answers of {text(report.engine)} alone. Thirds are by '
        "entropy; countries are the true ones.</p>"
        '<div class="table strata" role="region" aria-label="Strata" tabindex="0"><table>'
        f'<thead><tr><th scope="col"></th><th scope="col">photos</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _calibration(report: Report) -> str:
    known = np.isfinite(report.level)
    if not known.any():
        return ""
    draw = Bootstrap(report.owners[known], report.resamples)
    return chart_section(
        "Do the regions hold what they say?",
        "A region that claims a mass of 80 % should hold the true place of 80 % of the photos.",
        [
            (
                "Reliability",
                plots.reliability_chart(report.level[known], draw),
                "On the dashed line claim and truth agree; above it regions are too large, below too small. "
                "The band is the 95 % interval.",
            ),
            (
                "Levels of the true places",
                plots.levels_chart(report.level[known]),
                "The mass of all that is denser than the truth. Level if calibrated, each bar within the band in 95 of "
                "100 cases (were the photos independent); heavy on the right: truths where hardly any mass was.",
            ),
        ],
    )


def _certainty(report: Report, mine: Mapping[str, Figure]) -> str:
    known = np.isfinite(report.entropy) & np.isfinite(report.error_km)
    if not known.any():
        return ""
    rank = mine.get("spearman_entropy_error")
    said = f" Rank correlation {value(rank.value, NATS)}{_between(rank, NATS)}." if rank is not None else ""
    return chart_section(
        "Does it know when it knows?",
        "A low entropy should mean a small error, so that answers can be kept where they can be trusted.",
        [
            (
                "Risk and coverage",
                plots.risk_chart(mine),
                "Photos are answered in the order of their entropy, the most certain first: the share of modes farther "
                "from the truth than each radius. Falling to the left: certainty can be trusted.",
            ),
            (
                "Entropy and error",
                plots.entropy_chart(report.entropy[known], report.error_km[known]),
                f"A dot a photo.{said}",
            ),
        ],
    )


def chart_section(heading: str, note: str, charts: Iterable[tuple[str, str, str]]) -> str:
    """A section of charts, each a name, its SVG and what is to be seen; all but the SVG are plain text."""
    shown = "".join(
        f'<figure class="chart-of"><h3>{text(name)}</h3>{svg}<figcaption>{text(caption)}</figcaption></figure>'
        for name, svg, caption in charts
    )
    return (
        f'<section><h2>{text(heading)}</h2><p class="note">{text(note)}</p><div class="charts">{shown}</div></section>'
    )


def _cell(figure: Figure | None, form: str) -> str:
    if figure is None:
        return words.DASH
    middle = value(figure.value, form)
    ends = _ends(figure, form)
    # What does not vary, the uniform law's figures for one, has no interval to show.
    shown = f' <span class="range">{text(ends[0])} to {text(ends[1])}</span>' if ends and set(ends) != {middle} else ""
    return text(middle) + shown


def _between(figure: Figure, form: str) -> str:
    ends = _ends(figure, form)
    return f" ({ends[0]} to {ends[1]})" if ends else ""


def _ends(figure: Figure, form: str) -> tuple[str, str] | None:
    if figure.low is None or figure.high is None:
        return None
    return value(figure.low, form), value(figure.high, form)
