"""Examples for the OpenAPI document. A test checks each against its schema."""

from __future__ import annotations

from typing import Any

AT = "2026-11-20T16:00:00.123Z"
LATER = "2026-11-20T16:00:00.571Z"
SESSION_ID = "ses_kq3v5zt6pxyh2l7m4adbnw6eoi"
EXECUTION_ID = "exe_7c2mzqk5t3vwn4hxl6yb5ojrpa"
INTENT_ID = "int_5ypgx3c7w2kqnv6ztdmlh4ojre"
ARTIFACT_ID = "art_m4tdxw7q3c5kzv2hnpyl6ojbea"
FILE_ID = "art_c7kqz3v5hx2nwm4tdply6ojbea"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

CREATE_SESSION = {"context": {"surface": "claims"}, "metadata": {"channel": "web"}}
CREATE_SESSION_RUNTIME = {"tenant_id": "acme", "user_id": "developer", "context": {"surface": "claims"}}
UPDATE_SESSION = {"context": {"step": "review", "draft": None}}

SESSION: dict[str, Any] = {
    "session_id": SESSION_ID,
    "tenant_id": "acme",
    "user_id": "ada",
    "solution_id": "default",
    "is_anonymous": False,
    "lifecycle_state": "active",
    "context": {"surface": "claims"},
    "active_sagas": [],
    "metadata": {"channel": "web"},
    "created_at": AT,
    "updated_at": AT,
    "expires_at": "2026-11-21T16:00:00.123Z",
}
ANONYMOUS_SESSION = {
    **SESSION,
    "tenant_id": "anon-0f8fad5bd9cb469fa16570867728950e",
    "user_id": "usr_3kqv5zt6pxyh2l7m4adbnw6eoi",
    "is_anonymous": True,
    "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZDI1NTE5In0.eyJzdWIiOiJ1c3IifQ.c2lnbmF0dXJl",
    "expires_in": 86400,
}

SUBMIT = {
    "intent_type": "parse_content",
    "session_id": SESSION_ID,
    "parameters": {"file_id": FILE_ID},
    "metadata": {"priority": 5, "correlation_id": "claim-4711"},
}
SUBMIT_AS_FIRST_PUBLISHED = {
    "intent_type": "content.upload",
    "tenant_id": "acme",
    "session_id": SESSION_ID,
    "realm": "content",
    "payload": {"file_path": "/tmp/test.txt"},  # noqa: S108 - a path in a published sample
}
ACCEPTED = {"execution_id": EXECUTION_ID, "intent_id": INTENT_ID, "status": "accepted", "created_at": AT}
BATCH = {"intents": [SUBMIT, {"intent_type": "no_such_intent", "session_id": SESSION_ID}]}
PROBLEM = {
    "type": "urn:symphainy:problem:unknown_intent",
    "title": "No such intent",
    "status": 404,
    "detail": "no intent named 'no_such_intent'; did you mean parse_content?",
    "instance": "/api/intent/submit-batch",
    "code": "unknown_intent",
    "request_id": "req_u2hnx7q5k3cwzv4tdmpyl6ojbe",
    "retryable": False,
}
BATCH_ANSWER = [ACCEPTED, PROBLEM]

EXECUTION: dict[str, Any] = {
    "execution_id": EXECUTION_ID,
    "intent_id": INTENT_ID,
    "intent_type": "parse_content",
    "tenant_id": "acme",
    "session_id": SESSION_ID,
    "solution_id": "default",
    "user_id": "ada",
    "status": "completed",
    "lifecycle_state": "completed",
    "waiting_on": None,
    "progress": {"fraction": 1.0, "message": "parsed"},
    "attempt": 1,
    "parent_execution_id": None,
    "artifacts": {
        "parsed": {"artifact_id": ARTIFACT_ID, "artifact_type": "parsed_content", "lifecycle_state": "READY"}
    },
    "events": [{"event_type": "content_parsed", "payload": {"units": 12}, "seq": 5}],
    "result": {"parsed_file_id": ARTIFACT_ID},
    "error": None,
    "unasked_steps": [],
    "saga_id": None,
    "created_at": AT,
    "started_at": AT,
    "completed_at": LATER,
}
CANCELLED_EXECUTION = {
    **EXECUTION,
    "status": "cancelled",
    "lifecycle_state": "cancelled",
    "progress": None,
    "artifacts": {},
    "events": [],
    "result": None,
    "error": {"code": "cancelled", "message": "cancelled: wrong file", "details": {}, "retryable": False},
}
EVENT = {
    "position": 42,
    "seq": 6,
    "event_id": "evt_x3vn7q5k2hcwz4tdmpyl6ojbeu",
    "event_type": "execution_completed",
    "tenant_id": "acme",
    "session_id": SESSION_ID,
    "execution_id": EXECUTION_ID,
    "timestamp": LATER,
    "payload": {"result": {"parsed_file_id": ARTIFACT_ID}},
}

INTENT: dict[str, Any] = {
    "intent_type": "parse_content",
    "capability": "content",
    "handler_name": "Content",
    "description": "Parse an ingested file into units with positions.",
    "read_only": False,
    "parameters_schema": {
        "type": "object",
        "properties": {"file_id": {"type": "string"}},
        "required": ["file_id"],
        "additionalProperties": False,
    },
    "result_schema": {"type": "object", "properties": {"parsed_file_id": {"type": "string"}}},
    "artifacts": ["parsed_content"],
    "aliases": ["content.parse"],
    "version": "1",
}
PENDING = {
    "intent_type": "parse_content",
    "target_artifact_id": FILE_ID,
    "session_id": SESSION_ID,
    "parameters": {"file_id": FILE_ID},
}
PENDING_INTENT = {
    "pending_id": "pnd_z4tdm7q5k3cwxv2hnpyl6ojbea",
    "tenant_id": "acme",
    **PENDING,
    "status": "pending",
    "execution_id": None,
    "created_at": AT,
    "updated_at": AT,
}

ARTIFACT: dict[str, Any] = {
    "artifact_id": ARTIFACT_ID,
    "artifact_type": "parsed_content",
    "tenant_id": "acme",
    "session_id": SESSION_ID,
    "produced_by": {"intent": "parse_content", "execution_id": EXECUTION_ID},
    "lifecycle_state": "READY",
    "status": "draft",
    "version": 1,
    "semantic_descriptor": {"media_type": "text/csv"},
    "semantic_payload": {"units": 12},
    "parent_artifacts": [FILE_ID],
    "materializations": [
        {
            "materialization_id": "mat_q5k3cwx7v2hnz4tdmpyl6ojbea",
            "storage_type": "blob",
            "uri": f"blob:{SHA256}",
            "format": "jsonl",
            "size_bytes": 2048,
            "sha256": SHA256,
            "created_at": LATER,
        }
    ],
    "created_at": LATER,
    "updated_at": LATER,
}
LINEAGE = {
    "nodes": [{**ARTIFACT, "artifact_id": FILE_ID, "artifact_type": "file", "parent_artifacts": []}, ARTIFACT],
    "edges": [{"parent": FILE_ID, "child": ARTIFACT_ID}],
    "truncated": False,
}

REALM = {
    "realm": "content",
    "capability": "content",
    "description": "Takes files in and makes them readable.",
    "intents": ["ingest_file", "parse_content"],
    "status": "active",
}
HEALTH = {
    "status": "ok",
    "version": "0.1.0",
    "profile": "development",
    "checks": {"store": {"status": "ok", "detail": "wrote and read a probe", "latency_ms": 0.4}},
}
