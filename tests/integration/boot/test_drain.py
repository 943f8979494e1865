"""A platform that drains takes nothing new, finishes what it can, and hands the rest to whoever comes next."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import BaseModel

from symphainy.boot.phases import Platform
from symphainy.capability import Capability, ExecutionContext, IntentResult, intent
from symphainy.civic.city_manager import CityState
from symphainy.errors import Overloaded
from symphainy.model import Status
from symphainy.testing.platform import caller, sqlite_platform


class Nothing(BaseModel):
    pass


class Gate(Capability):
    """Runs until the test opens the gate."""

    name = "gate"
    entered: ClassVar[asyncio.Event]
    opened: ClassVar[asyncio.Event]

    @intent("pass_the_gate")
    async def pass_the_gate(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Wait for the gate."""
        await ctx.step("arrive", lambda: "arrived")
        self.entered.set()
        await self.opened.wait()
        return IntentResult(result={"attempt": ctx.attempt})


@pytest.fixture(autouse=True)
def _gate() -> None:
    Gate.entered, Gate.opened = asyncio.Event(), asyncio.Event()


@pytest.fixture
async def p(tmp_path: Path) -> AsyncIterator[Platform]:
    async with sqlite_platform(tmp_path, capabilities=[Gate], drain_timeout_s=30) as running:
        yield running


async def started(p: Platform) -> tuple[str, str]:
    """Session and execution, with the handler at the gate."""
    sdk = p.sdk_for(caller())
    session = await sdk.create_session()
    run = await sdk.invoke_intent("pass_the_gate", session_id=session.session_id)
    await Gate.entered.wait()
    return session.session_id, run.execution_id


async def test_what_runs_may_finish_while_nothing_new_is_taken(p: Platform) -> None:
    session_id, execution_id = await started(p)
    sdk = p.sdk_for(caller())
    draining = asyncio.create_task(p.drain())
    await asyncio.sleep(0)
    assert p.state is CityState.DRAINING
    with pytest.raises(Overloaded) as refused:
        await sdk.invoke_intent("pass_the_gate", session_id=session_id)
    assert refused.value.retry_after_s == 5.0
    with pytest.raises(Overloaded):
        await sdk.create_session()
    assert (await sdk.door.get_execution(execution_id)).status is Status.RUNNING
    Gate.opened.set()
    await draining
    assert (await sdk.door.get_execution(execution_id)).result == {"attempt": 1}


async def test_what_does_not_finish_in_time_is_taken_up_by_the_next(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Gate], drain_timeout_s=0) as p:
        _, execution_id = await started(p)
    Gate.opened.set()
    async with sqlite_platform(tmp_path, capabilities=[Gate]) as p:
        done = await p.door_for(caller()).wait(execution_id, timeout_s=20)
        assert (done.status, done.result) == (Status.COMPLETED, {"attempt": 2})


async def test_draining_twice_changes_nothing(p: Platform) -> None:
    await p.drain()
    await p.drain()
    assert p.state is CityState.DRAINING


async def test_a_platform_that_was_left_is_shut(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Gate]) as p:
        sdk = p.sdk_for(caller())
        session = await sdk.create_session()
    assert p.state is CityState.SHUT
    with pytest.raises(Overloaded, match="the platform is shut"):
        await sdk.invoke_intent("pass_the_gate", session_id=session.session_id)


async def test_a_drain_that_is_cut_short_still_leaves_nothing_running(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path, capabilities=[Gate], drain_timeout_s=600) as p:
        _, execution_id = await started(p)
        draining = asyncio.create_task(p.drain())
        await asyncio.sleep(0)
        draining.cancel()
    assert p.graph.worker.running == 0
    Gate.opened.set()
    async with sqlite_platform(tmp_path, capabilities=[Gate]) as p:
        assert (await p.door_for(caller()).wait(execution_id, timeout_s=20)).status is Status.COMPLETED
