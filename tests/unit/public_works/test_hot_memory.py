"""MemoryHot under the suite of its port, and its bounds."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from symphainy.public_works.hot_memory import MemoryHot
from symphainy.testing.clock import VirtualClock
from symphainy.testing.conformance.hot import QUEUE_MAX, HotRules, event


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


class TestMemoryHot(HotRules):
    @pytest_asyncio.fixture
    async def hot(self, clock: VirtualClock) -> AsyncIterator[MemoryHot]:
        made = MemoryHot(clock, queue_max=QUEUE_MAX)
        await made.open()
        yield made
        await made.close()

    @pytest.fixture
    def pass_time(self, clock: VirtualClock) -> Callable[[float], Awaitable[None]]:
        return clock.advance


async def test_past_its_entries_it_forgets_what_was_not_used_for_longest(clock: VirtualClock) -> None:
    hot = MemoryHot(clock, entries_max=3)
    for name in ("a", "b", "c"):
        await hot.put(name, b"x", ttl_s=60)
    await hot.get("a")
    await hot.put("d", b"x", ttl_s=60)
    assert [await hot.get(name) for name in "abcd"] == [b"x", None, b"x", b"x"]


async def test_past_its_bytes_it_forgets_likewise(clock: VirtualClock) -> None:
    hot = MemoryHot(clock, bytes_max=10)
    await hot.put("a", b"12345", ttl_s=60)
    await hot.put("b", b"12345", ttl_s=60)
    await hot.put("b", b"1234567", ttl_s=60)
    assert [await hot.get("a"), await hot.get("b")] == [None, b"1234567"]
    await hot.put("c", b"x" * 11, ttl_s=60)
    assert [await hot.get("b"), await hot.get("c")] == [None, None]
    assert (await hot.probe()).detail == "in this process: 0 entries, 0 bytes"


async def test_closing_sends_whoever_listens_to_the_log(clock: VirtualClock) -> None:
    hot = MemoryHot(clock)
    subscription = hot.subscribe("acme", "exe_1")
    hot.publish([event(1)])
    await hot.close()
    assert (await subscription.next(), subscription.lagging) == (None, True)
    subscription.close()
