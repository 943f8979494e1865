"""Time that passes when the test says so."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

START = datetime(2026, 1, 1, tzinfo=UTC)
#: Turns of the event loop that whoever was woken gets to run in before time passes on.
SETTLE_TURNS = 32


class VirtualClock:
    """`Clock` that stands still. `advance` moves it and wakes sleepers by their deadlines, each at its own time.

    With `auto=True` nobody needs to advance it: when nobody has gone to sleep for `SETTLE_TURNS` turns of the event
    loop, time leaps to the next deadline. Use that only where all that is awaited happens in this loop: a thread or
    a disk would be overtaken.
    """

    def __init__(self, start: datetime = START, *, auto: bool = False) -> None:
        self._start = start
        self._elapsed_s = 0.0
        self._auto = auto
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._arrivals: list[tuple[int, asyncio.Future[None]]] = []
        self._quiet_turns = 0
        self._leap_is_due = False

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def now_ms(self) -> int:
        return round(self.now().timestamp() * 1000)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, next(self._order), woken))
        self._announce_arrival()
        await woken

    @property
    def sleeping(self) -> int:
        """How many are asleep."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def until_sleeping(self, count: int = 1) -> None:
        """Return once at least `count` are asleep: for sleepers that first have to come back from a thread."""
        if self.sleeping >= count:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals.append((count, reached))
        await reached

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Whoever wakes and sleeps again within them wakes again."""
        target = self._elapsed_s + seconds
        await _settle()
        while self._wake_next(until=target):
            await _settle()
        self._elapsed_s = target

    def _announce_arrival(self) -> None:
        self._quiet_turns = 0
        for expected, reached in self._arrivals:
            if not reached.done() and self.sleeping >= expected:
                reached.set_result(None)
        self._arrivals = [pair for pair in self._arrivals if not pair[1].done()]
        if self._auto and not self._leap_is_due:
            self._leap_is_due = True
            asyncio.get_running_loop().call_soon(self._leap_when_quiet)

    def _leap_when_quiet(self) -> None:
        self._quiet_turns += 1
        if self._quiet_turns >= SETTLE_TURNS:
            self._quiet_turns = 0
            self._wake_next(until=float("inf"))
        self._leap_is_due = bool(self._sleepers)
        if self._leap_is_due:
            asyncio.get_running_loop().call_soon(self._leap_when_quiet)

    def _wake_next(self, *, until: float) -> bool:
        """Move to the next deadline and wake the one who waits for it. False when there is none by `until`."""
        while self._sleepers and self._sleepers[0][0] <= until:
            deadline, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._elapsed_s = max(self._elapsed_s, deadline)
                woken.set_result(None)
                return True
        return False


async def _settle() -> None:
    for _ in range(SETTLE_TURNS):
        await asyncio.sleep(0)
