"""What the atlas shows of a photo: its answer, the neighbours it came from, and the truth if known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.sphere import distance_km, unit_vectors

Place = tuple[float, float]
"""Latitude and longitude, degrees."""

CLOSE_KM = 200.0
"""An error below this is a hit at the scale of a region, as the IM2GPS papers count them."""
CREDIBLE = 0.9
"""The larger of the two regions shown."""
HARDLY_MORE_BITS = 0.5
"""An answer with less information than this beyond the prior says hardly more than the prior."""


def gap_km(a: Place, b: Place) -> float:
    """Great-circle distance, km."""
    return float(distance_km(unit_vectors(*a), unit_vectors(*b)))


@dataclass(frozen=True)
class Neighbour:
    """A photo of the corpus that looks like the one asked about.

    Attributes:
        photo_id: Flickr's.
        latitude, longitude: degrees.
        distance: in the space of descriptors, no unit; smaller is more alike.
        weight: its share in the answer, 0 to 1.
        thumbnail: JPEG, or None.
        title, licence, page_url, owner_id: as the metadata have them, not trusted; empty when unknown.
    """

    photo_id: int
    latitude: float
    longitude: float
    distance: float
    weight: float
    thumbnail: bytes | None = None
    title: str = ""
    licence: str = ""
    page_url: str = ""
    owner_id: str = ""

    @property
    def place(self) -> Place:
        """Where it was taken."""
        return self.latitude, self.longitude


@dataclass(frozen=True)
class Region:
    """A connected piece of the answer.

    Attributes:
        rank: 1 for the heaviest.
        latitude, longitude: of its densest point, degrees.
        mass: probability, 0 to 1.
        area_km2, radius_km: its size.
        country, place: nearest names, empty when there is none.
    """

    rank: int
    latitude: float
    longitude: float
    mass: float
    area_km2: float
    radius_km: float
    country: str = ""
    place: str = ""


@dataclass(frozen=True, eq=False)
class Entry:
    """A photo and its answer.

    Attributes:
        photo_id: Flickr's.
        thumbnail: JPEG, or None.
        title, owner_id, licence, page_url, tags: as the metadata have them, not trusted; empty when unknown.
        mode: the densest point; latitude and longitude, degrees.
        median: the point of least expected great-circle distance, or None.
        entropy: differential, nats, over steradians; at most ln 4 pi.
        information_bits: (ln 4 pi - entropy) / ln 2.
        area50_km2, area90_km2: highest-density regions.
        regions: heaviest first.
        neighbours: most alike first.
        law: the resolved map, uniform within each cell.
        truth: where the photo was taken, or None.
        information_over_prior_bits: divergence from the prior, bits, or None when not computed.
    """

    photo_id: int
    thumbnail: bytes | None
    title: str
    owner_id: str
    licence: str
    page_url: str
    tags: tuple[str, ...]
    mode: Place
    median: Place | None
    entropy: float
    information_bits: float
    area50_km2: float
    area90_km2: float
    regions: tuple[Region, ...]
    neighbours: tuple[Neighbour, ...]
    law: MultiOrderMap
    truth: Place | None = None
    information_over_prior_bits: float | None = None

    @property
    def error_km(self) -> float | None:
        """From the mode to the truth, km; None when the truth is unknown."""
        return None if self.truth is None else gap_km(self.mode, self.truth)

    @property
    def median_error_km(self) -> float | None:
        """From the median to the truth, km; None when either is unknown."""
        return None if self.truth is None or self.median is None else gap_km(self.median, self.truth)

    @property
    def truth_level(self) -> float | None:
        """Mass that is denser than the truth's cell, 0 to 1: the truth is in every larger credible region.

        Small for an answer that was right; over many photos it is uniform if the answers are calibrated. None
        when the truth is unknown.
        """
        if self.truth is None:
            return None
        here = int(self.law.find(unit_vectors(*self.truth).reshape(1, 3))[0])
        # Cells that share a density differ in its last digits, by their areas: they are no denser.
        denser = self.law.density > self.law.density[here] * (1.0 + 1e-12)
        return float(np.sum(self.law.mass[denser]))

    @property
    def held(self) -> bool | None:
        """Whether the truth is in the answer's own 90 % region; None when it is unknown."""
        level = self.truth_level
        return None if level is None else level < CREDIBLE

    @property
    def close(self) -> bool:
        """Whether the truth is known and bears the answer out: `held`, or within ``CLOSE_KM`` of the mode."""
        return bool(self.held) or (self.error_km is not None and self.error_km <= CLOSE_KM)

    @property
    def says_little(self) -> bool:
        """Whether the answer is known to say hardly more than the prior."""
        bits = self.information_over_prior_bits
        return bits is not None and bits < HARDLY_MORE_BITS


def two_cases(entries: list[Entry] | tuple[Entry, ...]) -> tuple[Entry, Entry] | None:
    """A photo whose answer is tight and one whose answer is wide, to be shown first.

    The tight one is the most informative (`information_bits`) of the photos whose truth is in their own 90 %
    region or within ``CLOSE_KM`` of the mode (`Entry.close`); failing any, of those whose truth is unknown;
    failing these too, of all. For a tight map that is wrong would mislead as an introduction, and it is shown
    further down in any case. The wide one is the least informative of all the others, right or not. Ties go
    to the smaller photo_id.

    Returns:
        Tight, wide; None for fewer than two photos.
    """
    if len(entries) < 2:
        return None
    close = [e for e in entries if e.close]
    unknown = [e for e in entries if e.truth is None]
    tight = min(close or unknown or entries, key=lambda e: (-e.information_bits, e.photo_id))
    others = [e for e in entries if e is not tight]
    return tight, min(others, key=lambda e: (e.information_bits, e.photo_id))
