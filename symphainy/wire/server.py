"""The listening side: uvicorn's httptools protocol behind bounds that no ASGI application can set.

An application sees a request only when its head is whole. Until then, and while a body trickles in or an answer is not
read, only the protocol can tell a slow client from a hostile one; so the deadlines are here. Several servers can run in
one event loop. Nothing here handles signals or polls: `start`, and `stop` when it is time.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from symphainy.errors import StartupFailed
from symphainy.wire.app import ServiceApp
from symphainy.wire.edge import random_request_id
from symphainy.wire.problems import MEDIA_TYPE, TYPE_PREFIX, encode_problem
from symphainy.wire.settings import ServerSettings

log = logging.getLogger("symphainy.http")

#: A client whose answer was given before its body was read may go on sending for so long: cut at once, it would see a
#: reset connection instead of the answer.
LINGER_S = 5.0
SOCKET_MESSAGE_BYTES_MAX = 64 * 1024
SOCKET_PING_S = 15.0


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """For `asyncio.Runner`: uvloop where there is one."""
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


class _ProtocolLog(logging.Logger):
    """What clients send wrong is no warning of ours: anybody could fill the log with it."""

    def warning(self, msg: object, *args: object, **rest: Any) -> None:
        self.debug(msg, *args, **rest)


_protocol_log = _ProtocolLog("symphainy.http.protocol")
_protocol_log.parent = log


class _Shared(ServerState):
    """What the connections of one server have in common."""

    def __init__(self, settings: ServerSettings, now_ms: Callable[[], int]) -> None:
        super().__init__()
        self.settings = settings
        self._now_ms = now_ms
        self._date_until = 0.0

    def refresh_date(self, now: float) -> None:
        """The Date header, made at most once a second. `now` is the event loop's time."""
        if now >= self._date_until:
            date = formatdate(self._now_ms() / 1000, usegmt=True)
            self.default_headers = [(b"date", date.encode())]
            self._date_until = now + 1.0


