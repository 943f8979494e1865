"""Event streams: SSE, NDJSON and WebSocket over the same events.

A stream ends after the terminal event, when the client hangs up, when the service shuts down, and after an hour; in
the last two cases the client resumes where it was. None of this touches the execution.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

from starlette.types import Message, Receive, Scope, Send

from symphainy.door import Door
from symphainy.errors import (
    Denied,
    FieldError,
    Invalid,
    Limited,
    NotFound,
    SymphainyError,
    Unauthenticated,
)
from symphainy.model import Event
from symphainy.model.json import parse
from symphainy.wire.replies import Answer, Reply, encode
from symphainy.wire.settings import EdgeSettings

SSE = b"text/event-stream"
NDJSON = b"application/x-ndjson"

BAD_MESSAGE = 4400
BAD_TOKEN = 4401
NO_SUCH_EXECUTION = 4404
TOO_LATE = 4408
NORMAL = 1000
FAILED = 1011
RESTARTING = 1012
TRY_LATER = 1013


class OpenStreams:
    """The streams of one service, so that shutting down can end them."""

    def __init__(self) -> None:
        self._scopes: set[asyncio.Timeout] = set()
        self.is_closed = False

    def close(self) -> None:
        """End every stream, and any that is opened from now on."""
        self.is_closed = True
        for scope in list(self._scopes):
            _expire(scope)

    def __len__(self) -> int:
        return len(self._scopes)

    @asynccontextmanager
    async def lasting(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Leaves its block without an error when the time is over, `close` is called, or the scope is expired."""
        scope = asyncio.timeout(0 if self.is_closed else seconds)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield scope
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if not scope.expired():
                raise


def _expire(scope: asyncio.Timeout) -> None:
    if scope.when() is not None and not scope.expired():
        scope.reschedule(asyncio.get_running_loop().time())


def resume_from(headers: dict[bytes, bytes], after: int | None) -> int | None:
    """The `seq` after which to go on. The header that a browser sends by itself counts before the query."""
    value = headers.get(b"last-event-id", b"").strip()
    if not value:
        return after
    if not value.isdigit() or len(value) > 19 or int(value) >= 2**63:
        raise Invalid(
            "the header Last-Event-ID must be the id of an event", errors=[FieldError("", "Last-Event-ID: no number")]
        )
    return int(value)


def wants_ndjson(headers: dict[bytes, bytes]) -> bool:
    """Whether the client prefers lines of JSON: it names them, and no event stream before them."""
    for part in headers.get(b"accept", b"").split(b","):
        kind = part.split(b";")[0].strip().lower()
        if kind in (SSE, NDJSON):
            return kind == NDJSON
    return False


def sse_frame(event: Event) -> bytes:
    head = b"" if event.seq is None else b"id: %d\n" % event.seq
    name = event.event_type.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace")
    return head + b"event: " + name + b"\ndata: " + encode(event) + b"\n\n"


def ndjson_frame(event: Event) -> bytes:
    return encode(event) + b"\n"


async def open_stream(
    door: Door, execution_id: str, *, after: int | None, ndjson: bool, settings: EdgeSettings, streams: OpenStreams
) -> Answer:
    """The answer to a subscription. Raises what the door raises before anything is sent; 204 when nothing is left."""
    events = door.stream(execution_id, after=after)
    first: Event | None = None
    # A resumed stream of a live execution may be silent for long: its head is sent at once, so who may see it is
    # asked beforehand. In every other case the first event comes straight away, or there is none.
    waits = after is not None and not (await door.get_execution(execution_id)).status.is_terminal
    if not waits:
        first = await anext(aiter(events), None)
        if first is None:
            return Reply(204)
    frame, media_type, ping = (ndjson_frame, NDJSON, b"\n") if ndjson else (sse_frame, SSE, b": ping\n\n")
    return EventStream(events, first, frame=frame, media_type=media_type, ping=ping, settings=settings, streams=streams)


