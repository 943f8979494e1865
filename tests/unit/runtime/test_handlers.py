"""What a handler is given, and what becomes of what it returns or raises."""

import asyncio
import threading
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from pydantic import BaseModel

from symphainy.capability import ExecutionContext, IntentRefused, IntentResult, RetryPolicy
from symphainy.door import IntentRequest
from symphainy.errors import Conflict, Limited, NotFound, PolicyDenied, Unreachable
from symphainy.model import Draft, Execution, Failure, Role, Status
from symphainy.ports import EventFilter
from symphainy.runtime import EngineLimits
from tests.runtimes import FILE_AS_TEXT, Ground, Runtime, declared, ended, run, seen, submit, until, until_found

TWICE = RetryPolicy(attempts_max=2, first_delay_s=10.0, jitter=0.0)


class Words(BaseModel):
    words: int
    text: str = "none"


async def outcome(base: Ground, handler: Any, **fields: Any) -> Execution:
    async with Runtime(base, {"work": declared(handler, **fields)}) as runtime:
        return await run(runtime.door())


def failing(error: Callable[[], BaseException]) -> Any:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        raise error()

    return work


# --- what it is given ---


async def test_a_handler_is_given_the_facts_of_its_execution(base: Ground) -> None:
    met: list[ExecutionContext] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        met.append(ctx)
        return IntentResult(result={"text": params.text})

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.api.door_for(runtime.door()._caller, request_id="req_1")
        session = await door.create_session()
        request = IntentRequest(
            intent_type="work",
            session_id=session.session_id,
            parameters={"text": "tea"},
            solution_id="claims",
            metadata={"correlation_id": "c-1", "own": {"a": 1}},
        )
        submitted = await door.submit(request)
        execution = await ended(door, submitted.execution_id)
    (ctx,) = met
    assert (ctx.execution_id, ctx.tenant_id, ctx.session_id) == (execution.execution_id, "acme", session.session_id)
    assert (ctx.solution_id, ctx.user_id, ctx.request_id, ctx.attempt) == ("claims", "ada", "req_1", 1)
    assert (ctx.intent.intent_id, ctx.intent.intent_type) == (submitted.intent_id, "work")
    assert ctx.intent.parameters == {"text": "tea"}
    assert ctx.metadata == ctx.intent.metadata == {"correlation_id": "c-1", "own": {"a": 1}}
    assert ctx.created_at.isoformat() == "2026-01-01T00:00:00+00:00"
    assert execution.result == {"text": "tea"}


async def test_no_handler_runs_inside_of_submit(base: Ground) -> None:
    began: list[str] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        began.append(ctx.execution_id)
        return IntentResult()

    runtime = Runtime(base, {"work": work})
    door = runtime.door()
    session = await door.create_session()
    submitted = await door.submit(IntentRequest(intent_type="work", session_id=session.session_id))
    assert (submitted.status, submitted.replayed) == ("accepted", False)
    assert await base.kinds(submitted.execution_id) == ["intent_received"]
    execution = await door.get_execution(submitted.execution_id)
    assert (execution.status, execution.intent_id) == (Status.CREATED, submitted.intent_id)
    assert execution.created_at == submitted.created_at
    assert began == []
    async with runtime:
        assert (await ended(door, submitted.execution_id)).status is Status.COMPLETED
    assert began == [submitted.execution_id]


async def test_what_the_caller_changes_after_submitting_changes_nothing(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(result={"rows": params.rows, "raw": ctx.intent.parameters, "metadata": ctx.metadata})

    runtime = Runtime(base, {"work": work})
    door = runtime.door()
    session = await door.create_session()
    rows, own = [1], {"a": [1]}
    execution_id = (
        await door.submit(
            IntentRequest(
                intent_type="work", session_id=session.session_id, parameters={"rows": rows}, metadata={"own": own}
            )
        )
    ).execution_id
    rows.append(2)
    own["a"].append(2)
    async with runtime:
        execution = await ended(door, execution_id)
    assert execution.result == {"rows": [1], "raw": {"rows": [1]}, "metadata": {"own": {"a": [1]}}}


async def test_a_handler_reads_the_log_of_its_session_alone(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        found = [event.event_type for event in await ctx.wal.events()]
        mine = [event.event_type for event in await ctx.wal.events(event_type="intent_received", limit=5)]
        return IntentResult(result={"found": found, "mine": mine})

    async with Runtime(base, {"work": work}) as runtime:
        await run(runtime.door())
        execution = await run(runtime.door())
    assert execution.result == {
        "found": ["session_created", "intent_received", "execution_started"],
        "mine": ["intent_received"],
    }


# --- what it returns ---


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (None, None),
        ({}, {}),
        ({"words": 3}, {"words": 3}),
        (Words(words=3), {"words": 3, "text": "none"}),
        ({"pair": (1, 2)}, {"pair": [1, 2]}),
    ],
)
async def test_a_result_is_recorded_as_json(base: Ground, returned: Any, result: Any) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(result=returned)

    execution = await outcome(base, work)
    assert (execution.status, execution.result, execution.error) == (Status.COMPLETED, result, None)
    assert await base.kinds(execution.execution_id) == [
        "intent_received",
        "execution_started",
        "execution_completed",
    ]


