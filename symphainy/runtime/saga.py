"""Sagas: the record of a run of several intents, and what undoes them.

The coordinator submits nothing by itself. When an execution that is a saga's step ends, it says which events belong
into the same transaction: what the saga has come to, and the submission of the next intent. So a saga can neither
lose a step nor run one twice, however often the process dies.
"""

from __future__ import annotations

from typing import Any

import msgspec

from symphainy.capability import SagaDeclaration, SagaStep, Submission
from symphainy.civic import security_guard
from symphainy.errors import Conflict, NotFound, PolicyDenied, SymphainyError
from symphainy.model import (
    Caller,
    Draft,
    Execution,
    Failure,
    JsonObject,
    Role,
    Saga,
    SagaState,
    SagaStepRecord,
    derive_id,
)
from symphainy.runtime.admission import SagaRef, Ticket, received, saga_ids, ticket_of
from symphainy.runtime.registry import IntentRegistry
from symphainy.runtime.wal import WriteAheadLog

__all__ = ["SagaCoordinator", "SagaStep", "SagaTurn"]


class SagaTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What a saga adds to the transaction that ends one of its executions.

    `before` stands before the terminal event, in the stream of that execution; `after` submits what comes next.
    """

    before: tuple[Draft, ...] = ()
    after: tuple[Draft, ...] = ()


class SagaCoordinator:
    def __init__(self, *, log: WriteAheadLog, registry: IntentRegistry) -> None:
        self._log = log
        self._registry = registry

    # --- the record ---

    async def create(
        self,
        tenant_id: str,
        session_id: str,
        saga_name: str,
        *,
        context: JsonObject | None = None,
        saga_id: str,
        steps: tuple[SagaStepRecord, ...] = (),
    ) -> Saga:
        """Put a pending saga on record."""
        await self._log.write(tenant_id, [_created(saga_id, session_id, saga_name, steps, context or {})])
        return await self.read(tenant_id, saga_id)

    async def add_step(self, saga: Saga, name: str, intent_type: str) -> Saga:
        """Raises `Conflict` when a step of that name is there, or the saga has begun."""
        if saga.state is not SagaState.PENDING or any(step.name == name for step in saga.steps):
            raise Conflict(f"saga {saga.saga_id} is {saga.state} and takes no step {name!r}", saga_id=saga.saga_id)
        step = SagaStepRecord(name=name, intent_type=intent_type)
        return await self._write(saga, "saga_step_added", {"step": msgspec.to_builtins(step)})

    async def start(self, saga: Saga) -> Saga:
        if saga.state is not SagaState.PENDING:
            raise Conflict(f"saga {saga.saga_id} is already {saga.state}", saga_id=saga.saga_id)
        return await self._write(saga, "saga_started", {})

    async def record(self, saga: Saga, step: str, *, result: Any = None, error: Failure | None = None) -> Saga:
        """What a step has come to. The saga is completed with its last step."""
        if error is not None:
            return await self._write(saga, "saga_step_failed", {"step": step, "error": msgspec.to_builtins(error)})
        saga = await self._write(saga, "saga_step_completed", {"step": step, "result": result})
        if all(each.state == "completed" for each in saga.steps):
            saga = await self._write(saga, "saga_completed", {})
        return saga

    async def compensate(self, saga: Saga, *, reason: str) -> Saga:
        """Mark the completed steps as undone, last first, and the saga as compensated."""
        saga = await self._write(saga, "saga_compensating", {"reason": reason})
        for step in reversed(saga.steps):
            if step.state == "completed":
                saga = await self._write(saga, "saga_step_compensated", {"step": step.name})
        return await self._write(saga, "saga_compensated", {})

    async def read(self, tenant_id: str, saga_id: str) -> Saga:
        saga = await self._log.store.tenant(tenant_id).saga(saga_id)
        if saga is None:
            raise NotFound(f"no saga {saga_id}", saga_id=saga_id)
        return saga

    async def _write(self, saga: Saga, event_type: str, payload: JsonObject) -> Saga:
        draft = _of_saga(saga, event_type, payload, execution_id=None)
        await self._log.write(saga.tenant_id, [draft])
        return await self.read(saga.tenant_id, saga.saga_id)

    # --- turns, within the transactions of the engine ---

    def begin(
        self, declaration: SagaDeclaration, *, execution_id: str, session_id: str, parameters: JsonObject
    ) -> tuple[SagaRef, tuple[Draft, ...]]:
        """A saga that starts with this execution: the events that must stand before its `intent_received`."""
        saga_id = derive_id("sag", execution_id)
        steps = tuple(SagaStepRecord(name=step.name, intent_type=step.intent_type) for step in declaration.steps)
        context = {"parameters": parameters, "results": {}}
        created = _created(saga_id, session_id, declaration.name, steps, context)
        started = Draft(
            event_type="saga_started",
            payload={"saga_id": saga_id, "saga_name": declaration.name},
            session_id=session_id,
        )
        return SagaRef(saga_id=saga_id, step=steps[0].name), (created, started)

    async def completed(self, execution: Execution, intent: JsonObject, result: Any) -> SagaTurn:
        """The execution, one of a saga's, is about to complete with `result`."""
        ref, saga = await self._place(execution, intent)
        if ref.compensates:
            undone = _of_saga(saga, "saga_step_compensated", {"step": ref.step}, execution.execution_id)
            remaining = _undo_list(saga, after=ref.step)
            return self._undo_next(saga, execution, intent, (undone,), remaining)
        results = {**saga.context.get("results", {}), ref.step: result}
        context = {**saga.context, "results": results}
        names = [step.name for step in saga.steps]
        rest = names[names.index(ref.step) + 1 :]
        payload: JsonObject = {"step": ref.step, "result": result, "next": None}
        if not rest:
            done = _of_saga(saga, "saga_step_completed", payload, execution.execution_id)
            return SagaTurn(before=(done, _of_saga(saga, "saga_completed", {}, execution.execution_id)))
        step = self._step(saga, rest[0])
        try:
            submitted = self._submitted(step.execute(context), SagaRef(saga_id=saga.saga_id, step=rest[0]), intent)
        except SymphainyError as error:
            done = _of_saga(saga, "saga_step_completed", payload, execution.execution_id)
            failed = _step_failed(saga, rest[0], error.code, error.message, execution.execution_id)
            return self._undo_next(saga, execution, intent, (done, failed), _undo_list(saga, also=ref.step), context)
        payload["next"] = _next(rest[0], submitted)
        done = _of_saga(saga, "saga_step_completed", payload, execution.execution_id)
        return SagaTurn(before=(done,), after=(submitted,))

    async def failed(
        self, execution: Execution, intent: JsonObject, failure: Failure, *, cancelled: bool = False
    ) -> SagaTurn:
        """The execution, one of a saga's, is about to fail or to be cancelled."""
        ref, saga = await self._place(execution, intent)
        failed = _step_failed(saga, ref.step, failure.code, failure.message, execution.execution_id)
        if ref.compensates:
            payload = {"state": SagaState.NEEDS_ATTENTION.value, "step": ref.step, "reason": failure.message}
            return SagaTurn(before=(_of_saga(saga, "saga_failed", payload, execution.execution_id),))
        if not cancelled and not self._step(saga, ref.step).required:
            return SagaTurn(before=(failed, _of_saga(saga, "saga_completed", {}, execution.execution_id)))
        end = SagaState.CANCELLED if cancelled else SagaState.FAILED
        return self._undo_next(saga, execution, intent, (failed,), _undo_list(saga), end=end)

    async def _place(self, execution: Execution, intent: JsonObject) -> tuple[SagaRef, Saga]:
        ref = msgspec.convert(intent["saga"], SagaRef)
        return ref, await self.read(execution.tenant_id, ref.saga_id)

    def _step(self, saga: Saga, name: str) -> SagaStep:
        declaration = self._registry.saga(saga.saga_name)
        return next(step for step in declaration.steps if step.name == name)

    def _undo_next(
        self,
        saga: Saga,
        execution: Execution,
        intent: JsonObject,
        told: tuple[Draft, ...],
        remaining: list[str],
        context: JsonObject | None = None,
        end: SagaState = SagaState.FAILED,
    ) -> SagaTurn:
        """Submit what undoes the last step that needs it; with nothing left to undo, the saga has ended."""
        began = saga.state is SagaState.COMPENSATING
        for name in remaining:
            wanted = self._step(saga, name).compensate(context or saga.context)
            if wanted is None:
                continue
            ref = SagaRef(saga_id=saga.saga_id, step=name, compensates=True)
            submitted = self._submitted(wanted, ref, intent)
            payload = {"step": name, "next": _next(name, submitted)}
            turning = () if began else (_of_saga(saga, "saga_compensating", payload, execution.execution_id),)
            return SagaTurn(before=(*told, *turning), after=(submitted,))
        if began:
            return SagaTurn(before=(*told, _of_saga(saga, "saga_compensated", {}, execution.execution_id)))
        over = _of_saga(saga, "saga_failed", {"state": end.value, "next": None}, execution.execution_id)
        return SagaTurn(before=(*told, over))

    def _submitted(self, wanted: Submission, ref: SagaRef, intent: JsonObject) -> Draft:
        """The next intent, admitted by the same rules as the first. Raises what admission raises."""
        spec = self._registry.resolve(wanted.intent_type)
        spec.parse(wanted.parameters)
        ticket = ticket_of(intent)
        decision = security_guard.may_submit(
            _caller(ticket), spec.declaration.required_role, read_only=spec.declaration.read_only
        )
        if not decision.allowed:
            raise PolicyDenied(decision.reason, policy=decision.policy, reason=decision.reason)
        execution_id, intent_id = saga_ids(ref)
        return received(
            spec,
            wanted.parameters,
            ticket,
            execution_id=execution_id,
            intent_id=intent_id,
            policy={decision.policy: decision.reason},
            saga=ref,
        )


