"""What each operation does: from a validated request, through the door, to an answer."""

from __future__ import annotations

import re
from typing import Any

from symphainy.door import Door, IntentRequest, Refusal, artifact_to_wire, execution_to_wire
from symphainy.errors import FieldError, Invalid, TenantMismatch, rebuild
from symphainy.model import Artifact, JsonObject, PendingIntent, Submitted
from symphainy.wire import schemas
from symphainy.wire.bodies import json_object
from symphainy.wire.contents import content_answer
from symphainy.wire.operations import Call
from symphainy.wire.problems import problem_of
from symphainy.wire.replies import Answer, Reply, json_reply, plain
from symphainy.wire.schemas import validated
from symphainy.wire.streams import open_stream, resume_from, wants_ndjson
from symphainy.wire.uploads import receive_upload

IDEMPOTENCY_KEY = "Idempotency-Key"
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_WAIT = re.compile(r'(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?=$|[,;])', re.IGNORECASE)
_REPLAYED = (b"idempotency-replayed", b"true")


# --- sessions -------------------------------------------------------------------------------------------------


async def create_session(call: Call) -> Answer:
    body = call.body(schemas.CreateSession)
    user_id = body.user_id if call.service.users_may_be_named else None
    session = await call.door.create_session(
        user_id=user_id, solution_id=body.solution_id, context=body.context, metadata=body.metadata
    )
    return json_reply(201, session, [(b"location", f"/api/session/{session.session_id}".encode())])


async def create_anonymous_session(call: Call) -> Answer:
    body = call.body(schemas.CreateAnonymousSession)
    opened = call.service.anonymous
    assert opened is not None, "the route is absent where nobody opens anonymous sessions"
    made = await opened(call.client, body.context, body.metadata)
    answer = {**plain(made.session), "access_token": made.access_token, "expires_in": made.expires_in}
    return json_reply(201, answer, [(b"location", f"/api/session/{made.session.session_id}".encode())])


async def get_session(call: Call) -> Answer:
    return json_reply(200, await call.door.get_session(call.id("session_id")))


async def update_session(call: Call) -> Answer:
    body = call.body(schemas.UpdateSession)
    session = await call.door.update_session(call.id("session_id"), context=body.context, metadata=body.metadata)
    return json_reply(200, session)


async def close_session(call: Call) -> Answer:
    return json_reply(200, await call.door.close_session(call.id("session_id")))


# --- intents --------------------------------------------------------------------------------------------------


async def submit_intent(call: Call) -> Answer:
    body = call.body(schemas.SubmitIntent)
    request = await _request_of(call, body, body.parameters, key=idempotency_key(call.headers), at="/parameters")
    return await _submitted(call, await call.door.submit(request))


async def submit_intent_as_first_published(call: Call) -> Answer:
    body = call.body(schemas.SubmitIntentAsFirstPublished)
    if body.payload is not None and body.parameters is not None:
        detail = "payload stands for parameters: give one of them"
        raise Invalid(detail, errors=[FieldError("/payload", detail)])
    if body.realm is not None:
        await _check_realm(call.door, body.intent_type, body.realm)
    parameters = body.payload if body.parameters is None else body.parameters
    at = "/payload" if body.parameters is None else "/parameters"
    request = await _request_of(call, body, parameters, key=idempotency_key(call.headers), at=at)
    return await _submitted(call, await call.door.submit(request))


async def _check_realm(door: Door, intent_type: str, named: str) -> None:
    info = await door.get_intent(intent_type)
    realms = [realm for realm in await door.list_realms() if info.intent_type in realm.intents]
    names = sorted({name for realm in realms for name in (realm.realm, realm.capability)} | {info.capability})
    if named not in names:
        detail = f"{intent_type!r} belongs to {' or '.join(names)}, not to {named!r}"
        raise Invalid(detail, errors=[FieldError("/realm", detail)])


async def submit_batch(call: Call) -> Answer:
    body = call.body(schemas.SubmitBatch)
    key = idempotency_key(call.headers)
    requests = []
    for number, item in enumerate(body.intents):
        if item.tenant_id is not None and body.tenant_id is not None and item.tenant_id != body.tenant_id:
            raise TenantMismatch(f"intent {number} names tenant {item.tenant_id!r}, the batch {body.tenant_id!r}")
        own_key = item.idempotency_key or (None if key is None else f"{key}/{number}")
        at = f"/intents/{number}/parameters"
        requests.append(await _request_of(call, item, item.parameters, key=own_key, at=at))
    answers = await call.door.submit_batch(requests)
    return json_reply(202, [_batch_answer(call, answer) for answer in answers])


