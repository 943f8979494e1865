"""Each error has its status and its document, once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from symphainy import errors
from symphainy.errors import FieldError, SymphainyError
from symphainy.wire.problems import (
    STATUS,
    MethodNotAllowed,
    Problem,
    RangeNotSatisfiable,
    encode_problem,
    is_internal,
    problem_headers,
    problem_of,
    status_of,
)


def of(error: SymphainyError) -> dict[str, Any]:
    return problem_of(error, request_id="req_1", instance="/api/x")


CONTRACT = {
    "validation_failed": 422,
    "unknown_intent": 404,
    "not_found": 404,
    "unauthenticated": 401,
    "forbidden": 403,
    "tenant_mismatch": 403,
    "policy_denied": 403,
    "session_required": 404,
    "session_expired": 410,
    "idempotency_mismatch": 422,
    "conflict": 409,
    "payload_too_large": 413,
    "unsupported_media": 415,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "overloaded": 503,
    "internal": 500,
}


@pytest.mark.parametrize(("code", "status"), CONTRACT.items())
def test_the_statuses_are_those_of_the_contract(code: str, status: int) -> None:
    error = errors.rebuild(code, "what happened", {"policy": "p", "reason": "r"})
    assert (type(error).code, status_of(error)) == (code, status)


def all_kinds(root: type[SymphainyError] = SymphainyError) -> list[type[SymphainyError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in all_kinds(child))]


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_a_status_that_fits(kind: type[SymphainyError]) -> None:
    listed = next(each for each in kind.__mro__ if each in STATUS)
    assert 400 <= STATUS[listed] < 600
    # Only the root and what says nothing about the caller may end as a plain 500.
    assert STATUS[listed] != 500 or listed in (SymphainyError, errors.ChildFailed)


@pytest.mark.parametrize(
    "kind", [each for each in STATUS if each.code not in ("internal", "refused")], ids=lambda kind: kind.__name__
)
def test_a_refusal_of_another_service_is_answered_as_that_service_answered_it(kind: type[SymphainyError]) -> None:
    details = {"policy": "p", "reason": "r", "retry_after_s": 2, "allow": "GET", "size_bytes": 1, "x": 1}
    error = errors.rebuild(kind.code, "what happened", details)
    document = of(error)
    assert (document["code"], document["status"], document["title"]) == (kind.code, STATUS[kind], kind.title)


def test_an_answer_that_nobody_understands_is_a_bad_gateway() -> None:
    document = of(errors.rebuild("from_the_future", "what happened", {}))
    assert (document["code"], document["status"], document["detail"]) == ("from_the_future", 502, "what happened")


def test_a_validation_problem_points_to_each_field() -> None:
    error = errors.Invalid("two things", errors=[FieldError("/a", "missing"), FieldError("/b~1c", "too long")])
    assert of(error) == {
        "type": "urn:symphainy:problem:validation_failed",
        "title": "The request is not valid",
        "status": 422,
        "detail": "two things",
        "instance": "/api/x",
        "code": "validation_failed",
        "request_id": "req_1",
        "retryable": False,
        "errors": [{"pointer": "/a", "detail": "missing"}, {"pointer": "/b~1c", "detail": "too long"}],
    }


def test_a_denial_names_the_policy_and_the_reason() -> None:
    document = of(errors.PolicyDenied("no", policy="security_guard.role", reason="needs operator"))
    assert (document["policy"], document["reason"]) == ("security_guard.role", "needs operator")
    decoded = msgspec.convert(document, Problem)
    assert (decoded.policy, decoded.reason) == ("security_guard.role", "needs operator")


@pytest.mark.parametrize(
    "error",
    [
        SymphainyError("the password is hunter2"),
        errors.StoreFailed("disk I/O error at /var/lib/secret/hunter2.db", path="/hunter2"),
        errors.ChildFailed("hunter2", reason="crash"),
        errors.StartupFailed("hunter2", service="hunter2", remedy="hunter2"),
        errors.MissingExtra("hunter2", needed_for="hunter2"),
        errors.Unreachable("http://hunter2:8000 cannot be reached"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_failed_inside_stays_inside(error: SymphainyError) -> None:
    assert is_internal(error)
    assert b"hunter2" not in encode_problem(of(error))


def test_details_cannot_replace_what_a_problem_is() -> None:
    error = errors.Conflict("no", status=200, title="fine", request_id="other", holder="bob")
    document = of(error)
    assert (document["status"], document["title"], document["request_id"]) == (409, "Conflicting state", "req_1")
    assert document["holder"] == "bob"


def test_a_detail_that_is_no_json_does_not_spoil_the_document() -> None:
    error = errors.Conflict("no", holder={1j: {2}}, huge=10**400)
    decoded = msgspec.json.decode(encode_problem(of(error)), type=Problem)
    assert (decoded.code, decoded.status) == ("conflict", 409)


def test_a_handlers_refusal_keeps_its_code_and_is_no_failure() -> None:
    document = of(errors.IntentRefused("file_not_found", "no file", {"path": "x"}))
    assert (document["status"], document["code"], document["path"]) == (422, "file_not_found", "x")


@pytest.mark.parametrize(
    ("error", "token_presented", "headers"),
    [
        (errors.Unauthenticated("no"), False, {b"www-authenticate": b'Bearer realm="symphainy"'}),
        (
            errors.Unauthenticated("no"),
            True,
            {b"www-authenticate": b'Bearer realm="symphainy", error="invalid_token"'},
        ),
        (errors.Limited("slow down", retry_after_s=0.2), True, {b"retry-after": b"1"}),
        (errors.Limited("slow down", retry_after_s=2.1), True, {b"retry-after": b"3"}),
        (errors.Overloaded("later", retry_after_s=5), True, {b"retry-after": b"5"}),
        (errors.StoreFailed("oh"), True, {b"retry-after": b"1"}),
        (errors.Unreachable("oh"), True, {b"retry-after": b"1"}),
        (MethodNotAllowed("no", allow="GET, HEAD"), True, {b"allow": b"GET, HEAD"}),
        (RangeNotSatisfiable("no", size_bytes=7), True, {b"content-range": b"bytes */7"}),
        (errors.Invalid("no"), True, {}),
    ],
)
def test_the_headers_of_a_refusal(error: SymphainyError, token_presented: bool, headers: dict[bytes, bytes]) -> None:
    assert dict(problem_headers(error, token_presented=token_presented)) == headers
