"""Who gets in, on every route there is: taken from the document, so that no route can be forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from symphainy.identity import DevelopmentIssuer
from symphainy.model import Role
from symphainy.testing.clock import VirtualClock
from symphainy.testing.ids import SeededIds
from symphainy.wire.operations import Access, Operation
from symphainy.wire.routes import CREATE_ANONYMOUS_SESSION, SHARED
from tests.services import OTHER_TENANT, Platform

OPERATIONS = (*SHARED, CREATE_ANONYMOUS_SESSION)
GUARDED = [each for each in OPERATIONS if each.access is Access.IDENTIFIED]
NAMES = [f"{each.method} {each.path}" for each in GUARDED]


def address(operation: Operation) -> str:
    path = operation.path
    for name in ("session_id", "execution_id", "artifact_id", "intent_type"):
        path = path.replace("{" + name + "}", f"{name[:3]}_1")
    return path


async def asked(
    client: httpx2.AsyncClient, operation: Operation, headers: dict[str, str], body: Any = None, query: str = ""
) -> httpx2.Response:
    return await client.request(operation.method, address(operation) + query, headers=headers, json=body)


@pytest.mark.parametrize("operation", GUARDED, ids=NAMES)
@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Basic YTpi", "Bearer null", "Bearer a.b.c", "bearer " + "x" * 9000]
)
async def test_nobody_gets_in_without_a_good_token(
    experience: httpx2.AsyncClient, operation: Operation, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await asked(experience, operation, headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    challenge = 'Bearer realm="symphainy"'
    if authorization is not None:
        challenge += ', error="invalid_token"'
    assert answer.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("operation", GUARDED, ids=NAMES)
async def test_a_token_in_the_address_is_no_token(
    city: Platform, experience: httpx2.AsyncClient, operation: Operation
) -> None:
    for name in ("access_token", "token", "authorization"):
        answer = await asked(experience, operation, {}, query=f"?{name}={city.token()}")
        assert answer.status_code == 401


@pytest.mark.parametrize("operation", GUARDED, ids=NAMES)
async def test_a_token_of_another_installation_is_no_token(
    tmp_path: Path, city: Platform, experience: httpx2.AsyncClient, operation: Operation
) -> None:
    clock = VirtualClock(city.api.engine.clock.now())
    foreign = DevelopmentIssuer(tmp_path / "foreign", profile="development", clock=clock, ids=SeededIds())
    token = foreign.mint("acme", "ada", [Role.ADMIN]).access_token
    assert (await asked(experience, operation, {"Authorization": f"Bearer {token}"})).status_code == 401


async def test_naming_another_tenant_stands_in_the_log_of_the_caller(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    await experience.get(f"/api/realms?tenant_id={OTHER_TENANT}", headers=city.headers())
    log = await experience.get("/api/wal/events?event_type=policy_decided", headers=city.headers("op", Role.OPERATOR))
    (refusal,) = log.json()["events"]
    assert (refusal["payload"]["policy"], refusal["payload"]["user_id"]) == ("security_guard.tenant_wall", "ada")


async def test_a_session_is_its_callers_whatever_the_body_says(city: Platform, experience: httpx2.AsyncClient) -> None:
    made = await experience.post("/api/session/create", headers=city.headers(), json={"user_id": "grace"})
    assert (made.status_code, made.json()["user_id"]) == (201, "ada")


@pytest.mark.parametrize("operation", GUARDED, ids=NAMES)
async def test_naming_another_tenant_is_refused(
    city: Platform, experience: httpx2.AsyncClient, operation: Operation
) -> None:
    answer = await asked(
        experience, operation, city.headers(), query=f"?tenant_id={OTHER_TENANT}", body=example(operation)
    )
    if operation.form is not None:
        answer = await uploaded(experience, city.headers(), query=f"?tenant_id={OTHER_TENANT}")
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch")


@pytest.mark.parametrize("operation", [each for each in GUARDED if each.body is not None], ids=lambda each: each.path)
async def test_naming_another_tenant_in_the_body_is_refused(
    city: Platform, experience: httpx2.AsyncClient, operation: Operation
) -> None:
    named = {**example(operation), "tenant_id": OTHER_TENANT}
    answer = await asked(experience, operation, city.headers(), body=named)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch")
    own = {**example(operation), "tenant_id": "acme"}
    answer = await asked(experience, operation, city.headers(), body=own, query=f"?tenant_id={OTHER_TENANT}")
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch")


async def test_naming_another_tenant_in_a_form_is_refused(city: Platform, experience: httpx2.AsyncClient) -> None:
    answer = await uploaded(experience, city.headers(), tenant_id=OTHER_TENANT)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch")


async def test_one_intent_of_a_batch_may_not_name_another_tenant(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    ada = city.headers()
    session_id = (await experience.post("/api/session/create", json={}, headers=ada)).json()["session_id"]
    item = {"intent_type": "say", "session_id": session_id, "parameters": {"text": "x"}}
    foreign = item | {"tenant_id": OTHER_TENANT}
    answer = await experience.post("/api/intent/submit-batch", json={"intents": [item, foreign]}, headers=ada)
    accepted, refused = answer.json()
    assert (accepted["status"], refused["code"], refused["status"]) == ("accepted", "tenant_mismatch", 403)
    whole = {"tenant_id": "acme", "intents": [item, foreign]}
    answer = await experience.post("/api/intent/submit-batch", json=whole, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (403, "tenant_mismatch")


async def test_naming_ones_own_tenant_changes_nothing(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    answer = await experience.post("/api/session/create?tenant_id=acme", json={"tenant_id": "acme"}, headers=ada)
    assert answer.status_code == 201


@pytest.mark.parametrize("tenant", ["ACME", "a:b", "", "a" * 64, "-a", "a%00"])
async def test_a_tenant_that_can_be_none_is_refused(
    city: Platform, experience: httpx2.AsyncClient, tenant: str
) -> None:
    answer = await experience.get(f"/api/intents?tenant_id={tenant}", headers=city.headers())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_an_anonymous_caller_has_its_session_and_nothing_else(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    made = (await experience.post("/api/session/create-anonymous")).json()
    headers = {"Authorization": f"Bearer {made['access_token']}"}
    refused = await experience.get("/api/wal/events", headers=headers)
    assert refused.status_code == 403
    second = await experience.post("/api/session/create", json={}, headers=headers)
    assert second.status_code == 403
    body = {"intent_type": "for_operators", "session_id": made["session_id"]}
    answer = await experience.post("/api/intent/submit", json=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "policy_denied")


async def test_a_role_that_is_missing_is_named(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    session_id = (await experience.post("/api/session/create", json={}, headers=ada)).json()["session_id"]
    body = {"intent_type": "for_operators", "session_id": session_id}
    refused = await experience.post("/api/intent/submit", json=body, headers=ada)
    problem = refused.json()
    assert (refused.status_code, problem["code"], problem["policy"]) == (403, "policy_denied", "security_guard.role")
    assert "operator" in problem["reason"]


async def test_what_is_wrong_with_a_body_is_told_to_those_who_may_send_it(
    experience: httpx2.AsyncClient, city: Platform
) -> None:
    for headers, status in (({}, 401), (city.headers(), 422)):
        answer = await experience.post("/api/intent/submit", json={"nonsense": 1}, headers=headers)
        assert answer.status_code == status


def example(operation: Operation) -> dict[str, Any]:
    return dict(operation.body_example or {})


async def uploaded(
    client: httpx2.AsyncClient, headers: dict[str, str], *, query: str = "", **fields: str
) -> httpx2.Response:
    return await client.post(
        f"/v1/content/upload{query}",
        data={"session_id": "ses_1"} | fields,
        files={"file": ("a", b"x")},
        headers=headers,
    )
