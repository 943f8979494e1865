"""An HTTP server on the loopback interface that does what a test tells it, well or badly."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader

    async def gone(self) -> None:
        """Returns when the client has hung up."""
        while await self.reader.read(1):
            pass

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Loopback:
    """Replies in the order of `script`; a request beyond its end is an error of the test."""

    script: list[Reply]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (asked := await _read_request(reader)) is not None:
                self.asked.append(asked)
                reply = self.script.pop(0) if self.script else say(599, {"unexpected": asked.path})
                await reply(asked, writer)
                await writer.drain()
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def loopback(*script: Reply) -> AsyncIterator[Loopback]:
    server = Loopback(list(script))
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await server.serve(reader, writer)
        finally:
            connections.discard(task)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await listener.wait_closed()


def say(status: int, body: Any = None, **headers: str) -> Reply:
    """A whole answer, JSON unless it is bytes. `Retry_After="1"` is the header Retry-After."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        kind = "application/problem+json" if status >= 400 else "application/json"
        writer.write(head(status, {"Content-Type": kind, "Content-Length": str(len(data))} | given) + data)

    return reply


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any) -> Reply:
    document = {"type": "about:blank", "title": "T", "status": status, "detail": detail, "code": code, **members}
    return say(status, document, **{name.replace("-", "_"): value for name, value in (headers or {}).items()})


async def hang_up(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """Read the request and close without a word."""
    writer.close()


def cut(status: int, headers: Mapping[str, str], data: bytes) -> Reply:
    """Begin an answer and close in the middle of it."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, headers) + data)
        await writer.drain()
        writer.close()

    return reply


def events(*envelopes: dict[str, Any], torn: bytes = b"") -> Reply:
    """A stream of server-sent events that is closed after the last; `torn` is half an event."""
    data = b": ping\n\n" + b"".join(map(sse, envelopes)) + torn
    return cut(200, {"Content-Type": "text/event-stream; charset=utf-8", "Connection": "close"}, data)


def sse(envelope: dict[str, Any]) -> bytes:
    lines = [f"id: {envelope['seq']}", f"event: {envelope['event_type']}", f"data: {json.dumps(envelope)}"]
    return ("\n".join(lines) + "\n\n").encode()


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


async def _read_request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        block = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = block.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    parts = urlsplit(target)
    body = await _read_body(reader, headers)
    return Asked(
        method=method, path=parts.path, query=dict(parse_qsl(parts.query)), headers=headers, body=body, reader=reader
    )


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body
