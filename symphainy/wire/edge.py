"""The outermost layer of a service: it names every request, answers every error, and lets nothing in while draining."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from symphainy.errors import Invalid, Overloaded, SymphainyError
from symphainy.wire.bodies import ClientGone
from symphainy.wire.operations import HEADERS_KEY, REQUEST_ID_KEY, ROUTE_KEY, Service
from symphainy.wire.problems import (
    MEDIA_TYPE,
    encode_problem,
    is_internal,
    problem_headers,
    problem_of,
    status_of,
)
from symphainy.wire.replies import NO_STORE

log = logging.getLogger("symphainy.http")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
#: A second one of these could be read in two ways, by this service and by whatever stands before it.
_SINGLE = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"idempotency-key",
        b"last-event-id",
        b"range",
    }
)
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_OPEN_WHILE_DRAINING = frozenset({"/health", "/metrics"})
#: What the log says of a request whose client hung up before it was whole.
CLIENT_GONE = 499
HUNG_UP = 1005


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """One request, for the access log. Neither query nor headers: they may say what a log must not keep.

    `route` is the template, such as `/api/session/{session_id}`, and None where no route matched; `path` is as it came,
    percent-encoded. A WebSocket has the method `WS` and its close code as status (1005: the client hung up).
    """

    method: str
    route: str | None
    path: str
    status: int
    duration_s: float
    bytes_sent: int
    request_id: str
    client: str | None


AccessLog: TypeAlias = Callable[[Served], None]


def random_request_id() -> str:
    return f"req_{secrets.token_hex(16)}"


class Edge:
    """Pure ASGI. Whatever is raised inside comes out as a problem document."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        service: Service,
        access_log: AccessLog | None = None,
        new_request_id: Callable[[], str] = random_request_id,
    ) -> None:
        self._app = app
        self._service = service
        self._access_log = access_log
        self._new_request_id = new_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        raw: list[tuple[bytes, bytes]] = scope["headers"]
        headers = dict(raw)
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode("ascii") if _REQUEST_ID.fullmatch(given) else self._new_request_id()
        scope[HEADERS_KEY] = headers
        scope[REQUEST_ID_KEY] = request_id
        exchange = _Exchange(send, request_id)
        started = time.perf_counter()
        try:
            if scope["type"] == "websocket":
                await self._app(scope, receive, exchange.send_socket)
            else:
                if len(headers) != len(raw):
                    _refuse_doubled(raw)
                if self._service.is_draining and scope["path"] not in _OPEN_WHILE_DRAINING:
                    raise Overloaded("the service is shutting down; try again in a moment", retry_after_s=2)
                await self._app(scope, receive, exchange.send)
        except ClientGone:
            log.debug("%s: the client hung up", request_id)
        except SymphainyError as error:
            if is_internal(error):
                log.exception("%s failed", request_id, extra={"request_id": request_id})
            await exchange.refuse(error, scope)
        except asyncio.CancelledError:
            if not self._service.is_draining:
                raise
            # The server has waited long enough. Half an answer stays half an answer: the connection is cut.
            if not exchange.is_started:
                await exchange.refuse(Overloaded("the service stopped before the answer was ready"), scope)
        except Exception:
            log.exception("%s failed", request_id, extra={"request_id": request_id})
            await exchange.refuse(SymphainyError("unforeseen"), scope)
        finally:
            if self._access_log is not None:
                self._access_log(_served(scope, exchange, time.perf_counter() - started))


class _Exchange:
    """One answer on its way out."""

    __slots__ = ("_request_id", "_send", "bytes_sent", "is_started", "status")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.is_started = False
        self.status = 0
        self.bytes_sent = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.is_started = True
            self.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._request_id.encode()), _NOSNIFF]
        else:
            self.bytes_sent += len(message.get("body", b""))
        await self._send(message)

    async def send_socket(self, message: Message) -> None:
        match message["type"]:
            case "websocket.accept":
                self.is_started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id.encode())]
            case "websocket.close":
                self.is_started = True
                self.status = message.get("code", 1000)
            case _:
                self.bytes_sent += len(message.get("text") or message.get("bytes") or b"")
        await self._send(message)

    async def refuse(self, error: SymphainyError, scope: Scope) -> None:
        if self.is_started or scope["type"] != "http":
            # Half an answer is out: cutting the connection is the only way left to say that it is not whole.
            raise error
        document = problem_of(error, request_id=self._request_id, instance=scope["path"])
        body = encode_problem(document)
        headers: list[tuple[bytes, bytes]] = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            NO_STORE,
            *problem_headers(error, token_presented=b"authorization" in scope[HEADERS_KEY]),
        ]
        await self.send({"type": "http.response.start", "status": status_of(error), "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _refuse_doubled(raw: list[tuple[bytes, bytes]]) -> None:
    seen: set[bytes] = set()
    for name, _ in raw:
        if name in seen and name in _SINGLE:
            raise Invalid(f"the request has the header {name.decode('latin-1')} twice")
        seen.add(name)


def _served(scope: Scope, exchange: _Exchange, duration_s: float) -> Served:
    client: Any = scope.get("client")
    return Served(
        method=scope.get("method", "WS"),
        route=scope.get(ROUTE_KEY),
        path=scope.get("raw_path", b"").decode("ascii", "replace"),
        status=exchange.status or (HUNG_UP if scope["type"] == "websocket" else CLIENT_GONE),
        duration_s=duration_s,
        bytes_sent=exchange.bytes_sent,
        request_id=scope[REQUEST_ID_KEY],
        client=None if client is None else client[0],
    )
