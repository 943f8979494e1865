"""The machine's time."""

from datetime import UTC

from symphainy.public_works.clock import SystemClock


def test_an_instant_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is UTC


def test_milliseconds_and_instant_are_the_same_time() -> None:
    clock = SystemClock()
    before, now, after = clock.now_ms(), clock.now(), clock.now_ms()
    assert before <= now.timestamp() * 1000 < after + 1


async def test_sleep_returns_when_the_time_has_passed() -> None:
    clock = SystemClock()
    start = clock.monotonic()
    await clock.sleep(0.02)
    assert clock.monotonic() - start >= 0.019
