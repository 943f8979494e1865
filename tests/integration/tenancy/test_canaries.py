"""Words that stand in one place of a tenant each, and what strangers get to see: never one of them.

Every answer to a stranger is searched for all of them (`Visitor.ask`); here strangers look wherever there is to look.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from symphainy.model import Role
from tests.integration.tenancy.places import requests
from tests.integration.tenancy.town import (
    QUESTION,
    STRANGER,
    TENANT,
    THIRD,
    Request,
    Town,
    Visitor,
    bearer,
    whole,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC = ("/health", "/openapi.json", "/docs", "/metrics")
READERS = ("eve", "eve at the Runtime", "eve at an Experience apart", "a developer")


async def test_every_word_stands_somewhere(town: Town) -> None:
    """Or the other tests look for what is not there."""
    told = json.dumps(await town.whole()).encode()
    for execution_id in town.things["exe"]:
        if execution_id != town.held["running"]:
            told += json.dumps(await town.chief.events(execution_id)).encode()
    assert len(town.canaries.all) > 30
    assert sorted(town.canaries.all - {*town.canaries.in_(told)}) == []


@pytest.mark.parametrize("name", READERS)
async def test_nothing_of_it_stands_in_all_that_a_stranger_can_list(town: Town, name: str) -> None:
    stranger = town.strangers[name]
    found = await whole(stranger)
    seen = {
        each["tenant_id"]
        for part in ("events", "executions", "artifacts", "pending", "sessions")
        for each in found[part]
    }
    assert seen == {STRANGER}
    text = json.dumps(found)
    assert [thing for thing in town.things["evt"] if thing in text] == []
    for execution in found["executions"]:
        events = await stranger.events(execution["execution_id"])
        assert {each["tenant_id"] for each in events} == {STRANGER}


async def test_nothing_of_it_stands_where_there_is_no_door(town: Town) -> None:
    for name in ("nobody", "a developer"):
        stranger = town.strangers[name]
        for path in PUBLIC:
            if path == "/metrics" and name == "nobody":
                continue
            answer = await stranger.ask(Request(method="GET", path=path))
            assert answer.status == 200, answer
            assert [thing for found in town.things.values() for thing in found if thing.encode() in answer.body] == []
        metrics = await town.strangers["a developer"].ask(Request(method="GET", path="/metrics"))
        assert TENANT not in metrics.body.decode()


async def test_every_good_request_of_a_stranger_is_answered_without_it(town: Town) -> None:
    """Those that change nothing, of every visitor at every route."""
    for stranger in town.strangers.values():
        for (method, path), request in requests(stranger.own).items():
            if method == "GET" or path.endswith(("/list", "/resolve")):
                await stranger.ask(request)


async def asked(visitor: Visitor, **parameters: Any) -> Any:
    found = await visitor.done("query_data", visitor.own["session_id"], **parameters)
    assert found["mismatches"] == 0
    return found


@pytest.mark.parametrize("name", ["eve", "a developer", "somebody anonymous"])
async def test_a_question_is_answered_from_ones_own(town: Town, name: str) -> None:
    """Both tenants write of turbines; the word `bearing` stands with the first alone."""
    stranger = town.strangers[name]
    mine = await asked(stranger, query=QUESTION, top_k=50)
    files = {each["filename"] for each in mine["passages"]}
    assert files == {"own.txt"}
    assert (await asked(stranger, query="bearing seven", top_k=50))["passages"] == []
    listed = await stranger.done("list_artifacts", stranger.own["session_id"], text="bearing", limit=500)
    assert listed["artifacts"] == []
    hers = await town.ada.done("query_data", town.held["session_id"], query="bearing seven")
    assert hers["passages"] != []


async def test_vectors_are_compared_with_ones_own(town: Town) -> None:
    """With vectors everything is near to something: also to what only the first tenant has."""
    eve = town.eve
    parsed = {"parsed_file_id": eve.own["parsed_file_id"]}
    prints = {"deterministic_embedding_id": eve.own["deterministic_embedding_id"]}
    await eve.done("extract_embeddings", eve.own["session_id"], **parsed, **prints)
    found = await asked(eve, query=QUESTION, top_k=50)
    assert found["method"] == "bm25+vectors"
    assert {each["filename"] for each in found["passages"]} == {"own.txt"}


async def test_what_others_have_changes_no_score(town: Town) -> None:
    """A rank that depended on the words of all tenants would tell how often others use them."""
    headers = bearer(town.platform, THIRD, "nel", Role.ADMIN)
    nel = replace(town.eve, name="nel", headers=headers, own={})
    session_id = await nel.open()
    await kept(nel, session_id, b"A rotor turns.\n\nA stator stands.\n")
    before = await nel.done("query_data", session_id, query="rotor stator")
    assert len(before["passages"]) > 0
    await kept(town.eve, town.eve.own["session_id"], b"".join(b"Rotor %d and rotor.\n\n" % n for n in range(50)))
    assert await nel.done("query_data", session_id, query="rotor stator") == before


async def kept(visitor: Visitor, session_id: str, content: bytes) -> None:
    """Parsed and found by its words; without vectors, so that scores are those of the words."""
    upload = Request(
        method="POST",
        path="/v1/content/upload",
        form={"session_id": session_id},
        content=content,
        headers={"Prefer": "wait=30"},
    )
    file = (await visitor.ask(upload)).json["result"]
    contract = {"file_id": file["file_id"], "boundary_contract_id": file["boundary_contract_id"]}
    await visitor.done("save_materialization", session_id, **contract)
    await visitor.done("parse_content", session_id, file_id=file["file_id"])
