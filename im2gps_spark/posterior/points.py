"""Points that stand for a law: its mode, the discs that hold most of it, and its median."""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from im2gps_spark.grid import cell_centres, neighbours
from im2gps_spark.posterior.curve import cell_centre, part_centres
from im2gps_spark.posterior.kernels import ON_DISK
from im2gps_spark.posterior.law import Law, fill, mass_in
from im2gps_spark.posterior.ranked import AREA
from im2gps_spark.sphere import EARTH_RADIUS_KM, Floats, concentration, distance_km

MODE_WIDTH_KM = 25.0
"""Width of the kernel that a law is smoothed by before its mode is sought: a prior's finest cells are no places."""

DISC_RADII_KM = (25.0, 200.0, 750.0)
"""City, region, country (reference: Hays & Efros 2015): a point for each."""

# A block is no smaller than the disc, and is looked into by cells of an eighth or a quarter of its side.
_FINER = 3
_CELLS = 4**_FINER
# Blocks are of this order (51 km) at most.
_DEEPEST_BLOCK = 7
# Blocks looked into at most; they come by their own mass, for what lies about them may be spread thin.
_MOST_BLOCKS = 32
# A disc touches this many blocks at most: one of them holds such a part of it.
_TOUCHED = 6.0
# Blocks are sought in the heaviest cells, so many orders up.
_COARSER = 2
# Of equals, to rounding, the first counts.
_SAME = 1.0 + 1e-9

# exp(-t) as the sixth order of Taylor's series at t / 64, squared six times: to a millionth where it matters, and in
# vector registers, which the library's is not.
_SQUARINGS = 6
_MOST = 1.0

_START_ORDER, _COARSE_ORDER, _STEPS = 2, 3, 12
# What pulls at the median pulls as one cell, of this order or a finer one, if that is so many times as far as its side;
# or of the deepest order.
_FAR_ORDER, _OPENING, _DEEPEST = 4, 2.5, 10
# Cells with less than this pull at nothing.
_LEAST = 1e-9
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
    return np.asarray(_sought(law, MODE_WIDTH_KM, smooth=True, within=False)[0])


def find_disc(law: Law, radius_km: float) -> Floats:
    """The centre of the disc of a radius that holds most of the law, on a grid of a quarter of the radius: (3,)."""
    return np.asarray(_sought(law, radius_km, smooth=False, within=True)[1])


def find_mode_and_discs(law: Law) -> tuple[Floats, list[Floats]]:
    """``find_mode``, and ``find_disc`` for each of ``DISC_RADII_KM``: one look for what is of one scale."""
    mode, disc = _sought(law, MODE_WIDTH_KM, smooth=True, within=MODE_WIDTH_KM in DISC_RADII_KM)
    return mode, [disc if radius == MODE_WIDTH_KM else find_disc(law, radius) for radius in DISC_RADII_KM]


def _sought(law: Law, scale_km: float, *, smooth: bool, within: bool) -> tuple[Floats, Floats]:
    order = min(_DEEPEST_BLOCK, int(np.floor(np.log2(np.sqrt(np.pi / 3.0) * EARTH_RADIUS_KM / scale_km))))
    kappa = float(concentration(scale_km)) if smooth else 0.0
    chord = float(2.0 * np.sin(scale_km / EARTH_RADIUS_KM / 2.0)) if within else 0.0
    return _search(order, beside(order), law.map, law.prior, kappa, chord)  # type: ignore[no-any-return]


