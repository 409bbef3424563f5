"""Points that stand for a law: its mode, the discs that hold most of it, and its median."""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import MAX_ORDER, cell_centres, cells_at, neighbours
from im2gps_spark.posterior.curve import cell_centre
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.law import POOL_ORDER, Law
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, concentration, distance_km

MODE_WIDTH_KM = 25.0
"""Width of the kernel that a law is smoothed by before its mode is sought: a prior's finest cells are no places."""

DISC_RADII_KM = (25.0, 200.0, 750.0)
"""City, region, country (reference: Hays & Efros 2015): a point for each."""

# A block is no smaller than the disc, and is looked into by cells of an eighth or a quarter of its side.
_FINER = 3
_CELLS = 4**_FINER
# Blocks looked into at most; they come by their own mass, for what lies about them may be spread thin.
_MOST_BLOCKS = 32
# A disc touches this many blocks at most: one of them holds such a part of it.
_TOUCHED = 6.0

_START_ORDER, _COARSE_ORDER, _FAR_ORDER, _STEPS = 2, 3, 4, 12
_NEAR_KM = 1000.0
# A median that moves less when its surroundings are looked at closely is not looked at again.
_SETTLED_KM = 50.0


@cache
def beside(order: int) -> NDArray[np.int32]:
    """(cells, 9) each cell of an order and those that touch it; -1 where there is none."""
    cells = np.arange(12 * 4**order)
    return np.concatenate([cells[:, None], neighbours(order, cells)], axis=1).astype(np.int32)


def find_mode(law: Law) -> Floats:
    """The densest point of the law smoothed by a kernel of ``MODE_WIDTH_KM``: (3,).

    Spherical mean shift from the heaviest cells (Kobayashi & Otsu, "Von Mises-Fisher Mean Shift for Clustering on a
    Hypersphere", ICPR 2010). Of equals the first along the curve is taken.
    """
    return _best(law, MODE_WIDTH_KM, smooth=True)


def find_disc(law: Law, radius_km: float) -> Floats:
    """The centre of the disc of a radius that holds most of the law, on a grid of a quarter of the radius: (3,)."""
    return _best(law, radius_km, smooth=False)


def _best(law: Law, scale_km: float, *, smooth: bool) -> Floats:
    order = min(POOL_ORDER, int(np.floor(np.log2(np.sqrt(np.pi / 3.0) * EARTH_RADIUS_KM / scale_km))))
    mass = law.pooled_to(order)
    near = beside(order)
    heavy = np.flatnonzero(mass >= mass.max() / _TOUCHED)
    around = near[heavy]
    most = np.where(around >= 0, mass[around], 0.0).sum(axis=1)
    rank = np.argsort(-mass[heavy], kind="stable")[:_MOST_BLOCKS]
    kappa = float(concentration(scale_km)) if smooth else 0.0
    chord = 2.0 * np.sin(scale_km / EARTH_RADIUS_KM / 2.0)
    cells = law.start, law.order, law.mass, law.pooled
    return np.asarray(_search(order, heavy[rank], most[rank], near, *cells, kappa, chord**2))


def find_median(law: Law) -> Floats:
    """The point of least expected great-circle distance to the law: (3,).

    The expected distance has several minima on a sphere: the best of a coarse grid starts the descent. What pulls from
    afar pulls as one cell of order 4; what lies about the median, by cells of order 7 and 10.
    """
    coarse, near = law.pooled_to(_COARSE_ORDER), beside(POOL_ORDER)
    start = _centres(_START_ORDER)[np.argmin(_start_distances() @ coarse)]
    here = _median(_coordinates(_COARSE_ORDER), coarse, start, _STEPS)
    far, far_mass = _centres(_FAR_ORDER), law.pooled_to(_FAR_ORDER)
    for _ in range(3):
        before, home = here, int(cells_at(POOL_ORDER, here[None])[0])
        reach = (2.0 * np.sin(_NEAR_KM / EARTH_RADIUS_KM / 2.0)) ** 2
        points, mass = _about(here, far, far_mass, law.pooled, near, home, law.start, law.order, law.mass, reach)
        here = _median(points, mass, here, _STEPS)
        if float(distance_km(before, here)) < _SETTLED_KM:
            break
    return np.asarray(here)


