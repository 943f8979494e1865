"""The keys of the hot state, and how long it remembers. The durable store answers beyond that."""

from __future__ import annotations

from symphainy.errors import Invalid

EXECUTION_TTL_S = 3600.0
SESSION_TTL_S = 86_400.0


def execution_key(tenant_id: str, execution_id: str) -> str:
    """`execution:{tenant_id}:{execution_id}`, kept for `EXECUTION_TTL_S`. Raises `Invalid` for a part with a colon."""
    return _key("execution", tenant_id, execution_id)


def session_key(tenant_id: str, session_id: str) -> str:
    """`session:{tenant_id}:{session_id}`, kept for `SESSION_TTL_S`. Raises `Invalid` for a part with a colon."""
    return _key("session", tenant_id, session_id)


def events_key(tenant_id: str, execution_id: str) -> str:
    """`events:{tenant_id}:{execution_id}`, the channel of an execution's live events. Raises `Invalid` likewise."""
    return _key("events", tenant_id, execution_id)


def _key(kind: str, tenant_id: str, own_id: str) -> str:
    for part in (tenant_id, own_id):
        if not part or ":" in part:
            raise Invalid(f"{part!r} cannot stand in a {kind} key: it must be filled and hold no colon")
    return f"{kind}:{tenant_id}:{own_id}"
