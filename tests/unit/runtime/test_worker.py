"""Who runs what: claims, leases, fences, and what happens when a worker stops, dies or falls behind."""

import asyncio
from typing import Any

import pytest

from symphainy.capability import ExecutionContext, IntentResult, RetryPolicy
from symphainy.door import IntentRequest
from symphainy.errors import StoreFailed, Unreachable
from symphainy.model import Status
from symphainy.model.instant import instant
from symphainy.ports import Claim, Holds, Store
from symphainy.public_works.hot_memory import MemoryHot
from symphainy.runtime import EngineLimits
from symphainy.runtime.wal import replay_against_store, verify
from tests.runtimes import Ground, Runtime, declared, ended, run, submit, until

LEASE_S = 30.0


async def quick(ctx: ExecutionContext, params: Any) -> IntentResult:
    return IntentResult(result={"attempt": ctx.attempt})


class Gate:
    """A handler that waits to be let through, and says who ran it."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.entered: list[int] = []
        self.stopped: list[int] = []

    async def handler(self, ctx: ExecutionContext, params: Any) -> IntentResult:
        self.entered.append(ctx.attempt)
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.stopped.append(ctx.attempt)
            raise
        await ctx.emit("through", {"attempt": ctx.attempt})
        return IntentResult(result={"attempt": ctx.attempt})


async def entered(runtime: Runtime, gate: Gate, count: int = 1) -> str:
    door = runtime.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    await until(lambda: len(gate.entered) >= count)
    return execution_id


async def claimed(store: Store, owner: str = "other") -> tuple[Claim, ...]:
    return await store.claim(owner, limit=100, lease_s=LEASE_S, running_max=1000)


# --- leases ---


async def test_a_worker_keeps_the_leases_of_what_it_runs(still: Ground) -> None:
    gate = Gate()
    async with Runtime(still, {"work": gate.handler}, limits=EngineLimits(lease_s=LEASE_S)) as runtime:
        execution_id = await entered(runtime, gate)
        for _ in range(20):
            await still.clock.until_sleeping()
            await still.clock.advance(LEASE_S / 2)
            assert await claimed(still.store) == ()
        gate.opened.set()
        assert (await ended(runtime.door(), execution_id)).result == {"attempt": 1}
    assert gate.entered == [1]


async def test_a_worker_that_was_presumed_dead_can_write_nothing_and_is_stopped(still: Ground) -> None:
    """The first engine stands still for longer than its lease; a second takes over and finishes."""
    slow, fast = Gate(), Gate()
    first = Runtime(still, {"work": slow.handler}, owner="first", limits=EngineLimits(lease_s=LEASE_S))
    first.worker.start()
    execution_id = await entered(first, slow)
    assert first.worker._renewing is not None
    assert first.worker._loop is not None
    for task in (first.worker._renewing, first.worker._loop):
        task.cancel()
    await still.clock.advance(LEASE_S)
    async with Runtime(still, {"work": fast.handler}, owner="second") as second:
        await until(lambda: fast.entered == [2])
        fast.opened.set()
        assert (await ended(second.door(), execution_id)).result == {"attempt": 2}
    slow.opened.set()
    await until(lambda: not first.worker.running)
    assert [e.payload for e in await still.log(execution_id) if e.event_type == "through"] == [{"attempt": 2}]
    assert (await still.kinds(execution_id)).count("execution_completed") == 1
    await first.kill()


async def test_a_handler_whose_lease_was_taken_is_stopped_at_the_next_renewal(still: Ground) -> None:
    gate = Gate()
    async with Runtime(still, {"work": gate.handler}, limits=EngineLimits(lease_s=LEASE_S)) as runtime:
        execution_id = await entered(runtime, gate)
        await still.store.release("w1")
        (taken,) = await claimed(still.store)
        await still.clock.until_sleeping()
        await still.clock.advance(LEASE_S / 3)
        await until(lambda: not runtime.worker.running)
        assert gate.stopped == [1]
        held = Holds(execution_id=execution_id, fence=taken.fence)
        await still.store.tenant("acme").write([], guards=[held])


async def test_a_worker_that_slept_through_its_own_lease_runs_what_it_had_again_once(still: Ground) -> None:
    """The whole process stood still, as when a laptop sleeps: it takes over from itself."""
    gate = Gate()
    async with Runtime(still, {"work": gate.handler}, limits=EngineLimits(lease_s=LEASE_S)) as runtime:
        execution_id = await entered(runtime, gate)
        assert runtime.worker._renewing is not None
        runtime.worker._renewing.cancel()
        await still.clock.advance(LEASE_S)
        runtime.engine.log.on_work()
        await until(lambda: gate.entered == [1, 2])
        await until(lambda: runtime.worker.running == 1)
        assert gate.stopped == [1]
        gate.opened.set()
        assert (await ended(runtime.door(), execution_id)).result == {"attempt": 2}
        await until(lambda: not runtime.worker.running)
        assert runtime.worker.running_of("acme") == 0


async def test_what_parks_itself_for_no_time_is_run_again_without_confusion(base: Ground) -> None:
    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        if ctx.attempt < 20:
            raise Unreachable("again")
        return IntentResult(result={"attempt": ctx.attempt})

    at_once = RetryPolicy(attempts_max=50, first_delay_s=0.0, jitter=0.0)
    async with Runtime(base, {"work": declared(work, retry=at_once)}) as runtime:
        found = await asyncio.gather(*(run(runtime.door()) for _ in range(5)))
        await until(lambda: not runtime.worker.running)
        assert (runtime.worker.running_of("acme"), runtime.worker._running) == (0, {})
    assert [execution.result for execution in found] == [{"attempt": 20}] * 5


async def test_two_engines_on_one_store_share_the_work_and_do_none_of_it_twice(base: Ground) -> None:
    ran: list[str] = []

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        ran.append(ctx.execution_id)
        await ctx.step("one", lambda: 1)
        return IntentResult()

    limits, hot = EngineLimits(workers=3), MemoryHot(clock=base.clock)
    one = Runtime(base, {"work": work}, owner="one", limits=limits, hot=hot)
    door = one.door()
    session = await door.create_session()
    ids = [await submit(door, session.session_id) for _ in range(30)]
    async with one, Runtime(base, {"work": work}, owner="two", limits=limits, hot=hot):
        for execution_id in ids:
            assert (await ended(door, execution_id)).status is Status.COMPLETED
    assert sorted(ran) == sorted(ids)
    started = [e.payload["owner"] for each in ids for e in await base.log(each) if e.event_type == "execution_started"]
    assert set(started) == {"one", "two"}
    assert (await replay_against_store(base.store.tenant("acme"))).differences == ()


# --- stopping ---


async def test_a_graceful_stop_hands_its_leases_back_at_once(still: Ground) -> None:
    gate = Gate()
    async with Runtime(still, {"work": gate.handler}) as runtime:
        execution_id = await entered(runtime, gate)
    assert gate.stopped == [1]
    assert (await still.kinds(execution_id))[-1] == "execution_started"
    gate.opened.set()
    async with Runtime(still, {"work": gate.handler}, owner="next") as runtime:
        assert (await ended(runtime.door(), execution_id)).result == {"attempt": 2}
    assert still.clock.monotonic() == 0.0


async def test_a_graceful_stop_lets_handlers_finish(still: Ground) -> None:
    gate = Gate()
    runtime = Runtime(still, {"work": gate.handler})
    runtime.worker.start()
    execution_id = await entered(runtime, gate)
    later = await submit(runtime.door(), (await runtime.door().create_session()).session_id)
    stopping = asyncio.ensure_future(runtime.worker.stop(grace_s=60))
    await asyncio.sleep(0)
    gate.opened.set()
    await stopping
    execution = await runtime.door().get_execution(execution_id)
    assert (execution.status, gate.stopped) == (Status.COMPLETED, [])
    await runtime.worker.stop(grace_s=0)
    assert (await runtime.door().get_execution(later)).status in (Status.CREATED, Status.COMPLETED)


async def test_nothing_is_claimed_once_it_stops(still: Ground) -> None:
    runtime = Runtime(still, {"work": quick})
    runtime.worker.start()
    await runtime.worker.stop(grace_s=0)
    door = runtime.door()
    execution_id = await submit(door, (await door.create_session()).session_id)
    assert len(await claimed(still.store)) == 1
    assert (await still.kinds(execution_id)) == ["intent_received", "execution_started"]


class Watched:
    """A store, and how often it was asked for work."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.claims = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def claim(self, *args: Any, **options: Any) -> tuple[Claim, ...]:
        self.claims += 1
        return await self._store.claim(*args, **options)


