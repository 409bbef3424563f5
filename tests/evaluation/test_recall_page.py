"""The page of recall: every setting, the one in use marked, nothing from outside, and text that stays text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from im2gps_spark.evaluation.recall_page import recall_chart, render
from im2gps_spark.index.recall import Recall, Row, Setting, choose
from tests.atlas.test_page import EVIL, Reader

RERANKS = (125, 250, 500, 1000, 2000, 3000, 6000)


def recall_of(target: float = 0.9) -> Recall:
    rows = [
        Row.of(Setting(nprobe, rerank), 1.0 - 0.5 / nprobe - 20.0 / rerank, 1.0, 400.0 * nprobe, float(rerank))
        for nprobe in (1, 4, 16, 64)
        for rerank in RERANKS
    ]
    return Recall(target, 120, 1000, 876, "corpus", "abc123", choose(rows, target), rows)


@pytest.fixture(scope="module")
def page() -> str:
    return render(recall_of())


def test_every_setting_is_shown_and_the_one_in_use_in_bold(page):
    seen, recall = Reader(page), recall_of()
    assert not seen.open
    for row in recall.rows:
        assert f"{row.recall:.4f} {row.vectors:,.0f}" in seen.text
    assert page.count("<strong>") == 1
    assert f"<strong>{recall.chosen.recall:.4f}</strong>" in page
    assert "Queries 876 of corpus" in seen.text
    assert f"The cheapest setting for a recall of 0.9: nprobe {recall.chosen.nprobe}, " in seen.text


def test_a_line_for_each_number_of_re_ranked_photos_and_one_dot(page):
    tags = Reader(page).tags
    kinds = [attributes["class"] for tag, attributes in tags if tag == "polyline"]
    assert kinds == ["ideal", *(f"shade{i}" for i in range(len(RERANKS)))]
    assert all(f".{kind} {{" in page for kind in kinds)
    assert [attributes["class"] for tag, attributes in tags if tag == "circle"] == ["chosen"]


def test_the_dot_is_on_its_line():
    tags = Reader(recall_chart(recall_of())).tags
    best = recall_of().chosen
    (dot,) = [attributes for tag, attributes in tags if tag == "circle"]
    lines = {attributes["class"]: attributes["points"] for tag, attributes in tags if tag == "polyline"}
    assert f"{dot['cx']},{dot['cy']}" in str(lines[f"shade{RERANKS.index(best.rerank)}"]).split()


def test_a_promise_that_does_not_hold_is_said():
    assert "the promise does not hold" in Reader(render(recall_of(0.9999))).text


def test_of_one_setting_there_is_a_page_too():
    recall = recall_of()
    assert "0.5" in render(replace(recall, rows=recall.rows[:1], chosen=recall.rows[0]))


def test_the_page_takes_nothing_from_outside(page):
    tags = Reader(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "base", "img", "form"}
    assert not [value for _, attributes in tags for value in attributes.values() if value and "//" in value]
    assert "url(" not in page


def test_names_are_text():
    seen = Reader(render(replace(recall_of(), collection=EVIL, measured_on=EVIL)))
    assert not {tag for tag, _ in seen.tags} & {"script", "img"}
    assert "alert('1')" in seen.text
