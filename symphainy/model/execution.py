"""One run of an intent."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject
from symphainy.model.step import StepRecord


class Status(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        return self in (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why an execution did not complete. `code` is stable, `message` is for people."""

    code: str
    message: str
    details: JsonObject = {}
    retryable: bool = False


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`fraction` runs from 0 to 1."""

    fraction: float
    message: str = ""


class ArtifactRef(msgspec.Struct, frozen=True, kw_only=True):
    artifact_id: str
    artifact_type: str
    lifecycle_state: str


class EmittedEvent(msgspec.Struct, frozen=True, kw_only=True):
    event_type: str
    payload: JsonObject
    seq: int


class Execution(msgspec.Struct, frozen=True, kw_only=True):
    execution_id: str
    intent_id: str
    intent_type: str
    tenant_id: str
    session_id: str
    solution_id: str
    user_id: str | None
    status: Status
    lifecycle_state: Status
    waiting_on: JsonObject | None = None
    progress: Progress | None = None
    attempt: int = 0
    parent_execution_id: str | None = None
    artifacts: dict[str, ArtifactRef] = {}
    events: tuple[EmittedEvent, ...] = ()
    result: Any = None
    error: Failure | None = None
    unasked_steps: tuple[str, ...] = ()
    """Recorded steps that the last run of the handler never asked for."""
    steps: tuple[StepRecord, ...] | None = None
    """Filled in on request only."""
    state: JsonObject = {}
    """What handlers keep with `set_execution_state`."""
    saga_id: str | None = None
    concurrency_key: str | None = None
    not_before: Instant | None = None
    ordinal: int
    """Position of its `intent_received` in the tenant's log: newest first is by this."""
    created_at: Instant
    started_at: Instant | None = None
    completed_at: Instant | None = None
