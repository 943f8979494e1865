"""Requests are what they should be, or are refused with a pointer to each field."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from symphainy.errors import FieldError, Invalid
from symphainy.wire import schemas
from symphainy.wire.schemas import Body, Query, query_of, validated

BODIES = [kind for kind in vars(schemas).values() if isinstance(kind, type) and issubclass(kind, Body)]
SUBMISSION = {"intent_type": "say", "session_id": "ses_1"}
#: What a client must not be able to set by naming it.
SERVER_SIDE = {
    "user_roles",
    "roles",
    "owner",
    "classification",
    "created_at",
    "execution_id",
    "intent_id",
    "is_anonymous",
    "lifecycle_state_",
    "policy",
    "ordinal",
    "fence",
    "produced_by",
    "__class__",
}


@pytest.mark.parametrize("model", BODIES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("field", sorted(SERVER_SIDE))
def test_no_body_lets_a_client_set_what_the_platform_sets(model: type[Body], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        validated(model, {field: "x"})
    assert FieldError(f"/{field}", "Extra inputs are not permitted") in caught.value.errors


@pytest.mark.parametrize(
    ("model", "value", "pointers"),
    [
        (schemas.SubmitIntent, {}, {"/intent_type", "/session_id"}),
        (schemas.SubmitIntent, {**SUBMISSION, "intent_type": 1}, {"/intent_type"}),
        (schemas.SubmitIntent, {**SUBMISSION, "intent_type": ""}, {"/intent_type"}),
        (schemas.SubmitIntent, {**SUBMISSION, "session_id": "x" * 201}, {"/session_id"}),
        (schemas.SubmitIntent, {**SUBMISSION, "parameters": []}, {"/parameters"}),
        (schemas.SubmitIntent, {**SUBMISSION, "tenant_id": "A"}, {"/tenant_id"}),
        (schemas.SubmitIntent, {**SUBMISSION, "tenant_id": "a\n"}, {"/tenant_id"}),
        (schemas.SubmitIntent, {**SUBMISSION, "tenant_id": "a" * 64}, {"/tenant_id"}),
        (schemas.SubmitIntent, {**SUBMISSION, "a/b~c": 1}, {"/a~1b~0c"}),
        (schemas.SubmitBatch, {"intents": []}, {"/intents"}),
        (
            schemas.SubmitBatch,
            {"intents": [SUBMISSION, {"intent_type": 1}]},
            {"/intents/1/intent_type", "/intents/1/session_id"},
        ),
        (schemas.SubmitBatch, {"intents": [{**SUBMISSION, "idempotency_key": "a b"}]}, {"/intents/0/idempotency_key"}),
        (schemas.ListExecutions, {"limit": 501}, {"/limit"}),
        (schemas.ListExecutions, {"limit": 0}, {"/limit"}),
        (schemas.ListExecutions, {"limit": "50"}, {"/limit"}),
        (schemas.ListExecutions, {"limit": 1.5}, {"/limit"}),
        (schemas.ListExecutions, {"limit": True}, {"/limit"}),
        (schemas.ListExecutions, {"status": "done"}, {"/status"}),
        (schemas.ListArtifacts, {"lifecycle_state": "ready"}, {"/lifecycle_state"}),
        (schemas.CreateSession, {"context": "x"}, {"/context"}),
        (schemas.CreateAnonymousSession, {"tenant_id": "acme"}, {"/tenant_id"}),
    ],
)
def test_a_wrong_field_is_pointed_to(model: type[BaseModel], value: dict[str, Any], pointers: set[str]) -> None:
    with pytest.raises(Invalid) as caught:
        validated(model, value)
    assert {error.pointer for error in caught.value.errors} == pointers


def test_lists_are_fifty_long_unless_asked_otherwise() -> None:
    assert (schemas.ListExecutions().limit, schemas.ListArtifacts().limit, schemas.EventsQuery().limit) == (50, 50, 50)


def test_a_thousand_wrong_fields_are_not_all_repeated() -> None:
    with pytest.raises(Invalid) as caught:
        validated(schemas.SubmitIntent, {f"f{number}": 1 for number in range(1000)})
    assert len(caught.value.errors) == 50


@pytest.mark.parametrize(
    ("model", "text", "expected"),
    [
        (schemas.EventsQuery, b"after=3&limit=500", schemas.EventsQuery(after=3, limit=500)),
        (schemas.EventsQuery, b"limit=7&unknown=1&unknown=2", schemas.EventsQuery(limit=7)),
        (
            schemas.StatusQuery,
            b"include_steps=true&include_artifacts=1",
            schemas.StatusQuery(include_steps=True, include_artifacts=True),
        ),
        (schemas.StatusQuery, b"include_steps=false&include_artifacts=0", schemas.StatusQuery()),
        (Query, b"tenant_id=a%2Dc", Query(tenant_id="a-c")),
        (Query, b"", Query()),
    ],
)
def test_a_query_string_is_read(model: type[Query], text: bytes, expected: Query) -> None:
    assert query_of(model, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"limit=0",
        b"limit=501",
        b"limit=",
        b"limit=1_0",
        b"limit=+1",
        b"limit=1.0",
        b"limit=\xd9\xa1",
        b"limit=" + b"9" * 5000,
        b"limit=1&limit=2",
        b"after=-1",
        b"after=9223372036854775808",
        b"tenant_id=A",
        b"tenant_id=a%00",
        b"session_id=",
        b"x=" + b"y" * 9000,
        b"&".join(b"x%d=1" % number for number in range(500)),
    ],
)
def test_a_wrong_query_string_is_refused(text: bytes) -> None:
    with pytest.raises(Invalid):
        query_of(schemas.EventsQuery, text)


@pytest.mark.parametrize("text", [b"include_steps=maybe", b"include_steps=", b"include_steps=2", b"include_steps=yes"])
def test_a_flag_is_true_or_false(text: bytes) -> None:
    with pytest.raises(Invalid):
        query_of(schemas.StatusQuery, text)
