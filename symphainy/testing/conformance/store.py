"""The promises of `Store` and `TenantStore`.

Time is virtual: the store under test is given the fixture `clock`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from symphainy.errors import (
    Conflict,
    IdempotencyMismatch,
    Invalid,
    LeaseLost,
    NotFound,
    SessionExpired,
    SessionRequired,
    StoreFailed,
)
from symphainy.model import Draft, Execution, JsonObject, SessionState, Status
from symphainy.model.instant import instant
from symphainy.model.seal import ERASED, GENESIS
from symphainy.ports import (
    ArtifactAbsent,
    ArtifactFilter,
    ArtifactIn,
    Claim,
    Committed,
    EventFilter,
    ExecutionFilter,
    Guard,
    Holds,
    Idempotent,
    NotEnded,
    PendingFilter,
    PendingIn,
    SessionOpen,
    Store,
    TenantStore,
)
from symphainy.runtime.wal import replay_against_store, verify
from symphainy.testing.clock import VirtualClock

LEASE_S = 30.0
#: More than any test here starts at once.
NO_LIMIT = 10_000


# --- what a runtime writes, in few words ---------------------------------------------------------------------------


def session_created(session_id: str = "ses_1", *, clock: VirtualClock, ttl_s: float = 86_400.0, **fields: Any) -> Draft:
    payload = {
        "user_id": "ada",
        "solution_id": "default",
        "is_anonymous": False,
        "context": {},
        "metadata": {},
        "expires_at": instant(clock.now_ms() + round(ttl_s * 1000)),
    }
    return Draft(event_type="session_created", payload=payload | fields, session_id=session_id)


def received(execution_id: str, *, session_id: str = "ses_1", **fields: Any) -> Draft:
    payload = {
        "intent_id": execution_id.replace("exe", "int"),
        "intent_type": "weigh",
        "solution_id": "default",
        "user_id": "ada",
        "parameters": {},
    }
    return Draft(
        event_type="intent_received", payload=payload | fields, session_id=session_id, execution_id=execution_id
    )


def of(execution_id: str, event_type: str, payload: JsonObject, *, session_id: str = "ses_1") -> Draft:
    return Draft(event_type=event_type, payload=payload, session_id=session_id, execution_id=execution_id)


def completed(execution_id: str, result: Any = None, *, session_id: str = "ses_1") -> Draft:
    return of(execution_id, "execution_completed", {"result": result, "artifacts": {}}, session_id=session_id)


def waiting(execution_id: str, until_ms: int) -> Draft:
    return of(execution_id, "execution_waiting", {"waiting_on": {"kind": "retry", "until": instant(until_ms)}})


def registered(
    artifact_id: str,
    *,
    execution_id: str = "exe_1",
    session_id: str = "ses_1",
    parents: Sequence[str] = (),
    artifact_type: str = "note",
    **fields: Any,
) -> Draft:
    document = {
        "artifact_id": artifact_id,
        "artifact_type": artifact_type,
        "produced_by": {"intent": "weigh", "execution_id": execution_id},
        "lifecycle_state": "READY",
        "parent_artifacts": list(parents),
    }
    payload = {"artifact": document | fields, "call": artifact_id, "becomes": "READY"}
    return of(execution_id, "artifact_registered", payload, session_id=session_id)


def transitioned(artifact_id: str, state: str, *, execution_id: str = "exe_1") -> Draft:
    return of(execution_id, "artifact_transitioned", {"artifact_id": artifact_id, "lifecycle_state": state})


def pending_created(pending_id: str, target: str = "art_1", *, session_id: str = "ses_1", **fields: Any) -> Draft:
    payload = {"pending_id": pending_id, "intent_type": "weigh", "target_artifact_id": target, "parameters": {}}
    return Draft(event_type="pending_intent_created", payload=payload | fields, session_id=session_id)


def idempotent(
    key: str, execution_id: str, *, clock: VirtualClock, user_id: str = "ada", print_: str = "same"
) -> Draft:
    remembered = {
        "user_id": user_id,
        "key": key,
        "fingerprint": print_,
        "expires_at": instant(clock.now_ms() + 60_000),
    }
    return received(execution_id, idempotency=remembered)


async def open_session(tenant: TenantStore, clock: VirtualClock, *executions: str, session_id: str = "ses_1") -> None:
    drafts = [received(execution_id, session_id=session_id) for execution_id in executions]
    await tenant.write([session_created(session_id, clock=clock), *drafts])


async def claim(store: Store, owner: str = "w1", *, limit: int = 100, running_max: int = NO_LIMIT) -> tuple[Claim, ...]:
    return await store.claim(owner, limit=limit, lease_s=LEASE_S, running_max=running_max)


def ids_of(claims: Sequence[Claim]) -> list[str]:
    return [each.execution.execution_id for each in claims]


async def everything(tenant: TenantStore) -> Any:
    """All that can be read of a tenant, as plain values."""
    kinds = ("session", "execution", "artifact", "pending", "saga")
    return msgspec.to_builtins(
        {
            "events": await tenant.events(EventFilter(), limit=1000),
            "head": [part if isinstance(part, int) else part.hex() for part in await tenant.head()],
            **{kind: await tenant.projection(kind, limit=1000) for kind in kinds},
        }
    )


class StoreRules:
    """Give it the fixtures `clock`, a `VirtualClock`, and `store`, opened and empty; it is closed by the fixture."""

    @pytest.fixture
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @pytest.fixture
    def acme(self, store: Store) -> TenantStore:
        return store.tenant("acme")

    # --- the log ---

    async def test_an_empty_log_has_nothing_in_it(self, acme: TenantStore) -> None:
        assert acme.tenant_id == "acme"
        assert await acme.head() == (0, GENESIS)
        assert await acme.events(EventFilter(), limit=10) == ()
        assert await acme.records(limit=10) == ()
        assert (await verify(acme)).ok

    async def test_positions_count_within_a_tenant_and_seq_within_an_execution(
        self, store: Store, clock: VirtualClock
    ) -> None:
        acme, globex = store.tenant("acme"), store.tenant("globex")
        await open_session(acme, clock, "exe_1", "exe_2")
        await open_session(globex, clock, "exe_1")
        await acme.write([of("exe_2", "weighed", {"kg": 1}), of("exe_1", "weighed", {"kg": 2})])
        found = await acme.events(EventFilter(), limit=10)
        assert [(e.position, e.seq, e.event_type, e.execution_id) for e in found] == [
            (1, None, "session_created", None),
            (2, 1, "intent_received", "exe_1"),
            (3, 1, "intent_received", "exe_2"),
            (4, 2, "weighed", "exe_2"),
            (5, 2, "weighed", "exe_1"),
        ]
        assert [(e.position, e.seq) for e in await globex.events(EventFilter(), limit=10)] == [(1, None), (2, 1)]

    async def test_what_is_acknowledged_is_what_is_read_back(self, acme: TenantStore, clock: VirtualClock) -> None:
        await clock.advance(1.234)
        drafts = [session_created(clock=clock), received("exe_1"), of("exe_1", "weighed", {"kg": [1.5, None, "ü"]})]
        committed = await acme.write(drafts)
        assert committed == Committed(events=await acme.events(EventFilter(), limit=10))
        assert [
            Draft(event_type=e.event_type, payload=e.payload, session_id=e.session_id, execution_id=e.execution_id)
            for e in committed.events
        ] == drafts
        assert {e.timestamp for e in committed.events} == {"2026-01-01T00:00:01.234Z"}
        assert {e.tenant_id for e in committed.events} == {"acme"}
        assert len({e.event_id for e in committed.events}) == 3

    async def test_what_json_cannot_hold_is_acknowledged_as_it_was_recorded(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        state = {"pair": (1, 2), "never": float("nan"), "raw": b"ab"}
        committed = await acme.write(
            [session_created(clock=clock), received("exe_1"), of("exe_1", "execution_state_set", {"state": state})]
        )
        recorded = {"pair": [1, 2], "never": None, "raw": "YWI="}
        assert committed.events[-1].payload == {"state": recorded}
        assert (await _execution(acme, "exe_1")).state == recorded
        assert (await replay_against_store(acme)).differences == ()

    async def test_writing_nothing_changes_nothing(self, acme: TenantStore) -> None:
        assert await acme.write([]) == Committed(events=())
        assert await acme.head() == (0, GENESIS)

    async def test_parallel_writes_leave_no_gap_and_no_repeat(self, store: Store, clock: VirtualClock) -> None:
        tenants = [store.tenant(name) for name in ("acme", "globex", "initech")]
        for tenant in tenants:
            await open_session(tenant, clock, "exe_1")
        await asyncio.gather(
            *(tenant.write([of("exe_1", "weighed", {"n": n})] * (n % 3 + 1)) for n in range(40) for tenant in tenants)
        )
        for tenant in tenants:
            found = await tenant.events(EventFilter(), limit=1000)
            assert [e.position for e in found] == list(range(1, len(found) + 1))
            assert [e.seq for e in found if e.seq is not None] == list(range(1, len(found)))
            assert sorted({e.payload["n"] for e in found if e.event_type == "weighed"}) == list(range(40))
            assert (await verify(tenant)).ok

    async def test_the_events_of_one_write_stand_together(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        answers = await asyncio.gather(
            *(acme.write([of("exe_1", "weighed", {"n": n, "i": i}) for i in range(5)]) for n in range(20))
        )
        for committed in answers:
            positions = [e.position for e in committed.events]
            assert positions == list(range(positions[0], positions[0] + 5))

    async def test_a_page_of_the_log_goes_on_where_the_last_one_ended(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        whole = await acme.events(EventFilter(), limit=10)
        assert await acme.events(EventFilter(), after=1, limit=1) == whole[1:2]
        assert await acme.events(EventFilter(), after=3, limit=10) == ()
        assert [r.position for r in await acme.records(after=1, limit=1)] == [2]
        assert await acme.execution_events("exe_1", after=0, limit=10) == (whole[1],)
        assert await acme.execution_events("exe_1", after=1, limit=10) == ()
        assert await acme.execution_events("exe_9", limit=10) == ()

    async def test_events_are_filtered_by_what_is_asked(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await open_session(acme, clock, "exe_2", session_id="ses_2")
        await acme.write(
            [
                of("exe_1", "weighed", {}),
                of("exe_2", "weighed", {}, session_id="ses_2"),
                Draft(event_type="policy_decided", payload={}),
                Draft(event_type="session_updated", payload={"context": {"a": 1}}, session_id="ses_1"),
                of("exe_1", "execution_progress", {"fraction": 0.5}),
            ]
        )

        async def positions(after: int = 0, limit: int = 100, **where: Any) -> list[int]:
            return [e.position for e in await acme.events(EventFilter(**where), after=after, limit=limit)]

        assert await positions() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
        assert await positions(event_type="weighed") == [5, 6]
        assert await positions(session_id="ses_1") == [1, 2, 5, 8, 9]
        assert await positions(session_id="ses_1", after=2, limit=2) == [5, 8]
        assert await positions(session_id="ses_2") == [3, 4, 6]
        assert await positions(execution_id="exe_1") == [2, 5, 9]
        assert await positions(execution_id="exe_1", after=2) == [5, 9]
        assert await positions(execution_id="exe_1", session_id="ses_2") == []
        assert await positions(session_id="ses_1", event_type="weighed") == [5]
        assert await positions(execution_id="exe_2", event_type="weighed", session_id="ses_2") == [6]
        assert await positions(session_id="ses_9") == []
        assert await positions(event_type="unheard_of") == []

    async def test_rows_of_the_log_hold_what_was_sealed(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        found = await acme.records(limit=10)
        assert [record.columns for record in found] == [
            {
                "tenant_id": "acme",
                "position": 1,
                "seq": None,
                "event_type": "session_created",
                "session_id": "ses_1",
                "execution_id": None,
            },
            {
                "tenant_id": "acme",
                "position": 2,
                "seq": 1,
                "event_type": "intent_received",
                "session_id": "ses_1",
                "execution_id": "exe_1",
            },
        ]
        assert len({record.salt for record in found}) == 2
        assert await acme.head() == (2, found[-1].chain)
        verdict = await verify(acme)
        assert (verdict.ok, verdict.events, verdict.head) == (True, 2, found[-1].chain.hex())

    async def test_an_execution_is_read_together_with_its_last_seq(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        await acme.write([of("exe_1", "weighed", {"kg": 1}), of("exe_2", "weighed", {"kg": 2})])
        found = await acme.execution_at("exe_1")
        assert found == (await acme.execution("exe_1"), 2)
        assert [emitted.seq for emitted in (await _execution(acme, "exe_1")).events] == [2]
        assert await acme.execution_at("exe_9") is None

    async def test_reading_an_execution_with_its_seq_is_never_torn(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        writes = [asyncio.ensure_future(acme.write([of("exe_1", "weighed", {"n": n})])) for n in range(60)]
        while not all(write.done() for write in writes):
            found = await acme.execution_at("exe_1")
            assert found is not None
            execution, seq = found
            assert len(execution.events) == seq - 1
            await asyncio.sleep(0)
        await asyncio.gather(*writes)

    # --- erasing ---

    async def test_an_erased_payload_is_gone_and_the_log_still_verifies(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([of("exe_1", "weighed", {"name": "Ada"}), of("exe_1", "weighed", {"name": "Bob"})])
        before = await acme.records(limit=10)
        await acme.erase([3])
        await acme.erase([3, 99])
        after = await acme.records(limit=10)
        assert after[2] == msgspec.structs.replace(before[2], salt=None, payload=None)
        assert (*after[:2], *after[3:]) == (*before[:2], *before[3:])
        assert [e.payload for e in await acme.events(EventFilter(event_type="weighed"), limit=10)] == [
            {"erased": True},
            {"name": "Bob"},
        ]
        assert (await acme.execution_events("exe_1", after=1, limit=1))[0].payload == {"erased": True}
        assert (await verify(acme)).ok
        await acme.write([of("exe_1", "weighed", {"name": "Cem"})])
        assert (await verify(acme)).ok

    async def test_erasing_touches_no_other_tenant(self, store: Store, clock: VirtualClock) -> None:
        for name in ("acme", "globex"):
            await open_session(store.tenant(name), clock)
        await store.tenant("globex").erase([1])
        assert (await store.tenant("acme").events(EventFilter(), limit=1))[0].payload["user_id"] == "ada"

    # --- guards ---

    async def test_a_session_must_be_open(self, acme: TenantStore, clock: VirtualClock) -> None:
        await acme.write([session_created("ses_1", clock=clock, ttl_s=10), session_created("ses_2", clock=clock)])
        await acme.write([received("exe_1")], guards=[SessionOpen(session_id="ses_1")])
        await acme.write([Draft(event_type="session_closed", payload={}, session_id="ses_2")])
        await _refused(acme, SessionOpen(session_id="ses_9"), SessionRequired)
        await _refused(acme, SessionOpen(session_id="ses_2"), SessionExpired)
        await clock.advance(9.999)
        await acme.write([received("exe_2")], guards=[SessionOpen(session_id="ses_1")])
        await clock.advance(0.001)
        await _refused(acme, SessionOpen(session_id="ses_1"), SessionExpired)

    async def test_an_execution_must_not_have_ended(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([of("exe_1", "weighed", {})], guards=[NotEnded(execution_id="exe_1")])
        await acme.write([completed("exe_1")], guards=[NotEnded(execution_id="exe_1")])
        await _refused(acme, NotEnded(execution_id="exe_1"), Conflict)
        await _refused(acme, NotEnded(execution_id="exe_9"), NotFound)

    async def test_an_artifact_must_be_in_both_states(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([registered("art_1")], guards=[ArtifactAbsent(artifact_id="art_1")])
        ready = ArtifactIn(artifact_id="art_1", lifecycle_state="READY", status="draft")
        await _refused(acme, ArtifactAbsent(artifact_id="art_1"), Conflict)
        await _refused(acme, ArtifactIn(artifact_id="art_1", lifecycle_state="READY", status="accepted"), Conflict)
        await _refused(acme, ArtifactIn(artifact_id="art_1", lifecycle_state="PENDING", status="draft"), Conflict)
        await _refused(acme, ArtifactIn(artifact_id="art_9", lifecycle_state="READY", status="draft"), NotFound)
        await acme.write([transitioned("art_1", "ARCHIVED")], guards=[ready])
        await _refused(acme, ready, Conflict)

    async def test_a_pending_intent_must_have_its_status(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([pending_created("int_1")])
        changed = of("exe_1", "pending_intent_changed", {"pending_id": "int_1", "status": "started"})
        await acme.write([changed], guards=[PendingIn(pending_id="int_1", status="pending")])
        await _refused(acme, PendingIn(pending_id="int_1", status="pending"), Conflict)
        await _refused(acme, PendingIn(pending_id="int_9", status="pending"), NotFound)

    async def test_an_execution_must_be_held_under_this_very_fence(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        await _refused(acme, Holds(execution_id="exe_1", fence=0), LeaseLost)
        (claimed,) = await claim(store)
        held = Holds(execution_id="exe_1", fence=claimed.fence)
        await acme.write([of("exe_1", "weighed", {})], guards=[held])
        for fence in (claimed.fence - 1, claimed.fence + 1):
            await _refused(acme, Holds(execution_id="exe_1", fence=fence), LeaseLost)
        await _refused(acme, Holds(execution_id="exe_9", fence=claimed.fence), LeaseLost)
        await acme.write([completed("exe_1")], guards=[held])
        await _refused(acme, held, LeaseLost)

    async def test_every_guard_is_checked_before_anything_changes(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        good: list[Guard] = [SessionOpen(session_id="ses_1"), NotEnded(execution_id="exe_1")]
        await _refused(acme, ArtifactIn(artifact_id="art_1", lifecycle_state="READY", status="draft"), NotFound, good)

    async def test_a_refused_write_harms_none_that_shares_its_commit(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")

        async def write(n: int) -> Committed:
            draft = of("exe_1", "weighed", {"n": n})
            return await acme.write([draft, draft], guards=[NotEnded(execution_id="exe_9")] if n % 2 else [])

        answers = await asyncio.gather(*(write(n) for n in range(60)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Committed, NotFound] * 30
        found = await acme.events(EventFilter(event_type="weighed"), limit=100)
        assert [e.position for e in found] == list(range(3, 63))
        assert sorted(e.payload["n"] for e in found) == sorted([*range(0, 60, 2)] * 2)
        assert (await verify(acme)).ok

    @pytest.mark.parametrize(
        "draft",
        [
            of("exe_1", "weighed", {"object": object()}),
            of("exe_1", "weighed", {"text": "\ud800"}),
            of("exe_1", "weighed", {1: "a number as a key"}),  # type: ignore[dict-item]
        ],
    )
    async def test_what_json_cannot_say_is_refused_and_changes_nothing(
        self, acme: TenantStore, clock: VirtualClock, draft: Draft
    ) -> None:
        await open_session(acme, clock, "exe_1")
        before = await everything(acme)
        good = of("exe_1", "weighed", {})
        with pytest.raises(Invalid):
            await acme.write([good, draft])
        assert await everything(acme) == before
        answers = await asyncio.gather(
            acme.write([good]), acme.write([good, draft]), acme.write([good]), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [Committed, Invalid, Committed]
        assert (await acme.head())[0] == 4

    @pytest.mark.parametrize(
        "contradiction",
        [
            of("exe_9", "execution_started", {"attempt": 1}),
            of("exe_1", "artifact_transitioned", {"artifact_id": "art_9", "lifecycle_state": "READY"}),
            of("exe_1", "execution_progress", {"fraction": "most of it"}),
            Draft(event_type="session_updated", payload={"context": {}}, session_id="ses_9"),
        ],
        ids=lambda draft: draft.event_type,
    )
    async def test_what_contradicts_the_log_changes_nothing_and_harms_no_neighbour(
        self, acme: TenantStore, clock: VirtualClock, contradiction: Draft
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        before = await everything(acme)
        changes = [of("exe_1", "execution_state_set", {"state": {"a": 1}}), completed("exe_2"), registered("art_1")]
        with pytest.raises((AssertionError, msgspec.ValidationError)):
            await acme.write([*changes, contradiction])
        assert await everything(acme) == before
        answers = await asyncio.gather(
            acme.write([of("exe_1", "weighed", {"n": 1})]),
            acme.write([*changes, contradiction]),
            acme.write([of("exe_1", "weighed", {"n": 2})]),
            return_exceptions=True,
        )
        assert isinstance(answers[0], Committed)
        assert isinstance(answers[1], (AssertionError, msgspec.ValidationError))
        assert isinstance(answers[2], Committed)
        assert [e.position for e in await acme.events(EventFilter(event_type="weighed"), limit=9)] == [4, 5]
        assert (await verify(acme)).ok
        assert (await replay_against_store(acme)).differences == ()

    # --- idempotency ---

    async def test_a_key_that_was_used_answers_the_first_execution(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock)
        guard = Idempotent(user_id="ada", key="k", fingerprint="same")
        first = await acme.write([idempotent("k", "exe_1", clock=clock)], guards=[guard])
        before = await everything(acme)
        again = await acme.write([idempotent("k", "exe_2", clock=clock)], guards=[guard])
        assert (first.replayed, again) == (None, Committed(events=(), replayed="exe_1"))
        with pytest.raises(IdempotencyMismatch):
            await acme.write([received("exe_3")], guards=[Idempotent(user_id="ada", key="k", fingerprint="other")])
        assert await everything(acme) == before

    async def test_keys_belong_to_tenant_and_user_and_are_forgotten_in_time(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        globex = store.tenant("globex")
        for tenant in (acme, globex):
            await open_session(tenant, clock)
        guard = Idempotent(user_id="ada", key="k", fingerprint="same")
        await acme.write([idempotent("k", "exe_1", clock=clock)], guards=[guard])
        assert (await globex.write([idempotent("k", "exe_1", clock=clock)], guards=[guard])).replayed is None
        others = Idempotent(user_id="bob", key="k", fingerprint="other")
        draft = idempotent("k", "exe_2", clock=clock, user_id="bob", print_="other")
        assert (await acme.write([draft], guards=[others])).replayed is None
        await clock.advance(59.999)
        assert (await acme.write([idempotent("k", "exe_3", clock=clock)], guards=[guard])).replayed == "exe_1"
        await clock.advance(0.001)
        assert (await acme.write([idempotent("k", "exe_3", clock=clock)], guards=[guard])).replayed is None
        assert (await acme.write([idempotent("k", "exe_4", clock=clock)], guards=[guard])).replayed == "exe_3"

    async def test_a_hundred_submissions_with_one_key_are_one_execution(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock)
        guard = Idempotent(user_id="ada", key="k", fingerprint="same")
        answers = await asyncio.gather(
            *(acme.write([idempotent("k", f"exe_{n}", clock=clock)], guards=[guard]) for n in range(100))
        )
        (first,) = [answer for answer in answers if answer.replayed is None]
        name = first.events[0].execution_id
        assert {answer.replayed for answer in answers if answer is not first} == {name}
        assert [e.execution_id for e in (await acme.executions(ExecutionFilter(), limit=200)).items] == [name]
        assert (await acme.head())[0] == 2

    # --- claims ---

    async def test_a_claim_marks_the_execution_running_and_says_so_in_the_log(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        await clock.advance(5)
        (claimed,) = await claim(store)
        execution = await _execution(acme, "exe_1")
        assert claimed == Claim(
            execution=execution, fence=claimed.fence, events=await acme.execution_events("exe_1", after=1, limit=9)
        )
        assert (execution.status, execution.lifecycle_state) == (Status.RUNNING, Status.RUNNING)
        assert (execution.attempt, execution.started_at) == (1, "2026-01-01T00:00:05.000Z")
        (started,) = claimed.events
        assert (started.event_type, started.seq) == ("execution_started", 2)
        assert started.payload == {"attempt": 1, "fence": claimed.fence, "owner": "w1"}
        assert await claim(store) == ()

    async def test_the_highest_priority_comes_first_and_then_the_oldest(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await acme.write([session_created(clock=clock)])
        await acme.write(
            [received(f"exe_{n}", priority=priority) for n, priority in enumerate([0, -5, 7, 0, 7, -100, 100])]
        )
        taken = [ids_of(await claim(store, limit=2)) for _ in range(4)]
        assert taken == [["exe_6", "exe_2"], ["exe_4", "exe_0"], ["exe_3", "exe_1"], ["exe_5"]]

    async def test_no_more_are_taken_than_asked_for(self, store: Store, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, *(f"exe_{n}" for n in range(5)))
        assert [len(await claim(store, limit=limit)) for limit in (1, 3, 3, 3)] == [1, 3, 1, 0]

    async def test_a_busy_tenant_does_not_keep_the_others_waiting(self, store: Store, clock: VirtualClock) -> None:
        busy = [f"exe_{n}" for n in range(50)]
        await open_session(store.tenant("busy"), clock, *busy)
        for name in ("calm", "quiet"):
            await open_session(store.tenant(name), clock, "exe_1")
        served = {each.execution.tenant_id for each in await claim(store, limit=6)}
        assert served == {"busy", "calm", "quiet"}

    async def test_tenants_take_turns_when_there_is_room_for_one(self, store: Store, clock: VirtualClock) -> None:
        for name in ("a", "b", "c"):
            await open_session(store.tenant(name), clock, "exe_1", "exe_2")
        turns = [each.execution.tenant_id for _ in range(6) for each in await claim(store, limit=1)]
        assert [sorted(turns[:3]), sorted(turns[3:])] == [["a", "b", "c"], ["a", "b", "c"]]

    async def test_room_that_one_tenant_does_not_need_goes_to_the_others(
        self, store: Store, clock: VirtualClock
    ) -> None:
        await open_session(store.tenant("a"), clock, "exe_1")
        await open_session(store.tenant("b"), clock, *(f"exe_{n}" for n in range(9)))
        taken: list[Claim] = []
        while found := await claim(store, limit=10 - len(taken)):
            taken += found
        assert len(taken) == 10

    async def test_no_tenant_gets_more_than_its_share_running_at_once(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2", "exe_3", "exe_4")
        await open_session(store.tenant("globex"), clock, "exe_1")
        taken = [each.execution.tenant_id for each in await claim(store, running_max=2)]
        assert sorted(taken) == ["acme", "acme", "globex"]
        assert await claim(store, "w2", running_max=2) == ()
        await acme.write([completed("exe_1")])
        assert ids_of(await claim(store, running_max=2)) == ["exe_3"]
        assert ids_of(await claim(store, running_max=3)) == ["exe_4"]

    async def test_a_lapsed_lease_does_not_count_as_running(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        assert ids_of(await claim(store, running_max=1)) == ["exe_1"]
        await clock.advance(LEASE_S)
        assert ids_of(await claim(store, "w2", running_max=1)) == ["exe_1"]

    async def test_of_one_concurrency_key_only_one_runs(self, store: Store, clock: VirtualClock) -> None:
        acme, globex = store.tenant("acme"), store.tenant("globex")
        for tenant in (acme, globex):
            await tenant.write([session_created(clock=clock)])
            await tenant.write(
                [
                    received("exe_1", concurrency_key="k"),
                    received("exe_2", concurrency_key="k"),
                    received("exe_3", concurrency_key="other"),
                    received("exe_4"),
                    received("exe_5"),
                ]
            )

        async def taken() -> list[tuple[str, str]]:
            found: list[Claim] = []
            while more := await claim(store):
                found += more
            return sorted((each.execution.tenant_id, each.execution.execution_id) for each in found)

        first = ["exe_1", "exe_3", "exe_4", "exe_5"]
        assert await taken() == [("acme", name) for name in first] + [("globex", name) for name in first]
        assert await taken() == []
        await acme.write([completed("exe_1")])
        assert await taken() == [("acme", "exe_2")]
        await globex.write([waiting("exe_1", clock.now_ms() + 1000)])
        assert await taken() == [("globex", "exe_2")]
        await clock.advance(2)
        assert await taken() == []

    async def test_many_waiting_for_one_key_do_not_hide_those_behind_them(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await acme.write([session_created(clock=clock)])
        await acme.write([received(f"exe_{n}", concurrency_key="k", priority=1) for n in range(20)])
        await acme.write([received("exe_free")])
        taken = ids_of(await claim(store, limit=2)) + ids_of(await claim(store, limit=1))
        assert sorted(taken) == ["exe_0", "exe_free"]

    async def test_nothing_is_claimed_before_its_time(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await acme.write([session_created(clock=clock)])
        later = clock.now_ms() + 10_000
        await acme.write(
            [received("exe_1", not_before=instant(later)), received("exe_2", not_before=instant(later - 1))]
        )
        assert await claim(store) == ()
        assert await store.next_due_ms() == later - 1
        await clock.advance(9.999)
        assert ids_of(await claim(store)) == ["exe_2"]
        await clock.advance(0.001)
        assert ids_of(await claim(store)) == ["exe_1"]

    async def test_an_ended_execution_is_never_claimed_again(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        await acme.write([completed("exe_1")])
        assert ids_of(await claim(store)) == ["exe_2"]
        await acme.write([completed("exe_2")])
        await clock.advance(10 * LEASE_S)
        assert await claim(store) == ()
        assert await store.next_due_ms() is None

    async def test_one_that_waits_is_claimed_when_its_time_has_come(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        (first,) = await claim(store)
        until = clock.now_ms() + 5000
        held = Holds(execution_id="exe_1", fence=first.fence)
        await acme.write([waiting("exe_1", until)], guards=[held])
        assert (await _execution(acme, "exe_1")).waiting_on == {"kind": "retry", "until": instant(until)}
        await _refused(acme, held, LeaseLost)
        assert (await claim(store), await store.next_due_ms()) == ((), until)
        assert await store.renew("w1", ["exe_1"], lease_s=LEASE_S) == frozenset()
        await clock.advance(5)
        (second,) = await claim(store, "w2")
        assert second.fence > first.fence
        assert (second.execution.attempt, second.execution.waiting_on) == (2, None)

    async def test_claims_in_parallel_share_nothing(self, store: Store, acme: TenantStore, clock: VirtualClock) -> None:
        names = [f"exe_{n}" for n in range(40)]
        await open_session(acme, clock, *names)
        taken = await asyncio.gather(*(claim(store, f"w{n}", limit=3) for n in range(20)))
        assert sorted(name for each in taken for name in ids_of(each)) == sorted(names)

    # --- leases ---

    async def test_a_lapsed_lease_is_taken_over_under_a_higher_fence(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        (first,) = await claim(store, "w1")
        await clock.advance(LEASE_S - 0.001)
        assert await claim(store, "w2") == ()
        await clock.advance(0.001)
        (second,) = await claim(store, "w2")
        assert second.fence > first.fence
        assert second.execution.attempt == 2
        assert second.execution.started_at == first.execution.started_at
        await _refused(acme, Holds(execution_id="exe_1", fence=first.fence), LeaseLost)
        await acme.write([completed("exe_1")], guards=[Holds(execution_id="exe_1", fence=second.fence)])

    async def test_who_lost_a_lease_cannot_renew_or_release_it(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        await claim(store, "w1")
        await clock.advance(LEASE_S)
        assert await store.renew("w1", ["exe_1"], lease_s=LEASE_S) == frozenset()
        (second,) = await claim(store, "w2")
        assert await store.renew("w1", ["exe_1"], lease_s=LEASE_S) == frozenset()
        assert await store.release("w1") == 0
        await acme.write([of("exe_1", "weighed", {})], guards=[Holds(execution_id="exe_1", fence=second.fence)])

    async def test_a_renewed_lease_lasts_from_now_on(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        await claim(store, "w1")
        await clock.advance(LEASE_S - 1)
        assert await store.renew("w1", ["exe_1", "exe_9"], lease_s=LEASE_S) == {"exe_1"}
        assert await store.renew("w2", ["exe_1"], lease_s=LEASE_S) == frozenset()
        await clock.advance(1)
        assert ids_of(await claim(store, "w2")) == ["exe_2"]
        await clock.advance(LEASE_S - 1)
        assert ids_of(await claim(store, "w3")) == ["exe_1"]

    async def test_released_leases_are_free_at_once_and_their_holder_is_fenced_off(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        (mine,) = await claim(store, "w1", limit=1)
        (theirs,) = await claim(store, "w2", limit=1)
        assert await store.release("w1") == 1
        assert await store.release("w1") == 0
        await _refused(acme, Holds(execution_id="exe_1", fence=mine.fence), LeaseLost)
        await acme.write([of("exe_2", "weighed", {})], guards=[Holds(execution_id="exe_2", fence=theirs.fence)])
        (again,) = await claim(store, "w3")
        assert (again.execution.execution_id, again.fence > mine.fence) == ("exe_1", True)

    async def test_the_fence_only_grows(self, store: Store, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        fences = []
        for turn in range(6):
            (claimed,) = await claim(store, f"w{turn}")
            fences.append(claimed.fence)
            if turn % 3 == 0:
                await store.release(f"w{turn}")
            elif turn % 3 == 1:
                await clock.advance(LEASE_S)
            else:
                await acme.write([waiting("exe_1", clock.now_ms())])
        assert fences == sorted(set(fences))
        assert (await _execution(acme, "exe_1")).attempt == 6

    async def test_the_next_moment_is_the_next_work_or_the_next_end_of_a_lease(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        assert await store.next_due_ms() is None
        await open_session(acme, clock, "exe_1")
        due = await store.next_due_ms()
        assert due is not None
        assert due <= clock.now_ms()
        await claim(store)
        lease_end = clock.now_ms() + round(LEASE_S * 1000)
        assert await store.next_due_ms() == lease_end
        await acme.write([received("exe_2", not_before=instant(lease_end - 7))])
        assert await store.next_due_ms() == lease_end - 7
        await acme.write([completed("exe_1")])
        await acme.write([completed("exe_2")])
        assert await store.next_due_ms() is None

    async def test_what_is_overdue_does_not_hide_the_next_moment(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        soon = clock.now_ms() + 1000
        await open_session(acme, clock, "exe_1", "exe_2")
        await acme.write([received("exe_3", not_before=instant(soon))])
        await claim(store, running_max=1)
        assert await store.next_due_ms(after_ms=clock.now_ms()) == soon
        assert await store.next_due_ms(after_ms=soon) == clock.now_ms() + round(LEASE_S * 1000)
        assert await store.next_due_ms(after_ms=clock.now_ms() + round(LEASE_S * 1000)) is None

    # --- lists ---

    async def test_executions_are_listed_newest_first_and_filtered(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_c", "exe_a", "exe_d")
        await open_session(acme, clock, "exe_b", session_id="ses_2")
        await acme.write([received("exe_e", session_id="ses_2", intent_type="count")])
        await acme.write([completed("exe_a"), completed("exe_e", session_id="ses_2")])

        async def names(limit: int = 10, **where: Any) -> list[str]:
            return [e.execution_id for e in (await acme.executions(ExecutionFilter(**where), limit=limit)).items]

        assert await names() == ["exe_e", "exe_b", "exe_d", "exe_a", "exe_c"]
        assert await names(session_id="ses_1") == ["exe_d", "exe_a", "exe_c"]
        assert await names(status="completed") == ["exe_e", "exe_a"]
        assert await names(intent_type="count") == ["exe_e"]
        assert await names(intent_type="weigh", status="created", session_id="ses_2") == ["exe_b"]
        assert await names(session_id="ses_9") == []
        assert await names(limit=2) == ["exe_e", "exe_b"]

    async def test_pages_cover_a_list_once_while_it_grows(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, *(f"exe_{n}" for n in range(7)))
        seen: list[str] = []
        before: int | None = None
        while True:
            page = await acme.executions(ExecutionFilter(status="created"), limit=3, before=before)
            seen += [e.execution_id for e in page.items]
            await acme.write([received(f"exe_late_{len(seen)}")])
            if page.next_cursor is None:
                break
            before = int(page.next_cursor)
        assert seen == [f"exe_{n}" for n in reversed(range(7))]

    async def test_the_last_page_has_no_cursor(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        assert (await acme.executions(ExecutionFilter(), limit=2)).next_cursor is None
        assert (await acme.executions(ExecutionFilter(), limit=1)).next_cursor is not None
        empty = await acme.artifacts(ArtifactFilter(), limit=1)
        assert (empty.items, empty.next_cursor) == ((), None)

    async def test_artifacts_are_listed_newest_first_and_filtered(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await open_session(acme, clock, "exe_2", session_id="ses_2")
        await acme.write(
            [
                registered("art_1", artifact_type="file"),
                registered("art_2", artifact_type="text", parents=["art_1"]),
                registered("art_3", artifact_type="text", parents=["art_1"], lifecycle_state="PENDING"),
                registered(
                    "art_4", artifact_type="sum", parents=["art_2", "art_3"], execution_id="exe_2", session_id="ses_2"
                ),
                transitioned("art_2", "ARCHIVED"),
            ]
        )

        async def names(limit: int = 10, before: int | None = None, **where: Any) -> list[str]:
            page = await acme.artifacts(ArtifactFilter(**where), limit=limit, before=before)
            return [a.artifact_id for a in page.items]

        assert await names() == ["art_4", "art_3", "art_2", "art_1"]
        assert await names(limit=2) == ["art_4", "art_3"]
        assert await names(artifact_types=("text", "sum")) == ["art_4", "art_3", "art_2"]
        assert await names(lifecycle_states=("PENDING", "ARCHIVED")) == ["art_3", "art_2"]
        assert await names(session_id="ses_2") == ["art_4"]
        assert await names(parent_artifact_id="art_1") == ["art_3", "art_2"]
        assert await names(parent_artifact_id="art_1", lifecycle_states=("READY",)) == []
        assert await names(parent_artifact_id="art_3", artifact_types=("sum",), session_id="ses_2") == ["art_4"]
        second = await acme.artifacts(ArtifactFilter(parent_artifact_id="art_1"), limit=1)
        assert await names(before=int(second.next_cursor or 0), parent_artifact_id="art_1") == ["art_2"]
        assert [a.artifact_id for a in await acme.children("art_1")] == ["art_2", "art_3"]
        assert await acme.children("art_4") == ()

    async def test_an_artifact_is_read_as_it_stands_now(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([registered("art_1", semantic_payload={"kg": 3})])
        await clock.advance(1)
        await acme.write([transitioned("art_1", "ARCHIVED")])
        found = await acme.artifact("art_1")
        assert found is not None
        assert msgspec.to_builtins(found) == {
            "artifact_id": "art_1",
            "artifact_type": "note",
            "tenant_id": "acme",
            "session_id": "ses_1",
            "produced_by": {"intent": "weigh", "execution_id": "exe_1"},
            "lifecycle_state": "ARCHIVED",
            "status": "draft",
            "version": 1,
            "semantic_descriptor": {},
            "semantic_payload": {"kg": 3},
            "parent_artifacts": (),
            "materializations": (),
            "ordinal": 3,
            "created_at": "2026-01-01T00:00:00.000Z",
            "updated_at": "2026-01-01T00:00:01.000Z",
        }
        assert await acme.artifact("art_9") is None

    async def test_pending_intents_are_listed_newest_first_and_filtered(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1")
        await open_session(acme, clock, session_id="ses_2")
        await acme.write(
            [
                pending_created("int_1", "art_1"),
                pending_created("int_2", "art_2", intent_type="count"),
                pending_created("int_3", "art_1", session_id="ses_2"),
                of("exe_1", "pending_intent_changed", {"pending_id": "int_1", "status": "completed"}),
            ]
        )

        async def names(limit: int = 10, **where: Any) -> list[str]:
            return [p.pending_id for p in (await acme.pending(PendingFilter(**where), limit=limit)).items]

        assert await names() == ["int_3", "int_2", "int_1"]
        assert await names(limit=1) == ["int_3"]
        assert await names(session_id="ses_1") == ["int_2", "int_1"]
        assert await names(intent_type="count") == ["int_2"]
        assert await names(target_artifact_id="art_1") == ["int_3", "int_1"]
        assert await names(target_artifact_id="art_1", status="pending") == ["int_3"]
        assert await names(status="completed", session_id="ses_2") == []

    async def test_pages_cover_the_pending_intents_once_while_they_grow(
        self, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock)
        await acme.write([pending_created(f"int_{n}", f"art_{n % 2}") for n in range(10)])
        pages: list[list[str]] = []
        before: int | None = None
        while True:
            page = await acme.pending(PendingFilter(target_artifact_id="art_1"), limit=2, before=before)
            pages.append([p.pending_id for p in page.items])
            await acme.write([pending_created(f"int_late_{len(pages)}", "art_1")])
            if page.next_cursor is None:
                break
            before = int(page.next_cursor)
        assert pages == [["int_9", "int_7"], ["int_5", "int_3"], ["int_1"]]
        assert (await acme.pending(PendingFilter(target_artifact_id="art_0"), limit=5)).next_cursor is None

    async def test_a_projection_is_paged_by_id(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_b", "exe_c", "exe_a")
        whole = await acme.projection("execution", limit=10)
        assert [key for key, _ in whole] == ["exe_a", "exe_b", "exe_c"]
        assert [value for _, value in whole] == [await acme.execution(key) for key, _ in whole]
        assert await acme.projection("execution", limit=1) == whole[:1]
        assert await acme.projection("execution", after="exe_a", limit=1) == whole[1:2]
        assert await acme.projection("execution", after="exe_c", limit=1) == ()
        assert [key for key, _ in await acme.projection("session", limit=10)] == ["ses_1"]
        for kind in ("artifact", "pending", "saga"):
            assert await acme.projection(kind, limit=10) == ()

    async def test_tenants_are_those_with_a_log(self, store: Store, clock: VirtualClock) -> None:
        assert await store.tenants() == ()
        for name in ("globex", "acme"):
            await open_session(store.tenant(name), clock)
        await store.tenant("nobody").session("ses_1")
        assert await store.tenants() == ("acme", "globex")

    # --- what was acknowledged is there ---

    async def test_reads_see_every_write_that_was_acknowledged(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock)

        async def one(n: int) -> None:
            name = f"exe_{n}"
            (event,) = (await acme.write([received(name)])).events
            assert (await _execution(acme, name)).ordinal == event.position
            await acme.write([completed(name, n)])
            assert (await _execution(acme, name)).result == n
            assert (await acme.execution_events(name, after=1, limit=1))[0].event_type == "execution_completed"
            assert (await acme.head())[0] >= event.position

        await asyncio.gather(*(one(n) for n in range(30)))

    async def test_a_projection_is_what_the_log_folds_to(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        await open_session(acme, clock, "exe_1", "exe_2")
        await claim(store)
        await acme.write([registered("art_1"), pending_created("int_1"), waiting("exe_2", clock.now_ms())])
        await acme.write(
            [
                Draft(event_type="session_updated", payload={"context": {"a": {"b": 1}}}, session_id="ses_1"),
                transitioned("art_1", "ARCHIVED"),
                completed("exe_1", {"kg": 1}),
            ]
        )
        replayed = await replay_against_store(acme)
        assert replayed.differences == ()
        assert replayed.counts == {"session": 1, "execution": 2, "artifact": 1, "pending": 1, "saga": 0}

    async def test_a_probe_says_that_all_is_well(self, store: Store) -> None:
        assert (await store.probe()).status == "ok"

    async def test_a_closed_store_takes_and_gives_nothing(self, store: Store, clock: VirtualClock) -> None:
        acme = store.tenant("acme")
        await open_session(acme, clock)
        await store.close()
        with pytest.raises(StoreFailed):
            await acme.write([received("exe_1")])
        with pytest.raises(StoreFailed):
            await acme.session("ses_1")
        with pytest.raises(StoreFailed):
            await claim(store)

    # --- walls ---

    async def test_no_read_reaches_another_tenant(self, store: Store, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([registered("art_1"), registered("art_2", parents=["art_1"]), pending_created("int_1")])
        await acme.write([_saga_created("sag_1")])
        globex = store.tenant("globex")
        await globex.write([session_created("ses_2", clock=clock)])
        assert await globex.session("ses_1") is None
        assert await globex.execution("exe_1") is None
        assert await globex.execution_at("exe_1") is None
        assert (await globex.executions(ExecutionFilter(), limit=9)).items == ()
        assert (await globex.executions(ExecutionFilter(session_id="ses_1"), limit=9)).items == ()
        assert await globex.artifact("art_1") is None
        assert (await globex.artifacts(ArtifactFilter(), limit=9)).items == ()
        assert (await globex.artifacts(ArtifactFilter(parent_artifact_id="art_1"), limit=9)).items == ()
        assert await globex.children("art_1") == ()
        assert (await globex.pending(PendingFilter(), limit=9)).items == ()
        assert await globex.saga("sag_1") is None
        assert [e.session_id for e in await globex.events(EventFilter(), limit=9)] == ["ses_2"]
        assert await globex.events(EventFilter(session_id="ses_1"), limit=9) == ()
        assert await globex.events(EventFilter(execution_id="exe_1"), limit=9) == ()
        assert await globex.execution_events("exe_1", limit=9) == ()
        assert (await globex.head())[0] == 1
        assert len(await globex.records(limit=9)) == 1
        kinds = ("session", "execution", "artifact", "pending", "saga")
        assert [len(await globex.projection(kind, limit=9)) for kind in kinds] == [1, 0, 0, 0, 0]

    async def test_no_guard_sees_another_tenant(self, store: Store, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock, "exe_1")
        await acme.write([registered("art_1"), pending_created("int_1")])
        (claimed,) = await claim(store)
        globex = store.tenant("globex")
        await _refused(globex, SessionOpen(session_id="ses_1"), SessionRequired)
        await _refused(globex, Holds(execution_id="exe_1", fence=claimed.fence), LeaseLost)
        await _refused(globex, NotEnded(execution_id="exe_1"), NotFound)
        await _refused(globex, ArtifactIn(artifact_id="art_1", lifecycle_state="READY", status="draft"), NotFound)
        await _refused(globex, PendingIn(pending_id="int_1", status="pending"), NotFound)
        await globex.write([session_created(clock=clock)], guards=[ArtifactAbsent(artifact_id="art_1")])

    async def test_equal_ids_of_two_tenants_are_two_things(self, store: Store, clock: VirtualClock) -> None:
        acme, globex = store.tenant("acme"), store.tenant("globex")
        for tenant in (acme, globex):
            await open_session(tenant, clock, "exe_1")
            await tenant.write([registered("art_1", semantic_payload=tenant.tenant_id)])
        await acme.write([completed("exe_1", "ours"), transitioned("art_1", "ARCHIVED")])
        theirs = await globex.artifact("art_1")
        assert theirs is not None
        assert (theirs.semantic_payload, theirs.lifecycle_state) == ("globex", "READY")
        assert (await _execution(globex, "exe_1")).status is Status.CREATED
        assert [each.execution.tenant_id for each in await claim(store)] == ["globex"]

    # --- values are values ---

    async def test_nothing_handed_in_or_out_is_a_handle_on_the_store(
        self, store: Store, acme: TenantStore, clock: VirtualClock
    ) -> None:
        shared: JsonObject = {"list": [1]}
        drafts = [
            session_created(clock=clock, context=shared, metadata=shared),
            received("exe_1", parameters=shared),
            of("exe_1", "execution_state_set", {"state": shared}),
            of("exe_1", "weighed", shared),
            registered("art_1", semantic_payload=shared, semantic_descriptor=shared),
            pending_created("int_1", parameters=shared),
            _saga_created("sag_1", context=shared),
        ]
        committed = await acme.write(drafts)
        await acme.write([of("exe_1", "saga_started", {"saga_id": "sag_1"})])
        (claimed,) = await claim(store)
        before = await everything(acme)
        handed_out = [
            drafts,
            committed,
            claimed,
            await acme.session("ses_1"),
            await acme.execution("exe_1"),
            await acme.execution_at("exe_1"),
            await acme.executions(ExecutionFilter(), limit=9),
            await acme.artifact("art_1"),
            await acme.artifacts(ArtifactFilter(), limit=9),
            await acme.pending(PendingFilter(), limit=9),
            await acme.saga("sag_1"),
            await acme.events(EventFilter(), limit=9),
            await acme.execution_events("exe_1", limit=9),
            await acme.records(limit=9),
            [await acme.projection(kind, limit=9) for kind in ("session", "execution", "artifact", "pending", "saga")],
        ]
        for value in handed_out:
            _spoil(value)
        assert await everything(acme) == before
        # What the store still remembers must be untouched as well: these events rewrite every row from it.
        await acme.write(
            [
                Draft(event_type="session_updated", payload={"metadata": {"n": 1}}, session_id="ses_1"),
                of("exe_1", "execution_progress", {"fraction": 0.5}),
                transitioned("art_1", "ARCHIVED"),
                of("exe_1", "pending_intent_changed", {"pending_id": "int_1", "status": "started"}),
                of("exe_1", "saga_step_added", {"saga_id": "sag_1", "step": {"name": "s", "intent_type": "weigh"}}),
            ]
        )
        assert (await replay_against_store(acme)).differences == ()
        assert (await verify(acme)).ok

    async def test_an_erased_payload_handed_out_is_a_value_too(self, acme: TenantStore, clock: VirtualClock) -> None:
        await open_session(acme, clock)
        await acme.erase([1])
        _spoil(await acme.events(EventFilter(), limit=1))
        assert (await acme.events(EventFilter(), limit=1))[0].payload == {"erased": True} == ERASED

    async def test_a_session_expires_by_the_clock_alone(self, acme: TenantStore, clock: VirtualClock) -> None:
        await acme.write([session_created(clock=clock, ttl_s=1)])
        found = await acme.session("ses_1")
        assert found is not None
        assert found.lifecycle_state is SessionState.ACTIVE
        await clock.advance(1)
        assert await acme.session("ses_1") == found
        assert found.at(instant(clock.now_ms())).lifecycle_state is SessionState.EXPIRED


async def _execution(tenant: TenantStore, execution_id: str) -> Execution:
    found = await tenant.execution(execution_id)
    assert found is not None
    return found


async def _refused(tenant: TenantStore, guard: Guard, error: type[Exception], others: Sequence[Guard] = ()) -> None:
    """The guard raises its error, and nothing has changed."""
    before = await everything(tenant)
    drafts = [Draft(event_type="policy_decided", payload={"n": 1}), Draft(event_type="policy_decided", payload={})]
    with pytest.raises(error) as refused:
        await tenant.write(drafts, guards=[*others, guard])
    assert type(refused.value) is error
    assert await everything(tenant) == before


def _saga_created(saga_id: str, context: JsonObject | None = None) -> Draft:
    payload = {"saga_id": saga_id, "saga_name": "weigh_all", "steps": [], "context": context or {}}
    return Draft(event_type="saga_created", payload=payload, session_id="ses_1")


def _spoil(value: Any) -> None:
    """Change every list and dictionary that can be reached."""
    match value:
        case dict():
            for below in value.values():
                _spoil(below)
            value["spoiled"] = True
        case list():
            for below in value:
                _spoil(below)
            value.append("spoiled")
        case tuple():
            for below in value:
                _spoil(below)
        case msgspec.Struct():
            for name in value.__struct_fields__:
                _spoil(getattr(value, name))
