"""The rules of the store, once: guards, sealing, folding, claims. An adapter only keeps rows.

Everything here runs inside one transaction of the adapter, on its writer. Guards are checked before anything is
changed, so a
write that is refused leaves the transaction as it was and the writes that share it unharmed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from symphainy.errors import (
    Conflict,
    IdempotencyMismatch,
    Invalid,
    LeaseLost,
    NotFound,
    SessionExpired,
    SessionRequired,
)
from symphainy.model import Draft, Event, JsonObject, SessionState
from symphainy.model.fold import FoldRows, changes_rows, fold
from symphainy.model.instant import instant
from symphainy.model.json import parse
from symphainy.model.seal import SALT_BYTES, Header, commit, header_bytes, leaf, link, payload_bytes
from symphainy.ports import (
    ArtifactAbsent,
    ArtifactIn,
    Claim,
    Committed,
    Guard,
    Holds,
    Idempotent,
    NotEnded,
    PendingIn,
    SessionOpen,
)

RandomBytes = Callable[[int], bytes]

#: Salt and id of one event.
NOISE_BYTES = SALT_BYTES + 14


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """An event with the bytes that stand for it."""

    event: Event
    header: bytes
    salt: bytes
    payload: bytes
    commitment: bytes
    chain: bytes


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that is not finished. It may be claimed when `owner` is None and `ready_at_ms` has come."""

    tenant_id: str
    execution_id: str
    priority: int
    ready_at_ms: int
    ordinal: int
    concurrency_key: str | None = None
    owner: str | None = None
    fence: int = 0
    lease_until_ms: int | None = None


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An idempotency key that has been used."""

    fingerprint: str
    execution_id: str
    expires_at_ms: int


class TenantRows(FoldRows, Protocol):
    """The rows of one tenant within the open transaction."""

    def head(self) -> tuple[int, bytes]: ...
    def last_seq(self, execution_id: str) -> int: ...
    def append(self, sealed: Sealed) -> None:
        """Adds the row, and moves the head and the execution's last seq."""

    def key(self, user_id: str, key: str) -> Key | None: ...
    def work(self, execution_id: str) -> Work | None: ...
    def put_work(self, work: Work) -> None: ...


class LedgerRows(Protocol):
    """All rows within the open transaction."""

    def of(self, tenant_id: str) -> TenantRows: ...
    def waiting_tenants(self, now_ms: int) -> Iterable[str]:
        """Tenants with unclaimed work that is due."""

    def due(self, tenant_id: str, now_ms: int, limit: int) -> Sequence[Work]:
        """Unclaimed work that is due and whose concurrency key nobody holds: highest priority first, then oldest. Of
        work
        with one key at most the first.
        """

    def held(self, now_ms: int) -> dict[str, int]:
        """How many executions each tenant has under a lease that still runs."""

    def lapsed(self, now_ms: int) -> Sequence[Work]:
        """Work whose lease has ended."""

    def held_by(self, owner: str) -> Sequence[Work]: ...


def write(
    rows: TenantRows,
    tenant_id: str,
    drafts: Sequence[Draft],
    guards: Sequence[Guard],
    *,
    now_ms: int,
    random: RandomBytes,
) -> Committed:
    """Check every guard, then append and fold. Raises a guard's error with nothing changed."""
    for guard in guards:
        replayed = _check(rows, guard, now_ms)
        if replayed is not None:
            return Committed(events=(), replayed=replayed)
    # Everything that can fail on bad input fails here, before the first row changes.
    payloads = [payload_bytes(_object(draft)) for draft in drafts]
    stamp = instant(now_ms)
    return Committed(
        events=tuple(
            _append(rows, tenant_id, draft, payload, stamp, random)
            for draft, payload in zip(drafts, payloads, strict=True)
        )
    )


def _object(draft: Draft) -> JsonObject:
    """Its payload. What is no object could be written, and never be read again."""
    if not isinstance(draft.payload, dict):
        raise Invalid(f"the payload of {draft.event_type!r} is {type(draft.payload).__name__}, not a JSON object")
    return draft.payload


def _append(rows: TenantRows, tenant_id: str, draft: Draft, payload: bytes, stamp: str, random: RandomBytes) -> Event:
    position, before = rows.head()
    noise = random(NOISE_BYTES)
    event = Event(
        position=position + 1,
        seq=_seq(rows, draft),
        event_id="evt_" + noise[SALT_BYTES:].hex(),
        event_type=draft.event_type,
        tenant_id=tenant_id,
        session_id=draft.session_id,
        execution_id=draft.execution_id,
        timestamp=stamp,
        # As it was recorded, and nobody else's: not the object that the writer may go on to change.
        payload=parse(payload),
    )
    header = header_bytes(
        Header(
            event_id=event.event_id,
            event_type=event.event_type,
            execution_id=event.execution_id,
            position=event.position,
            seq=event.seq,
            session_id=event.session_id,
            tenant_id=tenant_id,
            timestamp=stamp,
        )
    )
    salt = noise[:SALT_BYTES]
    commitment = commit(salt, payload)
    chain = link(before, leaf(header, commitment))
    rows.append(Sealed(event=event, header=header, salt=salt, payload=payload, commitment=commitment, chain=chain))
    if changes_rows(event.event_type):
        # The rows keep what they are given, so they get a payload of their own: the event itself is handed out.
        fold(rows, replace(event, payload=parse(payload)))
    return event


def _seq(rows: TenantRows, draft: Draft) -> int | None:
    if draft.execution_id is None:
        return None
    # An execution begins with its intent: nothing to look up. That it does so once is held by a unique index.
    return 1 if draft.event_type == "intent_received" else rows.last_seq(draft.execution_id) + 1