async def test_an_idle_worker_asks_for_nothing(still: Ground) -> None:
    """No polling: with nothing due there is no sleeper, and with something due later there is one."""
    watched = Watched(still.store)
    store: Any = watched
    async with Runtime(still, {"work": quick}, store=store) as runtime:
        door = runtime.door()
        await run(door)
        session = await door.create_session()
        await until(lambda: not runtime.worker.running)
        await still.clock.advance(LEASE_S)
        assert still.clock.sleeping == 0
        later = instant(still.clock.now_ms() + 3_600_000)
        request = IntentRequest(intent_type="work", session_id=session.session_id, metadata={"not_before": later})
        submitted = await door.submit(request)
        await still.clock.until_sleeping()
        before = watched.claims
        await still.clock.advance(3599)
        assert (watched.claims, still.clock.sleeping) == (before, 1)
        await still.clock.advance(1)
        assert (await ended(door, submitted.execution_id)).started_at == later


async def test_work_held_up_by_a_limit_does_not_keep_a_worker_busy(still: Ground) -> None:
    gate = Gate()
    async with Runtime(still, {"work": gate.handler}, limits=EngineLimits(running_max=1)) as runtime:
        await entered(runtime, gate)
        session = await runtime.door().create_session()
        second = await submit(runtime.door(), session.session_id)
        await still.clock.until_sleeping()
        before = await still.store.tenant("acme").head()
        for _ in range(500):
            await asyncio.sleep(0)
        assert (await still.store.tenant("acme").head(), len(gate.entered)) == (before, 1)
        gate.opened.set()
        assert (await ended(runtime.door(), second)).status is Status.COMPLETED


