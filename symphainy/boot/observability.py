"""What the platform says about itself: structured logs, and OpenTelemetry where a collector is configured.

Every line of the log carries the ids that are bound where it was written:

    with structlog.contextvars.bound_contextvars(execution_id=execution_id): ...

Secrets are redacted by the names of their keys and by their shape, and whatever could start a new line or drive a
terminal is written as an escape.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, TextIO

import msgspec
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import Processor

from symphainy import __version__
from symphainy.boot.config import REDACTED, Profile
from symphainy.civic.data_steward import names_a_secret
from symphainy.errors import MissingExtra
from symphainy.model.instant import instant
from symphainy.ports import Clock
from symphainy.public_works.telemetry import RegistryTelemetry
from symphainy.wire.edge import AccessLog, Served

VALUE_CHARS_MAX = 4000
EXPORT_TIMEOUT_S = 5.0
TOO_MANY = 429
#: Further ones come from whoever makes them up, and are no labels.
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "WS"})

# C0 and C1 controls, DEL, line and paragraph separators, and the marks that reorder text.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SECRETS = re.compile(
    r"(?P<bearer>\bBearer\s+)[\w.~+/=-]+"
    r"|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@]*:[^\s/@]*(?P<at>@)",
    re.IGNORECASE,
)


def warnings_only() -> None:
    """For programs that hold a platform and have said nothing of logs: what is amiss goes to standard error."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.ExceptionRenderer(),
            redact,
            escape,
            _Console(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        # Looked up for each line: tests and notebooks put another stream there at any time.
        logger_factory=lambda *_: _Lines(sys.stderr),
        cache_logger_on_first_use=False,
    )


def configure_logging(*, level: str, form: str, clock: Clock, stream: TextIO | None = None) -> None:
    """Send the log of this process, also that of libraries, to `stream` (standard error). `form`: `json` or `console`.

    Standard output stays free for what a command answers.
    """
    target = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.ExceptionRenderer(),
        _Stamp(clock),
        redact,
        escape,
    ]
    last: Processor = _as_json if form == "json" else _Console(colors=target.isatty())
    severity = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(severity),
        logger_factory=lambda *_: _Lines(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(severity, logging.WARNING))
    logging.getLogger("symphainy").setLevel(severity)


def redact(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Without secrets, however deep they lie."""
    return {key: _without_secrets(key, value) for key, value in entry.items()}


def _without_secrets(key: str, value: Any) -> Any:
    if value is not None and not isinstance(value, bool) and names_a_secret(key):
        return REDACTED
    match value:
        case str():
            return _SECRETS.sub(_redacted, value)
        case dict():
            return {str(name): _without_secrets(str(name), each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_without_secrets("", each) for each in value]
        case None | bool() | int() | float():
            return value
        case bytes() | bytearray() | memoryview():
            return f"{len(value)} bytes"
        case _:
            return _SECRETS.sub(_redacted, str(value))


def _redacted(match: re.Match[str]) -> str:
    return f"{match['bearer'] or match['scheme'] or ''}{REDACTED}{match['at'] or ''}"


def escape(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """One entry stays one line, and text from outside cannot drive the terminal that shows it."""
    return {_plain(key): _escaped(value) if key != "exception" else value for key, value in entry.items()}


def _escaped(value: Any) -> Any:
    match value:
        case str():
            return _plain(value)
        case dict():
            return {_plain(str(name)): _escaped(each) for name, each in value.items()}
        case list():
            return [_escaped(each) for each in value]
        case _:
            return value


def _plain(text: str) -> str:
    if len(text) > VALUE_CHARS_MAX:
        text = f"{text[:VALUE_CHARS_MAX]}… ({len(text)} characters)"
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def _as_json(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> str:
    if isinstance(trace := entry.get("exception"), str):
        entry["exception"] = [_plain(line) for line in trace.splitlines()]
    return msgspec.json.encode(entry, enc_hook=str).decode()


class _Console:
    """For people: one line an entry, the lines of a traceback indented below it."""

    def __init__(self, *, colors: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=colors, pad_event_to=0, sort_keys=False)

    def __call__(self, logger: Any, method: str, entry: MutableMapping[str, Any]) -> str:
        trace = entry.pop("exception", None)
        line = str(self._render(logger, method, entry))
        if isinstance(trace, str):
            line += "".join(f"\n    {_plain(each)}" for each in trace.splitlines())
        return line


class _Stamp:
    """Adds `timestamp`, from the clock that the platform runs by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        entry["timestamp"] = instant(self._clock.now_ms())
        return entry


class _Lines:
    """Writes lines. When whoever reads them has gone, the work goes on without a log."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        # ValueError: the stream is closed already.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(f"{message}\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def access_log(measured: RegistryTelemetry, *, service: str) -> AccessLog:
    """Measures every request, and logs those that were refused or failed; the others on the level `debug`.

    Refusals by rate stand aggregated in the log of their tenant, so a flood writes nothing here.
    """
    log = structlog.get_logger("symphainy.http")
    levels = {4: log.info, 5: log.warning}

    def written(served: Served) -> None:
        route = served.route or "none"
        measured.observe(
            "http_request",
            served.duration_s,
            service=service,
            method=served.method if served.method in METHODS else "other",
            route=route,
            status=str(served.status),
        )
        write = log.debug if served.status == TOO_MANY else levels.get(served.status // 100, log.debug)
        write(
            "request",
            service=service,
            method=served.method,
            path=served.path,
            status=served.status,
            seconds=round(served.duration_s, 6),
            bytes=served.bytes_sent,
            client=served.client,
            request_id=served.request_id,
        )

    return written


class Traced:
    """Pure ASGI: each request is a span, in the trace that its client began (W3C `traceparent`)."""

    def __init__(self, app: ASGIApp, *, measured: RegistryTelemetry) -> None:
        self._app = app
        self._measured = measured

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        traceparent = dict(scope["headers"]).get(b"traceparent")
        with self._measured.request_span(
            f"{scope.get('method', 'WS')} request",
            traceparent=None if traceparent is None else traceparent.decode("latin-1"),
        ):
            await self._app(scope, receive, send)


@asynccontextmanager
async def telemetry(*, otel_endpoint: str | None, profile: Profile) -> AsyncIterator[RegistryTelemetry]:
    """Metrics for `/metrics`, and with an endpoint also traces and metrics by OTLP over HTTP, flushed at the end.

    Raises `MissingExtra` when an endpoint is set and the extra [otel] is not installed.
    """
    if otel_endpoint is None:
        yield RegistryTelemetry()
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise MissingExtra("otel", needed_for=f"exporting to {otel_endpoint}") from None
    base = otel_endpoint.rstrip("/")
    resource = Resource.create(
        {
            "service.name": "symphainy",
            "service.version": __version__,
            "deployment.environment.name": profile.value,
        }
    )
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=EXPORT_TIMEOUT_S))
    )
    meters = MeterProvider(
        resource=resource,
        metric_readers=[
            PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=EXPORT_TIMEOUT_S))
        ],
    )
    # Handed to the adapter and not set globally: two platforms in one process do not mix.
    try:
        yield RegistryTelemetry(
            tracer=tracers.get_tracer("symphainy", __version__), meter=meters.get_meter("symphainy", __version__)
        )
    finally:
        await _shut(tracers, meters)


async def _shut(*providers: Any) -> None:
    """Flush and stop. Both block, for as long as the collector does."""
    for provider in providers:
        await asyncio.to_thread(provider.shutdown)
