"""Lines of YFCC100M metadata to rows, on whole Arrow columns.

The form is in Thomee et al., "YFCC100M: The New Data in Multimedia Research" (2016): tab-separated, no header, free
text URL-encoded; 25 columns, or 23 in the older release that had neither line number nor hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.photos.reasons import Reason, Status
from im2gps_spark.photos.tags import negative_tag

COLUMNS_25 = (
    *("line", "photo_id", "hash", "owner_id", "nickname", "taken", "uploaded", "device", "title", "description"),
    *("tags", "machine_tags", "longitude", "latitude", "accuracy", "page_url", "download_url", "license"),
    *("license_url", "server", "farm", "secret", "secret_original", "extension", "marker"),
)
COLUMNS_23 = tuple(name for name in COLUMNS_25 if name not in ("line", "hash"))
_USED = (
    *("photo_id", "hash", "owner_id", "taken", "uploaded", "title", "tags", "longitude", "latitude", "accuracy"),
    *("page_url", "license", "extension", "marker"),
)

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_INT63 = "9223372036854775807"
_YEAR_10000 = 253402300800  # seconds; Spark's timestamps end before

ROWS = pa.schema(
    [
        ("source", pa.string()),
        ("position", pa.int64()),
        ("photo_id", pa.int64()),
        ("owner_id", pa.string()),
        ("uri", pa.string()),
        ("taken_at", pa.timestamp("us", "UTC")),
        ("uploaded_at", pa.timestamp("us", "UTC")),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("accuracy", pa.int32()),
        ("title", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("license", pa.string()),
        ("page_url", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""What a line becomes; ``source`` and ``position`` (a byte offset) say which line it was."""


@dataclass(frozen=True)
class Rules:
    """What makes a line acceptable.

    Attributes:
        root: what keys are below, without a trailing slash.
        key: the template of a photo's key.
        needs_geotag: whether a line without a trusted geotag is rejected, or accepted without one.
        min_accuracy: least accuracy of a trusted geotag.
        negative_tags: canonical tags; where geotags are needed, a photo that has one is rejected.
    """

    root: str
    key: PhotoKey
    needs_geotag: bool
    min_accuracy: int
    negative_tags: frozenset[str] = frozenset()


def parse(lines: Sequence[bytes], positions: Sequence[int], source: str, rules: Rules) -> pa.Table:
    """One row a line, with its outcome; schema ``ROWS``.

    Args:
        lines: without their line ends.
        positions: where each begins in its (decompressed) file, bytes.
        source: the file's name.
    """
    text, encoded = _decode(lines)
    tabs = pc.count_substring(text, "\t").to_numpy()
    fields, known = _split(text, tabs)
    where = np.flatnonzero(known)

    photo_id = _positive_int64(fields["photo_id"])
    latitude, longitude = (_number(fields[name]) for name in ("latitude", "longitude"))
    accuracy = _small_int(fields["accuracy"])
    geotag = _geotag_faults(fields, latitude, longitude, accuracy, rules.min_accuracy)
    trusted = pc.and_(pc.invert(_any(fault for _, fault in geotag)), pc.is_valid(latitude))

    faults = [
        (Reason.BAD_PHOTO_ID, pc.is_null(photo_id)),
        (Reason.MISSING_OWNER, pc.equal(fields["owner_id"], "")),
        (Reason.VIDEO, pc.equal(fields["marker"], "1")),
        (Reason.MISSING_KEY_FIELD, pc.invert(rules.key.usable(fields))),
    ]
    tags = _tags(fields["tags"])
    negative = pa.array([negative_tag(mine, rules.negative_tags) for mine in tags.to_pylist()], pa.string())
    corpus = [*geotag, (Reason.NEGATIVE_TAG, pc.is_valid(negative))] if rules.needs_geotag else []
    reason = _first(faults + corpus, len(where))
    paths = rules.key.paths(fields)
    rows = {
        "photo_id": photo_id,
        "owner_id": fields["owner_id"],
        "uri": pc.binary_join_element_wise(pa.scalar(rules.root), paths, "/") if rules.root else paths,
        "taken_at": _civil_time(fields["taken"]),
        "uploaded_at": _unix_time(fields["uploaded"]),
        "latitude": pc.if_else(trusted, latitude, pa.scalar(None, pa.float64())),
        "longitude": pc.if_else(trusted, longitude, pa.scalar(None, pa.float64())),
        "accuracy": accuracy,
        "title": _plain(fields["title"]),
        "tags": tags,
        "license": fields["license"],
        "page_url": fields["page_url"],
        "reason": reason,
        "detail": _details(reason, fields | {"negative": negative}),
    }
    # The lines that have no columns to speak of join the others again in the order of the file.
    back = np.full(len(lines), -1)
    back[where] = np.arange(len(where))
    take = pa.array(back, mask=back < 0)
    columns = {name: column.take(take) for name, column in rows.items()}
    unsplit = pa.array(np.where(encoded, Reason.WRONG_COLUMN_COUNT.value, Reason.BAD_ENCODING.value))
    counted = pa.array([f"{n + 1} columns" if e else None for n, e in zip(tabs, encoded, strict=True)], pa.string())
    columns["reason"] = pc.if_else(pa.array(known), columns["reason"], unsplit)
    columns["detail"] = pc.if_else(pa.array(known), columns["detail"], counted)
    columns["status"] = pc.if_else(pc.is_null(columns["reason"]), Status.OK.value, Status.REJECTED.value)
    columns["source"] = pa.array([source] * len(lines), pa.string())
    columns["position"] = pa.array(positions, pa.int64())
    return pa.table({field.name: columns[field.name].cast(field.type) for field in ROWS}, schema=ROWS)


