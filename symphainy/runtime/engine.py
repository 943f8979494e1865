"""Accept, run, record. Knows no intent by name."""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from symphainy.capability import NO_RETRY, IntentResult
from symphainy.civic import nurse
from symphainy.door import IntentRequest
from symphainy.errors import FieldError, Invalid, LeaseLost, Limited, NotFound, StoreFailed, TooLarge
from symphainy.model import (
    ArtifactRef,
    Caller,
    Draft,
    Execution,
    Failure,
    JsonObject,
    LifecycleState,
    Submitted,
)
from symphainy.model.instant import instant
from symphainy.model.json import canonical
from symphainy.ports import (
    Blobs,
    Claim,
    Clock,
    Guard,
    HotState,
    Idempotent,
    Ids,
    NotEnded,
    Offload,
    SessionOpen,
    Store,
    Telemetry,
)
from symphainy.runtime import drafts
from symphainy.runtime.admission import SagaRef, Ticket, fingerprint, options_of, received
from symphainy.runtime.attempt import attempt, failure_of
from symphainy.runtime.governance import Governance
from symphainy.runtime.history import History, history_of
from symphainy.runtime.limits import EngineLimits
from symphainy.runtime.registry import IntentRegistry, IntentSpec
from symphainy.runtime.saga import SagaCoordinator, SagaTurn
from symphainy.runtime.sessions import Sessions
from symphainy.runtime.state_surface import recordable
from symphainy.runtime.steps import RunContext, Tools, blob_sha256, waiting
from symphainy.runtime.wal import WriteAheadLog

#: Accepted intents remembered, so that a first run need not read back what was just written.
ACCEPTED_MAX = 10_000


