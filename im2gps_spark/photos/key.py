"""From a photo's metadata to the key it is stored under."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

_PART = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"^([a-z_]+)(?::(\d+):(\d+))?$")

# What each field must look like. Nothing here can hold a slash, so no photo's metadata leads out of the root.
FIELDS = {
    "photo_id": r"^[0-9]+$",
    "hash": r"^[0-9a-fA-F]{16,32}$",
    "owner_id": r"^[0-9A-Za-z@_-]+$",
    "extension": r"^[0-9A-Za-z]{1,8}$",
}


@dataclass(frozen=True)
class PhotoKey:
    """A template such as ``data/images/{hash:0:3}/{hash:3:6}/{hash}.jpg``.

    Raises:
        ValueError: an unknown field, a malformed slice, or no field at all.
    """

    template: str

    def __post_init__(self) -> None:
        if not self._parts:
            raise ValueError(f"must hold a field such as {{photo_id}}; the fields are {', '.join(FIELDS)}")
        if ".." in self._shortest.split("/") or self.template.startswith("/"):
            raise ValueError("must be a path below photos.root, without '..' and without a leading '/'")

    @cached_property
    def _parts(self) -> list[tuple[str, int, int | None]]:
        parts = []
        for inner in _PART.findall(self.template):
            match = _FIELD.match(inner)
            if match is None or match[1] not in FIELDS:
                raise ValueError(
                    f"{{{inner}}} is none of the fields {', '.join(FIELDS)}, nor a slice like {{hash:0:3}}"
                )
            begin, end = int(match[2] or 0), int(match[3]) if match[3] else None
            if end is not None and end <= begin:
                raise ValueError(
                    f"{{{inner}}} takes nothing; a slice is like {{hash:0:3}}, from 0 on and without its end"
                )
            parts.append((match[1], begin, end))
        if "{" in _PART.sub("", self.template) or "}" in _PART.sub("", self.template):
            raise ValueError("has a brace without its partner")
        return parts

    @property
    def _shortest(self) -> str:
        """The template where each slice that may lie beyond the end of its field does: dots on both sides meet."""
        starts = iter(begin for _, begin, _ in self._parts)
        return _PART.sub(lambda _: "" if next(starts) else "x", self.template)

    @property
    def fields(self) -> set[str]:
        """The columns of metadata that the key is made of."""
        return {name for name, _, _ in self._parts}

    def usable(self, columns: dict[str, pa.Array]) -> pa.Array:
        """Whether each row has what the key needs (boolean array)."""
        fits = [pc.fill_null(pc.match_substring_regex(columns[name], FIELDS[name]), False) for name in self.fields]
        whole = fits[0]
        for fit in fits[1:]:
            whole = pc.and_(whole, fit)
        return whole

    def paths(self, columns: dict[str, pa.Array]) -> pa.Array:
        """Each row's path below the root (string array); columns are string arrays of one length."""
        literals = _PART.split(self.template)[::2]
        pieces: list[pa.Array | pa.Scalar] = [pa.scalar(literals[0])]
        for (name, begin, end), literal in zip(self._parts, literals[1:], strict=True):
            pieces += [pc.utf8_slice_codeunits(columns[name], begin, end), pa.scalar(literal)]
        return pc.binary_join_element_wise(*pieces, "")