def _batch_answer(call: Call, answer: Submitted | Refusal) -> JsonObject:
    if isinstance(answer, Submitted):
        return _accepted(answer)
    error = rebuild(answer.code, answer.message, answer.details)
    return problem_of(error, request_id=call.request_id, instance=call.path)


async def _request_of(
    call: Call,
    body: schemas.SubmitIntent | schemas.SubmitIntentAsFirstPublished,
    parameters: JsonObject | None,
    *,
    key: str | None,
    at: str,
) -> IntentRequest:
    """The submission that the body stands for. `at` points to its parameters."""
    guard = call.service.development_only
    if guard is not None:
        await guard.refuse(call.door, body.intent_type, parameters, at=at)
    return IntentRequest(
        intent_type=body.intent_type,
        session_id=body.session_id,
        parameters=parameters or {},
        tenant_id=body.tenant_id,
        solution_id=body.solution_id,
        metadata=body.metadata or {},
        idempotency_key=key,
    )


def idempotency_key(headers: dict[bytes, bytes]) -> str | None:
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    if not _KEY.fullmatch(value):
        detail = f"the header {IDEMPOTENCY_KEY} must be 1 to 255 visible ASCII characters"
        raise Invalid(detail, errors=[FieldError("", detail)])
    return value.decode("ascii")


def preferred_wait_s(headers: dict[bytes, bytes]) -> int | None:
    """The N of `Prefer: wait=N`. A preference that cannot be read is none (RFC 7240)."""
    value = headers.get(b"prefer")
    match = None if value is None else _WAIT.search(value.decode("latin-1"))
    return None if match is None else int(match[1])


def _accepted(submitted: Submitted) -> JsonObject:
    return {
        "execution_id": submitted.execution_id,
        "intent_id": submitted.intent_id,
        "status": submitted.status,
        "created_at": submitted.created_at,
    }


async def _submitted(call: Call, submitted: Submitted) -> Reply:
    headers = [_REPLAYED] if submitted.replayed else []
    wait_s = preferred_wait_s(call.headers)
    if wait_s is not None:
        granted_s = min(float(wait_s), call.service.settings.wait_s_max)
        headers.append((b"preference-applied", f"wait={granted_s:g}".encode()))
        execution = await call.door.wait(submitted.execution_id, timeout_s=granted_s)
        if execution.status.is_terminal:
            return json_reply(200, execution_to_wire(execution), headers)
    headers.append((b"location", f"/api/execution/{submitted.execution_id}/status".encode()))
    return json_reply(202, _accepted(submitted), headers)


async def list_intents(call: Call) -> Answer:
    return json_reply(200, await call.door.list_intents())


async def get_intent(call: Call) -> Answer:
    return json_reply(200, await call.door.get_intent(call.id("intent_type")))


async def create_pending(call: Call) -> Answer:
    body = call.body(schemas.CreatePending)
    guard = call.service.development_only
    if guard is not None:
        await guard.refuse(call.door, body.intent_type, body.parameters, at="/parameters")
    pending = await call.door.create_pending(
        intent_type=body.intent_type,
        target_artifact_id=body.target_artifact_id,
        session_id=body.session_id,
        parameters=body.parameters,
    )
    return json_reply(201, _pending_to_wire(pending))


async def list_pending(call: Call) -> Answer:
    body = call.body(schemas.ListPending)
    page = await call.door.list_pending(
        session_id=body.session_id,
        intent_type=body.intent_type,
        target_artifact_id=body.target_artifact_id,
        status=None if body.status is None else body.status.value,
        limit=body.limit,
        cursor=body.cursor,
    )
    found = [_pending_to_wire(each) for each in page.items]
    return json_reply(200, {"pending_intents": found, "next_cursor": page.next_cursor})


def _pending_to_wire(pending: PendingIntent) -> JsonObject:
    out: JsonObject = plain(pending)
    out.pop("ordinal")
    return out


# --- executions -----------------------------------------------------------------------------------------------


async def execution_status(call: Call) -> Answer:
    query = call.query(schemas.StatusQuery)
    execution_id = call.id("execution_id")
    execution = await call.door.get_execution(
        execution_id, include_artifacts=query.include_artifacts, include_steps=query.include_steps
    )
    artifacts = await call.door.execution_artifacts(execution_id) if query.include_artifacts else None
    return json_reply(200, execution_to_wire(execution, artifacts))


