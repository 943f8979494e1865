"""The least that a Python service can do: Starlette, msgspec, uvicorn on uvloop. What it reaches is a ceiling."""

from __future__ import annotations

import socket
import sys
from collections.abc import AsyncIterator

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from symphainy.door import IntentRequest
from symphainy.model import Event, Submitted

PATH = "/api/intent/submit"

_decode = msgspec.json.Decoder(IntentRequest).decode
_encode = msgspec.json.Encoder().encode
_ANSWER = Submitted(
    execution_id="exe_aaaaaaaaaaaaaaaaaaaaaaaaaa",
    intent_id="int_aaaaaaaaaaaaaaaaaaaaaaaaaa",
    status="accepted",
    created_at="2026-01-01T00:00:00.000Z",
)

_EVENT = Event(
    position=1,
    seq=1,
    event_id="evt_aaaaaaaaaaaaaaaaaaaaaaaa",
    event_type="tick",
    tenant_id="bench",
    session_id="ses_aaaaaaaaaaaaaaaaaaaaaaaaaa",
    execution_id=_ANSWER.execution_id,
    timestamp=_ANSWER.created_at,
    payload={"n": 1},
)


async def submit(request: Request) -> Response:
    """Read a submission and answer as if it had been accepted."""
    _decode(await request.body())
    return Response(_encode(_ANSWER), 202, media_type="application/json")


async def stream(request: Request) -> Response:
    """As many events as the query asks for, each made and sent by itself."""
    return StreamingResponse(_events(int(request.query_params["count"])), media_type="text/event-stream")


async def _events(count: int) -> AsyncIterator[bytes]:
    for seq in range(1, count + 1):
        event = msgspec.structs.replace(_EVENT, seq=seq, position=seq)
        yield b"id: %d\nevent: tick\ndata: " % seq + _encode(event) + b"\n\n"


def main(listening: int) -> None:
    """Serve on this file descriptor of a listening socket until killed."""
    app = Starlette(routes=[Route(PATH, submit, methods=["POST"]), Route("/api/execution/{id}/stream", stream)])
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="error", access_log=False)
    # As a socket and not as uvicorn's `fd`, which is taken for a Unix socket and left with Nagle's delay.
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=listening)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
