"""The index versions that there are: which is in use, going back to another, removing old ones."""

from __future__ import annotations

from im2gps_spark.config import Config
from im2gps_spark.errors import UsageError
from im2gps_spark.index.library import AT_WORK, Library
from im2gps_spark.index.manifest import Manifest
from im2gps_spark.store.cache import Cache
from im2gps_spark.store.folder import folder_at
from im2gps_spark.store.lease import only_one


def library_of(config: Config) -> Library:
    """The index's folder, on disk or in S3."""
    index = config.index
    return Library(folder_at(index.root, config.s3, Cache(index.cache, index.cache_gb * 2**30)))


def change_versions(library: Library, use: str | None, keep: int | None) -> list[str]:
    """Takes a version into use, and removes old ones; returns the names of those that are gone.

    Args:
        use: its name; None to leave the one in use.
        keep: versions to keep, the one in use among them; None for all.

    Raises:
        UsageError: there is no such version, or nothing is in use; ``keep`` is under 1.
        StageError: a night is at work; a file of the version is missing or has changed.
    """
    if keep is not None and keep < 1:
        raise UsageError(f"--keep {keep}: the version in use stays; give 1 or more")
    with only_one(library.root, AT_WORK):
        if use is not None:
            library.go_to(use)
        if keep is None:
            return []
        if library.in_use() is None:
            raise UsageError(f"index.root: no version is in use in {library.root}; nothing was removed")
        return library.remove_old(keep)


def version_table(library: Library) -> list[str]:
    """The versions as lines of a table, the latest first; a star marks the one in use.

    Raises:
        UsageError: there is none.
    """
    versions = sorted(library.versions(), key=lambda one: (library.written_at(one.index_version), one.index_version))
    if not versions:
        raise UsageError(f"index.root: there is no index version in {library.root}; run train and build first")
    current = library.in_use()
    head = f"  {'version':<12}  {'written (UTC)':<16}  {'photos':>12}  {'in deltas':>12}  {'shards':>6}  descriptor"
    return [head, *(_line(library, one, one.index_version == current) for one in reversed(versions))]


def _line(library: Library, one: Manifest, in_use: bool) -> str:
    when = library.written_at(one.index_version)
    counts = f"{sum(one.rows):>12,}  {sum(one.delta_rows):>12,}  {one.shards:>6}"
    return f"{'*' if in_use else ' '} {one.index_version:<12}  {when:%Y-%m-%d %H:%M}  {counts}  {one.descriptor}"
