"""Ids from the system's randomness, and from a seed."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from symphainy.ports import Ids
from symphainy.public_works.ids import SystemIds
from symphainy.testing.clock import VirtualClock
from symphainy.testing.ids import SeededIds


@pytest.fixture(params=[SystemIds, SeededIds])
def ids(request: pytest.FixtureRequest) -> Ids:
    made: Ids = request.param()
    return made


def test_an_id_is_its_prefix_and_26_digits(ids: Ids) -> None:
    for made in [ids.new("exe") for _ in range(600)]:
        assert re.fullmatch(r"exe_[0-9a-z]{26}", made)


async def test_ids_sort_as_they_were_made() -> None:
    clock = VirtualClock()
    ids, made = SystemIds(clock), []
    for _ in range(50):
        made.append(ids.new("exe"))
        await clock.advance(0.001)
    assert made == sorted(made)


def test_no_two_ids_are_the_same(ids: Ids) -> None:
    assert len({ids.new("art") for _ in range(2_000)}) == 2_000


def test_every_random_bit_of_an_id_varies() -> None:
    ids = SystemIds()
    numbers = [int(ids.new("a")[-16:], 32) for _ in range(2_000)]
    ones = [sum(number >> bit & 1 for number in numbers) for bit in range(80)]
    assert all(800 < count < 1_200 for count in ones)


def test_threads_share_one_source_and_never_an_id() -> None:
    ids = SystemIds()
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda _: [ids.new("x") for _ in range(1_000)], range(8)))
    assert len({each for some in drawn for each in some}) == 8_000


FORK = """
import os
from symphainy.public_works.ids import SystemIds

ids = SystemIds()
ids.new("x")
child = os.fork()
if child:  # one after the other, so that their lines do not mix
    os.waitpid(child, 0)
print(*(ids.new("x") for _ in range(300)), sep="\\n", flush=True)
"""


def test_a_forked_process_draws_other_ids() -> None:
    drawn = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True).stdout
    assert len(drawn.split()) == len(set(drawn.split())) == 600


def test_a_fraction_lies_in_the_unit_interval(ids: Ids) -> None:
    drawn = [ids.fraction() for _ in range(1_000)]
    assert 0 <= min(drawn) < 0.1
    assert 0.9 < max(drawn) < 1
    assert len(set(drawn)) == 1_000


def test_token_bytes_have_the_length_asked_for(ids: Ids) -> None:
    assert [len(ids.token_bytes(count)) for count in (0, 1, 32)] == [0, 1, 32]


def test_one_seed_gives_one_sequence() -> None:
    def drawn(seed: int) -> list[object]:
        ids = SeededIds(seed)
        return [ids.new("exe"), ids.token_bytes(8), ids.fraction(), ids.new("exe")]

    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
