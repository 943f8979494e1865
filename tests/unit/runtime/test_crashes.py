"""Death at any moment: the machine picks the write at which the process dies, and nobody can see that it did."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from symphainy.errors import SymphainyError, Unreachable
from symphainy.model import TERMINAL_EVENTS, Artifact, Execution, JsonObject, LifecycleState, SagaState
from symphainy.ports import EventFilter
from symphainy.runtime import EngineLimits
from symphainy.runtime.wal import replay_against_store, verify
from symphainy.testing.faults import MortalStore
from tests.runtimes import (
    Anything,
    Declared,
    Ground,
    Handler,
    Runtime,
    declared,
    ended,
    ground,
    searched,
    submit,
    until_found,
)

LIMITS = EngineLimits(lease_s=30.0)
TWICE = RetryPolicy(attempts_max=2, first_delay_s=5.0, jitter=0.0)


class Ran:
    """Which step functions ran, and whether one ran that was on record already."""

    def __init__(self, base: Ground) -> None:
        self._base = base
        self.counts: dict[str, int] = {}
        self.again: list[str] = []

    async def note(self, ctx: ExecutionContext, key: str) -> None:
        self.counts[key] = self.counts.get(key, 0) + 1
        recorded = [
            event.payload["name"]
            for event in await self._base.log(ctx.execution_id)
            if event.event_type == "step_completed"
        ]
        if key in recorded:
            self.again.append(key)


def everything_at_once(ran: Ran) -> Handler:
    """A handler with one of each durable boundary."""

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)

        async def plain(n: int) -> JsonObject:
            await ran.note(ctx, "plain")
            return {"n": n}

        async def writing() -> str:
            await ran.note(ctx, "writing")
            made = await state.register_artifact(artifact_type="inside", parent_artifacts=[outside.artifact_id])
            await state.update_session_state(*here, {"inside": {"n": 1}})
            await state.set_execution_state(ctx.execution_id, ctx.tenant_id, {"inside": 1})
            await ctx.emit("between", {"inside": True})
            return made.artifact_id

        async def flaky() -> int:
            await ran.note(ctx, "flaky")
            failures = [e for e in await ran._base.log(ctx.execution_id) if e.event_type == "step_failed"]
            if not any(e.payload["name"] == "flaky" for e in failures):
                raise Unreachable("not yet")
            return 7

        async def hopeless() -> None:
            await ran.note(ctx, "hopeless")
            raise IntentRefused("hopeless", "it cannot be done", {"n": 1})

        async def side(name: str) -> str:
            await ran.note(ctx, name)
            await asyncio.sleep(0)
            return name.upper()

        await ctx.progress(0.1, "begun")
        outside = await state.register_artifact(artifact_type="outside", semantic_payload={"n": 1})
        await state.update_session_state(*here, {"outside": 1})
        first = await ctx.step("plain", plain, 3)
        await ctx.emit("between", {"first": first})
        inside = await ctx.step("writing", writing)
        await ctx.emit("between", {"inside": False})
        try:
            await ctx.step("hopeless", hopeless)
        except SymphainyError as error:
            way_round = error.code
        else:
            way_round = ""
        sides = await asyncio.gather(*(ctx.step(name, side, name) for name in ("left", "right", "middle")))
        seven = await ctx.step("flaky", flaky, retry=TWICE)
        pending = await state.create_pending_intent(
            intent_type="work", target_artifact_id=outside.artifact_id, parameters={"n": 1}
        )
        waits = [e for e in await ran._base.log(ctx.execution_id) if e.event_type == "execution_waiting"]
        if not any(e.payload["waiting_on"]["step"] is None for e in waits):
            raise Unreachable("the whole once more")
        return IntentResult(
            result={"first": first, "seven": seven, "sides": sides, "way_round": way_round, "pending": pending != ""},
            artifacts={"outside": outside, "inside": await state.resolve_artifact(inside, ctx.tenant_id)},
            events=[("finished", {"seven": seven})],
        )

    return work


class Seen(NamedTuple):
    """What a caller can see of an execution, without what differs between any two: ids, times, places."""

    status: str
    result: Any
    error: Any
    events: list[tuple[str, JsonObject]]
    artifacts: dict[str, tuple[str, str]]
    steps: set[tuple[str, str, int]]
    progress: Any
    state: JsonObject
    context: JsonObject
    unasked: tuple[str, ...]
    rows: dict[str, int]


async def seen_of(base: Ground, execution: Execution) -> Seen:
    tenant = base.store.tenant("acme")
    session = await tenant.session(execution.session_id)
    assert session is not None
    assert execution.steps is not None
    replayed = await replay_against_store(tenant)
    assert replayed.differences == ()
    assert (await verify(tenant)).ok
    artifacts = {}
    for name, ref in execution.artifacts.items():
        artifact = await tenant.artifact(ref.artifact_id)
        assert artifact is not None
        artifacts[name] = (artifact.lifecycle_state.value, artifact.artifact_type)
    return Seen(
        status=execution.status.value,
        result=execution.result,
        error=msgspec.to_builtins(execution.error),
        events=[(event.event_type, event.payload) for event in execution.events],
        artifacts=artifacts,
        steps={(step.name, step.status, step.attempt) for step in execution.steps},
        progress=msgspec.to_builtins(execution.progress),
        state=execution.state,
        context=session.context,
        unasked=execution.unasked_steps,
        rows={kind: count for kind, count in replayed.counts.items() if kind != "session"},
    )


async def lived(base: Ground, handlers: Mapping[str, Handler | Declared], deaths: list[tuple[int, bool]]) -> Execution:
    """Run `work` in one process after another. Each dies at the write that is drawn for it, the last one lives."""
    planning = Runtime(base, handlers)
    door = planning.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    for number, (dies_at, before) in enumerate(deaths):
        store = MortalStore(base.store, dies_at=dies_at, before=before)
        dying = Runtime(base, handlers, owner=f"mortal-{number}", store=store, limits=LIMITS)
        dying.worker.start()
        # It dies, or it is done before it would have.
        finished = asyncio.ensure_future(_ended(base, execution_id))
        died = asyncio.ensure_future(store.died.wait())
        await asyncio.wait({finished, died}, return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        died.cancel()
        store.bury()
        await dying.kill()
        await dying.engine.governance.close()
    async with Runtime(base, handlers, owner="last", limits=LIMITS) as living:
        return await ended(living.door(), execution_id)


async def _ended(base: Ground, execution_id: str) -> None:
    async def has_ended() -> bool:
        return (await base.kinds(execution_id))[-1] in TERMINAL_EVENTS

    await until_found(has_ended)


async def crashed(deaths: list[tuple[int, bool]]) -> tuple[Seen, Ran]:
    with tempfile.TemporaryDirectory() as folder:
        async with ground(Path(folder)) as base:
            ran = Ran(base)
            handlers = {"work": declared(everything_at_once(ran), retry=TWICE)}
            execution = await lived(base, handlers, deaths)
            kinds = await base.kinds(execution.execution_id)
            assert sum(kind in TERMINAL_EVENTS for kind in kinds) == 1
            return await seen_of(base, execution), ran


WRITES = 24
"""What the handler needs for one life without a death; dying later than that is living."""

UNINTERRUPTED: list[Seen] = []


async def uninterrupted() -> Seen:
    if not UNINTERRUPTED:
        seen, ran = await crashed([])
        assert (seen.status, ran.again) == ("completed", [])
        assert set(ran.counts.values()) == {1, 2}
        UNINTERRUPTED.append(seen)
    return UNINTERRUPTED[0]


async def test_the_handler_meets_every_boundary_there_is() -> None:
    seen = await uninterrupted()
    assert seen.result == {
        "first": {"n": 3},
        "seven": 7,
        "sides": ["LEFT", "RIGHT", "MIDDLE"],
        "way_round": "hopeless",
        "pending": True,
    }
    assert seen.events == [
        ("between", {"first": {"n": 3}}),
        ("between", {"inside": True}),
        ("between", {"inside": False}),
        ("finished", {"seven": 7}),
    ]
    assert seen.artifacts == {"outside": ("READY", "outside"), "inside": ("READY", "inside")}
    assert (seen.context, seen.state) == ({"inside": {"n": 1}, "outside": 1}, {"inside": 1})
    assert seen.rows == {"execution": 1, "artifact": 2, "pending": 1, "saga": 0}


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("dies_at", range(1, WRITES + 1))
async def test_one_death_changes_nothing_that_a_caller_can_see(dies_at: int, before: bool) -> None:
    seen, ran = await crashed([(dies_at, before)])
    assert seen == await uninterrupted()
    assert ran.again == []


async def test_a_life_without_a_death_takes_as_many_writes_as_are_tried(base: Ground) -> None:
    handlers = {"work": declared(everything_at_once(Ran(base)), retry=TWICE)}
    store = MortalStore(base.store, dies_at=1000)
    async with Runtime(base, handlers, store=store) as runtime:
        door = Runtime(base, handlers, hot=runtime.hot).door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        runtime.engine.log.on_work()
        await ended(door, execution_id)
    assert store.writes == WRITES


@searched(40)
@given(deaths=st.lists(st.tuples(st.integers(1, WRITES), st.booleans()), min_size=1, max_size=3))
async def test_a_death_at_any_write_changes_nothing_that_a_caller_can_see(deaths: list[tuple[int, bool]]) -> None:
    seen, ran = await crashed(deaths)
    assert seen == await uninterrupted()
    assert ran.again == []


# --- a saga ---


class Step(NamedTuple):
    name: str
    intent_type: str = "do"
    required: bool = True

    def execute(self, context: JsonObject) -> Submission:
        return Submission(intent_type="do", parameters={"name": self.name, **context["parameters"]})

    def compensate(self, context: JsonObject) -> Submission:
        return Submission(intent_type="undo", parameters={"name": self.name})


class Chain(Capability):
    name = "chain"
    sagas = (SagaDeclaration(name="chain", steps=(Step("one"), Step("two"), Step("three"))),)

    @intent("do")
    async def do(self, ctx: ExecutionContext, params: Anything) -> IntentResult:
        """Do it."""
        asked = params.model_dump()
        name = asked.get("name", "one")
        if asked.get("fails") == name:
            raise IntentRefused("no", "it cannot be done")
        await ctx.state_surface.register_artifact(artifact_type="did", semantic_payload=name)
        return IntentResult(result={"did": name})

    @intent("undo")
    async def undo(self, ctx: ExecutionContext, params: Anything) -> IntentResult:
        """Undo it."""
        await ctx.state_surface.register_artifact(artifact_type="undid", semantic_payload=params.model_dump()["name"])
        return IntentResult()


@searched(30)
@given(
    deaths=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=4),
    fails=st.sampled_from([None, "two", "three"]),
)
async def test_a_death_at_any_write_neither_loses_nor_repeats_a_sagas_step(
    deaths: list[tuple[int, bool]], fails: str | None
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with ground(Path(folder)) as base:
            await _saga_with_deaths(base, deaths, fails)


async def _saga_with_deaths(base: Ground, deaths: list[tuple[int, bool]], fails: str | None) -> None:
    door = Runtime(base, None, Chain).door()
    session = await door.create_session()
    request = IntentRequest(
        intent_type="do", session_id=session.session_id, parameters={"fails": fails}, metadata={"saga": "chain"}
    )
    await door.submit(request)
    tenant = base.store.tenant("acme")

    async def is_over() -> bool:
        return all(saga.state.is_terminal for _, saga in await tenant.projection("saga", limit=9))

    for number, (dies_at, before) in enumerate(deaths):
        store = MortalStore(base.store, dies_at=dies_at, before=before)
        dying = Runtime(base, None, Chain, owner=f"mortal-{number}", store=store, limits=LIMITS)
        dying.worker.start()
        waits: set[asyncio.Future[Any]] = {
            asyncio.ensure_future(until_found(is_over)),
            asyncio.ensure_future(store.died.wait()),
        }
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        store.bury()
        await dying.kill()
    async with Runtime(base, None, Chain, owner="last", limits=LIMITS):
        await until_found(is_over)
    ((_, saga),) = await tenant.projection("saga", limit=9)
    made = [
        (event.payload["artifact"]["artifact_type"], event.payload["artifact"]["semantic_payload"])
        for event in await tenant.events(EventFilter(event_type="artifact_registered"), limit=99)
    ]
    order = ["one", "two", "three"]
    good = order if fails is None else order[: order.index(fails)]
    undone = [] if fails is None else good[::-1]
    assert made == [("did", name) for name in good] + [("undid", name) for name in undone]
    assert saga.state is (SagaState.COMPLETED if fails is None else SagaState.COMPENSATED)
    assert (await replay_against_store(tenant)).differences == ()
    assert (await verify(tenant)).ok


# --- anything that handlers do ---


OPS = (
    *("step", "failed_step", "retried_step", "writing_step", "emit", "progress", "update", "set", "state"),
    *("register", "archive", "accept", "queue", "take"),
)
ENDS = ("complete", "complete", "refuse", "retry", "cancel", "conflict")
PLAN = st.tuples(st.lists(st.sampled_from(OPS), max_size=7), st.sampled_from(ENDS), st.integers(-3, 3))


async def follow_plan(ctx: ExecutionContext, params: Any) -> IntentResult:
    """Do what the plan says: each operation of the state surface and of the context, in any order."""
    state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)
    made: list[Artifact] = []

    async def give(value: Any) -> Any:
        return value

    async def fail() -> None:
        await state.update_session_state(*here, {"never": 1})
        await state.register_artifact(artifact_type="never")
        raise IntentRefused("no", "not this way")

    async def retried() -> int:
        if ctx.attempt == 1:
            raise Unreachable("not yet")
        return 1

    async def write(n: int) -> None:
        await state.update_session_state(*here, {f"step_{n}": {"n": n}, "last": None})
        await state.register_artifact(artifact_type="inside")
        await ctx.emit("noted", {"n": n})

    for n, op in enumerate(params.ops):
        match op:
            case "step":
                await ctx.step("step", give, {"n": n})
            case "failed_step":
                try:
                    await ctx.step("fail", fail)
                except IntentRefused:
                    continue
            case "retried_step":
                await ctx.step("retried", retried, retry=TWICE)
            case "writing_step":
                await ctx.step("write", write, n)
            case "emit":
                await ctx.emit("noted", {"n": n})
            case "progress":
                await ctx.progress(n / 10, op)
            case "update":
                await state.update_session_state(*here, {"last": n, "deep": {str(n): [n]}})
            case "set":
                await state.set_session_state(*here, {"set": n})
            case "state":
                await state.set_execution_state(ctx.execution_id, ctx.tenant_id, {"n": n})
            case "register":
                parents = [artifact.artifact_id for artifact in made[-1:]]
                made.append(await state.register_artifact(artifact_type="note", parent_artifacts=parents))
            case "archive" | "accept":
                ready = await state.list_artifacts(ctx.tenant_id, lifecycle_state="READY", limit=3)
                for artifact in ready[:1]:
                    if op == "archive":
                        await state.transition_artifact(artifact.artifact_id, "ARCHIVED", "as planned")
                    elif artifact.status.value == "draft":
                        await state.set_artifact_status(artifact.artifact_id, "accepted", "as planned")
            case "queue":
                await state.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters={"n": n})
            case "take":
                found = await state.pending_intent(intent_type="work", target_artifact_id="art_1")
                if found is not None:
                    await state.complete_pending_intent(found[0])
    match params.end:
        case "refuse":
            raise IntentRefused("no", "as planned", {"plan": params.ops})
        case "retry" if ctx.attempt == 1:
            raise Unreachable("as planned")
        case "cancel":
            await ctx.emit("waiting_for_the_end", {})
            await asyncio.Event().wait()
        case "conflict":
            await state.register_artifact(artifact_type="note", artifact_id="art_of_everybody")
    return IntentResult(result={"ops": params.ops}, artifacts={f"a{n}": each for n, each in enumerate(made)})


@searched(40)
@given(plans=st.lists(PLAN, min_size=1, max_size=6))
async def test_whatever_handlers_do_the_rows_are_what_the_log_folds_to(plans: list[tuple[list[str], str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with ground(Path(folder)) as base:
            await _carry_out(base, plans)


async def _carry_out(base: Ground, plans: list[tuple[list[str], str, int]]) -> None:
    handlers = {"work": declared(follow_plan, retry=TWICE)}
    async with Runtime(base, handlers, limits=EngineLimits(workers=3)) as runtime:
        door = runtime.door()
        session = await door.create_session()
        submitted = [
            (
                await door.submit(
                    IntentRequest(
                        intent_type="work",
                        session_id=session.session_id,
                        parameters={"ops": ops, "end": end},
                        metadata={"priority": priority},
                    )
                )
            ).execution_id
            for ops, end, priority in plans
        ]

        async def finish(execution_id: str) -> Execution:
            async for event in door.stream(execution_id, after=0):
                if event.event_type == "waiting_for_the_end":
                    execution = await door.get_execution(execution_id)
                    await runtime.engine.cancel(runtime.door("acme", "ops")._caller, execution, reason=None)
                    runtime.worker.interrupt(execution_id)
            return await door.get_execution(execution_id)

        executions = await asyncio.gather(*(finish(each) for each in submitted))
    tenant = base.store.tenant("acme")
    assert (await replay_against_store(tenant)).differences == ()
    assert (await verify(tenant)).ok
    for execution in executions:
        log = await base.log(execution.execution_id)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert [e.event_type for e in log if e.event_type in TERMINAL_EVENTS] == [log[-1].event_type]
    produced = {execution.execution_id: execution.status for execution in executions}
    for _, artifact in await tenant.projection("artifact", limit=1000):
        completed = produced[artifact.produced_by.execution_id].value == "completed"
        assert (artifact.lifecycle_state is not LifecycleState.FAILED) == completed
        assert artifact.lifecycle_state is not LifecycleState.PENDING
        assert artifact.artifact_type != "never"
    found = await tenant.session(session.session_id)
    assert found is not None
    assert "never" not in found.context
