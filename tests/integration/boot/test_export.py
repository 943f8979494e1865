"""With an endpoint, traces and metrics reach a collector by OTLP; without one nothing leaves the process."""

import gzip
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx2
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import BaseModel

from symphainy.boot.config import Profile
from symphainy.boot.observability import telemetry
from symphainy.capability import Capability, ExecutionContext, IntentResult, intent
from symphainy.errors import MissingExtra
from symphainy.testing.platform import in_memory_platform

#: A `traceparent` as a client sends it.
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent: `(path, body)`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, Collector)
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def spans(collector: Collector) -> dict[str, Span]:
    return {span.name: span for span in all_spans(collector)}


def all_spans(collector: Collector) -> list[Span]:
    return [
        span
        for path, body in collector.received
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


async def test_spans_and_metrics_arrive_at_the_collector(collector: Collector) -> None:
    async with telemetry(otel_endpoint=collector.url, profile=Profile.PRODUCTION) as measured:
        with measured.span("execution", execution_id="exe_1"), measured.span("step", step="count"):
            measured.count("steps", status="completed")
            measured.observe("step", 0.25)
            measured.gauge("running", 3)
    found = spans(collector)
    assert set(found) == {"execution", "step"}
    assert found["step"].parent_span_id == found["execution"].span_id
    assert [(a.key, a.value.string_value) for a in found["execution"].attributes] == [("execution_id", "exe_1")]
    metrics = {
        metric.name
        for path, body in collector.received
        if path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert {"symphainy.steps", "symphainy.step", "symphainy.running"} <= metrics


async def test_work_that_goes_on_elsewhere_stays_in_the_trace_of_its_request(collector: Collector) -> None:
    async with telemetry(otel_endpoint=collector.url, profile=Profile.PRODUCTION) as measured:
        with measured.request_span("POST request", traceparent=CLIENT):
            kept = measured.trace()
        with measured.span("execution", parent=kept), measured.span("step"):
            pass
        with measured.request_span("GET request", traceparent="nonsense"):
            pass
        assert measured.trace() is None
    found = spans(collector)
    own = ("POST request", "execution", "step")
    assert {found[name].trace_id.hex() for name in own} == {"0af7651916cd43dd8448eb211c80319c"}
    assert found["POST request"].parent_span_id.hex() == "b7ad6b7169203331"
    assert found["execution"].parent_span_id == found["POST request"].span_id
    assert found["GET request"].trace_id.hex() != "0af7651916cd43dd8448eb211c80319c"


class Nothing(BaseModel):
    pass


class Traced(Capability):
    name = "traced"

    @intent("trace_me")
    async def trace_me(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """One step."""
        await ctx.step("only", lambda: 1)
        return IntentResult()


async def test_an_execution_stays_in_the_trace_of_the_request_that_submitted_it(collector: Collector) -> None:
    async with in_memory_platform(capabilities=[Traced], otel_endpoint=collector.url) as p:
        transport = httpx2.ASGITransport(app=p.runtime_app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            opened = await client.post("/api/session/create", json={"tenant_id": "acme"})
            submitted = await client.post(
                "/api/intent/submit",
                json={
                    "tenant_id": "acme",
                    "session_id": opened.json()["session_id"],
                    "intent_type": "trace_me",
                },
                headers={"traceparent": CLIENT, "Prefer": "wait=20"},
            )
            assert submitted.json()["status"] == "completed"
    found = [span for span in all_spans(collector) if span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"]
    assert {span.name for span in found} == {"POST request", "admission", "execution", "step"}


async def test_prometheus_reads_the_same_figures(collector: Collector) -> None:
    async with telemetry(otel_endpoint=collector.url, profile=Profile.DEVELOPMENT) as measured:
        measured.count("steps", status="completed")
        assert b'symphainy_steps_total{status="completed"} 1.0' in measured.text()


async def test_without_an_endpoint_nothing_is_sent(collector: Collector) -> None:
    async with telemetry(otel_endpoint=None, profile=Profile.DEVELOPMENT) as measured:
        with measured.span("execution"):
            measured.count("steps")
    assert collector.received == []


async def test_an_endpoint_without_the_extra_is_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(MissingExtra, match=r"pip install 'symphainy\[otel\]'"):
        async with telemetry(otel_endpoint="http://127.0.0.1:1", profile=Profile.DEVELOPMENT):
            pass
