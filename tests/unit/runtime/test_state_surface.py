"""Session and execution state, artifacts and pending intents, as a handler reads and writes them."""

import asyncio
from typing import Any

import pytest

from symphainy.capability import ExecutionContext, IntentResult, RetryPolicy
from symphainy.errors import Conflict, Invalid, NotFound, PolicyDenied, SymphainyError, Unreachable
from symphainy.model import Artifact, ArtifactStatus, Execution, JsonObject, LifecycleState, Role, Status
from symphainy.ports import EventFilter
from symphainy.runtime.state_surface import StateSurface
from symphainy.runtime.wal import replay_against_store
from tests.runtimes import FILE_AS_TEXT, Ground, Handler, Runtime, declared, ended, run, seen, submit

TWICE = RetryPolicy(attempts_max=2, first_delay_s=10.0, jitter=0.0)


async def context_of(base: Ground, session_id: str) -> JsonObject:
    session = await base.store.tenant("acme").session(session_id)
    assert session is not None
    return session.context


async def artifact_of(base: Ground, artifact_id: str) -> Artifact:
    artifact = await base.store.tenant("acme").artifact(artifact_id)
    assert artifact is not None
    return artifact


async def run_with(base: Ground, handler: Handler, **context: Any) -> tuple[Execution, JsonObject]:
    """The execution, and the session's state after it."""
    async with Runtime(base, {"work": handler}) as runtime:
        door = runtime.door()
        session = await door.create_session(context=context)
        execution = await ended(door, await submit(door, session.session_id))
    assert (await replay_against_store(base.store.tenant("acme"))).differences == ()
    return execution, await context_of(base, session.session_id)


# --- session state ---


async def test_session_state_is_set_merged_and_deleted(base: Ground) -> None:
    read: list[JsonObject] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)
        read.append(await state.get_session_state(*here))
        read.append(await state.update_session_state(*here, {"b": {"x": None, "z": 3}, "c": 1}))
        await state.set_session_state(*here, {"only": {"this": 1}})
        read.append(await state.get_session_state(*here))
        read.append(await state.update_session_state(*here, {"only": {"that": [2]}}))
        if params.delete:
            await state.delete_state(ctx.tenant_id, session_id=ctx.session_id)
            read.append(await state.get_session_state(*here))
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        for delete in (False, True):
            session = await door.create_session(context={"a": 1, "b": {"x": 1, "y": 2}})
            await ended(door, await submit(door, session.session_id, delete=delete))
            expected = {} if delete else {"only": {"this": 1, "that": [2]}}
            assert await context_of(base, session.session_id) == expected
    assert read[:4] == [
        {"a": 1, "b": {"x": 1, "y": 2}},
        {"a": 1, "b": {"y": 2, "z": 3}, "c": 1},
        {"only": {"this": 1}},
        {"only": {"this": 1, "that": [2]}},
    ]
    assert read[-1] == {}


async def test_writes_outside_a_step_wait_for_the_outcome(base: Ground) -> None:
    during: list[JsonObject] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)
        await state.update_session_state(*here, {"outside": 1})
        await state.set_execution_state(ctx.execution_id, ctx.tenant_id, {"phase": 1})

        async def inside() -> None:
            await state.update_session_state(*here, {"inside": 1})
            during.append(await context_of(base, ctx.session_id))
            during.append(await state.get_session_state(*here))

        await ctx.step("inside", inside)
        during.append(await context_of(base, ctx.session_id))
        during.append(await state.get_session_state(*here))
        during.append((await state.get_execution_state(ctx.execution_id, ctx.tenant_id))["state"])
        return IntentResult()

    execution, context = await run_with(base, work)
    assert during == [{}, {"outside": 1, "inside": 1}, {"inside": 1}, {"inside": 1, "outside": 1}, {"phase": 1}]
    assert context == {"inside": 1, "outside": 1}
    assert execution.state == {"phase": 1}


async def test_of_a_failed_execution_what_its_steps_wrote_stays_and_the_rest_is_dropped(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)

        async def inside() -> None:
            await state.update_session_state(*here, {"inside": 1})
            await state.set_execution_state(ctx.execution_id, ctx.tenant_id, {"inside": 1})

        await ctx.step("inside", inside)
        await state.update_session_state(*here, {"outside": 1})
        await state.set_execution_state(ctx.execution_id, ctx.tenant_id, {"outside": 1})
        raise ValueError("no good")

    execution, context = await run_with(base, work)
    assert (execution.status, execution.state, context) == (Status.FAILED, {"inside": 1}, {"inside": 1})


