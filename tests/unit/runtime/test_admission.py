"""From a request to an accepted intent, or to a refusal that stands in the log with its policy and its reason."""

import asyncio
import base64
from typing import Any

import pytest
from pydantic import BaseModel

from symphainy.capability import Content, ExecutionContext, IntentResult
from symphainy.civic.city_manager import CityState
from symphainy.door import IntentRequest, Refusal
from symphainy.errors import (
    IdempotencyMismatch,
    IntentRefused,
    Invalid,
    Limited,
    Overloaded,
    PolicyDenied,
    SessionRequired,
    StartupFailed,
    SymphainyError,
    TenantMismatch,
    TooLarge,
    UnknownIntent,
)
from symphainy.model import JsonObject, Role, Status, Submitted
from symphainy.model.instant import instant
from symphainy.ports import EventFilter, ExecutionFilter
from symphainy.runtime import EngineLimits, IntentRegistry
from symphainy.runtime.api import RuntimeDoor
from tests.runtimes import FILE_AS_TEXT, Anything, Declared, Ground, Handler, Runtime, declared, ended, submit, until


class File(BaseModel):
    name: str
    content: Content
    parts: list[str] = []


async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
    return IntentResult(result={"given": ctx.intent.parameters})


HANDLERS: dict[str, Handler | Declared] = {
    "work": work,
    "file": declared(work, parameters=File),
    "operate": declared(work, required_role=Role.OPERATOR),
    "look": declared(work, read_only=True),
}


@pytest.fixture
def runtime(still: Ground) -> Runtime:
    return Runtime(still, HANDLERS)


async def accepted(runtime: Runtime, tenant_id: str = "acme") -> int:
    page = await runtime.ground.store.tenant(tenant_id).executions(ExecutionFilter(), limit=1000)
    return len(page.items)


async def ask(
    door: RuntimeDoor, intent_type: str = "work", parameters: JsonObject | None = None, **more: Any
) -> Submitted:
    session = await door.create_session()
    fields = {"intent_type": intent_type, "session_id": session.session_id, "parameters": parameters or {}} | more
    return await door.submit(IntentRequest(**fields))


# --- what is recorded ---


async def test_what_was_allowed_stands_in_the_intent_itself(runtime: Runtime) -> None:
    submitted = await ask(runtime.door(), parameters={"a": 1}, metadata={"priority": 7, "own": 1})
    (event,) = await runtime.ground.log(submitted.execution_id)
    assert (event.event_type, event.seq) == ("intent_received", 1)
    assert event.payload == {
        "intent_id": submitted.intent_id,
        "intent_type": "work",
        "parameters": {"a": 1},
        "version": "1",
        "policy": {
            "security_guard.session": f"session {event.session_id} is its own",
            "security_guard.role": "member, the intent asks for anonymous",
        },
        "priority": 7,
        "session_id": event.session_id,
        "solution_id": "default",
        "user_id": "ada",
        "roles": ["member"],
        "request_id": None,
        "metadata": {"priority": 7, "own": 1},
    }


# --- refused by who asks ---


@pytest.mark.parametrize(
    ("roles", "intent_type", "error"),
    [
        ((Role.MEMBER,), "operate", PolicyDenied),
        ((Role.OPERATOR,), "operate", None),
        ((Role.ADMIN,), "operate", None),
        ((Role.VIEWER,), "work", PolicyDenied),
        ((Role.VIEWER,), "look", None),
        ((Role.MEMBER,), "work", None),
    ],
)
async def test_an_intent_is_for_those_who_have_its_role(
    runtime: Runtime, roles: tuple[Role, ...], intent_type: str, error: type[SymphainyError] | None
) -> None:
    session = await runtime.door().create_session()
    request = IntentRequest(intent_type=intent_type, session_id=session.session_id)
    door = runtime.door("acme", "ada", *roles)
    if error is None:
        await door.submit(request)
        assert (await accepted(runtime), await runtime.refusals()) == (1, [])
        return
    with pytest.raises(error) as raised:
        await door.submit(request)
    assert isinstance(raised.value, PolicyDenied)
    (refusal,) = await runtime.refusals()
    assert (refusal["policy"], refusal["intent_type"], refusal["user_id"]) == (
        "security_guard.role",
        intent_type,
        "ada",
    )
    assert (refusal["reason"], refusal["allowed"]) == (raised.value.reason, False)
    assert await accepted(runtime) == 0


