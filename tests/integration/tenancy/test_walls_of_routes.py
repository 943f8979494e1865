"""An id of another tenant is an id of nothing: on every route, in every place, for everybody, also after a restart."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from symphainy.model import Role
from tests.integration.tenancy.places import HARMLESS, KINDS, LISTS, Place, inputs, places, requests, ways
from tests.integration.tenancy.prying import WRITTEN
from tests.integration.tenancy.town import (
    SHARED_KEY,
    SHARED_LIMIT,
    STRANGER,
    TENANT,
    THIRD,
    Answer,
    Request,
    Town,
    Visitor,
    absent,
    bearer,
    kind_of,
    whole,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRANGERS = (
    *("eve", "eve at the Runtime", "eve at an Experience apart", "mallory"),
    *("a developer", "somebody anonymous", "nobody"),
)


async def test_every_route_and_every_input_is_known(town: Town) -> None:
    """A route or a field that is new belongs into `places.py`: with an id, it must be tried."""
    known = requests(town.eve.own)
    for app in (town.platform.experience_app, town.platform.runtime_app):
        found = inputs(app.openapi())
        assert sorted(found.keys() - known.keys()) == []
        names = {field[1].rpartition("/")[2] for fields in found.values() for field in fields}
        assert sorted(names - KINDS.keys() - HARMLESS) == []
        sockets = {route.path for route in app.routes if isinstance(route, WebSocketRoute)}
        assert sockets <= {"/api/execution/{execution_id}/stream"}
        assert {getattr(route, "path", route) for route in app.routes} == {path for _, path in found}


def document(town: Town, visitor: Visitor) -> object:
    at_runtime = visitor.client is town.strangers["a developer"].client
    return (town.platform.runtime_app if at_runtime else town.platform.experience_app).openapi()


def foreign(town: Town, place: Place) -> Iterator[str]:
    """Everything of the first tenant that is of the right kind, and one of every other."""
    for kind, found in town.things.items():
        yield from found if kind == KINDS[place.name] else found[:1]


def expected(visitor: Visitor, place: Place) -> tuple[int, str]:
    """Status and code."""
    path = place.route[1]
    if visitor.name == "nobody":
        return 401, "unauthenticated"
    if path == "/api/wal/events" and visitor.name in ("mallory", "somebody anonymous"):
        return 403, "policy_denied"
    if path in LISTS:
        return 200, ""
    return 404, "session_required" if place.name == "session_id" else "not_found"


def told(answer: Answer, request: Request) -> tuple[int, str]:
    """Status and code of an answer; of a list, that there is nothing in it."""
    if request.method == "HEAD":
        return answer.status, ""
    found = answer.json
    if request.path.endswith("/submit-batch") and answer.status == 202:
        (found,) = found
        return found.get("status"), found.get("code", "")
    if answer.status != 200:
        return answer.status, found["code"]
    (name,) = LISTS[request.path]
    assert found in ({name: []}, {name: [], "next_cursor": None}), found
    return 200, ""


@pytest.mark.parametrize("name", STRANGERS)
async def test_an_id_of_another_tenant_is_an_id_of_nothing(town: Town, name: str) -> None:
    visitor = town.strangers[name]
    known = requests(visitor.own)
    before = await town.whole()
    wrong = []
    for place in places(document(town, visitor)):
        status, code = expected(visitor, place)
        for request in ways(place, known[place.route]):
            due = (status, "" if request.method == "HEAD" else code)
            nothing: dict[tuple[str, int], Answer] = {}
            for thing in foreign(town, place):
                none, form = absent(thing), (kind_of(thing), len(thing))
                if form not in nothing:
                    nothing[form] = (await visitor.ask(place.with_(request, none))).without(none)
                answer = await visitor.ask(place.with_(request, thing))
                if told(answer, request) != due or answer.without(thing) != nothing[form]:
                    wrong.append(f"{place} with {thing}: {answer}, and for what does not exist {nothing[form]}")
    assert wrong == []
    assert await town.whole() == before, "and nothing of it has come to the other tenant's log"


async def test_a_session_of_another_user_is_a_session_of_nobody(town: Town) -> None:
    """What an execution does the whole tenant may see; a session is its user's."""
    known = requests(town.bea.own)
    session_id = town.held["session_id"]
    none = absent(session_id)
    wrong = []
    for place in places(town.platform.experience_app.openapi()):
        if place.name != "session_id" or place.route[1] in LISTS:
            continue
        for request in ways(place, known[place.route]):
            answer = await town.bea.ask(place.with_(request, session_id))
            nothing = await town.bea.ask(place.with_(request, none))
            due = (404, "" if request.method == "HEAD" else "session_required")
            if told(answer, request) != due or answer.without(session_id) != nothing.without(none):
                wrong.append(f"{place}: {answer}, and for what does not exist {nothing}")
    assert wrong == []
    shared = Request(
        method="GET", path="/api/execution/{execution_id}/status", ids={"execution_id": town.held["execution_id"]}
    )
    assert (await town.bea.ask(shared)).json["session_id"] == session_id


