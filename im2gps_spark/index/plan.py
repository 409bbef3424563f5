"""An index's parameters, chosen from the corpus' size and said before work starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

# Points a centroid below which clustering fits noise, and above which it gains little (measured, docs/index.md).
_POINTS_A_CENTROID = 30
_ROWS_A_SHARD = 2_000_000
_MOST_BITS = 8


@dataclass(frozen=True)
class Plan:
    """What training makes.

    Attributes:
        rows: descriptors in the corpus.
        sample: of them, looked at by training.
        input_dimension: length of a descriptor.
        dimension: principal components kept.
        lists: inverted lists.
        subquantizers: parts that a residual is cut into, of ``bits`` each.
        bits: of a code.
        shards: files that the lists are divided among.
    """

    rows: int
    sample: int
    input_dimension: int
    dimension: int
    lists: int
    subquantizers: int
    bits: int
    shards: int

    def as_dict(self) -> dict[str, int]:
        """For the manifest."""
        return asdict(self)

    def describe(self) -> list[str]:
        """What will be done and what it costs, in lines."""
        code = (self.subquantizers * self.bits + 7) // 8
        training = self.sample * 4 * (self.input_dimension + self.dimension) / 2**20
        # Ids stand in both files of a shard; place, owner and accuracy in one.
        files = self.rows * (code + 2 * 8 + 2 * self.dimension + 29) / 2**20
        lines = [
            f"{self.rows} descriptors of {self.input_dimension} numbers, {self.sample} of them to train on",
            f"{self.dimension} components, {self.lists} lists, {self.subquantizers} x {self.bits} bits "
            f"({code} bytes a photo), {self.shards} shards",
            f"about {training:.0f} MiB of memory to train, {files:.0f} MiB of index files",
        ]
        if self.bits < _MOST_BITS:
            wanted = _POINTS_A_CENTROID * 2**_MOST_BITS
            lines.append(
                f"a small corpus: codes of {self.bits} bits, for {_MOST_BITS} want {wanted} photos to train on; "
                "exact re-ranking makes up for them"
            )
        return lines


def plan(
    rows: int, input_dimension: int, *, sample: int, dimension: int = 128, lists: int = 0, shards: int = 0
) -> Plan:
    """Parameters for a corpus.

    Args:
        rows: descriptors in the corpus, at least 1.
        input_dimension: their length.
        sample: most descriptors to train on.
        dimension: most principal components to keep.
        lists, shards: 0 to choose; more than the corpus bears becomes fewer.

    Raises:
        ValueError: an empty corpus.
    """
    if rows < 1:
        raise ValueError("an index needs at least one described, geotagged photo")
    trained = min(rows, sample)
    # Components beyond half the sample are noise, and scaling by their spread would blow it up. Four make a part of
    # the residual that eight bits describe well, so their number is a multiple of four where it can be.
    kept = max(1, min(dimension, input_dimension, (trained - 1) // 2))
    kept = kept - kept % 4 if kept > 4 else kept
    most_lists = max(1, trained // _POINTS_A_CENTROID)
    # 4 sqrt(n): as many lists to look through as codes in the lists that are visited.
    chosen = lists or 2 ** max(0, round(4 * rows**0.5).bit_length() - 1)
    chosen = max(1, min(chosen, most_lists))
    groups = shards or max(2, -(-rows // _ROWS_A_SHARD))
    return Plan(
        rows=rows,
        sample=trained,
        input_dimension=input_dimension,
        dimension=kept,
        lists=max(chosen, min(2, trained)),
        subquantizers=max(1, kept // 4),
        bits=max(1, min(_MOST_BITS, (trained // _POINTS_A_CENTROID).bit_length() - 1)),
        shards=max(1, min(groups, max(chosen, min(2, trained)))),
    )
