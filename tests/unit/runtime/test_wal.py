"""The write-ahead log: who is told of what was written, what can be proven of it, what can be rebuilt from it."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capability import ExecutionContext, IntentResult
from symphainy.errors import NotFound
from symphainy.model import Draft, Event, JsonObject, Role
from symphainy.model.seal import GENESIS, Header, commit, header_bytes, leaf, link, payload_bytes
from symphainy.ports import NotEnded, Record
from symphainy.runtime.wal import Verdict, WriteAheadLog, replay, replay_against_store, verify
from tests.runtimes import Ground, Runtime, ended, run, searched, submit

SHARED = searched(60)


def noted(n: int = 0, **payload: Any) -> Draft:
    return Draft(event_type="policy_decided", payload={"n": n, **payload})


async def quick(ctx: ExecutionContext, params: Any) -> IntentResult:
    return IntentResult(result=params.model_dump())


# --- writing ---


async def test_who_listens_is_told_what_was_written_once_it_is_written(still: Ground) -> None:
    runtime = Runtime(still, {"work": quick})
    door = runtime.door()
    session = await door.create_session()
    execution_id = await submit(door, session.session_id)
    async with runtime.hot.subscribe("acme", execution_id) as listening, runtime.hot.subscribe("globex", execution_id):
        drafts = [
            Draft(event_type="weighed", payload={"n": n}, session_id=session.session_id, execution_id=execution_id)
            for n in range(3)
        ]
        committed = await runtime.engine.log.write("acme", [*drafts, noted()])
        told = [await listening.next() for _ in range(3)]
    assert told == list(committed.events[:3])
    assert [event.seq for event in committed.events] == [2, 3, 4, None]


async def test_nobody_is_told_of_what_was_refused(still: Ground) -> None:
    runtime = Runtime(still, {"work": quick})
    async with runtime.hot.subscribe("acme", "exe_1") as listening:
        with pytest.raises(NotFound):
            await runtime.engine.log.write("acme", [noted()], guards=[NotEnded(execution_id="exe_1")])
        still_nothing = asyncio.ensure_future(listening.next(timeout_s=1))
        await still.clock.until_sleeping()
        await still.clock.advance(1)
        assert await still_nothing is None
    assert await still.store.tenant("acme").head() == (0, GENESIS)


async def test_only_an_intent_wakes_the_worker(still: Ground) -> None:
    runtime = Runtime(still, {"work": quick})
    woken: list[str] = []
    runtime.engine.log.on_work = lambda: woken.append("work")
    door = runtime.door()
    session = await door.create_session()
    await door.update_session(session.session_id, context={"a": 1})
    assert woken == []
    await submit(door, session.session_id)
    assert woken == ["work"]


# --- proving, over rows that were altered ---


class Shelf:
    """Rows of a log and its head, as some store might hold them."""

    def __init__(self, rows: Sequence[Record], head: tuple[int, bytes], tenant_id: str = "acme") -> None:
        self.tenant_id = tenant_id
        self.rows = list(rows)
        self.newest = head

    async def records(self, *, after: int = 0, limit: int) -> tuple[Record, ...]:
        ordered = sorted(self.rows, key=lambda row: row.position)
        return tuple(row for row in ordered if row.position > after)[:limit]

    async def head(self) -> tuple[int, bytes]:
        return self.newest

    async def verified(self) -> Verdict:
        return await verify(self)  # type: ignore[arg-type]


async def shelf_of(base: Ground, count: int = 8) -> Shelf:
    tenant = base.store.tenant("acme")
    if (await tenant.head())[0] == 0:
        await tenant.write([noted(n) for n in range(count)])
    return Shelf(await tenant.records(limit=100), await tenant.head())


@pytest.fixture
async def shelf(still: Ground) -> Shelf:
    return await shelf_of(still)


async def test_a_whole_log_verifies_and_tells_its_head(shelf: Shelf) -> None:
    assert await shelf.verified() == Verdict(tenant_id="acme", events=8, head=shelf.rows[-1].chain.hex())
    assert await Shelf([], (0, GENESIS)).verified() == Verdict(tenant_id="acme", events=0, head=GENESIS.hex())


@SHARED
@given(at=st.integers(0, 7), part=st.sampled_from(["header", "salt", "payload", "commitment", "chain"]), data=st.data())
async def test_whichever_byte_is_altered_its_event_is_named(
    still: Ground, at: int, part: str, data: st.DataObject
) -> None:
    shelf = await shelf_of(still)
    before: bytes = getattr(shelf.rows[at], part)
    index = data.draw(st.integers(0, len(before) - 1))
    altered = bytearray(before)
    altered[index] ^= data.draw(st.integers(1, 255))
    shelf.rows[at] = msgspec.structs.replace(shelf.rows[at], **{part: bytes(altered)})
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.position, verdict.events) == (False, at + 1, at)


@SHARED
@given(at=st.integers(0, 7), part=st.sampled_from(["header", "salt", "payload", "commitment", "chain"]), data=st.data())
async def test_whatever_is_put_in_place_of_a_part_its_event_is_named(
    still: Ground, at: int, part: str, data: st.DataObject
) -> None:
    shelf = await shelf_of(still)
    junk = st.one_of(st.binary(max_size=40), st.text(max_size=9), st.integers(), st.none(), st.floats(allow_nan=False))
    put = data.draw(junk.filter(lambda value: value != getattr(shelf.rows[at], part)))
    shelf.rows[at] = msgspec.structs.replace(shelf.rows[at], **{part: put})
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.position, verdict.events) == (False, at + 1, at)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tenant_id", "globex"),
        ("position", 99),
        ("seq", 1),
        ("event_type", "execution_completed"),
        ("session_id", "ses_1"),
        ("execution_id", "exe_1"),
    ],
)
async def test_a_column_that_says_something_else_than_the_header_is_named(
    shelf: Shelf, column: str, value: Any
) -> None:
    row = shelf.rows[3]
    shelf.rows[3] = msgspec.structs.replace(row, columns={**row.columns, column: value})
    verdict = await shelf.verified()
    assert (verdict.position, verdict.event_id) == (4, msgspec.json.decode(row.header)["event_id"])
    assert verdict.problem == f"event 4 was altered: {column} beside it does not agree with its header"


@SHARED
@given(gone=st.sets(st.integers(0, 7), min_size=1))
async def test_the_first_of_those_missing_is_named(still: Ground, gone: set[int]) -> None:
    shelf = await shelf_of(still)
    shelf.rows = [row for index, row in enumerate(shelf.rows) if index not in gone]
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.position, verdict.events) == (False, min(gone) + 1, min(gone))
    assert verdict.problem is not None
    assert "missing" in verdict.problem


@SHARED
@given(pair=st.sets(st.integers(0, 7), min_size=2, max_size=2))
async def test_of_two_that_changed_places_the_first_is_named(still: Ground, pair: set[int]) -> None:
    shelf = await shelf_of(still)
    low, high = sorted(pair)
    one, other = shelf.rows[low], shelf.rows[high]
    shelf.rows[low] = msgspec.structs.replace(other, position=one.position)
    shelf.rows[high] = msgspec.structs.replace(one, position=other.position)
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.position) == (False, low + 1)
    assert verdict.problem == f"event {low + 1} was reordered: the event that stands there is number {high + 1}"


@pytest.mark.parametrize("position", [0, -1, -(2**62)])
async def test_what_was_slipped_in_before_the_first_is_found(shelf: Shelf, position: int) -> None:
    shelf.rows.append(msgspec.structs.replace(shelf.rows[0], position=position))
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.position) == (False, 1)
    assert verdict.problem == f"event 1 is missing: {position} was slipped in before it"


def forged(after: Record, payload: JsonObject) -> Record:
    """A row that continues the chain, made by somebody who can write the file."""
    position = after.position + 1
    header = Header(
        event_id="evt_forged",
        event_type="policy_decided",
        execution_id=None,
        position=position,
        seq=None,
        session_id=None,
        tenant_id="acme",
        timestamp="2026-01-01T00:00:00.000Z",
    )
    data, salt = payload_bytes(payload), bytes(32)
    commitment = commit(salt, data)
    return Record(
        position=position,
        header=header_bytes(header),
        salt=salt,
        payload=data,
        commitment=commitment,
        chain=link(after.chain, leaf(header_bytes(header), commitment)),
        columns={**after.columns, "position": position},
    )


async def test_a_forged_event_at_the_end_does_not_match_the_head(shelf: Shelf) -> None:
    shelf.rows.append(forged(shelf.rows[-1], {"n": 99}))
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.position) == (False, 9)
    assert verdict.problem == "the head of the log does not belong to its last event"


async def test_a_forged_event_in_the_middle_breaks_what_follows(shelf: Shelf) -> None:
    shelf.rows[4] = forged(shelf.rows[3], {"n": 99})
    verdict = await shelf.verified()
    assert (verdict.position, verdict.events) == (6, 5)


@pytest.mark.parametrize("head", [(7, None), (9, None), (8, bytes(32)), (0, GENESIS)])
async def test_a_head_that_was_altered_is_found(shelf: Shelf, head: tuple[int, bytes | None]) -> None:
    position, chain = head
    shelf.newest = (position, shelf.newest[1] if chain is None else chain)
    verdict = await shelf.verified()
    assert (verdict.ok, verdict.events) == (False, 8)
    assert verdict.position == (9 if position == 9 else 8)


async def test_an_erased_event_verifies_and_a_half_erased_one_does_not(shelf: Shelf) -> None:
    whole = shelf.rows[2]
    shelf.rows[2] = msgspec.structs.replace(whole, salt=None, payload=None)
    assert (await shelf.verified()).ok
    for half in ({"salt": None}, {"payload": None}):
        shelf.rows[2] = msgspec.structs.replace(whole, **half)
        verdict = await shelf.verified()
        assert (verdict.position, verdict.problem) == (3, "event 3 was altered: payload and salt go together")


async def test_the_log_of_another_tenant_is_not_taken_for_this_ones(shelf: Shelf) -> None:
    shelf.tenant_id = "globex"
    assert (await shelf.verified()).position == 1


async def test_a_log_that_grows_while_it_is_read_verifies(still: Ground) -> None:
    tenant = still.store.tenant("acme")
    await tenant.write([noted(n) for n in range(5)])

    class Growing(Shelf):
        def __init__(self) -> None:
            super().__init__([], (0, GENESIS))
            self.growth = 3

        async def records(self, *, after: int = 0, limit: int) -> tuple[Record, ...]:
            return await tenant.records(after=after, limit=limit)

        async def head(self) -> tuple[int, bytes]:
            self.growth -= 1
            if self.growth >= 0:
                await tenant.write([noted(), noted()])
            return await tenant.head()

    verdict = await Growing().verified()
    assert (verdict.ok, verdict.events) == (True, 11)


# --- rebuilding ---


async def test_what_is_rebuilt_from_the_log_is_what_is_stored(base: Ground) -> None:
    async with Runtime(base, {"work": quick}) as runtime:
        execution = await run(runtime.door(), a=1)
    tenant = base.store.tenant("acme")
    replayed = await replay_against_store(tenant)
    assert (replayed.differences, replayed.erased, replayed.events) == ((), 0, (await tenant.head())[0])
    assert replayed.counts == {"session": 1, "execution": 1, "artifact": 0, "pending": 0, "saga": 0}
    rebuilt = await replay(tenant)
    assert rebuilt.executions == {execution.execution_id: msgspec.structs.replace(execution, steps=None)}


async def test_a_session_is_rebuilt_also_when_it_worked_on_what_belongs_to_another(base: Ground) -> None:
    async def make(ctx: ExecutionContext, params: Any) -> IntentResult:
        made = await ctx.state_surface.register_artifact(artifact_type="note", artifact_id="art_1")
        await ctx.state_surface.create_pending_intent(intent_type="work", target_artifact_id="art_1", parameters={})
        return IntentResult(artifacts={"note": made})

    async def work(ctx: ExecutionContext, params: Any) -> IntentResult:
        await ctx.state_surface.transition_artifact("art_1", "ARCHIVED", "done")
        found = await ctx.state_surface.pending_intent(intent_type="work", target_artifact_id="art_1")
        assert found is not None
        await ctx.state_surface.complete_pending_intent(found[0])
        return IntentResult()

    async with Runtime(base, {"make": make, "work": work}) as runtime:
        first, second = await run(runtime.door(), "make"), await run(runtime.door())
        rebuilt = await runtime.engine.log.replay("acme", session_id=second.session_id)
        assert list(rebuilt.sessions) == [second.session_id]
        assert list(rebuilt.executions) == [second.execution_id]
        assert (rebuilt.artifacts, rebuilt.pendings) == ({}, {})
        others = await runtime.engine.log.replay("acme", session_id=first.session_id)
        assert others.artifacts["art_1"].lifecycle_state == "ARCHIVED"
        assert [pending.status for pending in others.pendings.values()] == ["completed"]


async def test_a_log_that_grows_while_it_is_compared_shows_no_differences(base: Ground) -> None:
    runtime = Runtime(base, {"work": quick})
    door = runtime.door()
    session = await door.create_session()
    tenant = base.store.tenant("acme")

    class Growing:
        tenant_id = "acme"
        records = tenant.records
        head = tenant.head
        growth = 3

        async def projection(self, kind: str, *, after: str = "", limit: int) -> tuple[tuple[str, Any], ...]:
            if kind == "execution" and not after and self.growth:
                self.growth -= 1
                await submit(door, session.session_id)
            return await tenant.projection(kind, after=after, limit=limit)

    replayed = await replay_against_store(Growing())  # type: ignore[arg-type]
    assert (replayed.differences, replayed.counts["execution"], replayed.events) == ((), 3, 4)


async def test_what_was_erased_can_no_longer_be_rebuilt_and_the_rest_can(base: Ground) -> None:
    async with Runtime(base, {"work": quick}) as runtime:
        first, second = await run(runtime.door()), await run(runtime.door())
    tenant = base.store.tenant("acme")
    (received, *_) = await base.log(first.execution_id)
    await tenant.erase([received.position])
    replayed = await replay_against_store(tenant)
    assert replayed.erased == 1
    assert [(each.kind, each.id, each.replayed) for each in replayed.differences] == [
        ("execution", first.execution_id, None)
    ]
    rebuilt = await replay(tenant)
    assert list(rebuilt.executions) == [second.execution_id]
    assert len(rebuilt.sessions) == 2


async def test_a_row_that_the_log_does_not_explain_is_shown(base: Ground) -> None:
    async with Runtime(base, {"work": quick}) as runtime:
        execution = await run(runtime.door())
    tenant = base.store.tenant("acme")

    class Altered:
        tenant_id = "acme"
        records = tenant.records
        head = tenant.head

        async def projection(self, kind: str, *, after: str = "", limit: int) -> tuple[tuple[str, Any], ...]:
            rows = await tenant.projection(kind, after=after, limit=limit)
            if kind == "execution":
                return tuple((key, msgspec.structs.replace(row, result="forged")) for key, row in rows)
            return () if kind == "session" else rows

    found = (await replay_against_store(Altered())).differences  # type: ignore[arg-type]
    assert [(each.kind, each.id) for each in found] == [
        ("session", execution.session_id),
        ("execution", execution.execution_id),
    ]
    assert (found[0].stored, found[0].replayed["session_id"]) == (None, execution.session_id)
    assert (found[1].stored["result"], found[1].replayed["result"]) == ("forged", {})


# --- reading ---


async def test_only_an_operator_reads_the_log_and_a_refusal_stands_in_it(base: Ground) -> None:
    async with Runtime(base, {"work": quick}) as runtime:
        execution = await run(runtime.door())
        await ended(runtime.door(), execution.execution_id)
        ops = runtime.door("acme", "ops", Role.OPERATOR)
        seen: list[Event] = []
        cursor: str | None = "0"
        while cursor is not None:
            page = await ops.wal_events(after=int(cursor), limit=2)
            seen += page.items
            cursor = page.next_cursor
        assert [event.position for event in seen] == [1, 2, 3, 4]
        assert (await runtime.door("globex", "ops", Role.OPERATOR).wal_events()).items == ()
        with pytest.raises(Exception, match="operator"):
            await runtime.door().wal_events()
        (refusal,) = await runtime.refusals()
        assert refusal["action"] == "read_log"


async def test_a_log_is_written_for_a_tenant_and_for_no_other(still: Ground) -> None:
    runtime = Runtime(still)
    log: WriteAheadLog = runtime.engine.log
    await log.write("acme", [noted(1)])
    await log.write("globex", [noted(2)])
    assert [event.payload["n"] for event in await log.events("acme")] == [1]
    assert [event.payload["n"] for event in await log.events("globex")] == [2]
    assert (await log.verify("acme")).head != (await log.verify("globex")).head
