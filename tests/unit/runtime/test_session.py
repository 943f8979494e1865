"""Sessions: opened by a verified caller, changed by merging, ended by closing or by time."""

import asyncio

import pytest

from symphainy.capability import ExecutionContext, IntentResult
from symphainy.door import IntentRequest
from symphainy.errors import (
    Invalid,
    NotFound,
    PolicyDenied,
    SessionExpired,
    SessionRequired,
    SymphainyError,
)
from symphainy.model import JsonObject, Role, Session, SessionState
from symphainy.model.hot_keys import session_key
from symphainy.runtime import EngineLimits
from symphainy.runtime.api import RuntimeDoor
from tests.runtimes import FILE_AS_TEXT, Anything, Ground, Runtime


async def work(ctx: ExecutionContext, params: Anything) -> IntentResult:
    raise AssertionError("nothing runs in these tests")


@pytest.fixture
def runtime(still: Ground) -> Runtime:
    return Runtime(still, {"work": work}, limits=EngineLimits(session_ttl_s=100.0))


async def test_a_new_session_is_its_callers_and_open(runtime: Runtime) -> None:
    session = await runtime.door().create_session(context={"a": 1}, metadata={"m": 1}, solution_id="claims")
    assert session == Session(
        session_id=session.session_id,
        tenant_id="acme",
        user_id="ada",
        solution_id="claims",
        is_anonymous=False,
        lifecycle_state=SessionState.ACTIVE,
        context={"a": 1},
        metadata={"m": 1},
        created_at="2026-01-01T00:00:00.000Z",
        updated_at="2026-01-01T00:00:00.000Z",
        expires_at="2026-01-01T00:01:40.000Z",
    )
    assert session.session_id.startswith("ses_")
    assert await runtime.door().get_session(session.session_id) == session


async def test_context_and_metadata_are_merged(runtime: Runtime, still: Ground) -> None:
    door = runtime.door()
    session = await door.create_session(context={"a": {"x": 1, "y": 2}, "b": 1}, metadata={"m": {"n": 1}})
    await still.clock.advance(1)
    changed = await door.update_session(
        session.session_id, context={"a": {"x": None, "z": 3}, "c": [1]}, metadata={"m": {"o": 2}}
    )
    assert changed.context == {"a": {"y": 2, "z": 3}, "b": 1, "c": [1]}
    assert changed.metadata == {"m": {"n": 1, "o": 2}}
    assert (changed.created_at, changed.updated_at) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:01.000Z")
    assert (await door.update_session(session.session_id)).context == changed.context
    assert await door.get_session(session.session_id) == await door.update_session(session.session_id, context={})


async def test_parallel_updates_lose_nothing(runtime: Runtime) -> None:
    door = runtime.door()
    session = await door.create_session()
    await asyncio.gather(*(door.update_session(session.session_id, context={f"k{n}": n}) for n in range(20)))
    assert (await door.get_session(session.session_id)).context == {f"k{n}": n for n in range(20)}


async def test_a_closed_session_stays_closed(runtime: Runtime) -> None:
    door = runtime.door()
    session = await door.create_session()
    closed = await door.close_session(session.session_id)
    assert closed.lifecycle_state is SessionState.CLOSED
    assert await door.close_session(session.session_id) == closed
    with pytest.raises(SessionExpired):
        await door.update_session(session.session_id, context={"a": 1})
    assert (await door.get_session(session.session_id)).context == {}


async def test_a_session_expires_in_time_and_says_so(runtime: Runtime, still: Ground) -> None:
    door = runtime.door()
    session = await door.create_session()
    await still.clock.advance(99.999)
    await door.update_session(session.session_id, context={"a": 1})
    await still.clock.advance(0.001)
    assert (await door.get_session(session.session_id)).lifecycle_state is SessionState.EXPIRED
    for attempt in (door.update_session(session.session_id, context={"a": 2}), door.close_session(session.session_id)):
        with pytest.raises(SessionExpired):
            await attempt


