"""Durable steps: run once, remembered for ever, retried as declared."""

import asyncio
import io
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from symphainy.capability import ExecutionContext, IntentRefused, IntentResult, RetryPolicy
from symphainy.errors import ChildFailed, Invalid, PolicyDenied, SymphainyError, TimedOut, Unreachable
from symphainy.model import Execution, JsonObject, Status
from symphainy.runtime import EngineLimits
from tests.runtimes import FILE_AS_TEXT, Ground, Runtime, declared, emitted, ended, run, seen, submit, until

TWICE = RetryPolicy(attempts_max=2, first_delay_s=10.0, jitter=0.0)
THRICE = RetryPolicy(attempts_max=3, first_delay_s=10.0, jitter=0.0)


class Calls(list[str]):
    """Which functions ran, in order."""

    def of(self, name: str, result: Any = None) -> Any:
        async def called(*args: Any) -> Any:
            self.append(name)
            return args if result is None else result

        return called


async def interrupted(base: Ground, handlers: dict[str, Any], after: str, **parameters: Any) -> tuple[str, str]:
    """Run `work` until the event `after` stands in its log, then let the process die. Session and execution."""
    dying = Runtime(base, handlers, owner="dying")
    dying.worker.start()
    door = dying.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id, **parameters)
    await seen(door, execution_id, after)
    await dying.kill()
    return session.session_id, execution_id


async def stuck(ctx: ExecutionContext) -> None:
    """Wait for a death that comes with the first run only."""
    if ctx.attempt == 1:
        await asyncio.Event().wait()


async def test_a_finished_step_is_not_run_again_and_returns_what_it_returned(base: Ground) -> None:
    calls = Calls()
    results: list[Any] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        results.append(await ctx.step("one", calls.of("one", {"a": [1, 2.5, None, "ü"]})))
        await ctx.emit("halfway", {})
        await stuck(ctx)
        results.append(await ctx.step("two", calls.of("two", "second")))
        return IntentResult(result={"results": results[-2:]})

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert calls == ["one", "two"]
    assert results == [{"a": [1, 2.5, None, "ü"]}] * 2 + ["second"]
    assert execution.attempt == 2
    assert execution.result == {"results": [{"a": [1, 2.5, None, "ü"]}, "second"]}


async def test_a_step_that_was_running_when_the_process_died_runs_again(base: Ground) -> None:
    calls = Calls()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def interrupted_once() -> int:
            calls.append("one")
            await stuck(ctx)
            return len(calls)

        await ctx.emit("begun", {})
        return IntentResult(result={"n": await ctx.step("one", interrupted_once)})

    _, execution_id = await interrupted(base, {"work": work}, "begun")
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert execution.status is Status.COMPLETED
    assert calls.count("one") == execution.result["n"]


async def test_a_result_is_the_same_in_the_first_run_and_in_every_other(base: Ground) -> None:
    shapes: list[Any] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def odd() -> Any:
            return {"pair": (1, 2), "nothing": float("nan"), "nested": {"t": ((), (3,))}}

        shapes.append(await ctx.step("odd", odd))
        await ctx.emit("halfway", {})
        await stuck(ctx)
        return IntentResult()

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        await ended(runtime.door(), execution_id)
    assert shapes == [{"pair": [1, 2], "nothing": None, "nested": {"t": [[], [3]]}}] * 2


async def test_what_a_handler_does_with_a_result_does_not_change_the_record(base: Ground) -> None:
    seen_first: list[Any] = []

    async def give() -> list[Any]:
        return [1]

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        rows = await ctx.step("rows", give)
        seen_first.append(list(rows))
        rows.append("spoiled")
        await ctx.emit("spoiled", {})
        await stuck(ctx)
        return IntentResult()

    _, execution_id = await interrupted(base, {"work": work}, "spoiled")
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert seen_first == [[1], [1]]
    assert execution.steps is not None
    assert execution.steps[0].result == [1]


async def test_repeated_names_are_numbered_in_call_order(base: Ground) -> None:
    calls = Calls()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        found = [await ctx.step("page", calls.of(f"page {n}", n)) for n in range(1, 4)]
        await ctx.emit("halfway", {})
        await stuck(ctx)
        return IntentResult(result={"found": found})

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert calls == ["page 1", "page 2", "page 3"]
    assert execution.result == {"found": [1, 2, 3]}
    assert execution.steps is not None
    assert [step.name for step in execution.steps] == ["page", "page#2", "page#3"]


