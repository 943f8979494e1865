"""Content in a local directory, addressed by tenant and SHA-256: `<directory>/<tenant>/<aa>/<sha256>`."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from symphainy.errors import Invalid, NotFound, StartupFailed, StoreFailed, TooLarge
from symphainy.model import tenant_id_problem
from symphainy.ports import Offload, Probe, StoredBlob

T = TypeVar("T")

#: Bytes per hop to a thread. A hop costs some 50 µs, so this many make it cheap; memory stays within a few of them.
HOP_BYTES = 256 << 10
#: No tenant has this name: theirs start with a letter or a digit.
INCOMING = ".incoming"
DURABLE_FOLDERS_MAX = 65_536
_SHA256 = re.compile(r"[0-9a-f]{64}")


class LocalBlobs:
    """`Blobs` in a directory, which several processes may share.

    A blob is written under a temporary name, synced, renamed, and its folder synced, before `put` returns. A whole read
    is checked against the address, and its last bytes are held back until they have passed.
    """

    def __init__(self, directory: Path, *, offload: Offload) -> None:
        self._directory = Path(directory)
        self._offload = offload
        self._durable_folders: set[Path] = set()

    async def open(self) -> None:
        """Sweeps what crashed writers left behind. Raises `StartupFailed` when the directory cannot be used."""
        try:
            await self._offload.thread(self._prepare)
        except OSError as error:
            raise StartupFailed(
                f"The blob directory {self._directory} cannot be used: {error.strerror}",
                service="blobs",
                remedy="Make it writable, or name another data directory with SYMPHAINY_DATA",
            ) from error

    async def close(self) -> None:
        """Nothing is held between calls."""

    async def put(self, tenant_id: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> StoredBlob:
        if problem := tenant_id_problem(tenant_id):
            raise Invalid(problem)
        incoming = _Incoming(self._directory / INCOMING)
        try:
            async with aclosing(_batches(chunks, size_max)) as batches:
                async for batch in batches:
                    await self._disk(incoming.write, batch)
            return await self._disk(self._keep, tenant_id, incoming)
        except BaseException:
            await self._offload.thread(incoming.discard)
            raise

    async def read(
        self, tenant_id: str, sha256: str, *, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Also raises `StoreFailed`, when the bytes on disk are no longer those that were stored."""
        if start < 0 or (stop is not None and stop < start):
            raise Invalid(f"[{start}, {stop}) is no range of bytes")
        path = self._path(tenant_id, sha256)
        if path is None:
            raise NotFound("no such blob")
        outgoing = _Outgoing(path, start, stop)
        try:
            while chunk := await self._disk(outgoing.next):
                yield chunk
        finally:
            await self._offload.thread(outgoing.close)

    async def size(self, tenant_id: str, sha256: str) -> int | None:
        path = self._path(tenant_id, sha256)
        return None if path is None else await self._disk(_size, path)

    async def delete(self, tenant_id: str, sha256: str) -> None:
        """Nothing happens when it is not there."""
        path = self._path(tenant_id, sha256)
        if path is not None:
            await self._disk(_delete, path)

    async def probe(self) -> Probe:
        """Writes a file, syncs it, reads it back and removes it."""
        started = time.perf_counter()
        try:
            await self._offload.thread(_try_out, self._directory / INCOMING)
        except OSError as error:
            return Probe(status="down", detail=f"{self._directory} cannot be used: {error.strerror}")
        latency_ms = (time.perf_counter() - started) * 1000
        return Probe(status="ok", detail=f"wrote and read in {self._directory}", latency_ms=latency_ms)

    def _path(self, tenant_id: str, sha256: str) -> Path | None:
        """None for what can be no address, so that no path is ever made of anything else."""
        if tenant_id_problem(tenant_id) or not _SHA256.fullmatch(sha256):
            return None
        return self._directory / tenant_id / sha256[:2] / sha256

    async def _disk(self, fn: Callable[..., T], *args: Any) -> T:
        try:
            return await self._offload.thread(fn, *args)
        except OSError as error:
            raise StoreFailed(f"the blob store failed: {error.strerror}", errno=error.errno) from error

    # --- in a thread ---

    def _prepare(self) -> None:
        incoming = self._directory / INCOMING
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._directory, self._directory.parent):
            _sync_folder(folder)
        for stale in incoming.iterdir():
            _sweep(stale)

    def _keep(self, tenant_id: str, incoming: _Incoming) -> StoredBlob:
        with incoming.finished() as (temporary, blob):
            path = self._path(tenant_id, blob.sha256)
            assert path is not None
            self._make_durable_folder(path.parent.parent)
            self._make_durable_folder(path.parent)
            # Over an equal blob as well: that costs no more than to look first, and heals one that was damaged.
            os.rename(temporary, path)
            _sync_folder(path.parent)
        return blob

    def _make_durable_folder(self, folder: Path) -> None:
        if folder in self._durable_folders:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)
        if len(self._durable_folders) >= DURABLE_FOLDERS_MAX:
            self._durable_folders.clear()
        self._durable_folders.add(folder)


