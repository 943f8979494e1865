"""Metrics for Prometheus and, where a collector is configured, for OpenTelemetry; traces for the latter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

PREFIX = "symphainy_"
_W3C = TraceContextTextMapPropagator()

#: Seconds. From one commit to a long parse.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class RegistryTelemetry:
    """`Telemetry` with a registry of its own: two platforms in one process do not mix.

    A metric comes into being when it is first counted, with the labels that it has then; later calls use the same.
    With `tracer` and `meter` everything also goes to OpenTelemetry.
    """

    def __init__(self, *, tracer: Tracer | None = None, meter: Meter | None = None) -> None:
        self._registry = CollectorRegistry()
        self._tracer = tracer
        self._meter = meter
        self._metrics: dict[str, Any] = {}
        self._instruments: dict[str, Any] = {}
        # Looking a child up by its labels costs Prometheus five times what counting does.
        self._children: dict[tuple[Any, ...], Any] = {}
        ProcessCollector(registry=self._registry)

    @property
    def is_tracing(self) -> bool:
        return self._tracer is not None

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        self._child(Counter, name, labels).inc(value)
        if self._meter is not None:
            self._instrument("counter", name).add(value, labels)

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Shown as `<name>_seconds`."""
        self._child(Histogram, name, labels).observe(seconds)
        if self._meter is not None:
            self._instrument("histogram", name).record(seconds, labels)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._child(Gauge, name, labels).set(value)
        if self._meter is not None:
            self._instrument("gauge", name).set(value, labels)

    def span(self, name: str, *, parent: str | None = None, **attributes: str) -> AbstractContextManager[None]:
        if self._tracer is None:
            return nullcontext()
        return _span(self._tracer, name, _context(parent), SpanKind.INTERNAL, attributes)

    def request_span(self, name: str, *, traceparent: str | None) -> AbstractContextManager[None]:
        """The span of one request that came in, as part of its client's trace."""
        if self._tracer is None:
            return nullcontext()
        return _span(self._tracer, name, _context(traceparent), SpanKind.SERVER, {})

    def trace(self) -> str | None:
        if self._tracer is None:
            return None
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier.get("traceparent")

    def text(self) -> bytes:
        """The metrics as Prometheus reads them (text format 0.0.4)."""
        return generate_latest(self._registry)

    def _child(self, kind: Any, name: str, labels: dict[str, str]) -> Any:
        key = (name, *labels.items())
        child = self._children.get(key)
        if child is None:
            metric = self._metrics.get(name)
            if metric is None:
                metric = self._metrics[name] = self._new(kind, name, labels)
            child = self._children[key] = metric.labels(**labels) if labels else metric
        return child

    def _new(self, kind: Any, name: str, labels: dict[str, str]) -> Any:
        said = name.replace("_", " ")
        if kind is Histogram:
            return Histogram(
                f"{PREFIX}{name}_seconds",
                f"{said}, in seconds",
                tuple(labels),
                buckets=BUCKETS_S,
                registry=self._registry,
            )
        return kind(f"{PREFIX}{name}", said, tuple(labels), registry=self._registry)

    def _instrument(self, kind: str, name: str) -> Any:
        found = self._instruments.get(name)
        if found is None:
            assert self._meter is not None
            make = getattr(self._meter, f"create_{kind}")
            found = self._instruments[name] = make(f"symphainy.{name}", unit="s" if kind == "histogram" else "1")
        return found


def _context(traceparent: str | None) -> Context | None:
    """None goes on from the span that is running."""
    return None if traceparent is None else _W3C.extract({"traceparent": traceparent}, Context())


@contextmanager
def _span(
    tracer: Tracer, name: str, context: Context | None, kind: SpanKind, attributes: dict[str, str]
) -> Iterator[None]:
    with tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes):
        yield
