"""What a sample holds and what the pipeline must make of it, to the last photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from im2gps_spark.photos.reasons import Reason
from im2gps_spark.sample.faults import CORPUS_REASONS, PICTURE_REASONS


@dataclass(frozen=True)
class CollectionFacts:
    """One collection.

    Attributes:
        lines: of metadata, in all its files: each ends as accepted or rejected.
        pictures: files under ``photos/images``, broken ones included.
        owners: who took the good photos.
        rejected: lines that ingest, files that describe and photos that train and build must reject, by reason.
    """

    lines: int
    pictures: int
    owners: int
    rejected: Mapping[Reason, int]

    @property
    def ingest_rejected(self) -> Counter[Reason]:
        """What ingest must reject if it asks for accuracy 6 or more, and for geotags in the corpus only."""
        later = PICTURE_REASONS | CORPUS_REASONS
        return Counter({reason: n for reason, n in self.rejected.items() if reason not in later})

    @property
    def describe_rejected(self) -> Counter[Reason]:
        """What describe must reject of that which ingest accepts."""
        return Counter({reason: n for reason, n in self.rejected.items() if reason in PICTURE_REASONS})

    @property
    def corpus_rejected(self) -> Counter[Reason]:
        """What the corpus must leave out of that which is described."""
        return Counter({reason: n for reason, n in self.rejected.items() if reason in CORPUS_REASONS})

    @property
    def ingest_ok(self) -> int:
        """Photos that ingest accepts."""
        return self.lines - self.ingest_rejected.total()

    @property
    def describe_ok(self) -> int:
        """Photos that are described."""
        return self.ingest_ok - self.describe_rejected.total()

    @property
    def good(self) -> int:
        """Photos that go all the way: as many as the sample was asked for."""
        return self.describe_ok - self.corpus_rejected.total()

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Self:
        """The facts that ``asdict`` and JSON have been over."""
        return cls(**{**known, "rejected": {Reason(reason): n for reason, n in known["rejected"].items()}})


@dataclass(frozen=True)
class SampleFacts:
    """Both collections.

    Attributes:
        corpus: the geotagged photos to search in; ``corpus.good`` are good.
        uploads: the photos to place; ``uploads.good`` are good, and ``truth.csv`` has a row for each.
        known_owners: of the uploads' owners, how many have good photos in the corpus as well.
        landmarks: places that many photos of the corpus share.
    """

    corpus: CollectionFacts
    uploads: CollectionFacts
    known_owners: int
    landmarks: int

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries and numbers."""
        return asdict(self)

    @classmethod
    def from_json(cls, known: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        return cls(
            corpus=CollectionFacts.from_json(known["corpus"]),
            uploads=CollectionFacts.from_json(known["uploads"]),
            known_owners=known["known_owners"],
            landmarks=known["landmarks"],
        )
