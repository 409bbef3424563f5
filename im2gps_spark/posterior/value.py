"""A photo's answer as a value in Python: a law on the sphere to be asked, drawn from, combined and handed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from im2gps_spark.grid import MAX_ORDER, Ints, MultiOrderMap, cell_centres, resolve
from im2gps_spark.posterior import pooling, skymap
from im2gps_spark.posterior.pixels import pixel_areas_sr, pixel_masses
from im2gps_spark.posterior.region import Ranking
from im2gps_spark.posterior.shape import TOLERANCE, Disc, Polygon, mass_inside
from im2gps_spark.sphere import UNIFORM_ENTROPY, Floats, distance_km, geodesic_median, unit_vectors
from im2gps_spark.store.files import write_whole

_ARROW = pa.schema([pa.field("cell", pa.int64(), nullable=False), pa.field("mass", pa.float64(), nullable=False)])
_FINE_ORDER, _COARSE_ORDER = 6, 3
"""Coarser cells than 100 km are cut up before distances to them are averaged; the median is sought on 800 km first."""


class Row(Protocol):
    """Something with named columns: a dictionary, a row of Spark or pandas, a struct of Arrow."""

    def __getitem__(self, name: str, /) -> Any:
        """The column of a name."""


@dataclass(frozen=True, eq=False, repr=False)
class Posterior:
    """A probability law on the sphere: a map, and the prior that its density follows within each of its cells.

    Points are unit vectors (n, 3) as ``sphere.unit_vectors`` makes them, or latitude and longitude in degrees where
    an argument says so. Densities are per steradian, masses in [0, 1], entropies nats, information bits, lengths km.

    Attributes:
        relative: as in the column ``posteriors.map``, mass 1.
        prior: of the row's ``index_version``, mass 1.

    Raises:
        ValueError: a map's mass is not 1.
    """

    relative: MultiOrderMap
    prior: MultiOrderMap

    def __post_init__(self) -> None:
        self.relative.check()
        self.prior.check()

    def __repr__(self) -> str:
        return f"Posterior({len(self.relative.cells)} cells over a prior of {len(self.prior.cells)})"

    # From and to other forms

    @classmethod
    def from_law(cls, law: MultiOrderMap) -> Posterior:
        """A law that is uniform within cells; its prior is the uniform law."""
        return cls(law, MultiOrderMap.uniform())

    @classmethod
    def from_row(cls, row: Row, prior: MultiOrderMap) -> Posterior:
        """The answer in a row of ``posteriors``, be it a dictionary, a row of Spark or pandas, or an Arrow struct.

        Args:
            row: with the column ``map``.
            prior: of its ``index_version``, from the table ``priors``. Nothing in a row tells a wrong one.

        Raises:
            ValueError: the map does not cover the sphere once, sorted, with mass 1.
        """
        cells = row["map"]
        if isinstance(cells, pa.ListScalar | pa.LargeListScalar):
            return cls.from_arrow(pa.Table.from_struct_array(cells.values), prior)
        return cls(MultiOrderMap.from_rows(cells), prior)

    @classmethod
    def from_arrow(cls, table: pa.Table, prior: MultiOrderMap) -> Posterior:
        """The answer in a table of ``cell`` and ``mass``, as ``to_arrow`` makes it; in any order.

        Raises:
            ValueError: a value is missing, or the map does not cover the sphere once with mass 1.
        """
        columns = table.select(_ARROW.names).cast(pa.schema([field.with_nullable(True) for field in _ARROW]))
        if any(column.null_count for column in columns.columns):
            raise ValueError("a cell or mass is missing")
        return cls(MultiOrderMap.from_cells(*(column.to_numpy() for column in columns.columns)), prior)

    def to_arrow(self) -> pa.Table:
        """``relative`` as a table of cell int64, mass float64. The prior is not in it."""
        return pa.table([self.relative.cells, self.relative.mass], schema=_ARROW)

    @classmethod
    def from_fits(cls, path: str | Path) -> Posterior:
        """The answer in a file that ``to_fits`` wrote; its prior is the uniform law. See ``skymap.from_file``."""
        return cls.from_law(skymap.from_file(path))

    def to_fits(self, path: str | Path, header: Mapping[str, str | int | float] | None = None) -> None:
        """Writes ``law`` as a multi-order map in FITS, whole or not at all; what is there is replaced.

        The form knows no prior: the file holds all cells of ``law``, some ten times those of ``relative``.

        Args:
            path: of the file.
            header: further keywords, of eight characters at most.

        Raises:
            UsageError: astropy is not installed.
            ValueError: a keyword is too long, or one that the file has already.
        """
        write_whole(Path(path), skymap.to_bytes(self.law, header))

    # The law

    @cached_property
    def law(self) -> MultiOrderMap:
        """The law itself, uniform within cells: those of ``relative`` and of ``prior``, whichever are finer."""
        return resolve(self.relative, self.prior)

    def density(self, points: ArrayLike) -> Floats:
        """(n,) per steradian at unit vectors (n, 3)."""
        return np.asarray(self.law.density[self.law.find(_on_sphere(points))])

    def density_at(self, latitude: ArrayLike, longitude: ArrayLike) -> Floats:
        """Density per steradian at points in degrees, which broadcast."""
        points = unit_vectors(*np.broadcast_arrays(latitude, longitude))
        return self.density(points.reshape(-1, 3)).reshape(points.shape[:-1])

    def sample(self, count: int, seed: int | np.random.Generator = 0) -> Floats:
        """Unit vectors (count, 3), independent draws from the law: from a grid of 12 mm within its cells.

        A cell is an interval of the nested curve, and equal parts of the curve have equal areas: a cell by its mass,
        and a place on its interval.
        """
        rng = np.random.default_rng(seed)
        law = self.law
        held = np.flatnonzero(law.mass > 0)
        before = np.cumsum(law.mass[held])
        drawn = np.searchsorted(before, rng.random(count) * before[-1], side="right")
        cell = held[np.minimum(drawn, len(held) - 1)]
        width = np.int64(1) << (2 * (MAX_ORDER - law.order[cell]))
        return cell_centres(MAX_ORDER, law.starts[cell] + rng.integers(0, width))

    # Masses

    def mass_within_km(
        self, latitude: ArrayLike, longitude: ArrayLike, radius_km: ArrayLike, tolerance: float = TOLERANCE
    ) -> Floats:
        """Mass within distances of points in degrees. All three broadcast; the result has their shape.

        Cells that the circle cuts are split until those hold less than ``tolerance`` of the mass inside (or 1e-9), and
        count by their centres then: an error of less than that, in practice a tenth to a thousandth of it.

        Raises:
            ValueError: a coordinate is not finite or out of range, a radius not finite or negative.
        """
        discs = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (latitude, longitude, radius_km)))
        flat = zip(*(a.ravel().tolist() for a in discs), strict=True)
        masses = [mass_inside(self.law, Disc.of(*each), tolerance) for each in flat]
        return np.array(masses, np.float64).reshape(discs[0].shape)

    def mass_within_polygon(
        self,
        latitudes: ArrayLike,
        longitudes: ArrayLike,
        inside: tuple[float, float] | None = None,
        tolerance: float = TOLERANCE,
    ) -> float:
        """Mass within a polygon whose edges are great-circle arcs. It may cross longitude 180 and contain a pole.

        A parallel is no great circle: a box of latitudes and longitudes needs vertices along its northern and southern
        sides. Where edges cross, sides alternate (even-odd).

        Args:
            latitudes, longitudes: (m,) vertices in degrees, in either sense; the first may be repeated at the end.
            inside: latitude and longitude of a point inside. If not given, the smaller side is the inside.
            tolerance: as in ``mass_within_km``.

        Raises:
            ValueError: a coordinate is not finite or out of range; fewer than three vertices; consecutive ones are
                antipodes; ``inside`` is on the border, or is needed, for the sides differ by under 2 % of the sphere.
        """
        return mass_inside(self.law, Polygon.of(latitudes, longitudes, inside), tolerance)

    def heatmap(self, height: int, width: int | None = None, *, mass: bool = False, side: int = 4) -> Floats:
        """The law on an equirectangular grid: (height, width) float64.

        Row 0 begins at the north pole, column 0 at longitude -180; pixel (i, j) is around latitude
        90 - (i + 1/2) 180 / height, longitude -180 + (j + 1/2) 360 / width.

        Args:
            height: rows.
            width: columns; twice as many as rows if not given.
            mass: masses of the pixels, which sum to 1, in place of their mean densities per steradian.
            side: sample points along each side of a pixel. Pixels are supersampled, not exact: a cell of the law
                counts wholly, but its edges are right to one part in ``side`` of a pixel.
        """
        columns = 2 * height if width is None else width
        if min(height, columns, side) < 1:
            raise ValueError("a heatmap has one row, one column and one sample a pixel at least")
        masses = pixel_masses(self.law, height, columns, side)
        return masses if mass else masses / pixel_areas_sr(height, columns)[:, None]

    # Regions

    @cached_property
    def ranking(self) -> Ranking:
        """The cells of ``law`` from the densest down."""
        return Ranking(self.law)

    def hpd_cells(self, level: float) -> Ints:
        """NUNIQ numbers, along the curve, of the smallest region of cells that holds a mass in [0, 1]."""
        return np.asarray(self.law.cells[self.ranking.densest(float(_levels(level)))])

    def hpd_area_km2(self, levels: ArrayLike) -> Floats:
        """Areas of the smallest regions that hold masses in [0, 1]; of the last cell only the part that is needed."""
        return self.ranking.area_km2(_levels(levels))

    def hpd_level(self, points: ArrayLike) -> Floats:
        """(n,) masses of all that is denser than points (n, 3); uniform on (0, 1) for truths if the law is calibrated.

        Of cells exactly as dense as the point's, half is counted.
        """
        return self.ranking.level(_on_sphere(points))

    # Figures

    @cached_property
    def entropy(self) -> float:
        """-integral p ln p, nats over steradians: ln 4 pi = 2.531 for the uniform law, less for all others."""
        held = self.law.mass > 0
        return float(-np.sum(self.law.mass[held] * np.log(self.law.density[held])))

    @property
    def information_bits(self) -> float:
        """What is known beyond the uniform law: its entropy less this one's, bits."""
        return (UNIFORM_ENTROPY - self.entropy) / float(np.log(2.0))

    @cached_property
    def information_over_prior_bits(self) -> float:
        """What the photo said beyond the prior: Kullback-Leibler divergence from it, bits."""
        law, prior = self.law, self.prior
        under_prior = prior.density[np.searchsorted(prior.starts, law.starts, side="right") - 1]
        held = law.mass > 0
        nats = -self.entropy - float(np.sum(law.mass[held] * np.log(under_prior[held])))
        return max(0.0, nats) / float(np.log(2.0))

    @cached_property
    def mode(self) -> Floats:
        """(3,) centre of the densest cell, of equals the first on the curve.

        ``posteriors.mode_latitude`` was found before the map was made, by the kernels: it may lie cells away.
        """
        return self.law.centres_of(np.argmax(self.law.density))

    @cached_property
    def median(self) -> Floats:
        """(3,) point of least expected distance to the law, by the same sums as ``expected_distance_km``.

        The expected distance has several minima on a sphere: the best of a coarse grid starts the descent.
        """
        coarse = np.arange(12 * 4**_COARSE_ORDER)
        grid, mass = cell_centres(_COARSE_ORDER, coarse), self.law.mass_within(_COARSE_ORDER, coarse)
        start = grid[np.argmin(distance_km(grid[:, None], grid[None]) @ mass)]
        return geodesic_median(*self._fine, start)

    def expected_distance_km(self, points: ArrayLike) -> Floats:
        """(n,) expected great-circle distances from points (n, 3) to the law.

        Averaged over centres of cells of 100 km and smaller. That errs most within the cell that a point is in, by
        0.4 of the cell's side times its mass.
        """
        centres, mass = self._fine
        return np.array([distance_km(centres, point) @ mass for point in _on_sphere(points)], np.float64)

    @cached_property
    def _fine(self) -> tuple[Floats, Floats]:
        """Centres (n, 3) and masses (n,) of cells as small as the law's, and of ``_FINE_ORDER`` at least."""
        law = self.law
        order = np.maximum(law.order, _FINE_ORDER)
        parts = 4 ** (order - law.order)
        which = np.repeat(np.arange(len(parts)), parts)
        nth = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
        return cell_centres(order[which], (law.index * parts)[which] + nth), (law.mass / parts)[which]

    # Combinations

    def merge(self, other: Posterior) -> Posterior:
        """What both say together: p ~ p1 p2 / prior, exactly, over the same prior.

        Right for *different* evidence of *one* place, independent given the place: two photos known to be from the
        same spot, or a photo and its caption. Wrong for evidence that is shared: two engines on one photo would count
        it twice and be too sure. For those see ``mixture``.

        Raises:
            ValueError: the priors differ, or no place has mass in both.
        """
        return Posterior(pooling.product(self.relative, self._over_my_prior(other), self.prior), self.prior)

    def mixture(self, other: Posterior, share: float = 0.5) -> Posterior:
        """(1 - share) p1 + share p2, exactly, over the same prior: one of both is right, the other with that chance.

        Raises:
            ValueError: the priors differ, or the share is outside [0, 1].
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"a share must be within [0, 1], not {share}")
        return Posterior(pooling.mixture(self.relative, self._over_my_prior(other), self.prior, share), self.prior)

    def _over_my_prior(self, other: Posterior) -> MultiOrderMap:
        mine, theirs = self.prior, other.prior
        same = np.array_equal(mine.cells, theirs.cells) and np.array_equal(mine.mass, theirs.mass)
        if not same:
            raise ValueError("the posteriors are over different priors: locate both photos with one index version")
        return other.relative


def _on_sphere(points: ArrayLike) -> Floats:
    vectors = np.asarray(points, np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != 3:
        raise ValueError(f"points must be unit vectors (n, 3), not of shape {vectors.shape}")
    if not bool(np.all(np.abs(np.linalg.norm(vectors, axis=1) - 1.0) < 1e-6)):  # false for NaN, too
        raise ValueError("points must be unit vectors; sphere.unit_vectors makes them of degrees")
    return vectors


def _levels(levels: ArrayLike) -> Floats:
    given = np.asarray(levels, np.float64)
    if not bool(np.all((given >= 0) & (given <= 1))):
        raise ValueError("a level is a mass within [0, 1]")
    return given
