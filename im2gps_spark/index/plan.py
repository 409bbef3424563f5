"""An index's parameters, chosen from the corpus' size and said before work starts."""

from __future__ import annotations

from dataclasses import asdict, dataclass

# Points a centroid below which clustering fits noise, and above which it gains little (measured, docs/index.md).
_POINTS_A_CENTROID = 30
# What code words are given where there is as much. FAISS trains on so many vectors quicker than on half of them.
_POINTS_A_WORD = 128
# Of a covariance's rows: the first components are those of the corpus by then.
_PHOTOS_A_NUMBER = 10
_LEAST_FOR_COMPONENTS = 2**16
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
        opq: 1 if the components are turned to lose less by the codes, 0 if not.
    """

    rows: int
    sample: int
    input_dimension: int
    dimension: int
    lists: int
    subquantizers: int
    bits: int
    shards: int
    opq: int = 0

    @property
    def components_sample(self) -> int:
        """Of the sample, photos that the principal components come from: of a large one a part will do."""
        return min(self.sample, max(_LEAST_FOR_COMPONENTS, 2 * _PHOTOS_A_NUMBER * self.input_dimension))

    @property
    def code_bytes(self) -> int:
        """Of a photo's code."""
        return (self.subquantizers * self.bits + 7) // 8

    def as_dict(self) -> dict[str, int]:
        """For the manifest."""
        return asdict(self)

    def describe(self) -> list[str]:
        """What will be made, in lines."""
        lines = [
            f"{self.rows} descriptors of {self.input_dimension} numbers, {self.sample} of them to train on",
            f"{self.dimension} components{', turned by OPQ' if self.opq else ''}, {self.lists} lists, "
            f"{self.subquantizers} x {self.bits} bits ({self.code_bytes} bytes a photo), {self.shards} shards",
        ]
        if self.bits < _MOST_BITS:
            wanted = _POINTS_A_CENTROID * 2**_MOST_BITS
            lines.append(
                f"a small corpus: codes of {self.bits} bits, for {_MOST_BITS} want {wanted} photos to train on; "
                "exact re-ranking makes up for them"
            )
        return lines


def plan(
    rows: int,
    input_dimension: int,
    *,
    sample: int,
    dimension: int = 128,
    lists: int = 0,
    shards: int = 0,
    opq: int = 0,
) -> Plan:
    """Parameters for a corpus.

    Args:
        rows: descriptors in the corpus, at least 1.
        input_dimension: their length.
        sample: most descriptors to train on; no more are taken than the lists, the codes and the components need.
        dimension: most principal components to keep.
        lists, shards: 0 to choose; more than the corpus bears becomes fewer.
        opq: 1 to turn the components.

    Raises:
        ValueError: an empty corpus.
    """
    if rows < 1:
        raise ValueError("an index needs at least one described, geotagged photo")
    most = min(rows, sample)
    # 4 sqrt(n): as many lists to look through as codes in the lists that are visited.
    wanted_lists = lists or 2 ** max(0, round(4 * rows**0.5).bit_length() - 1)
    chosen = max(min(wanted_lists, most // _POINTS_A_CENTROID), min(2, most))
    needs = _POINTS_A_CENTROID * chosen, _POINTS_A_WORD * 2**_MOST_BITS, _PHOTOS_A_NUMBER * input_dimension
    trained = min(most, max(needs))
    # Components beyond half the sample are noise, and scaling by their spread would blow it up. Four make a part of
    # the residual that eight bits describe well, so their number is a multiple of four where it can be.
    kept = max(1, min(dimension, input_dimension, (trained - 1) // 2))
    kept = kept - kept % 4 if kept > 4 else kept
    return Plan(
        rows=rows,
        sample=trained,
        input_dimension=input_dimension,
        dimension=kept,
        lists=chosen,
        subquantizers=max(1, kept // 4),
        bits=max(1, min(_MOST_BITS, (trained // _POINTS_A_CENTROID).bit_length() - 1)),
        shards=max(1, min(shards or max(2, -(-rows // _ROWS_A_SHARD)), chosen)),
        opq=opq,
    )