async def list_executions(call: Call) -> Answer:
    body = call.body(schemas.ListExecutions)
    page = await call.door.list_executions(
        session_id=body.session_id,
        intent_type=body.intent_type,
        status=None if body.status is None else body.status.value,
        limit=body.limit,
        cursor=body.cursor,
    )
    found = [execution_to_wire(each) for each in page.items]
    return json_reply(200, {"executions": found, "next_cursor": page.next_cursor})


async def cancel_execution(call: Call) -> Answer:
    body = call.body(schemas.CancelExecution)
    execution = await call.door.cancel(call.id("execution_id"), reason=body.reason)
    return json_reply(200, execution_to_wire(execution))


async def stream_execution(call: Call) -> Answer:
    after = resume_from(call.headers, call.query(schemas.StreamQuery).after)
    return await open_stream(
        call.door,
        call.id("execution_id"),
        after=after,
        ndjson=wants_ndjson(call.headers),
        settings=call.service.settings,
        streams=call.service.streams,
    )


# --- artifacts ------------------------------------------------------------------------------------------------


async def resolve_artifact(call: Call) -> Answer:
    body = call.body(schemas.ResolveArtifact)
    return json_reply(200, artifact_to_wire(await call.door.resolve_artifact(body.artifact_id)))


async def list_artifacts(call: Call) -> Answer:
    body = call.body(schemas.ListArtifacts)
    page = await call.door.list_artifacts(
        artifact_type=body.artifact_type,
        lifecycle_state=None if body.lifecycle_state is None else body.lifecycle_state.value,
        session_id=body.session_id,
        parent_artifact_id=body.parent_artifact_id,
        eligible_for=body.eligible_for,
        limit=body.limit,
        cursor=body.cursor,
    )
    found = [artifact_to_wire(each) for each in page.items]
    return json_reply(200, {"artifacts": found, "next_cursor": page.next_cursor})


async def get_artifact(call: Call) -> Answer:
    return json_reply(200, artifact_to_wire(await call.door.resolve_artifact(call.id("artifact_id"))))


async def artifact_content(call: Call) -> Answer:
    query = call.query(schemas.ContentQuery)
    return await content_answer(call.door, call.id("artifact_id"), query.materialization_id, call.headers)


async def artifact_lineage(call: Call) -> Answer:
    query = call.query(schemas.LineageQuery)
    graph = await call.door.artifact_lineage(call.id("artifact_id"), direction=query.direction)
    return json_reply(200, {**graph, "nodes": [_node_to_wire(node) for node in graph["nodes"]]})


def _node_to_wire(node: Artifact | JsonObject) -> JsonObject:
    """A node is an artifact, or its wire form where the door is one that HTTP stands behind."""
    if isinstance(node, Artifact):
        return artifact_to_wire(node)
    return {name: value for name, value in node.items() if name != "ordinal"}


# --- content --------------------------------------------------------------------------------------------------


async def upload(call: Call) -> Answer:
    key = idempotency_key(call.headers)
    settings = call.service.settings
    async with receive_upload(call.receive, call.headers, settings) as received:
        form = _upload_form(received.fields)
        door = await call.enter(form.tenant_id)
        guard = call.service.development_only
        if guard is not None:
            await guard.refuse_any(door, form.parameters, at="/parameters")
        submitted = await door.upload(
            received.chunks,
            filename=received.filename,
            media_type=received.media_type,
            session_id=form.session_id,
            parameters=form.parameters,
            metadata=form.metadata,
            idempotency_key=key,
        )
    return await _submitted(call, submitted)


def _upload_form(fields: dict[str, bytes]) -> schemas.UploadForm:
    values: dict[str, Any] = {}
    for name in fields:
        if name in ("parameters", "metadata"):
            if not fields[name].strip():  # how a form of a page says that nothing was entered
                continue
            try:
                values[name] = json_object(fields[name])
            except Invalid as error:
                raise Invalid(f"the field {name!r}: {error}", errors=[FieldError(f"/{name}", str(error))]) from None
        else:
            values[name] = fields[name].decode("utf-8", "replace")
    return validated(schemas.UploadForm, values, what="form")


# --- the platform ---------------------------------------------------------------------------------------------


async def health(call: Call) -> Answer:
    found = await call.service.health()
    return json_reply(503 if found.status == "down" else 200, found)


async def list_realms(call: Call) -> Answer:
    return json_reply(200, await call.door.list_realms())


async def wal_events(call: Call) -> Answer:
    query = call.query(schemas.EventsQuery)
    page = await call.door.wal_events(
        session_id=query.session_id,
        execution_id=query.execution_id,
        event_type=query.event_type,
        after=query.after,
        limit=query.limit,
    )
    return json_reply(200, {"events": page.items, "next_cursor": page.next_cursor})
