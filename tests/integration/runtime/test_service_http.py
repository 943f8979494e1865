"""The Runtime over HTTP: callers of this machine without a token, the older paths, the metrics; none in production."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from symphainy.model import Role
from symphainy.wire.operations import Access, Operation
from symphainy.wire.routes import CREATE_ANONYMOUS_SESSION, FIRST_PUBLISHED, SHARED
from symphainy.wire.server import HttpServer
from tests.services import OTHER_TENANT, TENANT, Platform, client_of, platform, served

GUARDED = [each for each in (*SHARED, *FIRST_PUBLISHED) if each.access is Access.IDENTIFIED]


@pytest.fixture
async def city(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform(tmp_path) as running:
        yield running


@pytest.fixture
async def runtime(city: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(city.runtime_service().create_app()) as client:
        yield client


async def opened(client: httpx2.AsyncClient, tenant: str = TENANT) -> str:
    answer = await client.post("/api/session/create", json={"tenant_id": tenant, "user_id": "developer"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])


async def test_the_first_published_samples_work_as_they_stand(city: Platform) -> None:
    """As curl sends them: over a socket, without a token, with the paths and fields of the first samples."""
    async with served(city.runtime_service().create_app()) as server, httpx2.AsyncClient() as curl:
        url = server.url
        made = await curl.post(f"{url}/session/create", json={"tenant_id": "acme", "user_id": "developer"})
        session_id = made.json()["session_id"]
        assert (made.status_code, made.json()["user_id"]) == (201, "developer")
        sample = {
            "intent_type": "parrot.say",
            "realm": "parrot",
            "tenant_id": "acme",
            "session_id": session_id,
            "payload": {"text": "x", "file_path": "/tmp/test.txt"},
        }
        accepted = await curl.post(f"{url}/intent/submit", json=sample, headers={"Prefer": "wait=10"})
        assert (accepted.status_code, accepted.json()["result"]) == (200, {"text": "x"})
        execution_id = accepted.json()["execution_id"]
        status = await curl.get(f"{url}/execution/{execution_id}/status", params={"tenant_id": "acme"})
        assert (status.status_code, status.json()["status"]) == (200, "completed")
        again = await curl.get(f"{url}/session/{session_id}", params={"tenant_id": "acme"})
        assert (again.status_code, again.json()) == (200, made.json())


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"realm": "content"}, "/realm"),
        ({"parameters": {"text": "x"}}, "/payload"),
        ({"payload": {}}, "/parameters/text"),
        ({"unknown": 1}, "/unknown"),
    ],
)
async def test_an_older_submission_is_checked(
    runtime: httpx2.AsyncClient, changes: dict[str, Any], pointer: str
) -> None:
    body = {
        "intent_type": "say",
        "tenant_id": TENANT,
        "session_id": await opened(runtime),
        "realm": "parrot",
        "payload": {"text": "x"},
    }
    answer = await runtime.post("/intent/submit", json=body | changes)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_an_older_submission_may_also_say_parameters(runtime: httpx2.AsyncClient) -> None:
    body = {"intent_type": "say", "tenant_id": TENANT, "session_id": await opened(runtime), "parameters": {"text": "x"}}
    assert (await runtime.post("/intent/submit", json=body)).status_code == 202


async def test_a_developer_acts_in_the_tenant_it_names_and_only_there(runtime: httpx2.AsyncClient) -> None:
    session_id = await opened(runtime)
    found = await runtime.get(f"/api/session/{session_id}", params={"tenant_id": TENANT})
    assert (found.status_code, found.json()["tenant_id"]) == (200, TENANT)
    elsewhere = await runtime.get(f"/api/session/{session_id}", params={"tenant_id": OTHER_TENANT})
    assert elsewhere.status_code == 404
    log = await runtime.get("/api/wal/events", params={"tenant_id": TENANT})
    assert (log.status_code, log.json()["events"][0]["event_type"]) == (200, "session_created")


def address(operation: Operation) -> str:
    path = operation.path
    for name in ("session_id", "execution_id", "artifact_id", "intent_type"):
        path = path.replace("{" + name + "}", f"{name[:3]}_1")
    return path


@pytest.mark.parametrize("operation", GUARDED, ids=lambda each: f"{each.method} {each.path}")
async def test_without_a_token_every_call_names_its_tenant(runtime: httpx2.AsyncClient, operation: Operation) -> None:
    if operation.form is not None:
        answer = await runtime.post(operation.path, data={"session_id": "ses_1"}, files={"file": ("x", b"x")})
    else:
        body = {name: value for name, value in (operation.body_example or {}).items() if name != "tenant_id"}
        answer = await runtime.request(operation.method, address(operation), json=body if operation.body else None)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert [each["pointer"] for each in answer.json()["errors"]] == ["/tenant_id"]


async def test_the_tenant_of_an_upload_may_stand_in_the_form_or_in_the_query(runtime: httpx2.AsyncClient) -> None:
    session_id = await opened(runtime)
    files = {"file": ("x", b"x")}
    form = {"session_id": session_id}
    in_form = await runtime.post("/v1/content/upload", data=form | {"tenant_id": TENANT}, files=files)
    in_query = await runtime.post(f"/v1/content/upload?tenant_id={TENANT}", data=form, files=files)
    assert (in_form.status_code, in_query.status_code) == (202, 202)
    both = await runtime.post(
        f"/v1/content/upload?tenant_id={OTHER_TENANT}", data=form | {"tenant_id": TENANT}, files=files
    )
    assert (both.status_code, both.json()["code"]) == (403, "tenant_mismatch")


async def test_a_token_counts_for_more_than_the_address(city: Platform, runtime: httpx2.AsyncClient) -> None:
    ada = city.headers("ada", Role.VIEWER)
    answer = await runtime.get("/api/wal/events", headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (403, "policy_denied")
    mismatch = await runtime.get(f"/api/intents?tenant_id={OTHER_TENANT}", headers=ada)
    assert (mismatch.status_code, mismatch.json()["code"]) == (403, "tenant_mismatch")
    bad = await runtime.get(f"/api/intents?tenant_id={TENANT}", headers={"Authorization": "Bearer a.b.c"})
    assert (bad.status_code, bad.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "rebound.example"},
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "10.0.0.1"},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_a_page_of_elsewhere_is_not_taken_for_a_developer(
    runtime: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    answer = await runtime.post("/api/session/create", json={"tenant_id": TENANT}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_a_program_of_another_machine_needs_a_token(city: Platform) -> None:
    transport = httpx2.ASGITransport(app=city.runtime_service().create_app(), client=("10.0.0.7", 5000))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        refused = await client.get(f"/api/intents?tenant_id={TENANT}")
        assert refused.status_code == 401
        assert (await client.get("/api/intents", headers=city.headers())).status_code == 200


@pytest.mark.parametrize("operation", GUARDED, ids=lambda each: f"{each.method} {each.path}")
async def test_in_production_nobody_comes_without_a_token(city: Platform, operation: Operation) -> None:
    async with client_of(city.runtime_service(development=False).create_app()) as client:
        answer = await client.request(
            operation.method, f"{address(operation)}?tenant_id={TENANT}", json=operation.body_example
        )
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_in_production_a_path_on_the_machine_is_refused(city: Platform) -> None:
    async with client_of(city.runtime_service(development=False).create_app(), headers=city.headers()) as client:
        session_id = (await client.post("/api/session/create", json={})).json()["session_id"]
        body = {"intent_type": "say", "session_id": session_id, "payload": {"text": "x", "file_path": "/etc/passwd"}}
        answer = await client.post("/intent/submit", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/payload/file_path")


async def test_the_metrics_are_there_for_prometheus(runtime: httpx2.AsyncClient) -> None:
    await opened(runtime)
    answer = await runtime.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert b"# TYPE process_cpu_seconds_total counter" in answer.content


async def test_the_runtime_opens_anonymous_sessions_too(runtime: httpx2.AsyncClient) -> None:
    made = await runtime.post(CREATE_ANONYMOUS_SESSION.path)
    assert (made.status_code, made.json()["is_anonymous"]) == (201, True)


async def test_the_runtime_has_no_socket(city: Platform) -> None:
    async with served(city.runtime_service().create_app()) as server:
        with pytest.raises(InvalidStatus):
            async with connect(f"ws://127.0.0.1:{server.port}/api/execution/exe_1/stream"):
                raise AssertionError("it was let in")


@pytest.mark.parametrize("development", [True, False])
async def test_the_document_says_whether_a_token_is_always_needed(city: Platform, development: bool) -> None:
    document = city.runtime_service(development=development).create_app().openapi()
    security = document["paths"]["/api/intents"]["get"]["security"]
    assert security == ([{"token": []}, {}] if development else [{"token": []}])
    assert {"/session/create", "/session/{session_id}", "/intent/submit", "/metrics"} <= set(document["paths"])
    ids = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids))


async def test_a_stopped_runtime_gives_its_port_back(city: Platform) -> None:
    server = HttpServer(city.runtime_service().create_app(), host="127.0.0.1", port=0, now_ms=lambda: 0)
    await server.start()
    port = server.port
    await server.stop()
    again = HttpServer(city.runtime_service().create_app(), host="127.0.0.1", port=port, now_ms=lambda: 0)
    await again.start()
    assert again.port == port
    await again.stop()
