"""A shard's rows on their way to its files: on disk, a file a column, for they would fill a worker's memory."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from im2gps_spark.index.shard import Rows


class Spool:
    """Rows are added in any number of pieces, in the order of their ids, and read again as mapped columns.

    Args:
        folder: where the columns lie; whoever made it removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {name: (folder / name).open("wb") for name in Rows.__dataclass_fields__}
        self._kinds: dict[str, tuple[np.dtype, tuple[int, ...]]] = {}

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for file in self._files.values():
            file.close()

    def add(self, rows: Rows) -> None:
        """Appends some rows."""
        for name, file in self._files.items():
            column: NDArray = np.ascontiguousarray(getattr(rows, name))
            kind = self._kinds.setdefault(name, (column.dtype, column.shape[1:]))
            if kind != (column.dtype, column.shape[1:]):
                raise ValueError(f"{name} was of {kind} and is of {(column.dtype, column.shape[1:])}")
            column.tofile(file)

    def rows(self) -> Rows:
        """What was added, mapped and sorted by id: where it was added in that order, nothing is copied.

        Raises:
            ValueError: nothing was added, or an id stands twice.
        """
        if not self._kinds:
            raise ValueError("a shard without rows")
        columns = {}
        for name, (kind, rest) in self._kinds.items():
            self._files[name].flush()
            columns[name] = np.memmap(self._folder / name, kind, "r").reshape(-1, *rest)
        return Rows(**columns).sorted()