async def test_a_request_that_names_another_tenant_is_refused_and_stands_in_its_callers_log(runtime: Runtime) -> None:
    with pytest.raises(TenantMismatch):
        await ask(runtime.door(), tenant_id="globex")
    (refusal,) = await runtime.refusals()
    assert (refusal["policy"], refusal["action"]) == ("security_guard.tenant_wall", "submit")
    assert "globex" in refusal["reason"]
    assert await runtime.refusals("globex") == []
    await ask(runtime.door(), tenant_id="acme")


async def test_a_session_of_another_user_takes_no_intent(runtime: Runtime) -> None:
    session = await runtime.door("acme", "bob").create_session()
    with pytest.raises(SessionRequired):
        await runtime.door().submit(IntentRequest(intent_type="work", session_id=session.session_id))
    assert await accepted(runtime) == 0


# --- refused by what is asked ---


async def test_an_unknown_intent_is_refused_with_what_may_have_been_meant(runtime: Runtime) -> None:
    with pytest.raises(UnknownIntent, match="did you mean file"):
        await ask(runtime.door(), "fiel")


@pytest.mark.parametrize(
    ("parameters", "pointers"),
    [
        ({}, ["/parameters/name", "/parameters/content"]),
        ({"name": 1, "content": "QQ=="}, ["/parameters/name"]),
        ({"name": "a", "content": "QQ==", "more": 1}, ["/parameters/more"]),
        ({"name": "a", "content": "QQ==", "parts": ["a", 2]}, ["/parameters/parts/1"]),
        ({"name": "a", "content": "no base64!"}, ["/parameters/content"]),
        ({"name": "a", "content": "blob:" + "0" * 64}, ["/parameters/content"]),
        ({"name": "a", "content": "QQ==", "a/b~c": 1}, ["/parameters/a~1b~0c"]),
    ],
)
async def test_parameters_that_do_not_fit_are_refused_by_pointer(
    runtime: Runtime, parameters: JsonObject, pointers: list[str]
) -> None:
    with pytest.raises(Invalid) as refused:
        await ask(runtime.door(), "file", parameters)
    assert [error.pointer for error in refused.value.errors] == pointers
    assert await accepted(runtime) == 0


@pytest.mark.parametrize(
    ("metadata", "pointer"),
    [
        ({"priority": 101}, "/metadata/priority"),
        ({"priority": "high"}, "/metadata"),
        ({"priority": True}, "/metadata"),
        ({"timeout_s": 0}, "/metadata/timeout_s"),
        ({"timeout_s": -1}, "/metadata/timeout_s"),
        ({"timeout_s": float("inf")}, "/metadata/timeout_s"),
        ({"timeout_s": float("nan")}, "/metadata/timeout_s"),
        ({"not_before": "tomorrow"}, "/metadata/not_before"),
        ({"not_before": "2026-01-01T00:00:00"}, "/metadata/not_before"),
        ({"not_before": "9999-12-31T23:59:59-23:59"}, "/metadata/not_before"),
        ({"not_before": "0001-01-01T00:00:00+01:00"}, "/metadata/not_before"),
        ({"concurrency_key": "k" * 256}, "/metadata/concurrency_key"),
        ({"correlation_id": "k" * 256}, "/metadata/correlation_id"),
        ({"saga": "unheard_of"}, "/metadata/saga"),
    ],
)
async def test_metadata_that_asks_for_what_cannot_be_is_refused_by_pointer(
    runtime: Runtime, metadata: JsonObject, pointer: str
) -> None:
    with pytest.raises(Invalid) as refused:
        await ask(runtime.door(), metadata=metadata)
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert await accepted(runtime) == 0


@pytest.mark.parametrize(
    "request_",
    [
        {"parameters": {"password": "hunter2"}},
        {"parameters": {"rows": [{"credentials": {"user": "a"}}]}},
        {"parameters": {"file": FILE_AS_TEXT}},
        {"metadata": {"auth_token": "hunter2"}},
    ],
)
async def test_secrets_and_file_bytes_do_not_come_in_and_the_refusal_does_not_repeat_them(
    runtime: Runtime, request_: dict[str, Any]
) -> None:
    with pytest.raises(PolicyDenied):
        await ask(runtime.door(), **request_)
    (refusal,) = await runtime.refusals()
    assert (refusal["policy"], refusal["action"]) == ("data_steward.record", "submit")
    events = await runtime.ground.store.tenant("acme").events(EventFilter(), limit=100)
    assert "hunter2" not in str(events)
    assert "QUJDQUJD" not in str(events)