async def test_work_held_up_by_its_key_or_its_time_says_so(still: Ground) -> None:
    gate = Gate()
    async with Runtime(still, {"work": gate.handler}) as runtime:
        door = runtime.door()
        session = await door.create_session()

        async def asked(**metadata: Any) -> str:
            request = IntentRequest(intent_type="work", session_id=session.session_id, metadata=metadata)
            return (await door.submit(request)).execution_id

        first = await asked(concurrency_key="press")
        await until(lambda: gate.entered)
        second = await asked(concurrency_key="press")
        later = instant(still.clock.now_ms() + 60_000)
        third = await asked(not_before=later)
        assert (await door.get_execution(second)).waiting_on == {
            "kind": "limit",
            "policy": "concurrency_key",
            "reason": f"execution {first} runs under the concurrency key 'press'",
        }
        assert (await door.get_execution(third)).waiting_on == {"kind": "timer", "until": later}
        gate.opened.set()
        assert (await ended(door, second)).waiting_on is None


# --- a store that fails ---


class Failing:
    """A store that cannot write for a while."""

    def __init__(self, store: Store, *, retryable: bool) -> None:
        self._store = store
        self._retryable = retryable
        self.fails = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def _check(self) -> None:
        if self.fails:
            error = StoreFailed("the disk is full; free some space and try again")
            error.retryable = self._retryable
            raise error

    async def claim(self, *args: Any, **options: Any) -> tuple[Claim, ...]:
        self._check()
        return await self._store.claim(*args, **options)

    async def renew(self, *args: Any, **options: Any) -> frozenset[str]:
        self._check()
        return await self._store.renew(*args, **options)

    async def release(self, owner: str) -> int:
        self._check()
        return await self._store.release(owner)

    def tenant(self, tenant_id: str) -> Any:
        return _FailingTenant(self, self._store.tenant(tenant_id))


