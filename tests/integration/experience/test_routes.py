"""Each route of Experience, as the contract has it, over a real runtime in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from symphainy.civic.city_manager import CityState
from symphainy.model import Role
from symphainy.wire.edge import Served
from tests.services import OTHER_TENANT, TENANT, Parrot, Platform, client_of, kept, opened, said

# --- sessions ---


async def test_a_session_lives_from_open_to_closed(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers("ada")
    made = await experience.post(
        "/api/session/create", json={"context": {"a": 1, "b": 2}, "metadata": {"m": 1}}, headers=ada
    )
    session = made.json()
    assert made.status_code == 201
    assert made.headers["Location"] == f"/api/session/{session['session_id']}"
    assert session == {
        "session_id": session["session_id"],
        "tenant_id": TENANT,
        "user_id": "ada",
        "solution_id": "default",
        "is_anonymous": False,
        "lifecycle_state": "active",
        "context": {"a": 1, "b": 2},
        "active_sagas": [],
        "metadata": {"m": 1},
        "created_at": session["created_at"],
        "updated_at": session["created_at"],
        "expires_at": session["expires_at"],
    }
    path = made.headers["Location"]
    assert (await experience.get(path, headers=ada)).json() == session
    patched = await experience.patch(path, json={"context": {"b": None, "c": {"d": 3}}}, headers=ada)
    assert (patched.status_code, patched.json()["context"]) == (200, {"a": 1, "c": {"d": 3}})
    closed = await experience.post(f"{path}/close", headers=ada)
    assert (closed.status_code, closed.json()["lifecycle_state"]) == (200, "closed")
    late = await experience.post(
        "/api/intent/submit",
        json={"intent_type": "say", "session_id": session["session_id"], "parameters": {"text": "x"}},
        headers=ada,
    )
    assert (late.status_code, late.json()["code"]) == (410, "session_expired")


async def test_an_anonymous_session_comes_with_the_token_that_opens_it(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    made = await experience.post("/api/session/create-anonymous", json={"context": {"a": 1}})
    session = made.json()
    assert made.status_code == 201
    assert (session["is_anonymous"], session["context"]) == (True, {"a": 1})
    assert session["tenant_id"].startswith("anon-")
    assert 0 < session["expires_in"] <= 24 * 3600
    anonymous = {"Authorization": f"Bearer {session['access_token']}"}
    found = await experience.get(f"/api/session/{session['session_id']}", headers=anonymous)
    assert found.status_code == 200
    assert found.json() == {k: v for k, v in session.items() if k not in ("access_token", "expires_in")}
    body = {"intent_type": "say", "session_id": session["session_id"], "parameters": {"text": "x"}}
    answer = await experience.post("/api/intent/submit", json=body, headers=anonymous | {"Prefer": "wait=10"})
    assert (answer.status_code, answer.json()["result"]) == (200, {"text": "x"})
    assert (await experience.get(f"/api/session/{session['session_id']}", headers=city.headers())).status_code == 404


async def test_two_anonymous_sessions_share_nothing(experience: httpx2.AsyncClient) -> None:
    first, second = [(await experience.post("/api/session/create-anonymous")).json() for _ in range(2)]
    assert first["tenant_id"] != second["tenant_id"]
    headers = {"Authorization": f"Bearer {first['access_token']}"}
    assert (await experience.get(f"/api/session/{second['session_id']}", headers=headers)).status_code == 404


async def test_too_many_anonymous_sessions_are_refused_with_a_time_to_come_back(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    city.anonymous_left = 1
    assert (await experience.post("/api/session/create-anonymous")).status_code == 201
    refused = await experience.post("/api/session/create-anonymous")
    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (429, "rate_limited", "3")


# --- intents ---


async def test_submit_answers_before_the_handler_has_run(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    session_id = await opened(experience, ada)
    answer = await experience.post(
        "/api/intent/submit", json={"intent_type": "wait_for_it", "session_id": session_id}, headers=ada
    )
    accepted = answer.json()
    assert answer.status_code == 202
    assert set(accepted) == {"execution_id", "intent_id", "status", "created_at"}
    assert accepted["status"] == "accepted"
    assert answer.headers["Location"] == f"/api/execution/{accepted['execution_id']}/status"
    found = await experience.get(answer.headers["Location"], headers=ada)
    assert found.json()["status"] in ("created", "running")


async def test_the_same_key_answers_the_same_execution(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada, bob = city.headers("ada"), city.headers("bob")
    session_id = await opened(experience, ada)
    body = {"intent_type": "say", "session_id": session_id, "parameters": {"text": "x"}}
    keyed = ada | {"Idempotency-Key": "k-1"}
    first = await experience.post("/api/intent/submit", json=body, headers=keyed)
    again = await experience.post("/api/intent/submit", json=body | {"metadata": {"priority": 3}}, headers=keyed)
    other = await experience.post("/api/intent/submit", json=body | {"parameters": {"text": "y"}}, headers=keyed)
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()
    assert other.json()["code"] == "idempotency_mismatch"
    theirs = await opened(experience, bob)
    elsewhere = await experience.post(
        "/api/intent/submit", json=body | {"session_id": theirs}, headers=bob | {"Idempotency-Key": "k-1"}
    )
    assert elsewhere.json()["execution_id"] != first.json()["execution_id"]


@pytest.mark.parametrize("key", ["", "a b", "\x7f", "x" * 256, "\xe9"])
async def test_a_key_that_is_none_is_refused(city: Platform, experience: httpx2.AsyncClient, key: str) -> None:
    token = city.headers()["Authorization"].encode()
    headers = [(b"Authorization", token), (b"Idempotency-Key", key.encode("latin-1"))]
    answer = await experience.post(
        "/api/intent/submit", json={"intent_type": "say", "session_id": "s"}, headers=headers
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize(
    ("prefer", "status"),
    [
        ("wait=10", 200),
        ("respond-async, WAIT=10", 200),
        ("wait = 10", 200),
        ("wait=soon", 202),
        ("wait=-1", 202),
        ("", 202),
    ],
)
async def test_prefer_wait_answers_with_the_execution(
    city: Platform, experience: httpx2.AsyncClient, prefer: str, status: int
) -> None:
    ada = city.headers()
    body = {"intent_type": "say", "session_id": await opened(experience, ada), "parameters": {"text": "x"}}
    answer = await experience.post("/api/intent/submit", json=body, headers=ada | {"Prefer": prefer})
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["result"] == {"text": "x"}
        assert answer.headers["Preference-Applied"] == "wait=10"


async def test_an_execution_that_takes_longer_is_accepted_as_always(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    ada = city.headers()
    body = {"intent_type": "wait_for_it", "session_id": await opened(experience, ada)}
    answer = await experience.post("/api/intent/submit", json=body, headers=ada | {"Prefer": "wait=0"})
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=0")


async def test_a_wait_is_cut_to_a_minute(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    body = {"intent_type": "say", "session_id": await opened(experience, ada), "parameters": {"text": "x"}}
    answer = await experience.post("/api/intent/submit", json=body, headers=ada | {"Prefer": "wait=999999"})
    assert answer.headers["Preference-Applied"] == "wait=60"


async def test_a_batch_answers_for_each_intent_in_order(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    session_id = await opened(experience, ada)
    good = {"intent_type": "say", "session_id": session_id, "parameters": {"text": "x"}}
    bad = {"intent_type": "sya", "session_id": session_id}
    wrong = {"intent_type": "say", "session_id": session_id, "parameters": {}}
    answer = await experience.post(
        "/api/intent/submit-batch",
        json={"intents": [good, bad, wrong, good | {"idempotency_key": "own"}]},
        headers=ada | {"Idempotency-Key": "k"},
    )
    first, unknown, invalid, last = answer.json()
    assert answer.status_code == 202
    assert first["status"] == last["status"] == "accepted"
    assert (unknown["code"], unknown["status"]) == ("unknown_intent", 404)
    assert unknown["request_id"] == answer.headers["X-Request-Id"]
    assert (invalid["code"], invalid["errors"][0]["pointer"]) == ("validation_failed", "/parameters/text")
    for key, execution_id in (("k/0", first["execution_id"]), ("own", last["execution_id"])):
        replay = await experience.post("/api/intent/submit", json=good, headers=ada | {"Idempotency-Key": key})
        assert (replay.headers["Idempotency-Replayed"], replay.json()["execution_id"]) == ("true", execution_id)


async def test_parameters_are_checked_at_admission(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    body = {"intent_type": "say", "session_id": await opened(experience, ada), "parameters": {"text": 1, "x": 2}}
    answer = await experience.post("/api/intent/submit", json=body, headers=ada)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert {each["pointer"] for each in answer.json()["errors"]} == {"/parameters/text", "/parameters/x"}


@pytest.mark.parametrize("intent_type", ["say", "parrot.say"])
async def test_a_path_on_this_machine_is_refused_at_the_public_address(
    city: Platform, experience: httpx2.AsyncClient, intent_type: str
) -> None:
    ada = city.headers()
    session_id = await opened(experience, ada)
    body = {
        "intent_type": intent_type,
        "session_id": session_id,
        "parameters": {"text": "x", "file_path": "/etc/passwd"},
    }
    answers = {
        "/parameters/file_path": await experience.post("/api/intent/submit", json=body, headers=ada),
        "/intents/0/parameters/file_path": await experience.post(
            "/api/intent/submit-batch", json={"intents": [body]}, headers=ada
        ),
    }
    pending = {"intent_type": intent_type, "session_id": session_id, "target_artifact_id": "art_1"}
    answers["/parameters/file_path "] = await experience.post(
        "/api/intent/pending/create", json=pending | {"parameters": {"file_path": "x"}}, headers=ada
    )
    for pointer, answer in answers.items():
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
        assert [each["pointer"] for each in answer.json()["errors"]] == [pointer.strip()]
    form = {"session_id": session_id, "parameters": '{"file_path": "/etc/passwd"}'}
    answer = await experience.post("/v1/content/upload", data=form, files={"file": ("x", b"x")}, headers=ada)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/parameters/file_path")


async def test_the_catalogue_names_every_intent_and_finds_one_by_its_alias(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    ada = city.headers()
    catalogue = (await experience.get("/api/intents", headers=ada)).json()
    assert {each["intent_type"] for each in catalogue} == {"say", "refuse", "wait_for_it", "keep", "for_operators"}
    by_name, by_alias = [
        (await experience.get(f"/api/intents/{name}", headers=ada)).json() for name in ("say", "parrot.say")
    ]
    assert by_name == by_alias == next(each for each in catalogue if each["intent_type"] == "say")
    assert set(by_name) == {
        *("intent_type", "capability", "handler_name", "description", "read_only", "parameters_schema"),
        *("result_schema", "artifacts", "aliases", "version"),
    }
    missing = await experience.get("/api/intents/nope", headers=ada)
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_intent")
    realms = (await experience.get("/api/realms", headers=ada)).json()
    assert [(each["realm"], each["status"]) for each in realms] == [("parrot", "active")]


async def test_pending_work_is_queued_and_listed(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    artifact_id = await kept(experience, ada)
    session_id = await opened(experience, ada)
    body = {
        "intent_type": "say",
        "target_artifact_id": artifact_id,
        "session_id": session_id,
        "parameters": {"text": "later"},
    }
    made = await experience.post("/api/intent/pending/create", json=body, headers=ada)
    pending = made.json()
    assert made.status_code == 201
    assert {name: pending[name] for name in body} == body
    assert (pending["status"], pending["execution_id"], "ordinal" in pending) == ("pending", None, False)
    for where in ({}, {"session_id": session_id}, {"status": "pending"}, {"target_artifact_id": artifact_id}):
        found = await experience.post("/api/intent/pending/list", json=where, headers=ada)
        assert found.json() == {"pending_intents": [pending], "next_cursor": None}
    none = await experience.post("/api/intent/pending/list", json={"status": "completed"}, headers=ada)
    assert none.json() == {"pending_intents": [], "next_cursor": None}


async def test_pending_work_is_paged_newest_first(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    body = {
        "intent_type": "say",
        "target_artifact_id": await kept(experience, ada),
        "session_id": await opened(experience, ada),
    }
    made = [(await experience.post("/api/intent/pending/create", json=body, headers=ada)).json() for _ in range(3)]
    pages: list[dict[str, Any]] = []
    cursor: str | None = None
    while not pages or cursor is not None:
        where = {"session_id": body["session_id"], "limit": 2, "cursor": cursor}
        pages.append((await experience.post("/api/intent/pending/list", json=where, headers=ada)).json())
        cursor = pages[-1]["next_cursor"]
    assert [page["pending_intents"] for page in pages] == [[made[2], made[1]], [made[0]]]
    for wrong in ({"limit": 0}, {"limit": 501}, {"limit": "2"}, {"cursor": "x"}):
        refused = await experience.post("/api/intent/pending/list", json=wrong, headers=ada)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, f"/{next(iter(wrong))}")


# --- executions ---


async def test_an_execution_is_shown_as_the_contract_has_it(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    execution = await said(experience, ada)
    assert execution == {
        "execution_id": execution["execution_id"],
        "intent_id": execution["intent_id"],
        "intent_type": "say",
        "tenant_id": TENANT,
        "session_id": execution["session_id"],
        "solution_id": "default",
        "user_id": "ada",
        "status": "completed",
        "lifecycle_state": "completed",
        "waiting_on": None,
        "progress": None,
        "attempt": 1,
        "parent_execution_id": None,
        "artifacts": {},
        "events": [{"event_type": "said", "payload": {"text": "hi"}, "seq": 3}],
        "result": {"text": "hi"},
        "error": None,
        "unasked_steps": [],
        "saga_id": None,
        "created_at": execution["created_at"],
        "started_at": execution["started_at"],
        "completed_at": execution["completed_at"],
    }
    path = f"/api/execution/{execution['execution_id']}/status"
    assert (await experience.get(path, headers=ada)).json() == execution
    with_steps = (await experience.get(path, params={"include_steps": "true"}, headers=ada)).json()
    assert with_steps == execution | {"steps": []}


async def test_artifacts_are_shown_in_full_when_asked_for(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    artifact_id = await kept(experience, ada)
    artifact = (await experience.get(f"/api/artifacts/{artifact_id}", headers=ada)).json()
    path = f"/api/execution/{artifact['produced_by']['execution_id']}/status"
    brief = (await experience.get(path, headers=ada)).json()
    full = (await experience.get(path, params={"include_artifacts": "true"}, headers=ada)).json()
    assert brief["artifacts"]["file"] == {
        "artifact_id": artifact_id,
        "artifact_type": "kept_file",
        "lifecycle_state": "READY",
    }
    assert full["artifacts"]["file"] == artifact


async def test_a_handlers_refusal_fails_the_execution_and_not_the_request(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    ada = city.headers()
    body = {"intent_type": "refuse", "session_id": await opened(experience, ada)}
    answer = await experience.post("/api/intent/submit", json=body, headers=ada | {"Prefer": "wait=10"})
    assert answer.status_code == 200
    assert answer.json()["error"] == {
        "code": "not_today",
        "message": "the parrot does not feel like it",
        "details": {},
        "retryable": False,
    }


async def test_executions_are_listed_newest_first_page_by_page(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    made = [(await said(experience, ada, str(number)))["execution_id"] for number in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        body = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await experience.post("/api/execution/list", json=body, headers=ada)).json()
        seen += [each["execution_id"] for each in page["executions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]
    failed = await experience.post("/api/execution/list", json={"status": "failed"}, headers=ada)
    assert failed.json() == {"executions": [], "next_cursor": None}
    wrong = await experience.post("/api/execution/list", json={"cursor": "zzz"}, headers=ada)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "validation_failed")


async def test_an_operator_cancels_and_a_member_may_not(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada, chief = city.headers(), city.headers("chief", Role.OPERATOR)
    body = {"intent_type": "wait_for_it", "session_id": await opened(experience, ada)}
    execution_id = (await experience.post("/api/intent/submit", json=body, headers=ada)).json()["execution_id"]
    path = f"/api/execution/{execution_id}/cancel"
    refused = await experience.post(path, json={}, headers=ada)
    assert (refused.status_code, refused.json()["code"], refused.json()["policy"]) == (
        403,
        "policy_denied",
        "security_guard.role",
    )
    cancelled = await experience.post(path, json={"reason": "enough"}, headers=chief)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = await experience.post(path, headers=chief)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


# --- artifacts ---


async def test_an_artifact_is_listed_resolved_and_traced(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    artifact_id = await kept(experience, ada)
    by_id = (await experience.get(f"/api/artifacts/{artifact_id}", headers=ada)).json()
    resolved = await experience.post("/api/artifact/resolve", json={"artifact_id": artifact_id}, headers=ada)
    listed = await experience.post("/api/artifact/list", json={"artifact_type": "kept_file"}, headers=ada)
    assert resolved.json() == by_id
    assert listed.json() == {"artifacts": [by_id], "next_cursor": None}
    assert by_id["artifact_id"] == artifact_id
    assert "ordinal" not in by_id
    for direction in ("up", "down", "both"):
        graph = await experience.get(
            f"/api/artifacts/{artifact_id}/lineage", params={"direction": direction}, headers=ada
        )
        assert (graph.json()["nodes"], graph.json()["edges"]) == ([by_id], [])
    wrong = await experience.get(f"/api/artifacts/{artifact_id}/lineage?direction=sideways", headers=ada)
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/direction")


async def test_the_log_is_for_operators(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada, chief = city.headers(), city.headers("chief", Role.OPERATOR)
    execution = await said(experience, ada)
    assert (await experience.get("/api/wal/events", headers=ada)).status_code == 403
    page = (await experience.get("/api/wal/events?limit=2", headers=chief)).json()
    rest = (await experience.get(f"/api/wal/events?after={page['next_cursor']}", headers=chief)).json()
    positions = [event["position"] for event in (*page["events"], *rest["events"])]
    assert positions == list(range(1, len(positions) + 1))
    assert rest["next_cursor"] is None
    own = await experience.get("/api/wal/events", params={"execution_id": execution["execution_id"]}, headers=chief)
    assert [event["event_type"] for event in own.json()["events"]] == [
        *("intent_received", "execution_started", "said", "execution_completed"),
    ]


# --- the platform ---


async def test_health_is_red_when_the_platform_is_down(city: Platform, experience: httpx2.AsyncClient) -> None:
    for condition, status in (("ok", 200), ("degraded", 200), ("down", 503)):
        city.condition = condition
        answer = await experience.get("/health")
        assert (answer.status_code, answer.json()["status"]) == (status, condition)
        assert answer.headers["Content-Type"] == "application/json"


async def test_metrics_are_not_public(experience: httpx2.AsyncClient) -> None:
    assert (await experience.get("/metrics")).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/nope", "/api/session/create/", "/api", "/", "/api/session", "/session/create", "/api/session/a/b/c", "/%00"],
)
async def test_an_address_that_is_none_is_a_problem_document(experience: httpx2.AsyncClient, path: str) -> None:
    answer = await experience.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/intent/submit", "POST"),
        ("GET", "/api/session/create", "POST"),
        ("POST", "/api/session/ses_1", "GET, HEAD, PATCH"),
        ("DELETE", "/api/artifacts/art_1", "GET, HEAD"),
        ("HEAD", "/api/execution/exe_1/stream", "GET"),
        ("OPTIONS", "/api/intents", "GET, HEAD"),
        ("TRACE", "/health", "GET, HEAD"),
    ],
)
async def test_another_method_is_told_which_there_are(
    city: Platform, experience: httpx2.AsyncClient, method: str, path: str, allow: str
) -> None:
    answer = await experience.request(method, path, headers=city.headers())
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_head_says_what_get_would(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    path = f"/api/session/{await opened(experience, ada)}"
    got, headed = await experience.get(path, headers=ada), await experience.head(path, headers=ada)
    assert (headed.status_code, headed.headers["Content-Length"]) == (200, got.headers["Content-Length"])


# --- the edge ---


async def test_every_answer_carries_the_request_id_and_is_safe_to_show(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    for path in ("/health", "/nope", "/api/intents", "/docs", "/openapi.json"):
        answer = await experience.get(path, headers={"X-Request-Id": "a.B_c-1"})
        assert answer.headers["X-Request-Id"] == "a.B_c-1"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
    unset = await experience.get("/health")
    assert unset.headers["X-Request-Id"].startswith("req_")


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "<script>", "\xe9"])
async def test_a_request_id_that_is_none_is_not_taken(experience: httpx2.AsyncClient, given: str) -> None:
    answer = await experience.get("/nope", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    assert answer.headers["X-Request-Id"].startswith("req_")
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]


async def test_the_request_id_stands_in_the_record(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada, chief = city.headers(), city.headers("chief", Role.OPERATOR)
    body = {"intent_type": "say", "session_id": await opened(experience, ada), "parameters": {"text": "x"}}
    await experience.post("/api/intent/submit", json=body, headers=ada | {"X-Request-Id": "trace-me"})
    found = await experience.get("/api/wal/events?event_type=intent_received", headers=chief)
    assert found.json()["events"][0]["payload"]["request_id"] == "trace-me"


async def test_each_request_is_told_to_the_access_log_without_what_a_log_must_not_keep(
    city: Platform, experience: httpx2.AsyncClient
) -> None:
    token = city.token()
    path = "/api/session/ses_%0A1?tenant_id=acme&access_token=hunter2"
    answer = await experience.get(path, headers={"Authorization": f"Bearer {token}", "X-Request-Id": "r-1"})
    (served,) = city.served
    assert served == Served(
        method="GET",
        route="/api/session/{session_id}",
        path="/api/session/ses_%0A1",
        status=404,
        duration_s=served.duration_s,
        bytes_sent=len(answer.content),
        request_id="r-1",
        client="127.0.0.1",
    )
    assert token not in str(city.served)
    assert "hunter2" not in str(city.served)


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Host", "Idempotency-Key", "Last-Event-ID", "Range"])
async def test_a_header_that_counts_may_not_come_twice(
    city: Platform, experience: httpx2.AsyncClient, name: str
) -> None:
    headers = [*city.headers().items(), (name, "1"), (name, "2")]
    answer = await experience.get("/api/intents", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_while_draining_nothing_new_gets_in_but_health_still_answers(city: Platform) -> None:
    app = city.experience_service().create_app()
    async with client_of(app, headers=city.headers()) as client:
        assert (await client.get("/api/intents")).status_code == 200
        app.service.drain()
        refused = await client.get("/api/intents")
        assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (503, "overloaded", "2")
        assert (await client.get("/health")).status_code == 200


async def test_a_platform_that_drains_refuses_new_work(city: Platform, experience: httpx2.AsyncClient) -> None:
    ada = city.headers()
    session_id = await opened(experience, ada)
    city.api.engine.governance.move(CityState.DRAINING)
    body = {"intent_type": "say", "session_id": session_id, "parameters": {"text": "x"}}
    refused = await experience.post("/api/intent/submit", json=body, headers=ada)
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        (None, b"{}", 415, "unsupported_media"),
        ("text/plain", b"{}", 415, "unsupported_media"),
        ("application/json", b"{", 422, "validation_failed"),
        ("application/json", b'{"intent_type": "a", "intent_type": "b"}', 422, "validation_failed"),
        ("application/json", b'{"a": ' + b"9" * 5000 + b"}", 422, "validation_failed"),
        ("application/json", b'{"a":' * 5000, 422, "validation_failed"),
        ("application/json", b"[]", 422, "validation_failed"),
        ("application/json", b" " * (1 << 20) + b"{}", 413, "payload_too_large"),
        ("application/json", b"", 422, "validation_failed"),
    ],
)
async def test_a_body_that_is_none_is_the_clients_fault(
    city: Platform, experience: httpx2.AsyncClient, content_type: str | None, body: bytes, status: int, code: str
) -> None:
    headers = city.headers() | ({"Content-Type": content_type} if content_type else {})
    answer = await experience.post("/api/intent/submit", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_pages_of_other_origins_get_nothing_unless_they_are_listed(city: Platform) -> None:
    page = {"Origin": "https://app.example"}
    preflight = page | {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,idempotency-key",
    }
    async with client_of(city.experience_service().create_app()) as client:
        assert "Access-Control-Allow-Origin" not in (await client.get("/health", headers=page)).headers
        assert (await client.options("/api/intents", headers=preflight)).status_code == 405
    city.settings = replace(city.settings, cors_origins=("https://app.example",))
    async with client_of(city.experience_service().create_app()) as client:
        allowed = await client.get("/health", headers=page)
        assert allowed.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "Idempotency-Replayed" in allowed.headers["Access-Control-Expose-Headers"]
        assert (await client.options("/api/intent/submit", headers=preflight)).status_code == 200
        other = await client.get("/health", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers


async def test_tenants_are_strangers_to_one_another(city: Platform, experience: httpx2.AsyncClient) -> None:
    """Each id of one tenant, as somebody of another: exactly what an id that nothing has is answered with."""
    ada, eve = city.headers(), city.headers("eve", Role.ADMIN, tenant=OTHER_TENANT)
    artifact_id = await kept(experience, ada)
    artifact = (await experience.get(f"/api/artifacts/{artifact_id}", headers=ada)).json()
    ids = {
        "session": artifact["session_id"],
        "execution": artifact["produced_by"]["execution_id"],
        "artifact": artifact_id,
    }
    own_session = await opened(experience, eve)

    def requests(session: str, execution: str, artifact: str) -> list[tuple[str, str, Any]]:
        submission = {"intent_type": "say", "session_id": session, "parameters": {"text": "x"}}
        pending = {"intent_type": "say", "session_id": own_session, "target_artifact_id": artifact}
        return [
            ("GET", f"/api/session/{session}", None),
            ("PATCH", f"/api/session/{session}", {"context": {"x": 1}}),
            ("POST", f"/api/session/{session}/close", {}),
            ("POST", "/api/intent/submit", submission),
            ("GET", f"/api/execution/{execution}/status", None),
            ("GET", f"/api/execution/{execution}/status?include_artifacts=1&include_steps=1", None),
            ("POST", f"/api/execution/{execution}/cancel", {}),
            ("GET", f"/api/execution/{execution}/stream", None),
            ("GET", f"/api/execution/{execution}/stream?after=1", None),
            ("POST", "/api/artifact/resolve", {"artifact_id": artifact}),
            ("GET", f"/api/artifacts/{artifact}", None),
            ("GET", f"/api/artifacts/{artifact}/content", None),
            ("GET", f"/api/artifacts/{artifact}/lineage", None),
            ("POST", "/api/intent/pending/create", pending),
            ("POST", "/api/intent/pending/create", pending | {"session_id": session}),
        ]

    absent = {name: value[:4] + "a" * len(value[4:]) for name, value in ids.items()}
    for (method, path, body), (_, other_path, other_body) in zip(requests(**ids), requests(**absent), strict=True):
        foreign = await experience.request(method, path, json=body, headers=eve)
        missing = await experience.request(method, other_path, json=other_body, headers=eve)
        assert foreign.status_code == 404, path
        replaced = foreign.text
        for name, value in ids.items():
            replaced = replaced.replace(value, absent[name])
        same = {"request_id": "", **missing.json()}
        assert {**httpx2.Response(404, text=replaced).json(), "request_id": same["request_id"]} == same, path
        assert set(foreign.headers) == set(missing.headers), path
    for path, body in (
        ("/api/execution/list", {"session_id": ids["session"]}),
        ("/api/artifact/list", {"parent_artifact_id": artifact_id}),
        ("/api/artifact/list", {}),
        ("/api/intent/pending/list", {"target_artifact_id": artifact_id}),
    ):
        answer = await experience.post(path, json=body, headers=eve)
        assert answer.status_code in (200, 404)
        assert artifact_id not in answer.text
    assert Parrot.gates == {}
