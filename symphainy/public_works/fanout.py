"""Handing events to whoever listens in this process. The memory and the Redis adapter of `HotState` share it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from symphainy.model import Event
from symphainy.ports import Clock

#: Events one subscriber may be behind before it has to read the log.
QUEUE_MAX = 1000


class Fanout:
    """Subscriptions by channel. For the event loop's thread only."""

    def __init__(self, clock: Clock, *, queue_max: int = QUEUE_MAX) -> None:
        self._clock = clock
        self._queue_max = queue_max
        self._listening: dict[str, set[FanoutSubscription]] = {}

    @property
    def channels(self) -> frozenset[str]:
        """Those that somebody listens to."""
        return frozenset(self._listening)

    def subscribe(self, channel: str, *, on_close: Callable[[], None] | None = None) -> FanoutSubscription:
        def leave() -> None:
            listening = self._listening[channel]
            listening.discard(subscription)
            if not listening:
                del self._listening[channel]
            if on_close:
                on_close()

        subscription = FanoutSubscription(self._clock, self._queue_max, leave)
        self._listening.setdefault(channel, set()).add(subscription)
        return subscription

    def offer(self, channel: str, event: Event) -> None:
        for subscription in self._listening.get(channel, ()):
            subscription.offer(event)

    def lag(self, channel: str) -> None:
        """Tell who listens to the channel that events were, or may have been, dropped."""
        for subscription in self._listening.get(channel, ()):
            subscription.lag()

    def lag_all(self) -> None:
        for channel in self._listening:
            self.lag(channel)


class FanoutSubscription:
    """`Subscription` with a bounded queue. One reader at a time."""

    def __init__(self, clock: Clock, queue_max: int, leave: Callable[[], None]) -> None:
        self._clock = clock
        self._queue_max = queue_max
        self._leave = leave
        self._queue: deque[Event] = deque()
        self._lagging = False
        self._is_closed = False
        self._wake = asyncio.Event()

    async def next(self, timeout_s: float | None = None) -> Event | None:
        assert not self._is_closed, "the subscription is closed"
        if not self._queue and not self._lagging:
            await self._wait(timeout_s)
        if self._lagging or not self._queue:
            return None
        return self._queue.popleft()

    @property
    def lagging(self) -> bool:
        was_lagging, self._lagging = self._lagging, False
        return was_lagging

    def close(self) -> None:
        """Whoever waits in `next` gets None."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.clear()
            self._leave()
            self._wake.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def offer(self, event: Event) -> None:
        if len(self._queue) >= self._queue_max:
            self.lag()
        else:
            self._queue.append(event)
            self._wake.set()

    def lag(self) -> None:
        """What is queued goes too: it was in the log before it came here, and the log is what will be read."""
        self._queue.clear()
        self._lagging = True
        self._wake.set()

    async def _wait(self, timeout_s: float | None) -> None:
        self._wake.clear()
        if timeout_s is None:
            await self._wake.wait()
            return
        loop = asyncio.get_running_loop()
        waiting = {loop.create_task(self._wake.wait()), loop.create_task(self._clock.sleep(timeout_s))}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
