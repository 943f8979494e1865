"""Files of this machine, where the settings allow it."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from symphainy.errors import Denied, NotFound, StoreFailed
from symphainy.ports import LocalFile, Offload

HOP_BYTES = 256 << 10


class AllowedFolders:
    """`LocalFiles` under `roots`, without what lies under `hidden` (the platform's own data, with its keys)."""

    def __init__(self, roots: Sequence[str | Path], *, hidden: Sequence[Path] = (), offload: Offload) -> None:
        self._roots = tuple(Path(root).resolve() for root in roots)
        self._hidden = tuple(folder.resolve() for folder in hidden)
        self._offload = offload

    async def open(self, path: str) -> LocalFile:
        file, name, size = await self._offload.thread(self._open, path)
        return LocalFile(name=name, size_bytes=size, chunks=self._read(file))

    def _open(self, path: str) -> tuple[FileIO, str, int]:
        try:
            wanted = Path(path).resolve()
        except (OSError, RuntimeError, ValueError):  # a loop of links, or what can be no path
            raise NotFound(f"no file {path!r}") from None
        self._require_allowed(wanted, path)
        try:
            # Without waiting: a pipe that nobody writes to would never open.
            file = FileIO(wanted, opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK))
        except OSError as error:
            raise NotFound(f"no file {path!r} that can be read: {error.strerror}") from None
        with ExitStack() as undo:
            undo.callback(file.close)
            found = os.fstat(file.fileno())
            # A folder on the way may have become a link between the look and the opening.
            if not stat.S_ISREG(found.st_mode) or Path(path).resolve() != wanted:
                raise NotFound(f"{path!r} is no ordinary file")
            undo.pop_all()
        return file, wanted.name, found.st_size

    def _require_allowed(self, wanted: Path, path: str) -> None:
        if any(wanted.is_relative_to(folder) for folder in self._hidden):
            raise Denied(f"{path!r} belongs to the platform itself")
        if not any(wanted.is_relative_to(root) for root in self._roots):
            allowed = ", ".join(map(str, self._roots)) or "none"
            raise Denied(f"{path!r} is not under an allowed folder (allowed_file_roots: {allowed})")

    async def _read(self, file: FileIO) -> AsyncIterator[bytes]:
        with file:
            while chunk := await self._offload.thread(_chunk, file):
                yield chunk


def _chunk(file: FileIO) -> bytes:
    try:
        return file.read(HOP_BYTES) or b""
    except OSError as error:
        raise StoreFailed(f"the file could not be read to its end: {error.strerror}") from None
