"""The parts of the photos that are judged apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.sphere import Floats

ALL = "all"
NEW, KNOWN = "new owners", "known owners"
MAIN = (ALL, NEW, KNOWN)
THIRDS = ("certain third", "middling third", "vague third")
"""By the entropy of the engine's answer, the least first."""

LEAST_PHOTOS = 20
"""Of a stratum by country, tag or certainty: fewer say next to nothing."""
MOST_TAGS = 10


def strata(
    new: NDArray[np.bool_],
    entropy: Floats,
    countries: Sequence[str | None],
    tags: Sequence[Sequence[str]],
) -> dict[str, NDArray[np.bool_]]:
    """Names and members (n,) of the strata: all; new and known owners; thirds by certainty; countries; tags.

    None is empty, and none but the first is all. Those that the collection is too small for are left out.

    Args:
        new: (n,) whether the corpus doesn't know the owner.
        entropy: (n,) of the engine's answers.
        countries: where the photos were taken; None at sea.
        tags: of the photos.
    """
    n = len(new)
    found = {ALL: np.ones(n, bool), NEW: new, KNOWN: ~new}
    if n >= len(THIRDS) * LEAST_PHOTOS:
        third = np.argsort(np.argsort(entropy, kind="stable"), kind="stable") * len(THIRDS) // n
        found |= {name: third == i for i, name in enumerate(THIRDS)}
    found |= {f"country {name}": np.array([c == name for c in countries]) for name in _frequent(countries)}
    by_photo = [frozenset(mine) for mine in tags]
    frequent = _frequent([tag for mine in by_photo for tag in mine])[:MOST_TAGS]
    found |= {f"tag {tag}": np.array([tag in mine for mine in by_photo]) for tag in frequent}
    return {name: inside for name, inside in found.items() if inside.any() and (name == ALL or not inside.all())}


def _frequent(values: Sequence[str | None]) -> list[str]:
    """What occurs often enough, the most frequent first, then by name."""
    counts = Counter(value for value in values if value)
    often = [value for value, n in counts.items() if n >= LEAST_PHOTOS]
    return sorted(often, key=lambda value: (-counts[value], value))
