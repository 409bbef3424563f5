"""Failures that may pass, and how long to wait for that."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


class TryAgain(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """Reading failed in a way that may pass: the photo is to be taken up by a later run."""


@dataclass
class Patience:
    """Exponential back-off with full jitter, within a deadline a photo and a number of tries for all of them.

    The waits are drawn evenly from 0 to the bound (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
    2015), so that workers that failed together do not come back together. Threads may share one.

    Attributes:
        deadline_s: from a photo's first try: no further one begins after it.
        tries: further ones, for all photos together; beyond, a store that is down is not asked for each of them.
        first_s, most_s: bounds of the first wait and of any.
    """

    deadline_s: float
    tries: int
    first_s: float = 0.1
    most_s: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def until_it_works(self, work: Callable[[], T]) -> T:
        """What the work gives; it is done again while it raises TryAgain and there is time and a try left.

        Raises:
            TryAgain: it did not work in time.
        """
        end = self.clock() + self.deadline_s
        bound = self.first_s
        while True:
            try:
                return work()
            except TryAgain:
                wait = random.uniform(0.0, bound)  # noqa: S311 - no secret hangs on it
                if self.clock() + wait > end or not self._one_more():
                    raise
                self.sleep(wait)
                bound = min(2.0 * bound, self.most_s)

    def _one_more(self) -> bool:
        with self._lock:
            self.tries -= 1
            return self.tries >= 0
