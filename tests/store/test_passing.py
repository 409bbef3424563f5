import threading

import pytest

from im2gps_spark.store.passing import Patience, TryAgain


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def patience(self, deadline_s: float, tries: int) -> Patience:
        return Patience(deadline_s, tries, sleep=self.sleep, clock=lambda: self.now)


def failing(times: int):
    """Work that fails so often before it works."""
    done = []

    def work() -> str:
        done.append(1)
        if len(done) <= times:
            raise TryAgain(f"{len(done)}")
        return "done"

    return work


def test_what_works_is_done_once_and_nobody_waits():
    clock = Clock()
    assert clock.patience(10.0, 5).until_it_works(failing(0)) == "done"
    assert clock.waits == []


def test_waits_are_drawn_below_a_bound_that_doubles():
    most = [0.0] * 8
    for _ in range(300):
        clock = Clock()
        assert clock.patience(1e6, 100).until_it_works(failing(8)) == "done"
        assert len(clock.waits) == 8
        most = [max(a, b) for a, b in zip(most, clock.waits, strict=True)]
    bounds = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert all(0.9 * bound < wait <= bound for wait, bound in zip(most, bounds, strict=True))


def test_no_try_begins_after_the_deadline():
    clock = Clock()
    with pytest.raises(TryAgain):
        clock.patience(7.0, 10_000).until_it_works(failing(10_000))
    assert 2.0 < clock.now <= 7.0


def test_photos_share_the_tries():
    clock = Clock()
    patience = clock.patience(1e6, 5)
    assert patience.until_it_works(failing(3)) == "done"
    with pytest.raises(TryAgain, match="3"):
        patience.until_it_works(failing(10))
    with pytest.raises(TryAgain, match="1"):
        patience.until_it_works(failing(10))
    assert patience.until_it_works(failing(0)) == "done"


def test_threads_share_the_tries():
    clock = Clock()
    patience, failed = clock.patience(1e6, 50), []

    def work() -> None:
        try:
            patience.until_it_works(failing(10**6))
        except TryAgain as error:
            failed.append(int(str(error)) - 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(failed) == 50


def test_other_failures_are_not_waited_for():
    clock = Clock()
    with pytest.raises(ZeroDivisionError):
        clock.patience(10.0, 5).until_it_works(lambda: 1 / 0)
    assert clock.waits == []
