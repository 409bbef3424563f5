"""The manifest of an index version: what it was made of, which file is what, and how to know that they are whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.index.recall import Recall, as_fields
from im2gps_spark.store.folder import Folder

FORMAT = 3
"""Raised when a reader of today could not read what was written before.

2 brought the geotags' accuracy; 3 delta files, and took owners' counts out of the shards.
"""

MANIFEST = "manifest.json"
TRAINED = "trained.faiss"
MOMENTS = "moments.npz"

BASE, DELTA = "base", "delta"
"""The parts of a shard: what it was built with, and what came since (``index.delta``)."""


@dataclass(frozen=True)
class Manifest:
    """What an index version consists of.

    Attributes:
        format: of the files, ``FORMAT``.
        index_version: the version's name, a hash of all that went in.
        descriptor, descriptor_version: what the vectors are.
        collection: what was indexed.
        plan: the parameters.
        training_sample: hash of the descriptors that were trained on.
        shard_of_list: shard number of each global list; local numbers follow the order of the global ones.
        rows: photos in each shard, all parts together.
        delta_rows: of them in each shard's delta files; of a shard with 0 there are none.
        owners: name of the file that says how many photos each owner has.
        corpus: what names the photos that are in it, whatever files they are in.
        files: SHA-256 of every file, by its name in the version's folder.
        recall: what ``tune`` measured; None before it.
    """

    format: int
    index_version: str
    descriptor: str
    descriptor_version: str
    collection: str
    plan: dict[str, int]
    training_sample: str
    shard_of_list: list[int]
    rows: list[int]
    delta_rows: list[int]
    owners: str
    corpus: str
    files: dict[str, str]
    recall: Recall | None = None

    @property
    def shards(self) -> int:
        """How many there are."""
        return len(self.rows)

    def parts_of(self, shard: int) -> list[str]:
        """The parts of a shard that there are, its own first."""
        return [BASE, DELTA] if self.delta_rows[shard] else [BASE]

    def rows_of(self, shard: int, part: str) -> int:
        """Photos in a part of a shard."""
        delta = self.delta_rows[shard]
        return delta if part == DELTA else self.rows[shard] - delta

    def with_part(self, shard: int, part: str, rows: int, files: dict[str, str]) -> Manifest:
        """The same with other photos in a part of a shard, in files with some checksums.

        A delta without photos has no files.
        """
        own = self.rows_of(shard, BASE) if part == DELTA else rows
        delta = rows if part == DELTA else self.delta_rows[shard]
        left = {name: checksum for name, checksum in self.files.items() if name not in shard_files(shard, part)}
        return replace(
            self,
            rows=[*self.rows[:shard], own + delta, *self.rows[shard + 1 :]],
            delta_rows=[*self.delta_rows[:shard], delta, *self.delta_rows[shard + 1 :]],
            files=left if part == DELTA and not rows else left | files,
        )

    def lists_of(self, shard: int) -> NDArray[np.int64]:
        """Global numbers of a shard's lists, ascending."""
        return np.flatnonzero(np.array(self.shard_of_list) == shard)

    @cached_property
    def digest(self) -> str:
        """A hash of all of it but the recall, from which no file follows: what an open version is known by."""
        return hashlib.sha256(_to_json(self._without_recall())).hexdigest()

    def _without_recall(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "recall"}

    def write(self, folder: Folder) -> None:
        """Writes the manifest, last of a version's files: a folder without one is no version."""
        folder.write(MANIFEST, _to_json({**self._without_recall(), **as_fields(self.recall)}))

    @classmethod
    def read(cls, folder: Folder) -> Manifest:
        """The manifest in a version's folder.

        Raises:
            UsageError: there is none, or it is of a format that this program does not know.
        """
        try:
            fields = json.loads(folder.read(MANIFEST))
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder} holds no index version ({error}); run build") from error
        if not isinstance(fields, dict) or fields.get("format") != FORMAT:
            raise UsageError(
                f"{folder}/{MANIFEST} is not of format {FORMAT}: another version of im2gps-spark wrote this index; "
                "run build again, or that version"
            )
        try:
            recall = fields.pop("recall", None)
            return cls(**fields, recall=None if recall is None else Recall.of_fields(recall))
        except (TypeError, KeyError) as error:
            raise UsageError(f"{folder} holds no index version ({error}); run build") from error

    def check_files(self, folder: Folder) -> None:
        """Refuses a version that has lost a file, or has one that was changed since.

        On disk that takes about a second a gigabyte; in S3 a request a file, and its bytes are looked at when they
        are fetched.

        Raises:
            StageError: names the file.
        """
        for name, checksum in self.files.items():
            found = folder.checksum(name)
            if found is None:
                raise StageError(f"index {self.index_version}: {folder}/{name} is missing; run build again")
            if found != checksum:
                raise StageError(f"index {self.index_version}: {folder}/{name} has changed; remove it, run build again")


def _to_json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, sort_keys=True).encode()


def shard_stem(shard: int, part: str = BASE) -> str:
    """What the names of a part's files begin with; zeros lead, so that they sort like numbers."""
    return f"shard-{shard:04d}" if part == BASE else f"shard-{shard:04d}.{part}"


def shard_files(shard: int, part: str = BASE) -> tuple[str, str]:
    """The files of a shard, or of a part of it: its codes and its photos."""
    stem = shard_stem(shard, part)
    return f"{stem}.faiss", f"{stem}.arrow"


def owners_file(data: bytes) -> str:
    """The name of a file of owners: other owners are another file, and a manifest goes with one of them."""
    return f"owners-{hashlib.sha256(data).hexdigest()[:12]}.arrow"
