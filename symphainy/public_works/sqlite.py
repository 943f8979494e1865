"""The durable store of the embedded default: one SQLite file, one writer thread, group commit.

Every write of every tenant goes through one queue. The writer takes what has gathered there, applies it all in one
transaction with `synchronous=FULL`, and only then answers: while one commit waits for the disk the next batch gathers.
One process owns the file. Reads have connections of their own and see every acknowledged write.
"""

# ruff: noqa: S608 - names in the SQL come from constants of this module; values are always bound.
from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, Generic, TypeVar

import apsw
import msgspec
from msgspec.structs import replace

from symphainy.errors import StartupFailed, StoreFailed, SymphainyError
from symphainy.model import Artifact, Draft, Event, Execution, Page, PendingIntent, Saga, Session
from symphainy.model.seal import GENESIS, unseal
from symphainy.ports import (
    ArtifactFilter,
    Claim,
    Clock,
    Committed,
    EventFilter,
    ExecutionFilter,
    Guard,
    Ids,
    PendingFilter,
    Probe,
    Record,
)
from symphainy.public_works import ledger
from symphainy.public_works.ledger import Key, Sealed, Work

T = TypeVar("T")

#: Before this version two connections in WAL mode could corrupt the file (the WAL-reset bug).
SQLITE_MIN = (3, 51, 3)
APPLICATION_ID = 0x53594D50
#: What a single write can do wrong. Every other error of SQLite is about the file.
ONE_WRITES_FAULT = (apsw.ConstraintError, apsw.MismatchError, apsw.RangeError, apsw.TooBigError)
#: Writes that share one commit at the most: bounds how long one of them can wait for the others.
BATCH_MAX = 512
#: Rows the writer remembers between batches; above it starts afresh.
CACHE_MAX = 20_000
READERS = 2
NOISE_BLOCK = 1 << 14

_encode = msgspec.json.Encoder().encode


#: Columns that an event after the first may change.
CHANGING = frozenset({"doc", "status", "lifecycle_state"})


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    """How one kind of value is kept: `columns` beside the document are what its table is searched by."""

    table: str
    id_column: str
    columns: tuple[str, ...]
    decode: Callable[[bytes], Any]

    @property
    def select(self) -> str:
        return f"SELECT doc FROM {self.table} WHERE tenant_id = ? AND {self.id_column} = ?"

    @property
    def upsert(self) -> str:
        names = ("tenant_id", self.id_column, *self.columns, "doc")
        marks = ", ".join("?" * len(names))
        # Only what can change is named: an index on the rest is then not touched by an update.
        updates = ", ".join(f"{name} = excluded.{name}" for name in (*self.columns, "doc") if name in CHANGING)
        return (
            f"INSERT INTO {self.table} ({', '.join(names)}) VALUES ({marks}) "
            f"ON CONFLICT (tenant_id, {self.id_column}) DO UPDATE SET {updates}"
        )

    def row(self, tenant_id: str, value: Any) -> tuple[Any, ...]:
        own = (getattr(value, column) for column in self.columns)
        return (tenant_id, getattr(value, self.id_column), *own, _encode(value))


def _kind(table: str, id_column: str, kind: Any, *columns: str) -> _Kind:
    return _Kind(table=table, id_column=id_column, columns=columns, decode=msgspec.json.Decoder(kind).decode)


KINDS = {
    "session": _kind("sessions", "session_id", Session),
    "execution": _kind("executions", "execution_id", Execution, "ordinal", "session_id", "intent_type", "status"),
    "artifact": _kind(
        "artifacts", "artifact_id", Artifact, "ordinal", "artifact_type", "lifecycle_state", "session_id"
    ),
    "pending": _kind(
        "pendings",
        "pending_id",
        PendingIntent,
        "ordinal",
        "session_id",
        "intent_type",
        "target_artifact_id",
        "status",
    ),
    "saga": _kind("sagas", "saga_id", Saga),
}
_SELECT = {name: kind.select for name, kind in KINDS.items()}
_UPSERT = {name: kind.upsert for name, kind in KINDS.items()}

