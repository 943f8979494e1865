"""Answers as ASGI messages, with nothing between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec
from starlette.types import Receive, Scope, Send

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Answer: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
"""What a handler returns: something that sends itself."""

JSON = b"application/json"
NO_STORE = (b"cache-control", b"no-store")

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(value: Any) -> bytes:
    """JSON of a value of the model, or of plain data."""
    return _encoder.encode(value)


def plain(value: Any) -> Any:
    """A value of the model as plain data."""
    return msgspec.to_builtins(value)


class Reply:
    """A whole answer. API answers are never stored by caches."""

    __slots__ = ("_body", "_headers", "status")

    def __init__(self, status: int, body: bytes = b"", *, media_type: bytes = JSON, headers: Headers = ()) -> None:
        self.status = status
        self._body = body
        self._headers = [NO_STORE, *headers]
        if status != 204:
            self._headers += [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})


def json_reply(status: int, value: Any, headers: Headers = ()) -> Reply:
    return Reply(status, encode(value), headers=headers)