async def subscribed(url: str, visitor: Visitor, execution_id: str, since: int | None) -> tuple[list[str], int, str]:
    """What a WebSocket says before it closes, and how it closes."""
    heard: list[str] = []
    token = visitor.headers.get("Authorization", "").removeprefix("Bearer ")
    path = "/api/execution/{execution_id}/stream".replace("{execution_id}", execution_id)
    async with connect(f"{url}{path}") as socket:
        await socket.send(json.dumps({"type": "connection_init", "token": token}))
        await socket.send(json.dumps({"type": "subscribe", **({} if since is None else {"since": since})}))
        with contextlib.suppress(ConnectionClosed):
            while True:
                heard.append(str(await socket.recv()))
    assert socket.close_code is not None
    return heard, socket.close_code, socket.close_reason or ""


@pytest.mark.parametrize("since", [None, 0, 3, 999])
@pytest.mark.parametrize("name", ["eve", "mallory", "somebody anonymous", "nobody"])
async def test_a_socket_tells_a_stranger_nothing(town: Town, name: str, since: int | None) -> None:
    visitor = town.strangers[name]
    none = absent(town.held["execution_id"])
    for url in town.sockets:
        nothing = await subscribed(url, visitor, none, since)
        assert nothing[1:] == ((4401, nothing[2]) if name == "nobody" else (4404, "not_found"))
        for thing in (*town.things["exe"], town.held["session_id"], town.held["artifact_id"]):
            assert await subscribed(url, visitor, thing, since) == nothing


async def test_to_name_another_tenant_is_to_name_one_that_does_not_exist(town: Town) -> None:
    wrong = []
    for name in ("eve", "eve at the Runtime", "eve at an Experience apart", "somebody anonymous", "nobody"):
        visitor = town.strangers[name]
        due = (401, "unauthenticated") if name == "nobody" else (403, "tenant_mismatch")
        known = requests(visitor.own)
        for route, fields in inputs(document(town, visitor)).items():
            for field in fields:
                place = Place(route=route, at=field)
                if place.name != "tenant_id":
                    continue
                answer = await visitor.ask(place.with_(known[route], TENANT))
                nothing = await visitor.ask(place.with_(known[route], "nope"))
                if told(answer, known[route]) != due or answer.without(TENANT) != nothing.without("nope"):
                    wrong.append(f"{name}, {place}: {answer}, and for one that does not exist {nothing}")
    assert wrong == []


async def test_a_key_counts_within_one_tenant_and_user(town: Town) -> None:
    """Ada has used the key, for an execution that is long over."""
    people = ("eve", "mallory", "a developer", "somebody anonymous")
    for visitor in (*(town.strangers[name] for name in people), town.bea):
        key = {"Idempotency-Key": SHARED_KEY}
        exactly_hers = {
            "intent_type": "leave_traces",
            "session_id": town.held["session_id"],
            "parameters": {"words": {place: place for place in WRITTEN}},
        }
        hers = await visitor.ask(Request(method="POST", path="/api/intent/submit", body=exactly_hers, headers=key))
        assert (hers.status, hers.json["code"]) == (404, "session_required"), visitor.name
        mine = {**exactly_hers, "session_id": visitor.own["session_id"]}
        first = await visitor.ask(Request(method="POST", path="/api/intent/submit", body=mine, headers=key))
        assert (first.status, "idempotency-replayed" in dict(first.headers)) == (202, False), visitor.name
        item = {**mine, "idempotency_key": SHARED_KEY}
        batch = await visitor.ask(Request(method="POST", path="/api/intent/submit-batch", body={"intents": [item]}))
        assert batch.json[0]["execution_id"] == first.json["execution_id"] not in town.things["exe"]


async def test_content_of_another_tenant_was_never_uploaded(town: Town) -> None:
    """By its hash, wherever a reference to content can stand."""
    known = town.things["sha256"]
    assert town.held["sha256"] in known
    for visitor in town.strangers.values():
        session_id = visitor.own["session_id"]
        for sha256 in known:
            answers = []
            for reference in (f"blob:{sha256}", absent(f"blob:{sha256}")):
                parameters = {"ui_name": "x", "content_ref_or_base64": reference}
                item = {"intent_type": "ingest_file", "session_id": session_id, "parameters": parameters}
                form = {"session_id": session_id, "parameters": json.dumps(parameters)}
                asked = (
                    Request(method="POST", path="/api/intent/submit", body=item),
                    Request(method="POST", path="/api/intent/submit-batch", body={"intents": [item]}),
                    Request(method="POST", path="/v1/content/upload", form=form),
                )
                answers.append([(await visitor.ask(each)).without(reference) for each in asked])
            assert answers[0] == answers[1]
            submitted, batch, uploaded = answers[0]
            if visitor.name == "nobody":
                continue
            assert (submitted.status, submitted.json["code"]) == (422, "validation_failed")
            assert (uploaded.status, uploaded.json["code"]) == (422, "validation_failed")
            assert batch.json[0]["code"] == "validation_failed"


