"""The platform without HTTP: through its door, in one process. Runs as a child, so that nothing else is in the process.

measured = measure(Order(data="/tmp/…", count=3000, alone=200))
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from bench.capability import NOOP, THREE_STEPS
from bench.machine import ROOT
from bench.platform import CAPABILITY, TENANT, counted
from symphainy.boot.config import load
from symphainy.boot.phases import Platform, platform
from symphainy.boot.serve import run
from symphainy.door import Door, IntentRequest
from symphainy.model import Caller, Role

#: Submissions that wait for their answer at once.
SUBMITTERS = 64
WARM_UP = 300
LOOK_S = 0.01
END_TIMEOUT_S = 120.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    data: str
    count: int
    alone: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Executions a second of each intent, and the milliseconds of each execution that ran alone."""

    noops_per_s: float
    three_steps_per_s: float
    alone_ms: tuple[float, ...]


def measure(order: Order) -> Measured:
    """On new data, in a child process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.inprocess"],
        input=msgspec.json.encode(order),
        stdout=subprocess.PIPE,
        cwd=ROOT,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Measured)


async def _per_second(p: Platform, door: Door, session_id: str, intent_type: str, count: int) -> float:
    """Submit `count` executions as fast as they are accepted. Executions a second until the last has ended."""
    places = asyncio.Semaphore(SUBMITTERS)
    request = IntentRequest(intent_type=intent_type, session_id=session_id, parameters={"n": 1})

    async def submit() -> None:
        async with places:
            await door.submit(request)

    goal = _ended(p) + count
    began_s = time.perf_counter()
    await asyncio.gather(*(submit() for _ in range(count)))
    while _ended(p) < goal:  # noqa: ASYNC110 - the platform counts what has ended, and tells nobody
        await asyncio.sleep(LOOK_S)
    return count / (time.perf_counter() - began_s)


def _ended(p: Platform) -> float:
    return counted(p.infrastructure.telemetry.text().decode(), "executions_ended", status="completed")


async def _alone_ms(door: Door, session_id: str, intent_type: str) -> float:
    request = IntentRequest(intent_type=intent_type, session_id=session_id, parameters={"n": 1})
    began_s = time.perf_counter()
    submitted = await door.submit(request)
    await door.wait(submitted.execution_id, timeout_s=END_TIMEOUT_S)
    return (time.perf_counter() - began_s) * 1000


async def _measure(order: Order) -> None:
    overrides = {"data_dir": order.data, "capability": (CAPABILITY,), "log_level": "warning"}
    settings = load(overrides=overrides, environ={}, directory=Path(order.data))
    async with asyncio.timeout(END_TIMEOUT_S), platform(settings) as p:
        door = p.door_for(Caller(tenant_id=TENANT, user_id="bench", roles=frozenset({Role.OPERATOR})))
        session_id = (await door.create_session()).session_id
        for intent_type in (NOOP, THREE_STEPS):
            await _per_second(p, door, session_id, intent_type, min(WARM_UP, order.count))
        measured = Measured(
            alone_ms=tuple([await _alone_ms(door, session_id, THREE_STEPS) for _ in range(order.alone)]),
            noops_per_s=await _per_second(p, door, session_id, NOOP, order.count),
            three_steps_per_s=await _per_second(p, door, session_id, THREE_STEPS, order.count),
        )
    sys.stdout.buffer.write(msgspec.json.encode(measured))


def main() -> None:
    run(_measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Order)))


if __name__ == "__main__":
    main()
