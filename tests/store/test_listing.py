"""Every object is listed once, whatever the prefixes, the pages and the threads."""

from __future__ import annotations

import datetime as dt
import threading
import time
from bisect import bisect_right

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from im2gps_spark.store.listing import Listed, Page, listed

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.UTC)
KEYS = st.text(st.sampled_from("ab/é"), min_size=1, max_size=6).filter(lambda key: not key.endswith("/"))


class Shop:
    """A store of some keys that answers in small pages, and counts what it is asked."""

    def __init__(self, keys: set[str], size: int = 2) -> None:
        self.keys, self.size = sorted(keys), size
        self.asked: list[tuple[str, bool, str | None]] = []
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    def ask(self, prefix: str, one_level: bool, following: str | None) -> Page:
        with self.lock:
            self.asked.append((prefix, one_level, following))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        names = []
        for key in self.keys:
            if key.startswith(prefix):
                name, slash, _ = key[len(prefix) :].partition("/")
                names.append(prefix + name + slash if one_level else key)
        names = sorted(set(names))
        begin = 0 if following is None else bisect_right(names, following)
        page = names[begin : begin + self.size]
        more = page[-1] if begin + self.size < len(names) else None
        time.sleep(0.001)
        with self.lock:
            self.at_once -= 1
        return Page(
            [Listed(name, 1, NOW, None) for name in page if not name.endswith("/")],
            [name for name in page if name.endswith("/")],
            more,
        )


def keys_of(shop: Shop, threads: int) -> list[str]:
    return sorted(one.key for page in listed(shop.ask, threads) for one in page)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sets(KEYS, max_size=40), st.integers(1, 3), st.integers(1, 3))
def test_every_key_is_listed_once(keys, size, threads):
    assert keys_of(Shop(keys, size), threads) == sorted(keys)


def test_levels_are_gone_down_until_there_are_enough_prefixes_and_no_further():
    keys = {f"data/images/{a:02d}/{b}/{c}.jpg" for a in range(20) for b in range(3) for c in range(2)}
    shop = Shop(keys, size=1000)
    assert keys_of(shop, 4) == sorted(keys)
    assert [prefix for prefix, one_level, _ in shop.asked if one_level] == ["", "data/", "data/images/"]
    flat = [prefix for prefix, one_level, _ in shop.asked if not one_level]
    assert sorted(flat) == [f"data/images/{a:02d}/" for a in range(20)]


def test_no_more_is_asked_at_once_than_there_are_threads():
    shop = Shop({f"{a}/{b}" for a in range(50) for b in range(4)})
    assert len(keys_of(shop, 5)) == 200
    assert 1 < shop.most_at_once <= 5 + 1  # and one asks for prefixes


def test_prefixes_are_taken_up_as_pages_are_used():
    shop = Shop({f"{a:04d}/x" for a in range(1000)}, size=10)
    pages = listed(shop.ask, 2)
    for page in pages:
        if page:
            break
    # Of a hundred pages of prefixes, those that the first pages of objects need.
    assert sum(one_level for _, one_level, _ in shop.asked) < 5
    pages.close()


def test_what_asking_raises_ends_the_listing():
    def ask(prefix: str, one_level: bool, following: str | None) -> Page:
        if prefix == "7/" and not one_level:
            raise PermissionError(prefix)
        return Shop({f"{a}/{b}" for a in range(30) for b in range(3)}).ask(prefix, one_level, following)

    with pytest.raises(PermissionError, match="7/"):
        list(listed(ask, 4))
