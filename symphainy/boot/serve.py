"""The services of a process on their addresses, from the first line of the log to a clean end.

    run(serve(settings, services=frozenset(Service), on_ready=print))

SIGTERM and SIGINT drain: nothing new is taken, what runs may finish, streams end and their clients come back to whoever
serves next. A second signal does not wait any longer.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from symphainy.boot.config import Settings
from symphainy.boot.observability import access_log, configure_logging, telemetry
from symphainy.boot.phases import platform
from symphainy.capability import Capability
from symphainy.errors import StartupFailed, Unreachable
from symphainy.experience import ExperienceService
from symphainy.public_works.clock import SystemClock
from symphainy.sdk import ExperienceSDK
from symphainy.wire.app import ServiceApp
from symphainy.wire.server import HttpServer, event_loop_factory
from symphainy.wire.settings import EdgeSettings, ServerSettings

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = structlog.get_logger("symphainy.boot")


class Service(StrEnum):
    RUNTIME = "runtime"
    EXPERIENCE = "experience"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the services listen: base URLs, None for one that is not in this process."""

    runtime: str | None = None
    experience: str | None = None


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` on an event loop of its own, the fastest there is."""
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        runner.run(main)


async def serve(
    settings: Settings,
    *,
    services: frozenset[Service] = frozenset(Service),
    on_ready: Callable[[Addresses], None],
    capabilities: Sequence[type[Capability]] | None = None,
) -> None:
    """The whole platform, with these of its services. Returns after a signal, when everything is drained and closed.

    `on_ready` is called once connections are accepted. Raises `StartupFailed`.
    """
    configure_logging(level=settings.log_level, form=settings.log_format, clock=SystemClock())
    places = {
        Service.RUNTIME: (settings.runtime_host, settings.runtime_port),
        Service.EXPERIENCE: (settings.host, settings.port),
    }
    async with _signals() as stop, platform(settings, capabilities=capabilities) as p:
        apps = {Service.RUNTIME: p.runtime_app, Service.EXPERIENCE: p.experience_app}
        wanted = {service: (apps[service], *places[service]) for service in Service if service in services}
        async with _listening(wanted, p.configured.server) as addresses:
            _spare_the_collector()
            on_ready(addresses)
            await stop.wait()
            # While what runs is finishing, its streams still tell of it.
            await p.drain()


async def serve_experience(settings: Settings, *, runtime_url: str, on_ready: Callable[[Addresses], None]) -> None:
    """Experience alone, joined by HTTP to the Runtime at `runtime_url`, which verifies each caller's token."""
    clock = SystemClock()
    configure_logging(level=settings.log_level, form=settings.log_format, clock=clock)
    async with (
        _signals() as stop,
        telemetry(otel_endpoint=settings.otel_endpoint, profile=settings.profile) as measured,
    ):
        await _runtime_answers(runtime_url, timeout_s=settings.startup_timeout_s)
        surface = ExperienceService(
            runtime_url,
            settings=EdgeSettings(
                body_bytes_max=settings.body_bytes_max,
                upload_bytes_max=settings.upload_bytes_max,
                cors_origins=settings.cors_origins,
            ),
            access_log=access_log(measured, service=Service.EXPERIENCE),
        )
        wanted = {Service.EXPERIENCE: (surface.create_app(), settings.host, settings.port)}
        async with _listening(wanted, ServerSettings(drain_s=settings.drain_timeout_s)) as addresses:
            _spare_the_collector()
            on_ready(addresses)
            await stop.wait()


def _spare_the_collector() -> None:
    """What boot has made stays for good: the collector need not walk it again and again.

    Without this each full collection walks all of it while the event loop stands still, and the slowest requests are
    those that wait for one.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _runtime_answers(runtime_url: str, *, timeout_s: float) -> None:
    failed = StartupFailed(
        f"the Runtime at {runtime_url} did not answer within {timeout_s:g} s",
        service="runtime",
        remedy="Start it with `symphainy runtime`, or correct --runtime-url",
    )
    try:
        async with asyncio.timeout(timeout_s), ExperienceSDK.connect(runtime_url) as sdk:
            await sdk.health()
    except (TimeoutError, Unreachable):
        raise failed from None


@asynccontextmanager
async def _listening(
    wanted: dict[Service, tuple[ServiceApp, str, int]], settings: ServerSettings
) -> AsyncIterator[Addresses]:
    urls: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        for service, (app, host, port) in wanted.items():
            server = HttpServer(app, host=host, port=port, now_ms=SystemClock().now_ms, settings=settings)
            await server.start()
            stack.push_async_callback(server.stop)
            urls[service.value] = server.url
        _logger.info("ready", **urls)
        yield Addresses(**urls)
        _logger.info("stopping")
    _logger.info("stopped")


@asynccontextmanager
async def _signals() -> AsyncIterator[asyncio.Event]:
    """Set by the first signal to stop. The second one cancels, as if nobody had asked nicely."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(number: signal.Signals) -> None:
        _logger.info("signal", signal=number.name, again=stop.is_set())
        if stop.is_set():
            task.cancel()
        stop.set()

    for each in STOP_SIGNALS:
        loop.add_signal_handler(each, on_signal, each)
    try:
        yield stop
    finally:
        for each in STOP_SIGNALS:
            loop.remove_signal_handler(each)
