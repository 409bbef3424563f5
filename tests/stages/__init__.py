"""What the tests of the stages share: folders with tables of their own, and lines of metadata written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from im2gps_spark import config as configuration
from im2gps_spark.config import Config
from im2gps_spark.grid import MultiOrderMap
from im2gps_spark.photos.metadata import COLUMNS_25
from im2gps_spark.sample import SampleFacts
from im2gps_spark.sample.plan import Plan
from im2gps_spark.session import session
from im2gps_spark.stages import ROAD, stage
from im2gps_spark.stages.run import Tally
from im2gps_spark.store.lake import Lake
from im2gps_spark.store.tables import Table


@dataclass(frozen=True)
class Workshop:
    """A folder with a warehouse, an index, an atlas, an evaluation and the configuration that names them.

    Attributes:
        file: the configuration; tables, index and page lie beside it.
    """

    file: Path

    @classmethod
    def opened(cls, folder: Path, **sections: Mapping[str, object]) -> Workshop:
        """A workshop in a folder, configured by sections."""
        places: dict[str, dict[str, object]] = {
            "tables": {"warehouse": str(folder / "warehouse")},
            "index": {"root": str(folder / "index")},
            "tune": {"page": str(folder / "tuning" / "index.html")},
            "evaluate": {"page": str(folder / "evaluation" / "index.html")},
            "atlas": {"folder": str(folder / "atlas")},
        }
        lines = []
        for name in {**places, **sections}:
            lines.append(f"[{name}]")
            # Text, numbers and lists of them are written alike in JSON and TOML.
            values = {**places.get(name, {}), **sections.get(name, {})}
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        file = folder / "im2gps.toml"
        file.write_text("\n".join(lines) + "\n", "utf-8")
        return cls(file)

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self.file.parent

    def config(self, *overrides: str) -> Config:
        """The configuration, with overrides as ``--set`` takes them."""
        return configuration.load(self.file, overrides)

    def run(self, name: str, *overrides: str) -> Tally:
        """Runs a stage."""
        config = self.config(*overrides)
        with session(config, name) as spark:
            return stage(name)(spark, config)

    @contextmanager
    def lake(self) -> Iterator[Lake]:
        """Its tables."""
        with session(self.config(), "test") as spark:
            yield Lake(spark)

    def rows(self, table: Table, where: str = "true") -> list[dict[str, Any]]:
        """The rows of a table as dictionaries, in an order of their own."""
        with self.lake() as lake:
            found: list[dict[str, Any]] = lake.read(table).filter(where).toArrow().to_pylist()
        return sorted(found, key=repr)

    def plain(self, table: Table) -> list[dict[str, Any]]:
        """The rows of a table without when they were made and by whom, in an order of their own."""
        rows = ({k: v for k, v in row.items() if k not in table.provenance} for row in self.rows(table))
        return sorted(rows, key=repr)

    def delete(self, table: Table, where: str) -> None:
        """Takes rows away behind the stages' backs."""
        with self.lake() as lake:
            lake.spark.sql(f"DELETE FROM {table.path} WHERE {where}")

    def files(self) -> dict[str, tuple[int, int]]:
        """Every file of the tables, the index and the page: its size and when it was written."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and path != self.file)
        return {
            str(path.relative_to(self.folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(found)
        }


@dataclass(frozen=True)
class Sample:
    """The sample collection: its folder, what it is drawn from, and what must come of it."""

    folder: Path
    plan: Plan
    facts: SampleFacts


@dataclass(frozen=True)
class Road:
    """A workshop in which every stage has run on the sample.

    Attributes:
        sample: which.
        workshop: where.
        tallies: what each stage gave back; ingest as ``ingest corpus`` and ``ingest uploads``.
    """

    sample: Sample
    workshop: Workshop
    tallies: dict[str, Tally]

    def run(self) -> dict[str, Tally]:
        """All stages, in their order."""
        uploads = json.dumps([str(self.sample.folder / "photos" / "uploads.tsv")])
        as_uploads = ("photos.collection=uploads", f"photos.metadata={uploads}")
        tallies = {
            "ingest corpus": self.workshop.run("ingest"),
            "ingest uploads": self.workshop.run("ingest", *as_uploads),
        }
        return tallies | {name: self.workshop.run(name) for name in ROAD[1:]}


def map_of(row: Mapping[str, Any]) -> MultiOrderMap:
    """The map in a row of ``posteriors``; refused unless its cells are sorted and cover the sphere once."""
    cells = np.array([cell["cell"] for cell in row["map"]], np.int64)
    return MultiOrderMap(cells, np.array([cell["mass"] for cell in row["map"]]))


def line(
    photo_id: int, owner: str, latitude: float | None = None, longitude: float | None = None, **others: str
) -> str:
    """A line of metadata in 25 columns, with a geotag or without, and other fields as they are written."""
    fields = {
        "photo_id": str(photo_id),
        "hash": f"{photo_id:032x}",
        "owner_id": owner,
        "extension": "jpg",
        "marker": "0",
    }
    if latitude is not None and longitude is not None:
        fields |= {"latitude": str(latitude), "longitude": str(longitude), "accuracy": "16"}
    return "\t".join((fields | others).get(name, "") for name in COLUMNS_25) + "\n"
