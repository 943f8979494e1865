"""To follow an execution to its end: by its stream, or by its status where no stream can be had."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from symphainy.door import Door, execution_to_wire
from symphainy.errors import NotFound, Unreachable
from symphainy.model import Event, Execution, JsonObject
from symphainy.sdk.retry import Retry

log = logging.getLogger("symphainy.sdk")

#: The event that says: from here on the status is asked for. Its payload is `{reason}`.
POLLING = "stream.polling"

POLL_S_MIN = 0.25
POLL_S_MAX = 3.0

T = TypeVar("T")


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> object: ...


@asynccontextmanager
async def released(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Close what is iterated when it is left, not when it is collected: a stream holds a connection."""
    try:
        yield items
    finally:
        if isinstance(items, _Closable):
            await items.aclose()


async def follow(door: Door, execution_id: str, *, after: int | None = None, retry: Retry) -> AsyncIterator[Event]:
    """The events of `door.stream`. Where there is none: `stream.polling`, and then what the status shows."""
    seen = after
    try:
        async with released(door.stream(execution_id, after=after)) as events:
            async for event in events:
                if event.seq is not None and event.event_type != "stream.gap":
                    seen = event.seq
                yield event
        return
    except (Unreachable, NotFound) as fault:
        # Raises here when it is the execution that is not there, or the platform.
        execution = await door.get_execution(execution_id)
        reason = str(fault)
    log.warning("%s is followed by its status, as no stream can be had: %s", execution_id, reason)
    yield _of(execution, POLLING, {"reason": reason})
    async with released(_polled(door, execution, seen, retry)) as events:
        async for event in events:
            yield event


async def _polled(door: Door, execution: Execution, seen: int | None, retry: Retry) -> AsyncIterator[Event]:
    if seen is None:
        yield _snapshot(execution)
        seen = max((emitted.seq for emitted in execution.events), default=0)
    wait_s = POLL_S_MIN
    while True:
        for emitted in execution.events:
            if emitted.seq > seen:
                seen = emitted.seq
                yield _of(execution, emitted.event_type, emitted.payload, seq=emitted.seq)
        if execution.status.is_terminal:
            yield _of(execution, f"execution_{execution.status}", _outcome(execution))
            return
        await retry.sleep(wait_s * (0.5 + 0.5 * retry.fraction()))
        before, execution = execution, await door.get_execution(execution.execution_id)
        wait_s = min(POLL_S_MAX, wait_s * 1.5) if execution == before else POLL_S_MIN
        if not execution.status.is_terminal and _shown(execution) != _shown(before):
            yield _snapshot(execution)


def _shown(execution: Execution) -> tuple[object, ...]:
    """What a snapshot is worth sending for."""
    return (execution.status, execution.waiting_on, execution.progress, execution.attempt)


def _snapshot(execution: Execution) -> Event:
    return _of(execution, "snapshot", execution_to_wire(execution))


def _outcome(execution: Execution) -> JsonObject:
    out: JsonObject = msgspec.to_builtins(
        {"artifacts": execution.artifacts, "result": execution.result, "error": execution.error}
    )
    return {name: value for name, value in out.items() if value is not None}


def _of(execution: Execution, event_type: str, payload: JsonObject, *, seq: int | None = None) -> Event:
    """An event told from a status: it has no place in the log, and the latest instant of the status."""
    return Event(
        position=0,
        seq=seq,
        event_id="",
        event_type=event_type,
        tenant_id=execution.tenant_id,
        session_id=execution.session_id,
        execution_id=execution.execution_id,
        timestamp=execution.completed_at or execution.started_at or execution.created_at,
        payload=payload,
    )
