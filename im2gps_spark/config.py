"""Typed configuration: a TOML file, overridden by ``--set section.key=value``.

Every key, its type and its default stand here and nowhere else. Whatever is wrong with a configuration is reported
at once, each fault by the name of its key.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from im2gps_spark.descriptors.onnx_settings import OnnxSettings
from im2gps_spark.descriptors.registry import NAMES as DESCRIPTORS
from im2gps_spark.errors import UsageError
from im2gps_spark.photos.key import PhotoKey
from im2gps_spark.posterior.settings import PosteriorSettings
from im2gps_spark.store.settings import SCHEME, S3Settings


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str | int) else value


Strings = Annotated[list[str], BeforeValidator(_one_or_many)]
PhotoId = Annotated[int, Field(ge=1, lt=2**63)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class Section(BaseModel):
    """A part of the configuration: unknown keys and wrong types are refused, nothing is changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PhotosSection(Section):
    """Where a collection's photos and their metadata lie."""

    collection: Name = "corpus"
    """The collection that ``ingest`` fills."""
    root: str = ""
    """Folder that the keys start from, or s3://BUCKET/PREFIX."""
    key: str = "{photo_id}.jpg"
    """A photo's path below the root; {photo_id}, {hash}, {owner_id}, {extension}, sliced as {hash:0:3}."""
    metadata: Strings = []
    """Files in YFCC100M's format, or folders of them, on disk or s3://BUCKET/KEY.

    Compressed ones are known by their first bytes.
    """

    @field_validator("key")
    @classmethod
    def _key_is_a_template(cls, value: str) -> str:
        PhotoKey(value)
        return value


class TablesSection(Section):
    """The catalog of Iceberg tables: a folder, or a REST catalog with its tables in S3."""

    warehouse: str = "warehouse"
    """Folder of the tables; with a catalog, the warehouse by the catalog's name for it, such as s3://BUCKET."""
    catalog: str = ""
    """URL of an Iceberg REST catalog; a folder needs none."""
    signing: str = ""
    """Service that requests to the catalog are signed for (SigV4), such as s3tables or glue; unsigned if empty."""

    @model_validator(mode="after")
    def _in_s3_by_a_catalog(self) -> TablesSection:
        if self.warehouse.startswith(SCHEME) and not self.catalog:
            raise ValueError("a warehouse in S3 needs tables.catalog, the URL of its Iceberg REST catalog")
        return self


class IngestSection(Section):
    """Which photos are accepted."""

    min_accuracy: int = Field(6, ge=0, le=16)
    """Least accuracy of a trusted geotag, 1 (world) to 16 (street); IM2GPS took 6. A line without one passes."""
    negative_tags: str = ""
    """File of tags that keep a photo out of the corpus, one a line; the project's own if empty, or "none"."""
    max_photos_per_owner: int = Field(1000, ge=0)
    """Most photos of one owner in the corpus, chosen by a hash of their ids; 0: no bound."""


class S3Section(S3Settings, Section):
    """The object store; its keys come from the store."""


class OnnxSection(OnnxSettings, Section):
    """What the descriptor ``onnx`` is; its keys come from the descriptor."""


class DescribeSection(Section):
    """How pictures become vectors."""

    descriptors: Strings = ["gist", "lite0"]
    """What is computed for each photo, from one decoded picture."""
    max_megapixels: float = Field(100.0, gt=0)
    """Larger pictures are refused by their header, before they are decoded."""
    max_bytes: int = Field(64 * 2**20, gt=0)
    """Larger files are refused before they are read."""
    batch: int = Field(32, ge=1, le=1024)
    """Photos whose prepared inputs a worker holds at once."""
    fetch_threads: int = Field(32, ge=1, le=128)
    """Photos that a worker reads from S3 at once."""
    fetch_mb: int = Field(128, ge=1)
    """Mebibytes that a worker holds of photos read ahead; a larger photo is held alone."""
    retry_deadline_s: float = Field(60.0, ge=0)
    """Seconds from a photo's first try after which no further one begins: it is left for a later run."""
    retries_a_task: int = Field(500, ge=0)
    """Further tries for all photos of a task (256): a store that is down is not asked for each of them."""
    photos_per_commit: int = Field(100_000, ge=1)
    """Photos described between two commits: what a killed job loses at most."""
    max_failure_rate: float = Field(0.5, ge=0, le=1)
    """The job stops, and records nothing of the round, when more than this share of it fails."""

    @field_validator("descriptors")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = sorted(set(value) - set(DESCRIPTORS))
        if unknown or not value:
            raise ValueError(f"must name some of {', '.join(DESCRIPTORS)}; not {', '.join(unknown) or 'nothing'}")
        return sorted(set(value))


