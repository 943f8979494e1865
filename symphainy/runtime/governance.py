"""Where the governors are asked, and where their refusals are recorded and enforced."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import structlog

from symphainy.civic import city_manager, security_guard, traffic_cop
from symphainy.civic.city_manager import CityState
from symphainy.errors import (
    Limited,
    NotFound,
    Overloaded,
    PolicyDenied,
    SessionExpired,
    SessionRequired,
    StoreFailed,
    TenantMismatch,
    TooLarge,
)
from symphainy.model import Caller, Decision, Draft, Execution, JsonObject, Role, Session, refuse
from symphainy.model.instant import instant
from symphainy.ports import Clock
from symphainy.runtime.limits import EngineLimits
from symphainy.runtime.state_surface import recordable
from symphainy.runtime.wal import WriteAheadLog

BUCKETS_MAX = 100_000

_logger = structlog.get_logger("symphainy.governance")


class _Refused(NamedTuple):
    """Refusals of one bucket that are still being counted: the latest decision, and how many there were."""

    caller: Caller
    decision: Decision
    times: int


class Governance:
    """One for a platform. Every `require_*` returns quietly, or records the refusal and raises it."""

    def __init__(self, *, log: WriteAheadLog, clock: Clock, limits: EngineLimits) -> None:
        self._log = log
        self._clock = clock
        self._limits = limits
        self._rates: OrderedDict[str, float | None] = OrderedDict()
        self._refused: dict[str, _Refused] = {}
        self._flushes: set[asyncio.Task[None]] = set()
        self.city = CityState.BOOTING

    def move(self, to: CityState) -> None:
        """Change what the City Manager says of the platform. An unlawful move is a broken invariant."""
        decision = city_manager.may_move(self.city, to)
        assert decision.allowed, decision.reason
        self.city = to

    def now(self) -> str:
        return instant(self._clock.now_ms())

    # --- before anything is read ---

    def require_rate(self, caller: Caller) -> None:
        """Raises `Limited`. Refusals are counted per caller and second, and recorded once for each."""
        bucket = traffic_cop.bucket(caller)
        per_minute = (
            self._limits.anonymous_requests_per_minute if caller.is_anonymous else self._limits.requests_per_minute
        )
        decision, state = traffic_cop.rate(
            self._rates.get(bucket), now_s=self._clock.monotonic(), per_minute=per_minute
        )
        self._rates[bucket] = state
        self._rates.move_to_end(bucket)
        if len(self._rates) > BUCKETS_MAX:
            self._rates.popitem(last=False)
        if not decision.allowed:
            self._count_refusal(caller, bucket, decision)
            raise Limited(
                f"too many requests: {decision.reason}. {decision.remedy}",
                retry_after_s=decision.retry_after_s or 1.0,
                policy=decision.policy,
            )

    def _count_refusal(self, caller: Caller, bucket: str, decision: Decision) -> None:
        known = self._refused.get(bucket)
        self._refused[bucket] = _Refused(caller, decision, 1 if known is None else known.times + 1)
        if known is None:
            task = asyncio.get_running_loop().create_task(self._record_later(bucket))
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)

    async def _record_later(self, bucket: str) -> None:
        await self._clock.sleep(1.0)
        await self._record_refused(bucket)

    async def _record_refused(self, bucket: str) -> None:
        refused = self._refused.pop(bucket)
        try:
            await self._record(refused.caller, refused.decision, action="request", count=refused.times)
        except StoreFailed as error:
            _logger.warning("refusals_not_recorded", reason=str(error), count=refused.times)

    async def close(self) -> None:
        """Record the refusals that are still being counted."""
        flushes = tuple(self._flushes)
        for task in flushes:
            task.cancel()
        await asyncio.gather(*flushes, return_exceptions=True)
        for bucket in tuple(self._refused):
            await self._record_refused(bucket)

    def require_open(self, caller: Caller) -> None:
        """Raises `Overloaded` while the platform takes nothing new."""
        decision = city_manager.may_admit(self.city)
        if not decision.allowed:
            # While it boots or is shut there is no log to write to.
            if self.city is CityState.DRAINING:
                self._count_refusal(caller, f"{traffic_cop.bucket(caller)}/admission", decision)
            raise Overloaded(f"{decision.reason}. {decision.remedy}", retry_after_s=decision.retry_after_s or 1.0)

    async def require_tenant(
        self, caller: Caller, tenant_id: str | None, *, action: str, event_type: str = "policy_decided"
    ) -> None:
        decision = security_guard.may_enter(caller, tenant_id=tenant_id)
        if not decision.allowed:
            await self._record(caller, decision, action=action, event_type=event_type)
            raise TenantMismatch(f"{decision.reason}. {decision.remedy}")

    # --- actions ---

    async def require_action(self, caller: Caller, action: security_guard.Action) -> None:
        decision = security_guard.may_operate(caller, action)
        await self._enforce(caller, decision, action=str(action))

    async def require_submit(self, caller: Caller, intent_type: str, role: Role, *, read_only: bool) -> Decision:
        decision = security_guard.may_submit(caller, role, read_only=read_only)
        await self._enforce(caller, decision, action="submit", event_type="intent_refused", intent_type=intent_type)
        return decision

    async def require_session_use(self, caller: Caller, session: Session, *, action: str) -> Decision:
        """The session is the caller's to use. One that is hidden from it raises `NotFound`."""
        self.require_visible_session(caller, session)
        decision = security_guard.may_use_session(caller, session_id=session.session_id, is_own=is_own(caller, session))
        await self._enforce(caller, decision, action=action, session_id=session.session_id)
        return decision

    async def require_alive(self, caller: Caller, session: Session | None, session_id: str, *, action: str) -> Session:
        """Raises `SessionRequired` or `SessionExpired`."""
        if session is None:
            raise _no_session(session_id)
        decision = traffic_cop.session_valid(session, self.now())
        if not decision.allowed:
            await self._record(caller, decision, action=action, about={"session_id": session_id})
            raise SessionExpired(f"{decision.reason}. {decision.remedy}", session_id=session_id)
        return session

    def require_visible_session(self, caller: Caller, session: Session) -> None:
        decision = security_guard.may_see(
            caller,
            tenant_id=session.tenant_id,
            session_id=session.session_id,
            session_is_own=is_own(caller, session),
        )
        if not decision.allowed:
            raise _no_session(session.session_id)

    def require_visible(
        self, caller: Caller, kind: str, thing_id: str, *, tenant_id: str, session_id: str | None
    ) -> None:
        """Raises `NotFound`, in the words of what does not exist. `kind`: `execution` or `artifact`."""
        if not security_guard.may_see(caller, tenant_id=tenant_id, session_id=session_id).allowed:
            raise NotFound(f"no {kind} {thing_id}", **{f"{kind}_id": thing_id})

    async def require_upload(self, caller: Caller, size: int) -> None:
        """Raises `TooLarge`. `size` is what has arrived so far, of a stream that goes on."""
        decision = traffic_cop.upload_allowed(size, self._limits.upload_bytes_max)
        if not decision.allowed:
            await self._record(caller, decision, action="upload")
            raise TooLarge(f"{decision.reason}. {decision.remedy}", policy=decision.policy)

    async def require_recordable(self, caller: Caller, value: Any, what: str, *, action: str) -> Any:
        """The value as it will be recorded. Raises `PolicyDenied` for secrets and file content."""
        try:
            return recordable(value, what)
        except PolicyDenied as denied:
            decision = refuse(denied.policy, denied.reason)
            await self._record(caller, decision, action=action)
            raise

    def concurrency(self, execution: Execution, *, running: int) -> Decision:
        return traffic_cop.concurrent(running=running, running_max=self._limits.running_max)

    # --- the record ---

    async def _enforce(
        self,
        caller: Caller,
        decision: Decision,
        *,
        action: str,
        event_type: str = "policy_decided",
        **about: str,
    ) -> None:
        if decision.allowed:
            return
        await self._record(caller, decision, action=action, event_type=event_type, about=about)
        raise PolicyDenied(
            f"refused: {decision.reason}. {decision.remedy}".strip(), policy=decision.policy, reason=decision.reason
        )

    async def _record(
        self,
        caller: Caller,
        decision: Decision,
        *,
        action: str,
        event_type: str = "policy_decided",
        count: int = 1,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """Put a refusal of a verified caller into its tenant's log."""
        payload: JsonObject = {
            "action": action,
            "allowed": False,
            "policy": decision.policy,
            "reason": decision.reason,
            "user_id": caller.user_id,
            "count": count,
            **(about or {}),
        }
        await self._log.write(
            caller.tenant_id, [Draft(event_type=event_type, payload=payload, session_id=caller.session_id)]
        )


def _no_session(session_id: str) -> SessionRequired:
    """One that is hidden, or that nobody has: in the same words, so that nobody can tell."""
    decision = traffic_cop.session_valid(None, "")
    return SessionRequired(f"no session {session_id}. {decision.remedy}", session_id=session_id)


def is_own(caller: Caller, session: Session) -> bool:
    if caller.is_anonymous:
        return session.session_id == caller.session_id
    return session.user_id is not None and session.user_id == caller.user_id
