"""The one place where whatever a handler or a step raises is caught.

It becomes a value, and is recorded by whoever asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Generic, TypeVar

import msgspec

from symphainy.civic import data_steward
from symphainy.errors import SymphainyError, TimedOut
from symphainy.model import Failure, JsonObject
from symphainy.model.json import canonical, parse
from symphainy.ports import Clock

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


async def attempt(
    work: Awaitable[T], *, timeout_s: float | None = None, what: str, clock: Clock | None = None
) -> Outcome[T]:
    """Await `work`. Cancellation and `Suspended` pass through. `what` names the work in the messages.

    Of several errors in a group the first counts. `timeout_s` is on `clock`, or in real time without one.
    """
    task = asyncio.current_task()
    asked_before = 0 if task is None else task.cancelling()
    try:
        return Outcome(value=await _limited(work, timeout_s, what, clock))
    except Exception as error:
        return Outcome(error=_first(error))
    except BaseExceptionGroup as group:
        # What a TaskGroup makes of a step that waits for its next try.
        if group.subgroup(Suspended) is not None:
            raise Suspended from None
        raise
    except asyncio.CancelledError:
        if task is None or task.cancelling() > asked_before:
            raise
        return Outcome(error=RuntimeError(f"{what} awaited something that was cancelled"))
    except SystemExit as error:
        # It would end the process, and after the next start the next one.
        return Outcome(error=RuntimeError(f"{what} called exit({error.code})"))


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _limited(work: Awaitable[T], timeout_s: float | None, what: str, clock: Clock | None) -> T:
    if timeout_s is None:
        return await work
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(None)
    alarm = loop.create_task(asyncio.sleep(timeout_s) if clock is None else clock.sleep(timeout_s))
    is_over = False

    def ring(_: asyncio.Task[None]) -> None:
        if not is_over:
            scope.reschedule(loop.time())

    try:
        async with scope:
            alarm.add_done_callback(ring)
            return await work
    except TimeoutError:
        # Only our own limit is renamed: a TimeoutError that the work raised itself passes as it is.
        if scope.expired():
            raise TimedOut(f"{what} took longer than {timeout_s:g} s", timeout_s=timeout_s) from None
        raise
    finally:
        is_over = True
        alarm.cancel()


def failure_of(error: Exception) -> Failure:
    """What the record says of an error: its code and message, never its traceback, and no secrets."""
    code = getattr(error, "code", None)
    details = _recordable(getattr(error, "details", None))
    allowed = data_steward.may_record(details)
    if not allowed.allowed:
        details = {"withheld": allowed.reason}
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