async def test_an_ended_session_takes_no_intent_and_the_refusal_stands_in_the_log(
    runtime: Runtime, still: Ground
) -> None:
    door = runtime.door()
    closed, expired = await door.create_session(), await door.create_session()
    await door.close_session(closed.session_id)
    with pytest.raises(SessionExpired):
        await door.submit(IntentRequest(intent_type="work", session_id=closed.session_id))
    await still.clock.advance(100)
    with pytest.raises(SessionExpired):
        await door.submit(IntentRequest(intent_type="work", session_id=expired.session_id))
    with pytest.raises(SessionRequired):
        await door.submit(IntentRequest(intent_type="work", session_id="ses_nowhere"))
    refusals = await runtime.refusals()
    assert [(each["policy"], each["session_id"]) for each in refusals] == [
        ("traffic_cop.session", closed.session_id),
        ("traffic_cop.session", expired.session_id),
    ]
    assert "was closed at" in refusals[0]["reason"]
    assert "expired at" in refusals[1]["reason"]


async def test_what_the_cache_still_believes_does_not_reopen_a_session(runtime: Runtime, still: Ground) -> None:
    door = runtime.door()
    session = await door.create_session()
    key = session_key("acme", session.session_id)
    stale = await runtime.hot.get(key)
    assert stale is not None
    await door.close_session(session.session_id)
    await runtime.hot.put(key, stale, ttl_s=1000)
    with pytest.raises(SessionExpired):
        await door.submit(IntentRequest(intent_type="work", session_id=session.session_id))
    assert (await door.get_session(session.session_id)).lifecycle_state is SessionState.CLOSED


async def test_a_lost_cache_loses_nothing(runtime: Runtime) -> None:
    door = runtime.door()
    session = await door.create_session(context={"a": 1})
    await runtime.hot.delete(session_key("acme", session.session_id))
    assert await door.get_session(session.session_id) == session
    assert (await door.update_session(session.session_id, context={"b": 2})).context == {"a": 1, "b": 2}


@pytest.mark.parametrize("value", [{"api_key": "abc"}, {"deep": [{"file": FILE_AS_TEXT}]}, {"raw": b"bytes"}])
async def test_secrets_and_file_bytes_stay_out_of_sessions(runtime: Runtime, value: JsonObject) -> None:
    door = runtime.door()
    session = await door.create_session()
    for attempt in (
        door.create_session(context=value),
        door.create_session(metadata=value),
        door.update_session(session.session_id, context=value),
        door.update_session(session.session_id, metadata=value),
    ):
        with pytest.raises(PolicyDenied):
            await attempt
    assert [refusal["policy"] for refusal in await runtime.refusals()] == ["data_steward.record"] * 4
    assert await door.get_session(session.session_id) == session


async def test_what_is_no_json_stays_out_of_sessions(runtime: Runtime) -> None:
    with pytest.raises(Invalid):
        await runtime.door().create_session(context={"object": object()})


async def test_what_the_caller_changes_later_changes_nothing(runtime: Runtime) -> None:
    context: JsonObject = {"rows": [1]}
    door = runtime.door()
    session = await door.create_session(context=context)
    context["rows"].append(2)
    session.context["rows"].append(3)
    assert (await door.get_session(session.session_id)).context == {"rows": [1]}
    assert (await door.update_session(session.session_id, context={"n": 1})).context == {"rows": [1], "n": 1}


# --- whose it is ---


async def test_nobody_opens_a_session_in_the_name_of_another(runtime: Runtime) -> None:
    with pytest.raises(PolicyDenied):
        await runtime.door("acme", "mallory").create_session(user_id="ada")
    (refusal,) = await runtime.refusals()
    assert refusal["policy"] == "security_guard.role"
    assert (await runtime.door().create_session(user_id="ada")).user_id == "ada"
    operators = await runtime.door("acme", "ops", Role.OPERATOR).create_session(user_id="ada")
    assert operators.user_id == "ada"


