"""The one place that makes a Spark session, and stops only what it made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark import SparkConf
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.store.tables import CATALOG

ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"


def catalog_settings(config: Config) -> dict[str, str]:
    """The settings that name the catalog; they hold for a session that is running already, too."""
    catalog = f"spark.sql.catalog.{CATALOG}"
    return {
        catalog: "org.apache.iceberg.spark.SparkCatalog",
        f"{catalog}.type": "hadoop",
        f"{catalog}.warehouse": str(Path(config.tables.warehouse).absolute()),
        # One run that changes a table must not make another plan a read on half-old listings.
        f"{catalog}.cache-enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        # A batch of descriptors is 5 KB a row: by rows alone a worker's memory would follow the vectors' length.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
        "spark.sql.execution.arrow.maxBytesPerBatch": str(16 * 2**20),
    }


def local_settings(config: Config) -> dict[str, str]:
    """What a local session has besides: spark-submit gives these by conf/spark-defaults.conf."""
    # A jar that is there is named by its path: asking the resolver again costs a second and a page of its talk.
    jar = _downloaded(ICEBERG)
    return {
        "spark.jars": str(jar) if jar.exists() else "",
        "spark.jars.packages": "" if jar.exists() else ICEBERG,
        "spark.sql.extensions": _EXTENSIONS,
        "spark.driver.memory": config.spark.driver_memory,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        # Thousands of photos, not billions, run locally: 200 shuffle partitions would be all overhead.
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file:{Path(__file__).parent}/log4j2.properties",
        **config.spark.conf,
    }


def _downloaded(coordinates: str) -> Path:
    """Where Spark's resolver leaves a package's jar."""
    return Path.home() / ".ivy2.5.2" / "jars" / (coordinates.replace(":", "_", 1).replace(":", "-") + ".jar")


@contextmanager
def session(config: Config, name: str) -> Iterator[SparkSession]:
    """A session with the project's catalog: the running one's, spark-submit's, or a local one made and stopped here.

    Raises:
        UsageError: there is no Java to start one with, or spark-submit came without Iceberg.
    """
    running = _running()
    if running is not None:
        yield _with_catalog(running, catalog_settings(config))
        return
    made = _start(config, name)
    try:
        yield made
    finally:
        made.stop()


def _running() -> SparkSession | None:
    """The session that there is, be it another thread's: getOrCreate would hand it out as if it were new."""
    try:
        return SparkSession.active()
    except PySparkRuntimeError:
        return None


def _with_catalog(running: SparkSession, settings: dict[str, str]) -> SparkSession:
    """The session itself, or one beside it if it has another warehouse: it keeps the catalog that it opened first."""
    warehouse = f"spark.sql.catalog.{CATALOG}.warehouse"
    if running.conf.get(warehouse, settings[warehouse]) != settings[warehouse]:
        running = running.newSession()
    for key, value in settings.items():
        running.conf.set(key, value)
    return running


def _start(config: Config, name: str) -> SparkSession:
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    settings = SparkConf().setAppName(f"im2gps {name}")
    if not submitted:
        # Workers must be this interpreter: another one on the PATH has none of the packages.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        # One thread a task: OpenMP's pools times Spark's tasks would fight for the same cores.
        for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(variable, "1")
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        settings.setMaster(config.spark.master).setAll(list(local_settings(config).items()))
    settings.setAll(list(catalog_settings(config).items()))
    try:
        made = SparkSession.builder.config(conf=settings).getOrCreate()
    except Exception as error:
        if "JAVA_GATEWAY_EXITED" in str(error):
            raise UsageError(
                "Spark did not start: install Java 17 or 21 and put it on the PATH or in JAVA_HOME "
                "(the first start also downloads Iceberg and needs a network)"
            ) from error
        raise
    extensions = made.conf.get("spark.sql.extensions", "") or ""
    if _EXTENSIONS not in extensions:
        made.stop()
        raise UsageError(
            f"the session lacks Iceberg: call spark-submit with --properties-file conf/spark-defaults.conf, "
            f"or with --packages {ICEBERG} --conf spark.sql.extensions={_EXTENSIONS}"
        )
    return made


def prepare() -> None:
    """Starts a session once, so that its Java libraries are there before anyone waits for them."""
    with session(Config(), "set-up"):
        pass


if __name__ == "__main__":
    prepare()
