"""Experience and Runtime apart, joined by HTTP: the same answers, and honest ones when the Runtime is gone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from symphainy.experience import ExperienceService
from symphainy.model import Role
from symphainy.wire.server import HttpServer
from tests.loopback import loopback, say
from tests.services import OTHER_TENANT, Parrot, Platform, client_of, kept, opened, said, served


@pytest.fixture
async def runtime(city: Platform) -> AsyncIterator[HttpServer]:
    async with served(city.runtime_service().create_app()) as running:
        yield running


@pytest.fixture(params=["verified here too", "verified by the Runtime alone"])
async def apart(request: pytest.FixtureRequest, city: Platform, runtime: HttpServer) -> AsyncIterator[HttpServer]:
    verify = city.verifier.verify if request.param == "verified here too" else None
    service = ExperienceService(runtime.url, verify=verify)
    async with served(service.create_app()) as running:
        yield running


@pytest.fixture
async def client(city: Platform, apart: HttpServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=apart.url, timeout=10) as client:
        yield client


def test_the_service_is_made_from_an_address_alone() -> None:
    app = ExperienceService("http://127.0.0.1:8000").create_app()
    assert app.title == "Symphainy Experience Plane"
    assert "/api/intent/submit" in app.openapi()["paths"]


def test_a_service_without_a_runtime_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="runtime_url"):
        ExperienceService()


async def test_the_main_path_is_the_same_over_two_hops(city: Platform, client: httpx2.AsyncClient) -> None:
    ada = city.headers()
    execution = await said(client, ada)
    assert (execution["status"], execution["result"], execution["user_id"]) == ("completed", {"text": "hi"}, "ada")
    async with client_of(city.experience_service().create_app()) as inside:
        path = f"/api/execution/{execution['execution_id']}/status?include_steps=1"
        assert (await client.get(path, headers=ada)).json() == (await inside.get(path, headers=ada)).json()
    artifact_id = await kept(client, ada, b"hello world")
    part = await client.get(f"/api/artifacts/{artifact_id}/content", headers=ada | {"Range": "bytes=6-"})
    assert (part.status_code, part.content) == (206, b"world")
    lines = (await client.get(f"/api/execution/{execution['execution_id']}/stream?after=0", headers=ada)).text
    assert [line for line in lines.splitlines() if line.startswith("event")] == [
        *("event: intent_received", "event: execution_started", "event: said", "event: execution_completed"),
    ]
    ended = await client.get(f"/api/execution/{execution['execution_id']}/stream?after=4", headers=ada)
    assert ended.status_code == 204


async def test_a_socket_is_not_acknowledged_before_its_token_is_known_to_be_good(apart: HttpServer) -> None:
    url = apart.url.replace("http", "ws", 1) + "/api/execution/exe_1/stream"
    async with connect(url) as connection:
        await connection.send('{"type": "connection_init", "token": "bad"}')
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 4401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/intents/nope", None, 404, "unknown_intent"),
        ("GET", "/api/session/ses_1", None, 404, "session_required"),
        ("GET", "/api/execution/exe_1/status", None, 404, "not_found"),
        ("GET", "/api/execution/exe_1/stream", None, 404, "not_found"),
        ("GET", "/api/execution/exe_1/stream?after=1", None, 404, "not_found"),
        ("POST", "/api/intent/submit", {"intent_type": "sya", "session_id": "ses_1"}, 404, "unknown_intent"),
        ("POST", "/api/intent/submit", {"intent_type": "say"}, 422, "validation_failed"),
        ("GET", f"/api/intents?tenant_id={OTHER_TENANT}", None, 403, "tenant_mismatch"),
        ("POST", "/api/session/create", {"tenant_id": OTHER_TENANT}, 403, "tenant_mismatch"),
        ("GET", "/api/wal/events", None, 403, "policy_denied"),
        ("GET", "/api/artifacts/art_1/content", None, 404, "not_found"),
    ],
)
async def test_refusals_come_through_as_they_are(
    city: Platform, client: httpx2.AsyncClient, method: str, path: str, body: object, status: int, code: str
) -> None:
    answer = await client.request(method, path, json=body, headers=city.headers() | {"X-Request-Id": "r-1"})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"], problem["request_id"]) == (
        status,
        code,
        status,
        "r-1",
    )
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("authorization", [None, "Bearer a.b.c"])
async def test_nobody_gets_in_without_a_good_token(client: httpx2.AsyncClient, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    for path in ("/api/intents", "/api/intents?tenant_id=acme", "/api/session/ses_1"):
        answer = await client.get(path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_the_request_id_goes_along(city: Platform, client: httpx2.AsyncClient) -> None:
    ada = city.headers()
    body = {"intent_type": "say", "session_id": await opened(client, ada), "parameters": {"text": "x"}}
    await client.post("/api/intent/submit", json=body, headers=ada | {"X-Request-Id": "along"})
    chief = city.headers("chief", Role.OPERATOR)
    found = await client.get("/api/wal/events?event_type=intent_received", headers=chief)
    assert found.json()["events"][0]["payload"]["request_id"] == "along"


async def test_a_key_counts_over_two_hops(city: Platform, client: httpx2.AsyncClient) -> None:
    ada = city.headers()
    body = {"intent_type": "say", "session_id": await opened(client, ada), "parameters": {"text": "x"}}
    keyed = ada | {"Idempotency-Key": "k"}
    first, again = [await client.post("/api/intent/submit", json=body, headers=keyed) for _ in range(2)]
    assert (again.headers["Idempotency-Replayed"], again.json()) == ("true", first.json())


async def test_a_path_on_the_machine_is_refused_before_it_reaches_the_runtime(
    city: Platform, client: httpx2.AsyncClient
) -> None:
    ada = city.headers()
    body = {
        "intent_type": "say",
        "session_id": await opened(client, ada),
        "parameters": {"text": "x", "file_path": "/etc/passwd"},
    }
    answer = await client.post("/api/intent/submit", json=body, headers=ada)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/parameters/file_path")


async def test_anonymous_sessions_are_opened_by_the_runtime(client: httpx2.AsyncClient) -> None:
    made = (await client.post("/api/session/create-anonymous", json={"context": {"a": 1}})).json()
    headers = {"Authorization": f"Bearer {made['access_token']}"}
    found = await client.get(f"/api/session/{made['session_id']}", headers=headers)
    assert (found.status_code, found.json()["context"]) == (200, {"a": 1})


async def test_health_is_the_runtimes_own(city: Platform, client: httpx2.AsyncClient) -> None:
    for condition, status in (("ok", 200), ("down", 503)):
        city.condition = condition
        answer = await client.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (status, condition)


async def test_without_a_runtime_experience_says_so(
    city: Platform, runtime: HttpServer, client: httpx2.AsyncClient
) -> None:
    port = str(runtime.port)
    await runtime.stop()
    health = await client.get("/health")
    assert (health.status_code, health.json()["status"]) == (503, "down")
    assert health.json()["checks"]["runtime"]["status"] == "down"
    answer = await client.get("/api/intents", headers=city.headers())
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (503, "unreachable", True)
    assert answer.headers["Retry-After"] == "1"
    assert port not in answer.text + health.text


async def test_a_stream_that_the_runtime_drops_has_no_end_and_can_be_resumed(
    city: Platform, runtime: HttpServer, client: httpx2.AsyncClient
) -> None:
    ada = city.headers()
    body = {"intent_type": "wait_for_it", "session_id": await opened(client, ada)}
    execution_id = (await client.post("/api/intent/submit", json=body, headers=ada)).json()["execution_id"]
    text = ""
    with contextlib.suppress(httpx2.RemoteProtocolError):
        async with client.stream("GET", f"/api/execution/{execution_id}/stream", headers=ada) as response:
            async for chunk in response.aiter_text():
                text += chunk
                await runtime.stop()
    assert text.startswith("id: ")
    assert "event: execution_completed" not in text
    Parrot.gates.setdefault(execution_id, asyncio.Event()).set()
    async with client_of(city.experience_service().create_app(), headers=ada) as elsewhere:
        seen = text.rpartition("id: ")[2].partition("\n")[0]
        rest = (await elsewhere.get(f"/api/execution/{execution_id}/stream?after={seen}")).text
    assert "event: execution_completed" in rest


async def test_an_answer_that_is_not_the_runtimes_is_a_bad_gateway(city: Platform) -> None:
    async with loopback(say(200, {"hello": "world"})) as other:
        app = ExperienceService(other.url, verify=city.verifier.verify).create_app()
        async with served(app) as server, httpx2.AsyncClient(base_url=server.url, headers=city.headers()) as client:
            answer = await client.get("/api/session/ses_1")
    assert (answer.status_code, answer.json()["code"]) == (502, "unexpected_answer")
