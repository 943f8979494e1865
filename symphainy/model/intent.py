"""A typed request, and what the catalogue says of its type."""

from __future__ import annotations

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    intent_id: str
    intent_type: str
    tenant_id: str
    session_id: str
    solution_id: str
    parameters: JsonObject
    metadata: JsonObject


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a submission that is on disk. `replayed`: an idempotency key had been seen before."""

    execution_id: str
    intent_id: str
    status: str
    created_at: Instant
    replayed: bool = False


class IntentInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the catalogue."""

    intent_type: str
    capability: str
    handler_name: str
    description: str
    read_only: bool
    parameters_schema: JsonObject
    result_schema: JsonObject | None
    artifacts: tuple[str, ...]
    aliases: tuple[str, ...]
    version: str
