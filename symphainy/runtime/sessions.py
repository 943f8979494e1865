"""Sessions: opened, changed and closed by events; read through the hot state."""

from __future__ import annotations

import msgspec

from symphainy.model import Caller, Draft, JsonObject, Session, SessionState
from symphainy.model.hot_keys import SESSION_TTL_S, session_key
from symphainy.model.instant import instant
from symphainy.ports import Clock, HotState, Ids, SessionOpen
from symphainy.runtime.limits import EngineLimits
from symphainy.runtime.state_surface import recordable
from symphainy.runtime.wal import WriteAheadLog

_decode = msgspec.json.Decoder(Session).decode


class Sessions:
    def __init__(self, *, log: WriteAheadLog, hot: HotState, clock: Clock, ids: Ids, limits: EngineLimits) -> None:
        self._log = log
        self._hot = hot
        self._clock = clock
        self._ids = ids
        self._limits = limits

    async def create(
        self,
        caller: Caller,
        *,
        user_id: str | None,
        solution_id: str,
        context: JsonObject,
        metadata: JsonObject,
    ) -> Session:
        context = recordable(context, "the session's context")
        metadata = recordable(metadata, "the session's metadata")
        session_id = self._ids.new("ses")
        expires_at = instant(self._clock.now_ms() + round(self._limits.session_ttl_s * 1000))
        payload = {
            "user_id": None if caller.is_anonymous else (user_id or caller.user_id),
            "solution_id": solution_id,
            "is_anonymous": caller.is_anonymous,
            "context": context,
            "metadata": metadata,
            "expires_at": expires_at,
        }
        created = Draft(event_type="session_created", payload=payload, session_id=session_id)
        await self._log.write(caller.tenant_id, [created])
        session = await self.fresh(caller.tenant_id, session_id)
        assert session is not None, f"session {session_id} was committed and cannot be read"
        return session

    async def find(self, tenant_id: str, session_id: str) -> Session | None:
        """From the hot state where it has it: good for deciding, since the store checks again in the transaction."""
        if ":" in session_id or not session_id:
            return None
        cached = await self._hot.get(session_key(tenant_id, session_id))
        if cached is not None:
            return _decode(cached).at(instant(self._clock.now_ms()))
        return await self.fresh(tenant_id, session_id)

    async def fresh(self, tenant_id: str, session_id: str) -> Session | None:
        """From the store, as it stands now."""
        session = await self._log.store.tenant(tenant_id).session(session_id)
        if session is None:
            return None
        await self._hot.put(session_key(tenant_id, session_id), msgspec.json.encode(session), ttl_s=SESSION_TTL_S)
        return session.at(instant(self._clock.now_ms()))

    async def update(self, session: Session, *, context: JsonObject | None, metadata: JsonObject | None) -> Session:
        payload: JsonObject = {}
        if context is not None:
            payload["context"] = context
        if metadata is not None:
            payload["metadata"] = metadata
        return await self._change(session, "session_updated", recordable(payload, "the session"))

    async def close(self, session: Session) -> Session:
        if session.lifecycle_state is SessionState.CLOSED:
            return session
        return await self._change(session, "session_closed", {})

    async def _change(self, session: Session, event_type: str, payload: JsonObject) -> Session:
        draft = Draft(event_type=event_type, payload=payload, session_id=session.session_id)
        await self._log.write(session.tenant_id, [draft], guards=[SessionOpen(session_id=session.session_id)])
        changed = await self.fresh(session.tenant_id, session.session_id)
        assert changed is not None, f"session {session.session_id} was committed and cannot be read"
        return changed
