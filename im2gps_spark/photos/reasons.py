"""Why a photo is not carried further: the closed list that ``photos.reason`` and ``outcomes.reason`` draw from."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What became of one input row in one stage."""

    OK = "ok"
    REJECTED = "rejected"
    RETRY = "retry"


class Reason(StrEnum):
    """The reasons, each with what it means; a stage may not invent others."""

    def __new__(cls, value: str, _meaning: str = "") -> Reason:
        """A member whose value is the first part; the second is its ``meaning``."""
        member = str.__new__(cls, value)
        member._value_ = value
        return member

    def __init__(self, _value: str, meaning: str = "") -> None:
        self.meaning = meaning

    # The line of metadata.
    WRONG_COLUMN_COUNT = "wrong_column_count", "the line has neither 25 nor 23 tab-separated columns"
    BAD_ENCODING = "bad_encoding", "the line is not UTF-8"
    BAD_PHOTO_ID = "bad_photo_id", "the photo's id is not a whole number from 1 to 2^63 - 1"
    MISSING_OWNER = "missing_owner", "the line names no owner"
    DUPLICATE_ID = "duplicate_id", "an earlier line of the collection has the same photo id"
    VIDEO = "video", "the line describes a video"
    MISSING_KEY_FIELD = "missing_key_field", "photos.key asks for a column that is empty or malformed in this line"
    FORGOTTEN = "forgotten", "the photo or its owner was to be forgotten: nothing of the line is kept"
    # The geotag.
    MISSING_GEOTAG = "missing_geotag", "the collection needs geotags and the line has none"
    BAD_COORDINATES = "bad_coordinates", "latitude or longitude is no number or not on Earth"
    NULL_ISLAND = "null_island", "0, 0: a default, not a place"
    LOW_ACCURACY = "low_accuracy", "the geotag's accuracy is under ingest.min_accuracy"
    NEGATIVE_TAG = "negative_tag", "a tag of ingest.negative_tags: the photo is of no place in particular"
    # The picture.
    MISSING_FILE = "missing_file", "there is nothing under the photo's key"
    FORBIDDEN = "forbidden", "the store refuses to hand the photo out"
    EMPTY_FILE = "empty_file", "the file has no bytes"
    NOT_A_PICTURE = "not_a_picture", "the bytes are not a JPEG, PNG or WebP"
    TRUNCATED = "truncated", "the picture's data ends too early"
    TOO_LARGE = "too_large", "more pixels than describe.max_megapixels, or more bytes than describe.max_bytes"
    UNDECODABLE = "undecodable", "a picture by its header that the decoder could not read"
    BAD_DESCRIPTOR = "bad_descriptor", "the descriptor came out with numbers that are not finite"
    READ_FAILED = "read_failed", "reading failed in a way that may pass: taken up again by the next run"
    # The corpus.
    IDENTICAL = "identical", "a photo with a smaller id has the same bytes"
    NEAR_DUPLICATE = "near_duplicate", "a photo with a smaller id looks the same but for size and compression"
    SAME_MOMENT = "same_moment", "the owner's photo before it is of the same ten minutes and hundred metres"
    OWNER_FULL = "owner_full", "the owner has more photos than ingest.max_photos_per_owner"
    # The answer.
    NOT_DESCRIBED = "not_described", "the photo could not be described, see its outcome there"
    NOT_DESCRIBED_YET = "not_described_yet", "no descriptor of the index's version yet: run describe"
    # The judgement.
    UNKNOWN_PHOTO = "unknown_photo", "the truth is of a photo that the collection does not have"
    NO_POSTERIOR = "no_posterior", "the photo has no answer to hold against its true place yet: run geolocate"


class Rejected(Exception):  # noqa: N818 - an outcome, not a fault of the program
    """A photo that goes no further, with its reason and what was seen."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail
