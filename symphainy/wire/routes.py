"""The operations that both services offer, each with all there is to say about it. What only one has stands with it."""

from __future__ import annotations

from dataclasses import replace

from symphainy.door import Health, RealmInfo
from symphainy.model import Artifact, Execution, IntentInfo, JsonObject, PendingIntent, Session
from symphainy.wire import examples, handlers, schemas
from symphainy.wire.operations import Access, EachOneOf, Link, Operation, RequestHeader, Success
from symphainy.wire.problems import Problem

SUBMIT_HEADERS = {
    handlers.IDEMPOTENCY_KEY: RequestHeader(
        description="The same key with the same request (`metadata` aside) answers the same execution; keys belong to "
        "tenant and user and live 24 hours. 1 to 255 visible ASCII characters.",
        pattern="^[\\x21-\\x7e]{1,255}$",
    ),
    "Prefer": RequestHeader(
        description="`wait=N`: 200 with the execution if it ends within N seconds (at most 60), else 202 as always."
    ),
}
TO_THE_EXECUTION = tuple(
    Link(operation=name, path={"execution_id": "execution_id"})
    for name in ("execution_status", "cancel_execution", "stream_execution")
)
TO_THE_SESSION = (
    Link(operation="get_session", path={"session_id": "session_id"}),
    Link(operation="update_session", path={"session_id": "session_id"}),
    Link(operation="close_session", path={"session_id": "session_id"}),
    Link(operation="submit_intent", body={"session_id": "session_id"}),
)
SUBMIT_ANSWERS = {
    202: Success(
        description="Accepted: it is on disk, and its handler has not run yet.",
        schema=schemas.Accepted,
        example=examples.ACCEPTED,
        headers={
            "Location": "Where its status is.",
            "Idempotency-Replayed": "`true` when the key had been seen before.",
            "Preference-Applied": "The wait that was granted, when one was asked for.",
        },
        links=TO_THE_EXECUTION,
    ),
    200: Success(
        description="It ended within the time that `Prefer: wait` gave it.",
        schema=Execution,
        example=examples.EXECUTION,
        headers={
            "Preference-Applied": "The wait that was granted.",
            "Idempotency-Replayed": "`true` when the key had been seen before.",
        },
        links=TO_THE_EXECUTION,
    ),
}
SUBMIT_REFUSALS = (
    "unknown_intent",
    "session_required",
    "session_expired",
    "idempotency_mismatch",
    "policy_denied",
    "conflict",
    "quota_exceeded",
)
WRITE_REFUSALS = ("not_found", "session_required", "session_expired", "conflict", "policy_denied", "quota_exceeded")
UPLOAD_FORM: JsonObject = {
    "type": "object",
    "required": ["session_id", "file"],
    "additionalProperties": False,
    "properties": {
        "session_id": {"type": "string", "minLength": 1, "maxLength": schemas.TEXT_CHARS_MAX},
        "tenant_id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"},
        "parameters": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A JSON object: further parameters of the intent.",
        },
        "metadata": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "A JSON object, as in a submission.",
        },
        "file": {
            "type": "string",
            "format": "binary",
            "description": "The bytes. With every field before it they go straight into the store.",
        },
    },
}

CREATE_SESSION = Operation(
    method="POST",
    path="/api/session/create",
    handler=handlers.create_session,
    tag="sessions",
    summary="Open a session",
    body=schemas.CreateSession,
    body_example=examples.CREATE_SESSION,
    answers={
        201: Success(
            description="The session.",
            schema=Session,
            example=examples.SESSION,
            headers={"Location": "Where the session is."},
            links=TO_THE_SESSION,
        )
    },
    refusals=("policy_denied", "quota_exceeded"),
)
CREATE_ANONYMOUS_SESSION = Operation(
    method="POST",
    path="/api/session/create-anonymous",
    handler=handlers.create_anonymous_session,
    tag="sessions",
    summary="Open a session for somebody who has no account",
    description="It gets a tenant of its own, and the token that opens this one session.",
    access=Access.PUBLIC,
    body=schemas.CreateAnonymousSession,
    body_example={"context": {"surface": "landing"}},
    answers={
        201: Success(
            description="The session and its token; `expires_in` seconds.",
            schema=schemas.AnonymousSessionOpened,
            example=examples.ANONYMOUS_SESSION,
            headers={"Location": "Where the session is."},
        )
    },
    refusals=("rate_limited", "policy_denied", "validation_failed"),
)
GET_SESSION = Operation(
    method="GET",
    path="/api/session/{session_id}",
    handler=handlers.get_session,
    tag="sessions",
    summary="Read a session",
    answers={200: Success(description="The session.", schema=Session, example=examples.SESSION)},
    refusals=("not_found", "session_required"),
)
UPDATE_SESSION = Operation(
    method="PATCH",
    path="/api/session/{session_id}",
    handler=handlers.update_session,
    tag="sessions",
    summary="Change context and metadata of a session",
    description="Merged as RFC 7396 merges: objects merge, null removes, the rest replaces.",
    body=schemas.UpdateSession,
    body_example=examples.UPDATE_SESSION,
    answers={200: Success(description="The session as it stands now.", schema=Session, example=examples.SESSION)},
    refusals=WRITE_REFUSALS,
)
CLOSE_SESSION = Operation(
    method="POST",
    path="/api/session/{session_id}/close",
    handler=handlers.close_session,
    tag="sessions",
    summary="Close a session",
    description="What it started goes on; nothing new starts in it.",
    body=schemas.CloseSession,
    body_example={},
    answers={
        200: Success(
            description="The session, closed.",
            schema=Session,
            example={**examples.SESSION, "lifecycle_state": "closed"},
        )
    },
    refusals=WRITE_REFUSALS,
)

SUBMIT_INTENT = Operation(
    method="POST",
    path="/api/intent/submit",
    handler=handlers.submit_intent,
    tag="intents",
    summary="Submit an intent",
    body=schemas.SubmitIntent,
    body_example=examples.SUBMIT,
    headers=SUBMIT_HEADERS,
    answers=SUBMIT_ANSWERS,
    refusals=SUBMIT_REFUSALS,
)
SUBMIT_BATCH = Operation(
    method="POST",
    path="/api/intent/submit-batch",
    handler=handlers.submit_batch,
    tag="intents",
    summary="Submit several intents",
    description="Each is accepted or refused for itself. With a header `Idempotency-Key` the n-th intent (from 0) that "
    "names no key of its own has the key `<key>/<n>`.",
    body=schemas.SubmitBatch,
    body_example=examples.BATCH,
    headers={handlers.IDEMPOTENCY_KEY: SUBMIT_HEADERS[handlers.IDEMPOTENCY_KEY]},
    answers={
        202: Success(
            description="One answer an intent, in order: accepted, or a problem.",
            schema=EachOneOf((schemas.Accepted, Problem)),
            example=examples.BATCH_ANSWER,
        )
    },
    refusals=SUBMIT_REFUSALS,
)
LIST_INTENTS = Operation(
    method="GET",
    path="/api/intents",
    handler=handlers.list_intents,
    tag="intents",
    summary="The catalogue: what can be asked for",
    answers={
        200: Success(description="Every intent.", schema=tuple[IntentInfo, ...], example=[examples.INTENT]),
    },
)
GET_INTENT = Operation(
    method="GET",
    path="/api/intents/{intent_type}",
    handler=handlers.get_intent,
    tag="intents",
    summary="One intent of the catalogue",
    description="Also by an alias.",
    answers={200: Success(description="The intent.", schema=IntentInfo, example=examples.INTENT)},
    refusals=("unknown_intent",),
)
CREATE_PENDING = Operation(
    method="POST",
    path="/api/intent/pending/create",
    handler=handlers.create_pending,
    tag="intents",
    summary="Queue work for later",
    body=schemas.CreatePending,
    body_example=examples.PENDING,
    answers={
        201: Success(description="The queued work.", schema=PendingIntent, example=examples.PENDING_INTENT),
    },
    refusals=(*WRITE_REFUSALS, "unknown_intent"),
)
LIST_PENDING = Operation(
    method="POST",
    path="/api/intent/pending/list",
    handler=handlers.list_pending,
    tag="intents",
    summary="Work that is queued and not yet started",
    body=schemas.ListPending,
    body_example={"session_id": examples.SESSION_ID, "status": "pending", "limit": 50},
    answers={
        200: Success(
            description="A page of it, newest first.",
            schema=schemas.PendingPage,
            example={"pending_intents": [examples.PENDING_INTENT], "next_cursor": None},
        )
    },
    refusals=("not_found", "session_required"),
)

EXECUTION_STATUS = Operation(
    method="GET",
    path="/api/execution/{execution_id}/status",
    handler=handlers.execution_status,
    tag="executions",
    summary="How an execution stands",
    query=schemas.StatusQuery,
    answers={200: Success(description="The execution.", schema=Execution, example=examples.EXECUTION)},
    refusals=("not_found",),
)
LIST_EXECUTIONS = Operation(
    method="POST",
    path="/api/execution/list",
    handler=handlers.list_executions,
    tag="executions",
    summary="Executions, newest first",
    body=schemas.ListExecutions,
    body_example={"session_id": examples.SESSION_ID, "status": "completed", "limit": 50},
    answers={
        200: Success(
            description="A page of them.",
            schema=schemas.ExecutionPage,
            example={"executions": [examples.EXECUTION], "next_cursor": None},
        )
    },
    refusals=("not_found", "session_required"),
)
CANCEL_EXECUTION = Operation(
    method="POST",
    path="/api/execution/{execution_id}/cancel",
    handler=handlers.cancel_execution,
    tag="executions",
    summary="Cancel an execution",
    body=schemas.CancelExecution,
    body_example={"reason": "wrong file"},
    answers={
        200: Success(
            description="The execution as it stands now.", schema=Execution, example=examples.CANCELLED_EXECUTION
        )
    },
    refusals=("not_found", "conflict", "policy_denied", "session_expired"),
)
STREAM_EXECUTION = Operation(
    method="GET",
    path="/api/execution/{execution_id}/stream",
    handler=handlers.stream_execution,
    tag="executions",
    summary="Follow an execution",
    description="Server-sent events: first `snapshot`, then every later event once and in order, then the terminal "
    "event; then the server closes. `id` is the event's `seq`. A resumed stream has no snapshot and no repeats. With "
    "`Accept: application/x-ndjson` the same comes as lines of JSON. The same address is a WebSocket on Experience.",
    query=schemas.StreamQuery,
    headers={
        "Last-Event-ID": RequestHeader(description="Resume after this `seq`.", pattern="^[0-9]{0,18}$"),
        "Accept": RequestHeader(description="`text/event-stream` (default) or `application/x-ndjson`."),
    },
    head=False,
    answers={
        200: Success(description="The events.", media_types=("text/event-stream", "application/x-ndjson")),
        204: Success(description="The execution has ended, and nothing comes after the given `seq`.", media_types=()),
    },
    refusals=("not_found",),
)

RESOLVE_ARTIFACT = Operation(
    method="POST",
    path="/api/artifact/resolve",
    handler=handlers.resolve_artifact,
    tag="artifacts",
    summary="Look up an artifact",
    body=schemas.ResolveArtifact,
    body_example={"artifact_id": examples.ARTIFACT_ID},
    answers={200: Success(description="The artifact.", schema=Artifact, example=examples.ARTIFACT)},
    refusals=("not_found", "policy_denied"),
)
LIST_ARTIFACTS = Operation(
    method="POST",
    path="/api/artifact/list",
    handler=handlers.list_artifacts,
    tag="artifacts",
    summary="Artifacts, newest first",
    body=schemas.ListArtifacts,
    body_example={"artifact_type": "parsed_content", "lifecycle_state": "READY", "limit": 50},
    answers={
        200: Success(
            description="A page of them.",
            schema=schemas.ArtifactPage,
            example={"artifacts": [examples.ARTIFACT], "next_cursor": None},
        )
    },
    refusals=("not_found", "session_required", "unknown_intent"),
)
GET_ARTIFACT = Operation(
    method="GET",
    path="/api/artifacts/{artifact_id}",
    handler=handlers.get_artifact,
    tag="artifacts",
    summary="Read an artifact",
    answers={200: Success(description="The artifact.", schema=Artifact, example=examples.ARTIFACT)},
    refusals=("not_found", "policy_denied"),
)
ARTIFACT_CONTENT = Operation(
    method="GET",
    path="/api/artifacts/{artifact_id}/content",
    handler=handlers.artifact_content,
    tag="artifacts",
    summary="The bytes of an artifact",
    query=schemas.ContentQuery,
    headers={
        "Range": RequestHeader(description="`bytes=first-last`, one range. Any other is ignored."),
        "If-None-Match": RequestHeader(description="Entity tags that are known already."),
        "If-Range": RequestHeader(description="The range counts only if this is still the entity tag."),
    },
    answers={
        200: Success(
            description="All of it, with its own media type.",
            media_types=("*/*",),
            headers={"ETag": "The SHA-256 of the content, quoted.", "Accept-Ranges": "`bytes`"},
        ),
        206: Success(
            description="The range that was asked for.",
            media_types=("*/*",),
            headers={"ETag": "The SHA-256 of the content, quoted.", "Content-Range": "Which bytes of how many."},
        ),
        304: Success(
            description="The content is what the client has.", media_types=(), headers={"ETag": "Which it is."}
        ),
    },
    refusals=("not_found", "range_not_satisfiable", "policy_denied", "conflict"),
)
ARTIFACT_LINEAGE = Operation(
    method="GET",
    path="/api/artifacts/{artifact_id}/lineage",
    handler=handlers.artifact_lineage,
    tag="artifacts",
    summary="What an artifact came from, and what came from it",
    query=schemas.LineageQuery,
    answers={200: Success(description="The graph.", schema=schemas.Lineage, example=examples.LINEAGE)},
    refusals=("not_found", "policy_denied"),
)