def find_median(law: Law) -> Floats:
    """The point of least expected great-circle distance to the law: (3,).

    The expected distance has several minima on a sphere: the best of a coarse grid starts the descent. Then the law
    pulls as points, the coarser the farther (Barnes & Hut, "A hierarchical O(N log N) force-calculation algorithm",
    Nature 324, 1986).
    """
    coarse = law.pooled_to(_COARSE_ORDER)
    start = _centres(_START_ORDER)[np.argmin(_start_distances() @ coarse)]
    here = _median(_coordinates(_COARSE_ORDER), coarse, start, _STEPS)
    far, far_mass = _coordinates(_FAR_ORDER), law.pooled_to(_FAR_ORDER)
    here = _median(far, far_mass, here, _STEPS)
    for _ in range(3):
        before = here
        points, mass = _about(here, far, far_mass, law.map, law.prior)
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
def _heaviest(order, relative, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Cells of an order by falling mass, equal ones along the curve: ``_MOST_BLOCKS`` at most, and no light one."""
    coarser = max(order - _COARSER, 0)
    parts = 1 << (2 * (order - coarser))
    above, inside = np.empty(12 << (2 * coarser)), np.empty(parts)
    fill(coarser, 0, len(above), relative, prior, above)
    cells, masses, count = np.empty(_MOST_BLOCKS + 1, np.int64), np.empty(_MOST_BLOCKS + 1), 0
    most = above.max() / parts  # of the lightest cell that may be the heaviest
    for c in range(len(above)):
        if above[c] * _TOUCHED < most or (count == _MOST_BLOCKS and above[c] <= masses[count - 1]):
            continue
        fill(order, c * parts, (c + 1) * parts, relative, prior, inside)
        for p in range(parts):
            mass = inside[p]
            if mass * _TOUCHED < most or (count == _MOST_BLOCKS and mass <= masses[count - 1]):
                continue
            most = max(most, mass)
            at = count
            while at > 0 and masses[at - 1] < mass:
                cells[at], masses[at] = cells[at - 1], masses[at - 1]
                at -= 1
            cells[at], masses[at] = c * parts + p, mass
            count = min(count + 1, _MOST_BLOCKS)
    while masses[count - 1] * _TOUCHED < masses[0]:
        count -= 1
    return cells[:count]


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _held(px, py, pz, masses, x, y, z, square):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The mass within a squared chord of a point."""
    value = 0.0
    for i in range(len(masses)):
        dx, dy, dz = x - px[i], y - py[i], z - pz[i]
        value += masses[i] if dx * dx + dy * dy + dz * dz <= square else 0.0
    return value


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, inline="always")
def _kernel(u):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """exp(-u 2^_SQUARINGS)."""
    part = 1.0 - u * (1.0 - u / 2.0 * (1.0 - u / 3.0 * (1.0 - u / 4.0 * (1.0 - u / 5.0 * (1.0 - u / 6.0)))))
    part *= part
    part *= part
    part *= part
    part *= part
    part *= part
    return part * part


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _smoothed(px, py, pz, masses, x, y, z, kappa):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The sum of kernels at a point, and where they pull it: not of length 1."""
    scale = 0.5 * kappa / 2.0**_SQUARINGS
    value = sx = sy = sz = 0.0
    for i in range(len(masses)):
        dx, dy, dz = x - px[i], y - py[i], z - pz[i]
        u = scale * (dx * dx + dy * dy + dz * dz)
        pull = masses[i] * _kernel(u if u < _MOST else _MOST)
        value += pull
        sx += pull * px[i]
        sy += pull * py[i]
        sz += pull * pz[i]
    return value, sx, sy, sz


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True)
def _smoothed_within(px, py, pz, masses, x, y, z, kappa, off):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """What the sum of kernels is at most at points within a chord of one: each kernel as if so much nearer."""
    scale = 0.5 * kappa / 2.0**_SQUARINGS
    value = 0.0
    for i in range(len(masses)):
        dx, dy, dz = x - px[i], y - py[i], z - pz[i]
        away = np.sqrt(dx * dx + dy * dy + dz * dz) - off
        away = away if away > 0.0 else 0.0
        u = scale * away * away
        value += masses[i] * _kernel(u if u < _MOST else _MOST)
    return value


@numba.njit(cache=ON_DISK, nogil=True)
def _uphill(px, py, pz, masses, kappa, at):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Moves a point to where the kernels about it pull it, until they don't; returns the greatest sum on the way."""
    best = 0.0
    for _ in range(30):
        value, sx, sy, sz = _smoothed(px, py, pz, masses, at[0], at[1], at[2], kappa)
        best = max(best, value)
        length = np.sqrt(sx * sx + sy * sy + sz * sz)
        sx, sy, sz = sx / length, sy / length, sz / length
        moved = (sx - at[0]) ** 2 + (sy - at[1]) ** 2 + (sz - at[2]) ** 2
        at[0], at[1], at[2] = sx, sy, sz
        if moved < 1e-11:  # 20 m
            break
    return best


@numba.njit(cache=ON_DISK, nogil=True)
def _search(block_order, near, relative, prior, kappa, chord):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The best cell centres of some blocks: by the kernel's sum, with a kappa; by the mass within a chord, with one."""
    order, size = block_order + _FINER, near.shape[1] * _CELLS
    px, py, pz, masses = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    densest, mode, most, disc = -1.0, np.zeros(3), -1.0, np.zeros(3)
    blocks = _heaviest(block_order, relative, prior)
    for b in range(len(blocks)):
        count = 0
        for k in range(near.shape[1]):
            block = np.int64(near[blocks[b], k])
            if block >= 0:  # the block itself comes first
                fill(order, block * _CELLS, (block + 1) * _CELLS, relative, prior, masses[count:])
                count += _CELLS
        held = masses[:count]
        bound = held.sum()
        smooth, within = kappa > 0.0 and bound > densest * _SAME, chord > 0.0 and bound > most * _SAME
        if not (smooth or within):
            continue
        count = 0
        for k in range(near.shape[1]):
            block = np.int64(near[blocks[b], k])
            if block >= 0:
                part_centres(block_order, block, px[count:], py[count:], pz[count:])
                count += _CELLS
        improved = False
        for first in range(0, _CELLS, 4):
            # The four parts of a cell: about none of them is more than about the cell's centre, reaching as much
            # farther as they are off it.
            cx, cy, cz = cell_centre(order - 1, (blocks[b] * _CELLS + first) >> 2)
            off = 0.0
            for c in range(first, first + 4):
                off = max(off, np.sqrt((px[c] - cx) ** 2 + (py[c] - cy) ** 2 + (pz[c] - cz) ** 2))
            if smooth and _smoothed_within(px, py, pz, held, cx, cy, cz, kappa, off) * _SAME > densest:
                for c in range(first, first + 4):
                    value = _smoothed(px, py, pz, held, px[c], py[c], pz[c], kappa)[0]
                    if value > densest * _SAME:
                        densest, improved = value, True
                        mode[0], mode[1], mode[2] = px[c], py[c], pz[c]
            if within and _held(px, py, pz, held, cx, cy, cz, (chord + off) ** 2) * _SAME > most:
                for c in range(first, first + 4):
                    value = _held(px, py, pz, held, px[c], py[c], pz[c], chord**2)
                    if value > most * _SAME:
                        most = value
                        disc[0], disc[1], disc[2] = px[c], py[c], pz[c]
        if improved:
            densest = max(densest, _uphill(px, py, pz, held, kappa, mode))
    return mode, disc


