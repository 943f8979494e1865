"""Following an execution over a real socket: SSE, NDJSON and WebSocket, from any place, to the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from symphainy.model import Role
from symphainy.wire.server import HttpServer
from tests.services import OTHER_TENANT, Parrot, Platform, served

TYPES = ["snapshot", "execution_started", "said", "execution_completed"]


@pytest.fixture
async def client(city: Platform, server: HttpServer) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, headers=city.headers(), timeout=10) as client:
        yield client


async def submitted(client: httpx2.AsyncClient, intent_type: str, *, wait: bool, **parameters: Any) -> str:
    session_id = (await client.post("/api/session/create", json={})).json()["session_id"]
    body = {"intent_type": intent_type, "session_id": session_id, "parameters": parameters}
    answer = await client.post("/api/intent/submit", json=body, headers={"Prefer": "wait=10"} if wait else {})
    assert answer.status_code == (200 if wait else 202), answer.text
    return str(answer.json()["execution_id"])


class Frame(dict[str, Any]):
    """One event of a stream: its fields, with `data` parsed."""


async def frames(response: httpx2.Response) -> AsyncIterator[Frame]:
    fields = Frame()
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = json.loads(value) if name == "data" else value
        elif fields:
            yield fields
            fields = Frame()


@asynccontextmanager
async def following(
    client: httpx2.AsyncClient, execution_id: str, query: str = "", **headers: str
) -> AsyncIterator[httpx2.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream("GET", f"/api/execution/{execution_id}/stream{query}", headers=named) as response:
        yield response


async def all_frames(client: httpx2.AsyncClient, execution_id: str, query: str = "", **headers: str) -> list[Frame]:
    async with following(client, execution_id, query, **headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        return [frame async for frame in frames(response)]


async def test_a_live_execution_is_followed_from_its_snapshot_to_its_end(client: httpx2.AsyncClient) -> None:
    execution_id = await submitted(client, "wait_for_it", wait=False)
    seen: list[Frame] = []
    async with following(client, execution_id) as response:
        async for frame in frames(response):
            seen.append(frame)
            if frame["event"] == "snapshot":
                assert frame["data"]["payload"]["execution_id"] == execution_id
                Parrot.gates.setdefault(execution_id, asyncio.Event()).set()
    assert seen[0]["event"] == "snapshot"
    assert seen[-1]["event"] == "execution_completed"
    numbers = [int(frame["id"]) for frame in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    for frame in seen:
        envelope = frame["data"]
        assert list(envelope) == [
            *("position", "seq", "event_id", "event_type", "tenant_id", "session_id", "execution_id"),
            *("timestamp", "payload"),
        ]
        assert (envelope["event_type"], envelope["seq"]) == (frame["event"], int(frame["id"]))


async def test_an_ended_execution_gives_its_snapshot_and_its_end(client: httpx2.AsyncClient) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    first, last = await all_frames(client, execution_id)
    assert (first["event"], last["event"]) == ("snapshot", "execution_completed")
    assert int(first["id"]) < int(last["id"])


async def test_a_stream_resumes_after_any_event_without_repeats(client: httpx2.AsyncClient) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    whole = await all_frames(client, execution_id, "?after=0")
    assert [frame["event"] for frame in whole] == ["intent_received", *TYPES[1:]]
    for seen in range(1, 4):
        by_header = await all_frames(client, execution_id, Last_Event_ID=str(seen))
        by_query = await all_frames(client, execution_id, f"?after={seen}")
        both = await all_frames(client, execution_id, "?after=0", Last_Event_ID=str(seen))
        assert by_header == by_query == both == whole[seen:]


@pytest.mark.parametrize("after", [4, 5, 2**62])
async def test_nothing_is_left_after_the_last_event(client: httpx2.AsyncClient, after: int) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    async with following(client, execution_id, f"?after={after}") as response:
        assert (response.status_code, await response.aread()) == (204, b"")
    async with following(client, execution_id, Last_Event_ID=str(after)) as response:
        assert response.status_code == 204


async def test_resuming_a_silent_execution_is_answered_at_once(client: httpx2.AsyncClient) -> None:
    execution_id = await submitted(client, "wait_for_it", wait=False)
    async with following(client, execution_id) as response:
        last = 0
        async for frame in frames(response):
            last = int(frame["id"])
            if frame["event"] == "waiting" or frame["data"]["payload"].get("events"):
                break
    async with following(client, execution_id, f"?after={last}") as response:
        assert response.status_code == 200
        Parrot.gates[execution_id].set()
        assert [frame["event"] async for frame in frames(response)] == ["execution_completed"]


async def test_lines_of_json_carry_the_same_envelopes(client: httpx2.AsyncClient) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    async with following(client, execution_id, "?after=0", Accept="application/x-ndjson") as response:
        assert response.headers["Content-Type"] == "application/x-ndjson"
        lines = [json.loads(line) async for line in response.aiter_lines()]
    assert lines == [frame["data"] for frame in await all_frames(client, execution_id, "?after=0")]


async def test_a_silent_stream_pings(city: Platform) -> None:
    city.settings = replace(city.settings, stream_ping_s=0.02)
    async with (
        served(city.experience_service().create_app()) as server,
        httpx2.AsyncClient(base_url=server.url, headers=city.headers()) as client,
    ):
        execution_id = await submitted(client, "wait_for_it", wait=False)
        for accept, ping in (("text/event-stream", ": ping"), ("application/x-ndjson", "")):
            async with following(client, execution_id, "?after=1000", Accept=accept) as response:
                async for line in response.aiter_lines():
                    assert line == ping
                    break


async def test_hanging_up_cancels_nothing(client: httpx2.AsyncClient) -> None:
    execution_id = await submitted(client, "wait_for_it", wait=False)
    async with following(client, execution_id) as response:
        async for _ in frames(response):
            break
    Parrot.gates.setdefault(execution_id, asyncio.Event()).set()
    assert [frame["event"] for frame in await all_frames(client, execution_id)][-1] == "execution_completed"


@pytest.mark.parametrize("query", ["", "?after=0", "?after=99"])
async def test_the_stream_of_another_tenant_is_not_there(
    city: Platform, client: httpx2.AsyncClient, query: str
) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    theirs = city.headers("eve", Role.ADMIN, tenant=OTHER_TENANT)
    answer = await client.get(f"/api/execution/{execution_id}/stream{query}", headers=theirs)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("bad", ["x", "-1", "1.5"])
async def test_a_place_that_is_none_is_refused(client: httpx2.AsyncClient, bad: str) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    for answer in (
        await client.get(f"/api/execution/{execution_id}/stream?after={bad}"),
        await client.get(f"/api/execution/{execution_id}/stream", headers={"Last-Event-ID": bad}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")


async def test_shutting_down_ends_streams_so_that_clients_resume_elsewhere(city: Platform) -> None:
    async with httpx2.AsyncClient(headers=city.headers(), timeout=10) as client:
        async with served(city.experience_service().create_app()) as server:
            client.base_url = server.url
            execution_id = await submitted(client, "wait_for_it", wait=False)
            async with following(client, execution_id) as response:
                reading = frames(response)
                seen = [await anext(reading)]
                await server.stop()
                seen += [frame async for frame in reading]
        assert seen[-1]["event"] != "execution_completed"
        async with served(city.experience_service().create_app()) as server:
            client.base_url = server.url
            async with following(client, execution_id, Last_Event_ID=seen[-1]["id"]) as response:
                Parrot.gates.setdefault(execution_id, asyncio.Event()).set()
                seen += [frame async for frame in frames(response)]
    numbers = [int(frame["id"]) for frame in seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert seen[-1]["event"] == "execution_completed"


# --- WebSocket ---


@asynccontextmanager
async def socket(server: HttpServer, execution_id: str, query: str = "") -> AsyncIterator[ClientConnection]:
    url = f"{server.url.replace('http', 'ws', 1)}/api/execution/{execution_id}/stream{query}"
    async with connect(url) as connection:
        yield connection


async def say(connection: ClientConnection, **message: Any) -> None:
    await connection.send(json.dumps(message))


async def entered(connection: ClientConnection, token: str) -> None:
    await say(connection, type="connection_init", token=token)
    assert json.loads(await connection.recv()) == {"type": "connection_ack"}


async def received(connection: ClientConnection) -> tuple[list[dict[str, Any]], int]:
    """Every message until the close, and its code."""
    messages = [json.loads(text) async for text in until_closed(connection)]
    assert connection.close_code is not None
    return messages, connection.close_code


async def until_closed(connection: ClientConnection) -> AsyncIterator[str | bytes]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            yield await connection.recv()


async def test_a_socket_carries_the_same_envelopes_as_the_stream(
    city: Platform, server: HttpServer, client: httpx2.AsyncClient
) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    whole = [frame["data"] for frame in await all_frames(client, execution_id, "?after=0")]
    for since in range(4):
        async with socket(server, execution_id) as connection:
            await entered(connection, city.token())
            await say(connection, type="subscribe", since=since)
            assert await received(connection) == (whole[since:], 1000)
    async with socket(server, execution_id) as connection:
        await entered(connection, city.token())
        await say(connection, type="subscribe")
        messages, code = await received(connection)
    assert ([each["event_type"] for each in messages], code) == (["snapshot", "execution_completed"], 1000)
    async with socket(server, execution_id) as connection:
        await entered(connection, city.token())
        await say(connection, type="subscribe", since=4)
        assert await received(connection) == ([], 1000)


async def test_a_socket_follows_a_live_execution(
    city: Platform, server: HttpServer, client: httpx2.AsyncClient
) -> None:
    execution_id = await submitted(client, "wait_for_it", wait=False)
    async with socket(server, execution_id) as connection:
        await entered(connection, city.token())
        await say(connection, type="subscribe")
        assert json.loads(await connection.recv())["event_type"] == "snapshot"
        Parrot.gates.setdefault(execution_id, asyncio.Event()).set()
        messages, code = await received(connection)
    assert (messages[-1]["event_type"], code) == ("execution_completed", 1000)


BAD_FIRST = [
    "",
    "{",
    "[]",
    "null",
    '"connection_init"',
    "{}",
    '{"type": "subscribe"}',
    '{"type": "connection_init", "token": "a", "x": 1}',
    '{"type": ["connection_init"]}',
    '{"type": "connection_init", "token": "' + "x" * 20_000 + '"}',
    "[" * 10_000,
    b"\x00\x01",
]


@pytest.mark.parametrize("message", BAD_FIRST, ids=range(len(BAD_FIRST)))
async def test_a_bad_first_message_is_4400(server: HttpServer, message: str | bytes) -> None:
    async with socket(server, "exe_1") as connection:
        await connection.send(message)
        assert await received(connection) == ([], 4400)


@pytest.mark.parametrize("token", ["", None, 1, "a.b.c", "x" * 9000])
async def test_a_bad_token_is_4401(server: HttpServer, token: Any) -> None:
    async with socket(server, "exe_1") as connection:
        await say(connection, type="connection_init", token=token)
        assert await received(connection) == ([], 4401)


async def test_no_token_is_4401_also_when_the_address_has_one(city: Platform, server: HttpServer) -> None:
    async with socket(server, "exe_1", f"?token={city.token()}") as connection:
        await say(connection, type="connection_init")
        assert await received(connection) == ([], 4401)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "connection_init", "token": "a"},
        {"type": "subscribe", "since": "1"},
        {"type": "subscribe", "since": -1},
        {"type": "subscribe", "since": True},
        {"type": "subscribe", "since": 2**63},
        {"type": "subscribe", "execution_id": "exe_2"},
        {"type": "unsubscribe"},
        {},
    ],
)
async def test_a_bad_second_message_is_4400(city: Platform, server: HttpServer, message: dict[str, Any]) -> None:
    async with socket(server, "exe_1") as connection:
        await entered(connection, city.token())
        await say(connection, **message)
        assert await received(connection) == ([], 4400)


@pytest.mark.parametrize("since", [{}, {"since": 0}, {"since": 10}])
async def test_an_execution_that_is_not_there_is_4404_and_so_is_one_of_others(
    city: Platform, server: HttpServer, client: httpx2.AsyncClient, since: dict[str, int]
) -> None:
    execution_id = await submitted(client, "say", wait=True, text="x")
    theirs = city.token("eve", Role.ADMIN, tenant=OTHER_TENANT)
    for token, wanted, query in (
        (city.token(), "exe_nope", ""),
        (theirs, execution_id, ""),
        (city.token(), execution_id, f"?tenant_id={OTHER_TENANT}"),
    ):
        async with socket(server, wanted, query) as connection:
            await say(connection, type="connection_init", token=token)
            await say(connection, type="subscribe", **since)
            messages, code = await received(connection)
        assert (messages in ([], [{"type": "connection_ack"}]), code) == (True, 4404)


@pytest.mark.parametrize("greets", [False, True])
async def test_silence_at_the_beginning_is_4408(city: Platform, greets: bool) -> None:
    city.settings = replace(city.settings, socket_init_s=0.05)
    async with served(city.experience_service().create_app()) as server, socket(server, "exe_1") as connection:
        if greets:
            await entered(connection, city.token())
        assert await received(connection) == ([], 4408)


async def test_nothing_is_to_be_said_after_subscribe(
    city: Platform, server: HttpServer, client: httpx2.AsyncClient
) -> None:
    execution_id = await submitted(client, "wait_for_it", wait=False)
    async with socket(server, execution_id) as connection:
        await entered(connection, city.token())
        await say(connection, type="subscribe", since=1000)
        await say(connection, type="subscribe")
        assert await received(connection) == ([], 4400)


async def test_shutting_down_tells_sockets_to_come_back(city: Platform) -> None:
    async with served(city.experience_service().create_app()) as server:
        async with httpx2.AsyncClient(base_url=server.url, headers=city.headers()) as client:
            execution_id = await submitted(client, "wait_for_it", wait=False)
        async with socket(server, execution_id) as connection:
            await entered(connection, city.token())
            await say(connection, type="subscribe")
            await connection.recv()
            await server.stop()
            _, code = await received(connection)
    assert code == 1012


async def test_a_socket_that_hangs_up_is_let_go_of(
    city: Platform, server: HttpServer, client: httpx2.AsyncClient
) -> None:
    execution_id = await submitted(client, "wait_for_it", wait=False)
    async with socket(server, execution_id) as connection:
        await entered(connection, city.token())
        await say(connection, type="subscribe")
        await connection.recv()
    Parrot.gates.setdefault(execution_id, asyncio.Event()).set()
    assert [frame["event"] for frame in await all_frames(client, execution_id)][-1] == "execution_completed"
    log = [each for each in city.served if each.method == "WS"]
    assert [(each.route, each.status) for each in log] == [("/api/execution/{execution_id}/stream", 1005)]
