"""The lines that YFCC100M describes photos with: 25 tab-separated columns, or 23 in its older form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import md5
from urllib.parse import quote_plus

from im2gps_spark.sample.scenes import Photo

COLUMNS = (
    "line",
    "photo_id",
    "hash",
    "owner_id",
    "nickname",
    "taken",
    "uploaded",
    "device",
    "title",
    "description",
    "tags",
    "machine_tags",
    "longitude",
    "latitude",
    "accuracy",
    "page_url",
    "download_url",
    "license",
    "license_url",
    "server",
    "farm",
    "secret",
    "secret_original",
    "extension",
    "marker",
)
OLD_COLUMNS = tuple(column for column in COLUMNS if column not in ("line", "hash"))
"""The older form has no line number and no hash."""

Record = Mapping[str, str]
"""A photo's fields but for the line number, by column, as they are written: free text is URL-encoded."""


def record(photo: Photo, *, geotag: bool) -> dict[str, str]:
    """What a collection says of a photo; without a geotag longitude, latitude and accuracy are empty."""
    # Invented, but fixed by the id: a photo looks the same in both forms.
    digest = md5(str(photo.photo_id).encode(), usedforsecurity=False).hexdigest()
    server, farm, secret = str(1000 + photo.photo_id % 8000), str(1 + photo.photo_id % 9), digest[:10]
    return {
        "photo_id": str(photo.photo_id),
        "hash": digest,
        "owner_id": photo.owner.owner_id,
        "nickname": quote_plus(photo.owner.nickname),
        "taken": f"{photo.taken:%Y-%m-%d %H:%M:%S}.0",
        "uploaded": str(_unix_seconds(photo.uploaded)),
        "device": quote_plus(photo.owner.device),
        "title": quote_plus(photo.title),
        "description": quote_plus(photo.description),
        "tags": ",".join(quote_plus(tag) for tag in photo.tags),
        "machine_tags": "",
        "longitude": f"{photo.place.longitude:.6f}" if geotag else "",
        "latitude": f"{photo.place.latitude:.6f}" if geotag else "",
        "accuracy": str(photo.accuracy) if geotag else "",
        "page_url": f"https://example.org/photos/{photo.owner.owner_id}/{photo.photo_id}/",
        "download_url": f"https://example.org/farm{farm}/{server}/{photo.photo_id}_{secret}.jpg",
        "license": "Public Domain Mark",
        "license_url": "http://creativecommons.org/publicdomain/mark/1.0/",
        "server": server,
        "farm": farm,
        "secret": secret,
        "secret_original": digest[10:20],
        "extension": "jpg",
        "marker": "0",
    }


def fields(entry: Record, *, line: int, old: bool) -> list[str]:
    """A record's 25 fields with its line number, or its 23 in the older form."""
    if old:
        return [entry[column] for column in OLD_COLUMNS]
    return [str(line), *(entry[column] for column in COLUMNS[1:])]


def _unix_seconds(date: datetime) -> int:
    return int(date.replace(tzinfo=UTC).timestamp())