@cache
def _centres(order: int) -> Floats:
    return cell_centres(order, np.arange(12 * 4**order))


@cache
def _coordinates(order: int) -> Floats:
    """(3, n): sums run through memory."""
    return np.ascontiguousarray(_centres(order).T)


@cache
def _start_distances() -> Floats:
    """(starts, coarse cells) angles, radians."""
    return np.asarray(np.arccos(np.clip(_centres(_START_ORDER) @ _centres(_COARSE_ORDER).T, -1.0, 1.0)))


@numba.njit(cache=ON_DISK, nogil=True)
def _fill(block_order, block, start, order, mass, pooled, out, first):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The law's masses in the cells, ``_FINER`` orders down, of a block."""
    above = 2 * (POOL_ORDER - block_order - _FINER)
    if above >= 0:
        for c in range(_CELLS):
            begin = (block * _CELLS + c) << above
            out[first + c] = pooled[begin : begin + (1 << above)].sum()
        return
    shift = 2 * (MAX_ORDER - block_order - _FINER)
    begin = (block * _CELLS) << shift
    end = ((block + 1) * _CELLS) << shift
    out[first : first + _CELLS] = 0.0
    i = np.searchsorted(start, begin, side="right") - 1
    while i < len(start) and start[i] < end:
        if order[i] >= block_order + _FINER:
            out[first + ((start[i] >> shift) - block * _CELLS)] += mass[i]
        else:
            each = mass[i] / 4.0 ** (block_order + _FINER - order[i])
            low = max(start[i], begin)
            high = min(start[i] + (np.int64(1) << (2 * (MAX_ORDER - order[i]))), end)
            for c in range(low >> shift, high >> shift):
                out[first + c - block * _CELLS] += each
        i += 1


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _search(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    block_order,
    blocks,
    most,
    near,
    start,
    order,
    mass,
    pooled,
    kappa,
    chord,
):
    """The best cell centre of some blocks: by the mass within a chord, or, with a kappa, by the kernel's sum."""
    size = near.shape[1] * _CELLS
    masses, points = np.empty(size), np.empty((3, size))
    best, at = -1.0, np.zeros(3)
    for b in range(len(blocks)):
        if most[b] <= best * (1.0 + 1e-9):
            continue
        count = 0
        for k in range(near.shape[1]):
            block = near[blocks[b], k]
            if block < 0:
                continue
            _fill(block_order, block, start, order, mass, pooled, masses, count)
            for c in range(_CELLS):
                points[0, count + c], points[1, count + c], points[2, count + c] = cell_centre(
                    block_order + _FINER, block * _CELLS + c
                )
            count += _CELLS
        improved = False
        for c in range(_CELLS):  # the block itself comes first
            x, y, z = points[0, c], points[1, c], points[2, c]
            value = 0.0
            if kappa > 0.0:
                for i in range(count):
                    dx, dy, dz = x - points[0, i], y - points[1, i], z - points[2, i]
                    part = max(0.0, 1.0 - kappa * (dx * dx + dy * dy + dz * dz) / 512.0)
                    part *= part
                    part *= part
                    part *= part
                    part *= part
                    part *= part
                    part *= part
                    part *= part
                    part *= part
                    value += masses[i] * part
            else:
                for i in range(count):
                    dx, dy, dz = x - points[0, i], y - points[1, i], z - points[2, i]
                    value += masses[i] if dx * dx + dy * dy + dz * dz <= chord else 0.0
            if value > best * (1.0 + 1e-9):
                best = value
                at[0], at[1], at[2] = x, y, z
                improved = True
        if improved and kappa > 0.0:
            for _ in range(30):
                sx = sy = sz = value = 0.0
                for i in range(count):
                    dx, dy, dz = at[0] - points[0, i], at[1] - points[1, i], at[2] - points[2, i]
                    pull = masses[i] * np.exp(-0.5 * kappa * (dx * dx + dy * dy + dz * dz))
                    value += pull
                    sx += pull * points[0, i]
                    sy += pull * points[1, i]
                    sz += pull * points[2, i]
                length = np.sqrt(sx * sx + sy * sy + sz * sz)
                sx, sy, sz = sx / length, sy / length, sz / length
                moved = (sx - at[0]) ** 2 + (sy - at[1]) ** 2 + (sz - at[2]) ** 2
                at[0], at[1], at[2] = sx, sy, sz
                best = max(best, value)
                if moved < 1e-11:  # 20 m
                    break
    return at