# --- content ---


async def test_content_becomes_a_blob_before_anything_is_recorded(runtime: Runtime) -> None:
    data = b"green tea" * 10_000
    text = base64.b64encode(data).decode()
    door = runtime.door()
    submitted = [
        await ask(door, "file", {"name": "a", "content": given}) for given in (text, f"data:text/plain;base64,{text}")
    ]
    async with runtime:
        results = [(await ended(door, each.execution_id)).result["given"]["content"] for each in submitted]
    assert len(set(results)) == 1
    sha256 = results[0].removeprefix("blob:")
    assert b"".join([chunk async for chunk in runtime.ground.blobs.read("acme", sha256)]) == data
    assert text[:50] not in str(await runtime.ground.log(submitted[0].execution_id))
    again = await ask(door, "file", {"name": "b", "content": results[0]})
    assert again.replayed is False


async def test_a_blob_of_another_tenant_cannot_be_named(runtime: Runtime) -> None:
    text = base64.b64encode(b"secret plans").decode()
    await ask(runtime.door("globex"), "file", {"name": "a", "content": text})
    (event,) = await runtime.ground.store.tenant("globex").events(EventFilter(event_type="intent_received"), limit=1)
    with pytest.raises(Invalid, match="has not been uploaded"):
        await ask(runtime.door(), "file", {"name": "a", "content": event.payload["parameters"]["content"]})


async def test_content_over_the_limit_is_refused_and_the_refusal_stands_in_the_log(still: Ground) -> None:
    runtime = Runtime(still, HANDLERS, limits=EngineLimits(upload_bytes_max=10))
    await ask(runtime.door(), "file", {"name": "a", "content": base64.b64encode(b"x" * 10).decode()})
    with pytest.raises(TooLarge):
        await ask(runtime.door(), "file", {"name": "a", "content": base64.b64encode(b"x" * 11).decode()})
    (refusal,) = await runtime.refusals()
    assert (refusal["policy"], refusal["action"]) == ("traffic_cop.upload_size", "upload")


# --- idempotency ---


async def test_one_key_and_one_request_are_one_execution(runtime: Runtime) -> None:
    door = runtime.door()
    session = await door.create_session()

    def request(**fields: Any) -> IntentRequest:
        made: dict[str, Any] = {
            "intent_type": "work",
            "session_id": session.session_id,
            "parameters": {"a": 1, "b": 2},
            "idempotency_key": "k",
        }
        return IntentRequest(**made | fields)

    first = await door.submit(request(metadata={"priority": 1}))
    again = await door.submit(request(parameters={"b": 2, "a": 1}, metadata={"priority": 2}))
    assert again == Submitted(
        execution_id=first.execution_id,
        intent_id=first.intent_id,
        status="accepted",
        created_at=first.created_at,
        replayed=True,
    )
    for other in ({"parameters": {"a": 2}}, {"intent_type": "look"}, {"solution_id": "claims"}):
        with pytest.raises(IdempotencyMismatch):
            await door.submit(request(**other))
    assert (await door.submit(request(idempotency_key="other"))).execution_id != first.execution_id
    assert await accepted(runtime) == 2


