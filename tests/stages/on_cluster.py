"""The road in one session on a cluster: what a driver does, as a process that a test can watch.

    python -m tests.stages.on_cluster CONFIG UPLOADS

It says ``at STAGE`` before each stage, and ``done`` at the end.
"""

from __future__ import annotations

import json
import sys

from im2gps_spark import config
from im2gps_spark.session import session
from im2gps_spark.stages import ROAD, stage

STAGES = ROAD[: ROAD.index("geolocate") + 1]


def main(file: str, uploads: str) -> None:
    as_uploads = ["photos.collection=uploads", f"photos.metadata={json.dumps([uploads])}"]
    with session(config.load(file), "cluster") as spark:
        for name, changed in [("ingest", []), ("ingest", as_uploads), *((name, []) for name in STAGES[1:])]:
            say(f"at {name}")
            # Copies of the index are fetched anew for each stage.
            stage(name)(spark, config.load(file, [*changed, f"index.cache={file}.{name}"]))
    say("done")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
