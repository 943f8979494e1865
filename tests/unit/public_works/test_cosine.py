"""Exact nearest neighbours, by numpy and in plain Python."""

import random
from array import array

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.public_works.cosine import Block, best, nearest, packed, score_by_numpy, score_in_python
from symphainy.testing.conformance.search import unit


def block(rows: list[list[float]], owners: list[int] | None = None) -> Block:
    return Block(
        keys=array("q", range(100, 100 + len(rows))),
        owners=array("q", owners or [1] * len(rows)),
        rows=b"".join(map(packed, rows)),
    )


def test_numpy_and_plain_python_agree() -> None:
    chance = random.Random(3)
    rows = [unit(*(chance.gauss(0, 1) for _ in range(384))) for _ in range(300)]
    many = block(rows, [n % 4 for n in range(300)])
    for owners in (None, frozenset({1, 3}), frozenset({9}), frozenset[int]()):
        query = packed(rows[chance.randrange(300)])
        for limit in (1, 10, 299, 300, 1000):
            fast = best(score_by_numpy(numpy, many, query, owners, limit), limit)
            slow = best(score_in_python(many, query, owners, limit), limit)
            assert [near.key for near in fast] == [near.key for near in slow]
            assert [near.score for near in fast] == pytest.approx([near.score for near in slow], abs=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 64, 100])
def test_equal_rows_have_equal_scores_wherever_they_stand(count: int) -> None:
    row = unit(*range(1, 385))
    scores = {near.score for near in score_by_numpy(numpy, block([row] * count), packed(row), None, count)}
    assert len(scores) == 1


@given(scores=st.lists(st.integers(0, 3), max_size=12), limit=st.integers(1, 5))
def test_ties_with_the_last_are_kept(scores: list[int], limit: int) -> None:
    angles = [unit(1, score) for score in scores]
    found = nearest(block(angles), packed(unit(1, 0)), owners=None, limit=limit) if angles else []
    ranked = sorted(scores)
    worst = ranked[limit - 1] if len(ranked) >= limit else 3
    assert sorted(scores[near.key - 100] for near in found) == [score for score in ranked if score <= worst]


def test_no_score_is_above_one() -> None:
    row = unit(*(0.1 * n for n in range(1, 385)))
    (near,) = nearest(block([row]), packed(row), owners=None, limit=1)
    assert near.score <= 1
