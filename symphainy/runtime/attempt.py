"""The one place where whatever a handler or a step raises is caught.

It becomes a value, and is recorded by whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

import msgspec

from symphainy.errors import SymphainyError, TimedOut
from symphainy.model import Failure, JsonObject
from symphainy.model.json import canonical, parse

T = TypeVar("T")

MESSAGE_CHARS_MAX = 2000


class Suspended(BaseException):
    """Unwinds a handler whose execution goes on later, from the top. Not an `Exception`: no handler should catch it."""


class Outcome(Generic[T]):
    """Either a value or an error."""

    __slots__ = ("error", "value")

    def __init__(self, value: T | None = None, error: Exception | None = None) -> None:
        self.value = value
        self.error = error


async def attempt(work: Awaitable[T], *, timeout_s: float | None = None, what: str) -> Outcome[T]:
    """Await `work`. Cancellation and `Suspended` pass through. `what` names the work in a time-out's message."""
    try:
        return Outcome(value=await _limited(work, timeout_s, what))
    except Exception as error:
        return Outcome(error=error)


async def _limited(work: Awaitable[T], timeout_s: float | None, what: str) -> T:
    if timeout_s is None:
        return await work
    # Only our own limit is renamed: a TimeoutError that the work raised itself passes as it is.
    scope = asyncio.timeout(timeout_s)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if scope.expired():
            raise TimedOut(f"{what} took longer than {timeout_s:g} s", timeout_s=timeout_s) from None
        raise


def failure_of(error: Exception) -> Failure:
    """What the record says of an error: its code and message, never its traceback."""
    code = getattr(error, "code", None)
    details = _recordable(getattr(error, "details", None))
    message = str(error) or type(error).__name__
    if not isinstance(error, SymphainyError):
        message = f"{type(error).__name__}: {message}"
    return Failure(
        code=code if isinstance(code, str) and code else "handler_failed",
        message=message[:MESSAGE_CHARS_MAX],
        details=details,
        retryable=bool(getattr(error, "retryable", False)),
    )


def _recordable(details: Any) -> JsonObject:
    if not isinstance(details, dict):
        return {}
    try:
        found: JsonObject = parse(canonical(details))
    except (SymphainyError, msgspec.MsgspecError):
        found = {key: str(value)[:200] for key, value in details.items()}
    return found
