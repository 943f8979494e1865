"""The runtime's own door: every operation, governed, for one verified caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import msgspec

from symphainy.capability import UploadedContent
from symphainy.civic import post_office
from symphainy.civic.security_guard import Action
from symphainy.door import Health, IntentRequest, OpenedContent, RealmInfo, Refusal, artifact_to_wire
from symphainy.errors import FieldError, Invalid, NotFound, SymphainyError
from symphainy.model import (
    TERMINAL_EVENTS,
    Artifact,
    Caller,
    Draft,
    Event,
    Execution,
    IntentInfo,
    JsonObject,
    Materialization,
    Page,
    PendingIntent,
    PendingStatus,
    Session,
    Status,
    Submitted,
)
from symphainy.model.hot_keys import EXECUTION_TTL_S, execution_key
from symphainy.model.instant import moment
from symphainy.ports import EventFilter, ExecutionFilter, PendingFilter, SessionOpen
from symphainy.runtime.attempt import attempt
from symphainy.runtime.engine import Engine
from symphainy.runtime.following import follow
from symphainy.runtime.history import steps_of, whole_history
from symphainy.runtime.state_surface import StateSurface
from symphainy.runtime.steps import blob_sha256
from symphainy.runtime.worker import Worker

LIMIT_MAX = 500
SCAN_PAGES_MAX = 50

_decode_execution = msgspec.json.Decoder(Execution).decode


class RuntimeApi:
    """Hands out doors. `health` is asked on every call and probes for real."""

    def __init__(self, engine: Engine, worker: Worker, *, health: Callable[[], Awaitable[Health]]) -> None:
        self.engine = engine
        self.worker = worker
        self.health = health

    def door_for(self, caller: Caller, *, request_id: str | None = None) -> RuntimeDoor:
        return RuntimeDoor(self, caller, request_id)


class RuntimeDoor:
    """`Door` of one caller."""

    def __init__(self, api: RuntimeApi, caller: Caller, request_id: str | None) -> None:
        self._api = api
        self._engine = api.engine
        self._governance = api.engine.governance
        self._caller = caller
        self._request_id = request_id
        self._tenant = api.engine.store.tenant(caller.tenant_id)

    async def _enter(self, action: Action) -> None:
        """What every operation asks first: not too fast, and allowed by role."""
        self._governance.require_rate(self._caller)
        await self._governance.require_action(self._caller, action)

    async def enter(self, tenant_id: str) -> None:
        self._governance.require_rate(self._caller)
        await self._governance.require_tenant(self._caller, tenant_id, action="enter")

    # --- sessions ---

    async def create_session(
        self,
        *,
        user_id: str | None = None,
        solution_id: str = "default",
        context: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> Session:
        self._governance.require_rate(self._caller)
        self._governance.require_open(self._caller)
        if not (self._caller.is_anonymous and self._caller.session_id is None):
            await self._governance.require_action(self._caller, Action.OPEN_SESSION)
        if user_id not in (None, self._caller.user_id) and not self._caller.is_anonymous:
            # Who somebody is comes from the token. To open a session for another user asks for more.
            await self._governance.require_action(self._caller, Action.SEE_ALL_SESSIONS)
        return await self._engine.sessions.create(
            self._caller,
            user_id=user_id,
            solution_id=solution_id,
            context=await self._recordable(context or {}, "the session's context", action="create_session"),
            metadata=await self._recordable(metadata or {}, "the session's metadata", action="create_session"),
        )

    async def _recordable(self, value: Any, what: str, *, action: str) -> Any:
        return await self._governance.require_recordable(self._caller, value, what, action=action)

    async def get_session(self, session_id: str) -> Session:
        await self._enter(Action.READ)
        return await self._session(session_id)

    async def _session(self, session_id: str) -> Session:
        """A session that the caller may see, as it stands now."""
        session = await self._engine.sessions.fresh(self._caller.tenant_id, session_id)
        if session is None:
            return await self._governance.require_alive(self._caller, None, session_id, action="read")
        self._governance.require_visible_session(self._caller, session)
        return session

    async def _session_to_use(self, session_id: str, *, action: str) -> Session:
        """A session that is open, and that the caller may work in."""
        found = await self._engine.sessions.find(self._caller.tenant_id, session_id)
        if found is not None:
            self._governance.require_visible_session(self._caller, found)
        session = await self._governance.require_alive(self._caller, found, session_id, action=action)
        await self._governance.require_session_use(self._caller, session, action=action)
        return session

    async def update_session(
        self, session_id: str, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> Session:
        await self._enter(Action.CHANGE_SESSION)
        session = await self._session(session_id)
        await self._governance.require_session_use(self._caller, session, action="change_session")
        context = await self._recordable(context, "the session's context", action="change_session")
        metadata = await self._recordable(metadata, "the session's metadata", action="change_session")
        return await self._engine.sessions.update(session, context=context, metadata=metadata)

    async def close_session(self, session_id: str) -> Session:
        await self._enter(Action.CLOSE_SESSION)
        session = await self._session(session_id)
        await self._governance.require_session_use(self._caller, session, action="close_session")
        return await self._engine.sessions.close(session)

    # --- intents ---

    async def submit(self, request: IntentRequest) -> Submitted:
        self._governance.require_rate(self._caller)
        return await self._engine.accept(self._caller, request, request_id=self._request_id)

    async def submit_batch(self, requests: Sequence[IntentRequest]) -> tuple[Submitted | Refusal, ...]:
        answers: list[Submitted | Refusal] = []
        for request in requests:
            try:
                answers.append(await self.submit(request))
            except SymphainyError as error:
                answers.append(Refusal(code=error.code, message=error.message, details=_told(error)))
        return tuple(answers)

    async def list_intents(self) -> tuple[IntentInfo, ...]:
        await self._enter(Action.READ)
        return self._engine.registry.catalogue()

    async def get_intent(self, intent_type: str) -> IntentInfo:
        await self._enter(Action.READ)
        return self._engine.registry.resolve(intent_type).info

    async def list_realms(self) -> tuple[RealmInfo, ...]:
        await self._enter(Action.READ)
        return self._engine.registry.realms()

    # --- executions ---

    async def get_execution(
        self, execution_id: str, *, include_artifacts: bool = False, include_steps: bool = False
    ) -> Execution:
        await self._enter(Action.READ)
        execution = await self._execution(execution_id)
        if include_steps:
            steps = steps_of(await whole_history(self._tenant, execution_id))
            execution = msgspec.structs.replace(execution, steps=steps)
        return execution

    async def _execution(self, execution_id: str) -> Execution:
        """An execution that the caller may see. Ended ones come from the hot state where it has them."""
        found = await self._ended_execution(execution_id) or await self._tenant.execution(execution_id)
        if found is None:
            raise NotFound(f"no execution {execution_id}", execution_id=execution_id)
        self._governance.require_visible(
            self._caller,
            "execution",
            execution_id,
            tenant_id=found.tenant_id,
            session_id=found.session_id,
        )
        if found.status.is_terminal:
            key = execution_key(found.tenant_id, execution_id)
            await self._engine.hot.put(key, msgspec.json.encode(found), ttl_s=EXECUTION_TTL_S)
        return self._with_blocker(found)

    async def _ended_execution(self, execution_id: str) -> Execution | None:
        if not execution_id or ":" in execution_id:
            return None
        cached = await self._engine.hot.get(execution_key(self._caller.tenant_id, execution_id))
        return None if cached is None else _decode_execution(cached)

    def _with_blocker(self, execution: Execution) -> Execution:
        """Why an accepted execution has not started: its time, its key, the tenant's limit, or no free worker."""
        if execution.status is not Status.CREATED:
            return execution
        key = execution.concurrency_key
        holder = None if key is None else self._api.worker.holder_of(execution.tenant_id, key)
        running = self._api.worker.running_of(execution.tenant_id)
        decision = self._governance.concurrency(execution, running=running)
        blocker: JsonObject
        if execution.not_before is not None and moment(execution.not_before) > self._engine.clock.now():
            blocker = {"kind": "timer", "until": execution.not_before}
        elif holder is not None:
            reason = f"execution {holder} runs under the concurrency key {key!r}"
            blocker = {"kind": "limit", "policy": "concurrency_key", "reason": reason}
        elif not decision.allowed:
            blocker = {"kind": "limit", "policy": decision.policy, "reason": decision.reason}
        elif self._api.worker.is_full:
            blocker = {"kind": "worker", "reason": f"all {self._api.worker.running} workers are busy"}
        else:
            return execution
        return msgspec.structs.replace(execution, waiting_on=blocker)

    async def execution_artifacts(self, execution_id: str) -> tuple[Artifact, ...]:
        await self._enter(Action.READ)
        execution = await self._execution(execution_id)
        found = [await self._tenant.artifact(ref.artifact_id) for ref in execution.artifacts.values()]
        return tuple(artifact for artifact in found if artifact is not None)

    async def wait(self, execution_id: str, *, timeout_s: float) -> Execution:
        await self._enter(Action.READ)
        await self._execution(execution_id)
        # The outcome of waiting is the state of the execution, in time or not.
        await attempt(self._until_ended(execution_id), timeout_s=timeout_s, what="waiting")
        return await self._execution(execution_id)

    async def _until_ended(self, execution_id: str) -> None:
        async with aclosing(follow(self._tenant, self._engine.hot, execution_id, after=None)) as events:
            async for event in events:
                if event.event_type in TERMINAL_EVENTS:
                    return

    async def list_executions(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Execution]:
        await self._enter(Action.READ)
        if status is not None and status not in set(Status):
            raise _unknown("status", status, Status)
        if intent_type is not None:
            intent_type = self._engine.registry.resolve(intent_type).intent_type
        where = ExecutionFilter(session_id=self._narrowed(session_id), intent_type=intent_type, status=status)
        page = await self._tenant.executions(where, limit=_limit(limit), before=_ordinal(cursor))
        return msgspec.structs.replace(page, items=tuple(self._with_blocker(each) for each in page.items))

    def _narrowed(self, session_id: str | None) -> str | None:
        """An anonymous caller lists its own session only, whatever it asks for."""
        if not self._caller.is_anonymous:
            return session_id
        if session_id is not None and session_id != self._caller.session_id:
            return ""
        return self._caller.session_id or ""

    async def cancel(self, execution_id: str, *, reason: str | None = None) -> Execution:
        self._governance.require_rate(self._caller)
        execution = await self._execution(execution_id)
        await self._governance.require_action(self._caller, Action.CANCEL)
        if reason is not None:
            reason = await self._recordable(reason, "the reason", action="cancel")
        await self._engine.cancel(self._caller, execution, reason=reason)
        self._api.worker.interrupt(execution_id)
        return await self._execution(execution_id)

    async def stream(self, execution_id: str, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        await self._enter(Action.READ)
        await self._execution(execution_id)
        async with aclosing(follow(self._tenant, self._engine.hot, execution_id, after=after)) as events:
            async for event in events:
                decision = post_office.may_receive(self._caller, event, execution_id=execution_id)
                if not decision.allowed:
                    raise NotFound(f"no execution {execution_id}", execution_id=execution_id)
                yield event

    # --- pending intents ---

    async def create_pending(
        self, *, intent_type: str, target_artifact_id: str, session_id: str, parameters: JsonObject | None = None
    ) -> PendingIntent:
        await self._enter(Action.CREATE_PENDING)
        spec = self._engine.registry.resolve(intent_type)
        await self._session_to_use(session_id, action="create_pending")
        target = await self._artifact(target_artifact_id)
        parameters = await self._recordable(parameters or {}, "the parameters", action="create_pending")
        payload = {
            "pending_id": self._engine.ids.new("int"),
            "intent_type": spec.intent_type,
            "target_artifact_id": target.artifact_id,
            "parameters": parameters,
        }
        created = Draft(event_type="pending_intent_created", payload=payload, session_id=session_id)
        await self._engine.log.write(self._caller.tenant_id, [created], guards=[SessionOpen(session_id=session_id)])
        where = PendingFilter(target_artifact_id=target.artifact_id)
        found = await self._tenant.pending(where, limit=LIMIT_MAX)
        return next(pending for pending in found.items if pending.pending_id == payload["pending_id"])

    async def list_pending(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        target_artifact_id: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[PendingIntent]:
        await self._enter(Action.READ)
        if status is not None and status not in set(PendingStatus):
            raise _unknown("status", status, PendingStatus)
        where = PendingFilter(
            session_id=self._narrowed(session_id),
            intent_type=intent_type,
            target_artifact_id=target_artifact_id,
            status=status,
        )
        return await self._tenant.pending(where, limit=_limit(limit), before=_ordinal(cursor))

    # --- artifacts ---

    def _surface(self) -> StateSurface:
        return StateSurface(self._tenant, self._engine.registry.accepted_types)

    async def _artifact(self, artifact_id: str) -> Artifact:
        artifact = await self._surface().resolve_artifact(artifact_id, self._caller.tenant_id)
        self._governance.require_visible(
            self._caller,
            "artifact",
            artifact_id,
            tenant_id=artifact.tenant_id,
            session_id=artifact.session_id,
        )
        return artifact

    async def resolve_artifact(self, artifact_id: str) -> Artifact:
        await self._enter(Action.READ)
        return await self._artifact(artifact_id)

    async def list_artifacts(
        self,
        *,
        artifact_type: str | None = None,
        lifecycle_state: str | None = None,
        session_id: str | None = None,
        parent_artifact_id: str | None = None,
        eligible_for: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Artifact]:
        await self._enter(Action.READ)
        where, matches = self._surface().artifact_query(
            artifact_type=artifact_type,
            lifecycle_state=lifecycle_state,
            session_id=self._narrowed(session_id),
            parent_artifact_id=parent_artifact_id,
            eligible_for=eligible_for,
        )
        found: list[Artifact] = []
        before, wanted, more = _ordinal(cursor), _limit(limit), False
        for _ in range(SCAN_PAGES_MAX):
            page = await self._tenant.artifacts(where, limit=wanted, before=before)
            for artifact in page.items:
                before = artifact.ordinal
                if matches(artifact):
                    found.append(artifact)
                if len(found) == wanted:
                    break
            more = page.next_cursor is not None or bool(page.items and before != page.items[-1].ordinal)
            if not more or len(found) == wanted:
                break
        return Page(items=tuple(found), next_cursor=str(before) if more else None)

    async def open_artifact(
        self, artifact_id: str, *, materialization_id: str | None = None, start: int = 0, stop: int | None = None
    ) -> OpenedContent:
        await self._enter(Action.READ)
        artifact = await self._artifact(artifact_id)
        chosen = [
            each
            for each in artifact.materializations
            if materialization_id is None or each.materialization_id == materialization_id
        ]
        found = chosen[0] if chosen and artifact.lifecycle_state.value != "DELETED" else None
        # Also asked of the store: once an answer has begun, it can only be cut.
        if found is None or await self._engine.blobs.size(self._caller.tenant_id, blob_sha256(found)) is None:
            what = f"materialisation {materialization_id} of artifact" if materialization_id else "content of artifact"
            raise NotFound(f"no {what} {artifact_id}", artifact_id=artifact_id)
        end = found.size_bytes if stop is None else min(stop, found.size_bytes)
        return OpenedContent(
            chunks=self._engine.blobs.read(self._caller.tenant_id, blob_sha256(found), start=start, stop=end),
            media_type=_media_type(found.format),
            filename=_filename(artifact, found),
            sha256=found.sha256,
            size_bytes=found.size_bytes,
            start=start,
            stop=end,
        )

    async def artifact_lineage(self, artifact_id: str, *, direction: str = "both") -> JsonObject:
        await self._enter(Action.READ)
        await self._artifact(artifact_id)
        found = await self._surface().lineage(artifact_id, self._caller.tenant_id, direction=direction)
        return {**found, "nodes": [artifact_to_wire(node) for node in found["nodes"]]}

    # --- content ---

    async def upload(
        self,
        chunks: AsyncIterator[bytes],
        *,
        filename: str,
        media_type: str | None,
        session_id: str,
        parameters: JsonObject | None = None,
        metadata: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        await self._enter(Action.UPLOAD)
        self._governance.require_open(self._caller)
        spec = self._engine.registry.taking_uploads()
        await self._session_to_use(session_id, action="upload")
        stored = await self._engine.blobs.put(self._caller.tenant_id, self._metered(chunks))
        assert spec.declaration.from_upload is not None, "the registry names an intent that takes no uploads"
        made = spec.declaration.from_upload(
            UploadedContent(
                reference=f"blob:{stored.sha256}",
                filename=filename,
                media_type=media_type,
                size_bytes=stored.size_bytes,
            )
        )
        request = IntentRequest(
            intent_type=spec.intent_type,
            session_id=session_id,
            parameters={**made, **(parameters or {})},
            metadata=metadata or {},
            idempotency_key=idempotency_key,
        )
        return await self._engine.accept(self._caller, request, request_id=self._request_id)

    async def _metered(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The stream, until the Traffic Cop says that it is too large."""
        size = 0
        async for chunk in chunks:
            size += len(chunk)
            await self._governance.require_upload(self._caller, size)
            yield chunk

    # --- the log and the platform ---

    async def wal_events(
        self,
        *,
        session_id: str | None = None,
        execution_id: str | None = None,
        event_type: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Page[Event]:
        await self._enter(Action.READ_LOG)
        where = EventFilter(session_id=session_id, execution_id=execution_id, event_type=event_type)
        wanted = _limit(limit)
        found = await self._tenant.events(where, after=after, limit=wanted + 1)
        items = tuple(event for event in found[:wanted] if post_office.may_receive(self._caller, event).allowed)
        return Page(items=items, next_cursor=str(found[wanted - 1].position) if len(found) > wanted else None)

    async def health(self) -> Health:
        return await self._api.health()


def _told(error: SymphainyError) -> JsonObject:
    details = dict(error.details)
    if isinstance(error, Invalid):
        details["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in error.errors]
    return details | {"retryable": error.retryable}


def _unknown(field: str, value: str, known: type[Status] | type[PendingStatus]) -> Invalid:
    names = ", ".join(known)
    return Invalid(f"{value!r} is no {field}; there are {names}", errors=[FieldError(f"/{field}", f"one of {names}")])


def _limit(limit: int) -> int:
    if not 1 <= limit <= LIMIT_MAX:
        raise Invalid(
            f"limit is {limit}; it may be 1 to {LIMIT_MAX}", errors=[FieldError("/limit", f"1 to {LIMIT_MAX}")]
        )
    return limit


def _ordinal(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not cursor.isdecimal() or len(cursor) > 18:
        raise Invalid("the cursor is not one of ours", errors=[FieldError("/cursor", "not a cursor")])
    return int(cursor)


def _filename(artifact: Artifact, opened: Materialization) -> str | None:
    """The name in the descriptor, where it is the name of these bytes and not of what they were made from."""
    name, sha256 = (artifact.semantic_descriptor.get(key) for key in ("filename", "sha256"))
    is_its_own = not artifact.parent_artifacts if sha256 is None else sha256 == opened.sha256
    return name if isinstance(name, str) and is_its_own else None


def _media_type(format: str) -> str:
    return format if "/" in format else "application/octet-stream"
