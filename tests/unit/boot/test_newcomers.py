"""A flood of people without tokens from one address is stopped at the door; others still come in."""

import pytest

from symphainy.boot import newcomers
from symphainy.boot.newcomers import Turnstile
from symphainy.errors import Limited
from symphainy.testing.clock import VirtualClock


async def test_so_many_a_minute_come_in_from_one_address() -> None:
    clock = VirtualClock()
    admit = Turnstile(clock, 2)
    admit("192.0.2.1")
    admit("192.0.2.1")
    with pytest.raises(Limited, match="too many anonymous sessions from this address: more than 2 requests") as refused:
        admit("192.0.2.1")
    assert refused.value.retry_after_s == 30
    assert refused.value.details["policy"] == "traffic_cop.rate"
    admit("192.0.2.2")
    await clock.advance(30)
    admit("192.0.2.1")


def test_one_customer_cannot_come_from_many_ipv6_addresses() -> None:
    admit = Turnstile(VirtualClock(), 1)
    admit("2001:db8::1")
    with pytest.raises(Limited):
        admit("2001:db8::2")


def test_whoever_was_not_seen_for_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers, "ADDRESSES_MAX", 2)
    admit = Turnstile(VirtualClock(), 1)
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        admit(address)
    admit("192.0.2.1")
    with pytest.raises(Limited):
        admit("192.0.2.3")
