"""Uploads: `multipart/form-data`, taken apart as it comes in.

With the fields before the file, as the SDK sends them, the bytes go straight from the socket to whoever stores them.
With the file first, as people type it, they wait on disk until the fields have come. Memory holds one chunk either way.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import IO, Any

import msgspec
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.types import Receive

from symphainy.errors import FieldError, Invalid, TooLarge, UnsupportedMedia
from symphainy.wire.bodies import ClientGone, content_length
from symphainy.wire.settings import EdgeSettings

PARTS_MAX = 32
FILENAME_CHARS_MAX = 255
#: What a form adds to a file, generously: boundaries and heads of parts.
FRAMING_BYTES_MAX = 64 * 1024
SPOOL_CHUNK_BYTES = 256 * 1024


class ReceivedUpload(msgspec.Struct, kw_only=True):
    """An upload whose fields are known. `chunks` may be read once, and raises what is wrong with the rest."""

    fields: dict[str, bytes]
    filename: str
    media_type: str | None
    chunks: AsyncIterator[bytes]


class _PartBegun(msgspec.Struct):
    name: str
    filename: str | None
    media_type: str | None


class _PartEnded(msgspec.Struct):
    pass


_Item = _PartBegun | _PartEnded | bytes


class _Form:
    """The parts of a form in order, pulled from the socket."""

    def __init__(self, receive: Receive, boundary: bytes, settings: EdgeSettings) -> None:
        self._receive = receive
        self._left_max = settings.upload_bytes_max + FRAMING_BYTES_MAX + 4 * settings.upload_part_bytes_max
        self._items: deque[_Item] = deque()
        self._head: dict[str, bytes] = {}
        self._name = b""
        self._value = b""
        self._parts = 0
        self._is_over = False
        self._more_body = True
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_end": self._on_end,
                },
            )
        except (MultipartParseError, ValueError) as error:
            raise Invalid(f"the form cannot be read: {error}") from None

    async def next(self) -> _Item | None:
        """The next beginning, piece of data or end of a part. None after the last. Raises `Invalid`, `ClientGone`."""
        while not self._items:
            if not self._more_body:
                if not self._is_over:
                    raise Invalid("the form ends in the middle of a part")
                return None
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            self._more_body = message.get("more_body", False)
            data = message.get("body", b"")
            self._left_max -= len(data)
            if self._left_max < 0:
                raise TooLarge("the form is larger than any file with its fields may be")
            try:
                self._parser.write(data)
            except MultipartParseError as error:
                raise Invalid(f"the form cannot be read: {error}") from None
        return self._items.popleft()

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise MultipartParseError(f"more than {PARTS_MAX} parts")
        self._head = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._head[self._name.decode("latin-1").lower()] = self._value
        self._name = self._value = b""

    def _on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._head.get("content-disposition", b""))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise MultipartParseError("a part has no Content-Disposition of form-data with a name")
        filename = options.get(b"filename")
        self._items.append(
            _PartBegun(
                name=name.decode("utf-8", "replace"),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                media_type=self._head["content-type"].decode("latin-1") if "content-type" in self._head else None,
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._items.append(data[start:end])

    def _on_part_end(self) -> None:
        self._items.append(_PartEnded())

    def _on_end(self) -> None:
        self._is_over = True


@asynccontextmanager
async def receive_upload(
    receive: Receive, headers: dict[bytes, bytes], settings: EdgeSettings
) -> AsyncIterator[ReceivedUpload]:
    """The form, open for reading. Raises `UnsupportedMedia`, `TooLarge`, `Invalid`, `ClientGone`."""
    form = _Form(receive, _boundary(headers), settings)
    declared = content_length(headers)
    if declared is not None and declared > settings.upload_bytes_max + FRAMING_BYTES_MAX:
        raise _too_large(settings)
    fields: dict[str, bytes] = {}
    begun = await _read_fields(form, fields, settings)
    if begun is None:
        raise Invalid("the form has no part 'file'", errors=[FieldError("/file", "required")])
    if "session_id" in fields:
        yield _upload(fields, begun, _straight(form, settings))
        return
    with await asyncio.to_thread(lambda: tempfile.TemporaryFile(dir=settings.spool_folder)) as spool:
        async for chunk in _file_chunks(form, settings):
            await asyncio.to_thread(spool.write, chunk)
        if await _read_fields(form, fields, settings) is not None:
            raise Invalid("the form has more than one file", errors=[FieldError("/file", "given twice")])
        yield _upload(fields, begun, _from_spool(spool))


def _boundary(headers: dict[bytes, bytes]) -> bytes:
    kind, options = parse_options_header(headers.get(b"content-type", b"").decode("latin-1"))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        raise UnsupportedMedia("an upload is multipart/form-data with a boundary")
    if len(boundary) > 70 or not all(32 < byte < 127 or byte == 32 for byte in boundary):
        raise Invalid("the boundary of the form is none (RFC 2046: at most 70 printable characters)")
    return boundary


def _upload(fields: dict[str, bytes], begun: _PartBegun, chunks: AsyncIterator[bytes]) -> ReceivedUpload:
    return ReceivedUpload(
        fields=fields, filename=_plain_name(begun.filename), media_type=begun.media_type, chunks=chunks
    )


def _plain_name(filename: str | None) -> str:
    """The last part of the path, without anything that is not text."""
    last = PurePosixPath((filename or "").replace("\\", "/")).name
    name = "".join(char for char in last if char.isprintable())[-FILENAME_CHARS_MAX:]
    return name if name not in ("", ".", "..") else "upload"


async def _read_fields(form: _Form, fields: dict[str, bytes], settings: EdgeSettings) -> _PartBegun | None:
    """Read fields into `fields` up to the file, whose beginning is returned, or to the end."""
    while (item := await form.next()) is not None:
        if not isinstance(item, _PartBegun):
            continue
        if item.name == "file":
            return item
        if item.name in fields:
            raise Invalid(f"the form has {item.name!r} twice", errors=[FieldError(f"/{item.name}", "given twice")])
        value = bytearray()
        while isinstance(data := await form.next(), bytes):
            value += data
            if len(value) > settings.upload_part_bytes_max:
                raise TooLarge(
                    f"the field {item.name!r} is larger than {settings.upload_part_bytes_max} bytes",
                    limit_bytes=settings.upload_part_bytes_max,
                )
        fields[item.name] = bytes(value)
    return None


async def _file_chunks(form: _Form, settings: EdgeSettings) -> AsyncIterator[bytes]:
    size = 0
    while isinstance(data := await form.next(), bytes):
        size += len(data)
        if size > settings.upload_bytes_max:
            raise _too_large(settings)
        yield data


async def _straight(form: _Form, settings: EdgeSettings) -> AsyncIterator[bytes]:
    async for chunk in _file_chunks(form, settings):
        yield chunk
    # Raised before the stream ends, so that whoever stores it keeps nothing.
    if await form.next() is not None:
        raise Invalid("further fields come after the file; put every field before it, or session_id after it too")


async def _from_spool(spool: IO[Any]) -> AsyncIterator[bytes]:
    await asyncio.to_thread(spool.seek, 0)
    while chunk := await asyncio.to_thread(spool.read, SPOOL_CHUNK_BYTES):
        yield chunk


def _too_large(settings: EdgeSettings) -> TooLarge:
    return TooLarge(f"the file is larger than {settings.upload_bytes_max} bytes", limit_bytes=settings.upload_bytes_max)
