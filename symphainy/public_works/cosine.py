"""Exact nearest neighbours among unit vectors, by numpy where it is installed and in plain Python where it is not."""

from __future__ import annotations

import importlib
import math
import operator
from array import array
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

from symphainy.errors import Invalid

FLOAT_BYTES = 4
#: How far from one the length of a vector may be.
UNIT_TOLERANCE = 1e-3
#: The same row gets another float32 sum in another place of the matrix; what is this close is scored again, exactly.
_ROUGH_MARGIN = 1e-4


class Block(NamedTuple):
    """Vectors of one length: the key and the owner of each, and all their float32 in a line."""

    keys: array[int]
    owners: array[int]
    rows: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.rows) + 16 * len(self.keys)


class Near(NamedTuple):
    key: int
    score: float


def packed(vector: Sequence[float]) -> bytes:
    """As float32. Raises `Invalid` for what is not a vector of unit length."""
    try:
        row = array("f", vector)
    except (TypeError, OverflowError) as error:
        raise Invalid(f"not a vector: {error}") from None
    length = math.sqrt(math.fsum(map(operator.mul, row, row))) if all(map(math.isfinite, row)) else math.nan
    if not abs(length - 1) <= UNIT_TOLERANCE:  # as it reads, a NaN is not within either
        raise Invalid(f"a vector of length {length:g}; it must be of unit length")
    return row.tobytes()


def nearest(block: Block, query: bytes, *, owners: frozenset[int] | None, limit: int) -> list[Near]:
    """The best `limit` rows and those exactly as good as the last of them, best first. `owners` narrows to theirs."""
    scored = _scorer()(block, query, owners, limit)
    return best(scored, limit)


def best(scored: list[Near], limit: int) -> list[Near]:
    """The first `limit` by score, and those exactly as good as the last of them."""
    scored = sorted(scored, key=lambda near: (-near.score, near.key))
    if len(scored) > limit:
        worst = scored[limit - 1].score
        scored = [near for near in scored if near.score >= worst]
    return scored


@cache
def _scorer() -> Callable[[Block, bytes, frozenset[int] | None, int], list[Near]]:
    try:
        numpy = importlib.import_module("numpy")
    except ImportError:
        return score_in_python
    return partial(score_by_numpy, numpy)


def score_in_python(block: Block, query: bytes, owners: frozenset[int] | None, limit: int) -> list[Near]:
    """All rows. Some 15 µs a row of 384 numbers."""
    wanted = array("f", query)
    rows = memoryview(block.rows).cast("f")
    width = len(wanted)
    return [
        Near(key, min(1.0, math.fsum(map(operator.mul, wanted, rows[i * width : (i + 1) * width]))))
        for i, (key, owner) in enumerate(zip(block.keys, block.owners, strict=True))
        if owners is None or owner in owners
    ]


def score_by_numpy(numpy: Any, block: Block, query: bytes, owners: frozenset[int] | None, limit: int) -> list[Near]:
    """At least the best `limit` rows. Some 0.1 µs a row of 384 numbers, and float64 for what may be among the best."""
    wanted = numpy.frombuffer(query, numpy.float32)
    rows = numpy.frombuffer(block.rows, numpy.float32).reshape(len(block.keys), len(wanted))
    chosen = numpy.arange(len(block.keys))
    if owners is not None:
        chosen = chosen[numpy.isin(numpy.frombuffer(block.owners, numpy.int64), list(owners))]
    if len(chosen) > limit:
        rough = (rows @ wanted)[chosen]
        worst = numpy.partition(rough, len(rough) - limit)[len(rough) - limit]
        chosen = chosen[rough >= worst - _ROUGH_MARGIN]
    exact = (rows[chosen].astype(numpy.float64) * wanted.astype(numpy.float64)).sum(axis=1).clip(max=1)
    return [Near(block.keys[i], score) for i, score in zip(chosen.tolist(), exact.tolist(), strict=True)]
