"""Reading ahead: a bounded pool of threads fetches what is needed next, in order, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Condition
from typing import TypeVar

T = TypeVar("T")


class Room:
    """Bytes that may be held at once. Whoever is waited for next gets room in any case: else all would wait."""

    def __init__(self, size: int) -> None:
        self._left, self._next, self._changed = size, 0, Condition()

    def take(self, turn: int, size: int) -> None:
        """Waits for room."""
        with self._changed:
            self._changed.wait_for(lambda: size <= self._left or turn <= self._next)
            self._left -= size

    def give_back(self, turn: int, size: int) -> None:
        """What was read for a turn is used up."""
        with self._changed:
            self._left += size
            self._next = turn + 1
            self._changed.notify_all()


def read_ahead(
    items: Iterable[T],
    read: Callable[[T, Callable[[int], None]], bytes],
    threads: int,
    most_bytes: int,
) -> Generator[tuple[T, Callable[[], bytes]]]:
    """Each item with what gives its bytes, or raises what reading it raised; in the order of the items.

    Args:
        items: looked at ``2 * threads`` ahead.
        read: an item's bytes. It calls its second argument with their number once that is known and before they are
            read: the call returns when there is room.
        threads: reads under way at once.
        most_bytes: held at once; one item may be larger, alone.
    """
    room, waiting = Room(most_bytes), iter(enumerate(items))
    with ThreadPoolExecutor(threads, thread_name_prefix="read") as pool:
        taken: dict[int, int] = {}

        def fetch(turn: int, item: T) -> bytes:
            def make_room(size: int) -> None:
                # Of a second try, only what it needs beyond the first.
                room.take(turn, size - taken.get(turn, 0))
                taken[turn] = size

            return read(item, make_room)

        under_way: deque[tuple[int, T, Future[bytes]]] = deque()
        try:
            while True:
                for turn, item in islice(waiting, 2 * threads - len(under_way)):
                    under_way.append((turn, item, pool.submit(fetch, turn, item)))
                if not under_way:
                    return
                turn, item, coming = under_way.popleft()
                yield item, coming.result
                room.give_back(turn, taken.pop(turn, 0))
        finally:
            for turn, _, coming in under_way:
                coming.cancel()
                # Whoever waits for room must not wait for ever.
                room.give_back(turn, most_bytes)