async def test_what_a_failed_step_wrote_is_not_there_and_not_read(base: Ground) -> None:
    read: list[Any] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)

        async def failing() -> None:
            await state.update_session_state(*here, {"lost": 1})
            await state.set_execution_state(ctx.execution_id, ctx.tenant_id, {"lost": 1})
            await state.register_artifact(artifact_type="note", artifact_id="art_lost")
            await state.create_pending_intent(intent_type="work", target_artifact_id="art_lost", parameters={})
            raise ValueError("no good")

        try:
            await ctx.step("failing", failing)
        except ValueError:
            read.append(await state.get_session_state(*here))
            read.append((await state.get_execution_state(ctx.execution_id, ctx.tenant_id))["state"])
            read.append(await state.list_artifacts(ctx.tenant_id))
            read.append(await state.pending_intent(intent_type="work", target_artifact_id="art_lost"))
        with pytest.raises(NotFound):
            await state.resolve_artifact("art_lost", ctx.tenant_id)
        return IntentResult(result={"read": len(read)})

    execution, context = await run_with(base, work)
    assert (execution.status, execution.result) == (Status.COMPLETED, {"read": 4})
    assert read == [{}, {}, (), None]
    assert (execution.state, context) == ({}, {})


async def test_an_execution_ends_also_when_the_step_that_failed_had_registered_something(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def failing() -> None:
            await ctx.state_surface.register_artifact(artifact_type="note")
            raise ValueError("no good")

        await ctx.step("failing", failing)
        return IntentResult()

    execution, _ = await run_with(base, work)
    assert execution.error is not None
    assert (execution.error.code, execution.attempt) == ("handler_failed", 1)


async def test_concurrent_updates_of_other_keys_are_never_lost(base: Ground) -> None:
    everybody = asyncio.Barrier(10)

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        changes = {f"key_{params.n}": {"n": params.n}, "shared": {f"part_{params.n}": True}}
        state = await ctx.state_surface.update_session_state(ctx.session_id, ctx.tenant_id, changes)
        assert state["shared"] == {f"part_{params.n}": True}
        await everybody.wait()
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        executions = [await submit(door, session.session_id, n=n) for n in range(10)]
        for execution_id in executions:
            assert (await ended(door, execution_id)).status is Status.COMPLETED
    context = await context_of(base, session.session_id)
    assert context == {f"key_{n}": {"n": n} for n in range(10)} | {"shared": {f"part_{n}": True for n in range(10)}}


async def test_what_is_changed_after_it_was_written_was_written_as_it_stood(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)
        rows = [1]
        await state.update_session_state(*here, {"rows": rows})
        rows.append(2)
        (await state.get_session_state(*here))["rows"].append(3)
        kept = {"rows": rows}
        await state.set_execution_state(ctx.execution_id, ctx.tenant_id, kept)
        kept["rows"].append(4)
        payload = {"rows": [5]}
        made = await state.register_artifact(artifact_type="note", semantic_payload=payload)
        payload["rows"].append(6)
        made.semantic_payload["rows"].append(7)
        return IntentResult(artifacts={"note": made})

    execution, context = await run_with(base, work)
    assert context == {"rows": [1]}
    assert execution.state == {"rows": [1, 2]}
    assert (await artifact_of(base, execution.artifacts["note"].artifact_id)).semantic_payload == {"rows": [5]}


@pytest.mark.parametrize(
    ("state", "error"),
    [
        ({"api_key": "abc"}, PolicyDenied),
        ({"file": FILE_AS_TEXT}, PolicyDenied),
        ({"raw": b"bytes"}, PolicyDenied),
        ({"object": object()}, Invalid),
    ],
)
async def test_secrets_file_bytes_and_what_is_no_json_stay_out_of_state(
    base: Ground, state: JsonObject, error: type[SymphainyError]
) -> None:
    refused: list[type[Exception]] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        surface, here = ctx.state_surface, (ctx.session_id, ctx.tenant_id)
        for attempt in (
            surface.set_session_state(*here, state),
            surface.update_session_state(*here, state),
            surface.set_execution_state(ctx.execution_id, ctx.tenant_id, state),
            surface.register_artifact(artifact_type="note", semantic_payload=state),
            surface.register_artifact(artifact_type="note", semantic_descriptor=state),
            surface.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters=state),
        ):
            try:
                await attempt
            except SymphainyError as raised:
                refused.append(type(raised))
        return IntentResult()

    execution, context = await run_with(base, work)
    assert refused == [error] * 6
    assert (execution.status, execution.state, context) == (Status.COMPLETED, {}, {})
    assert (await base.store.tenant("acme").projection("artifact", limit=9)) == ()


