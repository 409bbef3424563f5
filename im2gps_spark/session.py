"""The one place that makes a Spark session, and stops only what it made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from im2gps_spark.config import Config, TablesSection
from im2gps_spark.errors import UsageError
from im2gps_spark.store.tables import CATALOG

ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0"
ICEBERG_AWS = "org.apache.iceberg:iceberg-aws-bundle:1.12.0"
"""What tables in S3 need besides."""

_S3_FILES = "org.apache.iceberg.aws.s3.S3FileIO"
_CATALOG = f"spark.sql.catalog.{CATALOG}"
_EXTENSIONS = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"


def catalog_settings(config: Config) -> dict[str, str]:
    """The settings that name the catalog; they hold for a session that is running already, too."""
    catalog = {
        "warehouse": str(Path(config.tables.warehouse).absolute()),
        "type": "hadoop",
        # One run that changes a table must not make another plan a read on half-old listings.
        "cache-enabled": "false",
        **(_rest_catalog(config) if config.tables.catalog else {}),
    }
    return {
        _CATALOG: "org.apache.iceberg.spark.SparkCatalog",
        **{f"{_CATALOG}.{key}": value for key, value in catalog.items()},
        "spark.sql.session.timeZone": "UTC",
        # A batch of descriptors is 5 KB a row: by rows alone a worker's memory would follow the vectors' length.
        "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
        "spark.sql.execution.arrow.maxBytesPerBatch": str(16 * 2**20),
    }


def _rest_catalog(config: Config) -> dict[str, str]:
    """Credentials, for the catalog and for the store, are those that the JVM's standard chain finds."""
    signed = {
        "rest.auth.type": "sigv4",
        "rest.signing-name": config.tables.signing,
        "rest.signing-region": config.s3.region,
    }
    store = {"s3.endpoint": config.s3.endpoint, "s3.path-style-access": "true"}
    return {
        "type": "rest",
        "uri": config.tables.catalog,
        "warehouse": config.tables.warehouse,
        "io-impl": _S3_FILES,
        "client.region": config.s3.region,
        **(store if config.s3.endpoint else {}),
        **(signed if config.tables.signing else {}),
    }


def local_settings(config: Config) -> dict[str, str]:
    """What a local session has besides: spark-submit gives these by conf/spark-defaults.conf."""
    # A jar that is there is named by its path: asking the resolver again costs a second and a page of its talk.
    libraries = {name: _downloaded(name) for name in (ICEBERG, *([ICEBERG_AWS] if config.tables.catalog else []))}
    return {
        "spark.jars": ",".join(str(jar) for jar in libraries.values() if jar.exists()),
        "spark.jars.packages": ",".join(name for name, jar in libraries.items() if not jar.exists()),
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
        _check_libraries(running, config)
        yield _with_catalog(running, catalog_settings(config))
        return
    made = _start(config, name)
    try:
        _check_libraries(made, config)
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
    """The session itself, or one beside it if it has another catalog: it keeps the one that it opened first."""
    there = {key: value for key, value in running.conf.getAll.items() if key.startswith(f"{_CATALOG}.")}
    if there and there != {key: value for key, value in settings.items() if key.startswith(f"{_CATALOG}.")}:
        running = running.newSession()
        for key in there:
            running.conf.unset(key)
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
    return made


def _check_libraries(made: SparkSession, config: Config) -> None:
    """Refuses a session of spark-submit that lacks what the tables need."""
    submit = "call spark-submit with --properties-file conf/spark-defaults.conf, or with --packages"
    if _EXTENSIONS not in (made.conf.get("spark.sql.extensions", "") or ""):
        raise UsageError(f"the session lacks Iceberg: {submit} {ICEBERG} --conf spark.sql.extensions={_EXTENSIONS}")
    if config.tables.catalog:
        try:
            made._jvm.org.apache.spark.util.Utils.classForName(_S3_FILES, True, False)  # type: ignore[union-attr]
        except Py4JJavaError as error:
            raise UsageError(f"the session lacks Iceberg's S3: {submit} {ICEBERG},{ICEBERG_AWS}") from error


def prepare() -> None:
    """Starts a session once, so that its Java libraries are there before anyone waits for them."""
    with session(Config(tables=TablesSection(catalog="http://127.0.0.1")), "set-up"):
        pass  # nothing is asked of the catalog


if __name__ == "__main__":
    prepare()
