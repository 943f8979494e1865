"""The listening side against clients that are slow, endless or wrong. Deadlines are short here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from symphainy.errors import StartupFailed
from symphainy.wire.server import HttpServer
from tests.services import Platform, opened, served


class Raw:
    """A connection on which a test says exactly what it wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(head[0].split()[1]), headers, body

    async def refused(self) -> tuple[int, str]:
        """Status and code of a problem document after which the connection is closed."""
        status, headers, body = await self.answer()
        assert headers["content-type"] == "application/problem+json"
        assert headers["connection"] == "close"
        problem = json.loads(body)
        assert headers["x-request-id"] == problem["request_id"]
        assert problem["status"] == status
        assert await self.is_closed()
        return status, problem["code"]

    async def is_closed(self) -> bool:
        try:
            return await self.reader.read() == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def raw(server: HttpServer) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(city: Platform, *, length: int | None = None, **headers: str) -> bytes:
    lines = [
        "POST /api/session/create HTTP/1.1",
        "Host: localhost",
        f"Authorization: {city.headers()['Authorization']}",
        "Content-Type: application/json",
        "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize(
    "beginning", [b"G", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "]
)
async def test_a_head_that_does_not_end_is_cut(city: Platform, beginning: bytes) -> None:
    async with served(city.experience_service().create_app(), header_deadline_s=0.05) as server, raw(server) as client:
        await client.send(beginning)
        assert await client.refused() == (408, "request_timeout")


async def test_a_head_that_trickles_is_cut_all_the_same(city: Platform) -> None:
    async with served(city.experience_service().create_app(), header_deadline_s=0.1) as server, raw(server) as client:
        await client.send(b"GET /")
        closed = asyncio.create_task(client.refused())
        while not closed.done():
            client.writer.write(b"x")
            await asyncio.sleep(0)
        assert closed.result() == (408, "request_timeout")


async def test_a_connection_that_says_nothing_is_closed_without_a_word(city: Platform) -> None:
    async with served(city.experience_service().create_app(), header_deadline_s=0.05) as server, raw(server) as client:
        assert await client.is_closed()


async def test_an_idle_connection_is_closed_after_its_time(city: Platform) -> None:
    async with served(city.experience_service().create_app(), keep_alive_s=0) as server, raw(server) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        assert await client.is_closed()


async def test_the_second_request_of_a_connection_has_its_deadline_too(city: Platform) -> None:
    async with served(city.experience_service().create_app(), header_deadline_s=0.05) as server, raw(server) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        await client.send(b"GET /hea")
        assert await client.refused() == (408, "request_timeout")


@pytest.mark.parametrize("length", [1000, None])
async def test_a_body_that_stops_is_cut(city: Platform, length: int | None) -> None:
    async with served(city.experience_service().create_app(), body_window_s=0.05) as server, raw(server) as client:
        await client.send(post(city, length=length) + (b"{" if length else b"1\r\n{\r\n"))
        assert await client.refused() == (408, "request_timeout")


async def test_a_body_that_trickles_is_cut(city: Platform) -> None:
    bounds = {"body_window_s": 0.05, "body_window_bytes_min": 1 << 20}
    async with served(city.experience_service().create_app(), **bounds) as server, raw(server) as client:
        await client.send(post(city, length=1 << 20))
        closed = asyncio.create_task(client.refused())
        while not closed.done():
            client.writer.write(b" ")
            await asyncio.sleep(0)
        assert closed.result() == (408, "request_timeout")


async def test_a_body_that_keeps_moving_is_not_cut(city: Platform) -> None:
    bounds = {"body_window_s": 0.02, "body_window_bytes_min": 10}
    async with served(city.experience_service().create_app(), **bounds) as server, raw(server) as client:
        await client.send(post(city))
        for _ in range(5):
            async with moment(0.02) as is_over:
                while not is_over():
                    await client.send(b"a\r\n          \r\n")
                    await asyncio.sleep(0)
        await client.send(b"2\r\n{}\r\n0\r\n\r\n")
        assert (await client.answer())[0] == 201


@asynccontextmanager
async def moment(seconds: float) -> AsyncIterator[Callable[[], bool]]:
    """Tells when `seconds` have passed."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    yield lambda: loop.time() >= end


async def test_a_body_has_a_deadline_as_a_whole(city: Platform) -> None:
    city.settings = replace(city.settings, body_deadline_s=0.1)
    async with served(city.experience_service().create_app()) as server, raw(server) as client:
        await client.send(post(city, length=1000) + b"{")
        status, headers, body = await client.answer()
        assert (status, json.loads(body)["code"]) == (408, "request_timeout")
        assert headers["connection"] == "close"
        assert await client.is_closed()


async def test_a_slow_upload_that_moves_is_let_through(city: Platform) -> None:
    bounds = {"body_window_s": 0.02, "body_window_bytes_min": 10}
    async with (
        served(city.experience_service().create_app(), **bounds) as server,
        httpx2.AsyncClient(base_url=server.url, headers=city.headers()) as client,
    ):
        session_id = await opened(client, {})

        async def body() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n' + session_id.encode()
            yield b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
            for _ in range(5):
                async with moment(0.02) as is_over:
                    while not is_over():
                        yield b"x" * 100
                        await asyncio.sleep(0)
            yield b"\r\n--b--\r\n"

        answer = await client.post(
            "/v1/content/upload", content=body(), headers={"Content-Type": "multipart/form-data; boundary=b"}
        )
        assert answer.status_code == 202


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
    ],
    ids=["a long header", "a long address", "many headers", "no end"],
)
async def test_a_head_over_its_size_is_refused(city: Platform, server: HttpServer, head: bytes) -> None:
    async with raw(server) as client:
        client.writer.write(head)
        assert await client.refused() == (431, "payload_too_large")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"hello\r\n\r\n",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nX: a\x00b\r\n\r\n",
        b"POST /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"POST /health HTTP/1.1\r\nContent-Length: -1\r\n\r\nx",
        b"POST /health HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /health HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /health HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ],
    ids=repr,
)
async def test_what_is_not_http_gets_a_400_and_a_closed_door(server: HttpServer, nonsense: bytes) -> None:
    async with raw(server) as client:
        await client.send(nonsense)
        status, _, body = await client.answer()
        if status != 400:  # the head was fine and was answered before the body turned out not to be
            assert status in (405, 404)
            status, _, body = await client.answer()
        assert (status, json.loads(body)["code"]) == (400, "validation_failed")
        assert await client.is_closed()


async def test_there_are_only_so_many_connections(city: Platform) -> None:
    async with served(city.experience_service().create_app(), connections_max=2) as server:
        async with raw(server) as first, raw(server) as second:
            for client in (first, second):
                await client.send(GET)
                assert (await client.answer())[0] == 200
            async with raw(server) as third:
                assert await third.refused() == (503, "overloaded")
        async with asyncio.timeout(5):
            while await status_of_get(server) != 200:
                pass  # the server has not heard yet that the first two are gone


async def status_of_get(server: HttpServer) -> int:
    async with raw(server) as client:
        await client.send(GET)
        return (await client.answer())[0]


async def test_a_client_that_reads_nothing_is_cut(city: Platform) -> None:
    async with served(city.experience_service().create_app(), write_stall_s=0.1) as server:
        async with httpx2.AsyncClient(base_url=server.url, headers=city.headers()) as client:
            session_id = await opened(client, {})
            form = {"session_id": (None, session_id.encode()), "file": ("x", b"x" * (32 << 20))}
            made = await client.post("/v1/content/upload", files=form, headers={"Prefer": "wait=20"}, timeout=30)
            path = f"/api/artifacts/{made.json()['result']['file_id']}/content"
        async with raw(server) as deaf:
            token = city.headers()["Authorization"]
            await deaf.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n".encode())
            await city.served.until(3)
            assert not await _read_whole(deaf, 32 << 20)


async def _read_whole(client: Raw, size: int) -> bool:
    try:
        await client.reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
    return True


async def test_a_refused_body_is_read_away_so_that_the_client_sees_the_answer(server: HttpServer) -> None:
    async with raw(server) as client:
        head = b"POST /api/session/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
        await client.send(head + b"x" * 100_000)
        assert (await client.answer())[0] == 401
        await client.send(b"x" * 200_000)
        await client.send(GET)
        assert (await client.answer())[0] == 200


async def test_a_body_that_waits_to_be_asked_for_is_not_asked_for_in_vain(city: Platform, server: HttpServer) -> None:
    async with raw(server) as client:
        head = (
            b"POST /api/session/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        await client.send(head)
        assert (await client.answer())[0] == 401
        assert await client.is_closed()
    async with raw(server) as client:
        await client.send(post(city, length=2, Expect="100-continue"))
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"{}")
        assert (await client.answer())[0] == 201


async def test_requests_sent_ahead_are_answered_in_order(server: HttpServer) -> None:
    async with raw(server) as client:
        await client.send(GET + b"GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n" + GET)
        assert [(await client.answer())[0] for _ in range(3)] == [200, 404, 200]


async def test_every_answer_has_a_date_and_says_nothing_of_the_server(server: HttpServer) -> None:
    async with httpx2.AsyncClient(base_url=server.url) as client:
        answer = await client.get("/health")
    assert answer.headers["Date"].endswith(" GMT")
    assert "Server" not in answer.headers


async def test_no_header_can_claim_another_address(city: Platform, server: HttpServer) -> None:
    async with httpx2.AsyncClient(base_url=server.url) as client:
        await client.get("/health", headers={"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7"})
    assert city.served[-1].client == "127.0.0.1"


async def test_a_taken_port_is_named_with_what_to_do(city: Platform, server: HttpServer) -> None:
    other = HttpServer(city.experience_service().create_app(), host="127.0.0.1", port=server.port, now_ms=lambda: 0)
    with pytest.raises(StartupFailed, match=rf"cannot listen on 127.0.0.1:{server.port}.*choose another"):
        await other.start()


async def test_two_services_run_in_one_loop(city: Platform, server: HttpServer) -> None:
    async with served(city.runtime_service().create_app()) as runtime, httpx2.AsyncClient() as client:
        assert runtime.port != server.port
        for each in (runtime, server):
            assert (await client.get(f"{each.url}/health")).status_code == 200


async def test_stopping_lets_a_request_under_way_finish_and_takes_no_other(city: Platform) -> None:
    asked, release = asyncio.Event(), asyncio.Event()
    real = city.health

    async def slow_health() -> Any:
        asked.set()
        await release.wait()
        return await real()

    city.health = slow_health  # type: ignore[method-assign]
    async with served(city.experience_service().create_app()) as server, httpx2.AsyncClient() as client:
        answering = asyncio.create_task(client.get(f"{server.url}/health"))
        await asked.wait()
        url = server.url
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        with pytest.raises(httpx2.TransportError):
            async with httpx2.AsyncClient() as late:
                await late.get(f"{url}/health")
        release.set()
        assert (await answering).status_code == 200
        await stopping


async def test_stopping_does_not_wait_for_ever(city: Platform) -> None:
    asked = asyncio.Event()

    async def stuck_health() -> Any:
        asked.set()
        await asyncio.Event().wait()

    city.health = stuck_health  # type: ignore[method-assign]
    async with served(city.experience_service().create_app(), drain_s=0.05) as server, raw(server) as client:
        await client.send(GET)
        await asked.wait()
        await server.stop()
        status, _, body = await client.answer()
        assert (status, json.loads(body)["code"]) == (503, "overloaded")
        assert await client.is_closed()


async def test_stopping_twice_is_stopping_once(city: Platform) -> None:
    async with served(city.experience_service().create_app()) as server:
        await server.stop()


async def test_hundreds_of_slow_clients_do_not_hold_up_one_that_is_not(city: Platform) -> None:
    async with served(city.experience_service().create_app()) as server:
        slow_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(300)]
        for number, (_, writer) in enumerate(slow_ones):
            writer.write(post(city, length=1000) + b"{" if number % 2 else b"GET /heal")
        async with httpx2.AsyncClient(base_url=server.url, timeout=5) as client:
            answers = [(await client.get("/health")).status_code for _ in range(20)]
        for _, writer in slow_ones:
            writer.close()
    assert answers == [200] * 20
