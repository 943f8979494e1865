"""What a handler is given: the `ExecutionContext` of one run.

A step that is finished returns what it returned; one that is not runs now, and its result is on disk before the
handler goes
on. Writes made inside a step commit with it; writes made outside are held for the outcome.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar, copy_context
from datetime import datetime
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from symphainy.capability import NO_RETRY, RetryPolicy
from symphainy.civic import curator, data_steward, nurse
from symphainy.errors import (
    ChildFailed,
    FieldError,
    IntentRefused,
    Invalid,
    PolicyDenied,
    RemoteError,
    SymphainyError,
    rebuild,
)
from symphainy.model import (
    Artifact,
    Draft,
    Event,
    Execution,
    Intent,
    JsonObject,
    Materialization,
    StepRecord,
    derive_id,
)
from symphainy.model.decision import Decision
from symphainy.model.instant import instant, moment
from symphainy.model.json import canonical, parse
from symphainy.ports import ArtifactAbsent, Blobs, Clock, Committed, Guard, Holds, Ids, Offload, Telemetry
from symphainy.runtime import drafts
from symphainy.runtime.attempt import Outcome, Suspended, attempt, failure_of
from symphainy.runtime.history import History
from symphainy.runtime.state_surface import HandlerSurface, recordable, recordable_object
from symphainy.runtime.wal import WriteAheadLog

T = TypeVar("T")

BLOB_CHUNK = 1 << 18


class _Held:
    """Writes that wait for the step or the outcome they belong to."""

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.calls: dict[str, int] = {}
        self.drafts: list[Draft] = []
        self.guards: list[Guard] = []
        self.emitted: dict[str, int] = {}


#: The step whose function is running in this task.
_STEP: ContextVar[_Held | None] = ContextVar("step", default=None)


class Tools:
    """What every run shares."""

    def __init__(
        self,
        *,
        log: WriteAheadLog,
        blobs: Blobs,
        clock: Clock,
        ids: Ids,
        offload: Offload,
        telemetry: Telemetry,
        accepted_types: Callable[[str], tuple[str, ...]],
        inline_bytes_max: int,
        content_bytes_max: int,
        retention_days: int,
    ) -> None:
        self.log = log
        self.blobs = blobs
        self.clock = clock
        self.ids = ids
        self.offload = offload
        self.telemetry = telemetry
        self.accepted_types = accepted_types
        self.inline_bytes_max = inline_bytes_max
        self.content_bytes_max = content_bytes_max
        self.retention_days = retention_days


class RunContext:
    """`ExecutionContext` of one run, under one fencing token."""

    def __init__(self, tools: Tools, execution: Execution, fence: int, history: History, metadata: JsonObject) -> None:
        self._tools = tools
        self._fence = fence
        self.execution = execution
        self.history = history
        self.metadata = metadata
        self.intent = Intent(
            intent_id=execution.intent_id,
            intent_type=execution.intent_type,
            tenant_id=execution.tenant_id,
            session_id=execution.session_id,
            solution_id=execution.solution_id,
            parameters=history.intent.get("parameters", {}),
            metadata=metadata,
        )
        self.outcome = _Held()
        self.refusals: list[Decision] = []
        """What a governor refused to this run: recorded with its outcome."""
        self._calls: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._emits: dict[str, int] = {}
        self._asked: set[str] = set()
        tenant = tools.log.store.tenant(execution.tenant_id)
        self.state_surface = HandlerSurface(tenant, tools.accepted_types, self)
        self.blobs = _TenantBlobs(tools, execution.tenant_id)
        self.wal = _ExecutionLog(self, tools.log)
        self.steward = _Steward(self, tools)

    # --- facts ---

    @property
    def execution_id(self) -> str:
        return self.execution.execution_id

    @property
    def tenant_id(self) -> str:
        return self.execution.tenant_id

    @property
    def session_id(self) -> str:
        return self.execution.session_id

    @property
    def solution_id(self) -> str:
        return self.execution.solution_id

    @property
    def user_id(self) -> str | None:
        return self.execution.user_id

    @property
    def request_id(self) -> str | None:
        found = self.history.intent.get("request_id")
        return found if isinstance(found, str) else None

    @property
    def created_at(self) -> datetime:
        return moment(self.execution.created_at)

    @property
    def attempt(self) -> int:
        return self.execution.attempt

    def unasked(self) -> tuple[str, ...]:
        """Recorded steps that this run never asked for."""
        return tuple(sorted(set(self.history.steps) - self._asked))

    # --- names that are the same on a rerun ---

    def call_key(self, call: str, prefix: str) -> tuple[str, str]:
        """The key of this call, and the id that derives from it."""
        inside = _STEP.get()
        key = _numbered(self._calls, call) if inside is None else f"{inside.key}/{_numbered(inside.calls, call)}"
        return key, derive_id(prefix, self.execution_id, key)

    def new_id(self, prefix: str) -> str:
        return self.call_key("new_id", prefix)[1]

    def idempotency_key(self, step: str) -> str:
        return derive_id("key", self.tenant_id, self.execution_id, step)

    # --- writing ---

    def hold(self, draft: Draft, *guards: Guard) -> None:
        """Keep a write for the step that is running, or for the outcome."""
        held = _STEP.get() or self.outcome
        held.drafts.append(draft)
        held.guards.extend(guards)

    def held(self, *event_types: str) -> Iterator[Draft]:
        """What is held for the outcome, and then for the step that is running: what this run reads as written."""
        inside = _STEP.get()
        for draft in (*self.outcome.drafts, *(() if inside is None else inside.drafts)):
            if draft.event_type in event_types:
                yield draft

    async def write(self, written: Sequence[Draft], guards: Sequence[Guard] = ()) -> Committed:
        """Append under this run's fencing token, after what a governor has refused to this run by now."""
        holds = Holds(execution_id=self.execution_id, fence=self._fence)
        refusals, self.refusals = self.refusals, []
        told = [drafts.refusal(self.execution, decision) for decision in refusals]
        try:
            committed = await self._tools.log.write(self.tenant_id, [*told, *written], guards=(holds, *guards))
        except SymphainyError:
            self.refusals[:0] = refusals
            raise
        for event in committed.events:
            self.history.note_writes(event)
        return committed

    async def register(self, draft: Draft) -> Artifact:
        """Put an artifact on record, with the step that is running or at once."""
        document = draft.payload["artifact"]
        absent = ArtifactAbsent(artifact_id=document["artifact_id"])
        if _STEP.get() is not None:
            self.hold(draft, absent)
            return self.registered(draft)
        event = (await self.write([draft], [absent])).events[-1]
        return self.registered(draft, position=event.position, stamp=event.timestamp)

    def registered(self, draft: Draft, *, position: int = 0, stamp: str | None = None) -> Artifact:
        """The artifact that an `artifact_registered` makes. One that is not on record yet has the ordinal 0."""
        stamp = stamp or instant(self._tools.clock.now_ms())
        own = {
            "tenant_id": self.tenant_id,
            "session_id": self.session_id,
            "ordinal": position,
            "created_at": stamp,
            "updated_at": stamp,
        }
        # A copy: what a handler does with the artifact must not change what is held for the log.
        return msgspec.convert(parse(canonical(draft.payload["artifact"])) | own, Artifact)

    async def emit(self, event_type: str, payload: JsonObject) -> None:
        decision = curator.may_emit(event_type)
        if not decision.allowed:
            raise Invalid(f"{decision.reason}. {decision.remedy}", errors=[FieldError("/event_type", decision.reason)])
        await self._once(event_type, payload)

    async def progress(self, fraction: float, message: str = "") -> None:
        if not 0 <= fraction <= 1:
            raise Invalid(f"progress is a fraction from 0 to 1, not {fraction!r}")
        await self._once("execution_progress", {"fraction": float(fraction), "message": message})

    async def _once(self, event_type: str, payload: JsonObject) -> None:
        """Write an event of the handler's own, unless an earlier run already has."""
        payload = recordable_object(payload, f"the payload of event {event_type!r}")
        draft = drafts.of_execution(self.execution, event_type, payload)
        inside = _STEP.get()
        if inside is not None:
            inside.drafts.append(draft)
            inside.emitted[event_type] = inside.emitted.get(event_type, 0) + 1
            return
        self._emits[event_type] = self._emits.get(event_type, 0) + 1
        if self._emits[event_type] > self.history.emitted.get(event_type, 0):
            await self.write([draft])

    # --- steps ---

    async def step(
        self,
        name: str,
        fn: Callable[..., T | Awaitable[T]],
        *args: Any,
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> T:
        if _STEP.get() is not None:
            raise Invalid(f"step {name!r} was asked for inside another step; steps stand beside each other")
        key = _numbered(self._steps, name)
        self._asked.add(key)
        recorded = self.history.steps.get(key)
        if recorded is not None:
            return cast("T", await self._recalled(recorded))
        failed = self.history.failures.get(key)
        if failed is not None:
            raise raised_again(failed)
        held = _Held(key)
        token = _STEP.set(held)
        began = self._tools.clock.monotonic()
        try:
            with self._tools.telemetry.span("step", step=key, execution_id=self.execution_id):
                outcome = await attempt(
                    self._call(fn, args), timeout_s=timeout_s, what=f"step {key!r}", clock=self._tools.clock
                )
        finally:
            _STEP.reset(token)
        self._tools.telemetry.observe("step", self._tools.clock.monotonic() - began)
        if outcome.error is not None:
            await self._failed(key, outcome, retry or NO_RETRY)
            raise outcome.error
        return cast("T", await self._finished(key, outcome.value, held))

    async def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        if inspect.iscoroutinefunction(fn):
            return await fn(*args)
        # With the context of this task, so that what the function asks of the run is known to be inside the step.
        result = await self._tools.offload.thread(copy_context().run, fn, *args)
        return await result if inspect.isawaitable(result) else result

    async def _finished(self, key: str, value: Any, held: _Held) -> Any:
        payload: JsonObject = {"name": key, "attempt": self.history.tried.get(key, 0) + 1}
        if held.emitted:
            payload["emitted"] = held.emitted
        if isinstance(value, bytes):
            payload |= {"result_blob": await self._kept(value), "is_bytes": True}
        else:
            # What a rerun will get is what this run gets, also where JSON makes lists of tuples.
            value = recordable(value, f"the result of step {key!r}")
            encoded = canonical(value)
            if len(encoded) > self._tools.inline_bytes_max:
                payload["result_blob"] = await self._kept(encoded)
            else:
                payload["result"] = value
        completed = drafts.of_execution(self.execution, "step_completed", payload)
        await self.write([*held.drafts, completed], held.guards)
        return value

    async def _kept(self, data: bytes) -> str:
        return (await self._tools.blobs.put(self.tenant_id, _chunks(data))).sha256

    async def _recalled(self, record: StepRecord) -> Any:
        if record.result_blob is None:
            return record.result
        parts = [part async for part in self._tools.blobs.read(self.tenant_id, record.result_blob)]
        data = b"".join(parts)
        return data if record.is_bytes else parse(data)

    async def _failed(self, key: str, outcome: Outcome[Any], policy: RetryPolicy) -> None:
        """Record it. Returns when it has failed for good; otherwise the execution waits and goes on from the top."""
        assert outcome.error is not None, "a step that did not fail was reported as failed"
        failure = failure_of(outcome.error)
        number = self.history.tried.get(key, 0) + 1
        verdict = nurse.retry(policy, attempt=number, retryable=failure.retryable, fraction=self._tools.ids.fraction())
        record = {
            "name": key,
            "attempt": number,
            "error": msgspec.to_builtins(failure),
            "final": not verdict.again,
            "reason": verdict.reason,
        }
        written = [drafts.of_execution(self.execution, "step_failed", record)]
        if not verdict.again:
            await self.write(written)
            return
        written.append(waiting(self.execution, self._tools.clock, verdict.delay_s, verdict.reason, step=key))
        await self.write(written)
        raise Suspended


def raised_again(failed: JsonObject) -> SymphainyError:
    """The error that a step has failed with for good, for the handler's next run: of the same class where that can be
    told from the record, and with the same code, message and details in any case.
    """
    code, message, details = failed["code"], failed["message"], failed["details"]
    if code == ChildFailed.code:
        return ChildFailed(message, **{"reason": "error", **details})
    error = rebuild(code, message, details)
    if isinstance(error, RemoteError):
        error = IntentRefused(code, message, details)
    error.retryable = failed["retryable"]
    return error


def _numbered(calls: dict[str, int], name: str) -> str:
    """`name`, `name#2`, `name#3` ... in call order."""
    count = calls[name] = calls.get(name, 0) + 1
    return name if count == 1 else f"{name}#{count}"


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), BLOB_CHUNK):
        yield data[start : start + BLOB_CHUNK]


