"""One shard: the inverted lists of a group of centroids in a plain FAISS file, and what is known of its photos.

``shard-0003.faiss`` holds an ``IndexIVFPQ`` of the shard's own lists, numbered locally. ``shard-0003.arrow`` holds,
sorted by photo id and memory-mapped when read, each photo's rotated descriptor in float16 for exact re-ranking, its
place with the accuracy of its geotag, and its owner.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from im2gps_spark.errors import StageError
from im2gps_spark.index import kernels
from im2gps_spark.index.routed import packed
from im2gps_spark.index.training import Trained

# The table trades memory for speed at 8 bits, and loses both where residuals are many (docs/index.md). It is off
# everywhere: its distances differ from those without it in the sixth digit, and two shards must not.
_NO_TABLE = -1
_FURTHEST = np.finfo(np.float32).max
# Selecting on the way is quicker where so many codes are looked at for one that is wanted; else to take all there are,
# and then the first of them: of a few lists FAISS' heap takes more time than the scan.
_MANY = 16
# Distances and ids that a scan holds: 24 bytes each while FAISS puts them together.
_CODES_AT_ONCE = 2**19


@dataclass(frozen=True)
class Rows:
    """Photos of one shard, sorted by id.

    Attributes:
        photo_id: (n,) int64.
        lists: (n,) int64, global number of the inverted list.
        codes: (n, bytes) uint8.
        vectors: (n, dimension) float16, rotated.
        latitude, longitude: (n,) float64, degrees.
        owner: (n,) int64, a hash of the owner's id.
        accuracy: (n,) int8, of the geotag, 1 (world) to 16 (street); 0 where it is unknown.
    """

    photo_id: NDArray[np.int64]
    lists: NDArray[np.int64]
    codes: NDArray[np.uint8]
    vectors: NDArray[np.float16]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    owner: NDArray[np.int64]
    accuracy: NDArray[np.int8]

    def sorted(self) -> Rows:
        """The same photos in the order of their ids; themselves where they are in it.

        Raises:
            ValueError: an id stands twice.
        """
        if np.all(self.photo_id[1:] > self.photo_id[:-1]):
            return self
        rank = np.argsort(self.photo_id, kind="stable")
        ids = self.photo_id[rank]
        if np.any(ids[1:] == ids[:-1]):
            raise ValueError(f"photo {ids[1:][ids[1:] == ids[:-1]][0]} stands twice in a shard")
        return self.take(rank)

    def take(self, chosen: NDArray) -> Rows:
        """Some of the photos, by number or as a mask, in that order."""
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def faiss_bytes(trained: Trained, lists: NDArray[np.int64], rows: Rows) -> bytes:
    """The FAISS file of a shard; see ``write_faiss``."""
    data: bytes = faiss.serialize_index(_faiss_index(trained, lists, rows)).tobytes()
    return data


def write_faiss(path: Path, trained: Trained, lists: NDArray[np.int64], rows: Rows) -> None:
    """Writes the FAISS file of a shard. Codes and ids are in memory meanwhile, and 24 bytes a photo besides.

    Args:
        path: to write to.
        trained: quantizers.
        lists: (m,) global numbers of the shard's lists, ascending: local number i is lists[i].
        rows: sorted photos, each in one of the lists.

    Raises:
        ValueError: a photo is in another list.
    """
    faiss.write_index(_faiss_index(trained, lists, rows), str(path))


def _faiss_index(trained: Trained, lists: NDArray[np.int64], rows: Rows) -> faiss.IndexIVFPQ:
    rank = np.argsort(rows.lists, kind="stable")
    numbers, counts = np.unique(rows.lists, return_counts=True)
    strange = np.setdiff1d(numbers, lists)
    if len(strange):
        raise ValueError(f"list {strange[0]} is none of the shard's")
    source = trained.ivf
    quantizer = faiss.IndexFlatL2(source.d)
    quantizer.add(np.ascontiguousarray(trained.centroids[lists]))
    index = faiss.IndexIVFPQ(quantizer, source.d, len(lists), source.pq.M, source.pq.nbits)
    index.pq = source.pq
    index.is_trained = True
    index.use_precomputed_table = _NO_TABLE
    for local, here in zip(np.searchsorted(lists, numbers).tolist(), np.split(rank, np.cumsum(counts)), strict=False):
        ids = np.ascontiguousarray(rows.photo_id[here])  # named: FAISS copies from the address only now
        codes = np.ascontiguousarray(rows.codes[here])
        index.invlists.add_entries(local, len(here), faiss.swig_ptr(ids), faiss.swig_ptr(codes))
    index.ntotal = len(rows.photo_id)
    return index


def arrow_bytes(rows: Rows) -> bytes:
    """The Arrow file of a shard; see ``write_arrow``."""
    sink = pa.BufferOutputStream()
    _write_arrow(sink, rows)
    return bytes(sink.getvalue().to_pybytes())


def write_arrow(path: Path, rows: Rows) -> None:
    """Writes the Arrow file of a shard: uncompressed, so that a mapped column is an array. Nothing is copied."""
    with pa.OSFile(str(path), "wb") as sink:
        _write_arrow(sink, rows)


def _write_arrow(sink: pa.NativeFile, rows: Rows) -> None:
    width = rows.vectors.shape[1]
    flat = pa.array(np.ascontiguousarray(rows.vectors).ravel())
    table = pa.table(
        {
            "photo_id": pa.array(rows.photo_id),
            "vector": pa.FixedSizeListArray.from_arrays(flat, width),
            "latitude": pa.array(rows.latitude),
            "longitude": pa.array(rows.longitude),
            "owner": pa.array(rows.owner),
            "accuracy": pa.array(rows.accuracy),
        }
    )
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def by_distance(distance: NDArray[Any], ids: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """The places (n, most) of the first candidates in the order of (distance, id)."""
    rank = np.argsort(distance, axis=1)
    kernels.order_ties(distance, ids, rank, most)
    return rank[:, :most]


def _last_of(distance: NDArray[np.float32], ends: NDArray[np.int64], most: int) -> NDArray[np.float32]:
    """The greatest of the ``most`` least distances of each query, or more where it has not so many."""
    last, moved = np.full(len(ends) - 1, _FURTHEST, np.float32), distance.copy()
    for query, (begin, end) in enumerate(pairwise(ends.tolist())):
        if end - begin > most:
            mine = moved[begin:end]
            mine.partition(most - 1)
            last[query] = mine[most - 1]
    return last


def _in_pieces(codes: NDArray[np.int64]) -> Iterator[slice]:
    """Queries, by how many codes each looks at, some at a time."""
    begin, held = 0, 0
    for query, count in enumerate(codes.tolist()):
        if held and held + count > _CODES_AT_ONCE:
            yield slice(begin, query)
            begin, held = query, 0
        held += count
    if begin < len(codes):
        yield slice(begin, len(codes))


class Shard:
    """A shard opened for search: its files are mapped, not read.

    Args:
        codes, rows: its FAISS and its Arrow file.
        lists: (m,) global numbers of its lists, ascending.
    """

    def __init__(self, codes: Path, rows: Path, lists: NDArray[np.int64]) -> None:
        flags = faiss.IO_FLAG_MMAP_IFC | faiss.IO_FLAG_SKIP_PRECOMPUTE_TABLE
        self.index = faiss.read_index(str(codes), flags)
        self.index.use_precomputed_table = _NO_TABLE
        self.lists = lists
        self._name = codes.name
        self._table = pa.ipc.open_file(pa.memory_map(str(rows))).read_all()

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(m,) codes in each list."""
        return np.array([self.index.invlists.list_size(local) for local in range(len(self.lists))], np.int64)

    def column(self, name: str) -> NDArray:
        """A column of the Arrow file, without a copy."""
        return np.asarray(self._table.column(name).combine_chunks().to_numpy(zero_copy_only=True))

    @cached_property
    def photo_id(self) -> NDArray[np.int64]:
        """(n,) ascending ids."""
        return self.column("photo_id") if len(self._table) else np.zeros(0, np.int64)

    @cached_property
    def vectors(self) -> NDArray[np.float16]:
        """(n, dimension) rotated descriptors in the order of the ids."""
        column = self._table.column("vector").combine_chunks()
        return np.asarray(column.flatten().to_numpy(zero_copy_only=True)).reshape(len(column), column.type.list_size)

    def slots(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows (n, m) of photos by their ids; -1 for -1.

        Raises:
            StageError: a photo is not there.
        """
        slots = np.empty(ids.shape, np.int64)
        if not kernels.find_slots(self.photo_id, ids, slots):
            raise StageError(f"{self._name} has codes of photos that it does not know; run build again")
        return slots

    def scan(
        self, queries: NDArray[np.float32], lists: NDArray[np.int64], near: NDArray[np.float32], most: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest codes in given lists, by (distance, id): squared distances and ids, each (n, most).

        Where there are no more, the id is -1 and the distance the largest that there is.

        Args:
            queries: (n, dimension) rotated.
            lists: (n, p) global numbers; those of other shards, and -1, are skipped.
            near: (n, p) squared distances to their centroids.
            most: candidates for each query.
        """
        local = np.minimum(np.searchsorted(self.lists, lists), len(self.lists) - 1)
        # FAISS reads rows as wide as the lists that the index has at most: ours come first, the others are cut off.
        keys, near = packed(self.lists[local] == lists, local, near)
        queries = np.ascontiguousarray(queries)
        self.index.nprobe = keys.shape[1]
        codes = np.where(keys >= 0, self.sizes[keys], 0).sum(axis=1)
        distance = np.full((len(queries), most), _FURTHEST, np.float32)
        ids: NDArray[np.int64] = np.full(distance.shape, -1, np.int64)
        few = np.flatnonzero(codes > _MANY * most)
        if len(few):
            distance[few], ids[few], tied = self._selected(queries[few], keys[few], near[few], most)
            few = few[~tied]
        rest = np.setdiff1d(np.arange(len(queries)), few)
        for some in _in_pieces(codes[rest]):
            mine = rest[some]
            distance[mine], ids[mine] = self._every(queries[mine], keys[mine], near[mine], most)
        return distance, ids

    def _selected(
        self, queries: NDArray[np.float32], keys: NDArray[np.int64], near: NDArray[np.float32], most: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
        """The nearest codes as FAISS selects them; and (n,) whether one that it left out is as near as the last."""
        distance, ids = self.index.search_preassigned(queries, most + 1, keys, near)
        kernels.sort_ties(distance, ids)
        return distance[:, :most], ids[:, :most], distance[:, most - 1] == distance[:, most]

    def _every(
        self, queries: NDArray[np.float32], keys: NDArray[np.int64], near: NDArray[np.float32], most: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest of all codes that are there."""
        distance = np.full((len(queries), most), _FURTHEST, np.float32)
        ids: NDArray[np.int64] = np.full(distance.shape, -1, np.int64)
        ends, every, found = self.index.range_search_preassigned(queries, _FURTHEST, keys, near)
        ends = ends.astype(np.int64)
        kernels.keep_first(ends, every, found, _last_of(every, ends, most), distance, ids)
        rank = by_distance(distance, ids, most)
        return np.take_along_axis(distance, rank, axis=1), np.take_along_axis(ids, rank, axis=1)

    def distances(
        self, queries: NDArray[np.float32], slots: NDArray[np.int64], out: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Writes the Euclidean distances of queries (n, dimension) to rows (n, m) by the kept vectors; returns ``out``.

        Where the row is -1, ``out`` is left as it is. Distances are rounded to float32.
        """
        kernels.exact_distances(self.vectors.view(np.uint16), slots, np.ascontiguousarray(queries), out, kernels.LINE)
        return out
