"""A photo's answer as a row: the Arrow form of what ``posteriors`` and ``neighbours`` hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from im2gps_spark.neighbours import Candidates
from im2gps_spark.posterior.summary import Summary
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

POSTERIOR: list[pa.Field] = [
    pa.field("mode_latitude", pa.float64()),
    pa.field("mode_longitude", pa.float64()),
    pa.field("mode_h3", pa.int64()),
    pa.field("median_latitude", pa.float64()),
    pa.field("median_longitude", pa.float64()),
    pa.field("entropy", pa.float64()),
    pa.field("information_bits", pa.float64()),
    pa.field("information_over_prior_bits", pa.float64()),
    pa.field("area50_km2", pa.float64()),
    pa.field("area90_km2", pa.float64()),
    pa.field("regions", pa.list_(_REGION)),
    pa.field("map", pa.list_(pa.struct([("cell", pa.int64()), ("mass", pa.float64())]))),
]

NEIGHBOUR: list[pa.Field] = [
    pa.field("rank", pa.int32()),
    pa.field("neighbour_id", pa.int64()),
    pa.field("distance", pa.float64()),
    pa.field("weight", pa.float64()),
    pa.field("latitude", pa.float64()),
    pa.field("longitude", pa.float64()),
]


def to_row(photo_id: int, summary: Summary, near: Candidates, weights: Floats, kept: int) -> dict[str, Any]:
    """The answer of one photo, with the first ``kept`` of its neighbours; ranks start at 1."""
    mode, median = coordinates(summary.mode), coordinates(summary.median)
    return {
        "photo_id": photo_id,
        "posterior": {
            "mode_latitude": float(mode[0]),
            "mode_longitude": float(mode[1]),
            "mode_h3": summary.mode_h3,
            "median_latitude": float(median[0]),
            "median_longitude": float(median[1]),
            "entropy": summary.entropy,
            "information_bits": summary.information_bits,
            "information_over_prior_bits": summary.information_over_prior_bits,
            "area50_km2": summary.area50_km2,
            "area90_km2": summary.area90_km2,
            "regions": _regions(summary),
            "map": [
                {"cell": cell, "mass": mass}
                for cell, mass in zip(summary.map.cells.tolist(), summary.map.mass.tolist(), strict=True)
            ],
        },
        "neighbours": [
            {
                "rank": i + 1,
                "neighbour_id": int(near.photo_id[i]),
                "distance": float(near.distance[i]),
                "weight": float(weights[i]),
                "latitude": float(near.latitude[i]),
                "longitude": float(near.longitude[i]),
            }
            for i in range(min(kept, len(near)))
        ],
    }


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
