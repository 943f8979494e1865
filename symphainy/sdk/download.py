"""The bytes of an artifact over HTTP, resumed where a connection was cut."""

from __future__ import annotations

import re
from email.message import Message

import httpx2

from symphainy.door import OpenedContent
from symphainy.errors import Unreachable
from symphainy.sdk.decoding import unexpected
from symphainy.sdk.retry import Attempts
from symphainy.sdk.runtime_client import RuntimeClient

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class Download:
    """The chunks of one answer. Ask `opened` for what the answer says of them; `aclose` hangs up early."""

    def __init__(
        self,
        client: RuntimeClient,
        artifact_id: str,
        materialization_id: str | None,
        response: httpx2.Response,
    ) -> None:
        self._client = client
        self._artifact_id = artifact_id
        self._materialization_id = materialization_id
        self._attempts = Attempts(client.retry)
        self._take(response)

    @classmethod
    async def begin(
        cls,
        client: RuntimeClient,
        artifact_id: str,
        *,
        materialization_id: str | None,
        start: int,
        stop: int | None,
    ) -> Download:
        response = await client.open_content(
            artifact_id, materialization_id=materialization_id, bytes_range=_range(start, stop)
        )
        download = cls(client, artifact_id, materialization_id, response)
        if stop is not None and stop <= start:
            # HTTP has no name for an empty range: the whole was asked for, and none of it is read.
            await download.aclose()
            download._position = download._stop = start
        return download

    def opened(self) -> OpenedContent:
        return OpenedContent(
            chunks=self,
            media_type=self._response.headers.get("Content-Type", "application/octet-stream"),
            filename=_filename(self._response),
            sha256=self._sha256,
            size_bytes=self._size_bytes,
            start=self._position,
            stop=self._stop,
        )

    def __aiter__(self) -> Download:
        return self

    async def __anext__(self) -> bytes:
        while self._position < self._stop:
            try:
                chunk = await anext(self._body)
            except (httpx2.TransportError, StopAsyncIteration) as fault:
                cut = Unreachable(
                    f"the content of {self._artifact_id} was cut off at byte {self._position} of {self._stop}"
                )
                cut.__cause__ = fault
                await self._resume(cut)
            else:
                self._position += len(chunk)
                self._attempts = Attempts(self._client.retry)
                return chunk
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await self._response.aclose()

    async def _resume(self, cut: Unreachable) -> None:
        await self.aclose()
        await self._attempts.after(cut)
        expected = self._sha256, self._size_bytes, self._position
        response = await self._client.open_content(
            self._artifact_id,
            materialization_id=self._materialization_id,
            bytes_range=_range(self._position, self._stop),
        )
        self._take(response)
        if (self._sha256, self._size_bytes, self._position) != expected:
            await self.aclose()
            raise cut

    def _take(self, response: httpx2.Response) -> None:
        self._response = response
        self._sha256 = str(response.headers.get("ETag", "")).strip('"')
        self._position, self._stop, self._size_bytes = _extent(response)
        self._body = response.aiter_bytes()


def _range(start: int, stop: int | None) -> str | None:
    if stop is None:
        return f"bytes={start}-" if start else None
    return f"bytes={start}-{stop - 1}" if stop > start else None


def _extent(response: httpx2.Response) -> tuple[int, int, int]:
    """The first byte, the one after the last, and how many there are in all."""
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None:
            raise unexpected("the answer does not say which range it is")
        first, last, size_bytes = map(int, match.groups())
        return first, last + 1, size_bytes
    length = response.headers.get("Content-Length", "")
    if not length.isdigit():
        raise unexpected("the answer does not say how long it is")
    return 0, int(length), int(length)


def _filename(response: httpx2.Response) -> str | None:
    message = Message()
    message["Content-Disposition"] = response.headers.get("Content-Disposition", "")
    return message.get_filename()
