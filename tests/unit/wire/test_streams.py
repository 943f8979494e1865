"""Event streams to the letter: frames, pings, endings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Message, Receive

from symphainy.errors import Invalid, StoreFailed
from symphainy.model import Event
from symphainy.wire.settings import EdgeSettings
from symphainy.wire.streams import (
    NDJSON,
    SSE,
    EventStream,
    OpenStreams,
    ndjson_frame,
    resume_from,
    sse_frame,
    wants_ndjson,
)


def event(seq: int | None, event_type: str = "said", payload: Any = None) -> Event:
    return Event(
        position=40 + (seq or 0),
        seq=seq,
        event_id="evt_1",
        event_type=event_type,
        tenant_id="acme",
        session_id="ses_1",
        execution_id="exe_1",
        timestamp="2026-11-20T16:00:00.123Z",
        payload=payload or {},
    )


ENVELOPE = (
    b'{"position":47,"seq":7,"event_id":"evt_1","event_type":"said","tenant_id":"acme","session_id":"ses_1",'
    b'"execution_id":"exe_1","timestamp":"2026-11-20T16:00:00.123Z","payload":{"text":"a\\nb"}}'
)


def test_an_sse_frame_has_the_seq_the_type_and_the_envelope() -> None:
    frame = sse_frame(event(7, payload={"text": "a\nb"}))
    assert frame == b"id: 7\nevent: said\ndata: " + ENVELOPE + b"\n\n"


def test_an_event_of_no_execution_has_no_id() -> None:
    assert sse_frame(event(None)).startswith(b"event: said\ndata: {")


def test_no_event_type_can_break_out_of_its_line() -> None:
    frame = sse_frame(event(1, "x\ndata: forged\r\n\r\n"))
    assert frame.split(b"\n")[1] == b"event: x data: forged    "
    assert frame.count(b"\n") == 4


def test_an_ndjson_frame_is_one_line() -> None:
    assert ndjson_frame(event(7, payload={"text": "a\nb"})) == ENVELOPE + b"\n"


@pytest.mark.parametrize(
    ("headers", "after", "expected"),
    [
        ({}, None, None),
        ({}, 3, 3),
        ({b"last-event-id": b"5"}, None, 5),
        ({b"last-event-id": b"5"}, 3, 5),
        ({b"last-event-id": b""}, 3, 3),
        ({b"last-event-id": b" 0 "}, 3, 0),
    ],
)
def test_a_stream_resumes_after_what_the_client_has_seen(
    headers: dict[bytes, bytes], after: int | None, expected: int | None
) -> None:
    assert resume_from(headers, after) == expected


@pytest.mark.parametrize("value", [b"x", b"-1", b"1.5", b"9" * 19, b"\xd9\xa1"])
def test_an_id_that_is_no_number_is_refused(value: bytes) -> None:
    with pytest.raises(Invalid, match="Last-Event-ID"):
        resume_from({b"last-event-id": value}, None)


@pytest.mark.parametrize(
    ("accept", "ndjson"),
    [
        (b"", False),
        (b"*/*", False),
        (b"text/event-stream", False),
        (b"application/x-ndjson", True),
        (b"text/html, Application/X-NDJSON;q=0.9", True),
        (b"text/event-stream, application/x-ndjson", False),
    ],
)
def test_lines_come_to_who_asks_for_lines(accept: bytes, ndjson: bool) -> None:
    assert wants_ndjson({b"accept": accept}) is ndjson


class Wire:
    """What a client of an `EventStream` sees."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.arrived = asyncio.Event()

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.arrived.set()

    async def until(self, chunk: bytes, count: int = 1) -> None:
        while sum(message.get("body") == chunk for message in self.sent) < count:
            self.arrived.clear()
            await self.arrived.wait()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_whole(self) -> bool:
        return self.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def stream(
    events: AsyncIterator[Event], streams: OpenStreams, first: Event | None = None, **bounds: Any
) -> EventStream:
    return EventStream(
        events,
        first,
        frame=sse_frame,
        media_type=SSE,
        ping=b": ping\n\n",
        settings=EdgeSettings(**bounds),
        streams=streams,
    )


