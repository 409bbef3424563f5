"""What lies below a prefix: prefixes are found breadth first, until there are enough for all threads; each is paged.

How a page is asked for is handed in; nothing here knows a store.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

# Prefixes for each thread: some hold much more than others.
_PREFIXES_A_THREAD = 4


class Listed(NamedTuple):
    """An object: its key below the root, its size, when it was last written, and the store's tag of its content."""

    key: str
    bytes: int
    modified: dt.datetime
    etag: str | None


@dataclass(frozen=True)
class Page:
    """Part of a listing.

    Attributes:
        objects: those that the page names.
        prefixes: what lies one level below, where it was asked for; each ends in a slash.
        following: names the next page; None if this is the last.
    """

    objects: list[Listed]
    prefixes: list[str] = field(default_factory=list)
    following: str | None = None


Ask = Callable[[str, bool, str | None], Page]
"""Prefix, whether one level only, and ``following`` of the page before -> page."""


def listed(ask: Ask, threads: int) -> Generator[list[Listed]]:
    """All objects below the root, each once, page by page in no order.

    No more than two pages a thread are held, and the names of a few prefixes a thread.

    Args:
        ask: a page; called from several threads. What it raises ends the listing.
        threads: pages of objects asked for at once; one more at a time is asked for prefixes.
    """
    found = _spread(ask, threads * _PREFIXES_A_THREAD)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="list")
    under_way: dict[Future[Page], str] = {}
    try:
        while True:
            while len(under_way) < 2 * threads and (one := next(found, None)) is not None:
                if isinstance(one, str):
                    under_way[pool.submit(ask, one, False, None)] = one
                else:
                    yield one
            if not under_way:
                return
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for page in done:
                prefix, came = under_way.pop(page), page.result()
                if came.following is not None:
                    under_way[pool.submit(ask, prefix, False, came.following)] = prefix
                yield came.objects
    finally:
        pool.shutdown(cancel_futures=True)


def _spread(ask: Ask, enough: int) -> Iterator[list[Listed] | str]:
    """Prefixes that together hold what lies below the root, and the objects that were seen on the way to them.

    Where a level has enough prefixes, they are handed on as they are found, however many they are.
    """
    level: Iterator[list[Listed] | str] = iter([""])
    while True:
        few: list[str] = []
        for one in level:
            if not isinstance(one, str):
                yield one
                continue
            few.append(one)
            if len(few) == enough:
                yield from few
                yield from level
                return
        if not few:
            return
        level = _level_below(ask, few)


def _level_below(ask: Ask, prefixes: list[str]) -> Iterator[list[Listed] | str]:
    for prefix in prefixes:
        following = None
        while True:
            page = ask(prefix, True, following)
            yield page.objects
            yield from page.prefixes
            following = page.following
            if following is None:
                break


def in_chunks(objects: Iterator[Listed], size: int = 1000) -> Iterator[list[Listed]]:
    """Objects that come one by one, as if by pages."""
    while chunk := list(islice(objects, size)):
        yield chunk
