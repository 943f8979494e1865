"""The durable store of the embedded default: one SQLite file, one writer thread, group commit.

Every write of every tenant goes through one queue. The writer takes what has gathered there, applies it all in one
transaction with `synchronous=FULL`, and only then answers: while one commit waits for the disk the next batch gathers.
One process owns the file. Reads have connections of their own and see every acknowledged write.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Generic, TypeVar

import apsw
from msgspec.structs import replace

from symphainy.errors import StartupFailed, StoreFailed, SymphainyError
from symphainy.model import Draft
from symphainy.ports import (
    Claim,
    Clock,
    Committed,
    Guard,
    Ids,
    Probe,
)
from symphainy.public_works import ledger
from symphainy.public_works.sqlite_reads import SqliteTenantStore
from symphainy.public_works.sqlite_rows import KINDS, Transaction

T = TypeVar("T")

#: Before this version two connections in WAL mode could corrupt the file (the WAL-reset bug).
SQLITE_MIN = (3, 51, 3)
APPLICATION_ID = 0x53594D50
#: What a single write can do wrong. Every other error of SQLite is about the file.
ONE_WRITES_FAULT = (apsw.ConstraintError, apsw.MismatchError, apsw.RangeError, apsw.TooBigError)
#: Writes that share one commit at the most: bounds how long one of them can wait for the others.
BATCH_MAX = 512
READERS = 2
NOISE_BLOCK = 1 << 14


class _Noise:
    """Random bytes by the block: asking for each event would cost more than hashing it. Writer thread only."""

    def __init__(self, source: Callable[[int], bytes]) -> None:
        self._source = source
        self._block = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        start, self._used = self._used, self._used + count
        if self._used > len(self._block):
            self._block = self._source(max(count, NOISE_BLOCK))
            start, self._used = 0, count
        return self._block[start : self._used]


class _Job(Generic[T]):
    """Something to do in a transaction, and the future that its caller awaits."""

    __slots__ = ("act", "future")

    def __init__(self, act: Callable[[Transaction], T], future: asyncio.Future[T]) -> None:
        self.act = act
        self.future = future


_Outcome = tuple[_Job[Any], Any, BaseException | None]


class SqliteStore:
    """`Store` on the file at `path`."""

    def __init__(self, path: Path, *, clock: Clock, ids: Ids) -> None:
        self._path = path
        self._clock = clock
        self._noise = _Noise(ids.token_bytes)
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._failed: str | None = "it is not open"
        self._served = ""

    # --- life ---

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
        if found < SQLITE_MIN:
            raise StartupFailed(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt its file; "
                f"{'.'.join(map(str, SQLITE_MIN))} is the oldest that cannot",
                service="sqlite",
                remedy="Upgrade apsw: pip install -U apsw",
            )
        connection = await asyncio.to_thread(self._open_file)
        self._transaction = Transaction(connection)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-read")
        self._reader_connections: list[apsw.Connection] = []
        self._per_thread = threading.local()
        self._writer = threading.Thread(target=self._write_loop, name="sqlite-write", daemon=True)
        self._failed = None
        self._writer.start()

    def _open_file(self) -> apsw.Connection:
        with ExitStack() as undo:  # a store that cannot be opened is not held either
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = undo.enter_context(_own(self._path))
                connection = apsw.Connection(str(self._path))
                undo.callback(connection.close)
                connection.set_busy_timeout(2000)
                _prepare(connection, self._path)
            except (OSError, apsw.Error) as error:
                raise StartupFailed(
                    f"the store at {self._path} cannot be opened: {error}",
                    service="sqlite",
                    remedy="Check that the folder can be written and the file is a Symphainy store, "
                    "or name another with --data",
                ) from error
            # Whoever held a lease was a process that owned this file: it is gone, and the fences stay so that it is.
            connection.execute("UPDATE work SET owner = NULL, lease_until_ms = NULL WHERE owner IS NOT NULL")
            connection.execute("DELETE FROM keys WHERE expires_at_ms < ?", (self._clock.now_ms(),))
            undo.pop_all()
        return connection

    async def close(self) -> None:
        if self._failed == "it is not open":
            return
        self._failed = "it is closed"
        self._jobs.put(None)
        await asyncio.to_thread(self._close_file)

    def _close_file(self) -> None:
        self._writer.join()
        self._readers.shutdown(wait=True)
        for connection in self._reader_connections:
            connection.close()
        self._transaction.connection.close()
        self._lock.close()

    # --- writing ---

    def _submit(self, act: Callable[[Transaction], T]) -> asyncio.Future[T]:
        if self._failed is not None:
            raise StoreFailed(f"the store at {self._path.name} takes no writes: {self._failed}")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put(_Job(act, future))
        return future

    def _write_loop(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None:
                return
            batch = [job]
            closing = False
            while len(batch) < BATCH_MAX:
                try:
                    job = self._jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    closing = True
                    break
                batch.append(job)
            outcomes = self._commit(batch)
            self._loop.call_soon_threadsafe(_settle, outcomes)
            if closing:
                return
            self._transaction.trim()

    def _commit(self, batch: list[_Job[Any]]) -> list[_Outcome]:
        """One transaction for the whole batch. Nobody is told of success before the disk has it."""
        if self._failed is not None and self._failed != "it is closed":
            refusal = StoreFailed(f"the store takes no writes: {self._failed}")
            return [(job, None, refusal) for job in batch]
        connection = self._transaction.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [self._applied(job) for job in batch]
            self._transaction.flush()
            connection.execute("COMMIT")
        except Exception as error:
            if isinstance(error, apsw.Error) and (len(batch) == 1 or not isinstance(error, ONE_WRITES_FAULT)):
                return self._rolled_back(batch, error)
            # A broken invariant in one write must not fail its neighbours: each goes again alone.
            self._undo()
            if len(batch) == 1:
                return [(batch[0], None, error)]
            return [outcome for job in batch for outcome in self._commit([job])]
        return outcomes

    def _applied(self, job: _Job[Any]) -> _Outcome:
        try:
            return (job, job.act(self._transaction), None)
        except SymphainyError as refusal:
            return (job, None, refusal)

    def _rolled_back(self, batch: list[_Job[Any]], error: apsw.Error) -> list[_Outcome]:
        if isinstance(error, (apsw.IOError, apsw.CorruptError, apsw.NotADBError)):
            # After a failed sync nobody knows what the disk holds: only opening the file anew can tell.
            self._failed = f"the disk failed ({error}); restart to read back what is safe"
        self._undo()
        failure = StoreFailed(
            "the disk is full; free some space and try again"
            if isinstance(error, apsw.FullError)
            else f"the store could not write: {error}"
        )
        # Space may be made, and whoever else has the file locked lets go of it.
        failure.retryable = isinstance(error, (apsw.FullError, apsw.BusyError, apsw.LockedError))
        return [(job, None, failure) for job in batch]

    def _undo(self) -> None:
        self._transaction.forget()
        if self._transaction.connection.in_transaction:
            self._transaction.connection.execute("ROLLBACK")

    # --- Store ---

    def tenant(self, tenant_id: str) -> SqliteTenantStore:
        return SqliteTenantStore(self, tenant_id)

    async def tenants(self) -> tuple[str, ...]:
        return await self.read(
            lambda c: tuple(str(row[0]) for row in c.execute("SELECT tenant_id FROM heads ORDER BY tenant_id"))
        )

    async def claim(self, owner: str, *, limit: int, lease_s: float, running_max: int) -> tuple[Claim, ...]:
        def take(tx: Transaction) -> tuple[Claim, ...]:
            claims = ledger.claim(
                tx,
                owner,
                limit=limit,
                lease_s=lease_s,
                running_max=running_max,
                now_ms=self._clock.now_ms(),
                random=self._noise,
                first_after=self._served,
            )
            # What is handed out is a copy: the cached rows are the writer's alone.
            copied = KINDS["execution"].copied
            return tuple(replace(each, execution=copied(each.execution)) for each in claims)

        claims = await self._submit(take)
        if claims:
            self._served = claims[-1].execution.tenant_id
        return claims

    async def renew(self, owner: str, execution_ids: Collection[str], *, lease_s: float) -> frozenset[str]:
        return await self._submit(
            lambda tx: ledger.renew(tx, owner, execution_ids, lease_s=lease_s, now_ms=self._clock.now_ms())
        )

    async def release(self, owner: str) -> int:
        return await self._submit(lambda tx: ledger.release(tx, owner))

    async def next_due_ms(self, *, after_ms: int | None = None) -> int | None:
        after = -1 if after_ms is None else after_ms

        def earliest(connection: apsw.Connection) -> int | None:
            row = connection.execute(
                "SELECT min(at) FROM (SELECT min(ready_at_ms) AS at FROM work WHERE owner IS NULL AND ready_at_ms > ? "
                "UNION ALL SELECT min(lease_until_ms) FROM work WHERE owner IS NOT NULL AND lease_until_ms > ?)",
                (after, after),
            ).fetchone()
            return None if row is None or row[0] is None else int(row[0])

        return await self.read(earliest)

    async def write_for(self, tenant_id: str, drafts: Sequence[Draft], guards: Sequence[Guard]) -> Committed:
        return await self._submit(
            lambda tx: ledger.write(
                tx.of(tenant_id),
                tenant_id,
                drafts,
                guards,
                now_ms=self._clock.now_ms(),
                random=self._noise,
            )
        )

    async def erase_for(self, tenant_id: str, positions: Sequence[int]) -> None:
        def erase(tx: Transaction) -> None:
            tx.flush()
            tx.connection.executemany(
                "UPDATE events SET salt = NULL, payload = NULL WHERE tenant_id = ? AND position = ?",
                [(tenant_id, position) for position in positions],
            )

        await self._submit(erase)

    async def probe(self) -> Probe:
        started = self._clock.monotonic()
        now_ms = self._clock.now_ms()

        def touch(tx: Transaction) -> None:
            tx.connection.execute("INSERT OR REPLACE INTO probes (tenant_id, probed_at_ms) VALUES ('', ?)", (now_ms,))

        def look(connection: apsw.Connection) -> int:
            row = connection.execute("SELECT probed_at_ms FROM probes WHERE tenant_id = ''").fetchone()
            return int(row[0]) if row else 0

        try:
            await self._submit(touch)
            seen = await self.read(look)
        except StoreFailed as error:
            return Probe(status="down", detail=str(error))
        latency_ms = (self._clock.monotonic() - started) * 1000
        if seen < now_ms:
            return Probe(status="down", detail="what was written was not read back", latency_ms=latency_ms)
        return Probe(status="ok", detail="wrote a row and read it back", latency_ms=latency_ms)

    # --- reading ---

    async def read(self, query: Callable[[apsw.Connection], T]) -> T:
        """Run `query` on a connection of its own, off the event loop."""
        if self._failed in ("it is not open", "it is closed"):
            raise StoreFailed(f"the store at {self._path.name} cannot be read: {self._failed}")
        return await self._loop.run_in_executor(self._readers, self._query, query)

    def _query(self, query: Callable[[apsw.Connection], T]) -> T:
        connection: apsw.Connection | None = getattr(self._per_thread, "connection", None)
        try:
            if connection is None:
                connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
                connection.set_busy_timeout(2000)
                self._per_thread.connection = connection
                self._reader_connections.append(connection)
            return query(connection)
        except (apsw.Error, UnicodeDecodeError) as error:
            raise StoreFailed(f"the store could not be read: {error}") from error


def _settle(outcomes: list[_Outcome]) -> None:
    for job, value, error in outcomes:
        if job.future.done():
            continue
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)


def _own(path: Path) -> IO[str]:
    """Take the file for this process, until the returned file is closed or the process ends."""
    lock = path.with_name(path.name + ".lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise StartupFailed(
            f"the store at {path} is owned by another process (pid {holder})",
            service="sqlite",
            remedy="Stop that process, reach it over HTTP instead, or name another folder with --data",
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def migrations() -> list[tuple[int, str]]:
    """`(version, SQL)` in order."""
    folder = files("symphainy.public_works") / "schema"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(int(name.split("_")[0]), (folder / name).read_text("utf-8")) for name in names]


def _prepare(connection: apsw.Connection, path: Path) -> None:
    """Set the pragmas, and bring the schema to this version.

    Refuses a store that a newer version wrote, and the database of another program.
    """
    application = int(connection.pragma("application_id"))
    is_new = application == 0 and connection.execute("SELECT 1 FROM sqlite_schema").fetchone() is None
    if application != APPLICATION_ID and not is_new:
        raise StartupFailed(
            f"{path} is the database of another program",
            service="sqlite",
            remedy="Name another folder with --data",
        )
    steps = migrations()
    newest = steps[-1][0]
    version = int(connection.pragma("user_version"))
    if version > newest:
        raise StartupFailed(
            f"the store at {path} has schema {version}; this version knows up to {newest}",
            service="sqlite",
            remedy="Upgrade Symphainy: pip install -U symphainy",
        )
    if version == 0:
        connection.pragma("page_size", 8192)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "FULL")
    connection.pragma("foreign_keys", True)
    connection.pragma("wal_autocheckpoint", 4000)
    connection.pragma("cache_size", -32_768)
    for number, sql in steps:
        if number > version:
            with connection:
                connection.execute(sql)
                connection.pragma("application_id", APPLICATION_ID)
                connection.pragma("user_version", number)
