"""Work that a person has queued and not yet started."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject


class PendingStatus(StrEnum):
    PENDING = "pending"
    STARTED = "started"
    COMPLETED = "completed"


class PendingIntent(msgspec.Struct, frozen=True, kw_only=True):
    pending_id: str
    tenant_id: str
    session_id: str
    intent_type: str
    target_artifact_id: str
    parameters: JsonObject
    status: PendingStatus
    execution_id: str | None = None
    """The execution that took it up."""
    ordinal: int
    created_at: Instant
    updated_at: Instant
