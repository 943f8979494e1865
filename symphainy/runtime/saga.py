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
from symphainy.errors import Conflict, NotFound, PolicyDenied
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
from symphainy.ports import Ids
from symphainy.runtime.admission import SagaRef, Ticket, received, saga_ids, ticket_of
from symphainy.runtime.attempt import attempt, failure_of
from symphainy.runtime.registry import IntentRegistry
from symphainy.runtime.state_surface import recordable
from symphainy.runtime.wal import WriteAheadLog

__all__ = ["SagaCoordinator", "SagaStep", "SagaTurn"]


class SagaTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What a saga adds to the transaction that ends one of its executions.

    `before` stands before the terminal event, in the stream of that execution; `after` submits what comes next.
    """

    before: tuple[Draft, ...] = ()
    after: tuple[Draft, ...] = ()


class SagaCoordinator:
    def __init__(self, *, log: WriteAheadLog, registry: IntentRegistry, ids: Ids) -> None:
        self._log = log
        self._ids = ids
        self._registry = registry

    # --- the record ---

    async def create(
        self,
        tenant_id: str,
        session_id: str,
        saga_name: str,
        *,
        context: JsonObject | None = None,
        saga_id: str | None = None,
        steps: tuple[SagaStepRecord, ...] = (),
    ) -> Saga:
        """Put a pending saga on record, by default under a new id. Raises `Conflict` when there is one of this id."""
        saga_id = saga_id or self._ids.new("sag")
        if await self._log.store.tenant(tenant_id).saga(saga_id) is not None:
            raise Conflict(f"saga {saga_id} exists already", saga_id=saga_id)
        context = recordable(context or {}, "the saga's context")
        await self._log.write(tenant_id, [_created(saga_id, session_id, saga_name, steps, context)])
        return await self.read(tenant_id, saga_id)

    async def add_step(self, saga: Saga, name: str, intent_type: str) -> Saga:
        """Raises `Conflict` when a step of that name is there, or the saga has begun."""
        if saga.state is not SagaState.PENDING or any(step.name == name for step in saga.steps):
            raise Conflict(f"saga {saga.saga_id} is {saga.state} and takes no step {name!r}", saga_id=saga.saga_id)
        step = SagaStepRecord(name=name, intent_type=intent_type)
        return await self._write(saga, ("saga_step_added", {"step": msgspec.to_builtins(step)}))

    async def start(self, saga: Saga) -> Saga:
        if saga.state is not SagaState.PENDING or not saga.steps:
            why = "has no steps" if not saga.steps else f"is already {saga.state}"
            raise Conflict(f"saga {saga.saga_id} {why}", saga_id=saga.saga_id)
        return await self._write(saga, ("saga_started", {}))

    async def record(self, saga: Saga, step: str, *, result: Any = None, error: Failure | None = None) -> Saga:
        """What a step has come to. The saga is completed with its last step.

        Raises `Conflict` when the saga does not run, has no such step, or knows already what became of it.
        """
        if saga.state is not SagaState.RUNNING:
            raise Conflict(f"saga {saga.saga_id} is {saga.state}: none of its steps can end now", saga_id=saga.saga_id)
        open_steps = [each.name for each in saga.steps if each.state in ("pending", "running")]
        if step not in open_steps:
            raise Conflict(f"saga {saga.saga_id} waits for {open_steps}, not for {step!r}", saga_id=saga.saga_id)
        if error is not None:
            return await self._write(saga, ("saga_step_failed", {"step": step, "error": msgspec.to_builtins(error)}))
        result = recordable(result, f"the result of step {step!r}")
        done = ("saga_step_completed", {"step": step, "result": result})
        if any(each.state != "completed" for each in saga.steps if each.name != step):
            return await self._write(saga, done)
        return await self._write(saga, done, ("saga_completed", {"step": step, "next": None}))

    async def compensate(self, saga: Saga, *, reason: str) -> Saga:
        """Mark the completed steps as undone, last first, and the saga as compensated.

        Raises `Conflict` unless it runs.
        """
        if saga.state is not SagaState.RUNNING:
            raise Conflict(f"saga {saga.saga_id} is {saga.state} and cannot be undone", saga_id=saga.saga_id)
        names = _undo_list(saga)
        undone: list[tuple[str, JsonObject]] = [("saga_step_compensated", {"step": name}) for name in names]
        over = ("saga_compensated", {"step": names[-1] if names else None, "next": None})
        return await self._write(saga, ("saga_compensating", {"reason": reason}), *undone, over)

    async def read(self, tenant_id: str, saga_id: str) -> Saga:
        saga = await self._log.store.tenant(tenant_id).saga(saga_id)
        if saga is None:
            raise NotFound(f"no saga {saga_id}", saga_id=saga_id)
        return saga

    async def _write(self, saga: Saga, *events: tuple[str, JsonObject]) -> Saga:
        """All or none: a saga is never found half way."""
        drafts = [_of_saga(saga, event_type, payload, execution_id=None) for event_type, payload in events]
        await self._log.write(saga.tenant_id, drafts)
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
            turn = await self._undo_next(saga, ref.step, execution, intent, _undo_list(saga, after=ref.step))
            payload: JsonObject = {"step": ref.step, "next": _next(turn.after)}
            undone = _of_saga(saga, "saga_step_compensated", payload, execution.execution_id)
            return SagaTurn(before=(undone, *turn.before), after=turn.after)
        results = {**saga.context.get("results", {}), ref.step: result}
        context = {**saga.context, "results": results}
        names = [step.name for step in saga.steps]
        rest = names[names.index(ref.step) + 1 :]
        payload = {"step": ref.step, "result": result, "next": None}
        if not rest:
            done = _of_saga(saga, "saga_step_completed", payload, execution.execution_id)
            return SagaTurn(before=(done, _ended(saga, "saga_completed", ref.step, execution.execution_id)))
        following = SagaRef(saga_id=saga.saga_id, step=rest[0])
        asked = await attempt(self._asked(saga, following, context, intent), what=f"saga step {rest[0]!r}")
        submitted = asked.value
        if submitted is None:
            failure = failure_of(asked.error or TypeError(f"saga step {rest[0]!r} asks for nothing"))
            done = _of_saga(saga, "saga_step_completed", payload, execution.execution_id)
            failed = _step_failed(saga, rest[0], failure, execution.execution_id)
            remaining = _undo_list(saga, also=ref.step)
            turn = await self._undo_next(saga, rest[0], execution, intent, remaining, context=context)
            return SagaTurn(before=(done, failed, *turn.before), after=turn.after)
        payload["next"] = _next((submitted,))
        done = _of_saga(saga, "saga_step_completed", payload, execution.execution_id)
        return SagaTurn(before=(done,), after=(submitted,))

    async def failed(
        self, execution: Execution, intent: JsonObject, failure: Failure, *, cancelled: bool = False
    ) -> SagaTurn:
        """The execution, one of a saga's, is about to fail or to be cancelled."""
        ref, saga = await self._place(execution, intent)
        if ref.compensates:
            return SagaTurn(before=(_needs_attention(saga, ref.step, failure, execution.execution_id),))
        failed = _step_failed(saga, ref.step, failure, execution.execution_id)
        if not cancelled and not self._step(saga, ref.step).required:
            return SagaTurn(before=(failed, _ended(saga, "saga_completed", ref.step, execution.execution_id)))
        end = SagaState.CANCELLED if cancelled else SagaState.FAILED
        turn = await self._undo_next(saga, ref.step, execution, intent, _undo_list(saga), end=end)
        return SagaTurn(before=(failed, *turn.before), after=turn.after)

    async def abandoned(self, execution: Execution, intent: JsonObject, failure: Failure) -> SagaTurn:
        """The execution has failed in a way that nothing can be made of: a person has to look at its saga."""
        ref, saga = await self._place(execution, intent)
        return SagaTurn(before=(_needs_attention(saga, ref.step, failure, execution.execution_id),))

    async def _place(self, execution: Execution, intent: JsonObject) -> tuple[SagaRef, Saga]:
        ref = msgspec.convert(intent["saga"], SagaRef)
        return ref, await self.read(execution.tenant_id, ref.saga_id)

    def _step(self, saga: Saga, name: str) -> SagaStep:
        declaration = self._registry.saga(saga.saga_name)
        return next(step for step in declaration.steps if step.name == name)

    async def _undo_next(
        self,
        saga: Saga,
        ended: str,
        execution: Execution,
        intent: JsonObject,
        remaining: list[str],
        *,
        context: JsonObject | None = None,
        end: SagaState = SagaState.FAILED,
    ) -> SagaTurn:
        """Submit what undoes the last step that needs it; with nothing left to undo, the saga has ended.

        `ended` is the step that brought this about.
        """
        began = saga.state is SagaState.COMPENSATING
        for name in remaining:
            ref = SagaRef(saga_id=saga.saga_id, step=name, compensates=True)
            asked = await attempt(self._asked(saga, ref, context or saga.context, intent), what=f"undoing {name!r}")
            if asked.error is not None:
                failure = failure_of(asked.error)
                return SagaTurn(before=(_needs_attention(saga, name, failure, execution.execution_id),))
            submitted = asked.value
            if submitted is None:
                continue
            payload = {"step": name, "next": _next((submitted,))}
            turning = () if began else (_of_saga(saga, "saga_compensating", payload, execution.execution_id),)
            return SagaTurn(before=turning, after=(submitted,))
        if began:
            return SagaTurn(before=(_ended(saga, "saga_compensated", ended, execution.execution_id),))
        return SagaTurn(before=(_ended(saga, "saga_failed", ended, execution.execution_id, state=end.value),))

    async def _asked(self, saga: Saga, ref: SagaRef, context: JsonObject, intent: JsonObject) -> Draft | None:
        """What the saga's author wants done at this point, submitted.

        Raises what the author's code or admission raises.
        """
        step = self._step(saga, ref.step)
        wanted = step.compensate(context) if ref.compensates else step.execute(context)
        return None if wanted is None else self._submitted(wanted, ref, intent)

    def _submitted(self, wanted: Submission, ref: SagaRef, intent: JsonObject) -> Draft:
        """The next intent, admitted by the same rules as the first. Raises what admission raises."""
        spec = self._registry.resolve(wanted.intent_type)
        spec.parse(wanted.parameters)
        parameters = recordable(wanted.parameters, f"the parameters of {spec.intent_type!r}")
        ticket = ticket_of(intent)
        decision = security_guard.may_submit(
            _caller(ticket), spec.declaration.required_role, read_only=spec.declaration.read_only
        )
        if not decision.allowed:
            raise PolicyDenied(decision.reason, policy=decision.policy, reason=decision.reason)
        execution_id, intent_id = saga_ids(ref)
        return received(
            spec,
            parameters,
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


def _step_failed(saga: Saga, step: str, failure: Failure, execution_id: str) -> Draft:
    error = {"code": failure.code, "message": failure.message}
    return _of_saga(saga, "saga_step_failed", {"step": step, "error": error}, execution_id)


def _ended(saga: Saga, event_type: str, step: str, execution_id: str | None, **more: str) -> Draft:
    return _of_saga(saga, event_type, {"step": step, "next": None, **more}, execution_id)


def _needs_attention(saga: Saga, step: str, failure: Failure, execution_id: str) -> Draft:
    state = SagaState.NEEDS_ATTENTION.value
    return _ended(saga, "saga_failed", step, execution_id, state=state, reason=failure.message)


def _next(submitted: tuple[Draft, ...]) -> JsonObject | None:
    """Where a client that follows the saga goes on."""
    for draft in submitted:
        payload = draft.payload
        return {
            "step": payload["saga"]["step"],
            "intent_type": payload["intent_type"],
            "execution_id": draft.execution_id,
        }
    return None


def _undo_list(saga: Saga, *, after: str | None = None, also: str | None = None) -> list[str]:
    """Completed steps, last first; with `after`, only those before it; `also` completes in this very turn."""
    names = [step.name for step in saga.steps if step.state == "completed" or step.name == also]
    if after is not None:
        order = [step.name for step in saga.steps]
        names = [name for name in names if order.index(name) < order.index(after)]
    return names[::-1]