async def test_state_of_another_tenant_or_another_execution_is_out_of_reach(base: Ground) -> None:
    refused: list[type[Exception]] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        for attempt in (
            state.get_session_state(ctx.session_id, "globex"),
            state.set_session_state(ctx.session_id, "globex", {}),
            state.update_session_state(ctx.session_id, "globex", {}),
            state.get_execution_state(ctx.execution_id, "globex"),
            state.set_execution_state(ctx.execution_id, "globex", {}),
            state.list_executions("globex"),
            state.list_artifacts("globex"),
            state.resolve_artifact("art_1", "globex"),
            state.lineage("art_1", "globex"),
            state.register_artifact(artifact_type="note", tenant_id="globex"),
            state.delete_state("globex", session_id=ctx.session_id),
            state.get_session_state(params.theirs, ctx.tenant_id),
            state.set_session_state(params.theirs, ctx.tenant_id, {"taken": 1}),
            state.set_execution_state("exe_other", ctx.tenant_id, {}),
        ):
            try:
                await attempt
            except SymphainyError as raised:
                refused.append(type(raised))
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        theirs = await runtime.door("globex").create_session()
        await run(runtime.door(), theirs=theirs.session_id)
    assert refused == [NotFound] * 13 + [Invalid]
    found = await base.store.tenant("globex").session(theirs.session_id)
    assert found is not None
    assert found.context == {}


