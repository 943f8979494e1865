"""Events: what happened, in the order it happened."""

from __future__ import annotations

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject

TERMINAL_EVENTS = frozenset({"execution_completed", "execution_failed", "execution_cancelled"})

#: Types the runtime alone writes. What a handler emits must be called something else.
RESERVED_EVENTS = TERMINAL_EVENTS | {
    "session_created",
    "session_updated",
    "session_upgraded",
    "session_adopted",
    "session_closed",
    "intent_received",
    "intent_refused",
    "execution_started",
    "execution_waiting",
    "execution_progress",
    "execution_state_set",
    "step_completed",
    "step_failed",
    "artifact_registered",
    "artifact_transitioned",
    "pending_intent_created",
    "pending_intent_changed",
    "signal_received",
    "saga_created",
    "saga_step_added",
    "saga_started",
    "saga_step_completed",
    "saga_step_failed",
    "saga_compensating",
    "saga_step_compensated",
    "saga_compensated",
    "saga_completed",
    "saga_failed",
    "approval_requested",
    "approval_decided",
    "policy_decided",
    "payload_erased",
    "snapshot",
    "stream.gap",
}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An event before the store has given it its place."""

    event_type: str
    payload: JsonObject
    session_id: str | None = None
    execution_id: str | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """`position` counts without gaps within a tenant's log; `seq` within an execution, and is null outside of one."""

    position: int
    seq: int | None
    event_id: str
    event_type: str
    tenant_id: str
    session_id: str | None
    execution_id: str | None
    timestamp: Instant
    payload: JsonObject