def waiting(execution: Execution, clock: Clock, delay_s: float, reason: str, *, step: str | None) -> Draft:
    """The execution waits for its next try. `step` is None when it is the handler as a whole that is tried again."""
    until = instant(clock.now_ms() + round(delay_s * 1000))
    waiting_on = {"kind": "retry", "until": until, "reason": reason, "step": step}
    return drafts.of_execution(execution, "execution_waiting", {"waiting_on": waiting_on})


class _TenantBlobs:
    """`BlobStore` of the execution's tenant."""

    def __init__(self, tools: Tools, tenant_id: str) -> None:
        self._tools = tools
        self._tenant_id = tenant_id

    async def put(self, stream: AsyncIterator[bytes] | bytes | BinaryIO, *, format: str = "bytes") -> Materialization:
        chunks = self._chunks_of(stream)
        stored = await self._tools.blobs.put(self._tenant_id, chunks, size_max=self._tools.content_bytes_max)
        return Materialization(
            # The same content in the same form is the same materialisation, also on a rerun.
            materialization_id=derive_id("mat", self._tenant_id, stored.sha256, format),
            storage_type="blob",
            uri=f"blob:{stored.sha256}",
            format=format,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            created_at=instant(self._tools.clock.now_ms()),
        )

    def _chunks_of(self, stream: AsyncIterator[bytes] | bytes | BinaryIO) -> AsyncIterator[bytes]:
        if isinstance(stream, bytes):
            return _chunks(stream)
        return stream if isinstance(stream, AsyncIterator) else self._read(stream)

    async def _read(self, file: BinaryIO) -> AsyncIterator[bytes]:
        while chunk := await self._tools.offload.thread(file.read, BLOB_CHUNK):
            yield chunk

    def open(self, materialization: Materialization | str) -> AsyncIterator[bytes]:
        return self._tools.blobs.read(self._tenant_id, blob_sha256(materialization))

    async def size(self, materialization: Materialization | str) -> int | None:
        return await self._tools.blobs.size(self._tenant_id, blob_sha256(materialization))


