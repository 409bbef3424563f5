"""Weighted mixtures of von Mises-Fisher kernels of several widths, summed over many points and places.

All places share one radial profile (the mixture of widths), so a sum over places costs one table look-up a pair,
whatever the number of widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numba
import numpy as np

from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, concentration, normalised, vmf_density

# Entries of the table within one width of the narrowest kernel: linear interpolation errs by at most 1 / (8 n^2) of
# the peak, under 1e-4 here.
_ENTRIES_A_WIDTH = 40

# Compiled code is kept beside the source, except where that came in a zip (spark-submit --py-files).
ON_DISK = Path(__file__).exists()


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

    @property
    def mass(self) -> float:
        """The sum of the shares."""
        return float(sum(self.shares))

    # Cached: all photos ask for the same few, and each comes with its table.
    @lru_cache(maxsize=256)  # noqa: B019 - a profile is a value, and small
    def split(self, width_km: float) -> tuple[Profile, Profile]:
        """The parts narrower than a width, and the others."""
        parts = list(zip(self.widths_km, self.shares, strict=True))
        narrow = [p for p in parts if p[0] < width_km]
        wide = [p for p in parts if p[0] >= width_km]
        return _from_parts(narrow), _from_parts(wide)

    @lru_cache(maxsize=256)  # noqa: B019
    def blurred(self, width_km: float) -> Profile:
        """The profile after a Gaussian blur: what a cell of that spread sees of it on average."""
        return Profile(tuple(float(np.hypot(w, width_km)) for w in self.widths_km), self.shares)

    def density(self, chord_squared: Floats) -> Floats:
        """Density per steradian at squared chords, exactly."""
        total = np.zeros_like(chord_squared)
        for width, share in zip(self.widths_km, self.shares, strict=True):
            total += share * vmf_density(chord_squared, concentration(width))
        return total

    @cached_property
    def pull(self) -> Profile:
        """What a place pulls with: each width's share times its kappa."""
        kappas = concentration(np.array(self.widths_km))
        return Profile(self.widths_km, tuple((np.array(self.shares) * kappas).tolist()))

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


def _from_parts(parts: list[tuple[float, float]]) -> Profile:
    return Profile(tuple(w for w, _ in parts), tuple(s for _, s in parts))


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


def pull_sum(points: Floats, places: Floats, weights: Floats, profile: Profile) -> Floats:
    """Gradients of ``kernel_sum`` with respect to the points: sum_j w_j sum_s pi_s kappa_s f_s (place_j - point).

    Args and shapes as there; returns (n, 3).
    """
    table, steps = profile.pull.table
    x, y, z = np.ascontiguousarray(places.T)
    return np.asarray(_pull(points, x, y, z, np.asarray(weights, np.float64), table, steps))


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _pull(points, px, py, pz, weights, table, steps):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    out = np.empty((len(points), 3))
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        sx = sy = sz = 0.0
        for j in range(len(px)):
            dx, dy, dz = px[j] - x, py[j] - y, pz[j] - z
            at = min(np.sqrt(dx * dx + dy * dy + dz * dz), 2.0) * steps
            low = np.int32(at)
            pull = weights[j] * (table[low] + (at - low) * (table[low + 1] - table[low]))
            sx += pull * dx
            sy += pull * dy
            sz += pull * dz
        out[i, 0], out[i, 1], out[i, 2] = sx, sy, sz
    return out


def equal_mass_points(places: Floats, width_km: float, count: int) -> Floats:
    """Points through a vMF kernel about each place, each of which stands for an equal part of its mass.

    A sunflower spiral: distances by the inverse of the law's distribution, angles by the golden section (Vogel, "A
    better way to construct the sunflower head", 1979).

    Args:
        places: (n, 3) unit vectors.

    Returns:
        (n, count, 3) unit vectors.
    """
    kappa = float(concentration(width_km))
    part = (np.arange(count) + 0.5) / count
    height = 1.0 + np.log1p(part * np.expm1(-2.0 * kappa)) / kappa
    angle = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    # Two directions across each place: from the axis that it is farthest from.
    axis = np.eye(3)[np.argmin(np.abs(places), axis=1)]
    east = normalised(np.cross(axis, places)) if len(places) else np.zeros((0, 3))
    north = np.cross(places, east)
    across = np.cos(angle)[:, None] * east[:, None] + np.sin(angle)[:, None] * north[:, None]
    radius = np.sqrt(np.maximum(1.0 - height**2, 0.0))
    return np.asarray(height[:, None] * places[:, None] + radius[:, None] * across)


def climb(starts: Floats, places: Floats, weights: Floats, profile: Profile, steps: int = 200) -> Floats:
    """Modes uphill of starting points: mean shift on the sphere, which is EM and so never goes down.

    x <- sum_j w_j sum_s pi_s kappa_s f_s(x; y_j) y_j, normalised; the fixed points are the stationary points of the
    mixture. (Kobayashi & Otsu, "Von Mises-Fisher Mean Shift for Clustering on a Hypersphere", ICPR 2010.)

    Args:
        starts: (n, 3) unit vectors.

    Returns:
        (n, 3) unit vectors.
    """
    table, scale = profile.pull.table
    return np.asarray(_climb(np.array(starts, np.float64), places, weights, table, scale, steps))


@numba.njit(cache=ON_DISK, nogil=True)
def _climb(here, places, weights, table, scale, steps):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    for i in range(len(here)):
        for _ in range(steps):
            x, y, z = here[i, 0], here[i, 1], here[i, 2]
            sx = sy = sz = 0.0
            for j in range(len(places)):
                dx, dy, dz = x - places[j, 0], y - places[j, 1], z - places[j, 2]
                at = min(np.sqrt(dx * dx + dy * dy + dz * dz), 2.0) * scale
                low = int(at)
                part = at - low
                pull = weights[j] * (table[low] + part * (table[low + 1] - table[low]))
                sx += pull * places[j, 0]
                sy += pull * places[j, 1]
                sz += pull * places[j, 2]
            length = np.sqrt(sx * sx + sy * sy + sz * sz)
            if length == 0.0:
                break
            sx, sy, sz = sx / length, sy / length, sz / length
            moved = (sx - x) ** 2 + (sy - y) ** 2 + (sz - z) ** 2
            here[i, 0], here[i, 1], here[i, 2] = sx, sy, sz
            if moved < 1e-14:  # 0.6 m
                break
    return here
