"""Hot state of one process, in its memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from symphainy.model import Event
from symphainy.model.hot_keys import events_key
from symphainy.ports import Clock, Probe
from symphainy.public_works.fanout import QUEUE_MAX, Fanout, FanoutSubscription

ENTRIES_MAX = 20_000
BYTES_MAX = 32 << 20


class _Entry(NamedTuple):
    value: bytes
    expires_s: float


class MemoryHot:
    """`HotState` for one process. Past `entries_max` or `bytes_max` what was not used for longest is forgotten."""

    def __init__(
        self,
        clock: Clock,
        *,
        entries_max: int = ENTRIES_MAX,
        bytes_max: int = BYTES_MAX,
        queue_max: int = QUEUE_MAX,
    ) -> None:
        self._clock = clock
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._fanout = Fanout(clock, queue_max=queue_max)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Forgets everything, and lets those who listen read the log a last time."""
        self._entries.clear()
        self._bytes = 0
        self._fanout.lag_all()

    async def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        self._forget(key)
        self._entries[key] = _Entry(value, self._clock.monotonic() + ttl_s)
        self._bytes += len(value)
        while len(self._entries) > self._entries_max or self._bytes > self._bytes_max:
            self._forget(next(iter(self._entries)))

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_s <= self._clock.monotonic():
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def delete(self, key: str) -> None:
        self._forget(key)

    def publish(self, events: Sequence[Event]) -> None:
        for event in events:
            if event.execution_id is not None:
                self._fanout.offer(events_key(event.tenant_id, event.execution_id), event)

    def subscribe(self, tenant_id: str, execution_id: str) -> FanoutSubscription:
        return self._fanout.subscribe(events_key(tenant_id, execution_id))

    async def probe(self) -> Probe:
        return Probe(status="ok", detail=f"in this process: {len(self._entries)} entries, {self._bytes} bytes")

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry.value)
