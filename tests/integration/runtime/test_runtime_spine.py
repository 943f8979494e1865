"""The spine, end to end on the durable store: sessions, intents, the log, sagas, and the wall between tenants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from pydantic import BaseModel

from symphainy.boot.phases import Platform
from symphainy.capability import (
    Capability,
    ExecutionContext,
    IntentRefused,
    IntentResult,
    SagaDeclaration,
    Submission,
    intent,
)
from symphainy.door import Door, IntentRequest
from symphainy.errors import (
    IdempotencyMismatch,
    Invalid,
    NotFound,
    PolicyDenied,
    SessionRequired,
    SymphainyError,
    TenantMismatch,
)
from symphainy.model import Event, Execution, JsonObject, Role, Saga, SagaState, SessionState, Status
from symphainy.ports import EventFilter
from symphainy.runtime.wal import replay_against_store, verify
from symphainy.testing.platform import caller, sqlite_platform


class Text(BaseModel):
    text: str


class Count(BaseModel):
    words: int


class Nothing(BaseModel):
    fails: bool = False


class Step:
    """One intent of the saga, undone by `forget`."""

    def __init__(self, name: str, intent_type: str, *, required: bool = True) -> None:
        self.name = name
        self.intent_type = intent_type
        self.required = required

    def execute(self, context: JsonObject) -> Submission:
        words = context["results"]["count"]["words"]
        return Submission(intent_type=self.intent_type, parameters={"fails": words > 3})

    def compensate(self, context: JsonObject) -> Submission | None:
        return Submission(intent_type="forget", parameters={})


class Words(Capability):
    name = "words"
    sagas: ClassVar[tuple[SagaDeclaration, ...]] = (
        SagaDeclaration(name="count_and_keep", steps=(Step("count", "count_words"), Step("keep", "keep_words"))),
    )

    @intent("count_words", result=Count)
    async def count_words(self, ctx: ExecutionContext, params: Text) -> IntentResult:
        """Count the words of a text."""
        words = await ctx.step("count", lambda: len(params.text.split()))
        await ctx.emit("counted", {"words": words})
        report = await ctx.state_surface.register_artifact(
            artifact_type="word_count", semantic_payload={"words": words}
        )
        await ctx.state_surface.update_session_state(ctx.session_id, ctx.tenant_id, {"words": words})
        return IntentResult(result=Count(words=words), artifacts={"report": report})

    @intent("keep_words")
    async def keep_words(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Keep them, unless there are too many."""
        if params.fails:
            raise IntentRefused("too_many", "that is more than can be kept")
        return IntentResult(result={"kept": True})

    @intent("forget")
    async def forget(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Forget them."""
        await ctx.state_surface.update_session_state(ctx.session_id, ctx.tenant_id, {"words": None})
        return IntentResult()

    @intent("wait_long")
    async def wait_long(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Say that it has begun, and in its first run wait to be stopped."""
        once = await ctx.step("once", lambda: "done once")
        await ctx.emit("begun", {"attempt": ctx.attempt})
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return IntentResult(result={"once": once, "attempt": ctx.attempt})


@asynccontextmanager
async def started(folder: Path, **settings: Any) -> AsyncIterator[Platform]:
    async with sqlite_platform(folder, capabilities=[Words], **settings) as running:
        yield running


@pytest_asyncio.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with started(tmp_path) as running:
        yield running


@pytest.fixture
def door(platform: Platform) -> Door:
    return platform.door_for(caller("acme", "ada"))


async def submit(door: Door, session_id: str, intent_type: str = "count_words", **parameters: Any) -> str:
    request = IntentRequest(intent_type=intent_type, session_id=session_id, parameters=parameters)
    return (await door.submit(request)).execution_id


async def ended(door: Door, execution_id: str) -> Execution:
    return await door.wait(execution_id, timeout_s=30)


async def stream(door: Door, execution_id: str, after: int | None = 0) -> list[Event]:
    return [event async for event in door.stream(execution_id, after=after)]


async def log_of(platform: Platform, tenant_id: str = "acme") -> tuple[Event, ...]:
    tenant = platform.infrastructure.store.tenant(tenant_id)
    assert (await verify(tenant)).ok
    assert (await replay_against_store(tenant)).differences == ()
    return await tenant.events(EventFilter(), limit=10_000)


# --- sessions ---


async def test_a_session_is_created_changed_closed_and_survives_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as platform:
        door = platform.door_for(caller("acme", "ada"))
        session = await door.create_session(context={"a": 1}, solution_id="claims")
        assert (session.tenant_id, session.user_id, session.lifecycle_state) == ("acme", "ada", SessionState.ACTIVE)
        changed = await door.update_session(session.session_id, context={"b": 2}, metadata={"m": 1})
    async with started(tmp_path) as platform:
        door = platform.door_for(caller("acme", "ada"))
        assert await door.get_session(session.session_id) == changed
        closed = await door.close_session(session.session_id)
        assert (closed.context, closed.lifecycle_state) == ({"a": 1, "b": 2}, SessionState.CLOSED)
        kinds = [event.event_type for event in await log_of(platform)]
        assert kinds == ["session_created", "session_updated", "session_closed"]


# --- intents ---


async def test_an_intent_runs_and_everything_it_did_stands_in_the_log_in_order(platform: Platform, door: Door) -> None:
    session = await door.create_session()
    submitted = await door.submit(
        IntentRequest(intent_type="count_words", session_id=session.session_id, parameters={"text": "one two three"})
    )
    assert (submitted.status, submitted.replayed) == ("accepted", False)
    execution = await ended(door, submitted.execution_id)
    assert (execution.status, execution.result, execution.attempt) == (Status.COMPLETED, {"words": 3}, 1)
    report = await door.resolve_artifact(execution.artifacts["report"].artifact_id)
    assert (report.lifecycle_state, report.semantic_payload) == ("READY", {"words": 3})
    assert report.produced_by.execution_id == submitted.execution_id
    assert [artifact.artifact_id for artifact in (await door.list_artifacts()).items] == [report.artifact_id]
    assert (await door.get_session(session.session_id)).context == {"words": 3}
    events = await stream(door, submitted.execution_id)
    assert [(event.seq, event.event_type) for event in events] == [
        (1, "intent_received"),
        (2, "execution_started"),
        (3, "step_completed"),
        (4, "counted"),
        (5, "artifact_registered"),
        (6, "session_updated"),
        (7, "artifact_transitioned"),
        (8, "execution_completed"),
    ]
    assert list(await log_of(platform))[1:] == events


async def test_a_hundred_submissions_with_one_key_are_one_execution(platform: Platform, door: Door) -> None:
    session = await door.create_session()
    request = IntentRequest(
        intent_type="count_words", session_id=session.session_id, parameters={"text": "a b"}, idempotency_key="k"
    )
    answers = await asyncio.gather(*(door.submit(request) for _ in range(100)))
    (execution_id,) = {answer.execution_id for answer in answers}
    assert sum(answer.replayed for answer in answers) == 99
    assert (await ended(door, execution_id)).result == {"words": 2}
    assert [event.event_type for event in await log_of(platform)].count("intent_received") == 1
    other = IntentRequest(
        intent_type="count_words", session_id=session.session_id, parameters={"text": "c"}, idempotency_key="k"
    )
    with pytest.raises(IdempotencyMismatch):
        await door.submit(other)


async def test_many_at_once_of_two_tenants_all_end_and_the_logs_are_whole(platform: Platform) -> None:
    doors = [platform.door_for(caller(name, "ada")) for name in ("acme", "globex")]
    sessions = [await door.create_session() for door in doors]

    async def one(n: int) -> int:
        door, session = doors[n % 2], sessions[n % 2]
        execution_id = await submit(door, session.session_id, text="word " * n)
        seqs = [event.seq for event in await stream(door, execution_id)]
        assert seqs == list(range(1, len(seqs) + 1))
        return int((await door.get_execution(execution_id)).result["words"])

    assert await asyncio.gather(*(one(n) for n in range(40))) == list(range(40))
    for name in ("acme", "globex"):
        found = await log_of(platform, name)
        assert [event.position for event in found] == list(range(1, len(found) + 1))
        assert sum(event.event_type == "execution_completed" for event in found) == 20


async def test_every_stream_resumes_from_every_seq(door: Door) -> None:
    session = await door.create_session()
    execution_id = await submit(door, session.session_id, text="one two")
    whole = await stream(door, execution_id)
    for after in range(len(whole) + 2):
        assert await stream(door, execution_id, after) == whole[after:]
    snapshot, terminal = await stream(door, execution_id, None)
    assert (snapshot.event_type, snapshot.seq, terminal) == ("snapshot", len(whole) - 1, whole[-1])


async def test_what_ran_when_the_platform_stopped_goes_on_when_it_starts_again(tmp_path: Path) -> None:
    async with started(tmp_path) as platform:
        door = platform.door_for(caller("acme", "ada"))
        session = await door.create_session()
        execution_id = await submit(door, session.session_id, "wait_long")
        async for event in door.stream(execution_id, after=0):
            if event.event_type == "begun":
                break
        seen = event.seq
    async with started(tmp_path) as platform:
        door = platform.door_for(caller("acme", "ada"))
        rest = await stream(door, execution_id, seen)
        execution = await ended(door, execution_id)
        assert execution.result == {"once": "done once", "attempt": 2}
        assert [event.event_type for event in rest] == ["execution_started", "execution_completed"]
        kinds = [event.event_type for event in await log_of(platform)]
        assert (kinds.count("step_completed"), kinds.count("begun")) == (1, 1)


# --- refusals ---


async def test_every_refusal_of_a_verified_caller_stands_in_its_log_with_policy_and_reason(
    platform: Platform, door: Door
) -> None:
    session = await door.create_session()

    async def refused(error: type[SymphainyError], asking: Any) -> None:
        with pytest.raises(error):
            await asking

    def asked(intent_type: str = "count_words", **fields: Any) -> IntentRequest:
        made = {"intent_type": intent_type, "session_id": session.session_id, "parameters": {"text": "a"}} | fields
        return IntentRequest(**made)

    viewer = platform.door_for(caller("acme", "ada", Role.VIEWER))
    await refused(TenantMismatch, door.submit(asked(tenant_id="globex")))
    await refused(PolicyDenied, viewer.submit(asked()))
    await refused(PolicyDenied, door.submit(asked(parameters={"text": "a"}, metadata={"api_key": "hunter2"})))
    await refused(PolicyDenied, door.cancel(await submit(door, session.session_id, text="a")))
    await refused(PolicyDenied, door.wal_events())
    await refused(PolicyDenied, door.create_session(user_id="bob"))
    await refused(PolicyDenied, door.update_session(session.session_id, context={"password": "hunter2"}))
    await refused(Invalid, door.submit(asked(parameters={})))
    refusals = [e for e in await log_of(platform) if e.event_type in ("policy_decided", "intent_refused")]
    assert [event.payload["policy"] for event in refusals] == [
        "security_guard.tenant_wall",
        "security_guard.role",
        "data_steward.record",
        "security_guard.role",
        "security_guard.role",
        "security_guard.role",
        "data_steward.record",
    ]
    assert all(event.payload["reason"] and event.payload["user_id"] == "ada" for event in refusals)
    assert "hunter2" not in str(await log_of(platform))


# --- sagas ---


async def saga_of(platform: Platform, execution: Execution) -> Saga:
    return await platform.graph.engine.sagas.read("acme", execution.saga_id or "")


async def followed(door: Door, execution_id: str) -> list[Execution]:
    found: list[Execution] = []
    following: str | None = execution_id
    while following is not None:
        events = await stream(door, following)
        found.append(await door.get_execution(following))
        following = next((e.payload["next"]["execution_id"] for e in events if e.payload.get("next")), None)
    return found


async def test_a_declared_saga_runs_to_its_end_and_stands_in_its_session_while_it_runs(
    platform: Platform, door: Door
) -> None:
    session = await door.create_session()
    request = IntentRequest(
        intent_type="count_words",
        session_id=session.session_id,
        parameters={"text": "one two"},
        metadata={"saga": "count_and_keep"},
    )
    first, second = await followed(door, (await door.submit(request)).execution_id)
    saga = await saga_of(platform, first)
    assert (saga.state, [step.state for step in saga.steps]) == (SagaState.COMPLETED, ["completed", "completed"])
    assert [step.execution_id for step in saga.steps] == [first.execution_id, second.execution_id]
    assert second.result == {"kept": True}
    assert (await door.get_session(session.session_id)).active_sagas == ()
    running = [
        event.payload["saga_id"]
        for event in await log_of(platform)
        if event.event_type in ("saga_created", "saga_started")
    ]
    assert running == [saga.saga_id] * 2


async def test_a_declared_saga_that_fails_is_undone(platform: Platform, door: Door) -> None:
    session = await door.create_session()
    request = IntentRequest(
        intent_type="count_words",
        session_id=session.session_id,
        parameters={"text": "one two three four"},
        metadata={"saga": "count_and_keep"},
    )
    executions = await followed(door, (await door.submit(request)).execution_id)
    assert [(each.intent_type, each.status) for each in executions] == [
        ("count_words", Status.COMPLETED),
        ("keep_words", Status.FAILED),
        ("forget", Status.COMPLETED),
    ]
    saga = await saga_of(platform, executions[0])
    assert (saga.state, [step.state for step in saga.steps]) == (SagaState.COMPENSATED, ["compensated", "failed"])
    assert (await door.get_session(session.session_id)).context == {}


async def test_a_saga_is_registered_filled_started_recorded_and_read_by_hand(platform: Platform, door: Door) -> None:
    sagas, session = platform.graph.engine.sagas, await door.create_session()
    saga = await sagas.create("acme", session.session_id, "by_hand", context={"a": 1}, saga_id="sag_1")
    for name in ("one", "two"):
        saga = await sagas.add_step(saga, name, "count_words")
    saga = await sagas.start(saga)
    assert (await door.get_session(session.session_id)).active_sagas == (saga,)
    saga = await sagas.record(saga, "one", result={"words": 1})
    saga = await sagas.compensate(saga, reason="changed our mind")
    assert (saga.state, [step.state for step in saga.steps]) == (SagaState.COMPENSATED, ["compensated", "pending"])
    assert await sagas.read("acme", "sag_1") == saga
    assert [event.event_type for event in await log_of(platform)] == [
        "session_created",
        "saga_created",
        "saga_step_added",
        "saga_step_added",
        "saga_started",
        "saga_step_completed",
        "saga_compensating",
        "saga_step_compensated",
        "saga_compensated",
    ]


# --- tenants ---


async def test_no_id_of_one_tenant_is_any_use_in_another(platform: Platform, door: Door) -> None:
    session = await door.create_session(context={"plans": "big"})
    execution = await ended(door, await submit(door, session.session_id, text="one two"))
    artifact_id = execution.artifacts["report"].artifact_id
    await door.create_pending(intent_type="keep_words", target_artifact_id=artifact_id, session_id=session.session_id)
    before = await log_of(platform)

    stranger = platform.door_for(caller("globex", "root", Role.ADMIN))
    own = await stranger.create_session()
    attempts = [
        stranger.get_session(session.session_id),
        stranger.update_session(session.session_id, context={"taken": True}),
        stranger.close_session(session.session_id),
        stranger.submit(
            IntentRequest(intent_type="count_words", session_id=session.session_id, parameters={"text": "x"})
        ),
        stranger.get_execution(execution.execution_id),
        stranger.execution_artifacts(execution.execution_id),
        stranger.wait(execution.execution_id, timeout_s=1),
        stranger.cancel(execution.execution_id),
        stream(stranger, execution.execution_id),
        stream(stranger, execution.execution_id, 99),
        stranger.resolve_artifact(artifact_id),
        stranger.open_artifact(artifact_id),
        stranger.artifact_lineage(artifact_id),
        stranger.create_pending(intent_type="keep_words", target_artifact_id=artifact_id, session_id=own.session_id),
        stranger.create_pending(
            intent_type="keep_words", target_artifact_id=artifact_id, session_id=session.session_id
        ),
    ]
    for attempt in attempts:
        with pytest.raises((NotFound, SessionRequired)) as refused:
            await attempt
        assert "acme" not in str(refused.value)
    assert (await stranger.list_executions()).items == ()
    assert (await stranger.list_executions(session_id=session.session_id)).items == ()
    assert (await stranger.list_artifacts()).items == ()
    assert (await stranger.list_artifacts(parent_artifact_id=artifact_id)).items == ()
    assert (await stranger.list_pending(target_artifact_id=artifact_id)).items == ()
    events = (await stranger.wal_events()).items
    assert {event.tenant_id for event in events} == {"globex"}
    assert (await stranger.wal_events(session_id=session.session_id)).items == ()
    assert (await stranger.wal_events(execution_id=execution.execution_id)).items == ()
    assert await log_of(platform) == before
    assert (await door.get_session(session.session_id)).context == {"plans": "big", "words": 2}
