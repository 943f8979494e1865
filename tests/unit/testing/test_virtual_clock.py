"""Time that passes when the test says so."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from symphainy.testing.clock import START, VirtualClock


async def note_after(clock: VirtualClock, seconds: float, notes: list[float]) -> None:
    await clock.sleep(seconds)
    notes.append(clock.monotonic())


async def test_time_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock()
    notes: list[float] = []
    sleeper = asyncio.create_task(note_after(clock, 5, notes))
    await clock.advance(4.999)
    assert (notes, clock.sleeping) == ([], 1)
    await clock.advance(0.001)
    assert (notes, clock.sleeping) == ([5.0], 0)
    await sleeper


async def test_the_three_readings_are_one_time() -> None:
    clock = VirtualClock()
    await clock.advance(1.5)
    assert clock.monotonic() == 1.5
    assert clock.now_ms() == round(START.timestamp() * 1000) + 1500
    assert clock.now().timestamp() * 1000 == clock.now_ms()


@given(delays=st.lists(st.integers(1, 50), max_size=12))
def test_sleepers_wake_in_order_each_at_its_own_deadline(delays: list[int]) -> None:
    async def scenario() -> list[float]:
        clock = VirtualClock()
        notes: list[float] = []
        async with asyncio.TaskGroup() as tasks:
            for delay in delays:
                tasks.create_task(note_after(clock, delay, notes))
            await clock.until_sleeping(len(delays))
            await clock.advance(50)
        return notes

    assert asyncio.run(scenario()) == sorted(delays)


async def test_one_who_sleeps_again_within_the_time_wakes_again() -> None:
    clock = VirtualClock()
    notes: list[float] = []

    async def ticking() -> None:
        for _ in range(3):
            await note_after(clock, 10, notes)

    task = asyncio.create_task(ticking())
    await clock.advance(35)
    assert notes == [10, 20, 30]
    await task


async def test_a_cancelled_sleeper_holds_up_nobody() -> None:
    clock = VirtualClock()
    notes: list[float] = []
    cancelled = asyncio.create_task(note_after(clock, 1, notes))
    other = asyncio.create_task(note_after(clock, 2, notes))
    await clock.until_sleeping(2)
    cancelled.cancel()
    await clock.advance(2)
    assert notes == [2.0]
    await other


async def test_sleeping_for_nothing_needs_no_time() -> None:
    clock = VirtualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.monotonic() == 0


async def test_an_automatic_clock_leaps_to_the_next_deadline() -> None:
    clock = VirtualClock(auto=True)
    notes: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        for delay in (3600, 60, 86_400):
            tasks.create_task(note_after(clock, delay, notes))
    await note_after(clock, 1, notes)
    assert notes == [60, 3600, 86_400, 86_401]
