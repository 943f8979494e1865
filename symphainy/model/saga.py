"""The record of a multi-step run with its compensations."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject


class SagaState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"
    CANCELLED = "cancelled"
    NEEDS_ATTENTION = "needs_attention"

    @property
    def is_terminal(self) -> bool:
        return self in (
            SagaState.COMPLETED,
            SagaState.COMPENSATED,
            SagaState.FAILED,
            SagaState.CANCELLED,
            SagaState.NEEDS_ATTENTION,
        )


class SagaStepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step as it stands: `pending running completed failed compensated`."""

    name: str
    intent_type: str
    state: str = "pending"
    execution_id: str | None = None
    compensation_execution_id: str | None = None
    result: Any = None
    error: JsonObject | None = None


class Saga(msgspec.Struct, frozen=True, kw_only=True):
    saga_id: str
    tenant_id: str
    session_id: str
    saga_name: str
    state: SagaState
    steps: tuple[SagaStepRecord, ...] = ()
    context: JsonObject = {}
    created_at: Instant
    updated_at: Instant
