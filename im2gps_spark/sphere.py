"""Geometry on the sphere: unit vectors, great circles, von Mises-Fisher kernels.

All arithmetic is on unit vectors in float64: there is no dateline and no pole in three dimensions. Degrees appear
only at the edges, in the names ``latitude`` and ``longitude``; angles are radians, lengths km.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

EARTH_RADIUS_KM = 6371.0
SPHERE_AREA_KM2 = 4.0 * np.pi * EARTH_RADIUS_KM**2
UNIFORM_ENTROPY = float(np.log(4.0 * np.pi))
"""Differential entropy of the uniform density over steradians, nats: the most that any density can have."""

Floats = NDArray[np.float64]


def unit_vectors(latitude: ArrayLike, longitude: ArrayLike) -> Floats:
    """Points on the unit sphere.

    Args:
        latitude: degrees in [-90, 90], any shape.
        longitude: degrees in [-180, 180], the same shape.

    Returns:
        float64 of that shape and a last axis of 3.

    Raises:
        ValueError: a coordinate is not finite or out of range.
    """
    lat = np.asarray(latitude, np.float64)
    lon = np.asarray(longitude, np.float64)
    if not bool(np.all(np.abs(lat) <= 90.0)):  # false for NaN, too
        raise ValueError("latitude must be finite and within [-90, 90] degrees")
    if not bool(np.all(np.abs(lon) <= 180.0)):
        raise ValueError("longitude must be finite and within [-180, 180] degrees")
    phi, lam = np.radians(lat), np.radians(lon)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def coordinates(vectors: ArrayLike) -> tuple[Floats, Floats]:
    """Latitude and longitude in degrees of vectors (..., 3) of any positive length; longitude in [-180, 180]."""
    x, y, z = np.moveaxis(np.asarray(vectors, np.float64), -1, 0)
    return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def normalised(vectors: ArrayLike) -> Floats:
    """Vectors (..., 3) scaled to unit length; one shorter than 1e-12 has no direction and is refused."""
    v = np.asarray(vectors, np.float64)
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    if not bool(np.all(length > 1e-12)):
        raise ValueError("a vector without direction can't be put on the sphere (antipodes that cancel?)")
    return np.asarray(v / length)


def distance_km(a: ArrayLike, b: ArrayLike) -> Floats:
    """Great-circle distance between unit vectors (..., 3) that broadcast; km.

    From the chord, |a - b| = 2 sin(d / 2R): exact to a fraction of a millimetre between neighbours, where the arc
    cosine of the dot product loses metres; to a tenth of a metre between antipodes.
    """
    chord = np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64), axis=-1)
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chord / 2.0, 1.0)))


def concentration(width_km: ArrayLike) -> Floats:
    """The vMF concentration kappa = 1 / sigma^2 of a kernel of ``width_km`` (sigma in radians on the unit sphere)."""
    sigma = np.asarray(width_km, np.float64) / EARTH_RADIUS_KM
    return np.asarray(1.0 / sigma**2)


def vmf_density(chord_squared: ArrayLike, kappa: ArrayLike) -> Floats:
    """Density of the von Mises-Fisher law, per steradian (Mardia & Jupp, Directional Statistics, 9.3.4).

    Written with |x - mu|^2 / 2 for 1 - mu.x, which keeps its digits for the narrow kernels used here.

    Args:
        chord_squared: |x - mu|^2 of unit vectors, in [0, 4].
        kappa: concentration, > 0; broadcasts.
    """
    k = np.asarray(kappa, np.float64)
    scale = k / (2.0 * np.pi * -np.expm1(-2.0 * k))
    return np.asarray(scale * np.exp(-0.5 * k * np.asarray(chord_squared, np.float64)))


def geodesic_median(points: Floats, weights: Floats, start: Floats, steps: int = 50) -> Floats:
    """The point of least weighted mean great-circle distance near ``start``: Weiszfeld's algorithm on the sphere.

    Fletcher, Venkatasubramanian & Joshi, "The geometric median on Riemannian manifolds" (2009), algorithm 1.

    Args:
        points: (n, 3) unit vectors.
        weights: (n,) non-negative.
        start: (3,) unit vector; the result is the local minimum downhill of it.
    """
    here = start
    cost = float(weights @ distance_km(points, here))
    for _ in range(steps):
        angle = distance_km(points, here) / EARTH_RADIUS_KM
        # A point at `here` pulls in no direction, its antipode in all: neither has a share in the step.
        pull = weights / np.where(angle > 1e-9, np.sin(angle), np.inf)
        inverse = weights / np.maximum(angle, 1e-9)
        keep = (angle > 1e-9) & (angle < np.pi - 1e-6)
        if not keep.any():
            return here
        tangent = pull[keep] @ (points[keep] - np.cos(angle[keep])[:, None] * here)
        tangent = tangent / inverse[keep].sum()
        length = float(np.linalg.norm(tangent))
        if length < 1e-8:
            return here
        step = 1.0
        while True:  # halve until downhill: the map is not convex on the whole sphere
            reach = step * length
            there = np.cos(reach) * here + np.sin(reach) * tangent / length
            there = there / np.linalg.norm(there)
            new_cost = float(weights @ distance_km(points, there))
            if new_cost < cost:
                break
            step /= 2.0
            if step < 1e-3:
                return here
        if cost - new_cost < 1e-9 * cost:
            return np.asarray(there)
        here, cost = there, new_cost
    return here
