"""Memory that may be used: what was said, or what machine and container have."""

from __future__ import annotations

import os

import pytest

from im2gps_spark.index import memory
from im2gps_spark.index.memory import allowed_bytes, machine_bytes

OF_THE_MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_what_the_configuration_allows_is_not_asked_about():
    assert allowed_bytes(1.5) == (1.5 * 2**30, "index.memory_gb")


@pytest.mark.parametrize(
    ("text", "found"),
    [("4096\n", 4096), ("max\n", OF_THE_MACHINE), ("9223372036854771712\n", OF_THE_MACHINE), ("", OF_THE_MACHINE)],
)
def test_a_container_s_bound_counts_where_it_is_less(tmp_path, text, found):
    (tmp_path / "memory.max").write_text(text)
    assert machine_bytes((tmp_path / "memory.max", tmp_path / "gone")) == found


def test_three_quarters_of_the_machine(monkeypatch, tmp_path):
    (tmp_path / "limit").write_text("4000")
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "limit",))
    assert allowed_bytes(0)[0] == 3000


def test_a_system_that_does_not_say(monkeypatch, tmp_path):
    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert machine_bytes((tmp_path / "gone",)) is None
    monkeypatch.setattr(memory, "_LIMITS", ())
    assert allowed_bytes(0)[0] is None