async def test_a_viewer_opens_no_session(runtime: Runtime) -> None:
    with pytest.raises(PolicyDenied):
        await runtime.door("acme", "vic", Role.VIEWER).create_session()
    assert (await runtime.refusals())[0]["action"] == "open_session"


async def attempts(door: RuntimeDoor, session_id: str) -> list[type[Exception] | None]:
    """What each operation on a session answers."""
    found: list[type[Exception] | None] = []
    for attempt in (
        door.get_session(session_id),
        door.update_session(session_id, context={"taken": True}),
        door.close_session(session_id),
        door.submit(IntentRequest(intent_type="work", session_id=session_id)),
        door.create_pending(intent_type="work", target_artifact_id="art_1", session_id=session_id),
    ):
        try:
            await attempt
        except SymphainyError as error:
            found.append(type(error))
        else:
            found.append(None)
    return found


@pytest.mark.parametrize("ended", [False, True])
async def test_a_session_of_another_tenant_or_user_answers_like_one_that_is_not_there(
    runtime: Runtime, still: Ground, ended: bool
) -> None:
    session = await runtime.door().create_session(context={"mine": True})
    if ended:
        await still.clock.advance(100)
    nowhere = await attempts(runtime.door("globex"), "ses_nowhere")
    assert nowhere == [SessionRequired] * 5
    assert await attempts(runtime.door("globex"), session.session_id) == nowhere
    assert await attempts(runtime.door("globex", "root", Role.ADMIN), session.session_id) == nowhere
    assert await attempts(runtime.door("acme", "bob"), session.session_id) == nowhere
    assert (await runtime.door().get_session(session.session_id)).context == {"mine": True}


async def test_an_operator_sees_and_uses_every_session_of_its_tenant(runtime: Runtime) -> None:
    session = await runtime.door().create_session()
    ops = runtime.door("acme", "ops", Role.OPERATOR)
    assert (await ops.update_session(session.session_id, context={"by": "ops"})).user_id == "ada"
    assert (await ops.close_session(session.session_id)).lifecycle_state is SessionState.CLOSED


async def test_an_anonymous_caller_has_one_session_and_no_other(runtime: Runtime) -> None:
    newcomer = runtime.door("anon-1", "anonymous", Role.ANONYMOUS)
    session = await newcomer.create_session(user_id="ada")
    assert (session.user_id, session.is_anonymous) == (None, True)
    own = runtime.door("anon-1", "anonymous", Role.ANONYMOUS, session_id=session.session_id)
    assert (await own.update_session(session.session_id, context={"a": 1})).context == {"a": 1}
    with pytest.raises(PolicyDenied):
        await own.create_session()
    other = await newcomer.create_session()
    with pytest.raises(SessionRequired):
        await own.get_session(other.session_id)


@pytest.mark.parametrize("session_id", ["", ":", "a:b", "ses_1:acme", "../x", "ses_\x00", "x" * 10_000])
async def test_odd_ids_are_just_not_found(runtime: Runtime, session_id: str) -> None:
    door = runtime.door()
    with pytest.raises(NotFound):
        await door.get_session(session_id)
    with pytest.raises(SessionRequired):
        await door.submit(IntentRequest(intent_type="work", session_id=session_id))


async def test_the_log_tells_what_became_of_a_session(runtime: Runtime) -> None:
    door = runtime.door()
    session = await door.create_session(context={"a": 1})
    await door.update_session(session.session_id, context={"b": 2})
    await door.close_session(session.session_id)
    events = await runtime.engine.log.events("acme", session_id=session.session_id)
    assert [(event.event_type, event.execution_id, event.seq) for event in events] == [
        ("session_created", None, None),
        ("session_updated", None, None),
        ("session_closed", None, None),
    ]
    replayed = (await runtime.engine.log.replay("acme", session_id=session.session_id)).sessions
    assert replayed == {session.session_id: await door.get_session(session.session_id)}
