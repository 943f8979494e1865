"""Sagas: several intents as one run, with what undoes them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from symphainy.capability import (
    Capability,
    ExecutionContext,
    IntentRefused,
    IntentResult,
    RetryPolicy,
    SagaDeclaration,
    Submission,
    intent,
)
from symphainy.door import IntentRequest
from symphainy.errors import Conflict, Invalid, NotFound, PolicyDenied, StartupFailed, Unreachable
from symphainy.model import Event, Execution, Failure, JsonObject, Role, Saga, SagaState, Status
from symphainy.model.saga import SagaStepRecord
from symphainy.runtime import IntentRegistry, SagaCoordinator
from symphainy.runtime.wal import replay_against_store, verify
from tests.runtimes import Anything, Ground, Runtime, ended, seen

#: What the handlers of a test have done, in order.
done: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    done.clear()


@dataclass(frozen=True)
class Step:
    name: str
    intent_type: str = "do"
    required: bool = True
    asks: Callable[[JsonObject], Submission] | None = None
    undoes: Callable[[JsonObject], Submission | None] | None = None

    def execute(self, context: JsonObject) -> Submission:
        if self.asks is not None:
            return self.asks(context)
        asked = context["parameters"].get(self.name, {})
        return Submission(
            intent_type=self.intent_type, parameters={"name": self.name, "after": [*context["results"]], **asked}
        )

    def compensate(self, context: JsonObject) -> Submission | None:
        if self.undoes is not None:
            return self.undoes(context)
        return Submission(intent_type="undo", parameters={"name": self.name, "result": context["results"][self.name]})


def nothing(context: JsonObject) -> Submission | None:
    return None


def broken(context: JsonObject) -> Submission:
    raise KeyError("the author made a mistake")


class Works(Capability):
    name = "works"
    sagas: ClassVar[tuple[SagaDeclaration, ...]] = (
        SagaDeclaration(name="three", steps=(Step("one"), Step("two"), Step("three"))),
        SagaDeclaration(name="optional", steps=(Step("one"), Step("two"), Step("three", required=False))),
        SagaDeclaration(name="nothing_to_undo", steps=(Step("one", undoes=nothing), Step("two", undoes=nothing))),
        SagaDeclaration(name="skips", steps=(Step("one"), Step("two", undoes=nothing), Step("three"), Step("four"))),
        SagaDeclaration(name="broken_step", steps=(Step("one"), Step("two", asks=broken))),
        SagaDeclaration(name="broken_undo", steps=(Step("one", undoes=broken), Step("two"))),
        SagaDeclaration(
            name="secret",
            steps=(
                Step("one"),
                Step("two", asks=lambda c: Submission(intent_type="do", parameters={"password": "hunter2"})),
            ),
        ),
        SagaDeclaration(
            name="unknown",
            steps=(Step("one"), Step("two", asks=lambda c: Submission(intent_type="unheard_of", parameters={}))),
        ),
        SagaDeclaration(
            name="invalid",
            steps=(Step("one"), Step("two", asks=lambda c: Submission(intent_type="strict", parameters={"n": "many"}))),
        ),
        SagaDeclaration(
            name="forbidden",
            steps=(Step("one"), Step("two", asks=lambda c: Submission(intent_type="operate", parameters={}))),
        ),
    )

    @intent("do", retry=RetryPolicy(attempts_max=2, jitter=0.0))
    async def do(self, ctx: ExecutionContext, params: Anything) -> IntentResult:
        """Do it, or fail as asked."""
        asked = params.model_dump()
        name = asked.get("name", "one")
        if asked.get("flaky") and ctx.attempt == 1:
            raise Unreachable("not yet")
        if asked.get("fails"):
            raise IntentRefused("no", f"{name} cannot be done")
        if asked.get("hangs"):
            await ctx.emit("hanging", {})
            await asyncio.Event().wait()
        done.append(f"do {name}")
        return IntentResult(result={"did": name, "after": asked.get("after", [])})

    @intent("undo")
    async def undo(self, ctx: ExecutionContext, params: Anything) -> IntentResult:
        """Undo it."""
        asked = params.model_dump()
        if asked["result"]["did"] in undoable:
            raise IntentRefused("stuck", "it cannot be undone")
        done.append(f"undo {asked['name']}")
        return IntentResult()

    @intent("operate", required_role=Role.OPERATOR)
    async def operate(self, ctx: ExecutionContext, params: Anything) -> IntentResult:
        """For operators."""
        raise AssertionError("a member's saga got through")


class Numbers(Anything):
    n: int


class Strict(Capability):
    name = "strict"

    @intent("strict")
    async def strict(self, ctx: ExecutionContext, params: Numbers) -> IntentResult:
        """Takes a number."""
        raise AssertionError("it was given none")


undoable: set[str] = set()


@pytest.fixture(autouse=True)
def _everything_can_be_undone() -> None:
    undoable.clear()


async def started(runtime: Runtime, saga: str, **parameters: Any) -> tuple[str, str]:
    """Session and first execution."""
    door = runtime.door()
    session = await door.create_session()
    request = IntentRequest(
        intent_type="do", session_id=session.session_id, parameters=parameters, metadata={"saga": saga, "own": 1}
    )
    return session.session_id, (await door.submit(request)).execution_id


async def followed(runtime: Runtime, execution_id: str) -> tuple[list[Execution], list[Event]]:
    """From execution to execution, as a client follows: by `next` in the events of each."""
    door = runtime.door()
    executions: list[Execution] = []
    told: list[Event] = []
    following: str | None = execution_id
    while following is not None:
        executions.append(await ended(door, following))
        own = [e async for e in door.stream(following, after=0) if e.event_type.startswith("saga_")]
        told += own
        following = next((e.payload["next"]["execution_id"] for e in own if e.payload.get("next")), None)
    return executions, told


async def saga_of(base: Ground, execution: Execution) -> Saga:
    assert execution.saga_id is not None
    saga = await base.store.tenant("acme").saga(execution.saga_id)
    assert saga is not None
    return saga


async def run_saga(base: Ground, saga: str, **parameters: Any) -> tuple[Saga, list[Execution], list[str]]:
    """The saga as it ended, its executions, and the events that told of it."""
    async with Runtime(base, None, Works, Strict) as runtime:
        session_id, execution_id = await started(runtime, saga, **parameters)
        executions, told = await followed(runtime, execution_id)
        session = await runtime.door().get_session(session_id)
    assert session.active_sagas == ()
    assert (await replay_against_store(base.store.tenant("acme"))).differences == ()
    assert (await verify(base.store.tenant("acme"))).ok
    for event in told:
        assert event.payload["saga_name"] == saga
        assert event.payload["saga_id"] == executions[0].saga_id
    return await saga_of(base, executions[0]), executions, [event.event_type for event in told]


def states(saga: Saga) -> list[str]:
    return [step.state for step in saga.steps]


# --- a declared saga, end to end ---


async def test_a_saga_runs_its_intents_one_after_the_other(base: Ground) -> None:
    saga, executions, told = await run_saga(base, "three")
    assert done == ["do one", "do two", "do three"]
    assert (saga.state, states(saga)) == (SagaState.COMPLETED, ["completed"] * 3)
    assert [step.execution_id for step in saga.steps] == [execution.execution_id for execution in executions]
    assert [step.result["after"] for step in saga.steps] == [[], ["one"], ["one", "two"]]
    assert saga.context["results"] == {step.name: step.result for step in saga.steps}
    assert told == ["saga_step_completed"] * 3 + ["saga_completed"]
    assert {execution.user_id for execution in executions} == {"ada"}


async def test_what_follows_is_submitted_in_the_transaction_that_ends_what_came_before(base: Ground) -> None:
    _, executions, _ = await run_saga(base, "three")
    first, second = [await base.log(execution.execution_id) for execution in executions[:2]]
    assert [event.event_type for event in first[-2:]] == ["saga_step_completed", "execution_completed"]
    assert second[0].event_type == "intent_received"
    assert second[0].position == first[-1].position + 1
    assert second[0].timestamp == first[-1].timestamp
    assert first[-2].payload["next"] == {
        "step": "two",
        "intent_type": "do",
        "execution_id": executions[1].execution_id,
    }
    assert second[0].payload["saga"] == {"saga_id": executions[0].saga_id, "step": "two", "compensates": False}
    assert second[0].payload["metadata"] == {"saga": "three", "own": 1}


async def test_a_running_saga_stands_in_its_session(base: Ground) -> None:
    async with Runtime(base, None, Works) as runtime:
        session_id, execution_id = await started(runtime, "three", two={"hangs": True})
        await ended(runtime.door(), execution_id)
        (active,) = (await runtime.door().get_session(session_id)).active_sagas
        assert (active.saga_name, active.state) == ("three", SagaState.RUNNING)
        assert states(active) == ["completed", "running", "pending"]


async def test_a_step_that_is_tried_again_does_not_end_the_saga(base: Ground) -> None:
    saga, executions, _ = await run_saga(base, "three", two={"flaky": True})
    assert (saga.state, [execution.attempt for execution in executions]) == (SagaState.COMPLETED, [1, 2, 1])
    assert done == ["do one", "do two", "do three"]


async def test_an_optional_step_may_fail(base: Ground) -> None:
    saga, executions, told = await run_saga(base, "optional", three={"fails": True})
    assert (saga.state, states(saga)) == (SagaState.COMPLETED, ["completed", "completed", "failed"])
    assert executions[-1].status is Status.FAILED
    assert saga.steps[2].error == {"code": "no", "message": "three cannot be done"}
    assert done == ["do one", "do two"]
    assert told[-2:] == ["saga_step_failed", "saga_completed"]


async def test_a_required_step_that_fails_undoes_what_came_before_last_first(base: Ground) -> None:
    saga, executions, told = await run_saga(base, "three", three={"fails": True})
    assert done == ["do one", "do two", "undo two", "undo one"]
    assert (saga.state, states(saga)) == (SagaState.COMPENSATED, ["compensated", "compensated", "failed"])
    assert [execution.intent_type for execution in executions] == ["do", "do", "do", "undo", "undo"]
    assert [step.compensation_execution_id for step in saga.steps] == [
        executions[4].execution_id,
        executions[3].execution_id,
        None,
    ]
    assert told[2:] == [
        "saga_step_failed",
        "saga_compensating",
        "saga_step_compensated",
        "saga_step_compensated",
        "saga_compensated",
    ]


async def test_what_needs_no_undoing_is_passed_over(base: Ground) -> None:
    saga, _, _ = await run_saga(base, "skips", four={"fails": True})
    assert done[3:] == ["undo three", "undo one"]
    assert (saga.state, states(saga)) == (SagaState.COMPENSATED, ["compensated", "completed", "compensated", "failed"])


async def test_with_nothing_to_undo_a_saga_has_failed(base: Ground) -> None:
    saga, _, told = await run_saga(base, "nothing_to_undo", two={"fails": True})
    assert (saga.state, done, told[-1]) == (SagaState.FAILED, ["do one"], "saga_failed")


async def test_a_first_step_that_fails_ends_the_saga(base: Ground) -> None:
    saga, executions, _ = await run_saga(base, "three", fails=True)
    assert (saga.state, states(saga), len(executions)) == (SagaState.FAILED, ["failed", "pending", "pending"], 1)


async def test_what_cannot_be_undone_needs_attention(base: Ground) -> None:
    undoable.add("two")
    saga, executions, told = await run_saga(base, "three", three={"fails": True})
    assert saga.state is SagaState.NEEDS_ATTENTION
    assert states(saga) == ["completed", "completed", "failed"]
    assert (executions[-1].status, told[-1]) == (Status.FAILED, "saga_failed")


@pytest.mark.parametrize("saga_name", ["broken_step", "secret", "unknown", "invalid", "forbidden"])
async def test_a_next_step_that_cannot_be_submitted_fails_the_saga_and_not_the_step_before(
    base: Ground, saga_name: str
) -> None:
    saga, executions, _ = await run_saga(base, saga_name)
    assert [execution.status for execution in executions] == [Status.COMPLETED] * 2
    assert (saga.state, states(saga)) == (SagaState.COMPENSATED, ["compensated", "failed"])
    assert done == ["do one", "undo one"]
    assert "hunter2" not in str(await base.store.tenant("acme").records(limit=1000))


async def test_an_undoing_that_cannot_be_submitted_needs_attention_and_ends_the_execution(base: Ground) -> None:
    saga, executions, told = await run_saga(base, "broken_undo", two={"fails": True})
    assert (saga.state, executions[-1].status, executions[-1].attempt) == (SagaState.NEEDS_ATTENTION, Status.FAILED, 1)
    assert told[-1] == "saga_failed"


async def test_a_saga_that_is_no_longer_declared_needs_attention_and_ends(base: Ground) -> None:
    async def do(ctx: ExecutionContext, params: Any) -> IntentResult:
        raise IntentRefused("no", "cannot be done")

    before = Runtime(base, None, Works)
    _, execution_id = await started(before, "three")
    async with Runtime(base, {"do": do}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert (execution.status, execution.attempt) == (Status.FAILED, 1)
    assert (await saga_of(base, execution)).state is SagaState.NEEDS_ATTENTION


# --- cancelling ---


@pytest.mark.parametrize(
    ("saga_name", "at", "state", "undone"),
    [
        ("three", "two", SagaState.COMPENSATED, ["undo one"]),
        ("three", "three", SagaState.COMPENSATED, ["undo two", "undo one"]),
        ("optional", "three", SagaState.COMPENSATED, ["undo two", "undo one"]),
        ("nothing_to_undo", "two", SagaState.CANCELLED, []),
    ],
)
async def test_a_saga_that_is_cancelled_midway_is_undone(
    base: Ground, saga_name: str, at: str, state: SagaState, undone: list[str]
) -> None:
    async with Runtime(base, None, Works) as runtime:
        door = runtime.door()
        session_id, following = await started(runtime, saga_name, **{at: {"hangs": True}})
        while (done[-1] if done else "") != {"two": "do one", "three": "do two"}[at]:
            _, told = await ended(door, following), [e async for e in door.stream(following, after=0)]
            following = next(e.payload["next"]["execution_id"] for e in told if e.payload.get("next"))
        await seen(door, following, "hanging")
        await runtime.door("acme", "ops", Role.OPERATOR).cancel(following, reason="not needed")
        executions, _ = await followed(runtime, following)
        assert (await door.get_session(session_id)).active_sagas == ()
    saga = await saga_of(base, executions[0])
    assert (executions[0].status, saga.state) == (Status.CANCELLED, state)
    assert [each for each in done if each.startswith("undo")] == undone
    assert {step.name: step.state for step in saga.steps}[at] == "failed"
    assert (await replay_against_store(base.store.tenant("acme"))).differences == ()


# --- which sagas can be ---


async def test_a_saga_begins_with_its_first_intent_and_exists(base: Ground) -> None:
    runtime = Runtime(base, None, Works)
    door = runtime.door()
    session = await door.create_session()
    for intent_type, saga in (("undo", "three"), ("do", "unheard_of")):
        with pytest.raises(Invalid) as refused:
            await door.submit(
                IntentRequest(intent_type=intent_type, session_id=session.session_id, metadata={"saga": saga})
            )
        assert refused.value.errors[0].pointer == "/metadata/saga"
    assert (await door.get_session(session.session_id)).active_sagas == ()


async def test_a_saga_submitted_twice_with_one_key_runs_once(base: Ground) -> None:
    async with Runtime(base, None, Works) as runtime:
        door = runtime.door()
        session = await door.create_session()
        request = IntentRequest(
            intent_type="do", session_id=session.session_id, metadata={"saga": "three"}, idempotency_key="k"
        )
        first, again = await door.submit(request), await door.submit(request)
        assert (again.execution_id, again.replayed) == (first.execution_id, True)
        await followed(runtime, first.execution_id)
    assert len(await base.store.tenant("acme").projection("saga", limit=9)) == 1
    assert done == ["do one", "do two", "do three"]


@pytest.mark.parametrize("steps", [(), (Step("one"), Step("one")), (Step("one", "unheard_of"),)])
def test_a_saga_that_cannot_run_is_not_registered(steps: tuple[Step, ...]) -> None:
    class Wrong(Works):
        name = "wrong"
        sagas = (SagaDeclaration(name="wrong", steps=steps),)

    works: Any = None
    with pytest.raises(StartupFailed):
        IntentRegistry().register_capability(Wrong(public_works=works))


# --- the coordinator itself ---


@pytest.fixture
async def coordinator(still: Ground) -> tuple[SagaCoordinator, str]:
    runtime = Runtime(still, None, Works)
    session = await runtime.door().create_session()
    return runtime.engine.sagas, session.session_id


async def two_steps(coordinator: SagaCoordinator, session_id: str) -> Saga:
    saga = await coordinator.create("acme", session_id, "by_hand", context={"a": 1}, saga_id="sag_1")
    saga = await coordinator.add_step(saga, "one", "do")
    return await coordinator.add_step(saga, "two", "do")


async def test_a_saga_is_created_filled_started_and_completed(
    coordinator: tuple[SagaCoordinator, str], still: Ground
) -> None:
    sagas, session_id = coordinator
    saga = await two_steps(sagas, session_id)
    assert (saga.state, saga.context, saga.session_id) == (SagaState.PENDING, {"a": 1}, session_id)
    assert saga.steps == (SagaStepRecord(name="one", intent_type="do"), SagaStepRecord(name="two", intent_type="do"))
    session = await still.store.tenant("acme").session(session_id)
    assert session is not None
    assert session.active_sagas == ()
    saga = await sagas.start(saga)
    session = await still.store.tenant("acme").session(session_id)
    assert session is not None
    assert session.active_sagas == (saga,)
    saga = await sagas.record(saga, "one", result={"n": 1})
    assert (saga.state, states(saga)) == (SagaState.RUNNING, ["completed", "pending"])
    saga = await sagas.record(saga, "two", result={"n": 2})
    assert (saga.state, saga.context["results"]) == (SagaState.COMPLETED, {"one": {"n": 1}, "two": {"n": 2}})
    assert await sagas.read("acme", "sag_1") == saga
    session = await still.store.tenant("acme").session(session_id)
    assert session is not None
    assert session.active_sagas == ()
    assert (await replay_against_store(still.store.tenant("acme"))).differences == ()


async def test_a_saga_is_compensated_last_first(coordinator: tuple[SagaCoordinator, str], still: Ground) -> None:
    sagas, session_id = coordinator
    saga = await sagas.start(await two_steps(sagas, session_id))
    saga = await sagas.record(saga, "one", result=1)
    saga = await sagas.record(saga, "two", error=Failure(code="no", message="cannot be done"))
    assert (saga.state, states(saga)) == (SagaState.RUNNING, ["completed", "failed"])
    saga = await sagas.compensate(saga, reason="two failed")
    assert (saga.state, states(saga)) == (SagaState.COMPENSATED, ["compensated", "failed"])
    events = [e.event_type for e in await sagas._log.events("acme", session_id=session_id)]
    assert events[-3:] == ["saga_compensating", "saga_step_compensated", "saga_compensated"]


async def test_what_a_saga_has_behind_it_cannot_be_done_again(coordinator: tuple[SagaCoordinator, str]) -> None:
    sagas, session_id = coordinator
    saga = await two_steps(sagas, session_id)
    with pytest.raises(Conflict):
        await sagas.create("acme", session_id, "by_hand", saga_id="sag_1")
    with pytest.raises(Conflict):
        await sagas.add_step(saga, "one", "do")
    with pytest.raises(Conflict):
        await sagas.record(saga, "one", result=1)
    with pytest.raises(Conflict):
        await sagas.compensate(saga, reason="not begun")
    saga = await sagas.start(saga)
    with pytest.raises(Conflict):
        await sagas.start(saga)
    with pytest.raises(Conflict):
        await sagas.add_step(saga, "three", "do")
    with pytest.raises(Conflict):
        await sagas.record(saga, "nine", result=1)
    saga = await sagas.record(saga, "one", result=1)
    with pytest.raises(Conflict):
        await sagas.record(saga, "one", result=2)
    saga = await sagas.record(saga, "two", result=2)
    for attempt in (sagas.record(saga, "two", result=3), sagas.compensate(saga, reason="too late")):
        with pytest.raises(Conflict):
            await attempt
    assert await sagas.read("acme", "sag_1") == saga


async def test_an_empty_saga_cannot_start(coordinator: tuple[SagaCoordinator, str]) -> None:
    sagas, session_id = coordinator
    saga = await sagas.create("acme", session_id, "by_hand", saga_id="sag_1")
    with pytest.raises(Conflict):
        await sagas.start(saga)


async def test_no_saga_of_another_tenant_is_read_and_no_secret_is_kept(
    coordinator: tuple[SagaCoordinator, str],
) -> None:
    sagas, session_id = coordinator
    saga = await sagas.start(await two_steps(sagas, session_id))
    for tenant_id, saga_id in (("globex", "sag_1"), ("acme", "sag_9")):
        with pytest.raises(NotFound):
            await sagas.read(tenant_id, saga_id)
    with pytest.raises(PolicyDenied):
        await sagas.record(saga, "one", result={"password": "hunter2"})
    with pytest.raises(PolicyDenied):
        await sagas.create("acme", session_id, "by_hand", context={"password": "hunter2"}, saga_id="sag_2")
