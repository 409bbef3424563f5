"""The stages, by name. The only rooms that know Spark; each reads like a table of contents."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from im2gps_spark.config import Config
    from im2gps_spark.stages.run import Tally

ROAD = ("ingest", "describe", "train", "build", "calibrate", "geolocate", "evaluate", "atlas")
"""The stages from photos to maps, in order."""

STAGES = {
    "ingest": "lines of metadata into the table of photos",
    "describe": "photos into descriptors",
    "train": "a sample of descriptors into the quantizers of an index",
    "build": "the corpus' descriptors into the index's shards, and the prior map",
    "calibrate": "held-out owners of the corpus into the shares of the density",
    "geolocate": "a collection's photos into posteriors",
    "evaluate": "posteriors against true places",
    "atlas": "posteriors into a page of maps",
    "tune": "held-out photos into the recall of the index, and its cheapest search that reaches one",
    "maintain": "small files, old snapshots and orphans of the tables into room on the disk",
    "nightly": "a night's uploads: ingest, describe, geolocate, evaluate; then they join the corpus",
    "forget": "photos and owners out of tables, index and snapshots, for good",
}


def stage(name: str) -> Callable[[SparkSession, Config], Tally]:
    """The function of a stage; it is imported when it is asked for."""
    function: Callable[[SparkSession, Config], Tally] = getattr(import_module(f"im2gps_spark.stages.{name}"), name)
    return function