@pytest.mark.parametrize("returned", [None, {"words": 3}, "text", 7, [IntentResult()]])
async def test_what_is_no_intent_result_fails_the_execution(base: Ground, returned: Any) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        result: IntentResult = returned
        return result

    execution = await outcome(base, work)
    kind = type(returned).__name__
    assert execution.error == Failure(
        code="handler_failed", message=f"TypeError: the handler of 'work' returned {kind}, not IntentResult"
    )


@pytest.mark.parametrize(
    ("returned", "result"),
    [
        (Words(words=3), {"words": 3, "text": "none"}),
        ({"words": 3}, {"words": 3, "text": "none"}),
        ({"words": "many"}, None),
        ({"text": "no words"}, None),
    ],
)
async def test_a_result_has_the_shape_that_was_declared(base: Ground, returned: Any, result: Any) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(result=returned)

    execution = await outcome(base, work, result=Words)
    assert execution.result == result
    if result is None:
        assert execution.error is not None
        assert execution.error.message.startswith("TypeError: the result of 'work' is no Words")


@pytest.mark.parametrize(
    ("returned", "code"),
    [
        ({"refresh_token": "abc"}, "policy_denied"),
        ({"content": FILE_AS_TEXT}, "policy_denied"),
        ({"object": object()}, "validation_failed"),
        ({"text": "x " * 600}, "payload_too_large"),
    ],
)
async def test_a_result_that_may_not_be_kept_fails_the_execution(base: Ground, returned: Any, code: str) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.update_session_state(ctx.session_id, ctx.tenant_id, {"done": True})
        return IntentResult(result=returned)

    async with Runtime(base, {"work": work}, limits=EngineLimits(result_bytes_max=1000)) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert (execution.status, execution.error.code, execution.result) == (Status.FAILED, code, None)
    session = await base.store.tenant("acme").session(execution.session_id)
    assert session is not None
    assert session.context == {}


async def test_the_outcome_its_artifacts_and_its_state_are_one_transaction(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        made = await state.register_artifact(artifact_type="note")
        await state.update_session_state(ctx.session_id, ctx.tenant_id, {"done": True})
        return IntentResult(artifacts={"note": made}, events=[("noted", {})])

    execution = await outcome(base, work)
    assert await base.kinds(execution.execution_id) == [
        "intent_received",
        "execution_started",
        "artifact_registered",
        "noted",
        "session_updated",
        "artifact_transitioned",
        "execution_completed",
    ]


# --- what it raises ---


async def test_a_refusal_carries_its_code_message_and_details(base: Ground) -> None:
    refusal = IntentRefused("file_not_found", "no file 'a.txt'", {"file": "a.txt"})
    execution = await outcome(base, failing(lambda: refusal))
    assert execution.error == Failure(code="file_not_found", message="no file 'a.txt'", details={"file": "a.txt"})
    assert execution.status is Status.FAILED


async def test_an_error_is_told_without_its_traceback(base: Ground) -> None:
    execution = await outcome(base, failing(lambda: ZeroDivisionError("division by zero")))
    assert execution.error == Failure(code="handler_failed", message="ZeroDivisionError: division by zero")
    assert "Traceback" not in str(await base.log(execution.execution_id))
    assert ".py" not in str(await base.log(execution.execution_id))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its name")


class Misleading(Exception):
    code = 7
    details = "no dictionary"
    retryable = "perhaps"
    retry_after_s = "soon"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (lambda: Unspeakable(), "internal"),
        (lambda: Misleading("odd"), "handler_failed"),
        (lambda: ExceptionGroup("two", [IntentRefused("first", "the first"), ValueError("b")]), "first"),
        (lambda: IntentRefused("odd", "odd", {"object": object(), "n": float("nan")}), "odd"),
        (lambda: IntentRefused("", "no code"), "handler_failed"),
        (lambda: RecursionError("deep"), "handler_failed"),
        (lambda: SystemExit(3), "handler_failed"),
        (lambda: asyncio.CancelledError(), "handler_failed"),
        (lambda: TimeoutError("its own"), "handler_failed"),
        (lambda: StopAsyncIteration("odd"), "handler_failed"),
        (lambda: AssertionError("broken"), "handler_failed"),
        (lambda: Limited("slow down", retry_after_s=5), "rate_limited"),
    ],
)
async def test_whatever_a_handler_raises_its_execution_ends_at_the_first_try(
    base: Ground, error: Callable[[], BaseException], code: str
) -> None:
    execution = await outcome(base, failing(error))
    assert execution.error is not None
    assert (execution.status, execution.error.code, execution.attempt) == (Status.FAILED, code, 1)