async def test_the_same_bytes_in_two_tenants_are_two_contents(town: Town) -> None:
    """Whoever brings them along has them, and keeps them when the other purges its own."""
    known = town.things
    # The words of the first tenant are this one's own here, so it may see them.
    headers = bearer(town.platform, THIRD, "nel", Role.ADMIN)
    neighbour = replace(town.eve, name="a neighbour", headers=headers, canaries=None, own={})
    session_id = await neighbour.open()
    twin = Request(
        method="POST",
        path="/v1/content/upload",
        form={"session_id": session_id},
        content=town.held["content"].encode(),
        headers={"Prefer": "wait=30"},
    )
    made = (await neighbour.ask(twin)).json["result"]
    assert (made["sha256"], made["duplicate_of"]) == (town.held["sha256"], None)
    seen = json.dumps(await whole(neighbour))
    assert [thing for kind in known if kind not in ("sha256", "blob") for thing in known[kind] if thing in seen] == []
    artifact_id = made["file_id"]
    contract = made["boundary_contract_id"]
    await neighbour.done("save_materialization", session_id, file_id=artifact_id, boundary_contract_id=contract)
    await neighbour.done("archive_file", session_id, artifact_id=artifact_id)
    purge = {"artifact_id": artifact_id, "action": "purge", "reason": "it is not ours"}
    await neighbour.done("transition_artifact_lifecycle", session_id, **purge)
    content = Request(
        method="GET", path="/api/artifacts/{artifact_id}/content", ids={"artifact_id": town.held["artifact_id"]}
    )
    assert (await town.ada.ask(content)).body.decode() == town.held["content"]


async def test_a_saga_of_another_tenant_is_no_saga(town: Town) -> None:
    (saga_id, *_) = town.things["sag"]
    submission = {
        "intent_type": "ingest_file",
        "session_id": town.eve.own["session_id"],
        "parameters": {"ui_name": "x", "content_ref_or_base64": "eA=="},
    }

    async def begun(name: str) -> Answer:
        body = {**submission, "metadata": {"saga": name}}
        return (await town.eve.ask(Request(method="POST", path="/api/intent/submit", body=body))).without(name)

    answer = await begun(saga_id)
    assert (answer.status, answer.json["code"]) == (422, "validation_failed")
    assert answer == await begun(absent(saga_id))


async def test_a_limit_of_another_tenant_holds_nobody_up(town: Town) -> None:
    """An execution of the first tenant runs on under this key, and will not end."""
    running = await town.ada.get("/api/execution/{execution_id}/status", {"execution_id": town.held["running"]})
    assert running["status"] == "running"
    for name in ("eve", "somebody anonymous"):
        stranger = town.strangers[name]
        limit = {"concurrency_key": SHARED_LIMIT}
        execution = await stranger.run("list_artifacts", stranger.own["session_id"], {}, limit)
        assert execution["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "listed"), [("/api/execution/list", "executions"), ("/api/artifact/list", "artifacts")]
)
async def test_a_cursor_of_another_tenant_leads_through_ones_own(town: Town, path: str, listed: str) -> None:
    """It is a place in a log: in one's own log one comes to some of one's own things."""
    for visitor in (town.eve, town.strangers["eve at an Experience apart"], town.strangers["a developer"]):
        every = (await visitor.post(path, {"limit": 500}))[listed]
        page = (await visitor.post(path, {"limit": 500, "cursor": town.held["cursor"]}))[listed]
        assert {each["tenant_id"] for each in every} == {STRANGER}
        assert [each for each in every if each in page] == page


async def test_a_hash_of_another_tenant_is_no_entity_tag(town: Town) -> None:
    content = Request(
        method="GET",
        path="/api/artifacts/{artifact_id}/content",
        ids={"artifact_id": town.eve.own["artifact_id"]},
        headers={"If-None-Match": f'"{town.held["sha256"]}"'},
    )
    assert (await town.eve.ask(content)).status == 200


async def test_a_session_for_a_user_of_another_tenant_is_a_session_of_ones_own_tenant(town: Town) -> None:
    made = await town.strangers["a developer"].post("/api/session/create", {"user_id": "bea"})
    assert (made["tenant_id"], made["user_id"]) == (STRANGER, "bea")
    session = Request(method="GET", path="/api/session/{session_id}", ids={"session_id": made["session_id"]})
    assert (await town.bea.ask(session)).status == 404