def _caller(ticket: Ticket) -> Caller:
    return Caller(
        tenant_id="",
        user_id=ticket.user_id or "",
        roles=frozenset(Role(role) for role in ticket.roles),
        session_id=ticket.session_id,
    )


def _created(
    saga_id: str, session_id: str, saga_name: str, steps: tuple[SagaStepRecord, ...], context: JsonObject
) -> Draft:
    payload = {
        "saga_id": saga_id,
        "saga_name": saga_name,
        "steps": msgspec.to_builtins(steps),
        "context": context,
    }
    return Draft(event_type="saga_created", payload=payload, session_id=session_id)


def _of_saga(saga: Saga, event_type: str, payload: JsonObject, execution_id: str | None) -> Draft:
    return Draft(
        event_type=event_type,
        payload={"saga_id": saga.saga_id, "saga_name": saga.saga_name, **payload},
        session_id=saga.session_id,
        execution_id=execution_id,
    )


def _step_failed(saga: Saga, step: str, code: str, message: str, execution_id: str) -> Draft:
    return _of_saga(saga, "saga_step_failed", {"step": step, "error": {"code": code, "message": message}}, execution_id)


def _next(step: str, submitted: Draft) -> JsonObject:
    return {
        "step": step,
        "intent_type": submitted.payload["intent_type"],
        "execution_id": submitted.execution_id,
    }


def _undo_list(saga: Saga, *, after: str | None = None, also: str | None = None) -> list[str]:
    """Completed steps, last first; with `after`, only those before it; `also` completes in this very turn."""
    names = [step.name for step in saga.steps if step.state == "completed" or step.name == also]
    if after is not None:
        order = [step.name for step in saga.steps]
        names = [name for name in names if order.index(name) < order.index(after)]
    return names[::-1]