async def test_an_errors_details_hold_no_secrets(base: Ground) -> None:
    execution = await outcome(base, failing(lambda: IntentRefused("no", "no", {"user": {"password": "hunter2"}})))
    assert execution.error is not None
    assert execution.error.code == "no"
    assert "hunter2" not in str(await base.log(execution.execution_id))
    assert list(execution.error.details) == ["withheld"]


async def test_something_cancelled_within_a_handler_fails_it_and_does_not_hang_it(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def inside() -> None:
            task = asyncio.ensure_future(asyncio.Event().wait())
            task.cancel()
            await task

        await ctx.step("inside", inside)
        return IntentResult()

    execution = await outcome(base, work)
    assert execution.error is not None
    assert execution.error.message == "RuntimeError: step 'inside' awaited something that was cancelled"


async def test_out_of_time_a_handler_fails(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await base.clock.sleep(100)
        return IntentResult()

    execution = await outcome(base, work, timeout_s=5.0)
    assert execution.error == Failure(
        code="timed_out", message="intent 'work' took longer than 5 s", details={"timeout_s": 5.0}, retryable=True
    )


async def test_a_submission_may_ask_for_its_own_limit_of_time(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await base.clock.sleep(10)
        return IntentResult()

    async with Runtime(base, {"work": declared(work, timeout_s=5.0)}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        found = []
        for metadata in ({"timeout_s": 2}, {"timeout_s": 20}, {}):
            request = IntentRequest(intent_type="work", session_id=session.session_id, metadata=metadata)
            found.append((await ended(door, (await door.submit(request)).execution_id)).status)
    assert found == [Status.FAILED, Status.COMPLETED, Status.FAILED]


# --- trying again ---


async def test_an_intent_is_tried_again_as_declared_and_says_what_was_tried(base: Ground) -> None:
    tries: list[int] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        tries.append(base.clock.now_ms())
        raise Unreachable("nobody answers")

    policy = RetryPolicy(attempts_max=4, first_delay_s=1.0, factor=3.0, delay_max_s=5.0, jitter=0.0)
    execution = await outcome(base, work, retry=policy)
    assert [later - earlier for earlier, later in pairwise(tries)] == [1000, 3000, 5000]
    assert execution.error == Failure(
        code="unreachable",
        message="nobody answers",
        details={"tried": "tried 4 times, as often as the policy allows"},
        retryable=True,
    )
    waits = [e.payload["waiting_on"] for e in await base.log(execution.execution_id) if "waiting" in e.event_type]
    assert [(wait["kind"], wait["step"]) for wait in waits] == [("retry", None)] * 3
    (last,) = [e for e in await base.log(execution.execution_id) if e.event_type == "execution_failed"]
    assert last.payload["attempts"] == 4


async def test_no_try_comes_before_the_other_side_asked_for_it(base: Ground) -> None:
    tries: list[int] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        tries.append(base.clock.now_ms())
        if len(tries) == 1:
            raise Limited("slow down", retry_after_s=77.0)
        return IntentResult()

    assert (await outcome(base, work, retry=TWICE)).status is Status.COMPLETED
    assert tries[1] - tries[0] == 77_000


async def test_jitter_stays_within_its_share(base: Ground) -> None:
    tries: list[int] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        tries.append(base.clock.now_ms())
        raise Unreachable("nobody answers")

    policy = RetryPolicy(attempts_max=12, first_delay_s=10.0, factor=1.0, jitter=0.5)
    await outcome(base, work, retry=policy)
    delays = [later - earlier for earlier, later in pairwise(tries)]
    assert all(5000 <= delay <= 10_000 for delay in delays)
    assert len(set(delays)) > 5


async def test_an_intent_whose_capability_is_gone_fails_and_says_so(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        raise AssertionError("it is gone")

    before = Runtime(base, {"work": work})
    door = before.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    async with Runtime(base, {"works": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert execution.error is not None
    assert (execution.error.code, execution.attempt) == ("unknown_intent", 1)
    assert "did you mean works?" in execution.error.message


async def test_an_intent_whose_parameters_no_longer_fit_fails_and_says_so(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult()

    before = Runtime(base, {"work": work})
    door = before.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id, text="no words")
    async with Runtime(base, {"work": declared(work, parameters=Words)}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert execution.error is not None
    assert (execution.error.code, execution.attempt) == ("validation_failed", 1)


async def test_an_intent_whose_payload_was_erased_fails_and_does_not_run(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        raise AssertionError("nothing is known of it")

    before = Runtime(base, {"work": work})
    door = before.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    (event,) = await base.log(execution_id)
    await base.store.tenant("acme").erase([event.position])
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert execution.error is not None
    assert (execution.error.code, execution.attempt) == ("not_found", 1)


# --- the steward ---


async def test_what_the_steward_refuses_stands_in_the_log_whatever_becomes_of_it(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def ask() -> None:
            ctx.steward.authorize(None, materialization_type="full_artifact", size_bytes=1, days=1)

        if params.caught:
            with pytest.raises(PolicyDenied):
                ctx.steward.authorize(None, materialization_type="full_artifact", size_bytes=1, days=1)
        else:
            await ctx.step("ask", ask)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        completed = await ended(door, await submit(door, session.session_id, caught=True))
        failed = await ended(door, await submit(door, session.session_id, caught=False))
        refusals = await runtime.refusals()
    assert (completed.status, failed.status) == (Status.COMPLETED, Status.FAILED)
    assert failed.error is not None
    assert failed.error.code == "policy_denied"
    assert refusals == [
        {
            "action": "handler",
            "allowed": False,
            "policy": "data_steward.materialization",
            "reason": "there is no boundary contract",
            "user_id": "ada",
            "execution_id": execution.execution_id,
            "count": 1,
        }
        for execution in (completed, failed)
    ]


async def test_a_boundary_contract_says_how_much_and_how_long(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        contract = ctx.steward.issue_contract(size_bytes=50)
        reason = ctx.steward.authorize(contract, materialization_type="full_artifact", size_bytes=50, days=30)
        with pytest.raises(PolicyDenied):
            ctx.steward.authorize(contract, materialization_type="full_artifact", size_bytes=101, days=30)
        with pytest.raises(PolicyDenied):
            ctx.steward.authorize(contract, materialization_type="full_artifact", size_bytes=50, days=31)
        with pytest.raises(PolicyDenied):
            ctx.steward.issue_contract(size_bytes=101)
        return IntentResult(result={"contract": contract, "reason": reason})

    async with Runtime(base, {"work": work}, limits=EngineLimits(upload_bytes_max=100)) as runtime:
        execution = await run(runtime.door())
        assert len(await runtime.refusals()) == 3
    assert execution.result["contract"]["size_bytes_max"] == 100
    assert execution.result["contract"]["session_id"] == execution.session_id


# --- cancelling ---


async def cancelled(runtime: Runtime, execution_id: str, reason: str | None = None) -> Execution:
    return await runtime.door("acme", "ops", Role.OPERATOR).cancel(execution_id, reason=reason)


async def test_what_has_not_begun_is_cancelled_and_never_runs(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        raise AssertionError("it was cancelled")

    runtime = Runtime(base, {"work": work})
    door = runtime.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    execution = await cancelled(runtime, execution_id, "not needed")
    assert execution.error == Failure(
        code="cancelled", message="cancelled by ops: not needed", details={"by": "ops", "reason": "not needed"}
    )
    async with runtime:
        await base.clock.sleep(100)
        assert (await door.get_execution(execution_id)).status is Status.CANCELLED
    assert await base.kinds(execution_id) == ["intent_received", "execution_cancelled"]


async def test_a_running_handler_is_stopped_and_what_it_left_is_failed(base: Ground) -> None:
    stopped = asyncio.Event()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        await state.register_artifact(artifact_type="note", artifact_id="art_1")
        await ctx.step("kept", lambda: 1)
        await state.update_session_state(ctx.session_id, ctx.tenant_id, {"lost": 1})
        await ctx.emit("halfway", {})
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        await seen(door, execution_id, "halfway")
        assert (await cancelled(runtime, execution_id)).status is Status.CANCELLED
        await stopped.wait()
        with pytest.raises(Conflict):
            await cancelled(runtime, execution_id)
        artifact = await door.resolve_artifact("art_1")
        assert artifact.lifecycle_state == "FAILED"
        assert (await door.get_session(session.session_id)).context == {}
    assert (await base.kinds(execution_id))[-2:] == ["artifact_transitioned", "execution_cancelled"]


async def test_a_handler_that_will_not_stop_can_write_nothing_more(still: Ground) -> None:
    tried: list[str] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.emit("halfway", {})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for attempt in (
                ctx.emit("still_here", {}),
                ctx.progress(0.5),
                ctx.step("more", lambda: 1),
                ctx.state_surface.register_artifact(artifact_type="note"),
            ):
                try:
                    await attempt
                except Conflict as error:
                    tried.append(error.code)
        return IntentResult(result={"done": True})

    async with Runtime(still, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        await seen(door, execution_id, "halfway")
        await cancelled(runtime, execution_id)
        await until(lambda: not runtime.worker.running)
        execution = await door.get_execution(execution_id)
    assert tried == ["lease_lost"] * 4
    assert (execution.status, execution.result) == (Status.CANCELLED, None)
    assert (await still.kinds(execution_id))[-1] == "execution_cancelled"


async def test_cancelling_while_a_plain_function_runs_drops_its_result(still: Ground) -> None:
    running, release = threading.Event(), threading.Event()

    def slow() -> int:
        running.set()
        release.wait(10)
        return 1

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(result={"n": await ctx.step("slow", slow)})

    async with Runtime(still, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        await asyncio.to_thread(running.wait, 10)
        await cancelled(runtime, execution_id)
        release.set()
        await until(lambda: not runtime.worker.running)
    assert await still.kinds(execution_id) == ["intent_received", "execution_started", "execution_cancelled"]


async def test_one_that_waits_for_its_next_try_is_cancelled_for_good(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        raise Unreachable("nobody answers")

    policy = RetryPolicy(attempts_max=2, first_delay_s=1000.0, jitter=0.0, delay_max_s=1000.0)
    async with Runtime(base, {"work": declared(work, retry=policy)}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        await seen(door, execution_id, "execution_waiting")
        execution = await cancelled(runtime, execution_id)
        assert (execution.status, execution.waiting_on) == (Status.CANCELLED, None)
        await base.clock.sleep(3000)
    assert (await base.kinds(execution_id)).count("execution_started") == 1
    assert await base.store.next_due_ms() is None


async def test_only_an_operator_cancels_and_only_what_there_is(base: Ground) -> None:
    runtime = Runtime(base, {"work": failing(ValueError)})
    door = runtime.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    with pytest.raises(PolicyDenied):
        await door.cancel(execution_id)
    with pytest.raises(NotFound):
        await cancelled(runtime, "exe_nowhere")
    with pytest.raises(NotFound):
        await runtime.door("globex", "ops", Role.ADMIN).cancel(execution_id)
    assert (await door.get_execution(execution_id)).status is Status.CREATED
    (refusal,) = await runtime.refusals()
    assert (refusal["action"], refusal["policy"]) == ("cancel", "security_guard.role")


async def written(base: Ground, event_type: str) -> str:
    """The execution of the first such event, as soon as that is in the log, told or not."""
    tenant = base.store.tenant("acme")
    (event,) = await until_found(lambda: tenant.events(EventFilter(event_type=event_type), limit=1))
    return event.execution_id or ""


async def test_who_gives_up_waiting_for_a_cancellation_has_cancelled_all_the_same(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await asyncio.Event().wait()
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        await seen(door, execution_id, "execution_started")
        follower = asyncio.ensure_future(ended(door, execution_id))
        asking = asyncio.ensure_future(cancelled(runtime, execution_id))
        await written(base, "execution_cancelled")
        asking.cancel()
        assert (await follower).status is Status.CANCELLED


async def test_who_gives_up_waiting_for_a_submission_may_have_submitted(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        asking = asyncio.ensure_future(submit(door, session.session_id))
        execution_id = await written(base, "intent_received")
        asking.cancel()
        assert (await ended(door, execution_id)).status is Status.COMPLETED


async def test_a_write_of_nobody_is_not_mistaken_for_an_execution(base: Ground) -> None:
    runtime = Runtime(base, {"work": failing(ValueError)})
    await runtime.engine.log.write("acme", [Draft(event_type="policy_decided", payload={"n": 1})])
    with pytest.raises(NotFound):
        await runtime.door().get_execution("exe_nowhere")
