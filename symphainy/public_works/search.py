"""Full text by SQLite FTS5 and vectors beside it: a directory with one file for each tenant."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from symphainy.errors import Invalid, StartupFailed, StoreFailed
from symphainy.model import tenant_id_problem
from symphainy.ports import Hit, Passage, Probe
from symphainy.public_works.cosine import packed
from symphainy.public_works.search_file import APPLICATION_ID, DAMAGE, VERSION, Closed, TenantIndex, VectorCache

T = TypeVar("T")

READERS = 2
TENANTS_OPEN_MAX = 32
VECTOR_BYTES_MAX = 64 << 20
#: The index the probe uses; no tenant has this name.
PROBE = ".probe"


class SqliteSearch:
    """`Search` in a directory, with one thread that writes and two that read.

    A file for each tenant: no query can reach into another's, and no score depends on what others have. A file that is
    damaged or of another version is set aside as `<tenant>.db.damaged`, and the tenant, whose index is now empty,
    stands in `rebuilt` until `reindexed` is called.
    """

    def __init__(
        self,
        directory: Path,
        *,
        tenants_open_max: int = TENANTS_OPEN_MAX,
        vector_bytes_max: int = VECTOR_BYTES_MAX,
    ) -> None:
        self._directory = Path(directory)
        self._tenants_open_max = tenants_open_max
        self._vectors = VectorCache(vector_bytes_max)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="search-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="search-reader")
        self._lock = threading.Lock()
        self._open: OrderedDict[str, TenantIndex] = OrderedDict()
        self._rebuilt: set[str] = set()

    @property
    def rebuilt(self) -> frozenset[str]:
        """Tenants whose index was lost and is to be filled again from their artifacts."""
        return frozenset(self._rebuilt)

    def reindexed(self, tenant_id: str) -> None:
        """The tenant's index is complete again."""
        self._rebuilt.discard(tenant_id)

    async def open(self) -> None:
        """Looks at the head of every file. Raises `StartupFailed` when the directory cannot be used."""
        try:
            await self._in(self._writer, self._prepare)
        except (OSError, StoreFailed) as error:
            raise StartupFailed(
                f"The search directory {self._directory} cannot be used: {error}",
                service="search",
                remedy="Make it writable, or name another data directory with SYMPHAINY_DATA",
            ) from error

    async def close(self) -> None:
        for executor in (self._writer, self._readers):
            await asyncio.to_thread(executor.shutdown)
        for index in self._open.values():
            await asyncio.to_thread(index.close)
        self._open.clear()

    async def index(self, tenant_id: str, artifact_id: str, passages: Sequence[Passage]) -> None:
        """Vectors of passages that stay as they are stay too."""
        await self._write(tenant_id, lambda index: index.index(artifact_id, passages))

    async def index_vectors(
        self, tenant_id: str, artifact_id: str, model: str, vectors: Mapping[str, Sequence[float]]
    ) -> None:
        """Raises `NotFound` for a passage that is not indexed, `Invalid` for a vector not of unit length or not of the
        length of the model's others.
        """

        def write(index: TenantIndex) -> None:
            index.index_vectors(artifact_id, model, {key: packed(each) for key, each in vectors.items()})

        await self._write(tenant_id, write)

    async def remove(self, tenant_id: str, artifact_id: str) -> None:
        await self._in(self._writer, self._use_existing, tenant_id, lambda index: index.remove(artifact_id), None)

    async def indexed(self, tenant_id: str) -> frozenset[str]:
        return await self._read(tenant_id, TenantIndex.indexed, frozenset())

    async def match(
        self, tenant_id: str, query: str, *, artifact_ids: Sequence[str] | None = None, limit: int
    ) -> tuple[Hit, ...]:
        """Passages with any of the words of `query`, of which the first 256 count. Equal scores by passage id."""
        nothing: tuple[Hit, ...] = ()
        if limit < 1:
            return nothing
        return await self._read(tenant_id, lambda index: index.match(query, artifact_ids, limit), nothing)

    async def nearest(
        self,
        tenant_id: str,
        model: str,
        vector: Sequence[float],
        *,
        artifact_ids: Sequence[str] | None = None,
        limit: int,
    ) -> tuple[Hit, ...]:
        """Equal scores by passage id. Raises `Invalid` for a vector not of unit length or not of the model's length."""
        row = packed(vector)
        nothing: tuple[Hit, ...] = ()
        if limit < 1:
            return nothing
        return await self._read(tenant_id, lambda index: index.nearest(model, row, artifact_ids, limit), nothing)

    async def probe(self) -> Probe:
        """Indexes a word and finds it. `degraded` while an index that was lost is not filled again."""
        started = time.perf_counter()
        try:
            await self._in(self._writer, self._try_out)
        except StoreFailed as error:
            return Probe(status="down", detail=f"the index in {self._directory}: {error}")
        latency_ms = (time.perf_counter() - started) * 1000
        if self._rebuilt:
            detail = f"the index was lost, and is not filled again, for {', '.join(sorted(self._rebuilt))}"
            return Probe(status="degraded", detail=detail, latency_ms=latency_ms)
        return Probe(status="ok", detail=f"indexed and found a word in {self._directory}", latency_ms=latency_ms)

    # --- to a thread ---

    async def _in(self, executor: Executor, fn: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, partial(fn, *args))

    async def _write(self, tenant_id: str, fn: Callable[[TenantIndex], None]) -> None:
        if problem := tenant_id_problem(tenant_id):
            raise Invalid(problem)
        await self._in(self._writer, self._use, tenant_id, fn)

    async def _read(self, tenant_id: str, fn: Callable[[TenantIndex], T], nothing: T) -> T:
        return await self._in(self._readers, self._use_existing, tenant_id, fn, nothing)

    # --- in a thread ---

    def _use_existing(self, tenant_id: str, fn: Callable[[TenantIndex], T], nothing: T) -> T:
        """`nothing` for a tenant that has no index, so that asking makes none."""
        if tenant_id_problem(tenant_id) or not self._path(tenant_id).exists():
            return nothing
        return self._use(tenant_id, fn)

    def _use(self, name: str, fn: Callable[[TenantIndex], T]) -> T:
        while True:
            try:
                index = self._acquire(name)
                try:
                    return fn(index)
                except DAMAGE:
                    self._set_aside(name, index)
            except Closed:
                continue
            except UnicodeEncodeError as error:
                raise Invalid(f"no text: {error}") from None
            except (apsw.Error, OSError) as error:
                raise StoreFailed(f"the search index failed: {error}") from error

    def _acquire(self, name: str) -> TenantIndex:
        with self._lock:
            index = self._open.get(name)
            if index is None:
                index = self._open[name] = self._opened(name)
            self._open.move_to_end(name)
            surplus = [self._open.pop(next(iter(self._open)))] if len(self._open) > self._tenants_open_max else []
        for idle in surplus:  # outside of the lock: it waits for whoever uses it
            idle.close()
        return index

    def _opened(self, name: str) -> TenantIndex:
        path = self._path(name)
        try:
            return TenantIndex(path, self._vectors)
        except DAMAGE:
            self._rename(name)
            return TenantIndex(path, self._vectors)

    def _set_aside(self, name: str, index: TenantIndex) -> None:
        with self._lock:
            if self._open.get(name) is not index:  # another thread has seen it first
                return
            del self._open[name]
            index.close()
            self._rename(name)

    def _rename(self, name: str) -> None:
        path = self._path(name)
        path.replace(path.with_name(f"{path.name}.damaged"))
        for rest in ("-wal", "-shm"):
            path.with_name(path.name + rest).unlink(missing_ok=True)
        if name != PROBE:
            self._rebuilt.add(name)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.db"

    def _prepare(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._directory.glob("*.db"):
            if not tenant_id_problem(path.stem) and _is_unfit(path):
                self._rename(path.stem)
        self._try_out()

    def _try_out(self) -> None:
        word = f"word{secrets.token_hex(8)}"

        def round_trip(index: TenantIndex) -> int:
            index.index("probe", [Passage(passage_id="probe", text=word, position={})])
            return len(index.match(word, None, 1))

        if self._use(PROBE, round_trip) != 1:
            raise StoreFailed("the word that was just indexed is not found")


def _is_unfit(path: Path) -> bool:
    """By the head of the file. Not if that may still lie in the write-ahead file: then opening it will tell."""
    with open(path, "rb") as file:
        head = file.read(100)
    if not head or path.with_name(f"{path.name}-wal").exists():
        return False
    version, application = (int.from_bytes(head[at : at + 4], "big") for at in (60, 68))
    return not head.startswith(b"SQLite format 3\0") or (application, version) != (APPLICATION_ID, VERSION)