async def test_steps_side_by_side_are_each_remembered_whatever_finishes_first(base: Ground) -> None:
    calls = Calls()
    gates = {name: asyncio.Event() for name in "abc"}

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def one(name: str) -> str:
            calls.append(name)
            if ctx.attempt == 1:
                await gates[name].wait()
            return name.upper()

        found = await asyncio.gather(*(ctx.step(name, one, name) for name in "abc"))
        return IntentResult(result={"found": found})

    dying = Runtime(base, {"work": work}, owner="dying")
    dying.worker.start()
    door = dying.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    recorded = aiter(door.stream(execution_id))
    for name in "ca":
        gates[name].set()
        while (await anext(recorded)).payload.get("name") != name:
            continue
    await dying.kill()
    assert calls == ["a", "b", "c"]
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert calls == ["a", "b", "c", "b"]
    assert execution.result == {"found": ["A", "B", "C"]}
    assert execution.steps is not None
    assert [step.name for step in execution.steps] == ["c", "a", "b"]


async def test_a_plain_function_runs_off_the_event_loop(still: Ground) -> None:
    def where(*args: int) -> list[Any]:
        return [threading.current_thread() is threading.main_thread(), sum(args)]

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(result={"found": await ctx.step("where", where, 1, 2)})

    async with Runtime(still, {"work": work}) as runtime:
        assert (await run(runtime.door())).result == {"found": [False, 3]}


async def test_ids_made_in_a_plain_function_are_those_of_its_step(still: Ground) -> None:
    made: list[list[str]] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        outside = ctx.new_id("doc")
        inside = await ctx.step("ids", lambda: [ctx.new_id("doc"), ctx.new_id("doc")])
        made.append([outside, *inside, ctx.new_id("doc"), ctx.idempotency_key("pay"), ctx.idempotency_key("ship")])
        if ctx.attempt == 1:
            raise Unreachable("once more")
        return IntentResult()

    async with Runtime(still, {"work": declared(work, retry=TWICE)}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        await seen(door, execution_id, "execution_waiting")
        await still.clock.until_sleeping()
        await still.clock.advance(10)
        assert (await ended(door, execution_id)).status is Status.COMPLETED
    assert made[0] == made[1]
    assert len(set(made[0])) == 6


@pytest.mark.parametrize("size", [0, 10, 100_000, 600_000])
async def test_bytes_and_large_results_move_to_blobs_and_come_back(base: Ground, size: int) -> None:
    data, text = bytes(range(256)) * (size // 256 + 1), "x y " * (size // 4)
    results: list[Any] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def give(value: Any) -> Any:
            return value

        results.append((await ctx.step("bytes", give, data), await ctx.step("text", give, {"text": text})))
        await ctx.emit("halfway", {})
        await stuck(ctx)
        return IntentResult()

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert results == [(data, {"text": text})] * 2
    assert execution.steps is not None
    first, second = execution.steps
    assert (first.is_bytes, first.result, first.result_blob is None) == (True, None, False)
    assert (second.result_blob is None) == (size < 65_536)
    assert all(len(str(event.payload)) < 70_000 for event in await base.log(execution_id))


@dataclass
class Login:
    password: str


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ({"access_token": "abc"}, PolicyDenied),
        ({"deep": [{"private_key": "abc"}]}, PolicyDenied),
        ({"file": b"raw bytes"}, PolicyDenied),
        ({"file": FILE_AS_TEXT}, PolicyDenied),
        (Login("hunter2"), PolicyDenied),
        ({"object": object()}, Invalid),
        ({1: "a number as a key"}, Invalid),
    ],
)
async def test_a_result_that_may_not_be_recorded_fails_the_step_that_made_it(
    base: Ground, result: Any, error: type[SymphainyError]
) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def give() -> Any:
            return result

        await ctx.step("give", give)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.status is Status.FAILED
    assert execution.error is not None
    assert execution.error.code == error.code
    assert "hunter2" not in str(await base.log(execution.execution_id))


