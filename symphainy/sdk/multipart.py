"""A file and some fields as `multipart/form-data`, streamed."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Rewindable(Protocol):
    """Bytes that can be read from the beginning again; `rewind` says whether these can."""

    async def rewind(self) -> bool: ...


class Multipart:
    """The fields stand before the file: whoever reads it knows what the bytes are for before they come."""

    def __init__(
        self,
        fields: Mapping[str, str],
        chunks: AsyncIterator[bytes],
        *,
        filename: str,
        media_type: str | None,
    ) -> None:
        self._boundary = secrets.token_hex(16)
        self._fields = fields
        self._chunks = chunks
        self._filename = filename
        self._file_type = media_type
        self._is_begun = False

    @property
    def media_type(self) -> str:
        return f"multipart/form-data; boundary={self._boundary}"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head()
        self._is_begun = True
        async for chunk in self._chunks:
            yield chunk
        yield f"\r\n--{self._boundary}--\r\n".encode()

    async def rewind(self) -> bool:
        """Whether it can be sent from its beginning (again)."""
        if not self._is_begun:
            return True
        if not isinstance(self._chunks, Rewindable) or not await self._chunks.rewind():
            return False
        self._is_begun = False
        return True

    def _head(self) -> bytes:
        lines = []
        for name, value in self._fields.items():
            lines += [f"--{self._boundary}", f'Content-Disposition: form-data; name="{name}"', "", value]
        named = f'filename="{_quoted(self._filename)}"'
        lines += [f"--{self._boundary}", f'Content-Disposition: form-data; name="file"; {named}']
        if self._file_type is not None:
            lines.append(f"Content-Type: {_one_line(self._file_type)}")
        return "\r\n".join([*lines, "", ""]).encode()


def _quoted(filename: str) -> str:
    """A quoted string, without line breaks. What cannot be encoded becomes `?`."""
    text = filename.encode("utf-8", "replace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "%0D").replace("\n", "%0A")


def _one_line(value: str) -> str:
    return " ".join(value.split())
