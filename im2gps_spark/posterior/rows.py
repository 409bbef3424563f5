"""A photo's answer as a row: the Arrow form of what ``posteriors`` and ``neighbours`` hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.points import DISC_RADII_KM
from im2gps_spark.posterior.summary import AREA_LEVELS, Summary
from im2gps_spark.sphere import Floats, coordinates

_REGION = pa.struct(
    [
        ("rank", pa.int32()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("mass", pa.float64()),
        ("area_km2", pa.float64()),
        ("radius_km", pa.float64()),
        ("country", pa.string()),
        ("place", pa.string()),
    ]
)

_MAP = pa.struct([("cell", pa.int64()), ("mass", pa.float64())])

POSTERIOR: list[pa.Field] = [
    pa.field("mode_latitude", pa.float64()),
    pa.field("mode_longitude", pa.float64()),
    pa.field("mode_h3", pa.int64()),
    pa.field("median_latitude", pa.float64()),
    pa.field("median_longitude", pa.float64()),
    *(
        pa.field(f"disc{radius:g}_{axis}", pa.float64())
        for radius in DISC_RADII_KM
        for axis in ("latitude", "longitude")
    ),
    pa.field("entropy", pa.float64()),
    pa.field("information_bits", pa.float64()),
    pa.field("information_over_prior_bits", pa.float64()),
    pa.field("no_more_than_prior", pa.bool_()),
    *(pa.field(f"area{round(100 * level)}_km2", pa.float64()) for level in AREA_LEVELS),
    pa.field("regions", pa.list_(_REGION)),
    pa.field("map", pa.list_(_MAP)),
]

NEIGHBOUR: list[pa.Field] = [
    pa.field("rank", pa.int32()),
    pa.field("neighbour_id", pa.int64()),
    pa.field("distance", pa.float64()),
    pa.field("weight", pa.float64()),
    pa.field("latitude", pa.float64()),
    pa.field("longitude", pa.float64()),
]


ANSWER = pa.schema(
    [("photo_id", pa.int64()), ("posterior", pa.struct(POSTERIOR)), ("neighbours", pa.list_(pa.struct(NEIGHBOUR)))]
)
"""A photo's answer: its row of ``posteriors`` but for what the stage knows, and its rows of ``neighbours``."""


def to_batch(
    photo_ids: list[int], summaries: list[Summary], neighbours: list[tuple[Candidates, Floats]]
) -> pa.RecordBatch:
    """Photos' answers as a batch of ``ANSWER``.

    Args:
        neighbours: of each photo those to be kept, nearest first, and their weights; ranks start at 1.
    """
    values = [_scalars(summary) for summary in summaries]
    columns = [pa.array([row[field.name] for row in values], field.type) for field in POSTERIOR[:-1]]
    maps = [(summary.map.cells, summary.map.mass) for summary in summaries]
    posterior = pa.StructArray.from_arrays([*columns, _lists(_MAP, maps)], fields=POSTERIOR)
    near = [
        (np.arange(1, len(c) + 1), c.photo_id, c.distance, weights, c.latitude, c.longitude)
        for c, weights in neighbours
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(photo_ids, pa.int64()), posterior, _lists(pa.struct(NEIGHBOUR), near)], schema=ANSWER
    )


def _lists(kind: pa.StructType, rows: Sequence[tuple[np.ndarray, ...]]) -> pa.ListArray:
    """A list of structs a row, from the structs' columns; by arrays, for a map has hundreds of cells."""
    ends = np.concatenate([[0], np.cumsum([len(row[0]) for row in rows])])
    fields = [
        pa.array(np.concatenate([row[i] for row in rows]), kind.field(i).type, safe=False)
        for i in range(kind.num_fields)
    ]
    structs = pa.StructArray.from_arrays(fields, fields=list(kind))
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), structs)


def _scalars(summary: Summary) -> dict[str, Any]:
    values: dict[str, Any] = {
        "mode_h3": summary.mode_h3,
        "entropy": summary.entropy,
        "information_bits": summary.information_bits,
        "information_over_prior_bits": summary.information_over_prior_bits,
        "no_more_than_prior": summary.no_more_than_prior,
        "regions": _regions(summary),
    }
    points = {"mode": summary.mode, "median": summary.median}
    points |= {f"disc{radius:g}": disc for radius, disc in zip(DISC_RADII_KM, summary.discs, strict=True)}
    for name, point in points.items():
        latitude, longitude = coordinates(point)
        values |= {f"{name}_latitude": float(latitude), f"{name}_longitude": float(longitude)}
    for level, area in zip(AREA_LEVELS, summary.areas_km2, strict=True):
        values[f"area{round(100 * level)}_km2"] = float(area)
    return values


def _regions(summary: Summary) -> list[dict[str, Any]]:
    rows = []
    for rank, (part, name) in enumerate(zip(summary.parts, summary.names, strict=True), start=1):
        latitude, longitude = coordinates(part.peak)
        rows.append(
            {
                "rank": rank,
                "latitude": float(latitude),
                "longitude": float(longitude),
                "mass": part.mass,
                "area_km2": part.area_km2,
                "radius_km": part.radius_km,
                "country": name.country,
                "place": name.place,
            }
        )
    return rows