async def test_a_step_within_a_step_is_refused(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def outer() -> None:
            await ctx.step("inner", lambda: 1)

        await ctx.step("outer", outer)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert "inside another step" in execution.error.message


# --- failing and trying again ---


async def test_a_step_that_is_tried_again_parks_the_execution_until_its_time(still: Ground) -> None:
    tries: list[int] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def flaky() -> str:
            tries.append(still.clock.now_ms())
            if len(tries) < 3:
                raise Unreachable("not yet")
            return "there"

        await ctx.step("before", lambda: 1)
        return IntentResult(result={"found": await ctx.step("flaky", flaky, retry=THRICE)})

    async with Runtime(still, {"work": work}) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await submit(door, session.session_id)
        waiting = await seen(door, execution_id, "execution_waiting")
        begun = still.clock.now_ms()
        assert waiting.payload["waiting_on"] == {
            "kind": "retry",
            "until": "2026-01-01T00:00:10.000Z",
            "reason": "attempt 1 of 3 failed; again after 10.000 s",
            "step": "flaky",
        }
        execution = await door.get_execution(execution_id)
        assert (execution.status, execution.waiting_on) == (Status.RUNNING, waiting.payload["waiting_on"])
        for turn, seconds in enumerate((10, 20)):
            await still.clock.until_sleeping()
            await still.clock.advance(seconds - 0.001)
            assert len(tries) == turn + 1
            await still.clock.advance(0.001)
            await until(lambda: len(tries) == turn + 2)  # noqa: B023 - it is awaited in this very turn
        execution = await ended(door, execution_id)
    assert tries == [begun, begun + 10_000, begun + 30_000]
    assert (execution.result, execution.attempt, execution.waiting_on) == ({"found": "there"}, 3, None)
    assert execution.steps is not None
    assert [(step.name, step.status, step.attempt, step.error) for step in execution.steps] == [
        ("before", "completed", 1, None),
        ("flaky", "failed", 1, "not yet"),
        ("flaky", "failed", 2, "not yet"),
        ("flaky", "completed", 3, None),
    ]


async def test_when_its_tries_are_spent_a_step_fails_for_good(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def hopeless() -> None:
            raise Unreachable("nobody answers", host="example")

        await ctx.step("call", hopeless, retry=THRICE)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert (execution.error.code, execution.error.message) == ("unreachable", "nobody answers")
    assert execution.error.details == {"host": "example"}
    failures = [e.payload for e in await base.log(execution.execution_id) if e.event_type == "step_failed"]
    assert [(payload["attempt"], payload["final"]) for payload in failures] == [(1, False), (2, False), (3, True)]
    assert failures[-1]["reason"] == "tried 3 times, as often as the policy allows"


async def test_what_is_not_retryable_is_not_tried_again(base: Ground) -> None:
    calls = Calls()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def refuse() -> None:
            calls.append("refuse")
            raise IntentRefused("no_such_page", "there is no page 9", {"page": 9})

        await ctx.step("refuse", refuse, retry=THRICE)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert calls == ["refuse"]
    assert execution.error is not None
    assert (execution.error.code, execution.error.details) == ("no_such_page", {"page": 9})


async def test_a_handler_may_go_on_after_a_step_that_failed(base: Ground) -> None:
    calls = Calls()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def fail() -> None:
            calls.append("fail")
            raise IntentRefused("no", "not this way")

        try:
            await ctx.step("first", fail)
        except IntentRefused as error:
            way = error.code
        else:
            way = "open"
        await ctx.emit("halfway", {})
        await stuck(ctx)
        return IntentResult(result={"way": way, "second": await ctx.step("second", calls.of("second", 2))})

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert (calls, execution.result) == (["fail", "second"], {"way": "no", "second": 2})


@pytest.mark.parametrize(
    "error",
    [
        IntentRefused("gone", "it is gone", {"id": "a"}, retryable=True),
        IntentRefused("gone", "it is gone"),
        Unreachable("nobody answers", host="example"),
        PolicyDenied("refused", policy="p", reason="r"),
        ChildFailed("out of memory", reason="memory"),
        TimedOut("too long", timeout_s=1.0),
        ValueError("not a number"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failure_is_the_same_to_the_handler_after_a_crash(base: Ground, error: Exception) -> None:
    met: list[tuple[str, str, Any, bool]] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def fail() -> None:
            raise error

        try:
            await ctx.step("fail", fail)
        except SymphainyError as caught:
            kind = type(caught) if isinstance(error, SymphainyError) else type(error)
            met.append((kind.__name__, str(caught), caught.details, caught.retryable))
        except ValueError as caught:
            met.append((type(caught).__name__, f"ValueError: {caught}", {}, False))
        await ctx.emit("halfway", {})
        await stuck(ctx)
        return IntentResult()

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        await ended(runtime.door(), execution_id)
    assert met[0] == met[1]


async def test_a_failure_that_was_recorded_before_a_crash_still_decides_whether_the_intent_is_tried_again(
    base: Ground,
) -> None:
    handled: list[int] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def fail() -> None:
            if ctx.attempt < 3:
                raise Unreachable("nobody answers")

        try:
            await ctx.step("fail", fail)
        except SymphainyError:
            handled.append(ctx.attempt)
            await ctx.emit("failed_once", {})
            await stuck(ctx)
            raise
        return IntentResult(result={"attempt": ctx.attempt})

    handlers = {"work": declared(work, retry=TWICE)}
    _, execution_id = await interrupted(base, handlers, "failed_once")
    async with Runtime(base, handlers) as runtime:
        execution = await ended(runtime.door(), execution_id)
    assert (handled, execution.status, execution.attempt) == ([1, 2], Status.COMPLETED, 3)


async def test_a_step_out_of_time_fails_and_is_retryable(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.step("slow", base.clock.sleep, 100.0, timeout_s=5.0)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert (execution.error.code, execution.error.message) == ("timed_out", "step 'slow' took longer than 5 s")
    assert execution.error.retryable
    assert base.clock.monotonic() >= 5.0


async def test_a_time_out_of_the_steps_own_is_not_renamed(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def fail() -> None:
            raise TimeoutError("the socket")

        await ctx.step("socket", fail, timeout_s=5.0)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert (execution.error.code, execution.error.message) == ("handler_failed", "TimeoutError: the socket")


async def test_one_of_several_in_a_task_group_can_be_tried_again(base: Ground) -> None:
    calls = Calls()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def flaky() -> int:
            calls.append("flaky")
            if ctx.attempt == 1:
                raise Unreachable("not yet")
            return 1

        async with asyncio.TaskGroup() as group:
            steady = group.create_task(ctx.step("steady", calls.of("steady", 2)))
            shaky = group.create_task(ctx.step("flaky", flaky, retry=TWICE))
        return IntentResult(result={"sum": steady.result() + shaky.result()})

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert (execution.result, execution.attempt) == ({"sum": 3}, 2)


async def test_an_error_out_of_a_task_group_keeps_its_code(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def fail() -> None:
            raise IntentRefused("no_such_page", "there is no page 9", {"page": 9})

        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step("one", fail))
            group.create_task(asyncio.Event().wait())
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert (execution.error.code, execution.error.details) == ("no_such_page", {"page": 9})


# --- events of the handler's own ---


async def test_events_and_progress_are_written_once_however_often_the_handler_runs(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def inside() -> None:
            await ctx.emit("counted", {"inside": True})
            await ctx.progress(0.4, "inside")

        await ctx.emit("counted", {"n": 1})
        await ctx.progress(0.25)
        await ctx.step("inside", inside)
        await ctx.wal.append("counted", {"n": 2})
        if ctx.attempt < 3:
            raise Unreachable("once more")
        await ctx.emit("counted", {"n": 3})
        await ctx.progress(1.0, "done")
        return IntentResult(events=[("finished", {"all": True})])

    async with Runtime(base, {"work": declared(work, retry=THRICE)}) as runtime:
        execution = await run(runtime.door())
    assert emitted(execution) == [
        ("counted", {"n": 1}),
        ("counted", {"inside": True}),
        ("counted", {"n": 2}),
        ("counted", {"n": 3}),
        ("finished", {"all": True}),
    ]
    progress = [e.payload for e in await base.log(execution.execution_id) if e.event_type == "execution_progress"]
    assert progress == [
        {"fraction": 0.25, "message": ""},
        {"fraction": 0.4, "message": "inside"},
        {"fraction": 1.0, "message": "done"},
    ]
    assert execution.progress is not None
    assert (execution.progress.fraction, execution.progress.message) == (1.0, "done")


async def test_what_a_failed_step_emitted_is_not_told(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        async def fail() -> None:
            await ctx.emit("counted", {"lost": True})
            if ctx.attempt == 1:
                raise Unreachable("once more")

        await ctx.step("fail", fail, retry=TWICE)
        await ctx.emit("counted", {"lost": False})
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert emitted(execution) == [("counted", {"lost": True}), ("counted", {"lost": False})]
    assert (await base.kinds(execution.execution_id)).count("counted") == 2


@pytest.mark.parametrize(
    ("event_type", "payload", "code"),
    [
        ("execution_completed", {}, "validation_failed"),
        ("step_completed", {"name": "x"}, "validation_failed"),
        ("session_updated", {}, "validation_failed"),
        ("Not A Name", {}, "validation_failed"),
        ("counted", {"password": "hunter2"}, "policy_denied"),
        ("counted", {"content": FILE_AS_TEXT}, "policy_denied"),
        ("counted", {"object": object()}, "validation_failed"),
    ],
)
async def test_a_handler_cannot_say_what_only_the_runtime_says_or_nobody_may(
    base: Ground, event_type: str, payload: JsonObject, code: str
) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.emit(event_type, payload)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert execution.error.code == code
    assert emitted(execution) == []
    assert "hunter2" not in str(await base.log(execution.execution_id))


@pytest.mark.parametrize("what", ["emitted", "returned", "session state", "a change", "execution state"])
async def test_what_is_no_object_fails_the_execution_and_poisons_nothing(base: Ground, what: str) -> None:
    wrong: Any = ["no", "object"]

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        state = ctx.state_surface
        match what:
            case "emitted":
                await ctx.emit("counted", wrong)
            case "returned":
                return IntentResult(events=[("counted", wrong)])
            case "session state":
                await state.set_session_state(ctx.session_id, ctx.tenant_id, wrong)
            case "a change":
                await state.update_session_state(ctx.session_id, ctx.tenant_id, wrong)
            case _:
                await state.set_execution_state(ctx.execution_id, ctx.tenant_id, wrong)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        door = runtime.door()
        execution = await run(door)
        assert execution.error is not None
        assert (execution.status, execution.error.code) == (Status.FAILED, "validation_failed")
        assert [each.execution_id for each in (await door.list_executions()).items] == [execution.execution_id]
        assert (await door.get_session(execution.session_id)).context == {}


async def test_a_returned_event_may_have_the_form_in_which_it_is_shown(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(events=[{"event_type": "counted", "payload": {"n": 1}}, ("summed", {})])

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert [(each.event_type, each.payload) for each in execution.events] == [("counted", {"n": 1}), ("summed", {})]


async def test_an_open_file_goes_into_the_blob_store(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        kept = await ctx.blobs.put(io.BytesIO(b"green tea" * 100_000))
        return IntentResult(result={"size": kept.size_bytes})

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.result == {"size": 900_000}


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan")])
async def test_progress_is_a_fraction(base: Ground, fraction: float) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.progress(fraction)
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert execution.error is not None
    assert execution.error.code == "validation_failed"


async def test_what_is_changed_after_it_was_emitted_was_emitted_as_it_stood(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        rows = [1]
        await ctx.emit("counted", {"rows": rows})
        rows.append(2)

        async def inside() -> None:
            await ctx.emit("counted", {"rows": rows})
            rows.append(3)

        await ctx.step("inside", inside)
        return IntentResult(result={"rows": rows})

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert emitted(execution) == [("counted", {"rows": [1]}), ("counted", {"rows": [1, 2]})]
    assert execution.result == {"rows": [1, 2, 3]}


async def test_an_execution_keeps_its_first_events_and_the_log_keeps_all(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        for n in range(300):
            await ctx.emit("counted", {"n": n})
        return IntentResult()

    async with Runtime(base, {"work": work}) as runtime:
        execution = await run(runtime.door())
    assert [payload["n"] for _, payload in emitted(execution)] == list(range(256))
    assert (await base.kinds(execution.execution_id)).count("counted") == 300


# --- steps that the new run does not ask for ---


async def test_a_step_that_the_new_run_never_asks_for_is_reported(base: Ground) -> None:
    calls = Calls()

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        if ctx.attempt == 1:
            await ctx.step("old", calls.of("old"))
            await ctx.step("old", calls.of("old"))
            await ctx.emit("halfway", {})
            await stuck(ctx)
        await ctx.step("new", calls.of("new"))
        return IntentResult()

    _, execution_id = await interrupted(base, {"work": work}, "halfway")
    async with Runtime(base, {"work": work}) as runtime:
        execution: Execution = await ended(runtime.door(), execution_id)
    assert (execution.status, execution.unasked_steps) == (Status.COMPLETED, ("old", "old#2"))
    assert calls == ["old", "old", "new"]


async def test_small_inline_limits_are_kept_to(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        return IntentResult(result={"found": await ctx.step("text", lambda: "x" * 50)})

    async with Runtime(base, {"work": work}, limits=EngineLimits(inline_bytes_max=20)) as runtime:
        execution = await run(runtime.door())
    assert execution.steps is not None
    assert execution.steps[0].result_blob is not None
    assert execution.result == {"found": "x" * 50}