UPLOAD = Operation(
    method="POST",
    path="/v1/content/upload",
    handler=handlers.upload,
    tag="content",
    summary="Upload a file",
    description="Submits the intent that takes files in. The bytes stream to the blob store.",
    form=UPLOAD_FORM,
    headers=SUBMIT_HEADERS,
    answers=SUBMIT_ANSWERS,
    refusals=SUBMIT_REFUSALS,
)

HEALTH = Operation(
    method="GET",
    path="/health",
    handler=handlers.health,
    tag="platform",
    summary="Whether the platform works",
    description="Every check really probes.",
    access=Access.PUBLIC,
    query=None,
    answers={
        200: Success(description="It works, perhaps with less than all of it.", schema=Health, example=examples.HEALTH),
        503: Success(description="It is down.", schema=Health, example={**examples.HEALTH, "status": "down"}),
    },
)
LIST_REALMS = Operation(
    method="GET",
    path="/api/realms",
    handler=handlers.list_realms,
    tag="platform",
    summary="Capabilities and their intents",
    answers={200: Success(description="Every realm.", schema=tuple[RealmInfo, ...], example=[examples.REALM])},
)
WAL_EVENTS = Operation(
    method="GET",
    path="/api/wal/events",
    handler=handlers.wal_events,
    tag="platform",
    summary="The tenant's log",
    description="Chronological. Needs the role operator.",
    query=schemas.EventsQuery,
    answers={
        200: Success(
            description="A page of events.",
            schema=schemas.EventPage,
            example={"events": [examples.EVENT], "next_cursor": "42"},
        )
    },
    refusals=("not_found", "policy_denied"),
)

#: The busiest first: addresses are tried in this order.
SHARED = (
    SUBMIT_INTENT,
    EXECUTION_STATUS,
    GET_SESSION,
    UPDATE_SESSION,
    STREAM_EXECUTION,
    CREATE_SESSION,
    CLOSE_SESSION,
    UPLOAD,
    SUBMIT_BATCH,
    LIST_EXECUTIONS,
    CANCEL_EXECUTION,
    RESOLVE_ARTIFACT,
    LIST_ARTIFACTS,
    GET_ARTIFACT,
    ARTIFACT_CONTENT,
    ARTIFACT_LINEAGE,
    LIST_INTENTS,
    GET_INTENT,
    CREATE_PENDING,
    LIST_PENDING,
    WAL_EVENTS,
    LIST_REALMS,
    HEALTH,
)

#: The first published samples use no `/api`.
FIRST_PUBLISHED = (
    replace(CREATE_SESSION, path="/session/create", tag="older paths"),
    replace(GET_SESSION, path="/session/{session_id}", tag="older paths"),
    replace(
        SUBMIT_INTENT,
        path="/intent/submit",
        tag="older paths",
        handler=handlers.submit_intent_as_first_published,
        description="`payload` stands for `parameters`; `realm` must be the intent's own.",
        body=schemas.SubmitIntentAsFirstPublished,
        body_example=examples.SUBMIT_AS_FIRST_PUBLISHED,
    ),
    replace(EXECUTION_STATUS, path="/execution/{execution_id}/status", tag="older paths"),
)
