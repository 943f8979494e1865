"""Both HTTP services over a real runtime in memory, for tests of the edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx2
from pydantic import BaseModel, Field

from symphainy.capability import Capability, ExecutionContext, IntentRefused, IntentResult, UploadedContent, intent
from symphainy.civic.city_manager import CityState
from symphainy.door import Check, Health
from symphainy.errors import Limited
from symphainy.experience import ExperienceService
from symphainy.identity import DevelopmentIssuer, TokenVerifier
from symphainy.model import JsonObject, Role
from symphainy.public_works.blobs import LocalBlobs
from symphainy.public_works.clock import SystemClock
from symphainy.public_works.hot_memory import MemoryHot
from symphainy.public_works.ids import SystemIds
from symphainy.public_works.memory import MemoryStore
from symphainy.public_works.offload import LocalOffload
from symphainy.public_works.telemetry import RegistryTelemetry
from symphainy.runtime import Engine, EngineLimits, IntentRegistry, RuntimeApi, Worker
from symphainy.runtime.service import RuntimeService
from symphainy.wire.anonymous import AnonymousSessions
from symphainy.wire.app import ServiceApp
from symphainy.wire.edge import Served
from symphainy.wire.server import HttpServer
from symphainy.wire.settings import EdgeSettings, ServerSettings

TENANT = "acme"
OTHER_TENANT = "globex"


class Said(BaseModel):
    text: str
    file_path: str | None = Field(None, json_schema_extra={"x-development-only": True})


class Answered(BaseModel):
    text: str


class Kept(BaseModel):
    """Bytes that were uploaded, by reference."""

    reference: str
    filename: str
    media_type: str | None = None
    file_path: str | None = Field(None, json_schema_extra={"x-development-only": True})


class KeptAs(BaseModel):
    file_id: str


class Nothing(BaseModel):
    pass


class Parrot(Capability):
    """Says what it hears."""

    name = "parrot"
    description = "Says what it hears."
    #: By execution: a test sets the event to let `wait_for_it` end.
    gates: ClassVar[dict[str, asyncio.Event]] = {}

    @intent("say", result=Answered, aliases=("parrot.say",), required_role=Role.ANONYMOUS)
    async def say(self, ctx: ExecutionContext, params: Said) -> IntentResult:
        """Say it back."""
        await ctx.emit("said", {"text": params.text})
        return IntentResult(result=Answered(text=params.text))

    @intent("refuse")
    async def refuse(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Say no."""
        raise IntentRefused("not_today", "the parrot does not feel like it")

    @intent("wait_for_it")
    async def wait_for_it(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Wait until the test says so."""
        await ctx.emit("waiting", {})
        await self.gates.setdefault(ctx.execution_id, asyncio.Event()).wait()
        return IntentResult()

    @intent(
        "keep",
        result=KeptAs,
        artifacts=("kept_file",),
        from_upload=lambda content: _kept(content),
    )
    async def keep(self, ctx: ExecutionContext, params: Kept) -> IntentResult:
        """Keep a file."""
        size = await ctx.blobs.size(params.reference)
        stored = await ctx.blobs.put(ctx.blobs.open(params.reference), format=params.media_type or "bytes")
        assert stored.size_bytes == size
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="kept_file",
            semantic_descriptor={"filename": params.filename},
            materializations=[stored],
        )
        return IntentResult(result=KeptAs(file_id=artifact.artifact_id), artifacts={"file": artifact})

    @intent("for_operators", required_role=Role.OPERATOR)
    async def for_operators(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Only operators may."""
        return IntentResult()


def _kept(content: UploadedContent) -> JsonObject:
    return {"reference": content.reference, "filename": content.filename, "media_type": content.media_type}


class _Works:
    """The outside world of a capability that needs none."""

    def __init__(self, clock: SystemClock) -> None:
        self.clock = clock


class AccessLog(list[Served]):
    """Every request that was served, and a way to wait for one."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def __call__(self, served: Served) -> None:
        self.append(served)
        self._more.set()

    async def until(self, count: int) -> None:
        while len(self) < count:
            self._more.clear()
            await self._more.wait()


@dataclass(kw_only=True)
class Platform:
    api: RuntimeApi
    issuer: DevelopmentIssuer
    verifier: TokenVerifier
    settings: EdgeSettings
    served: AccessLog = field(default_factory=AccessLog)
    condition: str = "ok"
    anonymous_left: int = 1000

    def token(self, user: str = "ada", *roles: Role, tenant: str = TENANT) -> str:
        return self.issuer.mint(tenant, user, roles or (Role.MEMBER,)).access_token

    def headers(self, user: str = "ada", *roles: Role, tenant: str = TENANT) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user, *roles, tenant=tenant)}"}

    async def health(self) -> Health:
        check = Check(status=self.condition, detail="set by the test", latency_ms=0.1)
        return Health(status=self.condition, version="0", profile="development", checks={"store": check})

    def _admit(self, client: str | None) -> None:
        if self.anonymous_left == 0:
            raise Limited(f"too many anonymous sessions from {client}", retry_after_s=3)
        self.anonymous_left -= 1

    @property
    def anonymous(self) -> AnonymousSessions:
        return AnonymousSessions(
            door_for=self.api.door_for,
            newcomer=self.issuer.newcomer,
            mint=self.issuer.mint_anonymous,
            admit=self._admit,
        )

    def runtime_service(self, *, development: bool = True) -> RuntimeService:
        return RuntimeService(
            door_for=self.api.door_for,
            health=self.health,
            verify=self.verifier.verify,
            development=development,
            metrics=self.api.engine.telemetry.text,  # type: ignore[attr-defined]
            anonymous=self.anonymous,
            settings=self.settings,
            access_log=self.served,
        )

    def experience_service(self) -> ExperienceService:
        return ExperienceService(
            door_for=self.api.door_for,
            verify=self.verifier.verify,
            health=self.health,
            anonymous=self.anonymous,
            settings=self.settings,
            access_log=self.served,
        )


@asynccontextmanager
async def platform(folder: Path, *, settings: EdgeSettings | None = None) -> AsyncIterator[Platform]:
    """A runtime in memory with the parrot in it, running."""
    clock, ids = SystemClock(), SystemIds()
    store, hot, offload = MemoryStore(clock=clock, ids=ids), MemoryHot(clock), LocalOffload()
    blobs = LocalBlobs(folder / "blobs", offload=offload)
    registry = IntentRegistry()
    works: Any = _Works(clock)
    registry.register_capability(Parrot(public_works=works))
    engine = Engine(
        store=store,
        hot=hot,
        blobs=blobs,
        clock=clock,
        ids=ids,
        offload=offload,
        registry=registry,
        limits=EngineLimits(),
        telemetry=RegistryTelemetry(),
    )
    worker = Worker(engine, owner="test")
    issuer = DevelopmentIssuer(folder / "keys", profile="development", clock=clock, ids=ids)
    made: list[Platform] = []
    api = RuntimeApi(engine, worker, health=lambda: made[0].health())
    made.append(
        Platform(
            api=api,
            issuer=issuer,
            verifier=TokenVerifier([issuer.trusted()], clock=clock),
            settings=settings or EdgeSettings(),
        )
    )
    async with AsyncExitStack() as stack:
        for part in (store, hot, blobs):
            await part.open()
            stack.push_async_callback(part.close)
        stack.push_async_callback(offload.close)
        worker.start()
        stack.push_async_callback(worker.stop, grace_s=0)
        engine.governance.move(CityState.OPEN)
        yield made[0]
        for gate in Parrot.gates.values():
            gate.set()
        Parrot.gates.clear()


@asynccontextmanager
async def client_of(app: Any, *, headers: dict[str, str] | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application in this process, from the loopback address."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
        yield client


@asynccontextmanager
async def served(app: ServiceApp, **bounds: Any) -> AsyncIterator[HttpServer]:
    """The application behind a real socket on the loopback interface."""
    server = HttpServer(
        app,
        host="127.0.0.1",
        port=0,
        now_ms=SystemClock().now_ms,
        settings=ServerSettings(**{"drain_s": 2.0, **bounds}),
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


# --- what tests do through an address ---


async def opened(client: httpx2.AsyncClient, headers: dict[str, str], **body: Any) -> str:
    answer = await client.post("/api/session/create", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])


async def said(client: httpx2.AsyncClient, headers: dict[str, str], text: str = "hi") -> dict[str, Any]:
    """A finished execution of `say`."""
    session_id = await opened(client, headers)
    body = {"intent_type": "say", "session_id": session_id, "parameters": {"text": text}}
    answer = await client.post("/api/intent/submit", json=body, headers=headers | {"Prefer": "wait=10"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def kept(client: httpx2.AsyncClient, headers: dict[str, str], content: bytes = b"hello world") -> str:
    """The id of an artifact with this content."""
    session_id = await opened(client, headers)
    answer = await client.post(
        "/v1/content/upload",
        data={"session_id": session_id},
        files={"file": ("a b.txt", content, "text/plain")},
        headers=headers | {"Prefer": "wait=10"},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"]["file_id"])
