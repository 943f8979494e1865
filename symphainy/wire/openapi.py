"""The OpenAPI document, made from the operations themselves: requests from their pydantic models, answers from the
types of the model, refusals from their codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from symphainy.errors import SymphainyError
from symphainy.model import JsonObject
from symphainy.wire.examples import AT, PROBLEM
from symphainy.wire.operations import Access, EachOneOf, Link, Operation, Success
from symphainy.wire.problems import STATUS, TYPE_PREFIX, Problem
from symphainy.wire.schemas import Query

REF = "#/components/schemas/{name}"
MEDIA_PROBLEM = "application/problem+json"

EVERYWHERE = ("rate_limited", "internal", "overloaded")
IDENTIFIED = ("unauthenticated", "forbidden", "tenant_mismatch", "validation_failed")
WITH_BODY = ("validation_failed", "payload_too_large", "unsupported_media", "request_timeout")

#: What stays inside the platform: places in the log by which lists are ordered, and handlers' own state.
_INTERNAL_FIELDS = {
    "Execution": {"ordinal", "state", "concurrency_key", "not_before"},
    "Artifact": {"ordinal"},
    "PendingIntent": {"ordinal"},
}
_OPTIONAL_FIELDS = {"Execution": {"steps"}, "Problem": {"errors", "policy", "reason"}}
_INSTANT_FIELDS = {
    *("created_at", "updated_at", "expires_at", "started_at", "completed_at", "finished_at", "timestamp"),
}


def openapi_document(
    operations: Sequence[Operation],
    *,
    title: str,
    version: str,
    description: str,
    token_optional: bool = False,
    also_refused: tuple[str, ...] = (),
) -> JsonObject:
    """`token_optional`: there are callers who need none. `also_refused`: codes any operation may end with here."""
    paths: JsonObject = {}
    refused: JsonObject = {}
    for operation in operations:
        rendered = _operation(operation, token_optional, also_refused, refused)
        paths.setdefault(operation.path, {})[operation.method.lower()] = rendered
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "tags": [{"name": name} for name in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "responses": dict(sorted(refused.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "An access token."}
            },
            "headers": {
                "X-Request-Id": {
                    "description": "Names this request, in the log too. That of the request when it sent a valid one.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
                }
            },
        },
    }


def _operation(
    operation: Operation, token_optional: bool, also_refused: tuple[str, ...], refused: JsonObject
) -> JsonObject:
    out: JsonObject = {
        "operationId": operation_id(operation),
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, also_refused, refused),
    }
    if operation.description:
        out["description"] = operation.description
    if operation.access is Access.IDENTIFIED:
        out["security"] = [{"token": []}, {}] if token_optional else [{"token": []}]
    if parameters := [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)]:
        out["parameters"] = parameters
    if operation.body is not None:
        media: JsonObject = {"schema": {"$ref": REF.format(name=operation.body.__name__)}}
        if operation.body_example is not None:
            media["examples"] = {"example": {"value": operation.body_example}}
        out["requestBody"] = {
            "required": any(info.is_required() for info in operation.body.model_fields.values()),
            "content": {"application/json": media},
        }
    if operation.form is not None:
        out["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": operation.form}}}
    return out


def operation_id(operation: Operation) -> str:
    prefix = "older_" if operation.tag == "older paths" else ""
    return prefix + operation.name


def _path_parameters(operation: Operation) -> list[JsonObject]:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
            "example": "parse_content" if name == "intent_type" else f"{name[:3]}_kq3v5zt6pxyh2l7m4adbnw6eoi",
        }
        for name in names
    ]


def _query_parameters(operation: Operation) -> list[JsonObject]:
    if operation.query is None or operation.access is Access.PUBLIC:
        return []
    return [_query_parameter(operation.query, name) for name in operation.query.model_fields]


def _query_parameter(model: type[Query], name: str) -> JsonObject:
    schema = dict(model.model_json_schema()["properties"][name])
    schema.pop("title", None)
    description = schema.pop("description", "")
    # In a query string there is no null: leaving the name out says that.
    if "anyOf" in schema:
        given = [option for option in schema.pop("anyOf") if option.get("type") != "null"]
        schema |= given[0]
        schema.pop("default", None)
    out = {"name": name, "in": "query", "required": False, "schema": schema}
    if description:
        out["description"] = description
    return out


def _header_parameters(operation: Operation) -> list[JsonObject]:
    # `Accept` has a place of its own in OpenAPI: the media types of the answers.
    return [
        {
            "name": name,
            "in": "header",
            "required": False,
            "description": header.description,
            "schema": {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {}),
        }
        for name, header in operation.headers.items()
        if name != "Accept"
    ]


def refusal_codes(operation: Operation, also_refused: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Every code this operation may be refused with."""
    codes = [*EVERYWHERE, *also_refused, *operation.refusals]
    if operation.access is Access.IDENTIFIED:
        codes += IDENTIFIED
    if operation.body is not None or operation.form is not None:
        codes += WITH_BODY
    return tuple(dict.fromkeys(codes))


