"""The bytes of an artifact over HTTP: entity tags, conditional requests and single ranges (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from symphainy.door import Door, OpenedContent
from symphainy.wire.problems import RangeNotSatisfiable
from symphainy.wire.replies import Answer, Reply

_RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,100}/[A-Za-z0-9!#$&^_.+-]{1,100}(; ?charset=[A-Za-z0-9_.-]{1,40})?")
_UNKNOWN = "application/octet-stream"


async def content_answer(
    door: Door, artifact_id: str, materialization_id: str | None, headers: dict[bytes, bytes]
) -> Answer:
    """200, 206 or 304. Raises `RangeNotSatisfiable`, and what the door raises."""
    content = await door.open_artifact(artifact_id, materialization_id=materialization_id)
    etag = b'"' + content.sha256.encode() + b'"'
    asked = headers.get(b"if-none-match")
    if asked is not None and _matches(asked, etag):
        await _discard(content)
        return Reply(304, headers=[(b"etag", etag)], media_type=_media_type(content))
    span = None
    if headers.get(b"if-range", etag) == etag:
        span = requested_span(headers.get(b"range"), content.size_bytes)
    if span is None:
        return ContentStream(content, etag, status=200)
    await _discard(content)
    start, stop = span
    if start >= content.size_bytes:
        raise RangeNotSatisfiable(
            f"the range begins at byte {start}, the content has {content.size_bytes}", size_bytes=content.size_bytes
        )
    part = await door.open_artifact(artifact_id, materialization_id=materialization_id, start=start, stop=stop)
    return ContentStream(part, etag, status=206)


def _matches(asked: bytes, etag: bytes) -> bool:
    tags = [tag.strip().removeprefix(b"W/") for tag in asked.split(b",")]
    return b"*" in tags or etag in tags


def requested_span(value: bytes | None, size: int) -> tuple[int, int] | None:
    """Start and stop of a single range of bytes. None for no range, and for anything else that may be ignored."""
    match = _RANGE.fullmatch(value.replace(b" ", b"")) if value is not None else None
    if match is None or match[1] == match[2] == b"":
        return None
    if not match[1]:
        last = int(match[2])
        return (size - last if last < size else 0, size) if last else (size, size)
    start = int(match[1])
    stop = int(match[2]) + 1 if match[2] else size
    return None if stop <= start and match[2] else (start, min(stop, size))


def _media_type(content: OpenedContent) -> bytes:
    return (content.media_type if _MEDIA_TYPE.fullmatch(content.media_type) else _UNKNOWN).encode()


async def _discard(content: OpenedContent) -> None:
    await cast(AsyncGenerator[bytes, None], content.chunks).aclose()


class ContentStream:
    """Content as it is read. It is somebody's file: a browser must store it and never run it."""

    def __init__(self, content: OpenedContent, etag: bytes, *, status: int) -> None:
        self._content = content
        self._etag = etag
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = self._content
        headers = [
            (b"content-type", _media_type(content)),
            (b"content-length", str(content.stop - content.start).encode()),
            (b"etag", self._etag),
            (b"accept-ranges", b"bytes"),
            (b"cache-control", b"private, no-cache"),
            (b"content-disposition", _disposition(content.filename)),
            (b"content-security-policy", b"sandbox; default-src 'none'"),
        ]
        if self._status == 206:
            span = f"bytes {content.start}-{content.stop - 1}/{content.size_bytes}"
            headers.append((b"content-range", span.encode()))
        async with aclosing(cast(AsyncGenerator[bytes, None], content.chunks)) as chunks:
            await send({"type": "http.response.start", "status": self._status, "headers": headers})
            if scope["method"] != "HEAD":
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _disposition(filename: str | None) -> bytes:
    if filename is None:
        return b"attachment"
    return b"attachment; filename*=UTF-8''" + quote(filename.encode("utf-8", "replace"), safe="").encode()