class Source:
    """Events as a test lets them happen."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
        self.is_closed = False

    async def events(self) -> AsyncIterator[Event]:
        try:
            while (item := await self.queue.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.is_closed = True


SCOPE = {"type": "http", "method": "GET", "path": "/"}


async def test_a_stream_ends_after_its_last_event(never: Receive) -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    for item in (event(2), event(3, "execution_completed"), None):
        source.queue.put_nowait(item)
    await stream(source.events(), streams, first=event(1, "snapshot"))(SCOPE, never, wire.send)
    assert wire.sent[0] == {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", SSE), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")],
    }
    assert wire.body == b"".join(map(sse_frame, [event(1, "snapshot"), event(2), event(3, "execution_completed")]))
    assert (wire.is_whole, source.is_closed, len(streams)) == (True, True, 0)


async def test_a_silent_stream_says_that_it_is_alive_and_a_busy_one_does_not(never: Receive) -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    running = asyncio.create_task(stream(source.events(), streams, stream_ping_s=0.02)(SCOPE, never, wire.send))
    await wire.until(b": ping\n\n", count=3)
    source.queue.put_nowait(event(1))
    source.queue.put_nowait(None)
    await running
    assert wire.is_whole
    wire, source = Wire(), Source()
    for item in (*map(event, range(1, 200)), None):
        source.queue.put_nowait(item)
    await stream(source.events(), streams, stream_ping_s=60)(SCOPE, never, wire.send)
    assert b"ping" not in wire.body


async def test_hanging_up_ends_the_stream_and_lets_go_of_its_source() -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    gone = asyncio.Event()

    async def receive() -> Message:
        await gone.wait()
        return {"type": "http.disconnect"}

    running = asyncio.create_task(stream(source.events(), streams)(SCOPE, receive, wire.send))
    source.queue.put_nowait(event(1))
    await wire.until(sse_frame(event(1)))
    gone.set()
    await running
    assert (source.is_closed, len(streams)) == (True, 0)


async def test_shutting_down_ends_every_stream_whole_and_lets_no_further_one_last(never: Receive) -> None:
    streams = OpenStreams()
    wires, sources = [Wire() for _ in range(3)], [Source() for _ in range(3)]
    running = [
        asyncio.create_task(stream(source.events(), streams)(SCOPE, never, wire.send))
        for source, wire in zip(sources, wires, strict=True)
    ]
    for source, wire in zip(sources, wires, strict=True):
        source.queue.put_nowait(event(1))
        await wire.until(sse_frame(event(1)))
    assert len(streams) == 3
    streams.close()
    await asyncio.gather(*running)
    late, source = Wire(), Source()
    await stream(source.events(), streams)(SCOPE, never, late.send)
    assert all(wire.is_whole for wire in [*wires, late])
    assert len(streams) == 0


async def test_a_stream_ends_after_its_time_so_that_the_token_is_looked_at_again(never: Receive) -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    await stream(source.events(), streams, stream_s_max=0.01)(SCOPE, never, wire.send)
    assert (wire.is_whole, source.is_closed) == (True, True)


async def test_a_failure_half_way_is_not_dressed_up_as_an_end(never: Receive) -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    source.queue.put_nowait(event(1))
    source.queue.put_nowait(StoreFailed("gone"))
    with pytest.raises(StoreFailed):
        await stream(source.events(), streams)(SCOPE, never, wire.send)
    assert not wire.is_whole
    assert len(streams) == 0


async def test_a_timeout_of_the_source_is_not_mistaken_for_the_end_of_the_time(never: Receive) -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    source.queue.put_nowait(TimeoutError("the store is slow"))
    with pytest.raises(TimeoutError, match="slow"):
        await stream(source.events(), streams)(SCOPE, never, wire.send)


async def test_cancelling_the_request_is_passed_on(never: Receive) -> None:
    wire, source, streams = Wire(), Source(), OpenStreams()
    running = asyncio.create_task(stream(source.events(), streams)(SCOPE, never, wire.send))
    source.queue.put_nowait(event(1))
    await wire.until(sse_frame(event(1)))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (source.is_closed, len(streams)) == (True, 0)


def test_both_media_types_are_what_the_contract_says() -> None:
    assert (SSE, NDJSON) == (b"text/event-stream", b"application/x-ndjson")
