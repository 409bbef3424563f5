"""What tests share: their order, one Spark for all of them, and one road run on it from end to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from im2gps_spark.config import Config, TablesSection
from im2gps_spark.sample import make_sample
from im2gps_spark.sample.imagery import BlueMarble
from im2gps_spark.sample.objects import Server, serving
from im2gps_spark.sample.plan import Parameters, Plan
from im2gps_spark.session import local_settings, session
from tests.stages import Road, Sample, Workshop

SAMPLE = Parameters(corpus=400, uploads=40, seed=2008)
NIGHT = "2026-11-23"
# Tables of a few hundred rows are done before the JVM's optimising compiler pays off. What the quick one compiles must
# then have room, for the room that it gets by default is soon full.
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m -XX:MetaspaceSize=256m -XX:+UseSerialGC"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests that need Spark come last, whatever their files are called."""
    items.sort(key=lambda item: item.get_closest_marker("spark") is not None)


@pytest.fixture(scope="session")
def spark(objects: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one Spark of a test run, on two cores. What needs it marks itself with ``spark``.

    Its workers have the environment that it began with: the store's credentials are in it by then.

    Stages ask ``im2gps_spark.session`` for a session by their configuration: with this one running they get it, or
    one beside it for another warehouse.
    """
    # With what tables in S3 need: a session can't be given libraries later.
    settings_in_s3 = local_settings(Config(tables=TablesSection(catalog=objects.catalog)))
    conf = {
        **{key: settings_in_s3[key] for key in ("spark.jars", "spark.jars.packages")},
        "spark.driver.extraJavaOptions": f"{settings_in_s3['spark.driver.extraJavaOptions']} {QUICK_START}",
        "spark.sql.shuffle.partitions": "2",
    }
    folder = tmp_path_factory.mktemp("spark")
    settings = {
        "tables": {"warehouse": str(folder / "warehouse")},
        "spark": {"master": "local[2]", "driver_memory": "2g", "conf": conf},
    }
    with session(Config.model_validate(settings), "tests") as made:
        yield made


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real S3 server with a bucket ``photos``, and its credentials where the standard chain looks for them."""
    served = serving(tmp_path_factory.mktemp("objects"), public=["multimedia-commons"])
    with served as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.keys.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A sample small enough to be run through all stages in a minute, with every fault of the large one."""
    folder = tmp_path_factory.mktemp("sample") / "sample"
    facts = make_sample(folder, corpus=SAMPLE.corpus, uploads=SAMPLE.uploads, seed=SAMPLE.seed)
    return Sample(folder, Plan.draw(SAMPLE, BlueMarble.load()), facts)


@pytest.fixture(scope="session")
def road(spark: SparkSession, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Road:
    """The whole road on the sample. Tests leave its tables as they are, but for ``runs`` and ``reasons``."""
    photos, truth = sample.folder / "photos", str(sample.folder / "truth.csv")
    workshop = Workshop.opened(
        tmp_path_factory.mktemp("road"),
        photos={
            "root": str(photos),
            "key": "images/{photo_id}.jpg",
            "metadata": [str(photos / "corpus.tsv.gz"), str(photos / "corpus-old.tsv")],
        },
        # A night of its own: a run at midnight is one night's too.
        geolocate={"exclude_same_owner": True, "night": NIGHT},
        evaluate={"truth": truth, "bootstrap": 200},
        atlas={"truth": truth, "photos": SAMPLE.uploads},
    )
    made = Road(sample, workshop, {})
    made.tallies.update(made.run())
    return made
