"""A store in memory, for tests and for platforms that need to remember nothing.

It keeps every rule that the durable ones keep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from symphainy.errors import StoreFailed
from symphainy.model import Artifact, Draft, Event, Execution, Page, PendingIntent, Saga, Session
from symphainy.model.fold import Projection
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
K = TypeVar("K")
#: What undoes the changes of the transaction that is open, in the order they were made.
_Undo = list[Callable[[], object]]


class _Table(dict[K, T]):
    """Rows that can be put back as they were before the transaction that is open."""

    def __init__(self, undo: _Undo) -> None:
        super().__init__()
        self._undo = undo

    def __setitem__(self, key: K, value: T) -> None:
        if key in self:
            self._undo.append(partial(super().__setitem__, key, self[key]))
        else:
            self._undo.append(partial(super().__delitem__, key))
        super().__setitem__(key, value)

    def drop(self, key: K) -> None:
        if key in self:
            self._undo.append(partial(super().__setitem__, key, self[key]))
            super().__delitem__(key)


class _Tenant(Projection):
    """What one tenant has, with its log."""

    def __init__(self, tenant_id: str, undo: _Undo) -> None:
        super().__init__()
        self.tenant_id = tenant_id
        self.log: list[Record] = []
        self.by_execution: dict[str, list[int]] = {}
        self._undo = undo
        self.keys: _Table[tuple[str, str], Key] = _Table(undo)
        self.works: _Table[str, Work] = _Table(undo)
        self.sessions = _Table(undo)
        self.executions = _Table(undo)
        self.artifacts = _Table(undo)
        self.pendings = _Table(undo)
        self.sagas = _Table(undo)

    def head(self) -> tuple[int, bytes]:
        return (len(self.log), self.log[-1].chain) if self.log else (0, GENESIS)

    def last_seq(self, execution_id: str) -> int:
        return len(self.by_execution.get(execution_id, ()))

    def append(self, sealed: Sealed) -> None:
        event = sealed.event
        self.log.append(
            Record(
                position=event.position,
                header=sealed.header,
                salt=sealed.salt,
                payload=sealed.payload,
                commitment=sealed.commitment,
                chain=sealed.chain,
                columns={
                    "tenant_id": event.tenant_id,
                    "position": event.position,
                    "seq": event.seq,
                    "event_type": event.event_type,
                    "session_id": event.session_id,
                    "execution_id": event.execution_id,
                },
            )
        )
        self._undo.append(self.log.pop)
        if event.execution_id is not None:
            positions = self.by_execution.setdefault(event.execution_id, [])
            positions.append(event.position)
            self._undo.append(positions.pop)

    def key(self, user_id: str, key: str) -> Key | None:
        return self.keys.get((user_id, key))

    def remember_key(self, *, user_id: str, key: str, fingerprint: str, execution_id: str, expires_at_ms: int) -> None:
        self.keys[user_id, key] = Key(fingerprint=fingerprint, execution_id=execution_id, expires_at_ms=expires_at_ms)

    def work(self, execution_id: str) -> Work | None:
        return self.works.get(execution_id)

    def put_work(self, work: Work) -> None:
        self.works[work.execution_id] = work

    def enqueue(
        self, execution_id: str, *, ready_at_ms: int, priority: int, ordinal: int, concurrency_key: str | None
    ) -> None:
        self.works[execution_id] = Work(
            tenant_id=self.tenant_id,
            execution_id=execution_id,
            priority=priority,
            ready_at_ms=ready_at_ms,
            ordinal=ordinal,
            concurrency_key=concurrency_key,
        )

    def park(self, execution_id: str, *, ready_at_ms: int) -> None:
        work = self.works[execution_id]
        self.works[execution_id] = replace(work, ready_at_ms=ready_at_ms, owner=None, lease_until_ms=None)

    def settle(self, execution_id: str) -> None:
        self.works.drop(execution_id)

    def event(self, position: int) -> Event:
        record = self.log[position - 1]
        return unseal(record.header, record.payload)


class MemoryStore:
    """`Store` without a disk. Values handed out are copies, as a database would give them."""

    def __init__(self, *, clock: Clock, ids: Ids) -> None:
        self._clock = clock
        self._ids = ids
        self._tenants: dict[str, _Tenant] = {}
        self._undo: _Undo = []
        self._served = ""
        self._open = False

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    def tenant(self, tenant_id: str) -> MemoryTenantStore:
        return MemoryTenantStore(self, tenant_id)

    async def tenants(self) -> tuple[str, ...]:
        return tuple(sorted(tenant_id for tenant_id, rows in self._tenants.items() if rows.log))

    async def claim(self, owner: str, *, limit: int, lease_s: float, running_max: int) -> tuple[Claim, ...]:
        claims = await self._locked(
            lambda: ledger.claim(
                self,
                owner,
                limit=limit,
                lease_s=lease_s,
                running_max=running_max,
                now_ms=self._clock.now_ms(),
                random=self._ids.token_bytes,
                first_after=self._served,
            )
        )
        if claims:
            self._served = claims[-1].execution.tenant_id
        return _copied(claims, tuple[Claim, ...])

    async def renew(self, owner: str, execution_ids: Collection[str], *, lease_s: float) -> frozenset[str]:
        return await self._locked(
            lambda: ledger.renew(self, owner, execution_ids, lease_s=lease_s, now_ms=self._clock.now_ms())
        )

    async def release(self, owner: str) -> int:
        return await self._locked(lambda: ledger.release(self, owner))

    async def next_due_ms(self, *, after_ms: int | None = None) -> int | None:
        moments = [work.ready_at_ms if work.owner is None else work.lease_until_ms or 0 for work in self._all_work()]
        return min((moment for moment in moments if after_ms is None or moment > after_ms), default=None)

    async def probe(self) -> Probe:
        self._require_open()
        return Probe(status="ok", detail=f"in memory, {len(self._tenants)} tenants; forgets everything at the end")

    # --- LedgerRows ---

    def of(self, tenant_id: str) -> _Tenant:
        return self._tenants.setdefault(tenant_id, _Tenant(tenant_id, self._undo))

    def waiting_tenants(self, now_ms: int) -> Iterable[str]:
        return sorted({w.tenant_id for w in self._all_work() if w.owner is None and w.ready_at_ms <= now_ms})

    def due(self, tenant_id: str, now_ms: int, limit: int) -> Sequence[Work]:
        works = self.of(tenant_id).works.values()
        taken = {w.concurrency_key for w in works if w.owner is not None}
        due = [w for w in works if w.owner is None and w.ready_at_ms <= now_ms]
        found: list[Work] = []
        for work in sorted(due, key=lambda w: (-w.priority, w.ready_at_ms, w.ordinal)):
            if work.concurrency_key is None or work.concurrency_key not in taken:
                found.append(work)
                taken.add(work.concurrency_key)
        return found[:limit]

    def held(self, now_ms: int) -> dict[str, int]:
        counts: dict[str, int] = {}
        for work in self._all_work():
            if work.owner is not None and (work.lease_until_ms or 0) > now_ms:
                counts[work.tenant_id] = counts.get(work.tenant_id, 0) + 1
        return counts

    def lapsed(self, now_ms: int) -> Sequence[Work]:
        return [w for w in self._all_work() if w.owner is not None and (w.lease_until_ms or 0) <= now_ms]

    def held_by(self, owner: str) -> Sequence[Work]:
        return [w for w in self._all_work() if w.owner == owner]

    def _all_work(self) -> list[Work]:
        return [work for rows in self._tenants.values() for work in rows.works.values()]

    # --- for the tenant handle ---

    def written(self, tenant_id: str, drafts: Sequence[Draft], guards: Sequence[Guard]) -> Committed:
        return ledger.write(
            self.of(tenant_id),
            tenant_id,
            drafts,
            guards,
            now_ms=self._clock.now_ms(),
            random=self._ids.token_bytes,
        )

    async def _locked(self, act: Callable[[], T]) -> T:
        """Run without a pause and all or nothing, which is what makes it a transaction; then yield, as a disk would."""
        self._require_open()
        try:
            done = act()
        except BaseException:
            while self._undo:
                self._undo.pop()()
            raise
        self._undo.clear()
        await asyncio.sleep(0)
        return done

    def _require_open(self) -> None:
        if not self._open:
            raise StoreFailed("the memory store is not open; open it before use")


def _copied(value: T, kind: Any) -> T:
    copy: T = msgspec.json.decode(msgspec.json.encode(value), type=kind)
    return copy


class MemoryTenantStore:
    """`TenantStore` over one tenant's dictionaries."""

    def __init__(self, store: MemoryStore, tenant_id: str) -> None:
        self._store = store
        self._tenant_id = tenant_id

    @property
    def tenant_id(self) -> str:
        return self._tenant_id

    @property
    def _rows(self) -> _Tenant:
        self._store._require_open()
        return self._store.of(self._tenant_id)

    async def write(self, drafts: Sequence[Draft], *, guards: Sequence[Guard] = ()) -> Committed:
        return await self._store._locked(lambda: self._store.written(self._tenant_id, drafts, guards))

    async def session(self, session_id: str) -> Session | None:
        return _copied(self._rows.sessions.get(session_id), Session | None)

    async def execution(self, execution_id: str) -> Execution | None:
        return _copied(self._rows.executions.get(execution_id), Execution | None)

    async def execution_at(self, execution_id: str) -> tuple[Execution, int] | None:
        execution = await self.execution(execution_id)
        return None if execution is None else (execution, self._rows.last_seq(execution_id))

    async def executions(self, where: ExecutionFilter, *, limit: int, before: int | None = None) -> Page[Execution]:
        found = [
            e
            for e in self._rows.executions.values()
            if (where.session_id is None or e.session_id == where.session_id)
            and (where.intent_type is None or e.intent_type == where.intent_type)
            and (where.status is None or e.status == where.status)
            and (before is None or e.ordinal < before)
        ]
        return _page(sorted(found, key=lambda e: -e.ordinal), limit, Execution)

    async def artifact(self, artifact_id: str) -> Artifact | None:
        return _copied(self._rows.artifacts.get(artifact_id), Artifact | None)

    async def artifacts(self, where: ArtifactFilter, *, limit: int, before: int | None = None) -> Page[Artifact]:
        found = [
            a
            for a in self._rows.artifacts.values()
            if (not where.artifact_types or a.artifact_type in where.artifact_types)
            and (not where.lifecycle_states or a.lifecycle_state in where.lifecycle_states)
            and (where.session_id is None or a.session_id == where.session_id)
            and (where.parent_artifact_id is None or where.parent_artifact_id in a.parent_artifacts)
            and (before is None or a.ordinal < before)
        ]
        return _page(sorted(found, key=lambda a: -a.ordinal), limit, Artifact)

    async def children(self, artifact_id: str) -> tuple[Artifact, ...]:
        found = [a for a in self._rows.artifacts.values() if artifact_id in a.parent_artifacts]
        return _copied(tuple(sorted(found, key=lambda a: a.ordinal)), tuple[Artifact, ...])

    async def pending(self, where: PendingFilter, *, limit: int, before: int | None = None) -> Page[PendingIntent]:
        found = [
            p
            for p in self._rows.pendings.values()
            if (where.session_id is None or p.session_id == where.session_id)
            and (where.intent_type is None or p.intent_type == where.intent_type)
            and (where.target_artifact_id is None or p.target_artifact_id == where.target_artifact_id)
            and (where.status is None or p.status == where.status)
            and (before is None or p.ordinal < before)
        ]
        return _page(sorted(found, key=lambda p: -p.ordinal), limit, PendingIntent)

    async def saga(self, saga_id: str) -> Saga | None:
        return _copied(self._rows.sagas.get(saga_id), Saga | None)

    async def events(self, where: EventFilter, *, after: int = 0, limit: int) -> tuple[Event, ...]:
        rows, found = self._rows, []
        for record in rows.log[max(after, 0) :]:
            columns = record.columns
            if (
                (where.session_id is None or columns["session_id"] == where.session_id)
                and (where.execution_id is None or columns["execution_id"] == where.execution_id)
                and (where.event_type is None or columns["event_type"] == where.event_type)
            ):
                found.append(rows.event(record.position))
                if len(found) == limit:
                    break
        return tuple(found)

    async def execution_events(self, execution_id: str, *, after: int = 0, limit: int) -> tuple[Event, ...]:
        rows = self._rows
        positions = rows.by_execution.get(execution_id, [])[after : after + limit]
        return tuple(rows.event(position) for position in positions)

    async def head(self) -> tuple[int, bytes]:
        return self._rows.head()

    async def records(self, *, after: int = 0, limit: int) -> tuple[Record, ...]:
        found = self._rows.log[max(after, 0) :][:limit]
        return tuple(replace(record, columns=dict(record.columns)) for record in found)

    async def projection(self, kind: str, *, after: str = "", limit: int) -> tuple[tuple[str, Any], ...]:
        rows = self._rows
        tables: dict[str, dict[str, Any]] = {
            "session": rows.sessions,
            "execution": rows.executions,
            "artifact": rows.artifacts,
            "pending": rows.pendings,
            "saga": rows.sagas,
        }
        table = tables[kind]
        found = sorted(key for key in table if key > after)[:limit]
        return tuple((key, _copied(table[key], type(table[key]))) for key in found)

    async def erase(self, positions: Sequence[int]) -> None:
        rows = self._rows
        for position in positions:
            if 1 <= position <= len(rows.log):
                rows.log[position - 1] = replace(rows.log[position - 1], salt=None, payload=None)


def _page(found: list[Any], limit: int, kind: Any) -> Page[Any]:
    items = _copied(tuple(found[:limit]), tuple[kind, ...])
    return Page(items=items, next_cursor=str(items[-1].ordinal) if len(found) > limit else None)
