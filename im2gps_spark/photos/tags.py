"""Tags that say a photo shows nothing of its place: whole tags, compared as Flickr compares them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from im2gps_spark.errors import UsageError

NONE = "none"
"""In the place of a file: no tag excludes a photo."""

_OWN = "negative_tags.txt"
_PLAIN_MARKS = "\ufe0e\ufe0f"  # ask for a sign in black or in colour; no part of a word


@lru_cache(maxsize=1 << 16)
def canonical(tag: str) -> str:
    """A tag as it is compared: letters and digits alone, in compatibility form and without case.

    Flickr does likewise: "New York!" and "newyork" are one tag, "Düsseldorf" and "Dusseldorf" are two. Marks stay where
    they follow a letter: in many scripts vowels are marks.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", tag).casefold())
    if folded.isalnum():
        return folded
    kept: list[str] = []
    word = False
    for character in folded:
        kind = unicodedata.category(character)[0]
        word = kind in "LN" or (kind == "M" and word and character not in _PLAIN_MARKS)
        if word:
            kept.append(character)
    return unicodedata.normalize("NFKC", "".join(kept))


def negative_tag(tags: Sequence[str] | None, negative: frozenset[str]) -> str | None:
    """The first of a photo's tags that is negative, as it is written; None if none is.

    Args:
        tags: of a photo.
        negative: canonical tags.
    """
    return next((tag for tag in tags or () if canonical(tag) in negative), None) if negative else None


def canonical_tags(lines: Iterable[str]) -> frozenset[str]:
    """The canonical tags of a list: one a line; what follows a # is a comment."""
    return frozenset(canonical(line.partition("#")[0]) for line in lines) - {""}


def load_negative(file: str) -> frozenset[str]:
    """The canonical tags of ``ingest.negative_tags``.

    Args:
        file: a list of tags; "" for the project's own, ``NONE`` for no tag at all.

    Raises:
        UsageError: the file can't be read, or names no tag.
    """
    if file == NONE:
        return frozenset()
    try:
        tags = canonical_tags((Path(file).read_text("utf-8") if file else _own()).splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"ingest.negative_tags: {file or _OWN} can't be read ({error}); name a text file, or {NONE!r}"
        ) from error
    if not tags:
        raise UsageError(f"ingest.negative_tags: {file} names no tag; say {NONE!r} if none is meant")
    return tags


def _own() -> str:
    """The project's list: in the package where it is installed, in conf/ in a checkout."""
    packaged = files("im2gps_spark") / "conf" / _OWN
    if packaged.is_file():
        return packaged.read_text("utf-8")
    return (Path(__file__).parents[2] / "conf" / _OWN).read_text("utf-8")
