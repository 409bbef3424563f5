"""The density of a photo's place: what a map is made of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from im2gps_spark.grid import MAX_ORDER, Ints, cells_at
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.windows import window_masses
from im2gps_spark.sphere import Floats, concentration


@dataclass(frozen=True)
class Density:
    """Windows + prior + uniform: a law on the sphere that is positive everywhere.

    p(y) = sum_j sum_s votes_js window_s(y; y_j) + prior_share q(y) + uniform_share / 4 pi        (see ``windows``)

    Attributes:
        places: (k, 3) unit vectors.
        votes: (k, widths) non-negative; with the two shares they sum to 1.
        widths_km: (widths,) of the kernels.
        background: the prior q.
        prior_share, uniform_share: of the mass.
    """

    places: Floats
    votes: Floats
    widths_km: Floats
    background: Background
    prior_share: float
    uniform_share: float

    @cached_property
    def curve(self) -> Ints:
        """(k,) positions of the places on the nested curve."""
        return cells_at(MAX_ORDER, self.places)

    @cached_property
    def pull(self) -> Floats:
        """(k, widths) votes by the prior's mass under their kernels: the weights of the ratio's kernels, of peak 1."""
        columns = [window_masses(self.background, self.places, self.curve, float(w)) for w in self.widths_km]
        return np.asarray(self.votes / np.stack(columns, axis=1).reshape(self.votes.shape))

    def at(self, points: Floats) -> Floats:
        """(n,) densities per steradian at unit vectors (n, 3)."""
        prior = self.background.map
        here = prior.density[prior.find(points)]
        return np.asarray(here * self.ratio(points) + self.uniform_share / (4.0 * np.pi))

    def ratio(self, points: Floats) -> Floats:
        """(n,) what the density, but for its uniform part, is of the prior's."""
        kappa = concentration(self.widths_km)
        total = np.full(len(points), self.prior_share)
        for i, point in enumerate(points):
            offset = self.places - point
            chord = np.einsum("ij,ij->i", offset, offset)
            total[i] += np.sum(self.pull * np.exp(-0.5 * kappa * chord[:, None]))
        return total
