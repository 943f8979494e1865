"""From settings to a running platform, in four phases, each an async context manager that undoes itself in reverse.

    async with platform(settings) as p:
        sdk = ExperienceSDK(p.door_for(caller))

Φ1 infrastructure   opens and probes every configured store. What fails is named, with the reason and the remedy.
Φ2 configuration    hands each part the figures it is held to, and whom to trust. Nothing below it reads settings.
Φ3 runtime graph    registers every intent of every capability and starts the engine. It ends when the SDK answers.
Φ4 experience       attaches the services, as clients of the SDK.

The settings themselves are read and validated before Φ1 (`config.load`): Φ1 must know which stores there are, and a
wrong setting must stop the boot before anything is opened. What Φ2 then does is what needs the opened infrastructure.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from symphainy.boot import capabilities as discovery
from symphainy.boot.config import Profile, Settings, StoreKind
from symphainy.boot.health import Ask, HealthDesk, public
from symphainy.boot.newcomers import Turnstile
from symphainy.boot.observability import Traced, access_log, telemetry, warnings_only
from symphainy.boot.reindexing import reindex
from symphainy.capability import Capability, StateSurface
from symphainy.civic import city_manager
from symphainy.civic.city_manager import CityState, Phase
from symphainy.door import Door, Health
from symphainy.errors import StartupFailed
from symphainy.experience import ExperienceService
from symphainy.identity import DevelopmentIssuer, TokenVerifier
from symphainy.model import Caller, Role
from symphainy.ports import Blobs, Clock, HotState, Ids, LocalFiles, Offload, Probe, Search, SentenceModel, Store
from symphainy.public_works.blobs import LocalBlobs
from symphainy.public_works.clock import SystemClock
from symphainy.public_works.hot_memory import MemoryHot
from symphainy.public_works.hot_redis import RedisHot
from symphainy.public_works.ids import SystemIds
from symphainy.public_works.local_files import AllowedFolders
from symphainy.public_works.memory import MemoryStore
from symphainy.public_works.offload import LocalOffload
from symphainy.public_works.search import SqliteSearch
from symphainy.public_works.sentences import MiniLmModel
from symphainy.public_works.sqlite import SqliteStore
from symphainy.public_works.telemetry import RegistryTelemetry
from symphainy.runtime import Engine, EngineLimits, IntentRegistry, RuntimeApi, Worker
from symphainy.runtime.service import RuntimeService
from symphainy.runtime.state_surface import PlatformSurface
from symphainy.sdk import ExperienceSDK
from symphainy.wire.anonymous import AnonymousSessions
from symphainy.wire.app import ServiceApp
from symphainy.wire.operations import OpenAnonymous
from symphainy.wire.settings import EdgeSettings, ServerSettings

T = TypeVar("T")

STORE_FILE = "symphainy.db"
SEARCH_FOLDER = "search"
BLOB_FOLDER = "blobs"
KEY_FOLDER = "keys"
SPOOL_FOLDER = "spool"

#: Who asks at the end of Φ3 whether the SDK answers. It may read the catalogue, and its tenant is empty.
FIRST_CALLER = Caller(tenant_id="symphainy", user_id="boot", roles=frozenset({Role.VIEWER}))

#: Without these nothing can be done. Hot state may be lost at any moment, the index can be rebuilt, and capabilities do
#: without each other: then the whole is degraded.
VITAL = frozenset({"store", "blobs", "identity", "worker", "city"})

_logger = structlog.get_logger("symphainy.boot")


class _Opened(Protocol):
    """What every store of Φ1 can."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def probe(self) -> Probe: ...


@dataclass(frozen=True, kw_only=True)
class Works:
    """`PublicWorks`: of what Φ1 has opened, all that a capability gets."""

    clock: Clock
    blobs: Blobs
    search: Search
    offload: Offload
    sentences: SentenceModel
    files: LocalFiles