def _check(rows: TenantRows, guard: Guard, now_ms: int) -> str | None:
    """Raise the guard's error, or return the execution that an idempotency key replays."""
    match guard:
        case Holds(execution_id=execution_id, fence=fence):
            work = rows.work(execution_id)
            if work is None or work.owner is None or work.fence != fence:
                raise LeaseLost(
                    f"execution {execution_id} is no longer held under fence {fence}", execution_id=execution_id
                )
        case SessionOpen(session_id=session_id):
            _session_open(rows, session_id, now_ms)
        case Idempotent(user_id=user_id, key=key, fingerprint=fingerprint):
            return _key_replayed(rows, user_id, key, fingerprint, now_ms)
        case NotEnded(execution_id=execution_id):
            execution = rows.execution(execution_id)
            if execution is None:
                raise NotFound(f"no execution {execution_id}", execution_id=execution_id)
            if execution.status.is_terminal:
                raise Conflict(f"execution {execution_id} is already {execution.status}", status=execution.status)
        case ArtifactIn(artifact_id=artifact_id, lifecycle_state=state, status=status):
            artifact = rows.artifact(artifact_id)
            if artifact is None:
                raise NotFound(f"no artifact {artifact_id}", artifact_id=artifact_id)
            if (artifact.lifecycle_state, artifact.status) != (state, status):
                raise Conflict(
                    f"artifact {artifact_id} is {artifact.lifecycle_state} and {artifact.status} by now, "
                    f"not {state} and {status}",
                    artifact_id=artifact_id,
                )
        case ArtifactAbsent(artifact_id=artifact_id):
            if rows.artifact(artifact_id) is not None:
                raise Conflict(f"artifact {artifact_id} exists already", artifact_id=artifact_id)
        case PendingIn(pending_id=pending_id, status=wanted):
            pending = rows.pending(pending_id)
            if pending is None:
                raise NotFound(f"no pending intent {pending_id}", pending_id=pending_id)
            if pending.status != wanted:
                raise Conflict(f"pending intent {pending_id} is {pending.status} by now, not {wanted}")
    return None


def _session_open(rows: TenantRows, session_id: str, now_ms: int) -> None:
    session = rows.session(session_id)
    if session is None:
        raise SessionRequired(f"no session {session_id}; create one first", session_id=session_id)
    state = session.at(instant(now_ms)).lifecycle_state
    if state is not SessionState.ACTIVE:
        raise SessionExpired(f"session {session_id} is {state}; create a new one", session_id=session_id)


def _key_replayed(rows: TenantRows, user_id: str, key: str, fingerprint: str, now_ms: int) -> str | None:
    known = rows.key(user_id, key)
    if known is None or known.expires_at_ms <= now_ms:
        return None
    if known.fingerprint != fingerprint:
        raise IdempotencyMismatch(
            f"the idempotency key {key!r} was used for another request; use a new key", idempotency_key=key
        )
    return known.execution_id


def claim(
    rows: LedgerRows,
    owner: str,
    *,
    limit: int,
    lease_s: float,
    running_max: int,
    now_ms: int,
    random: RandomBytes,
    first_after: str,
) -> tuple[Claim, ...]:
    """Take due work, a fair share from each waiting tenant in turn, starting after the tenant `first_after`."""
    for lapsed in rows.lapsed(now_ms):
        rows.of(lapsed.tenant_id).put_work(replace(lapsed, owner=None, lease_until_ms=None))
    held = rows.held(now_ms)
    tenants = [tenant for tenant in rows.waiting_tenants(now_ms) if held.get(tenant, 0) < running_max]
    tenants = [t for t in tenants if t > first_after] + [t for t in tenants if t <= first_after]
    taken: list[Claim] = []
    for index, tenant_id in enumerate(tenants):
        if len(taken) >= limit:
            break
        share = -(-(limit - len(taken)) // (len(tenants) - index))
        room = min(share, running_max - held.get(tenant_id, 0))
        for work in rows.due(tenant_id, now_ms, room):
            taken.append(_take(rows.of(tenant_id), work, owner, lease_s, now_ms, random))
    return tuple(taken)


def _take(rows: TenantRows, work: Work, owner: str, lease_s: float, now_ms: int, random: RandomBytes) -> Claim:
    fence = work.fence + 1
    rows.put_work(replace(work, owner=owner, fence=fence, lease_until_ms=now_ms + round(lease_s * 1000)))
    execution = rows.execution(work.execution_id)
    assert execution is not None, f"work without an execution: {work.execution_id}"
    started = Draft(
        event_type="execution_started",
        payload={"attempt": execution.attempt + 1, "fence": fence, "owner": owner},
        session_id=execution.session_id,
        execution_id=execution.execution_id,
    )
    committed = write(rows, work.tenant_id, (started,), (), now_ms=now_ms, random=random)
    running = rows.execution(work.execution_id)
    assert running is not None, f"the claim lost its execution: {work.execution_id}"
    return Claim(execution=running, fence=fence, events=committed.events)


def renew(
    rows: LedgerRows, owner: str, execution_ids: Collection[str], *, lease_s: float, now_ms: int
) -> frozenset[str]:
    """Extend what still runs. A lease that has ended stays ended: someone else may have it by now."""
    until = now_ms + round(lease_s * 1000)
    kept = [
        work
        for work in rows.held_by(owner)
        if work.execution_id in execution_ids and (work.lease_until_ms or 0) > now_ms
    ]
    for work in kept:
        rows.of(work.tenant_id).put_work(replace(work, lease_until_ms=until))
    return frozenset(work.execution_id for work in kept)


def release(rows: LedgerRows, owner: str) -> int:
    held = rows.held_by(owner)
    for work in held:
        rows.of(work.tenant_id).put_work(replace(work, owner=None, lease_until_ms=None))
    return len(held)
