import threading
import time

import pytest

from im2gps_spark.store.ahead import read_ahead
from im2gps_spark.store.passing import TryAgain


def test_bytes_come_in_order_whoever_is_first():
    def read(item, make_room):
        make_room(1)
        time.sleep(0.02 if item % 3 == 0 else 0.0)
        return bytes([item])

    assert [(item, load()) for item, load in read_ahead(range(50), read, 8, 100)] == [
        (i, bytes([i])) for i in range(50)
    ]


def test_as_many_are_read_at_once_as_there_are_threads():
    at_once, most, lock = [0], [0], threading.Lock()

    def read(item, make_room):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        time.sleep(0.01)
        with lock:
            at_once[0] -= 1
        return b""

    begin = time.monotonic()
    assert len([load() for _, load in read_ahead(range(60), read, 6, 1)]) == 60
    assert most[0] == 6
    assert time.monotonic() - begin < 60 * 0.01


@pytest.mark.parametrize("size", [10, 40, 500])
def test_memory_is_bounded_and_one_larger_than_that_is_held_alone(size):
    held, most, lock = [0], [0], threading.Lock()

    def read(item, make_room):
        make_room(size)
        with lock:
            held[0] += size
            most[0] = max(most[0], held[0])
        return bytes(size)

    for _, load in read_ahead(range(100), read, 8, 100):
        assert len(load()) == size
        time.sleep(0.001)
        with lock:
            held[0] -= size
    # The one that is waited for may come on top.
    assert most[0] <= 100 + size


def test_a_failure_is_its_own_items():
    def read(item, make_room):
        make_room(60)
        if item % 2:
            raise TryAgain(str(item))
        return b"x"

    for item, load in read_ahead(range(20), read, 4, 100):
        if item % 2:
            with pytest.raises(TryAgain, match=f"^{item}$"):
                load()
        else:
            assert load() == b"x"


def test_a_second_try_does_not_take_room_twice():
    def read(item, make_room):
        for _ in range(5):
            make_room(80)
        return b"x"

    assert len([load() for _, load in read_ahead(range(20), read, 4, 100)]) == 20


def test_whoever_stops_early_leaves_no_thread_waiting():
    def read(item, make_room):
        make_room(90)
        return bytes(90)

    before = threading.active_count()
    reader = read_ahead(range(100), read, 8, 100)
    next(reader)
    reader.close()
    assert threading.active_count() == before


def test_items_are_looked_at_only_so_far_ahead():
    looked = []

    def items():
        for i in range(1000):
            looked.append(i)
            yield i

    reader = read_ahead(items(), lambda item, make_room: b"", 4, 100)
    next(reader)
    assert len(looked) <= 9
    reader.close()


def test_nothing_to_read():
    assert list(read_ahead([], lambda item, make_room: b"", 4, 100)) == []