async def test_a_hundred_at_once_with_one_key_run_once(still: Ground) -> None:
    ran: list[str] = []

    async def count(ctx: ExecutionContext, params: Any) -> IntentResult:
        ran.append(ctx.execution_id)
        return IntentResult()

    async with Runtime(still, {"work": count}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        request = IntentRequest(intent_type="work", session_id=session.session_id, idempotency_key="k")
        answers = await asyncio.gather(*(door.submit(request) for _ in range(100)))
        (execution_id,) = {answer.execution_id for answer in answers}
        await ended(door, execution_id)
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 99
    assert ran == [execution_id]
    assert await accepted(runtime) == 1


async def test_a_key_is_its_users_and_its_tenants_and_ends(still: Ground) -> None:
    runtime = Runtime(still, HANDLERS, limits=EngineLimits(idempotency_ttl_s=60.0))
    doors = [runtime.door(), runtime.door("acme", "bob"), runtime.door("globex")]
    found = [(await ask(door, idempotency_key="k")).execution_id for door in doors]
    assert len(set(found)) == 3
    door = runtime.door()
    session = await door.create_session()
    request = IntentRequest(intent_type="work", session_id=session.session_id, idempotency_key="mine")
    first = await door.submit(request)
    await still.clock.advance(59.999)
    assert (await door.submit(request)).replayed
    await still.clock.advance(0.001)
    second = await door.submit(request)
    assert (second.replayed, second.execution_id == first.execution_id) == (False, False)


# --- when and how many ---


async def test_an_intent_may_be_put_off(still: Ground) -> None:
    async with Runtime(still, HANDLERS) as runtime:
        door = runtime.door()
        later = instant(still.clock.now_ms() + 10_000)
        execution_id = (await ask(door, metadata={"not_before": later})).execution_id
        await still.clock.until_sleeping()
        await still.clock.advance(9.999)
        assert (await door.get_execution(execution_id)).status is Status.CREATED
        await still.clock.advance(0.001)
        execution = await ended(door, execution_id)
    assert execution.started_at == later


async def test_an_intent_put_off_starts_in_time_also_while_others_wait_for_a_limit(still: Ground) -> None:
    release = asyncio.Event()

    async def block(ctx: ExecutionContext, params: Any) -> IntentResult:
        await release.wait()
        return IntentResult()

    limits = EngineLimits(running_max=1)
    async with Runtime(still, {"work": work, "block": block}, limits=limits) as runtime:
        busy, calm = runtime.door(), runtime.door("globex")
        for _ in range(2):
            await ask(busy, "block")
        later = instant(still.clock.now_ms() + 5000)
        execution_id = (await ask(calm, metadata={"not_before": later})).execution_id
        await still.clock.until_sleeping(2)
        await still.clock.advance(5)
        assert (await ended(calm, execution_id)).started_at == later
        release.set()


async def test_over_the_limit_of_its_tenant_an_execution_waits_and_says_for_what(still: Ground) -> None:
    release = asyncio.Event()

    async def block(ctx: ExecutionContext, params: Any) -> IntentResult:
        await release.wait()
        return IntentResult()

    async with Runtime(still, {"work": block}, limits=EngineLimits(running_max=2)) as runtime:
        door = runtime.door()
        ids = [(await ask(door)).execution_id for _ in range(3)]
        await until(lambda: runtime.worker.running == 2)
        waiting = await door.get_execution(ids[2])
        assert (waiting.status, waiting.waiting_on) == (
            Status.CREATED,
            {
                "kind": "limit",
                "policy": "traffic_cop.concurrency",
                "reason": "2 executions of the tenant are running, 2 may",
            },
        )
        (listed,) = (await door.list_executions(status="created")).items
        assert listed == waiting
        others = await ask(runtime.door("globex"))
        release.set()
        for execution_id in ids:
            assert (await ended(door, execution_id)).status is Status.COMPLETED
        assert (await ended(runtime.door("globex"), others.execution_id)).status is Status.COMPLETED


async def test_where_every_worker_is_busy_an_execution_waits_and_says_so(still: Ground) -> None:
    release = asyncio.Event()

    async def block(ctx: ExecutionContext, params: Any) -> IntentResult:
        await release.wait()
        return IntentResult()

    async with Runtime(still, {"work": block}, limits=EngineLimits(workers=1)) as runtime:
        door = runtime.door()
        first, second = [(await ask(door)).execution_id for _ in range(2)]
        await until(lambda: runtime.worker.running)
        waiting = (await door.get_execution(second)).waiting_on
        assert waiting == {"kind": "worker", "reason": "all 1 workers are busy"}
        release.set()
        assert [(await ended(door, each)).status for each in (first, second)] == [Status.COMPLETED] * 2


async def test_of_one_concurrency_key_one_runs_at_a_time(still: Ground) -> None:
    running: list[int] = []
    at_most: list[int] = []

    async def count(ctx: ExecutionContext, params: Any) -> IntentResult:
        running.append(1)
        at_most.append(len(running))
        await ctx.step("one", lambda: 1)
        running.pop()
        return IntentResult()

    async with Runtime(still, {"work": count}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        request = IntentRequest(
            intent_type="work", session_id=session.session_id, metadata={"concurrency_key": "the printer"}
        )
        for submitted in [await door.submit(request) for _ in range(6)]:
            assert (await ended(door, submitted.execution_id)).status is Status.COMPLETED
    assert at_most == [1] * 6


async def test_the_highest_priority_runs_first(still: Ground) -> None:
    order: list[int] = []

    async def note(ctx: ExecutionContext, params: Any) -> IntentResult:
        order.append(params.n)
        return IntentResult()

    runtime = Runtime(still, {"work": note}, limits=EngineLimits(workers=1))
    door = runtime.door()
    session = await door.create_session()
    ids = []
    for n, priority in enumerate([0, -100, 100, 5]):
        request = IntentRequest(
            intent_type="work",
            session_id=session.session_id,
            parameters={"n": n},
            metadata={"priority": priority},
        )
        ids.append((await door.submit(request)).execution_id)
    async with runtime:
        for execution_id in ids:
            await ended(door, execution_id)
    assert order == [2, 3, 0, 1]


# --- rates ---


async def refused_by_rate(door: RuntimeDoor, count: int) -> int:
    refused = 0
    for _ in range(count):
        try:
            await door.list_intents()
        except Limited:
            refused += 1
    return refused


async def test_refusals_by_rate_are_counted_and_recorded_once_a_second(still: Ground) -> None:
    runtime = Runtime(still, HANDLERS, limits=EngineLimits(requests_per_minute=60, anonymous_requests_per_minute=6))
    assert await refused_by_rate(runtime.door(), 100) == 40
    assert await refused_by_rate(runtime.door("acme", "bob"), 70) == 10
    assert await refused_by_rate(runtime.door("anon", "anonymous", Role.ANONYMOUS, session_id="ses_1"), 10) == 4
    assert await runtime.refusals() == []
    await still.clock.until_sleeping(3)
    await still.clock.advance(1)
    refusals = await runtime.refusals()
    assert [(each["policy"], each["user_id"], each["count"]) for each in refusals] == [
        ("traffic_cop.rate", "ada", 40),
        ("traffic_cop.rate", "bob", 10),
    ]
    assert [each["count"] for each in await runtime.refusals("anon")] == [4]
    assert await refused_by_rate(runtime.door(), 10) == 9
    await runtime.engine.governance.close()
    assert [each["count"] for each in await runtime.refusals()] == [40, 10, 9]


async def test_a_rate_refills_with_time(still: Ground) -> None:
    runtime = Runtime(still, HANDLERS, limits=EngineLimits(requests_per_minute=60))
    door = runtime.door()
    assert await refused_by_rate(door, 60) == 0
    with pytest.raises(Limited) as refused:
        await door.list_intents()
    assert refused.value.retry_after_s == pytest.approx(1.0)
    await still.clock.advance(refused.value.retry_after_s)
    await door.list_intents()
    await runtime.engine.governance.close()


async def test_every_operation_counts(still: Ground) -> None:
    runtime = Runtime(still, HANDLERS, limits=EngineLimits(requests_per_minute=1))
    door = runtime.door()
    await door.list_intents()
    request = IntentRequest(intent_type="work", session_id="ses_1")
    for attempt in (
        door.create_session(),
        door.get_session("ses_1"),
        door.update_session("ses_1"),
        door.close_session("ses_1"),
        door.submit(request),
        door.list_intents(),
        door.get_intent("work"),
        door.list_realms(),
        door.get_execution("exe_1"),
        door.execution_artifacts("exe_1"),
        door.wait("exe_1", timeout_s=1),
        door.list_executions(),
        door.cancel("exe_1"),
        anext(door.stream("exe_1")),
        door.create_pending(intent_type="work", target_artifact_id="art_1", session_id="ses_1"),
        door.list_pending(),
        door.resolve_artifact("art_1"),
        door.list_artifacts(),
        door.open_artifact("art_1"),
        door.artifact_lineage("art_1"),
        door.wal_events(),
    ):
        with pytest.raises(Limited):
            await attempt
    (batch,) = await door.submit_batch([request])
    assert isinstance(batch, Refusal)
    assert batch.code == "rate_limited"
    await runtime.engine.governance.close()
    assert [refusal["count"] for refusal in await runtime.refusals()] == [22]


# --- open or not ---


async def test_a_draining_platform_takes_nothing_new_and_still_answers(still: Ground) -> None:
    runtime = Runtime(still, HANDLERS)
    door = runtime.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    runtime.engine.governance.move(CityState.DRAINING)
    for _ in range(3):
        with pytest.raises(Overloaded) as refused:
            await door.submit(IntentRequest(intent_type="work", session_id=session.session_id))
        assert refused.value.retry_after_s > 0
        assert refused.value.retryable
    with pytest.raises(Overloaded):
        await door.create_session()
    assert (await door.get_execution(execution_id)).status is Status.CREATED
    assert (await door.update_session(session.session_id, context={"a": 1})).context == {"a": 1}
    await runtime.engine.governance.close()
    (refusal,) = await runtime.refusals()
    assert (refusal["policy"], refusal["count"]) == ("city_manager.admission", 4)
    assert await accepted(runtime) == 1


@pytest.mark.parametrize("state", [CityState.BOOTING, CityState.SHUT])
async def test_a_platform_that_is_not_open_takes_nothing(still: Ground, state: CityState) -> None:
    runtime = Runtime(still, HANDLERS)
    session = await runtime.door().create_session()
    runtime.engine.governance.city = state
    with pytest.raises(Overloaded):
        await runtime.door().submit(IntentRequest(intent_type="work", session_id=session.session_id))


# --- several at once ---


async def test_of_a_batch_each_is_answered_in_order(runtime: Runtime) -> None:
    door = runtime.door()
    session = await door.create_session()

    def request(intent_type: str, **parameters: Any) -> IntentRequest:
        return IntentRequest(intent_type=intent_type, session_id=session.session_id, parameters=parameters)

    answers = await door.submit_batch(
        [request("work"), request("unheard_of"), request("file", name="a"), request("operate"), request("look")]
    )
    assert [answer.code if isinstance(answer, Refusal) else answer.status for answer in answers] == [
        "accepted",
        "unknown_intent",
        "validation_failed",
        "policy_denied",
        "accepted",
    ]
    third = answers[2]
    assert isinstance(third, Refusal)
    assert third.details["errors"] == [{"pointer": "/parameters/content", "detail": "Field required"}]
    assert await accepted(runtime) == 2


# --- what can be registered at all ---


def not_async(ctx: ExecutionContext, params: Anything) -> IntentResult:
    return IntentResult()


async def takes_too_much(ctx: ExecutionContext, params: Anything, more: int) -> IntentResult:
    return IntentResult()


async def takes_too_little(ctx: ExecutionContext) -> IntentResult:
    return IntentResult()


@pytest.mark.parametrize("handler", [not_async, takes_too_much, takes_too_little])
def test_a_handler_that_does_not_fit_is_not_registered(handler: Any) -> None:
    fitting: Handler | None = handler
    with pytest.raises(StartupFailed):
        IntentRegistry().register_intent("work", "tests", fitting, {"parameters": Anything})


async def test_an_intent_without_a_function_is_known_and_refused(still: Ground) -> None:
    spec = IntentRegistry().register_intent("work", "tests")
    with pytest.raises(IntentRefused, match="without a function"):
        await spec.handler(None, None)


def test_what_a_handler_is_annotated_with_are_its_parameters() -> None:
    assert "extra" not in IntentRegistry().register_intent("work", "tests", work).parameters.model_fields
    with pytest.raises(StartupFailed, match="says colour, which means nothing"):
        IntentRegistry().register_intent("work", "tests", work, {"colour": "red"})


@pytest.mark.parametrize("name", ["work", "chore"])
def test_one_intent_is_registered_once(name: str) -> None:
    registry = IntentRegistry()
    registry.register_intent("work", "tests", work, {"parameters": Anything, "aliases": ("chore",)})
    with pytest.raises(StartupFailed, match="registered already"):
        registry.register_intent(name, "others", work, {"parameters": Anything})


async def test_an_alias_is_another_name_for_the_same_intent(still: Ground) -> None:
    runtime = Runtime(still, {"work": declared(work, aliases=("chore.do",))})
    submitted = await ask(runtime.door(), "chore.do")
    (event,) = await still.log(submitted.execution_id)
    assert event.payload["intent_type"] == "work"
