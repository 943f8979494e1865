"""A session: a long-lived conversation with the platform."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from symphainy.model.instant import Instant
from symphainy.model.json import JsonObject
from symphainy.model.saga import Saga


class SessionState(StrEnum):
    ACTIVE = "active"
    EXPIRED = "expired"
    CLOSED = "closed"


class Session(msgspec.Struct, frozen=True, kw_only=True):
    session_id: str
    tenant_id: str
    user_id: str | None
    solution_id: str
    is_anonymous: bool
    lifecycle_state: SessionState
    context: JsonObject
    active_sagas: tuple[Saga, ...] = ()
    metadata: JsonObject
    created_at: Instant
    updated_at: Instant
    expires_at: Instant

    def at(self, now: Instant) -> Session:
        """The session as it stands at `now`: an active one whose time is over is expired."""
        if self.lifecycle_state is SessionState.ACTIVE and now >= self.expires_at:
            return msgspec.structs.replace(self, lifecycle_state=SessionState.EXPIRED)
        return self

    def to_dict(self) -> JsonObject:
        """The wire form."""
        out: JsonObject = msgspec.to_builtins(self)
        return out
