"""The prior of an index version: votes pooled by place -> the table ``priors``, region by region."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.grid import MultiOrderMap, cell_centres, cells_from_coordinates
from im2gps_spark.posterior import prior
from im2gps_spark.posterior.background import Background
from im2gps_spark.posterior.prior_fit import fit_shape, kernel_columns
from im2gps_spark.posterior.shares import POINTS_ORDER, cells_through
from im2gps_spark.sphere import unit_vectors
from im2gps_spark.stages.arrow import runs_of, spark_schema
from im2gps_spark.stages.run import Run
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import PRIORS

# Votes are pooled as whole numbers: sums of fractions would depend on the order of the tasks.
_VOTE_UNITS = 2**20
_MASS_UNITS = 2.0**52
# To be raised when a change of the rule changes the map.
_RULE = 3.0
# Photos that the shares of the prior's kernels are fitted to.
_PHOTOS, _SALT = 2000, "prior"
# Regions are worked out apart, on cells: their masses miss 1 together by a little, and are scaled to it.
_MASS_WITHIN = 0.05

_NEAR = pa.schema([("region", pa.int64()), ("cell", pa.int64()), ("step", pa.int8()), ("vote", pa.int64())])
_PRIOR = pa.schema([("cell", pa.int64()), ("mass", pa.float64())])


def prior_rule(owner_damping: float) -> list[float]:
    """What the prior map depends on besides the corpus."""
    return [_RULE, prior.TOLERANCE, prior.UNIFORM_SHARE, *prior.WIDTHS_KM, *prior.SHARES, owner_damping]


def write_prior(run: Run, corpus: DataFrame, name: str) -> prior.Shape:
    """The prior map, region by region from votes pooled by place; owners damped like neighbours are.

    Args:
        corpus: as ``stages.build.with_owners`` gives it.
        name: of the index version.

    Returns:
        what it was found best to be made of.
    """
    spark = corpus.sparkSession
    places = pooled_places(corpus, run.config.geolocate.owner_damping).persist(StorageLevel.DISK_ONLY)
    wide = F.shiftright("cell", 2 * (prior.PLACE_ORDER - prior.WIDE_ORDER))
    everywhere = places.groupBy(wide.alias("cell"), "step").agg(F.sum("vote").alias("vote")).toArrow()
    shape = _shape(run, corpus, places)
    shared = spark.sparkContext.broadcast(_places(everywhere.sort_by([("cell", "ascending"), ("step", "ascending")])))
    # Every region has a row, for the sphere has no holes.
    bare = spark.range(prior.REGIONS).selectExpr(
        "id AS region", "-1L AS cell", "CAST(0 AS tinyint) AS step", "0L AS vote"
    )
    near = places.mapInArrow(_to_regions, spark_schema(_NEAR)).unionByName(bare)
    tasks = min(prior.REGIONS, 4 * spark.sparkContext.defaultParallelism)
    by_region = near.repartition(tasks, "region").sortWithinPartitions("region", "cell", "step")
    made = run.held(by_region.mapInArrow(partial(_prior_of, everywhere=shared, shape=shape), spark_schema(_PRIOR)))
    # In whole numbers, as votes: a sum of fractions has other last bits in another order of the tasks.
    units = F.sum(F.round(F.col("mass") * F.lit(_MASS_UNITS)).cast("bigint"))
    cells, mass = made.agg(F.count("*"), units / F.lit(_MASS_UNITS)).collect()[0]
    if abs(mass - 1.0) > _MASS_WITHIN:
        raise StageError(f"build: the prior's masses sum to {mass:.4f}; nothing was written")
    run.say(f"prior of {places.count()} places in {cells} cells")
    columns = made.select(F.lit(name).alias("index_version"), "cell", (F.col("mass") / F.lit(mass)).alias("mass"))
    run.lake.replace(PRIORS, f"index_version = '{name}'", columns)
    places.unpersist()
    return shape


def _shape(run: Run, corpus: DataFrame, places: DataFrame) -> prior.Shape:
    photos = corpus.select("photo_id", "latitude", "longitude", "owner")
    photos = photos.orderBy(F.xxhash64("photo_id", F.lit(_SALT)), "photo_id").limit(_PHOTOS)
    out = left_out(corpus, photos, places, run.config.geolocate.owner_damping)
    shape = fit_shape(out.columns)
    run.say(f"prior's kernels, by {len(out.columns)} photos without their owners: {shape.describe()}")
    return shape


@dataclass(frozen=True)
class LeftOut:
    """Photos, and the prior's kernels in the cells of their places without their owners' votes.

    Attributes:
        photo_id: (n,) increasing.
        owner: (n,) a hash.
        columns: (n, widths) densities by width, see ``posterior.prior_fit.kernel_columns``; of votes that sum to 1.
    """

    photo_id: np.ndarray
    owner: np.ndarray
    columns: np.ndarray


def left_out(corpus: DataFrame, photos: DataFrame, places: DataFrame, damping: float) -> LeftOut:
    """The prior's kernels in the cells where photos were taken, each photo's owner left out.

    Args:
        corpus: as ``stages.build.with_owners`` gives it.
        photos: some of it: photo_id, latitude, longitude, owner.
        places: as ``pooled_places`` gives them.
    """
    table = photos.toArrow().sort_by("photo_id")
    owner = table.column("owner").to_numpy()
    truth = unit_vectors(table.column("latitude").to_numpy(), table.column("longitude").to_numpy())
    points = cell_centres(POINTS_ORDER, cells_through(truth))
    pools = _places(places.toArrow().sort_by([("cell", "ascending"), ("step", "ascending")]))
    theirs = corpus.join(photos.select("owner").distinct(), "owner", "left_semi")
    keys = [("owner", "ascending"), ("cell", "ascending"), ("step", "ascending")]
    own = pooled_places(theirs, damping, by_owner=True).toArrow().sort_by(keys)
    own_places, own_owner = _places(own), own.column("owner").to_numpy()

    columns = kernel_columns(points, pools)
    everyone = float(pools.vote.sum())
    for who in np.unique(owner):
        mine = np.flatnonzero(owner == who)
        votes = own_places.take(np.flatnonzero(own_owner == who))
        rest = columns[mine] - kernel_columns(points[mine], votes)
        columns[mine] = np.maximum(rest, 0.0) / max(everyone - float(votes.vote.sum()), 1.0)
    return LeftOut(table.column("photo_id").to_numpy(), owner, columns)


def _places(table: pa.Table) -> prior.Places:
    column = (np.asarray(table.column(name).to_numpy()) for name in ("cell", "step", "vote"))
    cell, step, vote = column
    return prior.Places(cell, step, vote.astype(np.float64))


def _to_regions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """In a Python worker: each place, once for every region that it has a say in."""
    for batch in batches:
        table = pa.Table.from_batches([batch])
        which, region = prior.regions_near(table.column("cell").to_numpy())
        yield from table.take(which).append_column("region", pa.array(region)).select(_NEAR.names).to_batches()


def _prior_of(batches: Iterable[pa.RecordBatch], everywhere: object, shape: prior.Shape) -> Iterator[pa.RecordBatch]:
    """In a Python worker: the cells of each region."""
    maker = prior.PriorMaker(everywhere.value, shape)  # type: ignore[attr-defined]
    for region, table in runs_of(batches, "region"):
        places = _places(table)
        cells, mass = maker.region(region, places.take(np.flatnonzero(places.cell >= 0)))
        yield pa.RecordBatch.from_arrays([pa.array(cells), pa.array(mass)], schema=_PRIOR)


def pooled_places(corpus: DataFrame, damping: float, *, by_owner: bool = False) -> DataFrame:
    """Votes by cell of ``prior.PLACE_ORDER`` and step of accuracy (and by owner): cell, step, vote in fixed point.

    Args:
        corpus: as ``with_owners`` gives it.
        damping: power of the owner's number of photos that a vote is divided by.
    """
    vote = F.round(F.pow("owner_photos", F.lit(-damping)) * _VOTE_UNITS).cast("bigint")
    keys = ["owner"] if by_owner else []
    places = corpus.select("latitude", "longitude", "accuracy", vote.alias("vote"), *keys)
    fields = [("cell", pa.int64()), ("step", pa.int8()), ("vote", pa.int64()), *((key, pa.int64()) for key in keys)]
    pools = places.mapInArrow(_pool, spark_schema(pa.schema(fields)))
    return pools.groupBy("cell", "step", *keys).agg(F.sum("vote").alias("vote"))


def _pool(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        where = (batch.column(n).to_numpy(zero_copy_only=False) for n in ("latitude", "longitude"))
        cells = pa.array(cells_from_coordinates(prior.PLACE_ORDER, *where))
        steps = pa.array(prior.step_of(batch.column("accuracy").to_numpy(zero_copy_only=False)))
        rest = [name for name in batch.schema.names if name not in ("latitude", "longitude", "accuracy")]
        yield pa.RecordBatch.from_arrays(
            [cells, steps, *(batch.column(n) for n in rest)], names=["cell", "step", *rest]
        )


def read_prior(lake: Lake, version: str) -> MultiOrderMap:
    """The prior map of an index version.

    Raises:
        UsageError: there is none in the table.
    """
    table = lake.read(PRIORS).filter(F.col("index_version") == version).select("cell", "mass").toArrow()
    if not table.num_rows:
        raise UsageError(f"the table priors has no map of index {version}; run build with these tables")
    return MultiOrderMap.from_cells(table.column("cell").to_numpy(), table.column("mass").to_numpy()).check()


@dataclass(frozen=True)
class SharedPrior:
    """The prior of an index version, on its way to the Python workers.

    Attributes:
        version: of the index.
        columns: a broadcast of its cells and masses.
    """

    version: str
    columns: Any

    def background(self) -> Background:
        """The prior made ready. A worker keeps the last one: what it has worked out serves the next task."""
        if self.version not in _BACKGROUNDS:
            _BACKGROUNDS.clear()
            _BACKGROUNDS[self.version] = Background(MultiOrderMap(*self.columns.value))
        return _BACKGROUNDS[self.version]


_BACKGROUNDS: dict[str, Background] = {}


def shared_prior(lake: Lake, version: str) -> SharedPrior:
    """The prior of an index version, broadcast."""
    prior_map = read_prior(lake, version)
    return SharedPrior(version, lake.spark.sparkContext.broadcast((prior_map.cells, prior_map.mass)))
