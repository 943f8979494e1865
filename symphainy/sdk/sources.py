"""What a file to be uploaded is read from."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeAlias

from symphainy.errors import Invalid

Progress: TypeAlias = Callable[[int, int | None], None]

CHUNK_BYTES = 256 * 1024


class FileSource:
    """A path or an open binary file, in chunks, read off the event loop. It can be rewound (`Rewindable`)."""

    def __init__(
        self, source: str | PathLike[str] | BinaryIO, *, filename: str | None, progress: Progress | None
    ) -> None:
        self._path = Path(source) if isinstance(source, str | PathLike) else None
        self._file = None if isinstance(source, str | PathLike) else source
        self._begin: int | None = None
        self._size_bytes: int | None = None
        self._sent = 0
        self._progress = progress
        self.filename = filename or _name_of(source)

    async def open(self) -> None:
        """Raises `OSError` for a path that cannot be read, before anything is sent."""
        await asyncio.to_thread(self._open)

    def __aiter__(self) -> FileSource:
        return self

    async def __anext__(self) -> bytes:
        assert self._file is not None, "open the source first"
        chunk = await asyncio.to_thread(self._file.read, CHUNK_BYTES)
        if not chunk:
            raise StopAsyncIteration
        self._sent += len(chunk)
        self._tell()
        return chunk

    async def rewind(self) -> bool:
        if self._file is None or self._begin is None:
            return False
        await asyncio.to_thread(self._file.seek, self._begin)
        self._sent = 0
        self._tell()
        return True

    async def aclose(self) -> None:
        """Closes what it opened itself."""
        if self._path is not None and self._file is not None:
            await asyncio.to_thread(self._file.close)
            self._file = None

    def _open(self) -> None:
        if self._path is not None:
            self._file = self._path.open("rb")
        assert self._file is not None
        # A pipe can neither be measured nor sent twice.
        if self._file.seekable():
            self._begin = self._file.tell()
            self._size_bytes = self._file.seek(0, os.SEEK_END) - self._begin
            self._file.seek(self._begin)

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._sent, self._size_bytes)


class ChunkSource:
    """Chunks that somebody else makes. They come once."""

    def __init__(self, chunks: AsyncIterator[bytes], *, filename: str | None, progress: Progress | None) -> None:
        if filename is None:
            raise Invalid("chunks have no name of their own: pass filename")
        self.filename = filename
        self._chunks = chunks
        self._progress = progress
        self._sent = 0

    def __aiter__(self) -> ChunkSource:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._chunks)
        self._sent += len(chunk)
        if self._progress is not None:
            self._progress(self._sent, None)
        return chunk

    async def open(self) -> None:
        """Whoever makes them has opened them."""

    async def aclose(self) -> None:
        """Whoever makes them closes them."""


def source_of(
    source: str | PathLike[str] | BinaryIO | AsyncIterator[bytes],
    *,
    filename: str | None,
    progress: Progress | None,
) -> FileSource | ChunkSource:
    if isinstance(source, AsyncIterator):
        return ChunkSource(source, filename=filename, progress=progress)
    return FileSource(source, filename=filename, progress=progress)


def _name_of(source: str | PathLike[str] | BinaryIO) -> str:
    path = source if isinstance(source, str | PathLike) else getattr(source, "name", None)
    # An open file's `name` may be a number: a descriptor has no path.
    name = os.path.basename(path) if isinstance(path, str | PathLike) else ""
    if not name:
        raise Invalid(f"{source!r} has no name of its own: pass filename")
    return name