async def test_execution_state_shows_what_the_execution_is(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.emit("counted", {"n": 1})
        await ctx.state_surface.set_execution_state(ctx.execution_id, ctx.tenant_id, {"a": 1})
        await ctx.state_surface.set_execution_state(ctx.execution_id, ctx.tenant_id, {"b": 2})
        found = await ctx.state_surface.get_execution_state(ctx.execution_id, ctx.tenant_id)
        listed = await ctx.state_surface.list_executions(ctx.tenant_id, session_id=ctx.session_id, status="running")
        return IntentResult(result={"found": found, "listed": [each.execution_id for each in listed]})

    execution, _ = await run_with(base, work)
    assert execution.result == {
        "found": {
            "execution_id": execution.execution_id,
            "status": "running",
            "intent_id": execution.intent_id,
            "artifacts": {},
            "events": [{"event_type": "counted", "payload": {"n": 1}, "seq": 3}],
            "error": None,
            "state": {"b": 2},
        },
        "listed": [execution.execution_id],
    }
    assert execution.state == {"b": 2}


# --- artifacts ---


async def test_an_artifact_is_pending_until_its_execution_completes(base: Ground) -> None:
    during: list[LifecycleState] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        made = await ctx.state_surface.register_artifact(
            artifact_type="note",
            semantic_descriptor={"title": "A note"},
            semantic_payload={"n": 1},
            tenant_id=ctx.tenant_id,
            produced_by={"intent": "work", "execution_id": ctx.execution_id},
        )
        during.append((await artifact_of(base, made.artifact_id)).lifecycle_state)
        kept = await ctx.state_surface.register_artifact(artifact_type="note", lifecycle_state="PENDING")
        return IntentResult(artifacts={"note": made, "kept": kept})

    execution, _ = await run_with(base, work)
    refs = {name: (ref.artifact_type, ref.lifecycle_state) for name, ref in execution.artifacts.items()}
    assert refs == {"note": ("note", "READY"), "kept": ("note", "PENDING")}
    note = await artifact_of(base, execution.artifacts["note"].artifact_id)
    kept = await artifact_of(base, execution.artifacts["kept"].artifact_id)
    assert (note.lifecycle_state, note.semantic_payload, note.produced_by.execution_id) == (
        LifecycleState.READY,
        {"n": 1},
        execution.execution_id,
    )
    assert kept.lifecycle_state is LifecycleState.PENDING
    assert during == [LifecycleState.PENDING]


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("moved", [None, "held", "written"])
async def test_what_a_failed_execution_registered_is_failed(base: Ground, inside: bool, moved: str | None) -> None:
    made: list[str] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface

        async def register() -> None:
            made.append((await state.register_artifact(artifact_type="note")).artifact_id)
            made.append((await state.register_artifact(artifact_type="note", lifecycle_state="PENDING")).artifact_id)

        async def move() -> None:
            await state.transition_artifact(made[0], "READY", "too early")

        await (ctx.step("register", register) if inside else register())
        if moved is not None:
            await (move() if moved == "held" else ctx.step("move", move))
        raise ValueError("no good")

    await run_with(base, work)
    assert [(await artifact_of(base, each)).lifecycle_state for each in made] == [LifecycleState.FAILED] * 2


async def test_a_rerun_registers_nothing_twice(base: Ground) -> None:
    made: list[list[str]] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface

        async def inside() -> str:
            return (await state.register_artifact(artifact_type="inside")).artifact_id

        first = await state.register_artifact(artifact_type="outside", semantic_payload={"attempt": ctx.attempt})
        second = await ctx.step("inside", inside)
        third = await state.register_artifact(artifact_type="outside", artifact_id="art_named")
        made.append([first.artifact_id, second, third.artifact_id])
        assert first.semantic_payload == {"attempt": 1}
        if ctx.attempt == 1:
            raise Unreachable("once more")
        return IntentResult(artifacts={"first": first, "third": third})

    async with Runtime(base, {"work": declared(work, retry=TWICE)}) as runtime:
        execution = await run(runtime.door())
    assert execution.status is Status.COMPLETED
    assert made[0] == made[1]
    listed = await base.store.tenant("acme").projection("artifact", limit=9)
    assert {key: value.lifecycle_state for key, value in listed} == dict.fromkeys(made[0], LifecycleState.READY)


async def test_own_writes_are_read_before_anybody_else_can(base: Ground) -> None:
    """Inside a step and outside of it: by id, in lists, in the lineage."""

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        old = await state.resolve_artifact(params.old, ctx.tenant_id)

        async def names(**where: Any) -> list[str]:
            return [each.artifact_id for each in await state.list_artifacts(ctx.tenant_id, **where)]

        async def inside() -> JsonObject:
            made = await state.register_artifact(
                artifact_type="copy", artifact_id="art_new", parent_artifacts=[params.old], semantic_payload="green tea"
            )
            await state.transition_artifact(params.old, "ARCHIVED", "replaced")
            lineage = await state.lineage(params.old, ctx.tenant_id)
            return {
                "same": made == await state.resolve_artifact("art_new", ctx.tenant_id),
                "all": await names(),
                "page": await names(limit=1, offset=1),
                "archived": await names(lifecycle_state="ARCHIVED"),
                "ready": await names(lifecycle_state="READY"),
                "children": await names(parent_artifact_id=params.old),
                "text": await names(text="TEA"),
                "type": await names(artifact_type="copy"),
                "lineage": [node.artifact_id for node in lineage["nodes"]],
                "states": [node.lifecycle_state.value for node in lineage["nodes"]],
            }

        found = await ctx.step("inside", inside)
        await state.set_artifact_status("art_new", "accepted", "good")
        accepted = await state.resolve_artifact("art_new", ctx.tenant_id)
        assert accepted.status is ArtifactStatus.ACCEPTED
        assert (await artifact_of(base, "art_new")).status is ArtifactStatus.DRAFT
        assert old.lifecycle_state is LifecycleState.READY
        return IntentResult(result=found)

    async def make(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(artifacts={"old": await ctx.state_surface.register_artifact(artifact_type="note")})

    async with Runtime(base, {"work": work, "make": make}) as runtime:
        door = runtime.door()
        old = (await run(door, "make")).artifacts["old"].artifact_id
        execution = await run(door, old=old)
    assert execution.result == {
        "same": True,
        "all": ["art_new", old],
        "page": [old],
        "archived": [old],
        "ready": [],
        "children": ["art_new"],
        "text": ["art_new"],
        "type": ["art_new"],
        "lineage": [old, "art_new"],
        "states": ["ARCHIVED", "PENDING"],
    }
    assert (await artifact_of(base, old)).lifecycle_state is LifecycleState.ARCHIVED
    assert (await artifact_of(base, "art_new")).status is ArtifactStatus.ACCEPTED


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"artifact_id": "art_there"}, Conflict),
        ({"parent_artifacts": ["art_nowhere"]}, NotFound),
        ({"produced_by": {"intent": "work", "execution_id": "exe_other"}}, Invalid),
        ({"produced_by": {"intent": "other", "execution_id": "exe_other"}}, Invalid),
        ({"lifecycle_state": "ARCHIVED"}, Invalid),
        ({"lifecycle_state": "done"}, Invalid),
    ],
)
async def test_an_artifact_that_cannot_be_is_not_registered(
    base: Ground, asked: dict[str, Any], error: type[SymphainyError]
) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.register_artifact(artifact_type="note", artifact_id="art_there")
        with pytest.raises(error):
            await ctx.state_surface.register_artifact(artifact_type="note", **asked)

        async def inside() -> None:
            await ctx.state_surface.register_artifact(artifact_type="note", **asked)

        with pytest.raises(error):
            await ctx.step("inside", inside)
        return IntentResult()

    execution, _ = await run_with(base, work)
    assert execution.status is Status.COMPLETED
    assert [key for key, _ in await base.store.tenant("acme").projection("artifact", limit=9)] == ["art_there"]


