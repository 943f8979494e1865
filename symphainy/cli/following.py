"""To follow what was submitted: one execution, or a saga from execution to execution."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symphainy.model import Event, Execution
    from symphainy.sdk import ExperienceSDK

    Tell = Callable[[Event], None]

SAGA_ENDS = ("saga_completed", "saga_failed", "saga_compensated")
#: These name the execution that comes next.
SAGA_TURNS = ("saga_step_completed", "saga_compensating", "saga_step_compensated")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An execution that has ended. `next_id` is the one that its saga goes on with; `saga` how the saga ended."""

    execution: Execution
    next_id: str | None
    saga: str | None


async def ended(sdk: ExperienceSDK, execution_id: str, tell: Tell) -> Ended:
    """Tell every event from the first on, until the execution has ended."""
    next_id = saga = None
    # From the very first: a snapshot may already stand behind the event that names the next execution.
    async with aclosing(sdk.subscribe(execution_id, after=0)) as events:
        async for event in events:
            tell(event)
            if event.event_type in SAGA_ENDS:
                saga = event.event_type
            elif event.event_type in SAGA_TURNS and (following := event.payload.get("next")):
                next_id = following["execution_id"]
    return Ended(execution=await sdk.get_execution(execution_id), next_id=next_id, saga=saga)


async def saga_of(sdk: ExperienceSDK, execution_id: str, tell: Tell) -> AsyncIterator[Ended]:
    """The executions of a saga, each when it has ended. One that belongs to no saga comes alone."""
    seen: set[str] = set()
    following: str | None = execution_id
    while following is not None:
        one = await ended(sdk, following, tell)
        seen.add(following)
        yield one
        following = one.next_id
        if following is None and one.saga is None and one.execution.saga_id is not None:
            following = await _next_by_list(sdk, one.execution, seen)


async def _next_by_list(sdk: ExperienceSDK, execution: Execution, seen: set[str]) -> str | None:
    """Where no stream could be had there were no saga events either: the session's executions tell who comes next."""
    cursor: str | None = None
    found: str | None = None
    while True:
        page = await sdk.list_executions(session_id=execution.session_id, limit=500, cursor=cursor)
        for other in page.items:
            if other.execution_id == execution.execution_id:
                return found
            if other.saga_id == execution.saga_id and other.execution_id not in seen:
                found = other.execution_id
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor
