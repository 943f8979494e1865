"""When to try again, and after how long."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from symphainy.errors import SymphainyError

_chance = secrets.SystemRandom()


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Exponential, with jitter; never sooner than the platform asked for. Times in seconds."""

    attempts_max: int = 7
    first_delay_s: float = 0.1
    delay_s_max: float = 5.0
    total_s_max: float = 30.0
    """Over all waits of one request. An answer that asks for a longer wait goes to the caller instead."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    fraction: Callable[[], float] = _chance.random
    """Uniform in [0, 1)."""

    def delay_s(self, attempt: int) -> float:
        """Before attempt `attempt` + 1: half of it fixed, half of it chance."""
        full = min(self.delay_s_max, self.first_delay_s * 2.0 ** (attempt - 1))
        return full * (0.5 + 0.5 * self.fraction())


NEVER = Retry(attempts_max=1)


class Attempts:
    """The attempts at one request, counted."""

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self.made = 0
        self.waited_s = 0.0

    async def after(self, refusal: SymphainyError) -> None:
        """Wait until it is time to try again. Raises `refusal` when it is not to be tried again."""
        self.made += 1
        delay_s = self._retry.delay_s(self.made)
        # The jitter comes on top: those who were refused together must not come back together.
        delay_s += float(refusal.details.get("retry_after_s", 0.0))
        if self.made >= self._retry.attempts_max or self.waited_s + delay_s > self._retry.total_s_max:
            if self.made > 1:
                refusal.add_note(f"tried {self.made} times in {self.waited_s:.1f} s")
            raise refusal
        self.waited_s += delay_s
        await self._retry.sleep(delay_s)
