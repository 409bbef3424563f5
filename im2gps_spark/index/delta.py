"""Growing: what becomes of a shard's files as photos come and go, without training or building again.

A shard has the files that it was built with and, beside them, delta files of the same form for what came later. A night
writes the delta files anew and leaves the others alone. They become one when the delta has grown past a share, or when
a photo goes that is not in it. A search of both finds what a search of one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index.deletion import without
from im2gps_spark.index.manifest import BASE, Manifest
from im2gps_spark.index.shard import Rows


@dataclass(frozen=True)
class Change:
    """What comes to a shard and goes from it.

    Attributes:
        shard: its number.
        added: photos that are in no part of it, sorted by id.
        removed: ids of photos that are in one of its parts; of one that is added again, with another place, too.
    """

    shard: int
    added: Rows
    removed: NDArray[np.int64]


def merges(index: Manifest, change: Change, from_base: bool, max_delta: float) -> bool:
    """Whether a shard's parts become one.

    Args:
        from_base: a photo goes that is not in the delta.
        max_delta: share of the shard's own photos that its delta may have.
    """
    delta = index.delta_rows[change.shard] + len(change.added.photo_id)
    return from_base or delta > max_delta * index.rows_of(change.shard, BASE)


def grown(parts: Sequence[Rows], change: Change) -> Rows:
    """The photos of some parts of a shard after the change, sorted by id.

    Raises:
        ValueError: an id stands twice.
    """
    return joined([*(without(part, change.removed) for part in parts), change.added])


def joined(parts: Sequence[Rows]) -> Rows:
    """Photos of several parts, sorted by id; there must be one part at least.

    Raises:
        ValueError: an id stands twice.
    """
    return Rows(*(np.concatenate([getattr(p, n) for p in parts]) for n in Rows.__dataclass_fields__)).sorted()
