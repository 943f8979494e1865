"""Instants: RFC 3339 in UTC with milliseconds and `Z`, as text. Text of this one form sorts as time does."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

Instant: TypeAlias = str


@lru_cache(maxsize=256)
def instant(unix_ms: int) -> Instant:
    """The instant `unix_ms` milliseconds after 1970-01-01T00:00:00Z."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def moment(value: Instant) -> datetime:
    """The same as an aware `datetime`. Raises `ValueError` when `value` is no instant."""
    parsed = datetime.fromisoformat(value)
    if parsed.tzinfo is None:
        raise ValueError(f"{value!r} names no time zone; write it in UTC with Z")
    try:
        return parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value!r} lies beyond the years 1 to 9999 in UTC") from None


def unix_ms(value: Instant) -> int:
    """Milliseconds since 1970-01-01T00:00:00Z."""
    return round(moment(value).timestamp() * 1000)
