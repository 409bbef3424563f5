"""One photo of the page: the picture, its visual neighbours, its map, and the facts."""

from __future__ import annotations

from im2gps_spark.atlas import words
from im2gps_spark.atlas.entry import CREDIBLE, Entry, Neighbour, Region, gap_km
from im2gps_spark.atlas.words import text
from im2gps_spark.atlas.worldmap import Marks, detail_radius_km, draw, draw_detail
from im2gps_spark.sphere import UNIFORM_ENTROPY

STRIP = 8
"""Neighbours shown; the map marks them all."""
REGIONS = 4
TAGS = 10
DETAIL_WIDTH = 240
_SAME_KM = 25.0
_JPEG = b"\xff\xd8\xff"


def render_row(entry: Entry, *, level: int, map_width: int, label: str = "") -> str:
    """The HTML of one photo.

    Args:
        entry: the photo.
        level: of its heading.
        map_width: pixels of the world map.
        label: a line above the heading, plain text.
    """
    title = text(entry.title) or f"Photo {entry.photo_id}"
    eyebrow = f'<p class="label">{text(label)}</p>' if label else ""
    return f"""
<article class="row" id="photo-{entry.photo_id}">
<header>{eyebrow}<h{level} dir="auto">{title}</h{level}>
<p class="verdict">{_verdict(entry)}</p>{_warning(entry)}</header>
{_photo(entry)}
{_strip(entry.neighbours, level + 1)}
<div class="answer">
<div class="world"><img src="{_map(entry, map_width)}" alt="{_map_alt(entry)}"></div>
{_where(entry, level + 1)}
</div>
{_facts(entry)}
</article>"""


def picture(jpeg: bytes | None, alt: str) -> str:
    """A photo, or a box in its place; ``alt`` is plain text."""
    if jpeg is None or not jpeg.startswith(_JPEG):
        return f'<span class="missing" role="img" aria-label="{text(alt)}: no picture"></span>'
    return f'<img src="{words.data_uri(jpeg, "jpeg")}" alt="{text(alt)}">'


def linked(inside: str, address: str) -> str:
    """HTML as a link for a person to follow, if the address is one of the web's; not javascript: or so."""
    if not address.lower().startswith(("http://", "https://")):
        return inside
    return f'<a href="{text(address)}" rel="noopener noreferrer">{inside}</a>'


def bar(share: float) -> str:
    """A bar as long as a share of the whole."""
    return f'<span class="bar" style="--share:{min(max(share, 0.0), 1.0):.4f}"></span>'


def _verdict(entry: Entry) -> str:
    """The answer in a sentence."""
    area = words.square_kilometres(entry.area50_km2)
    size = words.comparison(entry.area50_km2)
    sentences = [f"Half of the probability lies within <strong>{area}</strong>, {size}."]
    if entry.regions:
        heaviest = entry.regions[0]
        named = words.place(heaviest.place, heaviest.country)
        near = f"near {named}" if named else f"at {words.coordinates(heaviest.latitude, heaviest.longitude)}"
        sentences.append(f"The heaviest region, {near}, holds {words.percent(heaviest.mass)}.")
    sentences.append(_against_truth(entry))
    return " ".join(sentences).rstrip()


def _against_truth(entry: Entry) -> str:
    error, level = entry.error_km, entry.truth_level
    if error is None or level is None:
        return ""
    half, most = words.percent(0.5), words.percent(CREDIBLE)
    inside = f"inside the {half if level < 0.5 else most} region"
    where = inside if entry.held else f"outside the {most} region"
    kind = "held" if entry.held else "missed"
    return f'<span class="{kind}">The photo was taken {words.kilometres(error)} from the mode, {where}.</span>'


def _warning(entry: Entry) -> str:
    bits = entry.information_over_prior_bits
    if not entry.says_little or bits is None:
        return ""
    return (
        '<p class="warning">This says hardly more than where people take photos anyway: '
        f"{bits:.2f} bits over the prior. Use no single point from it.</p>"
    )


def _photo(entry: Entry) -> str:
    owner = f'<span dir="auto">by {text(entry.owner_id)}</span>' if entry.owner_id else ""
    licence = f"<span>{text(entry.licence)}</span>" if entry.licence else ""
    page = linked("photo page", entry.page_url)
    page = page if page.startswith("<a") else ""
    tags = "".join(f'<li dir="auto">{text(tag)}</li>' for tag in entry.tags[:TAGS])
    rest = len(entry.tags) - TAGS
    more = f"<li>and {rest} more</li>" if rest > 0 else ""
    listed = f'<ul class="tags" aria-label="Tags">{tags}{more}</ul>' if tags else ""
    credit = " ".join(part for part in (owner, licence, page) if part)
    shown = picture(entry.thumbnail, entry.title or f"Photo {entry.photo_id}")
    caption = f'<figcaption><p class="credit">{credit}</p>{listed}</figcaption>'
    return f'<figure class="photo">{shown}{caption}</figure>'