_SHOWN = ("tenant_id", "event_type", "session_id", "execution_id")
_SEALED = ("header", "salt", "payload", "commitment", "chain")
_WORK_COLUMNS = "tenant_id, execution_id, priority, ready_at_ms, ordinal, concurrency_key, owner, fence, lease_until_ms"
_INSERT_EVENT = (
    "INSERT INTO events (tenant_id, position, seq, event_type, session_id, execution_id, header, salt, payload, "
    "commitment, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPSERT_HEAD = (
    "INSERT INTO heads (tenant_id, position, chain) VALUES (?, ?, ?) "
    "ON CONFLICT (tenant_id) DO UPDATE SET position = excluded.position, chain = excluded.chain"
)
_UPSERT_WORK = (
    f"INSERT INTO work ({_WORK_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (tenant_id, execution_id) DO UPDATE SET ready_at_ms = excluded.ready_at_ms, "
    "owner = excluded.owner, fence = excluded.fence, lease_until_ms = excluded.lease_until_ms"
)
_UPSERT_KEY = (
    "INSERT OR REPLACE INTO keys (tenant_id, user_id, key, fingerprint, execution_id, expires_at_ms) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
# For `verify`, of a file that may have been tampered with: text comes as bytes, since it may not be text any more, and
# what is of another type than it was written in comes as the name of that type.
_RECORD = ", ".join(
    [f"iif(typeof(position) IN ('integer', 'real'), position, {(1 << 63) - 1})"]
    + ["iif(typeof(seq) IN ('integer', 'null'), seq, typeof(seq))"]
    + [f"iif(typeof({name}) IN ('text', 'null'), CAST({name} AS BLOB), typeof({name}))" for name in _SHOWN]
    + [f"iif(typeof({name}) IN ('blob', 'null'), {name}, typeof({name}))" for name in _SEALED]
)
# A loose index scan: one seek for each waiting tenant, however much work each of them has.
_WAITING_TENANTS = """
WITH RECURSIVE waiting (tenant_id) AS (
    SELECT min(tenant_id) FROM work WHERE owner IS NULL
    UNION ALL
    SELECT (SELECT min(tenant_id) FROM work WHERE owner IS NULL AND tenant_id > waiting.tenant_id)
    FROM waiting WHERE waiting.tenant_id IS NOT NULL
)
SELECT tenant_id FROM waiting WHERE tenant_id IS NOT NULL
"""


def _text(found: bytes | str | None) -> str | None:
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found


def _work(row: Sequence[Any]) -> Work:
    return Work(
        tenant_id=row[0],
        execution_id=row[1],
        priority=row[2],
        ready_at_ms=row[3],
        ordinal=row[4],
        concurrency_key=row[5],
        owner=row[6],
        fence=row[7],
        lease_until_ms=row[8],
    )


class _Transaction:
    """`LedgerRows` on the writer's connection: reads through a cache, gathers what changed, writes it in `flush`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.forget()

    def forget(self) -> None:
        """Drop everything remembered: after a rollback none of it can be trusted."""
        self.tenants: dict[str, _TenantTransaction] = {}
        self.docs: dict[tuple[str, str, str], Any] = {}
        self.works: dict[tuple[str, str], Work | None] = {}
        self.dirty_docs: dict[str, dict[tuple[str, str], Any]] = {name: {} for name in KINDS}
        self.dirty_works: dict[tuple[str, str], Work | None] = {}
        self.dirty_keys: dict[tuple[str, str, str], Key] = {}
        self.dirty_heads: dict[str, tuple[int, bytes]] = {}
        self.events: list[tuple[Any, ...]] = []
        self.settled: list[tuple[str, str]] = []

    def of(self, tenant_id: str) -> _TenantTransaction:
        rows = self.tenants.get(tenant_id)
        if rows is None:
            rows = self.tenants[tenant_id] = _TenantTransaction(self, tenant_id)
        return rows

    def flush(self) -> None:
        """Write what has gathered since the last flush."""
        many = self.connection.executemany
        if self.events:
            many(_INSERT_EVENT, self.events)
            self.events = []
        if self.dirty_heads:
            many(_UPSERT_HEAD, [(t, position, chain) for t, (position, chain) in self.dirty_heads.items()])
            self.dirty_heads = {}
        for name, dirty in self.dirty_docs.items():
            if dirty:
                kind = KINDS[name]
                many(_UPSERT[name], [kind.row(tenant_id, value) for (tenant_id, _), value in dirty.items()])
                if name == "artifact":
                    self._flush_parents(dirty)
                self.dirty_docs[name] = {}
        if self.dirty_keys:
            many(
                _UPSERT_KEY,
                [
                    (t, user, key, value.fingerprint, value.execution_id, value.expires_at_ms)
                    for (t, user, key), value in self.dirty_keys.items()
                ],
            )
            self.dirty_keys = {}
        if self.dirty_works:
            self._flush_works()
        for tenant_id, execution_id in self.settled:
            self.of(tenant_id).drop(execution_id)
        self.settled = []

    def _flush_parents(self, dirty: dict[tuple[str, str], Artifact]) -> None:
        self.connection.executemany(
            "INSERT OR IGNORE INTO artifact_parents (tenant_id, parent_id, ordinal, child_id) VALUES (?, ?, ?, ?)",
            [
                (tenant_id, parent, artifact.ordinal, artifact_id)
                for (tenant_id, artifact_id), artifact in dirty.items()
                for parent in artifact.parent_artifacts
            ],
        )

    def _flush_works(self) -> None:
        kept = [msgspec.structs.astuple(work) for work in self.dirty_works.values() if work is not None]
        gone = [key for key, work in self.dirty_works.items() if work is None]
        if kept:
            self.connection.executemany(_UPSERT_WORK, kept)
        if gone:
            self.connection.executemany("DELETE FROM work WHERE tenant_id = ? AND execution_id = ?", gone)
        self.dirty_works = {}

    def trim(self) -> None:
        """Between batches: keep the memory bounded."""
        if len(self.docs) > CACHE_MAX or len(self.works) > CACHE_MAX or len(self.tenants) > CACHE_MAX:
            self.forget()

    # --- LedgerRows ---

    def _works(self, where: str, *bindings: Any) -> list[Work]:
        self.flush()
        found = self.connection.execute(f"SELECT {_WORK_COLUMNS} FROM work WHERE {where}", bindings)
        return [_work(row) for row in found]

    def waiting_tenants(self, now_ms: int) -> Iterable[str]:
        self.flush()
        return [str(row[0]) for row in self.connection.execute(_WAITING_TENANTS)]

    def due(self, tenant_id: str, now_ms: int, limit: int) -> Sequence[Work]:
        found = self._works(
            "tenant_id = ? AND owner IS NULL AND ready_at_ms <= ? AND (concurrency_key IS NULL OR NOT EXISTS "
            "(SELECT 1 FROM work held WHERE held.tenant_id = work.tenant_id "
            "AND held.concurrency_key = work.concurrency_key AND held.owner IS NOT NULL)) "
            "ORDER BY priority DESC, ready_at_ms, ordinal LIMIT ?",
            tenant_id,
            now_ms,
            limit,
        )
        first = {work.concurrency_key: work for work in reversed(found)}
        return [work for work in found if work.concurrency_key is None or first[work.concurrency_key] is work]

    def held(self, now_ms: int) -> dict[str, int]:
        self.flush()
        found = self.connection.execute(
            "SELECT tenant_id, count(*) FROM work WHERE owner IS NOT NULL AND lease_until_ms > ? GROUP BY tenant_id",
            (now_ms,),
        )
        return {str(tenant_id): int(count) for tenant_id, count in found}

    def lapsed(self, now_ms: int) -> Sequence[Work]:
        return self._works("owner IS NOT NULL AND lease_until_ms <= ?", now_ms)

    def held_by(self, owner: str) -> Sequence[Work]:
        return self._works("owner IS NOT NULL AND owner = ?", owner)


class _TenantTransaction:
    """`TenantRows` of one tenant."""

    def __init__(self, transaction: _Transaction, tenant_id: str) -> None:
        self._tx = transaction
        self._tenant_id = tenant_id
        self._head: tuple[int, bytes] | None = None
        self._seqs: dict[str, int] = {}

    def _get(self, kind: str, id_: str) -> Any:
        key = (kind, self._tenant_id, id_)
        value = self._tx.docs.get(key)
        if value is None:
            row = self._tx.connection.execute(_SELECT[kind], (self._tenant_id, id_)).fetchone()
            if row is not None:
                value = self._tx.docs[key] = KINDS[kind].decode(row[0])
        return value

    def _put(self, kind: str, id_: str, value: Any) -> None:
        self._tx.docs[kind, self._tenant_id, id_] = value
        self._tx.dirty_docs[kind][self._tenant_id, id_] = value

    def session(self, session_id: str) -> Session | None:
        found: Session | None = self._get("session", session_id)
        return found

    def put_session(self, session: Session) -> None:
        self._put("session", session.session_id, session)

    def execution(self, execution_id: str) -> Execution | None:
        found: Execution | None = self._get("execution", execution_id)
        return found

    def put_execution(self, execution: Execution) -> None:
        self._put("execution", execution.execution_id, execution)

    def artifact(self, artifact_id: str) -> Artifact | None:
        found: Artifact | None = self._get("artifact", artifact_id)
        return found

    def put_artifact(self, artifact: Artifact) -> None:
        self._put("artifact", artifact.artifact_id, artifact)

    def pending(self, pending_id: str) -> PendingIntent | None:
        found: PendingIntent | None = self._get("pending", pending_id)
        return found

    def put_pending(self, pending: PendingIntent) -> None:
        self._put("pending", pending.pending_id, pending)

    def saga(self, saga_id: str) -> Saga | None:
        found: Saga | None = self._get("saga", saga_id)
        return found

    def put_saga(self, saga: Saga) -> None:
        self._put("saga", saga.saga_id, saga)

    def head(self) -> tuple[int, bytes]:
        if self._head is None:
            row = self._tx.connection.execute(
                "SELECT position, chain FROM heads WHERE tenant_id = ?", (self._tenant_id,)
            ).fetchone()
            self._head = (0, GENESIS) if row is None else (int(row[0]), bytes(row[1]))
        return self._head

    def last_seq(self, execution_id: str) -> int:
        seq = self._seqs.get(execution_id)
        if seq is None:
            row = self._tx.connection.execute(
                "SELECT max(seq) FROM events WHERE tenant_id = ? AND execution_id = ?",
                (self._tenant_id, execution_id),
            ).fetchone()
            seq = self._seqs[execution_id] = int(row[0] or 0) if row else 0
        return seq

    def append(self, sealed: Sealed) -> None:
        event = sealed.event
        self._head = (event.position, sealed.chain)
        self._tx.dirty_heads[self._tenant_id] = self._head
        if event.execution_id is not None and event.seq is not None:
            self._seqs[event.execution_id] = event.seq
        self._tx.events.append(
            (
                event.tenant_id,
                event.position,
                event.seq,
                event.event_type,
                event.session_id,
                event.execution_id,
                sealed.header,
                sealed.salt,
                sealed.payload,
                sealed.commitment,
                sealed.chain,
            )
        )

    def key(self, user_id: str, key: str) -> Key | None:
        dirty = self._tx.dirty_keys.get((self._tenant_id, user_id, key))
        if dirty is not None:
            return dirty
        row = self._tx.connection.execute(
            "SELECT fingerprint, execution_id, expires_at_ms FROM keys WHERE tenant_id = ? AND user_id = ? AND key = ?",
            (self._tenant_id, user_id, key),
        ).fetchone()
        return None if row is None else Key(fingerprint=row[0], execution_id=row[1], expires_at_ms=row[2])

    def remember_key(self, *, user_id: str, key: str, fingerprint: str, execution_id: str, expires_at_ms: int) -> None:
        self._tx.dirty_keys[self._tenant_id, user_id, key] = Key(
            fingerprint=fingerprint, execution_id=execution_id, expires_at_ms=expires_at_ms
        )

    def work(self, execution_id: str) -> Work | None:
        key = (self._tenant_id, execution_id)
        if key not in self._tx.works:
            row = self._tx.connection.execute(
                f"SELECT {_WORK_COLUMNS} FROM work WHERE tenant_id = ? AND execution_id = ?",
                key,
            ).fetchone()
            self._tx.works[key] = None if row is None else _work(row)
        return self._tx.works[key]

    def put_work(self, work: Work) -> None:
        key = (self._tenant_id, work.execution_id)
        self._tx.works[key] = self._tx.dirty_works[key] = work

    def enqueue(
        self, execution_id: str, *, ready_at_ms: int, priority: int, ordinal: int, concurrency_key: str | None
    ) -> None:
        self.put_work(
            Work(
                tenant_id=self._tenant_id,
                execution_id=execution_id,
                priority=priority,
                ready_at_ms=ready_at_ms,
                ordinal=ordinal,
                concurrency_key=concurrency_key,
            )
        )

    def park(self, execution_id: str, *, ready_at_ms: int) -> None:
        work = self.work(execution_id)
        assert work is not None, f"execution {execution_id} waits but has no work row"
        self.put_work(replace(work, ready_at_ms=ready_at_ms, owner=None, lease_until_ms=None))

    def settle(self, execution_id: str) -> None:
        key = (self._tenant_id, execution_id)
        self._tx.works[key] = self._tx.dirty_works[key] = None
        self._tx.settled.append(key)

    def drop(self, execution_id: str) -> None:
        """Forget a finished execution once it is flushed, so that only open ones take memory."""
        self._seqs.pop(execution_id, None)
        self._tx.works.pop((self._tenant_id, execution_id), None)
        self._tx.docs.pop(("execution", self._tenant_id, execution_id), None)


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

    def __init__(self, act: Callable[[_Transaction], T], future: asyncio.Future[T]) -> None:
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
        self._transaction = _Transaction(connection)
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

    def _submit(self, act: Callable[[_Transaction], T]) -> asyncio.Future[T]:
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
        failure.retryable = isinstance(error, apsw.FullError)
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
        def take(tx: _Transaction) -> tuple[Claim, ...]:
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
            decode = KINDS["execution"].decode
            return tuple(replace(each, execution=decode(_encode(each.execution))) for each in claims)

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
        def erase(tx: _Transaction) -> None:
            tx.flush()
            tx.connection.executemany(
                "UPDATE events SET salt = NULL, payload = NULL WHERE tenant_id = ? AND position = ?",
                [(tenant_id, position) for position in positions],
            )

        await self._submit(erase)

    async def probe(self) -> Probe:
        started = self._clock.monotonic()
        now_ms = self._clock.now_ms()

        def touch(tx: _Transaction) -> None:
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


class SqliteTenantStore:
    """`TenantStore` of one tenant."""

    def __init__(self, store: SqliteStore, tenant_id: str) -> None:
        self._store = store
        self._tenant_id = tenant_id

    @property
    def tenant_id(self) -> str:
        return self._tenant_id

    async def write(self, drafts: Sequence[Draft], *, guards: Sequence[Guard] = ()) -> Committed:
        return await self._store.write_for(self._tenant_id, drafts, guards)

    async def erase(self, positions: Sequence[int]) -> None:
        await self._store.erase_for(self._tenant_id, positions)

    async def session(self, session_id: str) -> Session | None:
        found: Session | None = await self._one("session", session_id)
        return found

    async def execution(self, execution_id: str) -> Execution | None:
        found: Execution | None = await self._one("execution", execution_id)
        return found

    async def execution_at(self, execution_id: str) -> tuple[Execution, int] | None:
        def look(connection: apsw.Connection) -> tuple[Execution, int] | None:
            row = connection.execute(
                "SELECT x.doc, (SELECT max(seq) FROM events e WHERE e.tenant_id = x.tenant_id "
                "AND e.execution_id = x.execution_id) FROM executions x WHERE x.tenant_id = ? AND x.execution_id = ?",
                (self._tenant_id, execution_id),
            ).fetchone()
            return None if row is None else (KINDS["execution"].decode(row[0]), int(row[1]))

        return await self._store.read(look)

    async def artifact(self, artifact_id: str) -> Artifact | None:
        found: Artifact | None = await self._one("artifact", artifact_id)
        return found

    async def saga(self, saga_id: str) -> Saga | None:
        found: Saga | None = await self._one("saga", saga_id)
        return found

    async def executions(self, where: ExecutionFilter, *, limit: int, before: int | None = None) -> Page[Execution]:
        terms = {"session_id": where.session_id, "intent_type": where.intent_type, "status": where.status}
        clauses = [(f"{column} = ?", (value,)) for column, value in terms.items() if value is not None]
        page: Page[Execution] = await self._page("execution", clauses, limit, before)
        return page

    async def artifacts(self, where: ArtifactFilter, *, limit: int, before: int | None = None) -> Page[Artifact]:
        clauses: list[tuple[str, tuple[Any, ...]]] = []
        if where.artifact_types:
            clauses.append((_any_of("artifact_type", where.artifact_types), where.artifact_types))
        if where.lifecycle_states:
            clauses.append((_any_of("lifecycle_state", where.lifecycle_states), where.lifecycle_states))
        if where.session_id is not None:
            clauses.append(("session_id = ?", (where.session_id,)))
        if where.parent_artifact_id is not None:
            clauses.append(
                (
                    "artifact_id IN (SELECT child_id FROM artifact_parents WHERE tenant_id = ? AND parent_id = ?)",
                    (self._tenant_id, where.parent_artifact_id),
                )
            )
        page: Page[Artifact] = await self._page("artifact", clauses, limit, before)
        return page

    async def children(self, artifact_id: str) -> tuple[Artifact, ...]:
        decode = KINDS["artifact"].decode
        return await self._store.read(
            lambda c: tuple(
                decode(row[0])
                for row in c.execute(
                    "SELECT a.doc FROM artifact_parents p JOIN artifacts a "
                    "ON a.tenant_id = p.tenant_id AND a.artifact_id = p.child_id "
                    "WHERE p.tenant_id = ? AND p.parent_id = ? ORDER BY p.ordinal",
                    (self._tenant_id, artifact_id),
                )
            )
        )

    async def pending(self, where: PendingFilter, *, limit: int) -> tuple[PendingIntent, ...]:
        terms = {
            "session_id": where.session_id,
            "intent_type": where.intent_type,
            "target_artifact_id": where.target_artifact_id,
            "status": where.status,
        }
        clauses = [(f"{column} = ?", (value,)) for column, value in terms.items() if value is not None]
        page: Page[PendingIntent] = await self._page("pending", clauses, limit, None)
        return page.items

    async def events(self, where: EventFilter, *, after: int = 0, limit: int) -> tuple[Event, ...]:
        sql, bindings = self._events_query(where, after)
        return await self._unsealed(sql + " ORDER BY position LIMIT ?", (*bindings, limit))

    def _events_query(self, where: EventFilter, after: int) -> tuple[str, tuple[Any, ...]]:
        columns = "position, header, payload"
        of_type, type_bindings = (
            ("", ()) if where.event_type is None else (" AND e.event_type = ?", (where.event_type,))
        )
        if where.execution_id is not None:
            in_session, session_bindings = (
                ("", ()) if where.session_id is None else (" AND e.session_id = ?", (where.session_id,))
            )
            return (
                f"SELECT {columns} FROM events e WHERE e.tenant_id = ? AND e.execution_id = ? AND e.position > ?"
                f"{of_type}{in_session}",
                (self._tenant_id, where.execution_id, after, *type_bindings, *session_bindings),
            )
        if where.session_id is not None:
            # What happened to the session itself, and what happened in its executions: two index ranges.
            own = (
                f"SELECT {columns} FROM events e WHERE e.tenant_id = ? AND e.session_id = ? AND e.execution_id IS NULL "
                f"AND e.position > ?{of_type}"
            )
            inside = (
                f"SELECT {columns} FROM executions x JOIN events e "
                "ON e.tenant_id = x.tenant_id AND e.execution_id = x.execution_id "
                f"WHERE x.tenant_id = ? AND x.session_id = ? AND e.position > ?{of_type}"
            )
            bindings = (self._tenant_id, where.session_id, after, *type_bindings)
            return f"{own} UNION ALL {inside}", bindings + bindings
        return (
            f"SELECT {columns} FROM events e WHERE e.tenant_id = ? AND e.position > ?{of_type}",
            (self._tenant_id, after, *type_bindings),
        )

    async def execution_events(self, execution_id: str, *, after: int = 0, limit: int) -> tuple[Event, ...]:
        return await self._unsealed(
            "SELECT position, header, payload FROM events WHERE tenant_id = ? AND execution_id = ? AND seq > ? "
            "ORDER BY seq LIMIT ?",
            (self._tenant_id, execution_id, after, limit),
        )

    async def head(self) -> tuple[int, bytes]:
        def newest(connection: apsw.Connection) -> tuple[int, bytes]:
            row = connection.execute(
                "SELECT position, chain FROM heads WHERE tenant_id = ?", (self._tenant_id,)
            ).fetchone()
            if row is None:
                return (0, GENESIS)
            # In a file that was tampered with it may be anything: then it is no head.
            return (int(row[0]), row[1] if isinstance(row[1], bytes) else b"")

        return await self._store.read(newest)

    async def records(self, *, after: int = 0, limit: int) -> tuple[Record, ...]:
        def rows(connection: apsw.Connection) -> tuple[Record, ...]:
            found = connection.execute(
                f"SELECT {_RECORD} FROM events WHERE tenant_id = ? AND position > ? ORDER BY position LIMIT ?",
                (self._tenant_id, after, limit),
            )
            return tuple(
                Record(
                    position=row[0],
                    header=row[6],
                    salt=row[7],
                    payload=row[8],
                    commitment=row[9],
                    chain=row[10],
                    columns={
                        "tenant_id": _text(row[2]),
                        "position": row[0],
                        "seq": row[1],
                        "event_type": _text(row[3]),
                        "session_id": _text(row[4]),
                        "execution_id": _text(row[5]),
                    },
                )
                for row in found
            )

        return await self._store.read(rows)

    async def projection(self, kind: str, *, after: str = "", limit: int) -> tuple[tuple[str, Any], ...]:
        found = KINDS[kind]
        sql = (
            f"SELECT {found.id_column}, doc FROM {found.table} WHERE tenant_id = ? AND {found.id_column} > ? "
            f"ORDER BY {found.id_column} LIMIT ?"
        )
        return await self._store.read(
            lambda c: tuple(
                (str(row[0]), found.decode(row[1])) for row in c.execute(sql, (self._tenant_id, after, limit))
            )
        )

    async def _one(self, kind: str, id_: str) -> Any:
        def look(connection: apsw.Connection) -> Any:
            row = connection.execute(_SELECT[kind], (self._tenant_id, id_)).fetchone()
            return None if row is None else KINDS[kind].decode(row[0])

        return await self._store.read(look)

    async def _unsealed(self, sql: str, bindings: tuple[Any, ...]) -> tuple[Event, ...]:
        return await self._store.read(
            lambda c: tuple(unseal(header, payload) for _, header, payload in c.execute(sql, bindings))
        )

    async def _page(
        self, kind: str, clauses: list[tuple[str, tuple[Any, ...]]], limit: int, before: int | None
    ) -> Page[Any]:
        if before is not None:
            clauses = [*clauses, ("ordinal < ?", (before,))]
        where = "".join(f" AND {clause}" for clause, _ in clauses)
        bindings = (self._tenant_id, *(value for _, values in clauses for value in values), limit + 1)
        sql = f"SELECT doc FROM {KINDS[kind].table} WHERE tenant_id = ?{where} ORDER BY ordinal DESC LIMIT ?"
        decode = KINDS[kind].decode
        found = await self._store.read(lambda c: tuple(decode(row[0]) for row in c.execute(sql, bindings)))
        items = found[:limit]
        return Page(items=items, next_cursor=str(items[-1].ordinal) if len(found) > limit else None)


def _any_of(column: str, values: Sequence[str]) -> str:
    return f"{column} IN ({', '.join('?' * len(values))})"