@dataclass(frozen=True, kw_only=True)
class Infrastructure:
    """What Φ1 has opened."""

    clock: Clock
    ids: Ids
    offload: Offload
    telemetry: RegistryTelemetry
    store: Store
    hot: HotState
    blobs: Blobs
    search: SqliteSearch
    index_is_new: bool
    """There was no search index: if there are artifacts, it was lost."""
    sentences: SentenceModel
    files: LocalFiles


@dataclass(frozen=True, kw_only=True)
class Configured:
    """What Φ2 hands down."""

    profile: Profile
    limits: EngineLimits
    experience_edge: EdgeSettings
    runtime_edge: EdgeSettings
    server: ServerSettings
    verifier: TokenVerifier
    issuer: DevelopmentIssuer | None
    """None in production: tokens come from elsewhere."""
    anonymous_sessions_per_minute: int
    startup_timeout_s: float
    health_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What Φ3 has built."""

    registry: IntentRegistry
    engine: Engine
    worker: Worker
    api: RuntimeApi
    reindexing: asyncio.Task[None]
    """Done when what the search index had lost is in it again."""


@dataclass(frozen=True, kw_only=True)
class Platform:
    """A running platform. `door_for(caller)` is the way in; `runtime_app` and `experience_app` serve it over HTTP."""

    settings: Settings
    infrastructure: Infrastructure
    configured: Configured
    graph: Graph
    runtime_app: ServiceApp
    experience_app: ServiceApp

    @property
    def verifier(self) -> TokenVerifier:
        return self.configured.verifier

    @property
    def issuer(self) -> DevelopmentIssuer | None:
        return self.configured.issuer

    @property
    def state(self) -> CityState:
        return self.graph.engine.governance.city

    def door_for(self, caller: Caller, *, request_id: str | None = None) -> Door:
        return self.graph.api.door_for(caller, request_id=request_id)

    def sdk_for(self, caller: Caller) -> ExperienceSDK:
        """The SDK in process: closing it closes nothing."""
        return ExperienceSDK(self.door_for(caller))

    async def health(self) -> Health:
        return await self.graph.api.health()

    async def drain(self) -> None:
        """Take nothing new, let what runs finish for its time, and hand the rest back. Twice is as good as once."""
        await _drain(self.graph.engine, self.graph.worker)


@asynccontextmanager
async def platform(
    settings: Settings,
    *,
    capabilities: Sequence[type[Capability]] | None = None,
    clock: Clock | None = None,
    ids: Ids | None = None,
) -> AsyncIterator[Platform]:
    """A platform from Φ1 to Φ4. Raises `StartupFailed`, and then nothing stays open.

    `capabilities` replaces those that would be found. At the end it drains.
    """
    warnings_only()
    clock, ids = clock or SystemClock(), ids or SystemIds()
    boot = _Boot(clock)
    async with (
        boot.phase(Phase.INFRASTRUCTURE, infrastructure(settings, clock=clock, ids=ids)) as works,
        boot.phase(Phase.CONFIGURATION, configuration(settings, works)) as configured,
        boot.phase(
            Phase.RUNTIME, runtime_graph(configured, works, kinds=capabilities, named=settings.capability)
        ) as graph,
        boot.phase(Phase.EXPERIENCE, experience(configured, works, graph)) as (runtime_app, experience_app),
    ):
        yield Platform(
            settings=settings,
            infrastructure=works,
            configured=configured,
            graph=graph,
            runtime_app=runtime_app,
            experience_app=experience_app,
        )


class _Boot:
    """The phases in their order, each with how long it took."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._done: list[Phase] = []

    @asynccontextmanager
    async def phase(self, phase: Phase, entered: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        decision = city_manager.may_enter_phase(phase, done=self._done)
        assert decision.allowed, decision.reason
        began_s, is_ready = self._clock.monotonic(), False
        try:
            async with entered as part:
                is_ready = True
                self._done.append(phase)
                _logger.info("phase_ready", phase=phase.sign, name=phase, seconds=self._since(began_s))
                yield part
                began_s = self._clock.monotonic()
        except StartupFailed as error:
            if not is_ready:
                _logger.error("phase_failed", phase=phase.sign, name=phase, service=error.service, reason=error.message)
            raise
        _logger.info("phase_left", phase=phase.sign, name=phase, seconds=self._since(began_s))

    def _since(self, began_s: float) -> float:
        return round(self._clock.monotonic() - began_s, 4)


# --- Φ1 ---


@asynccontextmanager
async def infrastructure(settings: Settings, *, clock: Clock, ids: Ids) -> AsyncIterator[Infrastructure]:
    """Opens and probes each store in turn. Raises `StartupFailed` naming the one that fails."""
    folder = settings.data_dir
    async with AsyncExitStack() as stack:
        offload = LocalOffload()
        stack.push_async_callback(offload.close)
        index_is_new = await offload.thread(_made_usable, folder)
        store: Store = (
            MemoryStore(clock=clock, ids=ids)
            if settings.store is StoreKind.MEMORY
            else SqliteStore(folder / STORE_FILE, clock=clock, ids=ids)
        )
        hot: HotState = MemoryHot(clock) if settings.redis_url is None else RedisHot(settings.redis_url, clock=clock)
        blobs = LocalBlobs(folder / BLOB_FOLDER, offload=offload)
        search = SqliteSearch(folder / SEARCH_FOLDER)
        opened: dict[str, _Opened] = {"store": store, "hot": hot, "blobs": blobs, "search": search}
        for name, each in opened.items():
            await _open(name, each, stack, timeout_s=settings.startup_timeout_s)
        measured = await stack.enter_async_context(
            telemetry(otel_endpoint=settings.otel_endpoint, profile=settings.profile)
        )
        yield Infrastructure(
            clock=clock,
            ids=ids,
            offload=offload,
            telemetry=measured,
            store=store,
            hot=hot,
            blobs=blobs,
            search=search,
            index_is_new=index_is_new,
            sentences=MiniLmModel(offload),
            files=AllowedFolders(settings.allowed_file_roots, hidden=[folder], offload=offload),
        )


def _made_usable(folder: Path) -> bool:
    """Whether there is no search index yet."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / SPOOL_FOLDER).mkdir(mode=0o700, exist_ok=True)
        trial = folder / f".writable.{os.getpid()}"
        trial.write_bytes(b"")
        trial.unlink()
        return not (folder / SEARCH_FOLDER).exists()
    except OSError as error:
        raise StartupFailed(
            f"the data folder {folder} cannot be written: {error.strerror or error}",
            service="data",
            remedy="Give this user write access to it, or name another with --data or SYMPHAINY_DATA",
        ) from None


async def _open(name: str, store: _Opened, stack: AsyncExitStack, *, timeout_s: float) -> None:
    remedy = (
        f"See that it runs and can be reached, or allow it more time with SYMPHAINY_STARTUP_TIMEOUT_S={timeout_s:g}"
    )
    try:
        async with asyncio.timeout(timeout_s):
            await store.open()
            stack.push_async_callback(store.close)
            found = await store.probe()
    except TimeoutError:
        raise StartupFailed(f"{name} did not answer within {timeout_s:g} s", service=name, remedy=remedy) from None
    if found.status == "down":
        raise StartupFailed(f"{name} does not work: {found.detail}", service=name, remedy=remedy)
    _logger.info("store_ready", store=name, kind=type(store).__name__, status=found.status, detail=found.detail)


# --- Φ2 ---


@asynccontextmanager
async def configuration(settings: Settings, works: Infrastructure) -> AsyncIterator[Configured]:
    """Each part gets its own figures, and nobody the settings."""
    edge = EdgeSettings(
        body_bytes_max=settings.body_bytes_max,
        upload_bytes_max=settings.upload_bytes_max,
        spool_folder=str(settings.data_dir / SPOOL_FOLDER),
    )
    issuer: DevelopmentIssuer | None = None
    if settings.profile is Profile.DEVELOPMENT:
        issuer = await works.offload.thread(_issuer, settings, works)
    yield Configured(
        profile=settings.profile,
        limits=EngineLimits(
            workers=settings.workers,
            running_max=settings.running_max,
            requests_per_minute=settings.requests_per_minute,
            anonymous_requests_per_minute=settings.anonymous_requests_per_minute,
            lease_s=settings.lease_s,
            grace_s=settings.drain_timeout_s,
            session_ttl_s=settings.session_ttl_s,
            idempotency_ttl_s=settings.idempotency_ttl_s,
            inline_bytes_max=settings.step_inline_bytes_max,
            result_bytes_max=settings.result_bytes_max,
            upload_bytes_max=settings.upload_bytes_max,
            retention_days=settings.retention_days,
        ),
        runtime_edge=edge,
        # Pages call the public address only.
        experience_edge=EdgeSettings(
            body_bytes_max=edge.body_bytes_max,
            upload_bytes_max=edge.upload_bytes_max,
            spool_folder=edge.spool_folder,
            cors_origins=settings.cors_origins,
        ),
        server=ServerSettings(drain_s=settings.drain_timeout_s),
        verifier=TokenVerifier([issuer.trusted()] if issuer else [], clock=works.clock),
        issuer=issuer,
        anonymous_sessions_per_minute=settings.anonymous_sessions_per_minute,
        startup_timeout_s=settings.startup_timeout_s,
        health_timeout_s=settings.health_timeout_s,
    )


def _issuer(settings: Settings, works: Infrastructure) -> DevelopmentIssuer:
    return DevelopmentIssuer(settings.data_dir / KEY_FOLDER, profile=settings.profile, clock=works.clock, ids=works.ids)


# --- Φ3 ---


@asynccontextmanager
async def runtime_graph(
    configured: Configured,
    works: Infrastructure,
    *,
    kinds: Sequence[type[Capability]] | None,
    named: Sequence[str],
) -> AsyncIterator[Graph]:
    """`kinds` are the capabilities, or None to find them: built-in, installed, and `named` ones."""
    if kinds is None:
        kinds = await discovery.discover(named=named, offload=works.offload)
    registry = IntentRegistry()
    offered = Works(
        clock=works.clock,
        blobs=works.blobs,
        search=works.search,
        offload=works.offload,
        sentences=works.sentences,
        files=works.files,
    )
    surface: StateSurface = PlatformSurface(works.store, registry.accepted_types)
    for kind in kinds:
        registry.register_capability(await discovery.make(kind, public_works=offered, state_surface=surface))
    engine = Engine(
        store=works.store,
        hot=works.hot,
        blobs=works.blobs,
        clock=works.clock,
        ids=works.ids,
        offload=works.offload,
        registry=registry,
        limits=configured.limits,
        telemetry=works.telemetry,
    )
    worker = Worker(engine, owner=works.ids.new("wrk"))
    desk = _health_desk(configured, works, registry, engine, worker)
    api = RuntimeApi(engine, worker, health=desk.health)
    for name, capability in registry.capabilities.items():
        await discovery.start(capability, timeout_s=configured.startup_timeout_s)
        _logger.info("capability_ready", capability=name, intents=len(capability.intents()))
    worker.start()
    try:
        await _sdk_answers(api, registry, timeout_s=configured.startup_timeout_s)
        engine.governance.move(CityState.OPEN)
        lost = set(await works.store.tenants()) if works.index_is_new else works.search.rebuilt
        work = reindex(works.store, works.search, registry.capabilities.values(), tenant_ids=sorted(lost))
        reindexing = asyncio.create_task(work, name="reindexing")
        try:
            yield Graph(registry=registry, engine=engine, worker=worker, api=api, reindexing=reindexing)
        finally:
            reindexing.cancel()
            await asyncio.wait([reindexing])
    finally:
        await _drain(engine, worker)
        # Also when a drain was cut short: nothing may run on when the stores close.
        await worker.stop(grace_s=0)
        await engine.governance.close()
        engine.governance.move(CityState.SHUT)


async def _sdk_answers(api: RuntimeApi, registry: IntentRegistry, *, timeout_s: float) -> None:
    """Start-up has succeeded when the SDK answers what can be asked for."""
    sdk = ExperienceSDK(api.door_for(FIRST_CALLER))
    try:
        async with asyncio.timeout(timeout_s):
            answered = await sdk.list_intents()
    except TimeoutError:
        raise StartupFailed(
            f"the Experience SDK did not answer within {timeout_s:g} s",
            service="runtime",
            remedy="See the log for what holds it up, or raise SYMPHAINY_STARTUP_TIMEOUT_S",
        ) from None
    assert answered == registry.catalogue(), "the SDK answers with another catalogue than was registered"
    _logger.info("sdk_answers", intents=len(answered))


async def _drain(engine: Engine, worker: Worker) -> None:
    if engine.governance.city is not CityState.OPEN:
        return
    engine.governance.move(CityState.DRAINING)
    _logger.info("draining", running=worker.running, grace_s=engine.limits.grace_s)
    await worker.stop(grace_s=engine.limits.grace_s)


def _health_desk(
    configured: Configured, works: Infrastructure, registry: IntentRegistry, engine: Engine, worker: Worker
) -> HealthDesk:
    probes: dict[str, Ask] = {
        "store": works.store.probe,
        "hot": works.hot.probe,
        "blobs": works.blobs.probe,
        "search": works.search.probe,
        "identity": _answering(lambda: _identity(configured)),
        "worker": _answering(lambda: _worker(worker)),
        "city": _answering(lambda: _city(engine)),
    }
    probes |= {f"capability:{name}": each.probe for name, each in registry.capabilities.items()}
    return HealthDesk(
        profile=configured.profile,
        clock=works.clock,
        timeout_s=configured.health_timeout_s,
        probes=probes,
        vital=VITAL,
    )


def _answering(look: Callable[[], Probe]) -> Callable[[], Awaitable[Probe]]:
    async def ask() -> Probe:
        return look()

    return ask


def _identity(configured: Configured) -> Probe:
    if configured.issuer is None:
        return Probe(status="degraded", detail="no issuer is trusted: every token is refused")
    token = configured.issuer.mint(FIRST_CALLER.tenant_id, "health", ttl_s=1).access_token
    caller = configured.verifier.verify(token)
    return Probe(status="ok", detail=f"minted and verified a token of {caller.tenant_id}")


def _worker(worker: Worker) -> Probe:
    if worker.failure is not None:
        return Probe(status="down", detail=f"it stopped: {worker.failure}")
    return Probe(status="ok", detail=f"{worker.running} executions are running")


def _city(engine: Engine) -> Probe:
    decision = city_manager.may_admit(engine.governance.city)
    return Probe(status="ok" if decision.allowed else "down", detail=f"{engine.governance.city}: {decision.reason}")


# --- Φ4 ---


@asynccontextmanager
async def experience(
    configured: Configured, works: Infrastructure, graph: Graph
) -> AsyncIterator[tuple[ServiceApp, ServiceApp]]:
    """The Runtime's service and Experience's, which stands on the SDK."""
    anonymous: OpenAnonymous | None = None
    if configured.issuer is not None:
        anonymous = AnonymousSessions(
            door_for=graph.api.door_for,
            newcomer=configured.issuer.newcomer,
            mint=configured.issuer.mint_anonymous,
            admit=Turnstile(works.clock, configured.anonymous_sessions_per_minute),
        )

    def metrics() -> bytes:
        works.telemetry.gauge("executions_running", graph.worker.running)
        return works.telemetry.text()

    runtime = RuntimeService(
        door_for=graph.api.door_for,
        health=graph.api.health,
        verify=configured.verifier.verify,
        development=configured.profile is Profile.DEVELOPMENT,
        metrics=metrics,
        anonymous=anonymous,
        settings=configured.runtime_edge,
        access_log=access_log(works.telemetry, service="runtime"),
    )
    surface = ExperienceService(
        door_for=graph.api.door_for,
        verify=configured.verifier.verify,
        health=public(graph.api.health) if configured.profile is Profile.PRODUCTION else graph.api.health,
        anonymous=anonymous,
        settings=configured.experience_edge,
        access_log=access_log(works.telemetry, service="experience"),
    )
    apps = runtime.create_app(), surface.create_app()
    if works.telemetry.is_tracing:
        for app in apps:
            app.add_middleware(Traced, measured=works.telemetry)
    yield apps