@numba.njit(cache=ON_DISK, nogil=True)
def _about(here, far, far_mass, pooled, near, home, start, order, mass, reach):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The law as points, the coarser the farther: (n, 3), and their masses."""
    ratio = len(pooled) // len(far_mass)
    size = len(far_mass) + len(pooled) + near.shape[1] * _CELLS
    points, masses = np.empty((3, size)), np.empty(size)
    count = 0
    for c in range(len(far_mass)):
        if far_mass[c] < 1e-9:
            continue
        away = (far[c, 0] - here[0]) ** 2 + (far[c, 1] - here[1]) ** 2 + (far[c, 2] - here[2]) ** 2
        if away > reach:
            points[0, count], points[1, count], points[2, count] = far[c, 0], far[c, 1], far[c, 2]
            masses[count] = far_mass[c]
            count += 1
            continue
        for p in range(c * ratio, (c + 1) * ratio):
            found = False
            for k in range(near.shape[1]):
                found |= near[home, k] == p
            if not found and pooled[p] > 0.0:
                points[0, count], points[1, count], points[2, count] = cell_centre(POOL_ORDER, np.int64(p))
                masses[count] = pooled[p]
                count += 1
    fine = np.empty(_CELLS)
    for k in range(near.shape[1]):
        block = np.int64(near[home, k])
        if block < 0:
            continue
        _fill(POOL_ORDER, block, start, order, mass, pooled, fine, 0)
        for c in range(_CELLS):
            points[0, count], points[1, count], points[2, count] = cell_centre(POOL_ORDER + _FINER, block * _CELLS + c)
            masses[count] = fine[c]
            count += 1
    return points[:, :count].copy(), masses[:count]


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, inline="always")
def _angle(square):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Angle of a squared chord, radians, within 2e-8 (Abramowitz & Stegun 4.4.46), and at least a metre."""
    back = square > 2.0
    near = min(square, 4.0 - square) / 2.0  # 1 - cos, of the point or of its antipode
    c = 1.0 - max(near, 0.0)
    series = -0.0012624911
    series = series * c + 0.0066700901
    series = series * c - 0.0170881256
    series = series * c + 0.0308918810
    series = series * c - 0.0501743046
    series = series * c + 0.0889789874
    series = series * c - 0.2145988016
    series = series * c + 1.5707963050
    angle = max(np.sqrt(max(near, 0.0)) * series, 1.6e-7)
    return np.pi - angle if back else angle


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _expected(x, y, z, points, weights):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The expected angle, its gradient and its Hessian in space, and Weiszfeld's scale, at a point."""
    cost = scale = gx = gy = gz = hxx = hyy = hzz = hxy = hxz = hyz = trace = 0.0
    for i in range(len(weights)):
        px, py, pz = points[0, i], points[1, i], points[2, i]
        dx, dy, dz = px - x, py - y, pz - z
        square = dx * dx + dy * dy + dz * dz
        cosine = 1.0 - square / 2.0
        sine = np.sqrt(max(square * (1.0 - square / 4.0), 1e-14))
        angle = _angle(square)
        cost += weights[i] * angle
        # Towards the point, in the tangent plane. One here, or opposite, has next to no direction.
        ux, uy, uz = (
            (px - cosine * x) / sine,
            (py - cosine * y) / sine,
            (pz - cosine * z) / sine,
        )
        gx -= weights[i] * ux
        gy -= weights[i] * uy
        gz -= weights[i] * uz
        scale += weights[i] / angle
        bend = weights[i] * cosine / sine
        trace += bend
        hxx -= bend * ux * ux
        hyy -= bend * uy * uy
        hzz -= bend * uz * uz
        hxy -= bend * ux * uy
        hxz -= bend * ux * uz
        hyz -= bend * uy * uz
    return cost, gx, gy, gz, hxx, hyy, hzz, hxy, hxz, hyz, trace, scale


