import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from im2gps_spark.atlas import backdrop
from im2gps_spark.atlas.entry import Neighbour
from im2gps_spark.atlas.page import render
from im2gps_spark.grid import MultiOrderMap
from tests.atlas.laws import bump, entry

WIDTH = 96
EVIL = "<script>alert('1')</script>\"><img src=x onerror=alert(1)> & $title \ud800\x00"


class Reader(HTMLParser):
    """What a browser would see: tags with their attributes, the text, and whether all is closed."""

    VOID = frozenset({"meta", "img", "br", "link", "hr"})

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def all_of_it(**changes) -> str:
    photos = [
        entry(1, bits=12.0, truth=(43.9, 11.2), over_prior=9.0),
        entry(2, bits=0.3, law=MultiOrderMap.uniform(), truth=(-33.9, 151.2), over_prior=0.1),
        entry(3, bits=6.0, mode=(-17.0, 179.9), title="", neighbours=()),
        entry(4, bits=7.0, mode=(89.9, 0.0)),
    ]
    arguments = {
        "title": "Where on Earth?",
        "lead": {"photos": 4, "median error": "812 km"},
        "prior": bump(50.0, 5.0, 1500.0, floor=0.3),
        "evaluation": [
            {"engine": "im2gps", "≤ 200 km": (0.231, 0.2, 0.26), "median error, km": 812.3},
            {"engine": "prior", "≤ 200 km": 0.04, "log likelihood": None},
        ],
        "query": "SELECT * FROM t WHERE a < 3;",
        "map_width": WIDTH,
    }
    return render(photos, **{**arguments, **changes})


@pytest.fixture(scope="module")
def page() -> str:
    return all_of_it()


def test_text_from_photos_is_text():
    bad = Neighbour(5, 1.0, 2.0, 0.1, 0.5, b"<svg onload=alert(1)>", EVIL, EVIL, "javascript:alert(1)", EVIL)
    photo = entry(title=EVIL, tags=(EVIL,) * 12, owner_id=EVIL, page_url="javascript:alert(1)", neighbours=(bad,))
    html = render([photo], title=EVIL, lead={EVIL: EVIL}, evaluation=[{EVIL: EVIL}], query=EVIL, map_width=WIDTH)
    seen = Reader(html)
    assert not {tag for tag, _ in seen.tags} & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert not [a for tag, a in seen.tags if tag == "a"]
    assert "javascript:" not in html
    assert "alert('1')" in seen.text
    assert "$title" in seen.text
    assert "\x00" not in html
    html.encode("utf-8")


NO_WEB = (
    "javascript:alert(1)",
    " https://a.b",
    "data:text/html,x",
    "//a.b",
    "file:///etc/passwd",
    "",
    "httpx://a",
)


@pytest.mark.parametrize("address", NO_WEB)
def test_only_web_addresses_become_links(address):
    seen = Reader(render([entry(page_url=address, neighbours=())], title="t", map_width=WIDTH))
    assert not [a for tag, a in seen.tags if tag == "a"]


def test_links_are_as_given_and_give_nothing_away():
    seen = Reader(render([entry(page_url='HTTPS://a.b/?q="><b>&c=d')], title="t", map_width=WIDTH))
    links = [a for tag, a in seen.tags if tag == "a"]
    assert [a["href"] for a in links] == ['HTTPS://a.b/?q="><b>&c=d', "http://flickr.com/9"]
    assert all(a["rel"] == "noopener noreferrer" for a in links)


def test_nothing_is_loaded_from_outside(page):
    seen = Reader(page)
    for tag, attributes in seen.tags:
        for name in ("src", "srcset", "data", "poster", "action", "xlink:href", "background"):
            assert (attributes.get(name) or "data:image/").startswith("data:image/"), (tag, attributes)
        if tag != "a":
            assert "href" not in attributes
    assert "@import" not in page
    assert all(url.startswith("data:image/png;base64,") for url in re.findall(r"url\(([^)]*)\)", page))
    policy = [a["content"] for tag, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy[0] is not None
    assert policy[0].startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_page_is_whole_and_can_be_heard(page):
    seen = Reader(page)
    assert seen.open == []
    assert dict(seen.tags[0][1]) == {"lang": "en"}
    assert all(a.get("alt") for tag, a in seen.tags if tag == "img")
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    identities = [a["id"] for _, a in seen.tags if "id" in a]
    assert len(identities) == len(set(identities)) == 4


def test_page_says_what_it_must(page):
    said = Reader(page).text
    for phrase in (
        "The spread is the result",
        "Two cases",
        "A distinctive photo",
        "43.8° N, 11.3° E",
        "Florence, Italy",
        "12.0 bits",
        "9.0 over the prior",
        "2,600 km²",
        "about the size of Luxembourg",
        "inside the 50 % region",
        "hardly more than where people take photos anyway: 0.10 bits over the prior",
        "Use no single point from it",
        "the answer is the prior",
        "Photo 3",
        "Where the corpus’ photos are taken",
        "How well it does",
        "0.200 to 0.260",
        "SELECT * FROM t WHERE a < 3;",
        "from the mode",
    ):
        assert phrase in said.replace("\xa0", " "), phrase


def test_rest_follows_by_information(page):
    assert re.findall(r'id="photo-(\d+)"', page) == ["1", "2", "4", "3"]


def test_a_miss_is_called_one():
    lost = entry(truth=(-40.0, 170.0), law=bump(43.8, 11.3, 300.0))
    said = Reader(render([lost], title="t", map_width=WIDTH)).text
    assert "outside the 90 % region" in said.replace("\xa0", " ")


def test_a_page_of_nothing_is_a_page():
    said = Reader(render([], title="t", map_width=WIDTH)).text
    assert "None has been located yet" in said
    assert "Two cases" not in said


def test_same_arguments_same_bytes(page):
    assert all_of_it() == page


def test_maps_go_without_coastlines_when_their_package_is_missing(monkeypatch):
    caches = (backdrop.land_mask, backdrop._painted, backdrop.backdrop)
    for cached in caches:
        cached.cache_clear()
    monkeypatch.setattr(backdrop, "_data_folder", lambda: None)
    try:
        html = render([entry()], title="t", map_width=WIDTH)
        bare = backdrop.backdrop(WIDTH)
    finally:
        for cached in caches:
            cached.cache_clear()
    assert "GSHHG" not in html
    assert bare.startswith(b"\x89PNG")


def test_the_atlas_needs_no_spark_and_no_matplotlib():
    code = (
        "import sys, im2gps_spark.atlas.page, im2gps_spark.atlas.thumbnail;"
        "sys.exit(bool({'pyspark', 'matplotlib', 'mpl_toolkits.basemap_data'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
