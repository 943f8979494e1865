"""A runtime put together by hand, so that a test can kill it, starve it, or put two of them on one store."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from hypothesis import HealthCheck, settings
from pydantic import BaseModel, ConfigDict

from symphainy.capability import Capability, ExecutionContext, IntentResult
from symphainy.civic.city_manager import CityState
from symphainy.door import Health, IntentRequest
from symphainy.model import Caller, Draft, Event, Execution, JsonObject, Role
from symphainy.ports import PublicWorks, Store
from symphainy.public_works.blobs import LocalBlobs
from symphainy.public_works.hot_memory import MemoryHot
from symphainy.public_works.memory import MemoryStore
from symphainy.public_works.offload import LocalOffload
from symphainy.public_works.telemetry import RegistryTelemetry
from symphainy.runtime import Engine, EngineLimits, IntentRegistry, RuntimeApi, Worker
from symphainy.runtime.api import RuntimeDoor
from symphainy.testing.clock import VirtualClock
from symphainy.testing.ids import SeededIds

T = TypeVar("T")

#: What a file looks like when somebody writes it into JSON.
FILE_AS_TEXT = base64.b64encode(bytes(range(256)) * 24).decode()

#: Real seconds until a test gives up on what should happen by itself. Virtual time that passes by itself keeps the loop
#: and in a busy loop nothing else would end a test that hangs.
PATIENCE_S = 20

#: `async def handler(ctx, params) -> IntentResult`
Handler = Callable[[ExecutionContext, Any], Awaitable[IntentResult]]


class Anything(BaseModel):
    """Parameters that no schema narrows."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Declared:
    """A handler with fields of its declaration."""

    handler: Handler
    fields: Mapping[str, Any] = field(default_factory=dict)


def declared(handler: Handler, **fields: Any) -> Declared:
    return Declared(handler, fields)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What is still there when a process has died."""

    store: Store
    blobs: LocalBlobs
    clock: VirtualClock
    ids: SeededIds
    offload: LocalOffload

    async def log(self, execution_id: str, *, tenant_id: str = "acme") -> list[Event]:
        return list(await self.store.tenant(tenant_id).execution_events(execution_id, limit=10_000))

    async def kinds(self, execution_id: str, *, tenant_id: str = "acme") -> list[str]:
        return [event.event_type for event in await self.log(execution_id, tenant_id=tenant_id)]


@asynccontextmanager
async def ground(folder: Path, *, auto: bool = True, store: Store | None = None) -> AsyncIterator[Ground]:
    """A memory store unless one is given, opened. With `auto` time passes whenever everybody waits for it."""
    clock, ids = VirtualClock(auto=auto), SeededIds()
    offload = LocalOffload(threads_max=4)
    blobs = LocalBlobs(folder / "blobs", offload=offload)
    await blobs.open()
    if store is None:
        store = MemoryStore(clock=clock, ids=ids)
        await store.open()
    try:
        yield Ground(store=store, blobs=blobs, clock=clock, ids=ids, offload=offload)
    finally:
        await store.close()
        await blobs.close()
        await offload.close()


class Runtime:
    """One process. `async with` starts its worker and stops it without grace; `kill` ends it as a crash does."""

    def __init__(
        self,
        ground: Ground,
        handlers: Mapping[str, Handler | Declared] | None = None,
        *capabilities: type[Capability],
        limits: EngineLimits | None = None,
        owner: str = "w1",
        store: Store | None = None,
        hot: MemoryHot | None = None,
    ) -> None:
        self.ground = ground
        self.hot = hot or MemoryHot(clock=ground.clock)
        registry = IntentRegistry()
        for name, handler in (handlers or {}).items():
            found = handler if isinstance(handler, Declared) else Declared(handler)
            registry.register_intent(name, "tests", found.handler, {"parameters": Anything, **found.fields})
        for capability in capabilities:
            registry.register_capability(capability(public_works=cast("PublicWorks", ground)))
        self.engine = Engine(
            store=store or ground.store,
            hot=self.hot,
            blobs=ground.blobs,
            clock=ground.clock,
            ids=ground.ids,
            offload=ground.offload,
            registry=registry,
            limits=limits or EngineLimits(),
            telemetry=RegistryTelemetry(),
        )
        self.worker = Worker(self.engine, owner=owner)
        self.api = RuntimeApi(self.engine, self.worker, health=_health)
        self.engine.governance.move(CityState.OPEN)

    async def __aenter__(self) -> Self:
        self.worker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.worker.stop(grace_s=0)
        await self.engine.governance.close()

    async def kill(self) -> None:
        """Nothing of it runs any more, and it has handed back nothing."""
        doomed = [self.worker._loop, self.worker._renewing, *self.worker._tasks]
        tasks = [task for task in doomed if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def door(
        self, tenant_id: str = "acme", user_id: str = "ada", *roles: Role, session_id: str | None = None
    ) -> RuntimeDoor:
        """Without roles: a member."""
        caller = Caller(
            tenant_id=tenant_id, user_id=user_id, roles=frozenset(roles or (Role.MEMBER,)), session_id=session_id
        )
        return self.api.door_for(caller)

    async def refusals(self, tenant_id: str = "acme") -> list[JsonObject]:
        """What governors have refused, as it stands in the log."""
        tenant = self.ground.store.tenant(tenant_id)
        found = await self.engine.log.events(tenant.tenant_id, limit=10_000)
        kinds = ("policy_decided", "intent_refused")
        return [event.payload for event in found if event.event_type in kinds]


async def _health() -> Health:
    raise AssertionError("no test here asks for health")


async def submit(door: RuntimeDoor, session_id: str, intent_type: str = "work", **parameters: Any) -> str:
    """The id of the execution."""
    request = IntentRequest(intent_type=intent_type, session_id=session_id, parameters=parameters)
    return (await door.submit(request)).execution_id


async def ended(door: RuntimeDoor, execution_id: str) -> Execution:
    """The execution, as soon as it has ended."""
    async with asyncio.timeout(PATIENCE_S):
        async for _ in door.stream(execution_id):
            pass
    return await door.get_execution(execution_id, include_steps=True)


async def run(door: RuntimeDoor, intent_type: str = "work", **parameters: Any) -> Execution:
    """Submit an intent in a session of its own, and wait for its end."""
    session = await door.create_session()
    return await ended(door, await submit(door, session.session_id, intent_type, **parameters))


async def seen(door: RuntimeDoor, execution_id: str, event_type: str) -> Event:
    """The first event of this type, as soon as it is there."""
    async with asyncio.timeout(PATIENCE_S):
        async for event in door.stream(execution_id, after=0):
            if event.event_type == event_type:
                return event
    raise AssertionError(f"{execution_id} ended without {event_type}")


def searched(examples: int) -> settings:
    """So many examples, and twenty times as many with `--deep`."""
    is_deep = settings.get_current_profile_name() == "deep"
    unfit = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples * 20 if is_deep else examples, suppress_health_check=unfit)


async def until(holds: Callable[[], object]) -> None:
    """Return once it holds. Whoever brings it about runs in this loop or in a thread."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - nobody sets an event: this looks from outside
            await asyncio.sleep(0)


async def until_found(read: Callable[[], Awaitable[T]]) -> T:
    """What is read, as soon as there is something."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := await read()):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0)
    return found


def emitted(execution: Execution) -> list[tuple[str, JsonObject]]:
    return [(event.event_type, event.payload) for event in execution.events]


def note(event_type: str, payload: JsonObject | None = None) -> Draft:
    """An event of no execution."""
    return Draft(event_type=event_type, payload=payload or {})
