"""What events mean: the one function from a log to the state of sessions, executions, artifacts and sagas.

Stores call it inside the transaction that appends the event; `wal replay` calls it over the log alone. That both give
the
same rows is what makes the log the source of truth.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import convert
from msgspec.structs import replace

from symphainy.model.artifact import Artifact, ArtifactStatus, LifecycleState
from symphainy.model.event import RESERVED_EVENTS, Event
from symphainy.model.execution import ArtifactRef, EmittedEvent, Execution, Failure, Progress, Status
from symphainy.model.instant import unix_ms
from symphainy.model.json import JsonObject, merged
from symphainy.model.pending import PendingIntent, PendingStatus
from symphainy.model.saga import Saga, SagaState, SagaStepRecord
from symphainy.model.session import Session, SessionState

#: Emitted events kept with an execution; the log keeps all of them.
EMITTED_MAX = 256


class FoldRows(Protocol):
    """The rows of one tenant."""

    def session(self, session_id: str) -> Session | None: ...
    def put_session(self, session: Session) -> None: ...
    def execution(self, execution_id: str) -> Execution | None: ...
    def put_execution(self, execution: Execution) -> None: ...
    def artifact(self, artifact_id: str) -> Artifact | None: ...
    def put_artifact(self, artifact: Artifact) -> None: ...
    def pending(self, pending_id: str) -> PendingIntent | None: ...
    def put_pending(self, pending: PendingIntent) -> None: ...
    def saga(self, saga_id: str) -> Saga | None: ...
    def put_saga(self, saga: Saga) -> None: ...
    def enqueue(
        self, execution_id: str, *, ready_at_ms: int, priority: int, ordinal: int, concurrency_key: str | None
    ) -> None: ...
    def park(self, execution_id: str, *, ready_at_ms: int) -> None: ...
    def settle(self, execution_id: str) -> None: ...
    def remember_key(
        self, *, user_id: str, key: str, fingerprint: str, execution_id: str, expires_at_ms: int
    ) -> None: ...


def changes_rows(event_type: str) -> bool:
    """Whether `fold` does anything with such an event."""
    return event_type in _FOLDS or event_type not in RESERVED_EVENTS


def fold(rows: FoldRows, event: Event) -> None:
    """Apply one event. Raises `AssertionError` when the log contradicts itself."""
    kind = event.event_type
    if kind in _FOLDS:
        _FOLDS[kind](rows, event)
    elif kind not in RESERVED_EVENTS and event.execution_id is not None:
        _emitted(rows, event)


# --- sessions ----------------------------------------------------------------------------------------------------


def _session_of(rows: FoldRows, event: Event) -> Session:
    session = rows.session(event.session_id or "")
    assert session is not None, f"{event.event_type} at {event.position} names the unknown session {event.session_id}"
    return session


def _session_created(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    rows.put_session(
        Session(
            session_id=event.session_id or "",
            tenant_id=event.tenant_id,
            user_id=payload["user_id"],
            solution_id=payload["solution_id"],
            is_anonymous=payload["is_anonymous"],
            lifecycle_state=SessionState.ACTIVE,
            context=payload["context"],
            metadata=payload["metadata"],
            created_at=event.timestamp,
            updated_at=event.timestamp,
            expires_at=payload["expires_at"],
        )
    )


def _session_updated(rows: FoldRows, event: Event) -> None:
    session, payload = _session_of(rows, event), event.payload
    context, metadata = session.context, session.metadata
    if "context" in payload:
        context = payload["context"] if payload.get("replace") else merged(context, payload["context"])
    if "metadata" in payload:
        metadata = merged(metadata, payload["metadata"])
    rows.put_session(replace(session, context=context, metadata=metadata, updated_at=event.timestamp))


def _session_closed(rows: FoldRows, event: Event) -> None:
    session = _session_of(rows, event)
    rows.put_session(replace(session, lifecycle_state=SessionState.CLOSED, updated_at=event.timestamp))


# --- executions --------------------------------------------------------------------------------------------------


def _execution_of(rows: FoldRows, event: Event) -> Execution:
    execution = rows.execution(event.execution_id or "")
    assert execution is not None, (
        f"{event.event_type} at {event.position} names the unknown execution {event.execution_id}"
    )
    return execution


def _intent_received(rows: FoldRows, event: Event) -> None:
    payload, execution_id = event.payload, event.execution_id or ""
    saga: JsonObject | None = payload.get("saga")
    rows.put_execution(
        Execution(
            execution_id=execution_id,
            intent_id=payload["intent_id"],
            intent_type=payload["intent_type"],
            tenant_id=event.tenant_id,
            session_id=event.session_id or "",
            solution_id=payload["solution_id"],
            user_id=payload["user_id"],
            status=Status.CREATED,
            lifecycle_state=Status.CREATED,
            parent_execution_id=payload.get("parent_execution_id"),
            saga_id=saga["saga_id"] if saga else None,
            concurrency_key=payload.get("concurrency_key"),
            not_before=payload.get("not_before"),
            ordinal=event.position,
            created_at=event.timestamp,
        )
    )
    rows.enqueue(
        execution_id,
        ready_at_ms=unix_ms(payload["not_before"]) if payload.get("not_before") else 0,
        priority=payload.get("priority", 0),
        ordinal=event.position,
        concurrency_key=payload.get("concurrency_key"),
    )
    key: JsonObject | None = payload.get("idempotency")
    if key:
        rows.remember_key(
            user_id=key["user_id"],
            key=key["key"],
            fingerprint=key["fingerprint"],
            execution_id=execution_id,
            expires_at_ms=unix_ms(key["expires_at"]),
        )
    if saga:
        _saga_step_begun(rows, event, saga, execution_id)


def _execution_started(rows: FoldRows, event: Event) -> None:
    execution = _execution_of(rows, event)
    rows.put_execution(
        replace(
            execution,
            status=Status.RUNNING,
            lifecycle_state=Status.RUNNING,
            waiting_on=None,
            attempt=event.payload["attempt"],
            started_at=execution.started_at or event.timestamp,
        )
    )


def _execution_waiting(rows: FoldRows, event: Event) -> None:
    waiting_on = event.payload["waiting_on"]
    rows.put_execution(replace(_execution_of(rows, event), waiting_on=waiting_on))
    rows.park(event.execution_id or "", ready_at_ms=unix_ms(waiting_on["until"]))


def _execution_progress(rows: FoldRows, event: Event) -> None:
    rows.put_execution(replace(_execution_of(rows, event), progress=convert(event.payload, Progress)))


def _execution_state_set(rows: FoldRows, event: Event) -> None:
    rows.put_execution(replace(_execution_of(rows, event), state=event.payload["state"]))


def _ended(rows: FoldRows, event: Event, status: Status, failure: Failure | None) -> None:
    payload = event.payload
    rows.put_execution(
        replace(
            _execution_of(rows, event),
            status=status,
            lifecycle_state=status,
            waiting_on=None,
            progress=_at_its_end(rows, event, status),
            artifacts=convert(payload.get("artifacts", {}), dict[str, ArtifactRef]),
            result=payload.get("result"),
            error=failure,
            unasked_steps=tuple(payload.get("unasked_steps", ())),
            completed_at=event.timestamp,
        )
    )
    rows.settle(event.execution_id or "")


def _at_its_end(rows: FoldRows, event: Event, status: Status) -> Progress | None:
    progress = _execution_of(rows, event).progress
    if progress is None or status is not Status.COMPLETED:
        return progress
    return replace(progress, fraction=1.0)


def _execution_completed(rows: FoldRows, event: Event) -> None:
    _ended(rows, event, Status.COMPLETED, None)


def _execution_failed(rows: FoldRows, event: Event) -> None:
    _ended(rows, event, Status.FAILED, convert(event.payload["error"], Failure))


def _execution_cancelled(rows: FoldRows, event: Event) -> None:
    _ended(rows, event, Status.CANCELLED, convert(event.payload["error"], Failure))


def _emitted(rows: FoldRows, event: Event) -> None:
    execution = _execution_of(rows, event)
    if len(execution.events) < EMITTED_MAX:
        emitted = EmittedEvent(event_type=event.event_type, payload=event.payload, seq=event.seq or 0)
        rows.put_execution(replace(execution, events=(*execution.events, emitted)))


# --- artifacts and pending intents -------------------------------------------------------------------------------


def _artifact_registered(rows: FoldRows, event: Event) -> None:
    own = {
        "tenant_id": event.tenant_id,
        "session_id": event.session_id,
        "ordinal": event.position,
        "created_at": event.timestamp,
        "updated_at": event.timestamp,
    }
    rows.put_artifact(convert(event.payload["artifact"] | own, Artifact))


def _artifact_transitioned(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    artifact = rows.artifact(payload["artifact_id"])
    assert artifact is not None, f"position {event.position} moves the unknown artifact {payload['artifact_id']}"
    rows.put_artifact(
        replace(
            artifact,
            lifecycle_state=LifecycleState(payload.get("lifecycle_state", artifact.lifecycle_state)),
            status=ArtifactStatus(payload.get("status", artifact.status)),
            updated_at=event.timestamp,
        )
    )


def _pending_created(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    rows.put_pending(
        PendingIntent(
            pending_id=payload["pending_id"],
            tenant_id=event.tenant_id,
            session_id=event.session_id or "",
            intent_type=payload["intent_type"],
            target_artifact_id=payload["target_artifact_id"],
            parameters=payload["parameters"],
            status=PendingStatus.PENDING,
            ordinal=event.position,
            created_at=event.timestamp,
            updated_at=event.timestamp,
        )
    )


def _pending_changed(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    pending = rows.pending(payload["pending_id"])
    assert pending is not None, f"position {event.position} changes the unknown pending intent {payload['pending_id']}"
    rows.put_pending(
        replace(
            pending,
            status=PendingStatus(payload["status"]),
            execution_id=payload.get("execution_id"),
            updated_at=event.timestamp,
        )
    )


# --- sagas -------------------------------------------------------------------------------------------------------


def _saga_of(rows: FoldRows, event: Event, saga_id: str) -> Saga:
    saga = rows.saga(saga_id)
    assert saga is not None, f"{event.event_type} at {event.position} names the unknown saga {saga_id}"
    return saga


def _put_saga(rows: FoldRows, event: Event, saga: Saga) -> None:
    saga = replace(saga, updated_at=event.timestamp)
    rows.put_saga(saga)
    session = rows.session(saga.session_id)
    assert session is not None, f"saga {saga.saga_id} belongs to the unknown session {saga.session_id}"
    others = tuple(other for other in session.active_sagas if other.saga_id != saga.saga_id)
    active = saga.state is not SagaState.PENDING and not saga.state.is_terminal
    rows.put_session(replace(session, active_sagas=(*others, saga) if active else others))


def _with_step(saga: Saga, name: str, **changes: object) -> Saga:
    steps = tuple(replace(step, **changes) if step.name == name else step for step in saga.steps)
    return replace(saga, steps=steps)


def _saga_created(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    saga = Saga(
        saga_id=payload["saga_id"],
        tenant_id=event.tenant_id,
        session_id=event.session_id or "",
        saga_name=payload["saga_name"],
        state=SagaState.PENDING,
        steps=convert(payload["steps"], tuple[SagaStepRecord, ...]),
        context=payload["context"],
        created_at=event.timestamp,
        updated_at=event.timestamp,
    )
    _put_saga(rows, event, saga)


def _saga_step_added(rows: FoldRows, event: Event) -> None:
    saga = _saga_of(rows, event, event.payload["saga_id"])
    step = convert(event.payload["step"], SagaStepRecord)
    _put_saga(rows, event, replace(saga, steps=(*saga.steps, step)))


def _saga_started(rows: FoldRows, event: Event) -> None:
    saga = _saga_of(rows, event, event.payload["saga_id"])
    _put_saga(rows, event, replace(saga, state=SagaState.RUNNING))


def _saga_step_begun(rows: FoldRows, event: Event, ref: JsonObject, execution_id: str) -> None:
    saga = _saga_of(rows, event, ref["saga_id"])
    if ref.get("compensates"):
        saga = _with_step(saga, ref["step"], compensation_execution_id=execution_id)
    else:
        saga = _with_step(saga, ref["step"], state="running", execution_id=execution_id)
    _put_saga(rows, event, saga)


def _saga_step_completed(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    saga = _saga_of(rows, event, payload["saga_id"])
    results = {**saga.context.get("results", {}), payload["step"]: payload["result"]}
    saga = _with_step(saga, payload["step"], state="completed", result=payload["result"])
    _put_saga(rows, event, replace(saga, context={**saga.context, "results": results}))


def _saga_step_failed(rows: FoldRows, event: Event) -> None:
    payload = event.payload
    saga = _saga_of(rows, event, payload["saga_id"])
    _put_saga(rows, event, _with_step(saga, payload["step"], state="failed", error=payload["error"]))


def _saga_step_compensated(rows: FoldRows, event: Event) -> None:
    saga = _saga_of(rows, event, event.payload["saga_id"])
    _put_saga(rows, event, _with_step(saga, event.payload["step"], state="compensated"))


def _saga_state(state: SagaState) -> _Fold:
    def apply(rows: FoldRows, event: Event) -> None:
        saga = _saga_of(rows, event, event.payload["saga_id"])
        _put_saga(rows, event, replace(saga, state=SagaState(event.payload.get("state", state))))

    return apply


class _Fold(Protocol):
    def __call__(self, rows: FoldRows, event: Event) -> None: ...


_FOLDS: dict[str, _Fold] = {
    "session_created": _session_created,
    "session_updated": _session_updated,
    "session_closed": _session_closed,
    "intent_received": _intent_received,
    "execution_started": _execution_started,
    "execution_waiting": _execution_waiting,
    "execution_progress": _execution_progress,
    "execution_state_set": _execution_state_set,
    "execution_completed": _execution_completed,
    "execution_failed": _execution_failed,
    "execution_cancelled": _execution_cancelled,
    "artifact_registered": _artifact_registered,
    "artifact_transitioned": _artifact_transitioned,
    "pending_intent_created": _pending_created,
    "pending_intent_changed": _pending_changed,
    "saga_created": _saga_created,
    "saga_step_added": _saga_step_added,
    "saga_started": _saga_started,
    "saga_step_completed": _saga_step_completed,
    "saga_step_failed": _saga_step_failed,
    "saga_compensating": _saga_state(SagaState.COMPENSATING),
    "saga_step_compensated": _saga_step_compensated,
    "saga_compensated": _saga_state(SagaState.COMPENSATED),
    "saga_completed": _saga_state(SagaState.COMPLETED),
    "saga_failed": _saga_state(SagaState.FAILED),
}


class Projection:
    """Rows of one tenant in plain dictionaries: what `replay` builds from a log."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.executions: dict[str, Execution] = {}
        self.artifacts: dict[str, Artifact] = {}
        self.pendings: dict[str, PendingIntent] = {}
        self.sagas: dict[str, Saga] = {}

    def of_session(self, session_id: str) -> Projection:
        """The rows of one session alone."""
        own = Projection()
        own.sessions = {key: row for key, row in self.sessions.items() if key == session_id}
        own.executions = {key: row for key, row in self.executions.items() if row.session_id == session_id}
        own.artifacts = {key: row for key, row in self.artifacts.items() if row.session_id == session_id}
        own.pendings = {key: row for key, row in self.pendings.items() if row.session_id == session_id}
        own.sagas = {key: row for key, row in self.sagas.items() if row.session_id == session_id}
        return own

    def session(self, session_id: str) -> Session | None:
        return self.sessions.get(session_id)

    def put_session(self, session: Session) -> None:
        self.sessions[session.session_id] = session

    def execution(self, execution_id: str) -> Execution | None:
        return self.executions.get(execution_id)

    def put_execution(self, execution: Execution) -> None:
        self.executions[execution.execution_id] = execution

    def artifact(self, artifact_id: str) -> Artifact | None:
        return self.artifacts.get(artifact_id)

    def put_artifact(self, artifact: Artifact) -> None:
        self.artifacts[artifact.artifact_id] = artifact

    def pending(self, pending_id: str) -> PendingIntent | None:
        return self.pendings.get(pending_id)

    def put_pending(self, pending: PendingIntent) -> None:
        self.pendings[pending.pending_id] = pending

    def saga(self, saga_id: str) -> Saga | None:
        return self.sagas.get(saga_id)

    def put_saga(self, saga: Saga) -> None:
        self.sagas[saga.saga_id] = saga

    def enqueue(
        self, execution_id: str, *, ready_at_ms: int, priority: int, ordinal: int, concurrency_key: str | None
    ) -> None:
        """Work is not part of what replay shows."""

    def park(self, execution_id: str, *, ready_at_ms: int) -> None:
        """Work is not part of what replay shows."""

    def settle(self, execution_id: str) -> None:
        """Work is not part of what replay shows."""

    def remember_key(self, *, user_id: str, key: str, fingerprint: str, execution_id: str, expires_at_ms: int) -> None:
        """Keys are not part of what replay shows."""