def _decode(lines: Sequence[bytes]) -> tuple[pa.Array, np.ndarray]:
    """Text of the lines, and which of them were UTF-8; the others come out empty."""
    raw = pa.array(lines, pa.binary())
    try:
        return raw.cast(pa.string()), np.ones(len(lines), bool)
    except pa.ArrowInvalid:
        texts = [_utf8(line) for line in lines]
        return pa.array([t or "" for t in texts], pa.string()), np.array([t is not None for t in texts])


def _utf8(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _split(text: pa.Array, tabs: np.ndarray) -> tuple[dict[str, pa.Array], np.ndarray]:
    """The columns in use of the lines that have 25 or 23, in order; and which lines those are."""
    known = np.isin(tabs, (len(COLUMNS_25) - 1, len(COLUMNS_23) - 1))
    parts, ranks = [], []
    for names in (COLUMNS_25, COLUMNS_23):
        rows = np.flatnonzero(tabs == len(names) - 1)
        flat = pc.split_pattern(text.take(pa.array(rows)), "\t").flatten()
        starts = np.arange(len(rows)) * len(names)
        empty = pa.array([""] * len(rows), pa.string())
        parts.append({n: flat.take(pa.array(starts + names.index(n))) if n in names else empty for n in _USED})
        ranks.append(rows)
    order = pa.array(np.argsort(np.concatenate(ranks), kind="stable"))
    return {n: pa.concat_arrays([part[n] for part in parts]).take(order) for n in _USED}, known


def _geotag_faults(
    fields: dict[str, pa.Array], latitude: pa.Array, longitude: pa.Array, accuracy: pa.Array, least: int
) -> list[tuple[Reason, pa.Array]]:
    on_earth = pc.and_(pc.less_equal(pc.abs(latitude), 90.0), pc.less_equal(pc.abs(longitude), 180.0))
    zero = pc.and_(pc.equal(latitude, 0.0), pc.equal(longitude, 0.0))
    return [
        (Reason.MISSING_GEOTAG, pc.or_(pc.equal(fields["latitude"], ""), pc.equal(fields["longitude"], ""))),
        (Reason.BAD_COORDINATES, pc.invert(pc.fill_null(on_earth, False))),
        (Reason.NULL_ISLAND, pc.fill_null(zero, False)),
        (Reason.LOW_ACCURACY, pc.fill_null(pc.less(accuracy, least), False)),
    ]


def _first(faults: list[tuple[Reason, pa.Array]], n: int) -> pa.Array:
    """The first reason that applies to each row, null where none does."""
    reason = pa.nulls(n, pa.string())
    for name, applies in reversed(faults):
        reason = pc.if_else(applies, name.value, reason)
    return reason


def _any(faults: object) -> pa.Array:
    whole = None
    for fault in faults:  # type: ignore[attr-defined]
        whole = fault if whole is None else pc.or_(whole, fault)
    return whole


def _details(reason: pa.Array, fields: dict[str, pa.Array]) -> pa.Array:
    """What was seen, cut short: enough to find the line's fault without opening the file."""
    seen = pa.nulls(len(reason), pa.string())
    shown = {
        Reason.BAD_PHOTO_ID: ("photo_id",),
        Reason.BAD_COORDINATES: ("latitude", "longitude"),
        Reason.LOW_ACCURACY: ("accuracy",),
        Reason.MISSING_KEY_FIELD: ("hash", "owner_id", "extension"),
        Reason.NEGATIVE_TAG: ("negative",),
    }
    for name, columns in shown.items():
        pieces = [pc.utf8_slice_codeunits(fields[column], 0, 40) for column in columns]
        joined = pc.binary_join_element_wise(*pieces, ", ")
        seen = pc.if_else(pc.fill_null(pc.equal(reason, name.value), False), joined, seen)
    return seen


def _positive_int64(text: pa.Array) -> pa.Array:
    digits = pc.utf8_ltrim(text, "0")
    length = pc.utf8_length(digits)
    fits = pc.or_(pc.less(length, 19), pc.and_(pc.equal(length, 19), pc.less_equal(digits, _INT63)))
    whole = pc.and_(pc.match_substring_regex(text, "^[0-9]+$"), pc.and_(fits, pc.greater(length, 0)))
    return pc.if_else(whole, digits, pa.scalar(None, pa.string())).cast(pa.int64())


def _small_int(text: pa.Array) -> pa.Array:
    whole = pc.match_substring_regex(text, "^[0-9]{1,6}$")
    return pc.if_else(whole, text, pa.scalar(None, pa.string())).cast(pa.int32())


def _number(text: pa.Array) -> pa.Array:
    trimmed = pc.utf8_trim_whitespace(text)
    fits = pc.match_substring_regex(trimmed, _NUMBER)
    return pc.if_else(fits, pc.utf8_ltrim(trimmed, "+"), pa.scalar(None, pa.string())).cast(pa.float64())


def _civil_time(text: pa.Array) -> pa.Array:
    """Date taken. A camera knows no time zone: it is kept as if it were UTC, and null where it is no date."""
    shaped = pc.match_substring_regex(text, r"^[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9]")
    cut = pc.if_else(shaped, pc.utf8_slice_codeunits(text, 0, 19), pa.scalar(None, pa.string()))
    stamp = pc.strptime(cut, "%Y-%m-%d %H:%M:%S", "us", error_is_null=True)
    year_one = pa.scalar(-62135596800000000, pa.int64()).cast(pa.timestamp("us"))
    # The 30th of February is read as the 1st of March.
    same_day = pc.equal(pc.day(stamp), pc.utf8_slice_codeunits(cut, 8, 10).cast(pa.int64()))
    known = pc.and_(pc.greater_equal(stamp, year_one), same_day)
    return pc.if_else(known, stamp, pa.scalar(None, pa.timestamp("us"))).cast(pa.timestamp("us", "UTC"))


def _unix_time(text: pa.Array) -> pa.Array:
    whole = pc.match_substring_regex(text, "^[0-9]{1,12}$")
    seconds = pc.if_else(whole, text, pa.scalar(None, pa.string())).cast(pa.int64())
    seconds = pc.if_else(pc.less(seconds, _YEAR_10000), seconds, pa.scalar(None, pa.int64()))
    return pc.multiply(seconds, 1_000_000).cast(pa.timestamp("us", "UTC"))


def _plain(text: pa.Array) -> pa.Array:
    """URL-decoded text; what is not UTF-8 after decoding shows as U+FFFD."""
    if not pc.any(pc.match_substring_regex(text, "[%+]")).as_py():
        return text
    return pa.array([unquote_plus(t) for t in text.to_pylist()], pa.string())


def _tags(text: pa.Array) -> pa.Array:
    """Split before they are decoded: an encoded comma belongs to its tag."""
    return pa.array(
        [[unquote_plus(t) for t in tags.split(",") if t] for tags in text.to_pylist()], pa.list_(pa.string())
    )