async def test_of_two_that_register_one_id_one_is_told_that_it_exists(base: Ground) -> None:
    both = asyncio.Barrier(2)

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def inside() -> None:
            await ctx.state_surface.register_artifact(artifact_type="note", artifact_id="art_one")
            await both.wait()

        await ctx.step("inside", inside)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        executions = await asyncio.gather(run(runtime.door()), run(runtime.door()))
    assert sorted(execution.status for execution in executions) == [Status.COMPLETED, Status.FAILED]
    (failed,) = [execution for execution in executions if execution.error is not None]
    assert failed.error is not None
    assert failed.error.code == "conflict"
    assert (await artifact_of(base, "art_one")).lifecycle_state is LifecycleState.READY


MOVES = [("READY", "ARCHIVED"), ("ARCHIVED", "READY"), ("ARCHIVED", "DELETED")]
STATES = ["PENDING", "READY", "FAILED", "ARCHIVED", "DELETED", "nonsense"]


async def test_only_lawful_moves_are_made(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        surface = ctx.state_surface
        for state in params.path:
            await surface.transition_artifact(params.artifact, state, "as asked")
        lawful = []
        for state in STATES:
            try:
                await surface.transition_artifact(params.artifact, state, "a try")
            except Conflict:
                continue
            lawful.append(state)
            break
        return IntentResult(result={"lawful": lawful})

    async def make(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(artifacts={"it": await ctx.state_surface.register_artifact(artifact_type="note")})

    async with Runtime(base, {"work": work, "make": make}) as runtime:
        door = runtime.door()
        found = {}
        for path in ([], ["ARCHIVED"], ["ARCHIVED", "READY"], ["ARCHIVED", "DELETED"]):
            artifact = (await run(door, "make")).artifacts["it"].artifact_id
            found[tuple(path)] = (await run(door, path=path, artifact=artifact)).result["lawful"]
    assert found == {
        (): ["ARCHIVED"],
        ("ARCHIVED",): ["READY"],
        ("ARCHIVED", "READY"): ["ARCHIVED"],
        ("ARCHIVED", "DELETED"): [],
    }
    assert (await replay_against_store(base.store.tenant("acme"))).differences == ()


async def test_an_accepted_version_never_becomes_a_draft_again(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        surface = ctx.state_surface
        await surface.register_artifact(artifact_type="note", artifact_id="art_1")
        await surface.set_artifact_status("art_1", "accepted", "good")
        for status in ("draft", "accepted", "nonsense"):
            with pytest.raises(Conflict):
                await surface.set_artifact_status("art_1", status, "no")
        await surface.set_artifact_status("art_1", "obsolete", "old")
        for status in ("draft", "accepted", "obsolete"):
            with pytest.raises(Conflict):
                await surface.set_artifact_status("art_1", status, "no")
        return IntentResult()

    execution, _ = await run_with(base, work)
    assert execution.status is Status.COMPLETED
    assert (await artifact_of(base, "art_1")).status is ArtifactStatus.OBSOLETE


async def test_of_two_moves_at_once_one_conflicts(base: Ground) -> None:
    both = asyncio.Barrier(2)

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.transition_artifact(params.artifact, "ARCHIVED", "mine")
        await both.wait()
        return IntentResult()

    async def make(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(artifacts={"it": await ctx.state_surface.register_artifact(artifact_type="note")})

    async with Runtime(base, {"work": work, "make": make}) as runtime:
        door = runtime.door()
        artifact = (await run(door, "make")).artifacts["it"].artifact_id
        executions = await asyncio.gather(run(door, artifact=artifact), run(door, artifact=artifact))
    assert sorted(execution.status for execution in executions) == [Status.COMPLETED, Status.FAILED]
    moves = await base.store.tenant("acme").events(EventFilter(event_type="artifact_transitioned"), limit=9)
    assert [event.payload["lifecycle_state"] for event in moves] == ["READY", "ARCHIVED"]


async def test_lineage_goes_up_down_and_both_ways(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def make(name: str, *parents: str) -> None:
            await ctx.state_surface.register_artifact(artifact_type="n", artifact_id=name, parent_artifacts=parents)

        for name, *parents in (["a"], ["b", "a"], ["c", "a"], ["d", "b", "c"], ["e", "d"]):
            await make(name, *parents)
        return IntentResult()

    await run_with(base, work)
    surface = StateSurface(base.store.tenant("acme"), lambda name: ())

    async def names(direction: str) -> tuple[set[str], set[tuple[str, str]]]:
        found = await surface.lineage("d", "acme", direction=direction)
        edges = {(edge["parent"], edge["child"]) for edge in found["edges"]}
        return {node.artifact_id for node in found["nodes"]}, edges

    up = {("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")}
    assert await names("up") == ({"a", "b", "c", "d"}, up)
    assert await names("down") == ({"d", "e"}, {("d", "e")})
    assert await names("both") == ({"a", "b", "c", "d", "e"}, up | {("d", "e")})
    with pytest.raises(Invalid):
        await names("sideways")


# --- pending intents ---


async def test_a_pending_intent_is_found_taken_up_and_completed_with_its_execution(base: Ground) -> None:
    async def queue(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        first = await state.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters={"n": 1})
        await state.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters={"n": 2})
        found = await state.pending_intent(intent_type="work", target_artifact_id="art_1")
        return IntentResult(result={"own": list(found or ()), "first": first})

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        found = await state.pending_intent(intent_type="work", target_artifact_id="art_1")
        assert found is not None
        await state.complete_pending_intent(found[0])
        after = await state.pending_intent(intent_type="work", target_artifact_id="art_1")
        return IntentResult(result={"found": found[1], "after": None if after is None else after[1]})

    async with Runtime(base, {"queue": queue, "work": work}) as runtime:
        door = runtime.door()
        queued = await run(door, "queue")
        assert queued.result == {"own": [queued.result["first"], {"n": 1}], "first": queued.result["first"]}
        assert (await run(door)).result == {"found": {"n": 1}, "after": {"n": 2}}
        second = await run(door)
        assert second.result == {"found": {"n": 2}, "after": None}
        listed = (await door.list_pending(target_artifact_id="art_1")).items
        assert [(each.parameters["n"], each.status) for each in listed] == [(2, "completed"), (1, "completed")]
        assert listed[0].execution_id == second.execution_id


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_pending_intent_is_pending_again_when_its_execution_does_not_complete(
    base: Ground, inside: bool, end: str
) -> None:
    async def queue(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters={})
        return IntentResult()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def take() -> None:
            found = await ctx.state_surface.pending_intent(intent_type="work", target_artifact_id="art_1")
            assert found is not None
            await ctx.state_surface.complete_pending_intent(found[0])

        await (ctx.step("take", take) if inside else take())
        await ctx.emit("taken", {})
        if end == "cancelled":
            await asyncio.Event().wait()
        raise ValueError("no good")

    async with Runtime(base, {"queue": queue, "work": work}) as runtime:
        door = runtime.door()
        await run(door, "queue")
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        if end == "cancelled":
            await seen(door, execution_id, "taken")
            await runtime.door("acme", "ops", Role.OPERATOR).cancel(execution_id)
        assert (await ended(door, execution_id)).status == end
        (pending,) = (await door.list_pending()).items
        assert (pending.status, pending.execution_id) == ("pending", None)
    assert (await replay_against_store(base.store.tenant("acme"))).differences == ()


async def test_of_two_that_take_up_one_pending_intent_one_conflicts(base: Ground) -> None:
    both = asyncio.Barrier(2)

    async def queue(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters={})
        return IntentResult()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        found = await ctx.state_surface.pending_intent(intent_type="work", target_artifact_id="art_1")
        assert found is not None
        await ctx.state_surface.complete_pending_intent(found[0])
        await both.wait()
        return IntentResult()

    async with Runtime(base, {"queue": queue, "work": work}) as runtime:
        door = runtime.door()
        await run(door, "queue")
        executions = await asyncio.gather(run(door), run(door))
    assert sorted(execution.status for execution in executions) == [Status.COMPLETED, Status.FAILED]


async def test_an_unknown_pending_intent_cannot_be_completed(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.complete_pending_intent("int_nowhere")
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert execution.error.code == "not_found"


# --- content ---


async def test_content_is_kept_under_its_hash_and_read_back(base: Ground) -> None:
    made: list[str] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        stored = await ctx.blobs.put(b"green tea", format="text/plain")
        again = await ctx.blobs.put(b"green tea", format="text/plain")
        read = b"".join([chunk async for chunk in ctx.blobs.open(stored)])
        by_reference = b"".join([chunk async for chunk in ctx.blobs.open(stored.uri)])
        artifact = await ctx.state_surface.register_artifact(artifact_type="tea", materializations=[stored])
        made.append(artifact.artifact_id)
        assert stored.materialization_id == again.materialization_id
        assert (read, by_reference, await ctx.blobs.size(stored)) == (b"green tea", b"green tea", 9)
        return IntentResult(artifacts={"tea": artifact})

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
        assert execution.status is Status.COMPLETED, execution.error
        opened = await runtime.door().open_artifact(made[0], start=6)
        assert b"".join([chunk async for chunk in opened.chunks]) == b"tea"
        assert (opened.media_type, opened.start, opened.stop, opened.size_bytes) == ("text/plain", 6, 9, 9)
        with pytest.raises(NotFound):
            await runtime.door("globex").open_artifact(made[0])


@pytest.mark.parametrize(
    ("is_derived", "sha256_of", "shown"),
    [
        (False, None, ["tea.txt", "tea.txt"]),
        (False, "first", ["tea.txt", None]),
        (True, "first", ["tea.txt", None]),
        (True, "second", [None, "tea.txt"]),
        (True, None, [None, None]),
        (True, "source", [None, None]),
    ],
)
async def test_content_is_opened_under_a_name_that_is_its_own(
    base: Ground, is_derived: bool, sha256_of: str | None, shown: list[str | None]
) -> None:
    made: list[Artifact] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        stored = {
            name: await ctx.blobs.put(name.encode(), format="text/plain") for name in ("source", "first", "second")
        }
        source = await ctx.state_surface.register_artifact(artifact_type="leaf", materializations=[stored["source"]])
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="tea",
            semantic_descriptor={"filename": "tea.txt"}
            | ({} if sha256_of is None else {"sha256": stored[sha256_of].sha256}),
            parent_artifacts=[source.artifact_id] if is_derived else [],
            materializations=[stored["first"], stored["second"]],
        )
        made.append(artifact)
        return IntentResult(artifacts={"tea": artifact})

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
        assert execution.status is Status.COMPLETED, execution.error
        (artifact,) = made
        opened = [
            await runtime.door().open_artifact(artifact.artifact_id, materialization_id=each.materialization_id)
            for each in artifact.materializations
        ]
        assert [each.filename for each in opened] == shown