class _Incoming:
    """A file under a temporary name, made by the first call in a thread.

    Its lock is held whenever its file is used: a cancelled caller leaves a thread behind that still writes, and the
    file must not be closed, and its number given to another, under that thread.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._is_discarded = False
        self._file = -1
        self._path = Path()
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def write(self, batch: list[bytes]) -> None:
        with self._opened() as file:
            for data in batch:
                _write_all(file, data)
                self._digest.update(data)
                self._size_bytes += len(data)

    @contextmanager
    def finished(self) -> Iterator[tuple[Path, StoredBlob]]:
        """The synced file, to be renamed."""
        with self._opened() as file:
            os.fsync(file)
            yield self._path, StoredBlob(sha256=self._digest.hexdigest(), size_bytes=self._size_bytes)
            self._is_discarded = True
            self._close()

    def discard(self) -> None:
        with self._lock:
            if self._file >= 0:
                with suppress(FileNotFoundError):
                    self._path.unlink()
                self._close()
            self._is_discarded = True

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with self._lock:
            if self._is_discarded:
                raise StoreFailed("the blob was given up while it was written")
            if self._file < 0:
                self._file, self._path = _temporary(self._folder)
            yield self._file

    def _close(self) -> None:
        os.close(self._file)
        self._file = -1


class _Outgoing:
    """The bytes `[start, stop)` of a file, hop by hop. Its lock serves as that of `_Incoming`."""

    def __init__(self, path: Path, start: int, stop: int | None) -> None:
        self._path = path
        self._position = start
        self._stop = stop
        self._lock = threading.Lock()
        self._is_closed = False
        self._file = -1
        self._digest: Any = None

    def next(self) -> bytes:
        """Empty at the end."""
        with self._lock:
            if self._is_closed:
                return b""
            if self._file < 0:
                self._open()
            return self._read()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _open(self) -> None:
        try:
            self._file = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise NotFound("no such blob") from None
        size_bytes = os.fstat(self._file).st_size
        if self._position == 0 and (self._stop is None or self._stop >= size_bytes):
            self._digest = hashlib.sha256()
        self._stop = size_bytes if self._stop is None else min(self._stop, size_bytes)

    def _read(self) -> bytes:
        assert self._stop is not None
        chunk = os.pread(self._file, max(0, min(HOP_BYTES, self._stop - self._position)), self._position)
        if not chunk and self._position < self._stop:
            raise StoreFailed(f"blob {self._path.name} is damaged: it became shorter while it was read")
        self._position += len(chunk)
        if self._digest is not None:
            self._digest.update(chunk)
            if self._position >= self._stop and self._digest.hexdigest() != self._path.name:
                raise StoreFailed(f"blob {self._path.name} is damaged: its bytes no longer fit its address")
        return chunk


async def _batches(chunks: AsyncIterator[bytes], size_max: int | None) -> AsyncGenerator[list[bytes], None]:
    """Chunks in lists of at least `HOP_BYTES`, but for the last. Raises `TooLarge` over `size_max` bytes in all."""
    batch: list[bytes] = []
    batch_bytes = total_bytes = 0
    async for chunk in chunks:
        batch.append(chunk)
        batch_bytes += len(chunk)
        total_bytes += len(chunk)
        if size_max is not None and total_bytes > size_max:
            raise TooLarge(f"the content is larger than {size_max} bytes", size_max=size_max)
        if batch_bytes >= HOP_BYTES:
            yield batch
            batch, batch_bytes = [], 0
    yield batch


def _temporary(folder: Path) -> tuple[int, Path]:
    """A new file and its path, locked for as long as it is open: so no sweep takes it for a dead writer's."""
    while True:
        file, name = tempfile.mkstemp(dir=folder)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file, Path(name)
        os.close(file)  # a sweep was quicker than the lock


def _sweep(path: Path) -> None:
    """Remove a temporary file, unless its writer lives."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return
    finally:
        os.close(file)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _delete(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        _sync_folder(path.parent)


def _try_out(folder: Path) -> None:
    written = os.urandom(16)
    file, path = _temporary(folder)
    try:
        _write_all(file, written)
        os.fsync(file)
        if os.pread(file, len(written) + 1, 0) != written:
            raise OSError(errno.EIO, "what was read is not what was written")
    finally:
        path.unlink()
        os.close(file)