class IndexSection(Section):
    """What is indexed, and how. Zeros mean: chosen from the corpus' size, and printed."""

    root: str = "index"
    """Folder of the index versions, or s3://BUCKET/PREFIX."""
    cache: str = ""
    """Folder on each worker's disk for copies of an index in S3; if empty, one below that of temporary files."""
    cache_gb: int = Field(100, ge=1)
    """Gibibytes of copies beyond which those that were not used for an hour go."""
    collection: Name = "corpus"
    """The collection whose geotagged photos make the corpus."""
    descriptor: str = "lite0"
    """The descriptor that photos are compared by."""
    shards: int = Field(0, ge=0, le=4096)
    training_sample: int = Field(1_000_000, ge=1)
    """Most descriptors that training looks at, chosen by a hash of the photo's id; it takes no more than it needs."""
    memory_gb: float = Field(0.0, ge=0)
    """Gibibytes that training may use on the driver, beside Spark; 0: three quarters of the machine's."""
    rotation: Literal["pca", "opq"] = "pca"
    """Principal components as they are, or turned so that codes lose less of them."""
    dimension: int = Field(128, ge=1, le=4096)
    """Most principal components kept."""
    lists: int = Field(0, ge=0)
    """Inverted lists."""

    @field_validator("descriptor")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in DESCRIPTORS:
            raise ValueError(f"must be one of {', '.join(DESCRIPTORS)}")
        return value

    max_delta: float = Field(0.1, ge=0.0, le=1.0)
    """Share of a shard's photos that may be in its delta files; beyond it, a night makes them one with the others."""


class GeolocateSection(PosteriorSettings, Section):
    """Which photos get an answer, from which neighbours. The density's own keys come from the posterior."""

    collection: Name = "uploads"
    """The photos to locate; they need no geotag, and one that they have is not looked at."""
    engine: Literal["im2gps"] = "im2gps"
    night: dt.date | None = None
    """The day written to the rows; today (UTC) if not given."""
    k: int = Field(1000, ge=1, le=100_000)
    """Neighbours that vote."""
    neighbours_kept: int = Field(120, ge=0)
    """Neighbours written to the table ``neighbours``, the nearest first."""
    nprobe: int = Field(0, ge=0)
    """Inverted lists visited for a photo; 0: as tuned, else enough for k neighbours, all of them in a small corpus."""
    rerank: int = Field(0, ge=0)
    """Photos of each shard, the first by their codes, compared again by their vectors; 0: as tuned, else 3 k."""
    exclude_same_owner: bool = False
    """Whether the photo's owner has no vote; for judging, where the owner's other photos would give it away."""

    @field_validator("night", mode="before")
    @classmethod
    def _iso(cls, value: object) -> object:
        return dt.date.fromisoformat(value) if isinstance(value, str) else value


class TuneSection(Section):
    """How the recall of an index is measured, and what it is to be."""

    recall: float = Field(0.95, gt=0, le=1)
    """Share of the true neighbours that search is to find at the least work; the command's --recall."""
    k: int = Field(120, ge=1)
    """True neighbours of a photo, no more than geolocate.k."""
    queries: int = Field(1000, ge=1, le=5000)
    """Most photos that it is measured on, chosen by a hash of their ids."""
    collection: str = ""
    """Theirs; that of the index if empty. Each photo's owner counts as new."""
    page: str = "tuning/index.html"
    """Where the table is drawn as a page; nowhere if empty."""


class EvaluateSection(Section):
    """What the answers are held against."""

    truth: str = ""
    """CSV with photo_id, latitude, longitude (and owner_id); if not given, the photos' own geotags."""
    bootstrap: int = Field(1000, ge=0, le=100_000)
    """Resamples of the owners behind each interval."""
    page: str = "evaluation/index.html"
    """Where the figures are written as a page; none if empty."""


class NightlySection(Section):
    """What a night ends with."""

    folder: str = "nightly"
    """Folder of the reports, or s3://BUCKET/PREFIX."""
    weeks: int = Field(4, ge=1, le=520)
    """Of the nights before, those that the report compares with."""
    max_drift: float = Field(1.25, gt=1)
    """Quantization error of the night's photos over that of the training sample beyond which the report asks for
    training again."""


class AtlasSection(Section):
    """The page of maps."""

    folder: str = "atlas"
    photos: int = Field(24, ge=1, le=1000)
    """Photos shown."""
    truth: str = ""
    """As ``evaluate.truth``: the true places are marked when given."""


