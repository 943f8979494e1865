"""An id of another tenant is an id of nothing: on every route, in every place, for everybody, also after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.routing import WebSocketRoute

from tests.integration.tenancy.places import HARMLESS, KINDS, LISTS, Place, inputs, places, requests, ways
from tests.integration.tenancy.town import Answer, Request, Town, Visitor, absent

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
        sockets = [route.path for route in app.routes if isinstance(route, WebSocketRoute)]
        assert set(sockets) <= {"/api/execution/{execution_id}/stream"}


def document(town: Town, visitor: Visitor) -> object:
    at_runtime = visitor.client is town.strangers["a developer"].client
    return (town.platform.runtime_app if at_runtime else town.platform.experience_app).openapi()


def foreign(town: Town, place: Place) -> Iterator[str]:
    """Everything of the first tenant that is of the right kind for a place, and one of every other kind."""
    right = KINDS[place.name]
    for kind, found in town.things.items():
        yield from found if kind in right else found[:1]


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
        found = found[0]
        return found.get("status"), found.get("code", "")
    if answer.status != 200:
        return answer.status, found["code"]
    (name,) = LISTS[request.path]
    assert found == {name: []} or found == {name: [], "next_cursor": None}, found
    return 200, ""


@pytest.mark.parametrize("name", STRANGERS)
async def test_an_id_of_another_tenant_is_an_id_of_nothing(town: Town, name: str) -> None:
    visitor = town.strangers[name]
    known = requests(visitor.own)
    before = await town.whole()
    wrong = []
    tried = 0
    for place in places(document(town, visitor)):
        for request in ways(place, known[place.route]):
            nothing: dict[str, Answer] = {}
            for thing in foreign(town, place):
                none = absent(thing)
                if none not in nothing:
                    nothing[none] = (await visitor.ask(place.with_(request, none))).without(none)
                answer = await visitor.ask(place.with_(request, thing))
                tried += 1
                status, code = expected(visitor, place)
                if request.method == "HEAD":
                    code = ""
                if told(answer, request) != (status, code) or answer.without(thing) != nothing[none]:
                    wrong.append((str(place), request, thing, answer, nothing[none]))
    print(name, tried)
    assert wrong == []
    assert await town.whole() == before
