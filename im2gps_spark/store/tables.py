"""Every table: its name, columns, key and partitioning. Nothing else in the project spells them out."""

from __future__ import annotations

from dataclasses import dataclass

CATALOG = "lake"
NAMESPACE = "im2gps"


@dataclass(frozen=True)
class Table:
    """An Iceberg table.

    Attributes:
        name: within the namespace.
        columns: (name, Spark SQL type) in order.
        key: columns that identify a row; nulls are equal.
        partitioned_by: Iceberg partition transforms.
        provenance: columns that say when a row was made and by which run; a row is not rewritten for those alone.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    partitioned_by: tuple[str, ...] = ()
    provenance: tuple[str, ...] = ("run_id",)

    @property
    def path(self) -> str:
        """The name by which Spark SQL knows it."""
        return f"{CATALOG}.{NAMESPACE}.{self.name}"

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(name for name, _ in self.columns)

    @property
    def ddl(self) -> str:
        """The columns as Spark SQL spells them, also the schema of a DataFrame."""
        return ", ".join(f"{name} {kind}" for name, kind in self.columns)


PHOTOS = Table(
    "photos",
    (
        ("photo_id", "bigint"),
        ("owner_id", "string"),
        ("collection", "string"),
        ("uri", "string"),
        ("taken_at", "timestamp"),
        ("uploaded_at", "timestamp"),
        ("latitude", "double"),
        ("longitude", "double"),
        ("accuracy", "int"),
        ("title", "string"),
        ("tags", "array<string>"),
        ("license", "string"),
        ("page_url", "string"),
        ("status", "string"),
        ("reason", "string"),
        ("run_id", "string"),
    ),
    key=("collection", "photo_id"),
    partitioned_by=("collection",),
)

OUTCOMES = Table(
    "outcomes",
    (
        ("photo_id", "bigint"),
        ("stage", "string"),
        ("status", "string"),
        ("reason", "string"),
        ("detail", "string"),
        ("run_id", "string"),
        ("at", "timestamp"),
        ("collection", "string"),
        # What of the photo the row is about: the line of metadata, the descriptors' versions, the engine's settings.
        ("item", "string"),
    ),
    key=("stage", "collection", "photo_id", "item"),
    partitioned_by=("stage",),
    provenance=("run_id", "at"),
)

DESCRIPTORS = Table(
    "descriptors",
    (
        ("photo_id", "bigint"),
        ("descriptor", "string"),
        ("version", "string"),
        ("vector", "array<float>"),
        ("preprocessing", "string"),
        ("run_id", "string"),
    ),
    key=("photo_id", "descriptor", "version"),
    partitioned_by=("descriptor", "version"),
)

PICTURES = Table(
    "pictures",
    (
        ("photo_id", "bigint"),
        ("sha256", "string"),
        # A 64-bit hash of what is seen; null where that is too little. See photos/fingerprint.py.
        ("perceptual", "bigint"),
        ("width", "int"),
        ("height", "int"),
        ("run_id", "string"),
    ),
    key=("photo_id",),
)

NEIGHBOURS = Table(
    "neighbours",
    (
        ("photo_id", "bigint"),
        ("engine", "string"),
        ("rank", "int"),
        ("neighbour_id", "bigint"),
        ("distance", "double"),
        ("weight", "double"),
        ("latitude", "double"),
        ("longitude", "double"),
        ("run_id", "string"),
        # The neighbour's.
        ("license", "string"),
    ),
    key=("photo_id", "engine", "rank"),
    partitioned_by=("engine",),
)

REGION = (
    "struct<rank:int, latitude:double, longitude:double, mass:double, area_km2:double, radius_km:double, "
    "country:string, place:string>"
)

POSTERIORS = Table(
    "posteriors",
    (
        ("photo_id", "bigint"),
        ("engine", "string"),
        ("index_version", "string"),
        ("night", "date"),
        ("mode_latitude", "double"),
        ("mode_longitude", "double"),
        ("mode_h3", "bigint"),
        ("median_latitude", "double"),
        ("median_longitude", "double"),
        # The points with most mass within 25, 200 and 750 km.
        ("disc25_latitude", "double"),
        ("disc25_longitude", "double"),
        ("disc200_latitude", "double"),
        ("disc200_longitude", "double"),
        ("disc750_latitude", "double"),
        ("disc750_longitude", "double"),
        ("entropy", "double"),
        ("information_bits", "double"),
        ("information_over_prior_bits", "double"),
        ("no_more_than_prior", "boolean"),
        ("area50_km2", "double"),
        ("area80_km2", "double"),
        ("area90_km2", "double"),
        ("area95_km2", "double"),
        ("regions", f"array<{REGION}>"),
        ("map", "array<struct<cell:bigint, mass:double>>"),
        ("run_id", "string"),
        # A hash of the settings that the row follows from, besides the index: what makes it stale.
        ("settings", "string"),
        # The photo's own.
        ("license", "string"),
    ),
    key=("photo_id", "engine", "night"),
    partitioned_by=("engine", "night"),
)

EVALUATIONS = Table(
    "evaluations",
    (
        ("run_id", "string"),
        ("engine", "string"),
        ("stratum", "string"),
        ("metric", "string"),
        ("value", "double"),
        ("low", "double"),
        ("high", "double"),
        ("n", "bigint"),
        ("index_version", "string"),
        ("collection", "string"),
        ("night", "date"),
    ),
    key=("engine", "stratum", "metric", "index_version", "collection", "night"),
)

RUNS = Table(
    "runs",
    (
        ("run_id", "string"),
        ("stage", "string"),
        ("started_at", "timestamp"),
        ("seconds", "double"),
        ("rows_in", "bigint"),
        ("rows_ok", "bigint"),
        ("rows_rejected", "bigint"),
        ("photos_per_second", "double"),
        ("config_hash", "string"),
        ("code_version", "string"),
        ("rows_retry", "bigint"),
    ),
    key=("run_id",),
)

REASONS = Table(
    "reasons",
    (
        ("run_id", "string"),
        ("stage", "string"),
        # Null where a run is of all of them.
        ("collection", "string"),
        ("status", "string"),
        ("reason", "string"),
        ("rows", "bigint"),
    ),
    key=("run_id", "stage", "status", "reason"),
)

PRIORS = Table(
    "priors",
    (("index_version", "string"), ("cell", "bigint"), ("mass", "double")),
    key=("index_version", "cell"),
    partitioned_by=("index_version",),
    provenance=(),
)

TOMBSTONES = Table(
    "tombstones",
    (
        # Of a forgotten photo or owner: see photos/tombstone.py. Nothing else is kept of them.
        ("hash", "string"),
        ("at", "timestamp"),
        ("run_id", "string"),
    ),
    key=("hash",),
    provenance=("run_id", "at"),
)

TABLES = (
    *(PHOTOS, OUTCOMES, DESCRIPTORS, PICTURES, NEIGHBOURS, POSTERIORS, EVALUATIONS, RUNS, REASONS, PRIORS),
    TOMBSTONES,
)
