"""Anyone's own photos made ready for the demo: their keys found, a tenth of their owners held out."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from im2gps_spark.errors import UsageError
from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.photos.metadata import COLUMNS_23, COLUMNS_25, Rules, parse
from im2gps_spark.photos.reasons import Status
from im2gps_spark.store import lines
from im2gps_spark.store.files import write_whole

KEYS = (
    "{photo_id}.jpg",
    "images/{photo_id}.jpg",
    "{photo_id}.{extension}",
    "{hash}.jpg",
    "{hash:0:3}/{hash:3:6}/{hash}.jpg",
    "data/images/{hash:0:3}/{hash:3:6}/{hash}.jpg",
)
"""Where photos are looked for below their folder."""

_TRIED = 200
_ONE_OWNER_IN = 10


@dataclass(frozen=True)
class HeldOut:
    """The files that a collection was split into, and (photos held out, owners held out, all owners)."""

    corpus: Path
    uploads: Path
    counts: tuple[int, int, int]


def find_key(photos: Path, metadata: str) -> str:
    """The template under which most of the first photos lie.

    Raises:
        UsageError: none lies under any.
    """
    first: list[bytes] = []
    for split in lines.splits([metadata]):
        for part in lines.read(split):
            first += part.lines[: _TRIED - len(first)]
            break
    found = {key: _hits(photos, key, first) for key in KEYS}
    best = max(KEYS, key=lambda key: found[key])
    if not found[best]:
        raise UsageError(
            f"none of the first {len(first)} photos of {metadata} lies below {photos} as any of {', '.join(KEYS)}; "
            "give another with --set photos.key=..."
        )
    return best


def _hits(photos: Path, key: str, first: list[bytes]) -> int:
    rows = parse(first, [0] * len(first), "", Rules(str(photos), PhotoKey(key), False, 0))
    accepted = zip(rows.column("uri").to_pylist(), rows.column("status").to_pylist(), strict=True)
    return sum(status == Status.OK and Path(uri).is_file() for uri, status in accepted)


def hold_out(metadata: str, folder: Path) -> HeldOut:
    """Splits metadata by owner into ``folder``/split: corpus.tsv and uploads.tsv, and writes ``folder``/truth.csv.

    An owner is held out by a hash of the name, whole: no photo of theirs stays in the corpus. Their lines lose
    their geotags. Lines that belong to no owner stay in the corpus, where ingest says what is wrong with them.
    """
    corpus, uploads = io.BytesIO(), io.BytesIO()
    truth = io.StringIO()
    rows = csv.writer(truth, lineterminator="\n")
    rows.writerow(["photo_id", "latitude", "longitude", "owner_id"])
    owners = {row["owner_id"] for _, row in _owned(metadata) if row["owner_id"]}
    chosen = choose_owners(owners)
    known: set[int] = set()
    for line, row in _owned(metadata):
        held = row["owner_id"] in chosen
        (uploads if held else corpus).write((_without_geotag(line) if held else line) + b"\n")
        if held and row["status"] == Status.OK and row["photo_id"] not in known:
            known.add(row["photo_id"])
            rows.writerow([row["photo_id"], row["latitude"], row["longitude"], row["owner_id"]])
    made = HeldOut(
        folder / "split" / "corpus.tsv",
        folder / "split" / "uploads.tsv",
        (len(known), len(chosen), len(owners)),
    )
    write_whole(made.corpus, corpus.getvalue())
    write_whole(made.uploads, uploads.getvalue())
    write_whole(folder / "truth.csv", truth.getvalue().encode())
    return made


def choose_owners(owners: Iterable[str]) -> set[str]:
    """About a tenth of the owners, by a hash of their names; of two or more one at least, and one at least not."""
    hashes = {owner: int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8]) for owner in owners}
    chosen = {owner for owner, value in hashes.items() if value % _ONE_OWNER_IN == 0}
    if len(hashes) > 1 and not chosen:
        chosen = {min(hashes, key=lambda owner: hashes[owner])}
    elif len(hashes) > 1 and len(chosen) == len(hashes):
        chosen.remove(max(hashes, key=lambda owner: hashes[owner]))
    return chosen


def _owned(metadata: str) -> Iterator[tuple[bytes, dict]]:
    """The lines of metadata, each with its photo, owner, place and status wherever the photo lies."""
    anywhere = Rules("", PhotoKey("{photo_id}"), True, 0)
    for split in lines.splits([metadata]):
        for part in lines.read(split):
            table = parse(part.lines, part.positions, split.path, anywhere)
            rows = table.select(["photo_id", "latitude", "longitude", "owner_id", "status"]).to_pylist()
            yield from zip(part.lines, rows, strict=True)


def _without_geotag(line: bytes) -> bytes:
    fields = line.split(b"\t")
    names = {len(COLUMNS_25): COLUMNS_25, len(COLUMNS_23): COLUMNS_23}.get(len(fields), ())
    for name in ("longitude", "latitude", "accuracy"):
        if name in names:
            fields[names.index(name)] = b""
    return b"\t".join(fields)
