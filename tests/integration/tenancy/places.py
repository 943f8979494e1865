"""Every place of a request where an id can stand, taken from the OpenAPI documents, so that none can be forgotten."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.integration.tenancy.town import Request

Route = tuple[str, str]
"""Method and path, as in the document."""
Field = tuple[str, str]
"""Where (`path`, `query`, `header`, `body`, `form`) and what: a name, in a body a pointer."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What to add to a request."""

    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


#: What an id in this field must begin with to be of the right kind.
KINDS = {
    "session_id": "ses",
    "execution_id": "exe",
    "artifact_id": "art",
    "target_artifact_id": "art",
    "parent_artifact_id": "art",
    "materialization_id": "mat",
}
#: What names nothing that belongs to a tenant; the second group has tests of its own.
HARMLESS = frozenset(
    {
        *("intent_type", "include_artifacts", "include_steps", "after", "direction", "limit", "event_type", "status"),
        *("artifact_type", "lifecycle_state", "eligible_for", "solution_id", "context", "reason", "realm", "file"),
        *("Prefer", "Range"),
        *("tenant_id", "user_id", "cursor", "parameters", "payload", "metadata", "idempotency_key"),
        *("Idempotency-Key", "Last-Event-ID", "If-None-Match", "If-Range"),
    }
)
#: Routes that answer with a list: one that is narrowed to what nobody has is empty, and that is no refusal.
LISTS: dict[str, tuple[str, ...]] = {
    "/api/execution/list": ("executions",),
    "/api/artifact/list": ("artifacts",),
    "/api/intent/pending/list": ("pending_intents",),
    "/api/wal/events": ("events",),
}
#: Further ways to ask the same.
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "/api/execution/{execution_id}/status": (Variant(query={"include_artifacts": "true", "include_steps": "true"}),),
    "/api/execution/{execution_id}/stream": (
        Variant(headers={"Accept": "application/x-ndjson"}),
        Variant(headers={"Last-Event-ID": "1"}),
        Variant(query={"after": "0"}),
        Variant(query={"after": "999"}),
    ),
    "/api/artifacts/{artifact_id}/content": (
        Variant(headers={"Range": "bytes=0-3"}),
        Variant(headers={"If-None-Match": "*"}),
    ),
    "/api/artifacts/{artifact_id}/lineage": (Variant(query={"direction": "down"}),),
}


def requests(own: Mapping[str, str]) -> dict[Route, Request]:
    """A good request for every route there is, about one's own things."""
    session = {"session_id": own["session_id"]}
    execution = {"execution_id": own["execution_id"]}
    artifact = {"artifact_id": own["artifact_id"]}
    submission = {"intent_type": "list_artifacts", **session, "parameters": {}}
    bodies: dict[Route, Any] = {
        ("POST", "/api/session/create"): {},
        ("POST", "/api/session/create-anonymous"): {},
        ("PATCH", "/api/session/{session_id}"): {"context": {"seen": True}},
        ("POST", "/api/session/{session_id}/close"): {},
        ("POST", "/api/intent/submit"): submission,
        ("POST", "/api/intent/submit-batch"): {"intents": [submission]},
        ("POST", "/api/intent/pending/create"): {
            "intent_type": "parse_content",
            "target_artifact_id": own["artifact_id"],
            **session,
        },
        ("POST", "/api/intent/pending/list"): {},
        ("POST", "/api/execution/list"): {},
        ("POST", "/api/execution/{execution_id}/cancel"): {"reason": "curious"},
        ("POST", "/api/artifact/resolve"): artifact,
        ("POST", "/api/artifact/list"): {},
        ("POST", "/session/create"): {},
        ("POST", "/intent/submit"): submission,
    }
    read = (
        *("/api/session/{session_id}", "/session/{session_id}", "/api/intents", "/api/intents/{intent_type}"),
        *("/api/execution/{execution_id}/status", "/execution/{execution_id}/status"),
        *("/api/execution/{execution_id}/stream", "/api/artifacts/{artifact_id}"),
        *("/api/artifacts/{artifact_id}/content", "/api/artifacts/{artifact_id}/lineage", "/api/realms"),
        *("/api/wal/events", "/health", "/metrics", "/openapi.json", "/docs"),
    )
    found = {route: Request(method=route[0], path=route[1], body=body) for route, body in bodies.items()}
    found |= {("GET", path): Request(method="GET", path=path) for path in read}
    found["POST", "/v1/content/upload"] = Request(method="POST", path="/v1/content/upload", form=session)
    ids = {**session, **execution, **artifact, "intent_type": "list_artifacts"}
    return {route: replace(request, ids=ids) for route, request in found.items()}


@dataclass(frozen=True, kw_only=True)
class Place:
    """One field of one route."""

    route: Route
    at: Field

    @property
    def name(self) -> str:
        return self.at[1].rpartition("/")[2]

    def __str__(self) -> str:
        return f"{' '.join(self.route)} {'/'.join(self.at)}"

    def with_(self, request: Request, value: str) -> Request:
        """The request with `value` in this place."""
        where, name = self.at
        match where:
            case "path":
                return replace(request, ids={**request.ids, name: value})
            case "query":
                return replace(request, query={**request.query, name: value})
            case "form":
                return replace(request, form={**(request.form or {}), name: value})
            case _:
                body = copy.deepcopy(request.body)
                *way, last = name.strip("/").split("/")
                holder = body
                for part in way:
                    holder = holder[int(part)] if part.isdigit() else holder[part]
                holder[last] = value
                return replace(request, body=body)


def ways(place: Place, request: Request) -> Iterator[Request]:
    """The request as it is, and the other ways to ask the same."""
    yield request
    for variant in VARIANTS.get(request.path, ()):
        query, headers = {**request.query, **variant.query}, {**request.headers, **variant.headers}
        yield replace(request, query=query, headers=headers)
    if place.route[0] == "GET" and not request.path.endswith("/stream"):
        yield replace(request, method="HEAD")


def inputs(document: Any) -> dict[Route, set[Field]]:
    """Every field that the routes of a document take."""
    found: dict[Route, set[Field]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            fields = found.setdefault((method.upper(), path), set())
            fields.update((each["in"], each["name"]) for each in operation.get("parameters", ()))
            content = operation.get("requestBody", {}).get("content", {})
            for media_type, body in content.items():
                where = "form" if media_type == "multipart/form-data" else "body"
                fields.update((where, name) for name in _names(document, body["schema"], where))
    return found


def _names(document: Any, schema: Any, where: str) -> Iterator[str]:
    schema = _resolved(document, schema)
    for name, member in schema.get("properties", {}).items():
        member = _resolved(document, member)
        if member.get("type") == "array":
            yield from (f"/{name}/0{below}" for below in _names(document, member["items"], "body"))
        else:
            yield name if where == "form" else f"/{name}"


def _resolved(document: Any, schema: Any) -> Any:
    reference = schema.get("$ref")
    return document["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema


def places(document: Any) -> list[Place]:
    """Those fields that hold an id."""
    return [
        Place(route=route, at=each)
        for route, fields in inputs(document).items()
        for each in sorted(fields)
        if each[1].rpartition("/")[2] in KINDS
    ]