def _strip(neighbours: tuple[Neighbour, ...], level: int) -> str:
    if not neighbours:
        return (
            f'<section class="neighbours"><h{level}>Looks like</h{level}>'
            "<p>Nothing in the corpus: the answer is the prior.</p></section>"
        )
    shown = "".join(_neighbour(n) for n in neighbours[:STRIP])
    count = f"{STRIP} of {len(neighbours)}, " if len(neighbours) > STRIP else ""
    return (
        f'<section class="neighbours"><h{level}>Looks like <small>{count}weight and visual distance</small>'
        f'</h{level}><ol class="strip">{shown}</ol></section>'
    )


def _neighbour(n: Neighbour) -> str:
    photo = picture(n.thumbnail, n.title or f"Photo {n.photo_id}")
    by = ", ".join(part for part in (n.title, f"by {n.owner_id}" if n.owner_id else "", n.licence) if part)
    return (
        f'<li title="{text(by)}">{linked(photo, n.page_url)}{bar(n.weight)}<p class="pair">'
        f'<span class="weight">{words.percent(n.weight)}</span> <span>{words.rounded(n.distance)}</span></p>'
        f"<p>{words.coordinates(n.latitude, n.longitude)}</p></li>"
    )


def _map(entry: Entry, width: int) -> str:
    heat = draw(
        entry.law,
        width=width,
        mode=entry.mode,
        truth=entry.truth,
        neighbours=entry.neighbours,
        with_backdrop=False,
    )
    return words.data_uri(heat, "png")


def _map_alt(entry: Entry) -> str:
    half, most = (words.square_kilometres(a) for a in (entry.area50_km2, entry.area90_km2))
    return (
        f"World map of where the photo may have been taken: densest at {words.coordinates(*entry.mode)}, "
        f"50 % within {half}, 90 % within {most}"
    )


def _facts(entry: Entry) -> str:
    facts = [
        ("Mode", words.coordinates(*entry.mode), _nearest(entry)),
        ("Information", f"{entry.information_bits:.1f} bits", _over_prior(entry)),
        ("Entropy", f"{words.signed(entry.entropy)} nats", f"at most {UNIFORM_ENTROPY:.2f}"),
        ("50 % area", words.square_kilometres(entry.area50_km2), words.comparison(entry.area50_km2)),
        ("90 % area", words.square_kilometres(entry.area90_km2), words.comparison(entry.area90_km2)),
    ]
    if entry.median is not None:
        off = entry.median_error_km
        note = "least expected distance" if off is None else f"{words.kilometres(off)} off"
        facts.insert(1, ("Median", words.coordinates(*entry.median), note))
    if entry.truth is not None and entry.error_km is not None:
        facts.insert(0, ("Taken at", words.coordinates(*entry.truth), f"mode {words.kilometres(entry.error_km)} off"))
    items = "".join(f"<div><dt>{n}</dt><dd>{v}<small>{note}</small></dd></div>" for n, v, note in facts)
    return f'<dl class="facts">{items}</dl>'


def _nearest(entry: Entry) -> str:
    """The names of the region whose densest point is the mode; regions are named, the mode itself is not."""
    for region in entry.regions:
        if gap_km(entry.mode, (region.latitude, region.longitude)) < _SAME_KM:
            return words.place(region.place, region.country)
    return ""


def _over_prior(entry: Entry) -> str:
    bits = entry.information_over_prior_bits
    return "over a uniform guess" if bits is None else f"{bits:.1f} over the prior"


def _where(entry: Entry, level: int) -> str:
    """The close-up, when the answer is tight enough for one, and the regions."""
    parts = []
    radius = detail_radius_km(entry.law, entry.mode)
    if radius is not None:
        marks = Marks(entry.mode, entry.truth, entry.neighbours)
        close = draw_detail(entry.law, radius_km=radius, width=DETAIL_WIDTH, marks=marks, centre=entry.mode)
        around = f"within {words.kilometres(radius)} of the mode"
        parts.append(
            f'<figure class="detail"><img src="{words.data_uri(close, "png")}" alt="The same map {around}">'
            f"<figcaption>{around}</figcaption></figure>"
        )
    if entry.regions:
        items = "".join(_region(region) for region in entry.regions[:REGIONS])
        parts.append(f'<section class="regions"><h{level}>Regions</h{level}><ol>{items}</ol></section>')
    return f'<div class="where">{"".join(parts)}</div>'


def _region(region: Region) -> str:
    at = words.coordinates(region.latitude, region.longitude)
    name = words.place(region.place, region.country) or at
    return (
        f"<li>{bar(region.mass)}"
        f'<span class="weight">{words.percent(region.mass)}</span> <span class="name">{name}</span> '
        f'<span class="far">{at}, radius {words.kilometres(region.radius_km)}</span></li>'
    )
