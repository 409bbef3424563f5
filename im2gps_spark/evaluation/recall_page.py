"""The recall of an index as one HTML page: recall against work, and the whole table."""

from __future__ import annotations

from string import Template

import numpy as np

from im2gps_spark.atlas.words import percent, text
from im2gps_spark.evaluation.charts import Axis, Chart, percent_axis
from im2gps_spark.evaluation.page import chart_section, resource
from im2gps_spark.index.recall import CODE_US, VECTOR_US, Recall, Row

_SHADES = 7


def render(recall: Recall) -> str:
    """The page as HTML. Texts are escaped; the same table gives the same bytes."""
    chart = (
        f"Recall@{recall.k} and work",
        recall_chart(recall),
        f"A line for each number of photos that are re-ranked a shard, from {_reranks(recall)[0]:,} to "
        f"{_reranks(recall)[-1]:,}, green to red; along it 1, 2, 3, 4, 6, ... lists are visited. The dot is the "
        "setting in use, the dashed line the recall that was asked for.",
    )
    return Template(resource("im2gps_spark.evaluation", "page.html")).substitute(
        title=text(f"What does search find of {recall.measured_on}?"),
        css=resource("im2gps_spark.atlas", "page.css") + resource("im2gps_spark.evaluation", "page.css"),
        verdict=text(f"{recall.verdict()[:1].upper()}{recall.verdict()[1:]}."),
        lead=_lead(recall),
        body=chart_section("What more work finds", "Work is counted, not timed.", [chart]) + _table(recall),
        method=text(
            f"Recall@{recall.k}: share of the {recall.k} nearest photos by the kept vectors that search found, over "
            f"all queries; their owners' photos are neither. Work: {CODE_US:g} µs a code scanned and {VECTOR_US:g} µs "
            f"a photo re-ranked. A setting is chosen only if it also finds the {recall.neighbours:,} neighbours that "
            "are to vote."
        ),
    )


def recall_chart(recall: Recall) -> str:
    """Recall against work, a line for each number of re-ranked photos."""
    work = [row.work_us for row in recall.rows]
    low, high = min(work), max(max(work), 1.01 * min(work))
    chart = Chart(
        Axis("work a query, µs", low, high, _decades(low, high), logarithmic=True),
        percent_axis(f"recall@{recall.k}"),
        "Recall against the work of a query, by how many photos are re-ranked",
    )
    chart.line(np.array([low, high]), np.full(2, recall.target), "ideal")
    for shade, rerank in enumerate(_reranks(recall)):
        mine = _line(recall, rerank)
        chart.line(
            np.array([row.work_us for row in mine]),
            np.array([row.recall for row in mine]),
            f"shade{min(shade, _SHADES - 1)}",
        )
    best = recall.chosen
    chart.dots(np.array([best.work_us]), np.array([best.recall]), "chosen", 6.0)
    return chart.svg()


def _reranks(recall: Recall) -> list[int]:
    return sorted({row.rerank for row in recall.rows})


def _line(recall: Recall, rerank: int) -> list[Row]:
    return sorted((row for row in recall.rows if row.rerank == rerank), key=lambda row: row.nprobe)


def _decades(low: float, high: float) -> list[tuple[float, str]]:
    """Powers of ten between two numbers, and where there is room for them 2 and 5 times those."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if high / low < 1000.0 else (1,)
    marks = [step * 10.0**power for power in powers for step in steps]
    return [(mark, f"{mark:,g}") for mark in marks if low <= mark <= high]


def _lead(recall: Recall) -> str:
    shown = {
        "Queries": f"{recall.queries:,} of {recall.collection}",
        f"Recall@{recall.k}": f"{recall.chosen.recall:.4f}",
        "Lists visited": f"{recall.chosen.nprobe:,}",
        "Re-ranked a shard": f"{recall.chosen.rerank:,}",
        "Voters found": percent(recall.chosen.voters),
    }
    items = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in shown.items())
    return f'<dl class="lead">{items}</dl>'


def _table(recall: Recall) -> str:
    """Recall by lists and re-ranked photos, with the codes scanned."""
    reranks = _reranks(recall)
    found = {(row.nprobe, row.rerank): row for row in recall.rows}
    head = "".join(f'<th scope="col">{rerank:,}</th>' for rerank in reranks)
    body = []
    for nprobe in sorted({row.nprobe for row in recall.rows}):
        mine = [found[nprobe, rerank] for rerank in reranks]
        cells = "".join(f"<td>{_cell(row, row == recall.chosen)}</td>" for row in mine)
        body.append(f'<tr><th scope="row">{nprobe:,}</th><td>{mine[0].codes:,.0f}</td>{cells}</tr>')
    return (
        f'<section><h2>All settings</h2><p class="note">Recall@{recall.k} by lists visited and photos re-ranked a '
        "shard; below it photos re-ranked a query. The setting in use is in bold; a star marks those that "
        "let fewer vote.</p>"
        '<div class="table strata" role="region" aria-label="All settings" tabindex="0"><table>'
        f'<thead><tr><th scope="col">lists</th><th scope="col">codes a query</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _cell(row: Row, chosen: bool) -> str:
    recall = f"<strong>{row.shown}</strong>" if chosen else row.shown
    return f'{recall} <span class="range">{row.vectors:,.0f}</span>'
