"""The rows of the SQLite store as its writer sees them: read through a cache, changed in memory, flushed in one go."""

# ruff: noqa: S608 - names in the SQL come from constants of this module; values are always bound.
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw
import msgspec
from msgspec.structs import replace

from symphainy.model import Artifact, Execution, PendingIntent, Saga, Session
from symphainy.model.seal import GENESIS
from symphainy.public_works.ledger import Key, Sealed, Work

#: Rows the writer remembers between batches; above it starts afresh.
CACHE_MAX = 20_000

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

    def copied(self, value: Any) -> Any:
        """The value as a reader would get it."""
        return self.decode(_encode(value))

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
SELECT = {name: kind.select for name, kind in KINDS.items()}
_UPSERT = {name: kind.upsert for name, kind in KINDS.items()}

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


class Transaction:
    """`LedgerRows` on the writer's connection: reads through a cache, gathers what changed, writes it in `flush`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.forget()

    def forget(self) -> None:
        """Drop everything remembered: after a rollback none of it can be trusted."""
        self.tenants: dict[str, TenantTransaction] = {}
        self.docs: dict[tuple[str, str, str], Any] = {}
        self.works: dict[tuple[str, str], Work | None] = {}
        self.dirty_docs: dict[str, dict[tuple[str, str], Any]] = {name: {} for name in KINDS}
        self.dirty_works: dict[tuple[str, str], Work | None] = {}
        self.dirty_keys: dict[tuple[str, str, str], Key] = {}
        self.dirty_heads: dict[str, tuple[int, bytes]] = {}
        self.events: list[tuple[Any, ...]] = []
        self.settled: list[tuple[str, str]] = []

    def of(self, tenant_id: str) -> TenantTransaction:
        rows = self.tenants.get(tenant_id)
        if rows is None:
            rows = self.tenants[tenant_id] = TenantTransaction(self, tenant_id)
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


class TenantTransaction:
    """`TenantRows` of one tenant."""

    def __init__(self, transaction: Transaction, tenant_id: str) -> None:
        self._tx = transaction
        self._tenant_id = tenant_id
        self._head: tuple[int, bytes] | None = None
        self._seqs: dict[str, int] = {}

    def _get(self, kind: str, id_: str) -> Any:
        key = (kind, self._tenant_id, id_)
        value = self._tx.docs.get(key)
        if value is None:
            row = self._tx.connection.execute(SELECT[kind], (self._tenant_id, id_)).fetchone()
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