@numba.njit(cache=ON_DISK, nogil=True)
def _moved(x, y, z, tx, ty, tz):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    length = np.sqrt(tx * tx + ty * ty + tz * tz)
    if length < 1e-12:
        return x, y, z
    turn, ahead = np.cos(min(length, 0.5)), np.sin(min(length, 0.5)) / length
    x, y, z = turn * x + ahead * tx, turn * y + ahead * ty, turn * z + ahead * tz
    norm = np.sqrt(x * x + y * y + z * z)
    return x / norm, y / norm, z / norm


@numba.njit(cache=ON_DISK, nogil=True)
def _median(points, weights, start, steps):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Newton's steps where they go down, else Weiszfeld's (Fletcher et al., "The geometric median on Riemannian
    manifolds", 2009, algorithm 1)."""
    x, y, z = start[0], start[1], start[2]
    now = _expected(x, y, z, points, weights)
    for _ in range(steps):
        cost, gx, gy, gz, hxx, hyy, hzz, hxy, hxz, hyz, trace, scale = now
        # Two directions across the point.
        if abs(z) < 0.9:
            ex, ey, ez = -y, x, 0.0
        else:
            ex, ey, ez = 0.0, -z, y
        length = np.sqrt(ex * ex + ey * ey + ez * ez)
        ex, ey, ez = ex / length, ey / length, ez / length
        nx, ny, nz = y * ez - z * ey, z * ex - x * ez, x * ey - y * ex
        ge, gn = gx * ex + gy * ey + gz * ez, gx * nx + gy * ny + gz * nz
        hee = (
            trace
            + hxx * ex * ex
            + hyy * ey * ey
            + hzz * ez * ez
            + 2.0 * (hxy * ex * ey + hxz * ex * ez + hyz * ey * ez)
        )
        hnn = (
            trace
            + hxx * nx * nx
            + hyy * ny * ny
            + hzz * nz * nz
            + 2.0 * (hxy * nx * ny + hxz * nx * nz + hyz * ny * nz)
        )
        hen = (
            hxx * ex * nx + hyy * ey * ny + hzz * ez * nz
            + hxy * (ex * ny + ey * nx) + hxz * (ex * nz + ez * nx) + hyz * (ey * nz + ez * ny)
        )  # fmt: skip
        determinant = hee * hnn - hen * hen
        went = False
        if determinant > 1e-12 and hee > 0.0:
            te, tn = -(hnn * ge - hen * gn) / determinant, -(hee * gn - hen * ge) / determinant
            nxt = _moved(x, y, z, te * ex + tn * nx, te * ey + tn * ny, te * ez + tn * nz)
            there = _expected(nxt[0], nxt[1], nxt[2], points, weights)
            went = there[0] < cost
        if not went:
            nxt = _moved(x, y, z, -gx / scale, -gy / scale, -gz / scale)
            there = _expected(nxt[0], nxt[1], nxt[2], points, weights)
            if there[0] >= cost:
                break
        gone = (nxt[0] - x) ** 2 + (nxt[1] - y) ** 2 + (nxt[2] - z) ** 2
        x, y, z = nxt
        now = there
        if gone < 1e-9:  # 200 m
            break
    return np.array([x, y, z])
