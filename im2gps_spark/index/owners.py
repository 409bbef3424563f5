"""How many photos of the corpus each owner has: a file of its own, for it changes with every photo that joins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_SCHEMA = pa.schema([("owner", pa.int64()), ("photos", pa.int32())])


@dataclass(frozen=True)
class Owners:
    """Owners by the hash of their id, ascending.

    Attributes:
        owner: (n,) int64.
        photos: (n,) int32, of each in the corpus.
    """

    owner: NDArray[np.int64]
    photos: NDArray[np.int32]

    @classmethod
    def of_table(cls, table: pa.Table) -> Owners:
        """From columns ``owner`` and ``photos``, in any order of rows."""
        sorted_ = table.select(_SCHEMA.names).cast(_SCHEMA).sort_by("owner").combine_chunks()
        return cls(*(_numbers(sorted_, name) for name in _SCHEMA.names))

    @classmethod
    def opened(cls, file: Path) -> Owners:
        """Those of a file, mapped."""
        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        return cls(*(_numbers(table, name) for name in _SCHEMA.names))

    @classmethod
    def from_bytes(cls, data: bytes) -> Owners:
        """Those in the bytes of a file."""
        table = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        return cls(*(_numbers(table, name) for name in _SCHEMA.names))

    def to_bytes(self) -> bytes:
        """An Arrow file, uncompressed, so that a mapped column is an array."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, _SCHEMA) as writer:
            writer.write_table(pa.table([pa.array(self.owner), pa.array(self.photos)], schema=_SCHEMA))
        return bytes(sink.getvalue().to_pybytes())

    def without(self, owners: NDArray[np.int64]) -> Owners:
        """All but some."""
        left = ~np.isin(self.owner, owners)
        return Owners(self.owner[left], self.photos[left])

    def count(self, owners: NDArray[np.int64]) -> NDArray[np.float64]:
        """Photos (m,) of some owners (m,); 1 of one that is not known."""
        if not len(self.owner):
            return np.ones(len(owners))
        slot = np.minimum(np.searchsorted(self.owner, owners), len(self.owner) - 1)
        return np.where(self.owner[slot] == owners, self.photos[slot], 1).astype(np.float64)


def _numbers(table: pa.Table, name: str) -> NDArray:
    if not len(table):
        return np.zeros(0, _SCHEMA.field(name).type.to_pandas_dtype())
    return np.asarray(table.column(name).combine_chunks().to_numpy(zero_copy_only=True))