class EventStream:
    """Events as they come, and a sign of life in between."""

    def __init__(
        self,
        events: AsyncIterator[Event],
        first: Event | None,
        *,
        frame: Callable[[Event], bytes],
        media_type: bytes,
        ping: bytes,
        settings: EdgeSettings,
        streams: OpenStreams,
    ) -> None:
        self._events = events
        self._first = first
        self._frame = frame
        self._media_type = media_type
        self._ping = ping
        self._settings = settings
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (b"content-type", self._media_type),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        pulse = _Pulse(send, self._ping, self._settings.stream_ping_s)
        async with aclosing(cast(AsyncGenerator[Event, None], self._events)) as events:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async with self._streams.lasting(self._settings.stream_s_max) as lasting:
                watch = asyncio.ensure_future(_until_hung_up(receive, lasting))
                try:
                    if self._first is not None:
                        await pulse.send(self._frame(self._first))
                    pulse.start()
                    async for event in events:
                        await pulse.send(self._frame(event))
                finally:
                    pulse.stop()
                    watch.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Pulse:
    """Sends chunks of a body, and a ping whenever there was silence for `ping_s`.

    A timer that is looked at once per period, instead of one set anew with each event: events are many.
    """

    def __init__(self, send: Send, ping: bytes, ping_s: float) -> None:
        self._send = send
        self._ping: Message = {"type": "http.response.body", "body": ping, "more_body": True}
        self._ping_s = ping_s
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._sending = False
        self._timer: asyncio.TimerHandle | None = None
        self._pinging: asyncio.Task[None] | None = None

    async def send(self, chunk: bytes) -> None:
        self._sending = True
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        self._sending = False
        self._last = self._loop.time()

    def start(self) -> None:
        self._timer = self._loop.call_at(self._last + self._ping_s, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pinging is not None:
            self._pinging.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        # While a chunk is on its way the client is slow, not in doubt.
        if now >= self._last + self._ping_s and not self._sending:
            self._last = now
            self._pinging = self._loop.create_task(self._beat())
        self._timer = self._loop.call_at(max(self._last + self._ping_s, now + 0.001), self._look)

    async def _beat(self) -> None:
        await self._send(self._ping)


async def _until_hung_up(receive: Receive, lasting: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    _expire(lasting)


# --- WebSocket ------------------------------------------------------------------------------------------------


class _Close(Exception):
    """Ends the conversation with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _HungUp(Exception):
    """The client is gone."""


class StreamSocket:
    """One WebSocket: `connection_init` with a token, `connection_ack`, `subscribe`, then the events, then the end.

    No cookie and no address is looked at for who it is, so a page of another origin gains nothing by opening one.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        enter: Callable[[str], Awaitable[Door]],
        execution_id: str,
        settings: EdgeSettings,
        streams: OpenStreams,
    ) -> None:
        self._receive = receive
        self._send = send
        self._enter = enter
        self._execution_id = execution_id
        self._settings = settings
        self._streams = streams

    async def run(self) -> int:
        """Hold the conversation. Returns the code with which it was closed, 1005 when the client hung up."""
        try:
            code, reason = await self._converse()
        except _HungUp:
            return 1005
        except _Close as close:
            code, reason = close.code, close.reason
        except SymphainyError as error:
            code, reason = _code_of(error), error.code
        # A reason is at most 123 bytes of UTF-8.
        reason = reason.encode()[:120].decode(errors="ignore")
        await self._send({"type": "websocket.close", "code": code, "reason": reason})
        return code

    async def _converse(self) -> tuple[int, str]:
        if (await self._receive())["type"] != "websocket.connect":
            raise _HungUp
        await self._send({"type": "websocket.accept"})
        try:
            async with asyncio.timeout(self._settings.socket_init_s):
                door = await self._init()
                since = await self._subscription()
        except TimeoutError:
            raise _Close(TOO_LATE, "connection_init and subscribe did not come in time") from None
        if since is not None:
            # A resumed stream says nothing until something happens: whether it may be seen is asked first.
            await door.get_execution(self._execution_id)
        return await self._deliver(door, since)

    async def _init(self) -> Door:
        message = await self._message()
        token = message.get("token")
        if message.get("type") != "connection_init" or not message.keys() <= {"type", "token"}:
            raise _Close(BAD_MESSAGE, 'the first message must be {"type": "connection_init", "token": "..."}')
        if not isinstance(token, str) or not token:
            raise _Close(BAD_TOKEN, "connection_init must carry a token")
        door = await self._enter(token)
        # Where another service verifies tokens, nobody has looked at this one yet: ask for what everybody may see.
        await door.list_realms()
        await self._send_text(b'{"type":"connection_ack"}')
        return door

    async def _subscription(self) -> int | None:
        message = await self._message()
        since = message.get("since")
        is_number = isinstance(since, int) and not isinstance(since, bool) and 0 <= since < 2**63
        if message.get("type") != "subscribe" or not message.keys() <= {"type", "since"}:
            raise _Close(BAD_MESSAGE, 'the second message must be {"type": "subscribe", "since": n}')
        if since is not None and not is_number:
            raise _Close(BAD_MESSAGE, "since must be the seq of an event")
        return cast("int | None", since)

    async def _deliver(self, door: Door, since: int | None) -> tuple[int, str]:
        events = cast(AsyncGenerator[Event, None], door.stream(self._execution_id, after=since))
        said: list[_Close | _HungUp] = []
        ended = False
        async with aclosing(events), self._streams.lasting(self._settings.stream_s_max) as lasting:
            watch = asyncio.ensure_future(self._listen(lasting, said))
            try:
                async for event in events:
                    await self._send_text(encode(event))
                ended = True
            finally:
                watch.cancel()
        if ended:
            return NORMAL, "the execution has ended"
        if said:
            raise said[0]
        return RESTARTING, "subscribe again with since"

    async def _listen(self, lasting: asyncio.Timeout, said: list[_Close | _HungUp]) -> None:
        """After `subscribe` the client has nothing to say but goodbye."""
        try:
            await self._message()
            said.append(_Close(BAD_MESSAGE, "nothing is expected after subscribe"))
        except (_Close, _HungUp) as end:
            said.append(end)
        _expire(lasting)

    async def _message(self) -> dict[str, Any]:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _HungUp
        text = message.get("text")
        if text is None:
            raise _Close(BAD_MESSAGE, "messages are JSON text")
        if len(text) > self._settings.socket_message_chars_max:
            raise _Close(BAD_MESSAGE, "the message is too long")
        try:
            value = parse(text)
        except Invalid:
            raise _Close(BAD_MESSAGE, "the message is not JSON") from None
        if not isinstance(value, dict):
            raise _Close(BAD_MESSAGE, "the message is not a JSON object")
        return value

    async def _send_text(self, data: bytes) -> None:
        await self._send({"type": "websocket.send", "text": data.decode()})


def _code_of(error: SymphainyError) -> int:
    match error:
        case Unauthenticated():
            return BAD_TOKEN
        case NotFound() | Denied():
            return NO_SUCH_EXECUTION
        case Limited():
            return TRY_LATER
        case _:
            return FAILED