class ShieldedProtocol(HttpToolsProtocol):
    """One connection, which has to keep moving."""

    def __init__(self, config: uvicorn.Config, shared: _Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(config, shared, {}, _loop=loop)
        self.logger = _protocol_log
        self._shared = shared
        self._bounds = shared.settings
        self._is_refused = False
        self._in_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._bounds.connections_max:
            self._refuse(503, "overloaded", "too many connections are open; try again in a moment", retryable=True)
            return
        self._arm(self._bounds.header_deadline_s, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_refused = True
        for timer in (self._timer, self._linger, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_refused:
            return
        if self._in_head:
            if self._head_bytes > self._bounds.header_bytes_max:
                self._head_is_too_large()
            elif self._head_bytes and self._timer is None:
                self._arm(self._bounds.header_deadline_s, self._head_is_late)
        elif self._timer is None:
            self._body_bytes = 0
            self._arm(self._bounds.body_window_s, self._look_at_body)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(self._bounds.write_stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def handle_websocket_upgrade(self) -> None:
        self._disarm()
        self._is_refused = True  # what comes now is not for this protocol
        super().handle_websocket_upgrade()

    # --- the parser ---

    def on_message_begin(self) -> None:
        self._shared.refresh_date(self.loop.time())
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._disarm()
        self._in_head = False
        if self._head_bytes > self._bounds.header_bytes_max or len(self.headers) > self._bounds.header_count_max:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > self._bounds.header_bytes_max or len(self.headers) > self._bounds.header_count_max:
                self._head_is_too_large()
                return
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._is_refused:
            self._body_bytes += len(body)
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_refused:
            return
        self._disarm()
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        self._in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_head or self.transport.is_closing():
            return
        if self.expect_100_continue:
            # Whether the body still comes is up to the client, so the next request could not be told from it.
            self.transport.close()
        else:
            self._linger = self.loop.call_later(LINGER_S, self._stop_lingering)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "validation_failed", "this is not HTTP/1.1 as it should be")

    # --- deadlines ---

    def _arm(self, seconds: float, then: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(seconds, then)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _head_is_late(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # The beginning of a further request, sent ahead: its time starts when the answer before it is out.
            self._arm(self._bounds.header_deadline_s, self._head_is_late)
        elif self._head_bytes == 0:
            self.transport.close()
        else:
            seconds = self._bounds.header_deadline_s
            self._refuse(
                408, "request_timeout", f"the head of the request did not arrive within {seconds:g} s", retryable=True
            )

    def _head_is_too_large(self) -> None:
        self._refuse(
            431,
            "payload_too_large",
            f"the head of the request is larger than {self._bounds.header_bytes_max} bytes "
            f"or has more than {self._bounds.header_count_max} headers",
        )

    def _look_at_body(self) -> None:
        self._timer = None
        is_ours = self.flow.read_paused  # the application is not reading: the client cannot be faster
        if self._body_bytes >= self._bounds.body_window_bytes_min or is_ours:
            self._body_bytes = 0
            self._arm(self._bounds.body_window_s, self._look_at_body)
            return
        seconds, least = self._bounds.body_window_s, self._bounds.body_window_bytes_min
        self._refuse(
            408, "request_timeout", f"the body brought less than {least} bytes in {seconds:g} s", retryable=True
        )

    def _stop_lingering(self) -> None:
        if not self._in_head and not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, status: int, code: str, detail: str, *, retryable: bool = False) -> None:
        """Answer without an application, if nothing was answered yet, and close."""
        self._is_refused = True
        self._disarm()
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if under_way:
            cycle.disconnected = True
            cycle.message_event.set()
        if not (under_way and cycle.response_started):
            self.transport.write(_raw_problem(status, code, detail, retryable, self.server_state.default_headers))
        self.transport.close()


def _raw_problem(
    status: int, code: str, detail: str, retryable: bool, default_headers: list[tuple[bytes, bytes]]
) -> bytes:
    request_id = random_request_id()
    body = encode_problem(
        {
            "type": TYPE_PREFIX + code,
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "instance": "",
            "code": code,
            "request_id": request_id,
            "retryable": retryable,
        }
    )
    headers = [
        *default_headers,
        (b"content-type", MEDIA_TYPE),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    if status == 503:
        headers.append((b"retry-after", b"1"))
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return STATUS_LINE[status] + lines + b"\r\n" + body


class HttpServer:
    """One service on one address. `port` 0 takes a free one, which `port` then tells."""

    def __init__(
        self,
        app: ServiceApp,
        *,
        host: str,
        port: int,
        now_ms: Callable[[], int],
        settings: ServerSettings | None = None,
    ) -> None:
        self._app = app
        self._host = host
        self._wanted_port = port
        self._settings = settings or ServerSettings()
        self._shared = _Shared(self._settings, now_ms)
        self._server: asyncio.Server | None = None
        self._lifespan: AbstractAsyncContextManager[Any] | None = None
        self._config = uvicorn.Config(
            app,
            interface="asgi3",
            http="httptools",
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            # The address at the other end counts as who it is: no header can claim another.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=int(self._settings.keep_alive_s),
            ws_max_size=SOCKET_MESSAGE_BYTES_MAX,
            ws_ping_interval=SOCKET_PING_S,
            ws_per_message_deflate=False,
        )

    async def start(self) -> None:
        """Returns when connections are accepted. Raises `StartupFailed` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        self._config.load()
        self._lifespan = self._app.router.lifespan_context(self._app)
        await self._lifespan.__aenter__()
        try:
            self._server = await loop.create_server(
                lambda: ShieldedProtocol(self._config, self._shared, loop), self._host, self._wanted_port, backlog=2048
            )
        except OSError as error:
            await self._end_lifespan()
            raise StartupFailed(
                f"{self._app.title} cannot listen on {self._host}:{self._wanted_port}: {error.strerror or error}",
                service="http",
                remedy="Stop what uses that port, or choose another one.",
            ) from None

    @property
    def port(self) -> int:
        assert self._server is not None, "the server has not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def stop(self) -> None:
        """Accept nothing more, end the streams, give what is under way its time, then close."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self._app.service.drain()
        for connection in list(self._shared.connections):
            connection.shutdown()
        if self._shared.tasks:
            _, late = await asyncio.wait(set(self._shared.tasks), timeout=self._settings.drain_s)
            for task in late:
                task.cancel()
            if late:
                log.warning("%d requests did not end within %g s and were cut", len(late), self._settings.drain_s)
                await asyncio.wait(late, timeout=1.0)
        for connection in list(self._shared.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await self._end_lifespan()

    async def _end_lifespan(self) -> None:
        if self._lifespan is not None:
            lifespan, self._lifespan = self._lifespan, None
            await lifespan.__aexit__(None, None, None)
