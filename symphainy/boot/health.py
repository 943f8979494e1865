"""Is it healthy? Each check asks the thing itself, all at once and within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import structlog
from msgspec.structs import replace

from symphainy import __version__
from symphainy.civic import nurse
from symphainy.civic.nurse import Condition
from symphainy.door import Check, Health
from symphainy.errors import SymphainyError
from symphainy.ports import Clock, Probe
from symphainy.runtime.attempt import attempt
from symphainy.wire.operations import AskHealth

Ask: TypeAlias = Callable[[], Awaitable[Probe]]


class HealthDesk:
    """Runs the probes. Who asks while others are being answered gets their answer: a flood of questions is one."""

    def __init__(
        self, *, profile: str, clock: Clock, timeout_s: float, probes: Mapping[str, Ask], vital: frozenset[str]
    ) -> None:
        self._profile = profile
        self._clock = clock
        self._timeout_s = timeout_s
        self._probes = dict(probes)
        self._vital = vital
        self._asked: asyncio.Task[Health] | None = None
        self._last = Condition.OK

    async def health(self) -> Health:
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._ask_all())
        # Whoever hangs up does not take the answer away from the others.
        return await asyncio.shield(self._asked)

    async def _ask_all(self) -> Health:
        found = await asyncio.gather(*(self._ask(name, ask) for name, ask in self._probes.items()))
        checks = dict(zip(self._probes, found, strict=True))
        verdict = nurse.rollup(checks, vital=self._vital)
        if verdict.status is not self._last:
            self._last = verdict.status
            structlog.get_logger().warning("health_changed", status=verdict.status, reason=verdict.reason)
        return Health(status=verdict.status, version=__version__, profile=self._profile, checks=checks)

    async def _ask(self, name: str, ask: Ask) -> Check:
        began = self._clock.monotonic()
        outcome = await attempt(ask(), timeout_s=self._timeout_s, what=f"the probe of {name}")
        latency_ms = round((self._clock.monotonic() - began) * 1000, 3)
        if outcome.error is not None:
            return Check(status=Condition.DOWN, detail=_said(outcome.error), latency_ms=latency_ms)
        assert outcome.value is not None
        return Check(status=outcome.value.status, detail=outcome.value.detail, latency_ms=latency_ms)


def _said(error: Exception) -> str:
    # What a driver says may hold addresses and paths; our own messages are written to be shown.
    return error.message if isinstance(error, SymphainyError) else type(error).__name__


def public(ask: AskHealth) -> AskHealth:
    """Anybody may ask for health at the public address. Folders and hosts are for the log and the Runtime."""

    async def health() -> Health:
        found = await ask()
        checks = {name: replace(each, detail=each.status) for name, each in found.checks.items()}
        return replace(found, checks=checks)

    return health