class MaintainSection(Section):
    """The tables' upkeep."""

    keep_snapshots_days: float = Field(7.0, ge=0)
    """Older snapshots are expired; a read that is under way needs its own until it ends."""
    keep_snapshots: int = Field(1, ge=1)
    """Newest snapshots of a table that are kept however old they are."""
    keep_orphans_days: float = Field(3.0, ge=1)
    """Files that no snapshot knows are removed when they are older: younger ones may be a write's under way."""
    min_input_files: int = Field(5, ge=2)
    """Small files of a partition, or manifests of a table, from which on they are made into larger ones."""


class ForgetSection(Section):
    """What ``forget`` removes for good; the command's --photo, --owner and --file."""

    photos: Annotated[list[PhotoId], BeforeValidator(_one_or_many)] = []
    """Ids of photos."""
    owners: Strings = []
    """Ids of owners, all of whose photos are meant."""
    file: str = ""
    """A list of both, one a line; see photos/removal.py."""


class SparkSection(Section):
    """The local session that ``im2gps`` makes; spark-submit brings its own settings."""

    master: str = "local[*]"
    driver_memory: str = Field("3g", pattern=r"^\d+[kmgt]$")
    conf: dict[str, str] = {}


class Config(Section):
    """A whole configuration."""

    photos: PhotosSection = PhotosSection()
    tables: TablesSection = TablesSection()
    s3: S3Section = S3Section()
    ingest: IngestSection = IngestSection()
    describe: DescribeSection = DescribeSection()
    onnx: OnnxSection = OnnxSection()
    index: IndexSection = IndexSection()
    geolocate: GeolocateSection = GeolocateSection()
    tune: TuneSection = TuneSection()
    evaluate: EvaluateSection = EvaluateSection()
    nightly: NightlySection = NightlySection()
    atlas: AtlasSection = AtlasSection()
    maintain: MaintainSection = MaintainSection()
    forget: ForgetSection = ForgetSection()
    spark: SparkSection = SparkSection()

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name what was asked for, wherever it runs."""
        asked = self.model_dump(mode="json", exclude={"spark"})
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def load(file: str | Path | None, overrides: Iterable[str] = ()) -> Config:
    """The configuration in a TOML file, changed by overrides.

    Args:
        file: path, or None for the defaults.
        overrides: ``section.key=value``; the value is read as TOML where the key is not text.

    Raises:
        UsageError: names every fault at once.
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(Path(file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--config {file}: can't be read ({error}); give a TOML file") from error
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"--config {file}: not TOML: {error}") from error
    faults = [fault for text in overrides if (fault := _override(values, text))]
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        faults += [_explain(fault) for fault in error.errors()]
    if faults:
        raise UsageError("configuration: " + "; ".join(faults))
    return config


def _override(values: dict[str, Any], text: str) -> str | None:
    """Puts one ``section.key=value`` into the values; the fault if it can't be."""
    name, equals, raw = text.partition("=")
    path = name.strip().split(".")
    if not equals or len(path) < 2 or not all(path):
        return f"--set {text!r}: must be section.key=value"
    kind = _type_of(path)
    if get_origin(kind) is dict and len(path) > 2:  # its keys have dots of their own, as Spark's do
        path[2:] = [".".join(path[2:])]
    section = values.setdefault(path[0], {})
    for part in path[1:-1]:
        section = section.setdefault(part, {}) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        return f"--set {text!r}: {path[0]} is not a section"
    section[path[-1]] = raw if _is_text(kind, path, raw) else _toml_value(raw)
    return None


def _type_of(path: list[str]) -> object:
    """The type of ``section.key``, None if there is no such key."""
    section = Config.model_fields.get(path[0])
    kind = section.annotation if section else None
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return None
    field = kind.model_fields.get(path[1])
    return field.annotation if field else None


def _is_text(kind: object, path: list[str], raw: str) -> bool:
    """Whether the value is text as it stands, so that a collection may be called 2012 or a folder a#b."""
    if raw[:1] in ('"', "'", "["):
        return False
    in_dict = get_origin(kind) is dict and len(path) > 2
    return kind is str or in_dict or get_origin(kind) is Literal or get_args(kind) == (str,)


def _toml_value(raw: str) -> object:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _explain(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"]) or "configuration"
    if fault["type"] == "extra_forbidden":
        return f"{name}: no such key{_nearest(fault['loc'])}"
    return f"{name}: {fault['msg'].removeprefix('Value error, ')} (got {fault['input']!r})"


def _nearest(loc: tuple[Any, ...]) -> str:
    """The keys that there are, where an unknown one was given."""
    if len(loc) == 1:
        return f"; the sections are {', '.join(Config.model_fields)}"
    section = Config.model_fields.get(str(loc[0]))
    kind = section.annotation if section else None
    if isinstance(kind, type) and issubclass(kind, Section):
        return f"; [{loc[0]}] has {', '.join(kind.model_fields)}"
    return ""