class _FailingTenant:
    def __init__(self, store: Failing, tenant: Any) -> None:
        self._failing = store
        self._tenant = tenant

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tenant, name)

    async def write(self, *args: Any, **options: Any) -> Any:
        self._failing._check()
        return await self._tenant.write(*args, **options)


async def test_when_the_disk_is_full_for_a_while_work_goes_on_afterwards(base: Ground) -> None:
    failing = Failing(base.store, retryable=True)
    store: Any = failing
    gate = Gate()
    limits = EngineLimits(lease_s=LEASE_S)
    async with Runtime(base, {"work": gate.handler, "quick": quick}, store=store, limits=limits) as runtime:
        door = runtime.door()
        session = await door.create_session()
        execution_id = await entered(runtime, gate)
        later = instant(base.clock.now_ms() + 5000)
        request = IntentRequest(intent_type="quick", session_id=session.session_id, metadata={"not_before": later})
        waiting = (await door.submit(request)).execution_id
        failing.fails = True
        with pytest.raises(StoreFailed):
            await submit(door, session.session_id, "quick")
        await base.clock.sleep(100)
        assert runtime.worker.failure is None
        failing.fails = False
        assert (await ended(door, waiting)).status is Status.COMPLETED
        gate.opened.set()
        execution = await ended(door, execution_id)
        assert execution.status is Status.COMPLETED
    assert (await verify(base.store.tenant("acme"))).ok


async def test_an_outcome_that_could_not_be_recorded_is_tried_again_after_the_lease(base: Ground) -> None:
    failing = Failing(base.store, retryable=True)
    store: Any = failing

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        failing.fails = ctx.attempt == 1
        return IntentResult(result={"attempt": ctx.attempt})

    async def mend() -> None:
        await base.clock.sleep(5)
        failing.fails = False

    async with Runtime(base, {"work": work}, store=store, limits=EngineLimits(lease_s=LEASE_S)) as runtime:
        mending = asyncio.ensure_future(mend())
        execution = await run(runtime.door())
        await mending
    assert execution.result == {"attempt": 2}
    assert base.clock.monotonic() >= LEASE_S


async def test_a_store_that_broke_stops_the_worker_which_says_so(base: Ground) -> None:
    failing = Failing(base.store, retryable=False)
    store: Any = failing
    async with Runtime(base, {"work": quick}, store=store) as runtime:
        await run(runtime.door())
        failing.fails = True
        runtime.engine.log.on_work()
        await until(lambda: runtime.worker.failure is not None)
        assert runtime.worker.failure == "StoreFailed: the disk is full; free some space and try again"


async def test_leases_that_cannot_be_handed_back_do_not_keep_a_worker_from_stopping(base: Ground) -> None:
    failing = Failing(base.store, retryable=True)
    store: Any = failing
    gate = Gate()
    runtime = Runtime(base, {"work": gate.handler}, store=store)
    runtime.worker.start()
    await entered(runtime, gate)
    failing.fails = True
    await runtime.worker.stop(grace_s=0)
    assert gate.stopped == [1]


async def test_a_handler_may_submit_and_wait_for_another(base: Ground) -> None:
    """In one process, with one worker slot for each: no deadlock between the claim loop and its handlers."""

    async def outer(ctx: ExecutionContext, params: Any) -> IntentResult:
        door = runtimes[0].door()
        inner = await ended(door, await submit(door, ctx.session_id, "inner"))
        return IntentResult(result={"inner": inner.result})

    runtimes: list[Runtime] = []
    async with Runtime(base, {"work": outer, "inner": quick}, limits=EngineLimits(workers=2)) as runtime:
        runtimes.append(runtime)
        assert (await run(runtime.door())).result == {"inner": {"attempt": 1}}
