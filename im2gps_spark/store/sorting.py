"""More rows than fit into memory, put in order: sorted parts on disk, merged batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

_ROWS_A_PART = 500_000
_ROWS_A_BATCH = 8192


def in_order(
    batches: Iterable[pa.RecordBatch], by: str, folder: Path, rows_a_part: int = _ROWS_A_PART
) -> Iterator[pa.Table]:
    """The rows of all batches by the bytes of a column of text, as tables of some thousand rows.

    Memory holds one part while the batches come, then one batch of each part.

    Args:
        by: the column; its values differ, or rows of one value come in any order.
        folder: empty, for the parts.
        rows_a_part: after which a part is written.
    """
    files: list[Path] = []
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= rows_a_part:
            files.append(_write(held, by, folder / f"{len(files)}.arrow"))
            held = []
    if held:
        files.append(_write(held, by, folder / f"{len(files)}.arrow"))
    yield from _merge([_read(file) for file in files], by)


def _write(batches: list[pa.RecordBatch], by: str, file: Path) -> Path:
    table = pa.Table.from_batches(batches).sort_by(by)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=_ROWS_A_BATCH)
    return file


def _read(file: Path) -> Iterator[pa.Table]:
    with pa.memory_map(str(file)) as source:
        reader = pa.ipc.open_file(source)
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def _merge(parts: list[Iterator[pa.Table]], by: str) -> Iterator[pa.Table]:
    """Up to the least of the parts' last rows in hand, whatever may come later is larger."""
    heads = [(head, part) for part in parts if (head := next(part, None)) is not None]
    while heads:
        bound = min(head[by][-1].as_py() for head, _ in heads)
        smaller, left = [], []
        for head, part in heads:
            count = pc.sum(pc.less_equal(head[by], bound)).as_py()
            smaller.append(head.slice(0, count))
            rest = head.slice(count) if count < head.num_rows else next(part, None)
            if rest is not None:
                left.append((rest, part))
        yield pa.concat_tables(smaller).sort_by(by)
        heads = left
