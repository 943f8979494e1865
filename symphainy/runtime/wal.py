"""The write-ahead log: the one place that writes it, and what can be proven and rebuilt from it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from hmac import compare_digest
from typing import Any

import msgspec

from symphainy.errors import StoreFailed
from symphainy.model import Draft, Event
from symphainy.model.fold import Projection, fold
from symphainy.model.json import parse
from symphainy.model.seal import GENESIS, commit, leaf, link, read_header, unseal
from symphainy.ports import Claim, Committed, EventFilter, Guard, HotState, Record, Store, Telemetry, TenantStore

PAGE = 1000
#: How often `replay` compares again when the log has grown while it was compared.
COMPARISONS_MAX = 10
#: Positions begin at 1. What somebody slipped in before that is found too.
BEFORE_ALL = -(1 << 63)


class WriteAheadLog:
    """Writes through the store, then tells whoever listens."""

    def __init__(self, *, store: Store, hot: HotState, telemetry: Telemetry) -> None:
        self.store = store
        self._hot = hot
        self._telemetry = telemetry
        self.on_work: Callable[[], None] = lambda: None
        """Called when there may be something to claim."""
        self._catching_up: set[asyncio.Task[None]] = set()

    async def write(self, tenant_id: str, drafts: Sequence[Draft], *, guards: Sequence[Guard] = ()) -> Committed:
        """Returns when it is on disk. Raises what a guard refuses."""
        try:
            committed = await self.store.tenant(tenant_id).write(drafts, guards=guards)
        except asyncio.CancelledError:
            # Nobody waits for the answer any more, but the write may be on its way: who listens is told all the same.
            told = asyncio.get_running_loop().create_task(self._catch_up(tenant_id, drafts))
            self._catching_up.add(told)
            told.add_done_callback(self._catching_up.discard)
            raise
        self._hot.publish(committed.events)
        self._telemetry.count("wal_events", len(committed.events))
        if any(event.event_type == "intent_received" for event in committed.events):
            self.on_work()
        return committed

    async def _catch_up(self, tenant_id: str, drafts: Sequence[Draft]) -> None:
        tenant = self.store.tenant(tenant_id)
        try:
            # Writes are served in their turn: when this empty one is done, so is the one that was given up.
            await tenant.write([])
            for execution_id in {draft.execution_id for draft in drafts if draft.execution_id is not None}:
                found = await tenant.execution_at(execution_id)
                if found is not None:
                    self._hot.publish(await tenant.execution_events(execution_id, after=found[1] - 1, limit=1))
        except StoreFailed:
            # Closed or broken by now. The log is read again when the next platform opens it.
            return
        self.on_work()

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Tell of the events that a claim has written."""
        for claim in claims:
            self._hot.publish(claim.events)

    async def events(
        self,
        tenant_id: str,
        *,
        event_type: str | None = None,
        session_id: str | None = None,
        execution_id: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> tuple[Event, ...]:
        """In order, positions greater than `after`."""
        where = EventFilter(session_id=session_id, execution_id=execution_id, event_type=event_type)
        return await self.store.tenant(tenant_id).events(where, after=after, limit=limit)

    async def replay(self, tenant_id: str, *, session_id: str | None = None) -> Projection:
        return await replay(self.store.tenant(tenant_id), session_id=session_id)

    async def verify(self, tenant_id: str) -> Verdict:
        return await verify(self.store.tenant(tenant_id))


async def replay(tenant: TenantStore, *, session_id: str | None = None) -> Projection:
    """State from events alone: of the tenant, or of one session and what belongs to it."""
    # The whole log also for one session: its executions work on artifacts and pending intents of others.
    rebuilding = _Rebuilding()
    await rebuilding.read(tenant)
    return rebuilding.rows if session_id is None else rebuilding.rows.of_session(session_id)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`events` were found good before `position`, the first that is not; `problem` says what is wrong with it.

    `problem` is None for a log that is whole; then `head` is its last chain value, in hex. `erased` events have no
    payload any more.
    """

    tenant_id: str
    events: int
    head: str
    erased: int = 0
    position: int | None = None
    event_id: str | None = None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        return self.problem is None


async def verify(tenant: TenantStore) -> Verdict:
    """Walk the whole log and name the first event that was altered, is missing or stands in another place."""
    before, expected, after, erased = GENESIS, 1, BEFORE_ALL, 0
    while True:
        async for record in records(tenant, after=after):
            problem = _problem(record, before, expected, tenant.tenant_id)
            if problem is not None:
                return Verdict(
                    tenant_id=tenant.tenant_id,
                    events=expected - 1,
                    head=before.hex(),
                    position=expected,
                    event_id=_event_id(record),
                    problem=problem,
                )
            before, expected = record.chain, expected + 1
            erased += record.payload is None
        last, head = await tenant.head()
        # The log may have grown while it was read: what the head knows of is looked for once more.
        if last < expected or after == expected - 1:
            break
        after = expected - 1
    found = Verdict(tenant_id=tenant.tenant_id, events=expected - 1, head=before.hex(), erased=erased)
    if last >= expected:
        return msgspec.structs.replace(
            found, position=expected, problem=f"event {expected} is missing: the log was {last} events long"
        )
    if last < expected - 1 or not compare_digest(head, before):
        return msgspec.structs.replace(
            found, position=expected - 1, problem="the head of the log does not belong to its last event"
        )
    return found


async def records(tenant: TenantStore, *, after: int = BEFORE_ALL) -> AsyncIterator[Record]:
    while page := await tenant.records(after=after, limit=PAGE):
        for record in page:
            yield record
        after = page[-1].position


def _event_id(record: Record) -> str | None:
    if not _is_well_kept(record):
        return None
    try:
        return read_header(record.header).event_id
    except msgspec.DecodeError:
        return None


def _problem(record: Record, before: bytes, expected: int, tenant_id: str) -> str | None:
    if record.position != expected:
        what = "was slipped in before" if record.position < expected else "comes after"
        return f"event {expected} is missing: {record.position} {what} it"
    if not _is_well_kept(record):
        return f"event {expected} was altered: what is kept of it is not bytes"
    try:
        header = read_header(record.header)
    except msgspec.DecodeError as error:
        return f"event {expected} was altered: its header is not readable ({error})"
    if header.position != expected:
        return f"event {expected} was reordered: the event that stands there is number {header.position}"
    shown = {name: getattr(header, name) for name in record.columns}
    if header.tenant_id != tenant_id or shown != record.columns:
        wrong = [name for name, value in shown.items() if record.columns[name] != value] or ["tenant_id"]
        return f"event {expected} was altered: {', '.join(wrong)} beside it does not agree with its header"
    if (record.payload is None) != (record.salt is None):
        return f"event {expected} was altered: payload and salt go together"
    if not _payload_stands(record):
        return f"event {expected} was altered: its payload is not the one that was recorded"
    if not compare_digest(link(before, leaf(record.header, record.commitment)), record.chain):
        return f"event {expected} was altered: it does not continue the chain"
    return None


def _is_well_kept(record: Record) -> bool:
    """A file that was tampered with may hold anything where bytes belong."""
    needed = (record.header, record.commitment, record.chain)
    return all(isinstance(part, bytes) for part in needed) and all(
        part is None or isinstance(part, bytes) for part in (record.salt, record.payload)
    )


def _payload_stands(record: Record) -> bool:
    if record.payload is None or record.salt is None:
        return True
    return compare_digest(commit(record.salt, record.payload), record.commitment)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the log does not explain. `stored` or `replayed` is None when one side has no such row."""

    kind: str
    id: str
    stored: Any
    replayed: Any


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What `replay` found. `counts` are rows rebuilt by kind."""

    tenant_id: str
    events: int
    erased: int
    counts: dict[str, int]
    differences: tuple[Difference, ...]


async def replay_against_store(tenant: TenantStore, *, differences_max: int = 20) -> Replayed:
    """Rebuild every row from the log alone and compare it with what the store holds.

    Rows that only the payloads of erased events could explain are among the differences.
    """
    rebuilding = _Rebuilding()
    tables: dict[str, dict[str, Any]] = {
        "session": rebuilding.rows.sessions,
        "execution": rebuilding.rows.executions,
        "artifact": rebuilding.rows.artifacts,
        "pending": rebuilding.rows.pendings,
        "saga": rebuilding.rows.sagas,
    }
    differences: list[Difference] = []
    for _ in range(COMPARISONS_MAX):
        await rebuilding.read(tenant)
        differences = [found for kind, table in tables.items() async for found in _differences(tenant, kind, table)]
        # What was written in the meantime shows in the rows alone: then it is read, and all of it compared once more.
        if not differences or (await tenant.head())[0] <= rebuilding.events:
            break
    return Replayed(
        tenant_id=tenant.tenant_id,
        events=rebuilding.events,
        erased=rebuilding.erased,
        counts={kind: len(table) for kind, table in tables.items()},
        differences=tuple(differences[:differences_max]),
    )


class _Rebuilding:
    """Rows from the log alone, as far as it has been read."""

    def __init__(self) -> None:
        self.rows = Projection()
        self.events = 0
        self.erased = 0

    async def read(self, tenant: TenantStore) -> None:
        """What has come since the last time."""
        async for record in records(tenant, after=self.events):
            self.events += 1
            if record.payload is None:
                self.erased += 1
                continue
            try:
                fold(self.rows, unseal(record.header, record.payload))
            except AssertionError:
                # It builds on one whose payload is gone.
                if not self.erased:
                    raise


async def _differences(tenant: TenantStore, kind: str, replayed: dict[str, Any]) -> AsyncIterator[Difference]:
    unseen, after = set(replayed), ""
    while page := await tenant.projection(kind, after=after, limit=PAGE):
        for id_, stored in page:
            unseen.discard(id_)
            ours = replayed.get(id_)
            if _plain(ours) != _plain(stored):
                yield Difference(kind=kind, id=id_, stored=_plain(stored), replayed=_plain(ours))
        after = page[-1][0]
    for id_ in sorted(unseen):
        yield Difference(kind=kind, id=id_, stored=None, replayed=_plain(replayed[id_]))


def _plain(value: Any) -> Any:
    return parse(msgspec.json.encode(value))
