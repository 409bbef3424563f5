"""What search finds and costs by its setting: the table that ``tune`` measures, and the setting that it chooses.

Work is counted, not timed: a setting that is the cheapest on one machine is so on another, and on a busy one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

CODE_US, VECTOR_US = 0.016, 0.27
"""Microseconds of one core to scan a code, with its part of its list's tables, and to compare a vector of 128 numbers
again (benchmarks/bench_tune.py). Only their ratio matters to the choice."""

VOTERS = 0.99
"""Of the neighbours that are to vote a setting must find so many, whatever its recall: search is not made cheaper by
letting fewer vote."""


@dataclass(frozen=True)
class Setting:
    """How an index is searched.

    Attributes:
        nprobe: inverted lists visited for a query.
        rerank: photos of each shard, the first by their codes, that are compared again by their vectors.
    """

    nprobe: int
    rerank: int


@dataclass(frozen=True)
class Row:
    """What a setting found and did: means over queries.

    Attributes:
        nprobe, rerank: the setting.
        recall: share of the true neighbours that were found.
        voters: neighbours found, over those that are to vote, or as many as there are.
        codes: scanned for a query.
        vectors: compared again for a query.
        work_us: what both cost, in microseconds.
    """

    nprobe: int
    rerank: int
    recall: float
    voters: float
    codes: float
    vectors: float
    work_us: float

    @classmethod
    def of(cls, setting: Setting, recall: float, voters: float, codes: float, vectors: float) -> Row:
        """A row with its work counted."""
        work = codes * CODE_US + vectors * VECTOR_US
        return cls(setting.nprobe, setting.rerank, recall, voters, codes, vectors, work)

    @property
    def setting(self) -> Setting:
        """The setting."""
        return Setting(self.nprobe, self.rerank)

    @property
    def whole(self) -> bool:
        """Whether the neighbours that are to vote were found."""
        return self.voters >= VOTERS

    @property
    def shown(self) -> str:
        """The recall for people, with a star where fewer vote."""
        return f"{self.recall:.4f}{'' if self.whole else '*'}"


@dataclass(frozen=True)
class Recall:
    """The recall of an index version, and the setting by which it is searched.

    Attributes:
        target: recall that was asked for.
        k: true neighbours of a query that recall is about.
        neighbours: that are to vote (``geolocate.k``).
        queries: that were asked.
        collection: theirs.
        measured_on: index version that it was measured on.
        chosen: the row of the setting in use.
        rows: of all settings; none where the setting came from an earlier version of the index.
    """

    target: float
    k: int
    neighbours: int
    queries: int
    collection: str
    measured_on: str
    chosen: Row
    rows: list[Row]

    @property
    def holds(self) -> bool:
        """Whether the setting keeps the promise."""
        return self.chosen.recall >= self.target

    def inherited(self) -> Recall:
        """For an index of the same training and other photos: the setting goes on, the table is not of that index."""
        return replace(self, rows=[])

    def describe(self) -> list[str]:
        """Lines for people: recall by lists and re-ranked photos, and what was chosen.

        A star marks settings that let fewer vote.
        """
        reranks = sorted({row.rerank for row in self.rows})
        found = {(row.nprobe, row.rerank): row for row in self.rows}
        lines = [f"{'lists':>6}{'codes':>12}" + "".join(f"{f'R={r}':>9}" for r in reranks)]
        for nprobe in sorted({row.nprobe for row in self.rows}):
            mine = [found[nprobe, rerank] for rerank in reranks]
            lines.append(f"{nprobe:>6}{mine[0].codes:>12,.0f}" + "".join(f"{row.shown:>9}" for row in mine))
        few = [f"* finds fewer than {VOTERS:.0%} of the neighbours that are to vote"]
        return [*lines, *(few if not all(row.whole for row in self.rows) else []), self.verdict()]

    def verdict(self) -> str:
        """The choice in a sentence."""
        best = self.chosen
        said = (
            f"nprobe {best.nprobe}, rerank {best.rerank}: recall@{self.k} {best.recall:.4f}, "
            f"{best.codes:,.0f} codes and {best.vectors:,.0f} vectors a query"
        )
        if self.holds:
            return f"the cheapest setting for a recall of {self.target:g}: {said}"
        return f"a recall of {self.target:g} is out of reach, the promise does not hold; the best there is: {said}"

    @classmethod
    def of_fields(cls, fields: dict[str, Any]) -> Recall:
        """From what ``dataclasses.asdict`` made of it.

        Raises:
            TypeError, KeyError: it is none.
        """
        rows = [Row(**row) for row in fields["rows"]]
        return cls(**{**fields, "chosen": Row(**fields["chosen"]), "rows": rows})


def as_fields(recall: Recall | None) -> dict[str, Any]:
    """For the manifest: nothing of an index that was not tuned."""
    return {} if recall is None else {"recall": asdict(recall)}


def choose(rows: Sequence[Row], target: float) -> Row:
    """The cheapest setting that reaches a recall; if none does, the cheapest of those of the greatest recall.

    Either must find the voters (``VOTERS``), where any setting does.

    Args:
        rows: at least one.
        target: recall, 0 to 1.
    """
    most = max(row.voters for row in rows)
    whole = [row for row in rows if row.voters >= min(VOTERS, most)]
    best = max(row.recall for row in whole)
    good = [row for row in whole if row.recall >= min(target, best)]
    return min(good, key=lambda row: (row.work_us, row.nprobe, row.rerank))
