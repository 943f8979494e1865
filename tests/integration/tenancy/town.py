"""One platform with three tenants. The first has everything that a tenant can have, and in each place of it a word that
stands nowhere else; the others are strangers who must never see one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from symphainy.boot.phases import Platform
from symphainy.model import Role
from tests.integration.tenancy.prying import WRITTEN

TENANT, STRANGER, THIRD = "acme", "globex", "initech"
#: The same for every request, so that answers can be compared.
REQUEST_ID = "walls"
SHARED_KEY = "a-key-that-two-tenants-use"
SHARED_LIMIT = "a-concurrency-key-that-two-tenants-use"
#: What the content of both tenants speaks of, so that a question finds it.
QUESTION = "which bearing of the turbine is worn"

_ID = re.compile(r"[a-z]{3}_[A-Za-z0-9]{8,}|[0-9a-f]{64}|blob:[0-9a-f]{64}")


class Canaries:
    """A word for each place of the first tenant, that says which one it comes from."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}

    def at(self, place: str) -> str:
        plain = re.sub(r"[^a-z]", "", place.lower())
        return self._words.setdefault(place, f"canary{len(self._words)}{plain}")

    @property
    def all(self) -> set[str]:
        return {*self._words}

    def in_(self, data: bytes) -> list[str]:
        """The places whose words stand in `data`."""
        text = data.lower()
        return [place for place, word in self._words.items() if word.encode() in text]


