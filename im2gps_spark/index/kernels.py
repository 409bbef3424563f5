"""Compiled loops of the search: ids to rows, who may be seen, distances by the kept vectors, ties in order.

Arrays (n, m) are of candidates: a row a query, and -1 or infinity where there are no more.
"""

from __future__ import annotations

from typing import Any, cast

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from im2gps_spark.posterior.kernels import ON_DISK

# Half precision in single: exponents are 112 apart, fractions 13 bits.
_SIGN, _REST, _FRACTION = np.uint32(0x8000), np.uint32(0x7FFF), np.uint32(13)
_NORMAL, _SUBNORMAL = np.uint32(112 << 23), np.uint32(113 << 23)
_LEAST_NORMAL, _SMALLEST = np.uint32(1 << 23), np.float32(2.0**-14)


# Rows lie anywhere in memory. Each is asked for so many rows before it is needed, all its lines of the cache: measured
# with 128 numbers a row, that takes a seventh of the time.
_AHEAD, LINE = 8, 32


def _prefetch(_typing: Any, halves: Any, row: Any, column: Any) -> Any:  # pragma: no cover - compiled
    """Asks memory for what lies at ``halves[row, column]``; must not be outside."""

    item, declared = cast(Any, cgutils.get_item_pointer), cast(Any, cgutils.get_or_insert_function)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        here = [
            context.cast(builder, argument, kind, types.intp)
            for argument, kind in zip(arguments[1:], signature.args[1:], strict=True)
        ]
        address = item(context, builder, signature.args[0], array, here, wraparound=False)
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        prefetch = declared(builder.module, kind, "llvm.prefetch.p0")
        # To be read (0), again soon (3), data (1).
        builder.call(prefetch, [builder.bitcast(address, pointer), number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(halves, row, column), generate


_ask_for: Any = intrinsic(_prefetch)


@numba.njit(cache=ON_DISK, nogil=True)
def find_slots(photo_id, ids, slots):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Writes where ids (n, m) stand among the ascending ``photo_id`` (rows,); False where one does not."""
    there = True
    for i in range(ids.shape[0]):
        for j in range(ids.shape[1]):
            slots[i, j] = 0
        # Step by step for the whole row: its look-ups wait for memory together, not one after another.
        left = len(photo_id)
        while left > 1:
            half = left // 2
            for j in range(ids.shape[1]):
                middle = slots[i, j] + half
                slots[i, j] = middle if photo_id[middle] <= ids[i, j] else slots[i, j]
            left -= half
        for j in range(ids.shape[1]):
            if ids[i, j] < 0:
                slots[i, j] = -1
            elif photo_id[slots[i, j]] != ids[i, j]:
                there = False
    return there


@numba.njit(cache=ON_DISK, nogil=True)
def keep_eligible(  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    distance, ids, slots, photos, owner, owners, to_distance, to_ids, to_slots
):
    """Writes each row's first candidates but for the query's photo and its owner's; returns how many they are (n,).

    Args:
        distance, ids, slots: (n, m).
        photos: (n,) the queries' own ids.
        owner: (rows,) of the shard's photos; owners: (n,) of the queries, or of length 0 if all owners have a vote.
        to_distance, to_ids, to_slots: (n, most) to write to.
    """
    kept = np.zeros(len(ids), np.int64)
    for i in range(ids.shape[0]):
        at = 0
        for j in range(ids.shape[1]):
            if at == to_ids.shape[1] or ids[i, j] < 0:
                break
            if ids[i, j] == photos[i] or (len(owners) > 0 and owner[slots[i, j]] == owners[i]):
                continue
            to_distance[i, at], to_ids[i, at], to_slots[i, at] = distance[i, j], ids[i, j], slots[i, j]
            at += 1
        kept[i] = at
    return kept


# The order of a sum in float64 is the compiler's, and changes with the processor; squares of float32 are exact in it,
# and rounded to float32 the sum is the same in any order.
@numba.njit(cache=ON_DISK, nogil=True, fastmath={"reassoc", "nsz"}, error_model="numpy")
def exact_distances(halves, slots, queries, out, line):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Writes Euclidean distances, rounded to float32, between queries and some rows.

    Args:
        halves: (rows, dimension) uint16, bits of finite numbers in half precision.
        slots: (n, m) rows to look at; -1 for none: ``out`` is left there.
        queries: (n, dimension) float32.
        out: (n, m) to write to.
        line: numbers that are asked for at once; an argument, for the compiler makes one burst of a constant, and of
            eight requests at once some are passed over.
    """
    for i in range(slots.shape[0]):
        for j in range(slots.shape[1]):
            slot = slots[i, j]
            if j + _AHEAD < slots.shape[1] and slots[i, j + _AHEAD] >= 0:
                for c in range(0, halves.shape[1], line):
                    _ask_for(halves, slots[i, j + _AHEAD], c)
            if slot < 0:
                continue
            total = 0.0
            for c in range(halves.shape[1]):
                bits = np.uint32(halves[slot, c])
                rest = np.uint32((bits & _REST) << _FRACTION)
                normal = np.uint32(rest + _NORMAL).view(np.float32)
                # No float32 on the way is subnormal: those take a hundred cycles, or are flushed to zero.
                small = np.uint32(rest + _SUBNORMAL).view(np.float32) - _SMALLEST
                value = normal if rest >= _LEAST_NORMAL else small
                value = -value if bits & _SIGN else value
                offset = np.float64(value - queries[i, c])
                total += offset * offset
            out[i, j] = np.float32(np.sqrt(total))


# Sums run over the rows of the matrix: that is a vector's work in the order that is written here, on any processor.
@numba.njit(cache=ON_DISK, nogil=True)
def variances(vectors, covariance):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """(n,) of the products with random vectors of a covariance (d, d) that vectors (n, d) have; all float64."""
    out, product = np.empty(len(vectors)), np.empty(vectors.shape[1])
    for i in range(vectors.shape[0]):
        product[:] = 0.0
        for r in range(covariance.shape[0]):
            for c in range(covariance.shape[1]):
                product[c] += vectors[i, r] * covariance[r, c]
        total = 0.0
        for c in range(covariance.shape[1]):
            total += vectors[i, c] * product[c]
        out[i] = total
    return out


@numba.njit(cache=ON_DISK, nogil=True)
def order_ties(distance, ids, rank, most):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Makes an order by distance one by (distance, id), as far as its first ``most`` places.

    Args:
        distance, ids: (n, m).
        rank: (n, m) places of the candidates, in each row by distance; changed.
        most: places that will be used.
    """
    for i in range(rank.shape[0]):
        begin, rising = 0, True
        for end in range(1, rank.shape[1] + 1):
            if end < rank.shape[1] and distance[i, rank[i, end]] == distance[i, rank[i, begin]]:
                rising = rising and ids[i, rank[i, end - 1]] <= ids[i, rank[i, end]]
                continue
            if not rising:
                theirs = np.empty(end - begin, np.int64)
                for j in range(begin, end):
                    theirs[j - begin] = ids[i, rank[i, j]]
                rank[i, begin:end] = rank[i, begin:end][np.argsort(theirs)]
            begin, rising = end, True
            if begin >= most:
                break


@numba.njit(cache=ON_DISK, nogil=True)
def keep_first(ends, every, found, last, distance, ids):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Writes the first candidates of each query by (distance, id), in no order.

    Args:
        ends: (n + 1,) the candidates of query i are those from ends[i] to ends[i + 1].
        every, found: distances and ids of all.
        last: (n,) the distance of the last to be kept.
        distance, ids: (n, most) to write to.
    """
    for i in range(len(last)):
        at, ties = 0, 0
        for j in range(ends[i], ends[i + 1]):
            if every[j] < last[i]:
                distance[i, at], ids[i, at] = every[j], found[j]
                at += 1
            elif every[j] == last[i]:
                ties += 1
        if ties > 0:
            theirs, next_tie = np.empty(ties, np.int64), 0
            for j in range(ends[i], ends[i + 1]):
                if every[j] == last[i]:
                    theirs[next_tie] = found[j]
                    next_tie += 1
            theirs.sort()
            for photo in theirs[: ids.shape[1] - at]:
                distance[i, at], ids[i, at] = last[i], photo
                at += 1


@numba.njit(cache=ON_DISK, nogil=True)
def sort_ties(distance, ids):  # type: ignore[no-untyped-def]  # pragma: no cover - compiled
    """Sorts the ids (n, m) of candidates that are in the order of their distances (n, m) where these are equal."""
    for i in range(ids.shape[0]):
        begin, rising = 0, True
        for end in range(1, ids.shape[1] + 1):
            if end < ids.shape[1] and distance[i, end] == distance[i, begin]:
                rising = rising and ids[i, end - 1] <= ids[i, end]
                continue
            if not rising:
                ids[i, begin:end] = np.sort(ids[i, begin:end])
            begin, rising = end, True
