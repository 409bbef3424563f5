"""True places of photos, from a file of their own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from im2gps_spark.errors import UsageError


@dataclass(frozen=True)
class Truth:
    """Where a photo was taken: degrees; ``owner_id`` is empty when the file has none."""

    photo_id: int
    latitude: float
    longitude: float
    owner_id: str


def read_truth(path: str) -> list[Truth]:
    """The rows of a CSV with the columns photo_id, latitude, longitude and, if known, owner_id.

    Raises:
        UsageError: the file can't be read, lacks a column, or has a row that is no place; names the line.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = {"photo_id", "latitude", "longitude"} - set(rows.fieldnames or ())
            if missing:
                raise UsageError(
                    f"truth {path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(sorted(missing))}"
                )
            return [_row(path, number, row) for number, row in enumerate(rows, start=2)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"truth {path}: can't be read ({error})") from error


def _row(path: str, line: int, row: dict[str, str]) -> Truth:
    try:
        truth = Truth(int(row["photo_id"]), float(row["latitude"]), float(row["longitude"]), row.get("owner_id") or "")
    except (TypeError, ValueError) as error:
        raise UsageError(f"truth {path}, line {line}: {error}") from error
    if not (abs(truth.latitude) <= 90 and abs(truth.longitude) <= 180):
        raise UsageError(f"truth {path}, line {line}: {truth.latitude}, {truth.longitude} is not on Earth")
    return truth
