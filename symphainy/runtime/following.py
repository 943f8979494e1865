"""Every event of an execution, once and in order, from any point on: live ones from the hot state, the rest from the
log.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import msgspec

from symphainy.door import execution_to_wire
from symphainy.errors import NotFound
from symphainy.model import TERMINAL_EVENTS, Event, Execution, Status
from symphainy.ports import HotState, Subscription, TenantStore

PAGE = 500


async def follow(
    tenant: TenantStore, hot: HotState, execution_id: str, *, after: int | None
) -> AsyncGenerator[Event, None]:
    """As `Door.stream` promises. Listening begins before the log is read, so nothing falls in between."""
    subscription = hot.subscribe(tenant.tenant_id, execution_id)
    try:
        last = after
        if last is None:
            snapshot = await _snapshot(tenant, execution_id)
            last = snapshot.seq or 0
            yield snapshot
        async for event in _events_after(tenant, subscription, execution_id, last):
            yield event
    finally:
        subscription.close()


async def _events_after(
    tenant: TenantStore, subscription: Subscription, execution_id: str, last: int
) -> AsyncIterator[Event]:
    while True:
        async for event in _logged(tenant, execution_id, last):
            last = event.seq or last
            yield event
            if event.event_type in TERMINAL_EVENTS:
                return
        if await _ended_before(tenant, execution_id, last):
            return
        async for event in _live(subscription, last):
            last = event.seq or last
            yield event
            if event.event_type in TERMINAL_EVENTS:
                return


async def _logged(tenant: TenantStore, execution_id: str, last: int) -> AsyncIterator[Event]:
    """What the log holds after `last`, to its end."""
    while page := await tenant.execution_events(execution_id, after=last, limit=PAGE):
        for event in page:
            yield event
        if len(page) < PAGE:
            return
        last = page[-1].seq or last


async def _live(subscription: Subscription, last: int) -> AsyncIterator[Event]:
    """Live events that continue at `last`. Ends where one is missing: then the log has to be read."""
    while True:
        event = await subscription.next()
        # `lagging` is read first: reading it is what resets it.
        if subscription.lagging or event is None:
            return
        seq = event.seq or 0
        if seq <= last and event.event_type in TERMINAL_EVENTS:
            return
        if seq <= last:
            continue
        if seq > last + 1:
            return
        last = seq
        yield event


async def _ended_before(tenant: TenantStore, execution_id: str, last: int) -> bool:
    """Whether nothing can come after `last`: the execution has ended, and its last event is not a later one."""
    found = await tenant.execution_at(execution_id)
    if found is None:
        raise NotFound(f"no execution {execution_id}", execution_id=execution_id)
    execution, newest = found
    return execution.status.is_terminal and newest <= last


async def _snapshot(tenant: TenantStore, execution_id: str) -> Event:
    """The execution as it stands. Of an ended one: as it stood before its terminal event, which then follows."""
    found = await tenant.execution_at(execution_id)
    if found is None:
        raise NotFound(f"no execution {execution_id}", execution_id=execution_id)
    execution, seq = found
    if execution.status.is_terminal:
        execution, seq = _before_its_end(execution), seq - 1
    newest = (await tenant.execution_events(execution_id, after=seq - 1, limit=1))[0]
    return Event(
        position=newest.position,
        seq=seq,
        event_id=newest.event_id,
        event_type="snapshot",
        tenant_id=execution.tenant_id,
        session_id=execution.session_id,
        execution_id=execution_id,
        timestamp=newest.timestamp,
        payload=execution_to_wire(execution),
    )


def _before_its_end(execution: Execution) -> Execution:
    status = Status.CREATED if execution.started_at is None else Status.RUNNING
    return msgspec.structs.replace(
        execution,
        status=status,
        lifecycle_state=status,
        artifacts={},
        result=None,
        error=None,
        unasked_steps=(),
        completed_at=None,
    )
