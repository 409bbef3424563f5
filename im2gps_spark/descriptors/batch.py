"""Photos to descriptors: bytes are read once a photo, decoded once, and prepared for every descriptor at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.descriptors.protocol import Descriptor, Pixels
from im2gps_spark.photos.fingerprint import Fingerprint, fingerprint
from im2gps_spark.photos.reasons import Reason, Rejected, Status
from im2gps_spark.store.passing import TryAgain


@dataclass(frozen=True)
class Task:
    """A photo to describe, by which descriptors' names, and whether its fingerprint is asked for.

    By no descriptor and without its fingerprint, it is not even read.
    """

    photo_id: int
    uri: str
    descriptors: tuple[str, ...]
    fingerprint: bool = False

    @property
    def reads(self) -> bool:
        """Whether its bytes are needed."""
        return bool(self.descriptors) or self.fingerprint


@dataclass
class Described:
    """What became of a photo: its vectors by descriptor and its fingerprint, or the reason why there are none."""

    photo_id: int
    status: Status = Status.OK
    reason: Reason | None = None
    detail: str | None = None
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    picture: Fingerprint | None = None

    def fail(self, status: Status, reason: Reason, detail: str) -> None:
        """Turns it into a failure: half a photo's descriptors are not kept."""
        self.status, self.reason, self.detail = status, reason, detail[:500] or None
        self.vectors, self.picture = {}, None


def describe(
    tasks: Iterable[Task],
    descriptors: Mapping[str, Descriptor],
    read: Callable[[str], bytes],
    decode: Callable[[bytes], Pixels],
    batch: int,
) -> Iterator[Described]:
    """One result a task, in the order of the tasks; no photo's failure touches another.

    Args:
        tasks: the photos.
        descriptors: by name.
        read: a uri's bytes; raises Rejected or TryAgain.
        decode: a picture of the bytes; raises Rejected.
        batch: photos whose prepared inputs are held at once. Decoded pictures are held one at a time.
    """
    yield from describe_as_they_come(((task, partial(read, task.uri)) for task in tasks), descriptors, decode, batch)


def describe_as_they_come(
    tasks: Iterable[tuple[Task, Callable[[], bytes]]],
    descriptors: Mapping[str, Descriptor],
    decode: Callable[[bytes], Pixels],
    batch: int,
) -> Iterator[Described]:
    """The same of photos that each come with what gives its bytes; the next is asked for when one is decoded."""
    waiting = iter(tasks)
    while some := _describe(islice(waiting, batch), descriptors, decode):
        yield from some


def _describe(
    tasks: Iterable[tuple[Task, Callable[[], bytes]]],
    descriptors: Mapping[str, Descriptor],
    decode: Callable[[bytes], Pixels],
) -> list[Described]:
    results: list[Described] = []
    prepared: dict[str, tuple[list[int], list[NDArray]]] = {name: ([], []) for name in descriptors}
    for i, (task, load) in enumerate(tasks):
        results.append(Described(task.photo_id))
        if not task.reads:
            continue
        try:
            data = load()
            pixels = decode(data)
            inputs = {name: descriptors[name].prepare(pixels) for name in task.descriptors}
            results[i].picture = fingerprint(data, pixels) if task.fingerprint else None
        except Rejected as error:
            results[i].fail(Status.REJECTED, error.reason, error.detail)
        except TryAgain as error:
            results[i].fail(Status.RETRY, Reason.READ_FAILED, str(error))
        except Exception as error:  # a picture that a library chokes on; were it our fault, most would fail
            results[i].fail(Status.REJECTED, Reason.UNDECODABLE, f"{type(error).__name__}: {error}")
        else:
            for name, made in inputs.items():
                prepared[name][0].append(i)
                prepared[name][1].append(made)
    for name, (rows, ready) in prepared.items():
        if ready:
            for i, vector in zip(rows, descriptors[name].describe(ready), strict=True):
                results[i].vectors[name] = vector
    for result in results:
        if any(not np.isfinite(vector).all() for vector in result.vectors.values()):
            result.fail(Status.REJECTED, Reason.BAD_DESCRIPTOR, ", ".join(sorted(result.vectors)))
    return results
