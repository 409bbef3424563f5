"""The command ``im2gps``, and what the scripts in ``jobs/`` call. Exit status: 0 done, 1 failed, 2 wrong arguments."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from im2gps_spark import __version__, config
from im2gps_spark.errors import StageError, UsageError
from im2gps_spark.stages import STAGES, stage

log = logging.getLogger("im2gps_spark")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return guarded(lambda: options.run(options), verbose=options.verbose)


def run_job(name: str) -> None:
    """A stage as a script for spark-submit: exits with the status."""
    parser = _Parser(prog=f"{name}.py", description=STAGES[name])
    _stage_options(parser)
    _own_options(name, parser)
    options = parser.parse_args()
    sys.exit(guarded(lambda: _run_stage(name, options), verbose=options.verbose))


def guarded(work: Callable[[], None], *, verbose: bool = False) -> int:
    """Does some work, and turns its failure into one line on standard error and a status."""
    _start_logging()
    try:
        work()
    except UsageError as error:
        return _fail(error, 2, verbose)
    except StageError as error:
        return _fail(error, 1, verbose)
    except KeyboardInterrupt:
        print("im2gps: interrupted; what was not committed is as it was", file=sys.stderr)
        return 1
    except Exception as error:
        return _fail(error, 1, verbose)
    return 0


def _fail(error: Exception, status: int, verbose: bool) -> int:
    if verbose:
        log.error("failed", exc_info=error)
    print(f"im2gps: {_one_line(error)}", file=sys.stderr)
    return status


def _one_line(error: Exception) -> str:
    """What is to be told of an error. One that was raised in a Spark worker comes wrapped in two stack traces."""
    if isinstance(error, UsageError | StageError):
        return " ".join(str(error).split())
    text = str(error)
    for kind in (StageError, UsageError):
        _, marker, rest = text.rpartition(f"{kind.__module__}.{kind.__name__}: ")
        if marker and rest.strip():
            return rest.splitlines()[0].strip()
    first = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {first[:500]} (--verbose shows where)"


def _start_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("im2gps_spark")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _run_stage(name: str, options: argparse.Namespace) -> None:
    _, overrides = _OWN.get(name, _NONE)
    settings = config.load(options.config, [*options.set, *overrides(options)])
    from im2gps_spark.session import (
        session,  # Spark takes a second to import: not before the options are right
    )

    with session(settings, name) as spark:
        stage(name)(spark, settings)


def _run_sample(options: argparse.Namespace) -> None:
    from im2gps_spark.sample import make_sample

    try:
        facts = make_sample(
            Path(options.folder), corpus=options.corpus, uploads=options.uploads, seed=options.seed, progress=log.info
        )
    except (ValueError, ModuleNotFoundError) as error:
        raise UsageError(str(error)) from error
    log.info("sample: %d lines of corpus, %d of uploads", facts.corpus.lines, facts.uploads.lines)


def _run_model(options: argparse.Namespace) -> None:
    from im2gps_spark.descriptors.lite0 import write_model

    write_model(Path(options.file))
    log.info("model: wrote %s", options.file)


def _run_demo(options: argparse.Namespace) -> None:
    from im2gps_spark.demo import demo

    demo(Path(options.folder), options.photos, options.metadata, options.set, options.where)


def _run_query(options: argparse.Namespace) -> None:
    settings = config.load(options.config, options.set)
    from im2gps_spark.analyst import query

    print(query(settings, options.sql), end="")


def _run_export(options: argparse.Namespace) -> None:
    asked = {"engine": options.engine, "night": options.night}
    named = [f"geolocate.{key}={value}" for key, value in asked.items() if value is not None]
    settings = config.load(options.config, [*options.set, *named])
    file = Path(options.to)
    if file.suffix != ".fits" or file.is_dir():
        raise UsageError(f"--to {file}: must name a file that ends in .fits")
    from im2gps_spark.posterior.skymap import need_astropy

    need_astropy()
    from im2gps_spark.session import session
    from im2gps_spark.stages.export import export

    with session(settings, "export") as spark:
        export(spark, settings, options.photo, file)


def _run_manifest(options: argparse.Namespace) -> None:
    settings = config.load(options.config, options.set)
    if not settings.photos.root:
        raise UsageError("photos.root is not set: name the folder, or s3://BUCKET/PREFIX, that is to be listed")
    from im2gps_spark.store.manifest import write_manifest

    file, asked = Path(options.to), settings.describe
    count = write_manifest(settings.photos.root, file, settings.s3, asked.fetch_threads, asked.retry_deadline_s)
    log.info("manifest: wrote %s, %d rows", file, count)


def _run_versions(options: argparse.Namespace) -> None:
    settings = config.load(options.config, options.set)
    from im2gps_spark.versions import change_versions, library_of, version_table

    library = library_of(settings)
    if options.use is not None or options.keep is not None:
        for name in change_versions(library, options.use, options.keep):
            log.info("versions: %s removed", name)
    print("\n".join(version_table(library)))


def _stage_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="TOML file (conf/local.toml shows every key)")
    _common_options(parser)


def _own_options(name: str, parser: argparse.ArgumentParser) -> None:
    add, _ = _OWN.get(name, _NONE)
    add(parser)


def _forget_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photo", action="append", default=[], metavar="ID", help="a photo; may be repeated")
    parser.add_argument("--owner", action="append", default=[], metavar="ID", help="all of an owner; may be repeated")
    parser.add_argument("--file", metavar="LIST", help="one a line: a photo's id, an owner's (with @, or owner:ID)")


def _forget_overrides(options: argparse.Namespace) -> list[str]:
    photos = [f"forget.photos=[{','.join(options.photo)}]"] if options.photo else []
    # Text and lists of it are written alike in JSON and TOML.
    texts = {"owners": options.owner, "file": options.file}
    return photos + [f"forget.{key}={json.dumps(text, ensure_ascii=False)}" for key, text in texts.items() if text]


def _nightly_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--night", metavar="DATE", help="such as 2026-11-23; geolocate.night, or today (UTC)")


def _nightly_overrides(options: argparse.Namespace) -> list[str]:
    return [f"geolocate.night={options.night}"] if options.night else []


def _tune_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--recall", metavar="SHARE", help="to be reached at the least work, such as 0.95; tune.recall")


def _tune_overrides(options: argparse.Namespace) -> list[str]:
    return [f"tune.recall={options.recall}"] if options.recall else []


_Own = tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], list[str]]]
_NONE: _Own = (lambda _: None, lambda _: [])
_OWN: dict[str, _Own] = {
    "forget": (_forget_options, _forget_overrides),
    "nightly": (_nightly_options, _nightly_overrides),
    "tune": (_tune_options, _tune_overrides),
}
"""Of the stages that have options of their own: what adds them, and what makes overrides of them."""


def _common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="overrides a key")
    parser.add_argument("--verbose", action="store_true", help="where an error happened, too")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is under --help."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="im2gps", description="Where on Earth was a photo taken?")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, does in STAGES.items():
        command = commands.add_parser(name, help=does, description=does)
        _stage_options(command)
        _own_options(name, command)
        command.set_defaults(run=lambda options, name=name: _run_stage(name, options))

    sample = commands.add_parser("sample", help="make a collection of real imagery with known places")
    sample.add_argument("folder", metavar="DIR")
    sample.add_argument("--corpus", type=int, default=3000, help="good photos to index")
    sample.add_argument("--uploads", type=int, default=300, help="good photos to locate")
    sample.add_argument("--seed", type=int, default=2008)
    sample.add_argument("--verbose", action="store_true", help=argparse.SUPPRESS)
    sample.set_defaults(run=_run_sample)

    demo = commands.add_parser("demo", help="the whole road on the sample, or on your own photos")
    demo.add_argument("folder", metavar="DIR", help="where everything is written")
    demo.add_argument("--photos", metavar="DIR", help="your own photos instead of the sample")
    demo.add_argument("--metadata", metavar="FILE", help="their metadata in YFCC100M's format")
    demo.add_argument(
        "--where",
        choices=("disk", "s3", "cluster"),
        default="disk",
        help="photos, index and tables on disk; in an S3 server of the demo's own; there, on a cluster of its own",
    )
    _common_options(demo)
    demo.set_defaults(run=_run_demo)

    query = commands.add_parser("query", help="SQL on the tables, without Spark (needs the extra duckdb)")
    query.add_argument("sql", metavar="SQL", help="every table is there under its name: photos, posteriors, ...")
    _stage_options(query)
    query.set_defaults(run=_run_query)

    export = commands.add_parser("export", help="a photo's map as a FITS file (needs the extra fits)")
    export.add_argument("--photo", type=int, required=True, metavar="ID", help="photo_id in the table posteriors")
    export.add_argument("--to", required=True, metavar="FILE.fits", help="replaced if it is there")
    export.add_argument("--engine", help="which answer; geolocate.engine if not given")
    export.add_argument("--night", metavar="DATE", help="of which night; geolocate.night, or the latest")
    _stage_options(export)
    export.set_defaults(run=_run_export)

    manifest = commands.add_parser("manifest", help="a list of what lies below photos.root: uri, key, bytes, ...")
    manifest.add_argument("--to", required=True, metavar="FILE", help=".parquet, .tsv or .tsv.gz; replaced if there")
    _stage_options(manifest)
    manifest.set_defaults(run=_run_manifest)

    versions = commands.add_parser(
        "versions", help="the index versions: which is in use, back to another, old ones out"
    )
    versions.add_argument("--use", metavar="NAME", help="take this version into use")
    versions.add_argument("--keep", type=int, metavar="N", help="remove all but the one in use and the latest others")
    _stage_options(versions)
    versions.set_defaults(run=_run_versions)

    model = commands.add_parser("model", help="write the default learned descriptor as an ONNX file")
    model.add_argument("file", metavar="OUT.onnx")
    model.add_argument("--verbose", action="store_true", help=argparse.SUPPRESS)
    model.set_defaults(run=_run_model)
    return parser


if __name__ == "__main__":
    sys.exit(main())
