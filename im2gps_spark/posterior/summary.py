"""What a row of ``posteriors`` says of a photo's law, besides the map itself."""

from __future__ import annotations

from dataclasses import dataclass

import h3
import numpy as np

from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.posterior.density import Density
from im2gps_spark.posterior.gazetteer import Gazetteer, Name
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.parts import Part, connected_parts
from im2gps_spark.posterior.points import find_median, find_mode_and_discs
from im2gps_spark.posterior.refine import refine
from im2gps_spark.sphere import UNIFORM_ENTROPY, Floats, coordinates

H3_RESOLUTION = 5
"""Hexagons of about 250 km^2: the scale of the kernel that the mode is sought with."""

AREA_LEVELS = (0.5, 0.8, 0.9, 0.95)

PRIOR_BITS = 0.05
"""An answer that says less than this beyond the prior is flagged as no more than the prior."""


@dataclass(frozen=True)
class Summary:
    """The answer for one photo.

    Attributes:
        map: relative to the prior (the contract of ``posteriors.map``), mass 1.
        mode: (3,) unit vector of the greatest density, see ``points.find_mode``.
        discs: a unit vector (3,) for each of ``points.DISC_RADII_KM``: the disc about it holds most.
        median: (3,) unit vector of least expected great-circle distance.
        entropy: differential, nats over steradians; uniform: ln 4 pi.
        information_over_prior: Kullback-Leibler divergence from the prior, nats.
        areas_km2: of the highest-density regions of ``AREA_LEVELS``.
        parts: connected parts of the 80 % region, heaviest first, and their ``names``.
    """

    map: MultiOrderMap
    mode: Floats
    discs: list[Floats]
    median: Floats
    entropy: float
    information_over_prior: float
    areas_km2: Floats
    parts: list[Part]
    names: list[Name]

    @property
    def information_bits(self) -> float:
        """What was learned over the uniform law, bits."""
        return (UNIFORM_ENTROPY - self.entropy) / float(np.log(2.0))

    @property
    def information_over_prior_bits(self) -> float:
        """What the photo said beyond where photos are taken, bits; near 0: ask no more of it than of the prior."""
        return self.information_over_prior / float(np.log(2.0))

    @property
    def mode_h3(self) -> int:
        """The H3 hexagon of the mode, for analysts' joins."""
        latitude, longitude = coordinates(self.mode)
        return int(h3.str_to_int(h3.latlng_to_cell(float(latitude), float(longitude), H3_RESOLUTION)))

    @property
    def no_more_than_prior(self) -> bool:
        """Whether the photo said nothing that the corpus did not say before."""
        return self.information_over_prior_bits < PRIOR_BITS


def summarise(density: Density, tolerance: float) -> Summary:
    """The map of a density and all that follows from it."""
    relative = refine(density, tolerance).check()
    law = Law.of(relative, density.background)
    parts = connected_parts(law)
    mode, discs = find_mode_and_discs(law)
    return Summary(
        map=relative,
        mode=mode,
        discs=discs,
        median=find_median(law),
        entropy=law.entropy,
        information_over_prior=law.information_over_prior,
        areas_km2=law.area_km2(np.array(AREA_LEVELS)),
        parts=parts,
        names=Gazetteer.shared().names(np.array([part.peak for part in parts])),
    )


def entropy(law: MultiOrderMap) -> float:
    """-integral p ln p of a law that is uniform within cells, nats over steradians."""
    held = law.mass > 0
    return float(-np.sum(law.mass[held] * np.log(law.density[held])))


def divergence(relative: MultiOrderMap, prior: MultiOrderMap) -> float:
    """Kullback-Leibler divergence from the prior of the law that a relative map stands for, nats: exact and >= 0."""
    held = relative.mass > 0
    within = prior.mass_within(relative.order[held], relative.index[held])
    return max(0.0, float(np.sum(relative.mass[held] * np.log(relative.mass[held] / within))))
