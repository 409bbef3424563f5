"""Weighted mixtures of von Mises-Fisher kernels of several widths, summed over many points and places.

All places share one radial profile (the mixture of widths), so a sum over places costs one table look-up a pair,
whatever the number of widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numba
import numpy as np

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, concentration, vmf_density

# Entries of the table within one width of the narrowest kernel: linear interpolation errs by at most 1 / (8 n^2) of
# the peak, under 1e-4 here.
_ENTRIES_A_WIDTH = 40

# Compiled code is kept beside the source; where that came in a zip (spark-submit --py-files), in the user's cache or
# in NUMBA_CACHE_DIR.
ON_DISK = Path(__file__).exists() or ".zip" in __file__


@dataclass(frozen=True)
class Profile:
    """A kernel: the mixture of vMF laws about one place, by width.

    Attributes:
        widths_km: sigma of each part.
        shares: weight of each part; they need not sum to 1.
    """

    widths_km: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, widths_km: Sequence[float], shares: Sequence[float]) -> Profile:
        """A profile whose shares are scaled to sum to 1; parts without a share are left out."""
        total = float(sum(shares))
        parts = [(float(w), float(s) / total) for w, s in zip(widths_km, shares, strict=True) if s > 0]
        return cls(tuple(w for w, _ in parts), tuple(s for _, s in parts))

    def density(self, chord_squared: Floats) -> Floats:
        """Density per steradian at squared chords, exactly."""
        total = np.zeros_like(chord_squared)
        for width, share in zip(self.widths_km, self.shares, strict=True):
            total += share * vmf_density(chord_squared, concentration(width))
        return total

    @cached_property
    def table(self) -> tuple[Floats, float]:
        """The density at evenly spaced chords from 0 to 2, and the number of steps in a unit of chord."""
        if not self.widths_km:
            return np.zeros(3), 1.0
        narrowest = min(self.widths_km) / EARTH_RADIUS_KM
        steps = int(np.ceil(2.0 * _ENTRIES_A_WIDTH / min(narrowest, 1.0)))
        chord = np.linspace(0.0, 2.0, steps + 1)
        # One entry more, so that the antipode interpolates like any other point.
        return np.append(self.density(chord**2), 0.0), steps / 2.0


def kernel_sum(points: Floats, places: Floats, weights: Floats, profile: Profile) -> Floats:
    """sum_j weights_j profile(|point - place_j|), per steradian.

    Args:
        points: (n, 3) unit vectors.
        places: (m, 3) unit vectors.
        weights: (m,).

    Returns:
        (n,) float64.
    """
    table, steps = profile.table
    x, y, z = np.ascontiguousarray(places.T)
    return np.asarray(_sum(points, x, y, z, np.asarray(weights, np.float64), table, steps))


# The places' coordinates lie apart, and sums may be reordered, so that the loop runs in vector registers: twice as
# fast. The order is the compiler's, the same at every call.
@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _sum(points, px, py, pz, weights, table, steps):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.empty(len(points))
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        total = 0.0
        for j in range(len(px)):
            dx, dy, dz = x - px[j], y - py[j], z - pz[j]
            at = min(np.sqrt(dx * dx + dy * dy + dz * dz), 2.0) * steps
            low = np.int32(at)
            total += weights[j] * (table[low] + (at - low) * (table[low + 1] - table[low]))
        out[i] = total
    return out
