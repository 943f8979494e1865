"""What one tenant reads from the SQLite store, each query on a connection that sees every acknowledged write."""

# ruff: noqa: S608 - names in the SQL come from constants of this module; values are always bound.
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import apsw

from symphainy.model import Artifact, Draft, Event, Execution, Page, PendingIntent, Saga, Session
from symphainy.model.seal import GENESIS, unseal
from symphainy.ports import (
    ArtifactFilter,
    Committed,
    EventFilter,
    ExecutionFilter,
    Guard,
    PendingFilter,
    Record,
)
from symphainy.public_works.sqlite_rows import KINDS, SELECT

T = TypeVar("T")

_SHOWN = ("tenant_id", "event_type", "session_id", "execution_id")
_SEALED = ("header", "salt", "payload", "commitment", "chain")
# For `verify`, of a file that may have been tampered with: text comes as bytes, since it may not be text any more, and
# what is of another type than it was written in comes as the name of that type.
_RECORD = ", ".join(
    [f"iif(typeof(position) IN ('integer', 'real'), position, {(1 << 63) - 1})"]
    + ["iif(typeof(seq) IN ('integer', 'null'), seq, typeof(seq))"]
    + [f"iif(typeof({name}) IN ('text', 'null'), CAST({name} AS BLOB), typeof({name}))" for name in _SHOWN]
    + [f"iif(typeof({name}) IN ('blob', 'null'), {name}, typeof({name}))" for name in _SEALED]
)


def _text(found: bytes | str | None) -> str | None:
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else found


class Ledger(Protocol):
    """What a tenant's handle asks of the store."""

    async def read(self, query: Callable[[apsw.Connection], T]) -> T: ...
    async def write_for(self, tenant_id: str, drafts: Sequence[Draft], guards: Sequence[Guard]) -> Committed: ...
    async def erase_for(self, tenant_id: str, positions: Sequence[int]) -> None: ...


class SqliteTenantStore:
    """`TenantStore` of one tenant."""

    def __init__(self, store: Ledger, tenant_id: str) -> None:
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

    async def pending(self, where: PendingFilter, *, limit: int, before: int | None = None) -> Page[PendingIntent]:
        terms = {
            "session_id": where.session_id,
            "intent_type": where.intent_type,
            "target_artifact_id": where.target_artifact_id,
            "status": where.status,
        }
        clauses = [(f"{column} = ?", (value,)) for column, value in terms.items() if value is not None]
        page: Page[PendingIntent] = await self._page("pending", clauses, limit, before)
        return page

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
            row = connection.execute(SELECT[kind], (self._tenant_id, id_)).fetchone()
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