@dataclass(frozen=True, kw_only=True)
class Request:
    """`path` is the route's template, `ids` what stands in its braces."""

    method: str
    path: str
    ids: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, str] | None = None
    """The fields of an upload. Its file is always the same."""
    content: bytes = b"a file of a stranger\n"
    filename: str = "stranger.txt"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def without(self, *values: str) -> Answer:
        """The same, with these values blanked out wherever they stand."""
        body = self.body.decode("utf-8", "surrogateescape")
        headers = self.headers
        for value in values:
            body = body.replace(value, "…")
            headers = tuple((name, text.replace(value, "…")) for name, text in headers)
        return Answer(self.status, headers, body.encode("utf-8", "surrogateescape"))


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody at the address of a service. `own` are ids of things of its own, by name.

    A stranger to the first tenant fails the test as soon as it gets to see one of that tenant's words.
    """

    name: str
    client: httpx2.AsyncClient
    headers: Mapping[str, str]
    tenant_id: str | None = None
    """Named on every call: how a developer without a token says for which tenant it is."""
    session: str | None = None
    """The one session there is for an anonymous visitor."""
    canaries: Canaries | None = None
    own: dict[str, str] = field(default_factory=dict)

    async def ask(self, request: Request) -> Answer:
        path = request.path
        for name, value in request.ids.items():
            path = path.replace("{" + name + "}", value)
        query = dict(request.query)
        if self.tenant_id is not None:
            query.setdefault("tenant_id", self.tenant_id)
        given: dict[str, Any] = {}
        if request.form is not None:
            given = {"data": dict(request.form), "files": {"file": (request.filename, request.content)}}
        elif request.body is not None:
            given = {"json": request.body}
        headers = {"X-Request-Id": REQUEST_ID, **self.headers, **request.headers}
        got = await self.client.request(request.method, path, params=query, headers=headers, **given)
        kept = tuple((name, text) for name, text in got.headers.items() if name.lower() != "date")
        answer = Answer(got.status_code, kept, got.content)
        if self.canaries is not None:
            seen = self.canaries.in_(got.content) + self.canaries.in_(repr(kept).encode())
            assert seen == [], f"{self.name} sees {seen}: {request} {answer}"
        return answer

    async def get(self, path: str, ids: Mapping[str, str] | None = None, **query: str) -> Any:
        return await self._good(Request(method="GET", path=path, ids=ids or {}, query=query))

    async def post(self, path: str, body: Any = None, *, ids: Mapping[str, str] | None = None) -> Any:
        return await self._good(Request(method="POST", path=path, ids=ids or {}, body={} if body is None else body))

    async def _good(self, request: Request) -> Any:
        answer = await self.ask(request)
        assert answer.status < 300, f"{self.name}: {request}: {answer}"
        return answer.json

    async def open(self, **body: Any) -> str:
        if self.session is not None:
            return self.session
        return str((await self.post("/api/session/create", body))["session_id"])

    async def run(
        self, intent_type: str, session_id: str, /, parameters: Any = None, metadata: Any = None, **headers: str
    ) -> Any:
        """The ended execution."""
        body = {
            "intent_type": intent_type,
            "session_id": session_id,
            "parameters": parameters or {},
            "metadata": metadata or {},
        }
        request = Request(method="POST", path="/api/intent/submit", body=body, headers={"Prefer": "wait=30", **headers})
        execution = await self._good(request)
        assert execution["status"] in ("completed", "failed", "cancelled"), execution
        return execution

    async def done(self, intent_type: str, session_id: str, /, **parameters: Any) -> Any:
        """The result of the intent."""
        execution = await self.run(intent_type, session_id, parameters)
        assert execution["status"] == "completed", execution["error"]
        return execution["result"]

    async def events(self, execution_id: str) -> list[Any]:
        request = Request(
            method="GET",
            path="/api/execution/{execution_id}/stream",
            ids={"execution_id": execution_id},
            query={"after": "0"},
            headers={"Accept": "application/x-ndjson"},
        )
        answer = await self.ask(request)
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines() if line]

    async def saga(self, request: Request) -> list[str]:
        """Submit what begins a saga, and follow it to its end: its executions."""
        told: list[str] = []
        following: str | None = (await self._good(request))["execution_id"]
        while following is not None:
            told.append(following)
            ways = [event["payload"].get("next") for event in await self.events(following)]
            following = next((way["execution_id"] for way in ways if way), None)
        return told


@dataclass(frozen=True, kw_only=True)
class Town:
    """`things` are all the ids of the first tenant by what they begin with, `held` those with a name."""

    platform: Platform
    canaries: Canaries
    ada: Visitor
    """A member of the first tenant, whose things they are."""
    bea: Visitor
    """Another member of it."""
    chief: Visitor
    """Its operator."""
    strangers: Mapping[str, Visitor]
    sockets: tuple[str, ...]
    """Where WebSockets are served: by Experience, and by one apart."""
    things: Mapping[str, list[str]]
    held: Mapping[str, str]

    @property
    def eve(self) -> Visitor:
        """An administrator of the second tenant."""
        return self.strangers["eve"]

    async def whole(self) -> Any:
        """All that the first tenant can see of itself."""
        return await whole(self.chief)


async def whole(chief: Visitor) -> Any:
    events: list[Any] = []
    while page := (await chief.get("/api/wal/events", limit="500", after=str(len(events))))["events"]:
        events += page
    artifacts = (await chief.post("/api/artifact/list", {"limit": 500}))["artifacts"]
    return {
        "events": events,
        "executions": (await chief.post("/api/execution/list", {"limit": 500}))["executions"],
        "artifacts": artifacts,
        "pending": (await chief.post("/api/intent/pending/list", {"limit": 500}))["pending_intents"],
        "contents": [await _content(chief, each["artifact_id"]) for each in artifacts if each["materializations"]],
        "sessions": [
            await chief.get("/api/session/{session_id}", {"session_id": session_id})
            for session_id in sorted({each["session_id"] for each in events if each["session_id"]})
        ],
    }


async def _content(visitor: Visitor, artifact_id: str) -> str:
    path = "/api/artifacts/{artifact_id}/content"
    answer = await visitor.ask(Request(method="GET", path=path, ids={"artifact_id": artifact_id}))
    assert answer.status == 200, answer
    return answer.body.decode("latin-1")


def identifiers(value: Any) -> Iterator[str]:
    """Every id, hash and reference anywhere in `value`."""
    match value:
        case str() if _ID.fullmatch(value):
            yield value
        case dict():
            for member in value.values():
                yield from identifiers(member)
        case list():
            for item in value:
                yield from identifiers(item)


def kind_of(thing: str) -> str:
    """What an id begins with; a hash has no beginning of its own."""
    if thing.startswith("blob:"):
        return "blob"
    return thing.partition("_")[0] if "_" in thing else "sha256"


def absent(value: str) -> str:
    """A value of the same form and length that nothing has."""
    return value[:-6] + "999999"


async def settle(ada: Visitor, chief: Visitor, canaries: Canaries) -> dict[str, str]:
    """Everything there is, made by `ada`. Returns the ids by which tests name it."""
    word = canaries.at
    session_id = await ada.open(
        context={word("context name"): word("context"), "shared": 1},
        metadata={word("session metadata name"): word("session metadata")},
        solution_id=word("solution"),
    )
    traces = {place: word(name) for place, name in WRITTEN.items()}
    traced = await ada.run(
        "leave_traces",
        session_id,
        {"words": traces},
        {"correlation_id": word("correlation"), "note": word("metadata")},
        **{"Idempotency-Key": SHARED_KEY},
    )
    table = f"{word('column')},part,hours\n{word('cell')},bearing seven of the turbine is worn,12\nP-2,valve,7\n"
    executions = await ada.saga(
        Request(
            method="POST",
            path="/v1/content/upload",
            form={
                "session_id": session_id,
                "parameters": json.dumps(
                    {
                        "ui_name": word("ui name"),
                        "file_type": word("file type"),
                        "source_metadata": {word("source name"): word("source")},
                    }
                ),
                "metadata": json.dumps({"saga": "ingest_to_search", "note": word("saga metadata")}),
            },
            content=table.encode(),
            filename=f"{word('filename')}.csv",
        )
    )
    listed = await ada.post("/api/artifact/list")
    made = {each["artifact_type"]: each for each in listed["artifacts"]}
    assert {*made} >= {"trace", "file", "parsed_content", "deterministic_embeddings", "embeddings"}
    await ada.done("query_data", session_id, query=f"{QUESTION} {word('question')}")
    text = f"# {word('heading')}\n\nThe turbine has a bearing, says {word('paragraph')}.\n"
    waiting = await ada.saga(
        Request(
            method="POST",
            path="/v1/content/upload",
            form={"session_id": session_id},
            content=text.encode(),
            filename=f"{word('second filename')}.md",
        )
    )
    pending_file = (await ada.post("/api/artifact/list", {"artifact_type": "file"}))["artifacts"][0]
    pending = await ada.post(
        "/api/intent/pending/create",
        {
            "intent_type": "parse_content",
            "target_artifact_id": pending_file["artifact_id"],
            "session_id": session_id,
            "parameters": {"file_id": pending_file["artifact_id"], "note": word("pending parameters")},
        },
    )
    failed = await ada.run(
        "save_materialization",
        session_id,
        {"file_id": pending_file["artifact_id"], "boundary_contract_id": word("contract")},
    )
    assert failed["error"]["code"] == "boundary_contract_mismatch"
    refused = await ada.ask(Request(method="GET", path="/api/wal/events"))
    assert refused.status == 403, refused
    body = {"intent_type": "linger", "session_id": session_id, "metadata": {"concurrency_key": SHARED_LIMIT}}
    cancelled = await ada.post("/api/intent/submit", {**body, "metadata": {"note": word("cancelled")}})
    path = "/api/execution/{execution_id}/cancel"
    await chief.post(path, {"reason": word("reason")}, ids={"execution_id": cancelled["execution_id"]})
    running = await ada.post("/api/intent/submit", body)
    archived = await ada.done(
        "archive_file", session_id, artifact_id=made["trace"]["artifact_id"], reason=word("archive reason")
    )
    assert archived["lifecycle_state"] == "ARCHIVED"
    page = await ada.post("/api/execution/list", {"limit": 1})
    return {
        "session_id": session_id,
        "execution_id": executions[0],
        "running": running["execution_id"],
        "pending_execution": waiting[0],
        "traced": traced["execution_id"],
        "artifact_id": made["file"]["artifact_id"],
        "parsed_file_id": made["parsed_content"]["artifact_id"],
        "deterministic_embedding_id": made["deterministic_embeddings"]["artifact_id"],
        "boundary_contract_id": made["file"]["semantic_descriptor"]["boundary_contract"]["boundary_contract_id"],
        "materialization_id": made["file"]["materializations"][0]["materialization_id"],
        "sha256": made["file"]["materializations"][0]["sha256"],
        "pending_id": pending["pending_id"],
        "cursor": page["next_cursor"],
        "content": table,
    }


async def move_in(visitor: Visitor) -> None:
    """Things of a stranger's own, some of them like those of the first tenant."""
    session_id = await visitor.open()
    upload = Request(
        method="POST",
        path="/v1/content/upload",
        form={"session_id": session_id},
        content=f"The turbine of {visitor.name} stands still.\n".encode(),
        filename="own.txt",
        headers={"Prefer": "wait=30"},
    )
    answer = await visitor.ask(upload)
    assert answer.status == 200, answer
    file = answer.json["result"]
    contract = {"file_id": file["file_id"], "boundary_contract_id": file["boundary_contract_id"]}
    await visitor.done("save_materialization", session_id, **contract)
    parsed = await visitor.done("parse_content", session_id, file_id=file["file_id"])
    prints = await visitor.done("create_deterministic_embeddings", session_id, parsed_file_id=parsed["parsed_file_id"])
    visitor.own.update(
        session_id=session_id,
        execution_id=answer.json["execution_id"],
        artifact_id=file["file_id"],
        boundary_contract_id=file["boundary_contract_id"],
        parsed_file_id=parsed["parsed_file_id"],
        deterministic_embedding_id=prints["deterministic_embedding_id"],
    )


def bearer(platform: Platform, tenant_id: str, user_id: str, *roles: Role) -> dict[str, str]:
    assert platform.issuer is not None
    token = platform.issuer.mint(tenant_id, user_id, roles or (Role.MEMBER,)).access_token
    return {"Authorization": f"Bearer {token}"}
