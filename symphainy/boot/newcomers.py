"""How many people without a token may come in from one address."""

from __future__ import annotations

from collections import OrderedDict

from symphainy.civic import traffic_cop
from symphainy.civic.traffic_cop import RateState
from symphainy.errors import Limited
from symphainy.ports import Clock

#: Addresses that are remembered. Who was forgotten may come in as if for the first time.
ADDRESSES_MAX = 100_000


class Turnstile:
    """Lets so many newcomers a minute in from each address. Raises `Limited`."""

    def __init__(self, clock: Clock, per_minute: int) -> None:
        self._clock = clock
        self._per_minute = per_minute
        self._states: OrderedDict[str, RateState] = OrderedDict()

    def __call__(self, address: str | None) -> None:
        bucket = traffic_cop.bucket(None, address=address or "")
        decision, state = traffic_cop.rate(
            self._states.get(bucket), now_s=self._clock.monotonic(), per_minute=self._per_minute
        )
        self._states[bucket] = state
        self._states.move_to_end(bucket)
        if len(self._states) > ADDRESSES_MAX:
            self._states.popitem(last=False)
        if not decision.allowed:
            raise Limited(
                f"too many anonymous sessions from this address: {decision.reason}. {decision.remedy}",
                retry_after_s=decision.retry_after_s or 1.0,
                policy=decision.policy,
            )
