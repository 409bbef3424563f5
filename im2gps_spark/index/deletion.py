"""Taking photos out of a shard for good: its files become what ``build`` would have written without them.

A deletion that is broken off is finished by the next one. Before a shard's files are replaced, a file beside them notes
the checksums that they may have from then on: those of the manifest, and of what is about to be written. Any other
bytes are refused as everywhere. The notes go when the manifest has been written.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from im2gps_spark.errors import StageError
from im2gps_spark.index.manifest import TRAINED, Manifest, owners_file, shard_files, shard_stem
from im2gps_spark.index.owners import Owners
from im2gps_spark.index.shard import Rows, arrow_bytes, faiss_bytes
from im2gps_spark.index.training import Trained
from im2gps_spark.store.folder import Folder


@dataclass(frozen=True)
class Rewritten:
    """A part of a shard whose files were replaced.

    Attributes:
        shard: its number.
        part: of it.
        rows: photos that are left.
        files: SHA-256 of the new files, by name.
    """

    shard: int
    part: str
    rows: int
    files: dict[str, str]


def delete(folder: Folder, manifest: Manifest, shard: int, part: str, ids: NDArray[np.int64]) -> Rewritten | None:
    """Takes photos out of the files of a part of a shard; None where there is nothing to do.

    The caller writes the manifest, and then clears the notes away. Owners' counts and the corpus' moments stay as they
    were built.

    Args:
        folder: of the index version.
        manifest: the version's.
        shard: its number.
        part: of it.
        ids: of photos, in any order; those that are not there are passed over.

    Raises:
        StageError: a file has changed since it was written.
    """
    codes, photos = shard_files(shard, part)
    noted = _noted(folder, shard, part)
    known = {manifest.files[codes], manifest.files[photos], *noted}
    table = _table(_read(folder, photos, known))
    if not noted and not np.isin(_photo_ids(table), ids).any():
        return None
    stored = stored_rows(manifest.lists_of(shard), _read(folder, codes, known), table)
    rows = without(stored, ids)
    trained = Trained.from_bytes(_read(folder, TRAINED, {manifest.files[TRAINED]}))
    data = {codes: faiss_bytes(trained, manifest.lists_of(shard), rows), photos: arrow_bytes(rows)}
    known |= {hashlib.sha256(one).hexdigest() for one in data.values()}
    folder.write(_notes(shard, part), json.dumps(sorted(known)).encode())
    return Rewritten(shard, part, len(rows.photo_id), {name: folder.write(name, one) for name, one in data.items()})


def clear_notes(folder: Folder, shard: int, part: str) -> None:
    """To be called once the manifest has the checksums of the new files."""
    folder.remove(_notes(shard, part))


def without_owners(folder: Folder, manifest: Manifest, owners: NDArray[np.int64]) -> Manifest:
    """The manifest with a file of owners that some, by their hashes, are not in; the same where none of them is.

    The file is written, the manifest is not: until then the other file counts.
    """
    known = Owners.from_bytes(_read(folder, manifest.owners, {manifest.files[manifest.owners]}))
    if not np.isin(known.owner, owners).any():
        return manifest
    data = known.without(owners).to_bytes()
    files = {name: checksum for name, checksum in manifest.files.items() if name != manifest.owners}
    name = owners_file(data)
    return replace(manifest, owners=name, files={**files, name: folder.write(name, data)})


def part_rows(folder: Folder, manifest: Manifest, shard: int, part: str) -> Rows:
    """The photos of a part of a shard, sorted by id.

    Raises:
        StageError: a file has changed since it was written.
    """
    codes, photos = (_read(folder, name, {manifest.files[name]}) for name in shard_files(shard, part))
    return stored_rows(manifest.lists_of(shard), codes, _table(photos))


def without(rows: Rows, ids: NDArray[np.int64]) -> Rows:
    """The rows but for those of some photos, in their order."""
    return rows.take(~np.isin(rows.photo_id, ids))


def stored_rows(lists: NDArray[np.int64], codes: bytes, table: pa.Table) -> Rows:
    """The rows of a shard, sorted, from its files.

    Only photos that both files hold: of a deletion that was broken off one file may be behind.

    Args:
        lists: (m,) global numbers of the shard's lists, ascending.
        codes: the bytes of its FAISS file.
        table: what its Arrow file holds.
    """
    listed, numbers, words = _inverted_lists(codes, lists)
    _, there, here = np.intersect1d(listed, _photo_ids(table), assume_unique=True, return_indices=True)
    vectors = table.column("vector").combine_chunks()
    columns = {n: table.column(n).to_numpy() for n in Rows.__dataclass_fields__ if n in table.column_names}
    rows = Rows(
        **{name: column[here] for name, column in columns.items()},
        lists=numbers[there],
        codes=words[there],
        vectors=vectors.flatten().to_numpy().reshape(len(table), vectors.type.list_size)[here],
    )
    return rows.sorted()


def _inverted_lists(
    codes: bytes, lists: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Of all photos in a FAISS file: ids (n,), global numbers of their lists (n,) and codes (n, bytes)."""
    index = faiss.deserialize_index(np.frombuffer(codes, np.uint8))
    inverted, width = index.invlists, index.code_size
    ids, words = [np.zeros(0, np.int64)], [np.zeros((0, width), np.uint8)]
    sizes = np.array([inverted.list_size(local) for local in range(len(lists))], np.int64)
    for local in np.flatnonzero(sizes).tolist():
        count = int(sizes[local])
        # Copied: they are the index's own memory.
        ids.append(faiss.rev_swig_ptr(inverted.get_ids(local), count).copy())
        words.append(faiss.rev_swig_ptr(inverted.get_codes(local), count * width).reshape(count, width).copy())
    return np.concatenate(ids), np.repeat(lists, sizes), np.concatenate(words)


def _table(photos: bytes) -> pa.Table:
    return pa.ipc.open_file(pa.BufferReader(photos)).read_all()


def _photo_ids(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table.column("photo_id").to_numpy())


def _notes(shard: int, part: str) -> str:
    return f"{shard_stem(shard, part)}.deletion"


def _noted(folder: Folder, shard: int, part: str) -> set[str]:
    """The checksums that a deletion before this one noted and did not live to clear away."""
    try:
        return set(json.loads(folder.read(_notes(shard, part))))
    except FileNotFoundError:
        return set()


def _read(folder: Folder, name: str, known: set[str]) -> bytes:
    data = folder.read(name)
    if hashlib.sha256(data).hexdigest() not in known:
        raise StageError(
            f"{folder}/{name} has changed since it was written; remove this index version, run build again"
        )
    return data