def _responses(operation: Operation, also_refused: tuple[str, ...], shared: JsonObject) -> JsonObject:
    """By status. Refusals are written down once, in `shared`, and referred to."""
    out: JsonObject = {str(status): _success(success) for status, success in operation.answers.items()}
    by_status: dict[int, list[type[SymphainyError]]] = {}
    for code in sorted(refusal_codes(operation, also_refused)):
        kind = _kind_of(code)
        by_status.setdefault(STATUS[kind], []).append(kind)
    for status, kinds in by_status.items():
        refused = _refusal(status, kinds)
        if str(status) in out:  # a status that means two things: told apart by the media type
            out[str(status)]["content"] |= refused["content"]
            out[str(status)]["description"] += f" Or: {refused['description']}"
            out[str(status)]["headers"] |= refused["headers"]
        else:
            name = "_or_".join(kind.code for kind in kinds)
            shared[name] = refused
            out[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return dict(sorted(out.items()))


def _success(success: Success) -> JsonObject:
    out: JsonObject = {"description": success.description, "headers": _headers(success.headers)}
    if success.media_types:
        content: JsonObject = {}
        for media_type in success.media_types:
            media: JsonObject = {}
            if success.schema is not None:
                media["schema"] = _schema_of(success.schema)
            if success.example is not None:
                media["examples"] = {"example": {"value": success.example}}
            content[media_type] = media
        out["content"] = content
    if success.links:
        out["links"] = {link.operation: _link(link) for link in success.links}
    return out


def _link(link: Link) -> JsonObject:
    out: JsonObject = {"operationId": link.operation}
    if link.path:
        out["parameters"] = {name: f"$response.body#/{member}" for name, member in link.path.items()}
    if link.body:
        out["requestBody"] = {name: f"$response.body#/{member}" for name, member in link.body.items()}
    return out


def _schema_of(described: Any) -> JsonObject:
    if isinstance(described, EachOneOf):
        return {"type": "array", "items": {"anyOf": [_schema_of(kind) for kind in described.kinds]}}
    (schema,), _ = msgspec.json.schema_components([described], ref_template=REF)
    return schema


def _refusal(status: int, kinds: Iterable[type[SymphainyError]]) -> JsonObject:
    kinds = list(kinds)
    named = ", ".join(f"`{kind.code}` ({kind.title.lower()})" for kind in kinds)
    headers: dict[str, str] = {}
    if status == 401:
        headers["WWW-Authenticate"] = "How to authenticate."
    if status in (429, 503):
        headers["Retry-After"] = "Seconds until it is worth trying again."
    examples = {kind.code: {"value": problem_example(status, kind)} for kind in kinds}
    return {
        "description": f"Refused: {named}.",
        "headers": _headers(headers),
        "content": {MEDIA_PROBLEM: {"schema": {"$ref": REF.format(name="Problem")}, "examples": examples}},
    }


def problem_example(status: int, kind: type[SymphainyError]) -> JsonObject:
    example: JsonObject = {
        **PROBLEM,
        "type": TYPE_PREFIX + kind.code,
        "title": kind.title,
        "status": status,
        "detail": f"{kind.title}: what happened, with the values, and what to do.",
        "instance": "/api/…",
        "code": kind.code,
        "retryable": kind.retryable,
    }
    if kind.code == "validation_failed":
        example["errors"] = [{"pointer": "/intent_type", "detail": "Field required"}]
    if kind.code == "policy_denied":
        example |= {"policy": "security_guard.role", "reason": "the intent needs the role operator"}
    return example


def _headers(described: Mapping[str, str]) -> JsonObject:
    own = {name: {"description": text, "schema": {"type": "string"}} for name, text in described.items()}
    return {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}, **own}


def _kind_of(code: str) -> type[SymphainyError]:
    return next(kind for kind in STATUS if kind.code == code)


def _schemas(operations: Sequence[Operation]) -> JsonObject:
    described = [success.schema for each in operations for success in each.answers.values()]
    answers = [
        kind
        for each in described
        for kind in (each.kinds if isinstance(each, EachOneOf) else (each,))
        if kind is not None
    ]
    _, schemas = msgspec.json.schema_components([*answers, Problem], ref_template=REF)
    for name, schema in schemas.items():
        _as_sent(name, schema)
    bodies: list[type[BaseModel]] = list(dict.fromkeys(each.body for each in operations if each.body is not None))
    _, definitions = models_json_schema(
        [(body, "validation") for body in bodies], ref_template=REF.replace("{name}", "{model}")
    )
    for name, schema in definitions.get("$defs", {}).items():
        schemas.setdefault(name, schema)
    return dict(sorted(schemas.items()))


def _as_sent(name: str, schema: JsonObject) -> None:
    """Turn the schema of a type into that of its wire form: no internal fields, and every other is always there."""
    properties: dict[str, Any] = schema.get("properties", {})
    for internal in _INTERNAL_FIELDS.get(name, ()):
        properties.pop(internal, None)
    optional = _OPTIONAL_FIELDS.get(name, set())
    if properties:
        schema["required"] = [field for field in properties if field not in optional]
    for field, described in properties.items():
        if field not in optional:
            described.pop("default", None)
        if field in _INSTANT_FIELDS:
            for option in described.get("anyOf", [described]):
                if option.get("type") == "string":
                    option |= {"format": "date-time", "examples": [AT]}
