"""The 80 % region of a law, in the parts that a person would name."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from im2gps_spark.grid import MAX_ORDER, area_km2
from im2gps_spark.posterior.curve import cell_centre
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.law import Law
from im2gps_spark.posterior.points import beside
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats

LEVEL = 0.8

BRIDGE_ORDER = 6
"""What lies in cells of this order (102 km) that touch is one part: a prior's towns are islands otherwise."""

# Distances from a part's peak are told apart to a hundredth, from 100 m up.
_BINS, _BINS_AN_OCTAVE = 1200, 70.0
_NEAREST_KM = 0.1
_OF_MASS = 0.9
# Where a part has many cells, and where it has very many, distances in it are measured between cells of these orders
# (25 and 51 km).
_MANY, _MANY_ORDER = 500, 8
_VERY_MANY, _VERY_MANY_ORDER = 3000, 7


@dataclass(frozen=True)
class Part:
    """A connected part of a highest-density region.

    Attributes:
        peak: (3,) unit vector, centre of its densest cell.
        mass: of the whole law.
        area_km2: of the part.
        radius_km: distance from the peak within which nine tenths of the part's mass lie.
    """

    peak: Floats
    mass: float
    area_km2: float
    radius_km: float


def connected_parts(law: Law, level: float = LEVEL, most: int = 10) -> list[Part]:
    """The parts of the ``level`` highest-density region, heaviest first, ``most`` of them.

    Parts, not basins of modes: a part is where the photo may be on the ground, its bounds are the region's own, and
    no second width decides when two peaks are one; only gaps under about 100 km are bridged.
    """
    found = _parts(law.start, law.order, law.mass, law.log_density, law.threshold(level), beside(BRIDGE_ORDER), most)
    return [
        Part(peak, float(mass), float(area_km2(area)), float(radius))
        for peak, mass, area, radius in zip(*found, strict=True)
    ]


@numba.njit(cache=ON_DISK, nogil=True)
def _root(parent, i):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@numba.njit(cache=ON_DISK, nogil=True)
def _parts(start, order, mass, log_density, threshold, near, most):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    shift = 2 * (MAX_ORDER - BRIDGE_ORDER)
    cells = len(near)
    unit = np.pi / 3.0 / 4.0 ** np.arange(MAX_ORDER + 1)
    inside = np.flatnonzero(log_density >= threshold)
    held, area = np.zeros(cells), np.zeros(cells)
    for i in inside:
        first = start[i] >> shift
        share = 1 << (2 * max(BRIDGE_ORDER - order[i], 0))
        for c in range(first, first + share):
            held[c] += mass[i] / share
            area[c] += unit[order[i]] / share

    parent, touched = np.arange(cells), np.flatnonzero(area > 0.0)
    for t in touched:
        for k in range(1, near.shape[1]):
            other = near[t, k]
            if other > t and area[other] > 0.0:
                a, b = _root(parent, t), _root(parent, other)
                parent[max(a, b)] = min(a, b)
    for t in touched:
        root = _root(parent, t)
        parent[t] = root
        if root != t:
            held[root] += held[t]
            area[root] += area[t]
    roots = touched[parent[touched] == touched]
    rank = roots[np.argsort(-held[roots], kind="mergesort")][:most]

    count = len(rank)
    slot = np.full(cells, -1)
    slot[rank] = np.arange(count)
    densest, peaks, cells_of = np.full(count, -1), np.zeros((count, 3)), np.zeros(count, np.int64)
    for i in inside:
        part = slot[parent[start[i] >> shift]]
        if part >= 0:
            cells_of[part] += 1
        if part >= 0 and (densest[part] < 0 or log_density[i] > log_density[densest[part]]):
            densest[part] = i
    for part in range(count):
        i = densest[part]
        x, y, z = cell_centre(order[i], start[i] >> (2 * (MAX_ORDER - order[i])))
        peaks[part, 0], peaks[part, 1], peaks[part, 2] = x, y, z

    far = np.zeros((count, _BINS))
    n = 0
    while n < len(inside):
        i = inside[n]
        part = slot[parent[start[i] >> shift]]
        if part < 0:
            n += 1
            continue
        level = order[i]
        if cells_of[part] > _MANY:
            level = min(level, _MANY_ORDER if cells_of[part] <= _VERY_MANY else _VERY_MANY_ORDER)
        index = start[i] >> (2 * (MAX_ORDER - level))
        held_here = 0.0
        while n < len(inside) and start[inside[n]] >> (2 * (MAX_ORDER - level)) == index:
            held_here += mass[inside[n]]
            n += 1
        x, y, z = cell_centre(level, index)
        chord = np.sqrt((x - peaks[part, 0]) ** 2 + (y - peaks[part, 1]) ** 2 + (z - peaks[part, 2]) ** 2)
        # A cell reaches beyond its centre: without its own radius a part of one cell would have none.
        reach = 2.0 * np.arcsin(min(chord / 2.0, 1.0)) + np.sqrt(unit[level] / np.pi)
        at = np.log2(max(reach * EARTH_RADIUS_KM / _NEAREST_KM, 1.0)) * _BINS_AN_OCTAVE
        far[part, min(int(at), _BINS - 1)] += held_here
    radius = np.empty(count)
    for part in range(count):
        whole, within, b = far[part].sum(), 0.0, 0
        while b < _BINS - 1 and within + far[part, b] < _OF_MASS * whole:
            within += far[part, b]
            b += 1
        radius[part] = _NEAREST_KM * 2.0 ** ((b + 0.5) / _BINS_AN_OCTAVE)
    return peaks, held[rank], area[rank], radius