def blob_sha256(materialization: Materialization | str) -> str:
    """The hash in a materialisation or a `blob:<sha256>` reference. Raises `Invalid` for anything else."""
    uri = materialization if isinstance(materialization, str) else materialization.uri
    if not uri.startswith("blob:"):
        raise Invalid(f"{uri[:80]!r} is no reference to a blob; it reads blob:<sha256>")
    return uri.removeprefix("blob:")


class _ExecutionLog:
    """`Log` of the running execution."""

    def __init__(self, run: RunContext, log: WriteAheadLog) -> None:
        self._run = run
        self._log = log

    async def append(self, event_type: str, payload: JsonObject) -> None:
        await self._run.emit(event_type, payload)

    async def events(self, *, event_type: str | None = None, after: int = 0, limit: int = 50) -> tuple[Event, ...]:
        return await self._log.events(
            self._run.tenant_id, event_type=event_type, session_id=self._run.session_id, after=after, limit=limit
        )


class _Steward:
    """The Data Steward's decisions, for the running execution."""

    def __init__(self, run: RunContext, tools: Tools) -> None:
        self._run = run
        self._tools = tools

    def issue_contract(self, *, size_bytes: int) -> JsonObject:
        # One instant for both: a contract read a millisecond later no longer allows its whole term.
        now = self._now()
        contract = data_steward.boundary_contract(
            boundary_contract_id=self._run.new_id("bct"),
            tenant_id=self._run.tenant_id,
            session_id=self._run.session_id,
            now=now,
            size_bytes_max=self._tools.content_bytes_max,
            retention_days=self._tools.retention_days,
        )
        decision = data_steward.may_materialize(
            contract,
            materialization_type=data_steward.MaterializationType.FULL_ARTIFACT,
            size_bytes=size_bytes,
            retention_days=self._tools.retention_days,
            now=now,
        )
        self._require(decision)
        return contract.to_dict()

    def authorize(self, contract: JsonObject | None, *, materialization_type: str, size_bytes: int, days: int) -> str:
        known = None if contract is None else msgspec.convert(contract, data_steward.BoundaryContract)
        decision = data_steward.may_materialize(
            known,
            materialization_type=materialization_type,
            size_bytes=size_bytes,
            retention_days=days,
            now=self._now(),
        )
        return self._require(decision)

    def _now(self) -> str:
        return instant(self._tools.clock.now_ms())

    def _require(self, decision: Decision) -> str:
        if decision.allowed:
            return decision.reason
        self._run.refusals.append(decision)
        raise PolicyDenied(
            f"the Data Steward refuses: {decision.reason}. {decision.remedy}".strip(),
            policy=decision.policy,
            reason=decision.reason,
        )
