"""A collection: good photos and faulty ones, shuffled, and the lines and files that they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from im2gps_spark.sample.facts import CollectionFacts
from im2gps_spark.sample.faults import FAULTS, FOLLOWERS, MOMENT, REPEAT, Fault, rejections
from im2gps_spark.sample.metadata import fields, record
from im2gps_spark.sample.people import Owner
from im2gps_spark.sample.places import Place, beside
from im2gps_spark.sample.scenes import Photo, PhotoLaw


@dataclass(frozen=True)
class Entry:
    """A photo as one line of metadata has it, with its fault, if any.

    Attributes:
        photo: which.
        fault: what is wrong with it.
        shows: whose picture it holds; None for its own.
    """

    photo: Photo
    fault: Fault | None = None
    shows: Entry | None = None

    @property
    def good(self) -> bool:
        """Whether the pipeline must carry it through."""
        return self.fault is None or self.fault.reason is None

    @property
    def has_file(self) -> bool:
        """Whether a picture is stored for this line, and not for an earlier one or not at all."""
        return self.fault is not REPEAT and (self.fault is None or self.fault.picture is not None)

    def file(self, take: Callable[[Photo], bytes]) -> bytes:
        """What is stored of its picture, given what the camera makes of a photo; only where there is a file."""
        made = take(self.photo) if self.shows is None else self.shows.file(take)
        return made if self.fault is None or self.fault.picture is None else self.fault.picture(made)

    def line(self, number: int, *, old: bool, geotag: bool) -> bytes:
        """Its line of metadata, with the line feed."""
        entry = record(self.photo, geotag=geotag)
        if self.fault is not None:
            entry |= self.fault.fields
        written = fields(entry, line=number, old=old)
        if self.fault is not None:
            written = self.fault.line(written)
        return ("\t".join(written) + "\n").encode("utf-8", "surrogateescape")


_LOOKED_AT = 100
"""Good photos among which those to be followed are chosen."""


def _follow(entry: Entry, good: Entry, law: PhotoLaw) -> Entry:
    """The entry, its photo made to be what its fault says of a good one."""
    photo = replace(entry.photo, photo_id=law.id_after(good.photo.photo_id))
    if entry.fault is not MOMENT:
        return Entry(photo, entry.fault, shows=good)
    taken = good.photo.taken + timedelta(seconds=60)
    place = beside(good.photo.place, 0.03, 45.0)
    place = Place(round(place.latitude, 6), round(place.longitude, 6), good.photo.place.names)
    uploaded = max(good.photo.uploaded, taken)
    return Entry(replace(photo, owner=good.photo.owner, place=place, taken=taken, uploaded=uploaded), entry.fault)


@dataclass(frozen=True)
class Collection:
    """What is written of a collection.

    Attributes:
        entries: one a line of metadata, in their order; a repeat comes after what it repeats.
        geotagged: whether the lines give the places.
    """

    entries: Sequence[Entry]
    geotagged: bool

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        law: PhotoLaw,
        owners: Sequence[Owner],
        good: int,
        *,
        geotagged: bool,
        night: datetime | None = None,
        detail: Callable[[Photo], float] = lambda _: 0.0,
    ) -> Collection:
        """``good`` photos, and on top of them the faulty ones of the table.

        Args:
            rng: shuffles them and chooses which lines are repeated.
            law: draws the photos.
            owners: who takes them.
            good: photos that the pipeline must carry through.
            geotagged: True for a corpus, which decides the faults, too.
            night: see ``PhotoLaw.draw``.
            detail: how much there is to see in a photo; those with most are copied.
        """
        wanted = [fault for fault in FAULTS for _ in range(fault.count(geotagged=geotagged))]
        harmless = [fault for fault in wanted if fault.reason is None]
        harmful = [fault for fault in wanted if fault.reason is not None and fault is not REPEAT]
        entries = [Entry(photo) for photo in law.draw(good, owners, edges=True, night=night)]
        # From the end, for the edges of the map come first.
        for i, fault in zip(range(good - 1, -1, -1), harmless, strict=False):
            entries[i] = Entry(entries[i].photo, fault)
        originals = rng.choice(good, size=wanted.count(REPEAT)).tolist()
        repeats = [Entry(entries[i].photo, REPEAT) for i in originals]
        photos = law.draw(len(harmful), owners, edges=False, night=night)
        faulty = [Entry(photo, fault) for photo, fault in zip(photos, harmful, strict=True)]
        followers = [i for i, entry in enumerate(faulty) if entry.fault in FOLLOWERS]
        # Of the sea there is nothing to see, and nothing that a copy could be known by.
        followed = (
            sorted(entries[:_LOOKED_AT], key=lambda e: (e.fault is not None, -detail(e.photo))) if followers else []
        )
        for number, i in enumerate(followers):
            faulty[i] = _follow(faulty[i], followed[number % len(followed)], law)
        entries += faulty
        return cls([*(entries[i] for i in rng.permutation(len(entries))), *repeats], geotagged)

    @property
    def good(self) -> list[Photo]:
        """The photos that the pipeline must carry through."""
        return [entry.photo for entry in self.entries if entry.good]

    @property
    def with_file(self) -> list[Entry]:
        """One entry for each file of a picture."""
        return [entry for entry in self.entries if entry.has_file]

    def facts(self) -> CollectionFacts:
        """Its counts, and what must be rejected of it."""
        return CollectionFacts(
            lines=len(self.entries),
            pictures=len(self.with_file),
            owners=len({photo.owner.owner_id for photo in self.good}),
            rejected=dict(rejections(geotagged=self.geotagged)),
        )
