"""Which photos and owners are to be forgotten, as their ids are given: one by one, or in a file, one a line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from im2gps_spark.photos.tombstone import OWNER, owner_tombstone, photo_tombstone

_LARGEST = 2**63 - 1
_WHOLE = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True)
class Removal:
    """Ids, each once and sorted.

    Attributes:
        photos: of photos, 1 to 2^63 - 1.
        owners: of owners, all of whose photos are meant.
    """

    photos: tuple[int, ...]
    owners: tuple[str, ...]

    @classmethod
    def of(cls, photos: Iterable[int], owners: Iterable[str]) -> Removal:
        """Ids in any order."""
        return cls(tuple(sorted(set(photos))), tuple(sorted(set(owners))))

    def __or__(self, other: Removal) -> Removal:
        return Removal.of(self.photos + other.photos, self.owners + other.owners)

    def __len__(self) -> int:
        return len(self.photos) + len(self.owners)

    @property
    def tombstones(self) -> list[str]:
        """The hash of each id, photos first."""
        return [*map(photo_tombstone, self.photos), *map(owner_tombstone, self.owners)]


def read_removal(text: str) -> Removal:
    """The ids in a list: a line is empty, or one id; what follows a ``#`` is a comment.

    A whole number is a photo; what has an ``@``, as Flickr's owners do, or begins with ``owner:``, is an owner.

    Raises:
        ValueError: names the first line that is none of these, by its number alone: a log is no place for ids.
    """
    photos, owners = [], []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        owner = word.removeprefix(OWNER).strip()
        if _WHOLE.fullmatch(word) and 0 < int(word) <= _LARGEST:
            photos.append(int(word))
        elif owner and (word.startswith(OWNER) or "@" in word):
            owners.append(owner)
        elif word:
            raise ValueError(
                f"line {number} is neither a photo's id (a whole number) nor an owner's (with @, or owner:ID)"
            )
    return Removal.of(photos, owners)
