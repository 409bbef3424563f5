"""What a sample will hold, before a pixel of it is computed: both collections, drawn from one seed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import numpy as np

from im2gps_spark.sample.collection import Collection
from im2gps_spark.sample.facts import SampleFacts
from im2gps_spark.sample.imagery import BlueMarble
from im2gps_spark.sample.people import LAST_DAY, draw_owners
from im2gps_spark.sample.places import Gazetteer, Place, find_landmarks
from im2gps_spark.sample.scenes import LANDMARK_SHARE, PhotoLaw

MOST_LANDMARKS = 80
PHOTOS_A_LANDMARK = 13
PHOTOS_AN_OWNER = 7.5
UPLOADS_AN_OWNER = 2.5
"""Means; they set how many landmarks and owners there are."""
KNOWN_SHARE = 0.1
"""Share of the uploads' owners who have photos in the corpus."""


@dataclass(frozen=True)
class Parameters:
    """All that a sample depends on; ``make_sample`` says what they mean.

    Raises:
        ValueError: there is nothing to draw, or no seed to draw it from.
    """

    corpus: int
    uploads: int
    seed: int

    def __post_init__(self) -> None:
        if self.corpus < 1 or self.uploads < 1 or self.seed < 0:
            raise ValueError(f"a sample needs a photo, an upload and a seed from 0 on: {self}")


@dataclass(frozen=True)
class Plan:
    """Both collections and the number of landmarks that they share."""

    corpus: Collection
    uploads: Collection
    landmarks: int

    @classmethod
    def draw(cls, parameters: Parameters, earth: BlueMarble) -> Self:
        """The plan of these parameters; the picture of the Earth says which places are landmarks."""
        rng = np.random.default_rng(parameters.seed)
        gazetteer = Gazetteer.load()
        count = min(MOST_LANDMARKS, max(1, round(parameters.corpus * LANDMARK_SHARE / PHOTOS_A_LANDMARK)))
        landmarks = find_landmarks(gazetteer, count, rng, lambda place: _detail(earth, place))
        law = PhotoLaw(rng, landmarks)
        used: set[str] = set()
        owners = draw_owners(rng, max(1, round(parameters.corpus / PHOTOS_AN_OWNER)), gazetteer, used)
        corpus = Collection.draw(
            rng, law, owners, parameters.corpus, geotagged=True, detail=lambda photo: _detail(earth, photo.place)
        )

        uploaders = max(1, round(parameters.uploads / UPLOADS_AN_OWNER))
        # Only those whose photos are good are known to the pipeline; in the order drawn, for sets have none.
        present = {photo.owner.owner_id for photo in corpus.good}
        known = [owner for owner in owners if owner.owner_id in present]
        known = known[: min(max(1, round(uploaders * KNOWN_SHARE)), uploaders - 1)]
        new = draw_owners(rng, uploaders - len(known), gazetteer, used)
        night = LAST_DAY + timedelta(days=1)
        uploads = Collection.draw(rng, law, [*known, *new], parameters.uploads, geotagged=False, night=night)
        return cls(corpus, uploads, len(landmarks))

    def facts(self) -> SampleFacts:
        """What must come of it."""
        owners = [{photo.owner.owner_id for photo in part.good} for part in (self.corpus, self.uploads)]
        return SampleFacts(self.corpus.facts(), self.uploads.facts(), len(owners[0] & owners[1]), self.landmarks)


def _detail(earth: BlueMarble, place: Place) -> float:
    """Standard deviation of the colours around a place: high on a coast or where mountains meet the plain."""
    view = earth.view(place.latitude, place.longitude, side_km=500.0, size=(24, 24))
    return float(view.std(axis=(0, 1)).mean())
