"""What is wrong in real collections, and how many of each the sample holds: one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from im2gps_spark.photos.reasons import Reason

PICTURE_REASONS = frozenset(
    {Reason.MISSING_FILE, Reason.EMPTY_FILE, Reason.NOT_A_PICTURE, Reason.TRUNCATED, Reason.UNDECODABLE}
)
"""Seen only when the file is read, by describe."""
CORPUS_REASONS = frozenset({Reason.IDENTICAL, Reason.NEAR_DUPLICATE, Reason.SAME_MOMENT})
"""Seen only beside other photos, by the stages that take the corpus; all others are seen by ingest, in the line."""


@dataclass(frozen=True)
class Fault:
    """One way in which a photo is not as it should be; it has no other.

    Attributes:
        name: in words.
        reason: what the pipeline must call it; None if it must cope.
        corpus, uploads: how many photos of each collection have it.
        fields: columns written otherwise. A byte that is not UTF-8 is a lone surrogate, as in
            ``surrogateescape``.
        line: what becomes of the list of fields.
        picture: what becomes of the JPEG's bytes; None if there is no file.
    """

    name: str
    reason: Reason | None
    corpus: int
    uploads: int
    fields: Mapping[str, str] = field(default_factory=dict)
    line: Callable[[list[str]], list[str]] = lambda fields: fields
    picture: Callable[[bytes], bytes] | None = lambda jpeg: jpeg

    def count(self, *, geotagged: bool) -> int:
        """How many there are in the corpus, which is geotagged, or among the uploads."""
        return self.corpus if geotagged else self.uploads


def as_png(jpeg: bytes) -> bytes:
    """The same pixels as a PNG."""
    pixels = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    return cv2.imencode(".png", pixels)[1].tobytes()


def smaller(data: bytes) -> bytes:
    """The same picture at four fifths of its size, as a poorer JPEG."""
    pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    small = cv2.resize(pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()


def _with_tab(fields: list[str]) -> list[str]:
    """The fields of a line with a tab in its midst, which makes one more."""
    return [*fields[:8], "", *fields[8:]]


_ERROR_PAGE = b"<!DOCTYPE html><html><head><title>404</title></head><body>This photo is no longer here.</body></html>\n"

REPEAT = Fault("the id of an earlier line", Reason.DUPLICATE_ID, corpus=4, uploads=2)
"""The one fault that is not a photo's own: its line says again what a good photo's said, and has no file."""

AGAIN = Fault("the file of an earlier photo, under another name", Reason.IDENTICAL, corpus=3, uploads=0)
SMALLER = Fault("an earlier photo, made smaller", Reason.NEAR_DUPLICATE, corpus=3, uploads=0, picture=smaller)
MOMENT = Fault("taken a minute after another, a few steps on", Reason.SAME_MOMENT, corpus=3, uploads=0)
FOLLOWERS = (AGAIN, SMALLER, MOMENT)
"""Faults only beside a good photo, which theirs follow."""

FAULTS = (
    # name, reason, corpus, uploads, then what is done
    Fault("a PNG named .jpg", None, 3, 2, picture=as_png),
    Fault("no bytes", Reason.EMPTY_FILE, 3, 2, picture=lambda _: b""),
    Fault("the second half lost", Reason.TRUNCATED, 2, 1, picture=lambda jpeg: jpeg[: len(jpeg) // 2]),
    Fault("the last tenth lost", Reason.TRUNCATED, 2, 1, picture=lambda jpeg: jpeg[: len(jpeg) * 9 // 10]),
    Fault("a text", Reason.NOT_A_PICTURE, 1, 1, picture=lambda _: b"out of film\n"),
    Fault("an error page", Reason.NOT_A_PICTURE, 2, 1, picture=lambda _: _ERROR_PAGE),
    Fault("no file", Reason.MISSING_FILE, 4, 2, picture=None),
    Fault("a video", Reason.VIDEO, 4, 2, {"marker": "1"}, picture=None),
    Fault("no geotag", Reason.MISSING_GEOTAG, 6, 0, {"longitude": "", "latitude": "", "accuracy": ""}),
    Fault("0, 0", Reason.NULL_ISLAND, 2, 0, {"longitude": "0.000000", "latitude": "0.000000"}),
    Fault("0, 0 in short", Reason.NULL_ISLAND, 1, 0, {"longitude": "0", "latitude": "-0.0"}),
    Fault("beyond the pole", Reason.BAD_COORDINATES, 1, 0, {"latitude": "91.5"}),
    Fault("once around too far", Reason.BAD_COORDINATES, 1, 0, {"longitude": "-200.0"}),
    Fault("a coordinate in letters", Reason.BAD_COORDINATES, 1, 0, {"latitude": "abc"}),
    Fault("a coordinate that is no number", Reason.BAD_COORDINATES, 1, 0, {"longitude": "nan"}),
    *(Fault(f"accuracy {n}", Reason.LOW_ACCURACY, 1, 0, {"accuracy": str(n)}) for n in range(1, 6)),
    Fault("a birthday", Reason.NEGATIVE_TAG, 2, 0, {"tags": "travel,Birthday+Party"}),
    Fault("a concert", Reason.NEGATIVE_TAG, 1, 0, {"tags": "%D0%BA%D0%BE%D0%BD%D1%86%D0%B5%D1%80%D1%82"}),
    Fault("a birthday that is to be placed", None, 0, 1, {"tags": "birthday"}),
    AGAIN,
    SMALLER,
    MOMENT,
    REPEAT,
    Fault("its end lost", Reason.WRONG_COLUMN_COUNT, 1, 1, line=lambda fields: fields[:9]),
    Fault("one column short", Reason.WRONG_COLUMN_COUNT, 1, 0, line=lambda fields: fields[:-1]),
    Fault("a tab in its midst", Reason.WRONG_COLUMN_COUNT, 1, 1, line=_with_tab),
    Fault("an id in letters", Reason.BAD_PHOTO_ID, 1, 1, {"photo_id": "abc"}, picture=None),
    Fault("an id below zero", Reason.BAD_PHOTO_ID, 1, 0, {"photo_id": "-5"}, picture=None),
    Fault("an id beyond 64 bits", Reason.BAD_PHOTO_ID, 1, 0, {"photo_id": str(2**63)}, picture=None),
    Fault("no id", Reason.BAD_PHOTO_ID, 1, 1, {"photo_id": ""}, picture=None),
    Fault("no owner", Reason.MISSING_OWNER, 2, 1, {"owner_id": ""}),
    Fault("Latin-1 in the title", Reason.BAD_ENCODING, 2, 1, {"title": "Caf\udce9"}),
)


def rejections(*, geotagged: bool) -> Counter[Reason]:
    """How many lines of a collection the pipeline must reject, by reason."""
    counts: Counter[Reason] = Counter()
    for fault in FAULTS:
        if fault.reason is not None and fault.count(geotagged=geotagged):
            counts[fault.reason] += fault.count(geotagged=geotagged)
    return counts