class Engine:
    """Admission and outcome of executions. A `Worker` decides when `run` is called."""

    def __init__(
        self,
        *,
        store: Store,
        hot: HotState,
        blobs: Blobs,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        registry: IntentRegistry,
        limits: EngineLimits,
        telemetry: Telemetry,
    ) -> None:
        self.store = store
        self.hot = hot
        self.blobs = blobs
        self.clock = clock
        self.ids = ids
        self.registry = registry
        self.limits = limits
        self.telemetry = telemetry
        self.log = WriteAheadLog(store=store, hot=hot, telemetry=telemetry)
        self.governance = Governance(log=self.log, clock=clock, limits=limits)
        self.sessions = Sessions(log=self.log, hot=hot, clock=clock, ids=ids, limits=limits)
        self.sagas = SagaCoordinator(log=self.log, registry=registry, ids=ids)
        self._offload = offload
        self._tools = Tools(
            log=self.log,
            blobs=blobs,
            clock=clock,
            ids=ids,
            offload=offload,
            telemetry=telemetry,
            accepted_types=registry.accepted_types,
            inline_bytes_max=limits.inline_bytes_max,
            content_bytes_max=limits.upload_bytes_max,
            retention_days=limits.retention_days,
        )
        self._accepted: OrderedDict[str, JsonObject] = OrderedDict()

    # --- admission ---

    async def accept(self, caller: Caller, request: IntentRequest, *, request_id: str | None = None) -> Submitted:
        """Returns when the intent is on disk, before its handler has run."""
        began = self.clock.monotonic()
        with self.telemetry.span("admission", intent_type=request.intent_type, tenant_id=caller.tenant_id):
            submitted = await self._accept(caller, request, request_id)
        self.telemetry.observe("admission", self.clock.monotonic() - began)
        return submitted

    async def _accept(self, caller: Caller, request: IntentRequest, request_id: str | None) -> Submitted:
        governance = self.governance
        governance.require_open(caller)
        await governance.require_tenant(caller, request.tenant_id, action="submit", event_type="intent_refused")
        spec = self.registry.resolve(request.intent_type)
        found = await self.sessions.find(caller.tenant_id, request.session_id)
        if found is not None:
            governance.require_visible_session(caller, found)
        session = await governance.require_alive(caller, found, request.session_id, action="submit")
        in_session = await governance.require_session_use(caller, session, action="submit")
        by_role = await governance.require_submit(
            caller, spec.intent_type, spec.declaration.required_role, read_only=spec.declaration.read_only
        )
        options = options_of(request.metadata)
        parameters = await self._checked(spec, request.parameters, caller)
        metadata = await governance.require_recordable(caller, request.metadata, "the metadata", action="submit")
        execution_id = self.ids.new("exe")
        saga: SagaRef | None = None
        before: tuple[Draft, ...] = ()
        if options.saga is not None:
            saga, before = self._saga_begun(options.saga, spec, execution_id, session.session_id, parameters)
        ticket = Ticket(
            session_id=session.session_id,
            solution_id=request.solution_id,
            user_id=caller.user_id,
            roles=tuple(sorted(role.value for role in caller.roles)),
            request_id=request_id,
            metadata=metadata,
            trace=self.telemetry.trace(),
        )
        guards: list[Guard] = [SessionOpen(session_id=session.session_id)]
        key = self._key(request, spec, parameters, caller)
        if key is not None:
            guards.append(Idempotent(user_id=key["user_id"], key=key["key"], fingerprint=key["fingerprint"]))
        draft = received(
            spec,
            parameters,
            ticket,
            execution_id=execution_id,
            intent_id=self.ids.new("int"),
            policy={in_session.policy: in_session.reason, by_role.policy: by_role.reason},
            options=options,
            idempotency=key,
            saga=saga,
        )
        self._remember(execution_id, draft.payload)
        committed = await self.log.write(caller.tenant_id, [*before, draft], guards=guards)
        if committed.replayed is not None:
            self._accepted.pop(execution_id, None)
            return await self._replayed(caller.tenant_id, committed.replayed)
        self.telemetry.count("intents_accepted", intent_type=spec.intent_type)
        return Submitted(
            execution_id=execution_id,
            intent_id=draft.payload["intent_id"],
            status="accepted",
            created_at=committed.events[-1].timestamp,
        )

    def _key(
        self, request: IntentRequest, spec: IntentSpec, parameters: JsonObject, caller: Caller
    ) -> JsonObject | None:
        if request.idempotency_key is None:
            return None
        ends_ms = self.clock.now_ms() + round(self.limits.idempotency_ttl_s * 1000)
        return {
            "user_id": caller.user_id,
            "key": request.idempotency_key,
            "fingerprint": fingerprint(spec.intent_type, request.session_id, request.solution_id, parameters),
            "expires_at": instant(ends_ms),
        }

    def _saga_begun(
        self, name: str, spec: IntentSpec, execution_id: str, session_id: str, parameters: JsonObject
    ) -> tuple[SagaRef, tuple[Draft, ...]]:
        declaration = self.registry.saga(name)
        first = declaration.steps[0]
        if first.intent_type != spec.intent_type:
            raise Invalid(
                f"saga {name!r} begins with {first.intent_type!r}, not {spec.intent_type!r}",
                errors=[FieldError("/metadata/saga", f"begins with {first.intent_type!r}")],
            )
        return self.sagas.begin(declaration, execution_id=execution_id, session_id=session_id, parameters=parameters)

    async def _replayed(self, tenant_id: str, execution_id: str) -> Submitted:
        execution = await self.store.tenant(tenant_id).execution(execution_id)
        assert execution is not None, f"an idempotency key names the unknown execution {execution_id}"
        return Submitted(
            execution_id=execution_id,
            intent_id=execution.intent_id,
            status="accepted",
            created_at=execution.created_at,
            replayed=True,
        )

    def _remember(self, execution_id: str, payload: JsonObject) -> None:
        self._accepted[execution_id] = payload
        if len(self._accepted) > ACCEPTED_MAX:
            self._accepted.popitem(last=False)

    async def _checked(self, spec: IntentSpec, parameters: JsonObject, caller: Caller) -> JsonObject:
        """The parameters as they will be recorded: valid, with content moved to blobs, without secrets."""
        spec.parse(parameters)
        checked = dict(parameters)
        for name in spec.content_fields:
            value = checked.get(name)
            if isinstance(value, str):
                checked[name] = await self._content(caller, f"/parameters/{name}", value)
        what = f"the parameters of {spec.intent_type!r}"
        found: JsonObject = await self.governance.require_recordable(caller, checked, what, action="submit")
        return found

    async def _content(self, caller: Caller, pointer: str, value: str) -> str:
        """A reference to a blob that is there, from such a reference or from base64."""
        if value.startswith("blob:"):
            if await self.blobs.size(caller.tenant_id, blob_sha256(value)) is None:
                raise Invalid(f"{value[:80]} has not been uploaded", errors=[FieldError(pointer, "no such content")])
            return value
        try:
            data = await self._offload.thread(_decoded, value)
        except (binascii.Error, ValueError) as error:
            raise Invalid(
                f"{pointer} is neither blob:<sha256> nor base64: {error}", errors=[FieldError(pointer, str(error))]
            ) from None
        await self.governance.require_upload(caller, len(data))
        stored = await self.blobs.put(caller.tenant_id, _once(data))
        return f"blob:{stored.sha256}"

    # --- running ---

    async def run(self, claim: Claim) -> None:
        """Run the handler of a claimed execution and record what came of it. Returns when that is on disk.

        Raises `LeaseLost` when another worker owns it by now, and whatever the store raises when it cannot write.
        """
        began = self.clock.monotonic()
        execution = claim.execution
        history = await self._history(execution)
        context = RunContext(self._tools, execution, claim.fence, history, dict(history.intent.get("metadata", {})))
        handled = await attempt(self._handled(context, history), what="the handler")
        error = handled.error
        if error is None:
            assert handled.value is not None, "a handler that did not fail returned nothing"
            error = (await attempt(self._complete(context, handled.value), what="the outcome")).error
        self.telemetry.observe("execution", self.clock.monotonic() - began, intent_type=execution.intent_type)
        if error is not None and not isinstance(error, (LeaseLost, StoreFailed)):
            error = (await attempt(self._fail(context, error), what="the failure")).error
        if error is not None and not isinstance(error, (LeaseLost, StoreFailed)):
            error = (await attempt(self._give_up(context, error), what="the failure")).error
        if error is not None:
            raise error

    async def _history(self, execution: Execution) -> History:
        payload = self._accepted.pop(execution.execution_id, None)
        if payload is not None and execution.attempt == 1:
            history = History()
            history.intent = payload
            return history
        return await history_of(self.store.tenant(execution.tenant_id), execution.execution_id)

    async def _handled(self, context: RunContext, history: History) -> IntentResult:
        """Everything that may go wrong before the outcome is known."""
        if not history.intent:
            raise NotFound("the payload of its intent was erased: what it should do is no longer known")
        _require_consistent(context)
        spec = self.registry.resolve(context.intent.intent_type)
        parameters = spec.parse(context.intent.parameters)
        timeout_s = history.intent.get("timeout_s") or spec.declaration.timeout_s
        with self.telemetry.span(
            "execution",
            parent=history.intent.get("trace"),
            execution_id=context.execution_id,
            intent_type=context.intent.intent_type,
            tenant_id=context.tenant_id,
        ):
            handled = await attempt(
                spec.handler(context, parameters),
                timeout_s=timeout_s,
                what=f"intent {spec.intent_type!r}",
                clock=self.clock,
            )
        if handled.error is not None:
            raise handled.error
        result: Any = handled.value
        if not isinstance(result, IntentResult):
            raise TypeError(f"the handler of {spec.intent_type!r} returned {type(result).__name__}, not IntentResult")
        return result

    async def _complete(self, context: RunContext, result: IntentResult) -> None:
        execution, held = context.execution, context.outcome
        for event in result.events:
            await context.emit(*_emitted(event))
        value = self._result(self.registry.resolve(execution.intent_type), result.result)
        artifacts = {
            name: ArtifactRef(
                artifact_id=artifact.artifact_id,
                artifact_type=artifact.artifact_type,
                lifecycle_state=context.history.produced.get(artifact.artifact_id, artifact.lifecycle_state),
            )
            for name, artifact in result.artifacts.items()
        }
        settled = await self._settled(context)
        turn = await self._saga_turn(context, value=value)
        ended = drafts.completed(execution, result=value, artifacts=artifacts, unasked=context.unasked())
        await context.write([*held.drafts, *settled, *turn.before, ended, *turn.after], held.guards)
        self._observe(execution, "completed")

    def _result(self, spec: IntentSpec, result: BaseModel | JsonObject | None) -> Any:
        if result is None:
            return None
        declared = spec.declaration.result
        if declared is not None and not isinstance(result, declared):
            try:
                result = declared.model_validate(result)
            except ValidationError as error:
                raise TypeError(f"the result of {spec.intent_type!r} is no {declared.__name__}: {error}") from None
        value = result.model_dump(mode="json") if isinstance(result, BaseModel) else result
        value = recordable(value, "the result")
        encoded = canonical(value)
        if len(encoded) > self.limits.result_bytes_max:
            raise TooLarge(
                f"the result is {len(encoded)} bytes, at most {self.limits.result_bytes_max} may be; "
                "register an artifact with the content instead"
            )
        return value

    async def _settled(self, context: RunContext) -> list[Draft]:
        """What this execution has registered takes its state, now that it completes."""
        settled = []
        for artifact_id, state in context.history.produced.items():
            artifact = await context.state_surface.find_artifact(artifact_id)
            if artifact is None or artifact.lifecycle_state is not LifecycleState.PENDING or state == "PENDING":
                continue
            reason = "the execution completed"
            settled.append(drafts.transition(context.execution, artifact, reason=reason, lifecycle_state=state))
        return settled

    async def _undone(self, execution: Execution, history: History, *, reason: str) -> list[Draft]:
        """What an execution leaves that does not complete.

        Its artifacts are FAILED, and what it had taken up is pending again.
        """
        undone = []
        for artifact_id in history.produced:
            artifact = await self.store.tenant(execution.tenant_id).artifact(artifact_id)
            if artifact is not None and artifact.lifecycle_state in (LifecycleState.PENDING, LifecycleState.READY):
                failed = LifecycleState.FAILED.value
                undone.append(drafts.transition(execution, artifact, reason=reason, lifecycle_state=failed))
        return [*undone, *(drafts.pending_again(execution, pending_id) for pending_id in history.taken_up)]

    async def _saga_turn(self, context: RunContext, *, value: Any = None, failure: Failure | None = None) -> SagaTurn:
        if context.execution.saga_id is None:
            return SagaTurn()
        if failure is None:
            return await self.sagas.completed(context.execution, context.history.intent, value)
        return await self.sagas.failed(context.execution, context.history.intent, failure)

    async def _fail(self, context: RunContext, error: Exception) -> None:
        execution, failure = context.execution, failure_of(error)
        tried = context.history.failed_runs + 1
        verdict = nurse.retry(
            self._retry_policy(execution.intent_type),
            attempt=tried,
            retryable=failure.retryable,
            fraction=self.ids.fraction(),
            at_least_s=error.retry_after_s if isinstance(error, Limited) else 0.0,
        )
        if verdict.again:
            again = waiting(execution, self.clock, verdict.delay_s, verdict.reason, step=None)
            await context.write([again])
            return
        if tried > 1:
            failure = msgspec.structs.replace(failure, details={**failure.details, "tried": verdict.reason})
        undone = await self._undone(execution, context.history, reason="the execution did not complete")
        turn = await self._saga_turn(context, failure=failure)
        ended = drafts.failed(execution, failure, artifacts={}, tried=tried)
        await context.write([*undone, *turn.before, ended, *turn.after])
        self._observe(execution, "failed")

    async def _give_up(self, context: RunContext, error: Exception) -> None:
        """The failure itself could not be recorded as it is. An execution that is run again and again helps nobody."""
        execution, kind = context.execution, type(error).__name__
        failure = Failure(code="internal", message=f"what the handler came to could not be recorded: {kind}")
        undone = await self._undone(execution, context.history, reason="the execution did not complete")
        turn = SagaTurn()
        if execution.saga_id is not None:
            turn = await self.sagas.abandoned(execution, context.history.intent, failure)
        await context.write([*undone, *turn.before, drafts.failed(execution, failure, artifacts={}, tried=1)])
        self._observe(execution, "failed")

    def _retry_policy(self, intent_type: str) -> nurse.RetryLimits:
        # The capability may be gone since the intent was accepted.
        return self.registry.resolve(intent_type).declaration.retry if self.registry.knows(intent_type) else NO_RETRY

    def _observe(self, execution: Execution, status: str) -> None:
        self.telemetry.count("executions_ended", intent_type=execution.intent_type, status=status)

    # --- cancelling ---

    async def cancel(self, caller: Caller, execution: Execution, *, reason: str | None) -> None:
        """End an execution. Raises `Conflict` when it has ended already. Its handler can write nothing from here on."""
        tenant = self.store.tenant(execution.tenant_id)
        history = await history_of(tenant, execution.execution_id)
        turn = SagaTurn()
        ended = drafts.cancelled(execution, by=caller.user_id, reason=reason)
        if execution.saga_id is not None:
            failure = msgspec.convert(ended.payload["error"], Failure)
            turn = await self.sagas.failed(execution, history.intent, failure, cancelled=True)
        undone = await self._undone(execution, history, reason="the execution was cancelled")
        guards = [NotEnded(execution_id=execution.execution_id)]
        await self.log.write(execution.tenant_id, [*undone, *turn.before, ended, *turn.after], guards=guards)
        self._observe(execution, "cancelled")
        # What the handler wrote between the reading and the commit is undone now: it can write nothing more.
        history = await history_of(tenant, execution.execution_id)
        late = await self._undone(execution, history, reason="the execution was cancelled")
        if late:
            outside = [msgspec.structs.replace(draft, execution_id=None) for draft in late]
            await self.log.write(execution.tenant_id, outside)


def _emitted(event: Any) -> tuple[str, JsonObject]:
    """Type and payload of an event that a handler returned: as a pair, or as the object that an execution shows."""
    match event:
        case (str(event_type), payload):
            return event_type, payload
        case {"event_type": str(event_type), "payload": payload, **extra} if not extra:
            return event_type, payload
    raise TypeError(f"an event is (event_type, payload) or {{event_type, payload}}, not {event!r:.200}")


def _require_consistent(context: RunContext) -> None:
    """The facts a handler is given agree with its intent."""
    execution, intent = context.execution, context.intent
    for name in ("tenant_id", "session_id", "solution_id", "intent_id"):
        value = getattr(execution, name)
        assert value, f"execution {execution.execution_id} has no {name}"
        assert value == getattr(intent, name), f"execution {execution.execution_id} and its intent differ in {name}"
    if not execution.execution_id:
        raise NotFound("an execution without an id cannot run")


def _decoded(value: str) -> bytes:
    if value.startswith("data:") and ";base64," in value[:256]:
        value = value.split(";base64,", 1)[1]
    return base64.b64decode(value, validate=True)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
