"""Streams: every event of an execution once and in order, from any point on, to its end."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capability import ExecutionContext, IntentResult
from symphainy.errors import NotFound
from symphainy.model import TERMINAL_EVENTS, Draft, Event, Role, Status
from symphainy.public_works.hot_memory import MemoryHot
from symphainy.runtime.api import RuntimeDoor
from symphainy.runtime.following import follow
from tests.runtimes import Ground, Runtime, ended, run, searched, submit

SHARED = searched(60)


async def talk(ctx: ExecutionContext, params: Any) -> IntentResult:
    for n in range(params.count):
        await ctx.emit("said", {"n": n})
    return IntentResult(result={"said": params.count})


async def all_of(door: RuntimeDoor, execution_id: str, after: int | None = 0) -> list[Event]:
    return [event async for event in door.stream(execution_id, after=after)]


async def said(runtime: Runtime, session_id: str, execution_id: str, count: int, *, told: bool = True) -> None:
    """Events of the execution from elsewhere, with or without whoever listens being told."""
    drafts = [
        Draft(event_type="said", payload={"n": n}, session_id=session_id, execution_id=execution_id)
        for n in range(count)
    ]
    await (runtime.engine.log if told else _Silent(runtime)).write("acme", drafts)


class _Silent:
    def __init__(self, runtime: Runtime) -> None:
        self._store = runtime.ground.store

    async def write(self, tenant_id: str, drafts: list[Draft]) -> None:
        await self._store.tenant(tenant_id).write(drafts)


async def begun(runtime: Runtime) -> tuple[RuntimeDoor, str, str]:
    """An execution that nobody runs: its door, its session, its id."""
    door = runtime.door()
    session = await door.create_session()
    return door, session.session_id, await submit(door, session.session_id, count=0)


async def cancel(runtime: Runtime, execution_id: str) -> None:
    await runtime.door("acme", "ops", Role.OPERATOR).cancel(execution_id)


async def test_a_new_subscriber_gets_a_snapshot_and_what_follows(base: Ground) -> None:
    runtime = Runtime(base, {"work": talk})
    door, session_id, execution_id = await begun(runtime)
    await said(runtime, session_id, execution_id, 2)
    async with aclosing(door.stream(execution_id)) as stream:
        snapshot = await anext(stream)
        assert (snapshot.event_type, snapshot.seq, snapshot.position) == ("snapshot", 3, 4)
        assert snapshot.payload["status"] == "created"
        assert [event["payload"] for event in snapshot.payload["events"]] == [{"n": 0}, {"n": 1}]
        await said(runtime, session_id, execution_id, 1)
        assert (await anext(stream)).seq == 4
        await cancel(runtime, execution_id)
        assert [event.event_type async for event in stream] == ["execution_cancelled"]


async def test_of_an_ended_execution_comes_the_snapshot_before_its_end_and_the_end(base: Ground) -> None:
    async with Runtime(base, {"work": talk}) as runtime:
        execution = await run(runtime.door(), count=2)
        snapshot, terminal = await all_of(runtime.door(), execution.execution_id, after=None)
        log = await base.log(execution.execution_id)
    assert terminal == log[-1]
    assert (snapshot.seq, snapshot.event_type) == (len(log) - 1, "snapshot")
    assert (snapshot.payload["status"], snapshot.payload["result"]) == ("running", None)
    assert snapshot.payload["completed_at"] is None
    assert len(snapshot.payload["events"]) == 2


async def test_a_snapshot_shows_nothing_internal(base: Ground) -> None:
    async with Runtime(base, {"work": talk}) as runtime:
        execution = await run(runtime.door(), count=0)
        snapshot, _ = await all_of(runtime.door(), execution.execution_id, after=None)
    assert {"ordinal", "state", "steps"}.isdisjoint(snapshot.payload)
    assert snapshot.payload["execution_id"] == execution.execution_id


@SHARED
@given(after=st.integers(0, 20), count=st.integers(0, 12))
async def test_resumed_from_anywhere_an_ended_stream_gives_the_rest_once(base: Ground, after: int, count: int) -> None:
    async with Runtime(base, {"work": talk}) as runtime:
        execution = await run(runtime.door(), count=count)
        log = await base.log(execution.execution_id)
        assert await all_of(runtime.door(), execution.execution_id, after=after) == log[after:]
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert log[-1].event_type == "execution_completed"


@pytest.mark.parametrize("count", [498, 499, 1200])
async def test_a_stream_longer_than_a_page_is_complete(base: Ground, count: int) -> None:
    runtime = Runtime(base, {"work": talk})
    door, session_id, execution_id = await begun(runtime)
    await said(runtime, session_id, execution_id, count)
    running = asyncio.ensure_future(all_of(door, execution_id, after=1))
    await asyncio.sleep(0)
    await cancel(runtime, execution_id)
    log = await base.log(execution_id)
    assert len(log) == count + 2
    assert await running == log[1:]
    assert await all_of(door, execution_id, after=1) == log[1:]


@SHARED
@given(data=st.data())
async def test_while_it_is_written_everybody_gets_every_event_once_and_in_order(
    base: Ground, data: st.DataObject
) -> None:
    """Writers in parallel, some of whom nobody is told of; listeners that join at any time and resume at any point."""
    runtime = Runtime(base, {"work": talk}, hot=MemoryHot(clock=base.clock, queue_max=data.draw(st.integers(1, 20))))
    door, session_id, execution_id = await begun(runtime)
    listeners: list[tuple[int, asyncio.Task[list[Event]]]] = []
    writers: list[asyncio.Task[None]] = []

    def listen(after: int) -> None:
        listeners.append((after, asyncio.ensure_future(all_of(door, execution_id, after))))

    for _ in range(data.draw(st.integers(1, 12))):
        match data.draw(st.sampled_from(["listen", "write", "write", "silent", "turn"])):
            case "listen":
                listen(data.draw(st.integers(0, 6)))
            case "write":
                count = data.draw(st.integers(1, 4))
                writers.append(asyncio.ensure_future(said(runtime, session_id, execution_id, count)))
            case "silent":
                writers.append(asyncio.ensure_future(said(runtime, session_id, execution_id, 1, told=False)))
            case "turn":
                await asyncio.sleep(0)
    listen(0)
    await asyncio.gather(*writers)
    await cancel(runtime, execution_id)
    log = await base.log(execution_id)
    for after, listening in listeners:
        assert [event.seq for event in await listening] == [event.seq for event in log[after:]]
        assert listening.result() == log[after:]


async def test_a_slow_listener_misses_nothing_and_reads_the_log_once_it_is_behind(base: Ground) -> None:
    runtime = Runtime(base, {"work": talk}, hot=MemoryHot(clock=base.clock, queue_max=3))
    _, session_id, execution_id = await begun(runtime)
    reads = 0
    tenant = base.store.tenant("acme")

    class Counting:
        tenant_id = "acme"
        execution_at = tenant.execution_at

        async def execution_events(self, execution_id: str, *, after: int = 0, limit: int) -> tuple[Event, ...]:
            nonlocal reads
            reads += 1
            return await tenant.execution_events(execution_id, after=after, limit=limit)

    got: list[int | None] = []
    async with aclosing(follow(Counting(), runtime.hot, execution_id, after=0)) as stream:  # type: ignore[arg-type]
        got.append((await anext(stream)).seq)
        following = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await said(runtime, session_id, execution_id, 10)
        got.append((await following).seq)
        got += [(await anext(stream)).seq for _ in range(9)]
        behind = reads
        for _ in range(20):
            following = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            await said(runtime, session_id, execution_id, 1)
            got.append((await following).seq)
    assert got == list(range(1, 32))
    # Once it has caught up it lives on what it is told.
    assert (behind <= 4, reads <= behind + 2) == (True, True)


async def test_who_resumes_beyond_the_end_gets_nothing_and_is_let_go(base: Ground) -> None:
    runtime = Runtime(base, {"work": talk})
    door, _, execution_id = await begun(runtime)
    waiting = [asyncio.ensure_future(all_of(door, execution_id, after)) for after in (2, 3, 99)]
    await asyncio.sleep(0)
    await cancel(runtime, execution_id)
    for listening in waiting:
        assert await listening == []
    for after in (2, 3, 99):
        assert await all_of(door, execution_id, after) == []


async def test_a_lost_hot_state_delays_nothing(base: Ground) -> None:
    runtime = Runtime(base, {"work": talk})
    door, session_id, execution_id = await begun(runtime)
    listening = asyncio.ensure_future(all_of(door, execution_id, 0))
    await asyncio.sleep(0)
    await said(runtime, session_id, execution_id, 3, told=False)
    await cancel(runtime, execution_id)
    assert [event.seq for event in await listening] == [1, 2, 3, 4, 5]


async def test_nobody_follows_what_is_not_there_or_not_theirs(base: Ground) -> None:
    runtime = Runtime(base, {"work": talk})
    _, session_id, execution_id = await begun(runtime)
    stranger = runtime.door("acme", "anonymous", Role.ANONYMOUS, session_id="ses_other")
    for door, wanted in (
        (runtime.door(), "exe_nowhere"),
        (runtime.door("globex", "ops", Role.ADMIN), execution_id),
        (stranger, execution_id),
    ):
        for after in (None, 0, 99):
            with pytest.raises(NotFound):
                await all_of(door, wanted, after)
    own = runtime.door("acme", "anonymous", Role.ANONYMOUS, session_id=session_id)
    async with aclosing(own.stream(execution_id)) as stream:
        assert (await anext(stream)).event_type == "snapshot"


async def test_hanging_up_cancels_nothing_and_leaves_nobody_listening(base: Ground) -> None:
    async with Runtime(base, {"work": talk}) as runtime:
        door, _, execution_id = await begun(runtime)
        async with aclosing(door.stream(execution_id)) as stream:
            await anext(stream)
        assert (await ended(door, execution_id)).status is Status.COMPLETED
        assert runtime.hot._fanout.channels == frozenset()


async def test_waiting_ends_with_the_execution_or_with_the_time(base: Ground) -> None:
    runtime = Runtime(base, {"work": talk})
    door, _, execution_id = await begun(runtime)
    assert (await door.wait(execution_id, timeout_s=0.01)).status is Status.CREATED
    waiting = asyncio.ensure_future(door.wait(execution_id, timeout_s=60))
    await asyncio.sleep(0)
    await cancel(runtime, execution_id)
    assert (await waiting).status is Status.CANCELLED
    assert (await door.wait(execution_id, timeout_s=60)).status is Status.CANCELLED
    with pytest.raises(NotFound):
        await door.wait("exe_nowhere", timeout_s=60)
    assert runtime.hot._fanout.channels == frozenset()


async def test_exactly_one_event_ends_an_execution(base: Ground) -> None:
    async with Runtime(base, {"work": talk}) as runtime:
        execution = await run(runtime.door(), count=3)
    kinds = await base.kinds(execution.execution_id)
    assert [kind for kind in kinds if kind in TERMINAL_EVENTS] == [kinds[-1]]
