"""Bodies, read within bounds. What is not the JSON that the platform speaks is refused here, and is never a 500."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.types import Receive

from symphainy.errors import Invalid, TooLarge, UnsupportedMedia
from symphainy.model.json import DEPTH_MAX, parse
from symphainy.wire.problems import RequestTimeout

DIGITS_MAX = 32

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_LONG_NUMBER = re.compile(rb"(?<![\d.])\d{%d}" % (DIGITS_MAX + 1))


class ClientGone(Exception):
    """The client hung up before its request was whole. There is nobody to answer."""


async def read_body(receive: Receive, headers: dict[bytes, bytes], *, bytes_max: int, deadline_s: float) -> bytes:
    """The whole body. Raises `TooLarge` as soon as it is clear, `RequestTimeout` when the rest takes longer than
    `deadline_s`, `ClientGone`. For the first piece the server has a deadline of its own.
    """
    declared = content_length(headers)
    if declared is not None and declared > bytes_max:
        raise _too_large(bytes_max)
    message = await _next(receive)
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= bytes_max:
        return body
    chunks, size = [body], len(body)
    try:
        async with asyncio.timeout(deadline_s):
            while message.get("more_body", False):
                if size > bytes_max:
                    raise _too_large(bytes_max)
                message = await _next(receive)
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
    except TimeoutError:
        raise RequestTimeout(f"the body did not arrive within {deadline_s:g} s") from None
    if size > bytes_max:
        raise _too_large(bytes_max)
    return b"".join(chunks)


async def _next(receive: Receive) -> Any:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _too_large(bytes_max: int) -> TooLarge:
    return TooLarge(f"the body is larger than {bytes_max} bytes", limit_bytes=bytes_max)


def content_length(headers: dict[bytes, bytes]) -> int | None:
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 20 else None


def expect_json(headers: dict[bytes, bytes]) -> None:
    """Raises `UnsupportedMedia` unless the body is declared to be JSON in UTF-8."""
    if headers.get(b"content-type") == b"application/json" and b"content-encoding" not in headers:
        return
    declared = headers.get(b"content-type", b"").decode("latin-1")
    kind, _, parameters = declared.partition(";")
    kind = kind.strip().lower()
    charset = parameters.lower().replace('"', "").replace(" ", "").removeprefix("charset=")
    if kind != "application/json" or charset not in ("", "utf-8", "utf8"):
        said = f"not {declared[:100]!r}" if declared else "and the request names no media type"
        raise UnsupportedMedia(f"the body must be application/json in UTF-8, {said}")
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise UnsupportedMedia("send the body without a Content-Encoding")


def json_object(body: bytes) -> dict[str, Any]:
    """The object that `body` is. Raises `Invalid` when it is none, or none that means one thing only."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise Invalid("the body must be a JSON object")
    return value


def json_value(body: bytes) -> Any:
    """The value of JSON text without duplicate names, deeper than 64 levels, or with longer numbers than anyone means.

    NaN, infinities and lone surrogates are no JSON to begin with.
    """
    value = parse(body)
    depth, names = _measure(value)
    if depth > DEPTH_MAX:
        raise Invalid(f"the JSON is nested deeper than {DEPTH_MAX} levels")
    # In valid JSON every colon outside a string ends a name: fewer names than colons means that some came twice.
    # Strings are only taken out where that can change the answer.
    if body.count(b":") != names or _LONG_NUMBER.search(body):
        bare = _STRING.sub(b"", body)
        if bare.count(b":") != names:
            raise Invalid("a JSON object has the same name twice")
        if _LONG_NUMBER.search(bare):
            raise Invalid(f"a number has more than {DIGITS_MAX} digits; send it as a string")
    return value


def _measure(value: Any) -> tuple[int, int]:
    """How deep objects and arrays are nested, and how many names the objects have in all."""
    names = depth = 0
    level = [value] if isinstance(value, (dict, list)) else []
    while level:
        depth += 1
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                names += len(item)
                members: Any = item.values()
            else:
                members = item
            deeper.extend([each for each in members if isinstance(each, (dict, list))])
        level = deeper
    return depth, names