@numba.njit(cache=ON_DISK, nogil=True)
def _about(here, far, far_mass, relative, prior):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The law as points, the coarser the farther: (3, n), and their masses. From cells of an order down."""
    orders, cells = np.empty(4 * _DEEPEST, np.int64), np.empty(4 * _DEEPEST, np.int64)
    points, masses, made = np.empty((3, 2 * len(far_mass))), np.empty(2 * len(far_mass)), 0
    for base in range(len(far_mass)):
        mass = far_mass[base]
        if mass < _LEAST:
            continue
        x, y, z = far[0, base], far[1, base], far[2, base]
        away = (x - here[0]) ** 2 + (y - here[1]) ** 2 + (z - here[2]) ** 2
        if away >= _OPENING * _OPENING * AREA[_FAR_ORDER]:
            points[0, made], points[1, made], points[2, made], masses[made] = x, y, z, mass
            made += 1
            continue
        orders[0], cells[0], count = _FAR_ORDER, base, 1
        while count > 0:
            count -= 1
            order, cell = orders[count], cells[count]
            x, y, z = cell_centre(order, cell)
            away = (x - here[0]) ** 2 + (y - here[1]) ** 2 + (z - here[2]) ** 2
            if order < _DEEPEST and away < _OPENING * _OPENING * AREA[order]:
                for child in range(4):
                    orders[count], cells[count] = order + 1, 4 * cell + child
                    count += 1
                continue
            mass = mass_in(order, cell, relative, prior)
            if mass > 0.0:
                points[0, made], points[1, made], points[2, made], masses[made] = x, y, z, mass
                made += 1
    return points[:, :made].copy(), masses[:made].copy()


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, inline="always")
def angle(square):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Angle of a squared chord, radians, within 2e-8 (Abramowitz & Stegun 4.4.46), and at least a metre."""
    back = square > 2.0
    near = (4.0 - square if back else square) / 2.0  # 1 - cos, of the point or of its antipode
    near = near if near > 0.0 else 0.0
    c = 1.0 - near
    series = -0.0012624911
    series = series * c + 0.0066700901
    series = series * c - 0.0170881256
    series = series * c + 0.0308918810
    series = series * c - 0.0501743046
    series = series * c + 0.0889789874
    series = series * c - 0.2145988016
    series = series * c + 1.5707963050
    turn = np.sqrt(near) * series
    turn = turn if turn > 1.6e-7 else 1.6e-7
    return np.pi - turn if back else turn


@numba.njit(cache=ON_DISK, nogil=True, fastmath=True, error_model="numpy")
def _expected(x, y, z, points, weights):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """The expected angle, its gradient and its Hessian in space, and Weiszfeld's scale, at a point."""
    cost = scale = gx = gy = gz = hxx = hyy = hzz = hxy = hxz = hyz = trace = 0.0
    for i in range(len(weights)):
        px, py, pz = points[0, i], points[1, i], points[2, i]
        dx, dy, dz = px - x, py - y, pz - z
        square = dx * dx + dy * dy + dz * dz
        cosine = 1.0 - square / 2.0
        sine = square * (1.0 - square / 4.0)
        sine = np.sqrt(sine if sine > 1e-14 else 1e-14)
        away = angle(square)
        cost += weights[i] * away
        # Towards the point, in the tangent plane. One here, or opposite, has next to no direction.
        steep = 1.0 / sine
        ux, uy, uz = steep * (px - cosine * x), steep * (py - cosine * y), steep * (pz - cosine * z)
        gx -= weights[i] * ux
        gy -= weights[i] * uy
        gz -= weights[i] * uz
        scale += weights[i] / away
        bend = weights[i] * cosine * steep
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
