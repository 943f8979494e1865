"""What somebody who can write the file may do to the log, and that it is found out.

Each test alters the real file behind the platform's back, opens it again, and reads the verdict.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from symphainy.errors import StoreFailed
from symphainy.model import Draft
from symphainy.ports import EventFilter
from symphainy.public_works.sqlite import SqliteStore
from symphainy.runtime.wal import Verdict, replay_against_store, verify
from symphainy.testing.clock import VirtualClock
from symphainy.testing.conformance.store import completed, of, open_session, registered
from symphainy.testing.ids import SeededIds
from tests.runtimes import searched

PARTS = ("header", "salt", "payload", "commitment", "chain")
LENGTH = 9
FEW = searched(25)

Change = tuple[str, Sequence[Any]]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two tenants, closed."""
    path = tmp_path_factory.mktemp("log") / "symphainy.db"

    async def fill() -> None:
        clock = VirtualClock()
        store = SqliteStore(path, clock=clock, ids=SeededIds())
        await store.open()
        for name in ("acme", "globex"):
            tenant = store.tenant(name)
            await open_session(tenant, clock, "exe_1", "exe_2")
            await tenant.write([of("exe_1", "weighed", {"kg": 1}), of("exe_2", "weighed", {"kg": 2})])
            await tenant.write([registered("art_1"), of("exe_1", "execution_progress", {"fraction": 0.5})])
            await tenant.write([completed("exe_1", {"kg": 1}), of("exe_2", "weighed", {"kg": 3})])
        await store.close()

    asyncio.run(fill())
    return path


def altered(original: Path, folder: Path, *changes: Change) -> Path:
    """A copy of the file, changed by SQL."""
    path = Path(tempfile.mkdtemp(dir=folder)) / "symphainy.db"
    shutil.copy(original, path)
    connection = apsw.Connection(str(path))
    try:
        for sql, bindings in changes:
            try:
                connection.execute(sql, tuple(bindings))
            except apsw.ConstraintError:
                assume(False)
    finally:
        connection.close()
    return path


async def verdict_of(path: Path, tenant_id: str = "acme") -> Verdict:
    store = SqliteStore(path, clock=VirtualClock(), ids=SeededIds())
    await store.open()
    try:
        if tenant_id == "acme":
            assert (await verify(store.tenant("globex"))).ok
        return await verify(store.tenant(tenant_id))
    finally:
        await store.close()


async def found_at(path: Path, position: int, what: str) -> None:
    verdict = await verdict_of(path)
    assert (verdict.ok, verdict.position) == (False, position), verdict
    assert verdict.problem is not None
    assert what in verdict.problem


async def test_the_untouched_file_verifies(original: Path, tmp_path: Path) -> None:
    verdict = await verdict_of(altered(original, tmp_path))
    assert (verdict.ok, verdict.events, verdict.problem) == (True, LENGTH, None)


@FEW
@given(position=st.integers(1, LENGTH), part=st.sampled_from(PARTS), data=st.data())
async def test_whichever_byte_is_altered_its_event_is_named(
    original: Path, tmp_path: Path, position: int, part: str, data: st.DataObject
) -> None:
    connection = apsw.Connection(str(original), flags=apsw.SQLITE_OPEN_READONLY)
    row = connection.execute(
        f"SELECT {part} FROM events WHERE tenant_id = 'acme' AND position = ?", (position,)
    ).fetchone()
    connection.close()
    assert row is not None
    changed = bytearray(row[0])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    change = (f"UPDATE events SET {part} = ? WHERE tenant_id = 'acme' AND position = ?", (bytes(changed), position))
    await found_at(altered(original, tmp_path, change), position, f"event {position} was")


@FEW
@given(
    position=st.integers(1, LENGTH),
    part=st.sampled_from(PARTS),
    put=st.sampled_from(["NULL", "'text'", "7", "x''", "zeroblob(32)", "2.5", "CAST({} AS TEXT)", "substr({}, 2)"]),
)
async def test_whatever_is_put_in_place_of_a_part_its_event_is_named(
    original: Path, tmp_path: Path, position: int, part: str, put: str
) -> None:
    sql = f"UPDATE events SET {part} = {put.format(part)} WHERE tenant_id = 'acme' AND position = {position}"
    await found_at(altered(original, tmp_path, (sql, ())), position, f"event {position} was")


@pytest.mark.parametrize("column", ["event_type", "session_id", "execution_id", "seq"])
@pytest.mark.parametrize("value", ["'something else'", "77", "CAST(x'ff' AS TEXT)", "CAST({} AS BLOB)", "x'00'"])
async def test_a_column_that_was_altered_is_named(original: Path, tmp_path: Path, column: str, value: str) -> None:
    sql = f"UPDATE events SET {column} = {value.format(column)} WHERE tenant_id = 'acme' AND position = 5"
    await found_at(altered(original, tmp_path, (sql, ())), 5, f"{column} beside it")


@FEW
@given(gone=st.sets(st.integers(1, LENGTH), min_size=1, max_size=4))
async def test_the_first_of_those_deleted_is_named(original: Path, tmp_path: Path, gone: set[int]) -> None:
    changes = [("DELETE FROM events WHERE tenant_id = 'acme' AND position = ?", (each,)) for each in gone]
    await found_at(altered(original, tmp_path, *changes), min(gone), f"event {min(gone)} is missing")


@FEW
@given(pair=st.sets(st.integers(1, LENGTH), min_size=2, max_size=2))
async def test_of_two_rows_that_were_swapped_the_first_is_named(original: Path, tmp_path: Path, pair: set[int]) -> None:
    low, high = sorted(pair)
    move = "UPDATE events SET position = ? WHERE tenant_id = 'acme' AND position = ?"
    path = altered(original, tmp_path, (move, (999, low)), (move, (low, high)), (move, (high, 999)))
    await found_at(path, low, f"event {low} was reordered: the event that stands there is number {high}")


@FEW
@given(pair=st.sets(st.integers(1, LENGTH), min_size=2, max_size=2))
async def test_of_two_payloads_that_were_swapped_the_first_is_named(
    original: Path, tmp_path: Path, pair: set[int]
) -> None:
    low, high = sorted(pair)
    first = altered(original, tmp_path)
    connection = apsw.Connection(str(first))
    found = connection.execute("SELECT position, salt, payload FROM events WHERE tenant_id = 'acme'")
    rows = {position: (salt, payload) for position, salt, payload in found}
    put = "UPDATE events SET salt = ?, payload = ? WHERE tenant_id = 'acme' AND position = ?"
    connection.execute(put, (*rows[low], high))
    connection.execute(put, (*rows[high], low))
    connection.close()
    await found_at(first, low, f"event {low} was altered: its payload")


@pytest.mark.parametrize("count", [1, 2, LENGTH])
async def test_a_tail_that_was_cut_off_is_missed(original: Path, tmp_path: Path, count: int) -> None:
    cut = ("DELETE FROM events WHERE tenant_id = 'acme' AND position > ?", (LENGTH - count,))
    await found_at(
        altered(original, tmp_path, cut), LENGTH - count + 1, f"is missing: the log was {LENGTH} events long"
    )


async def test_a_tail_that_was_cut_off_with_the_number_in_the_head_is_missed(original: Path, tmp_path: Path) -> None:
    path = altered(
        original,
        tmp_path,
        ("DELETE FROM events WHERE tenant_id = 'acme' AND position > ?", (LENGTH - 2,)),
        ("UPDATE heads SET position = ? WHERE tenant_id = 'acme'", (LENGTH - 2,)),
    )
    await found_at(path, LENGTH - 2, "the head of the log does not belong to its last event")


async def test_rows_that_a_consistently_cut_log_no_longer_explains_are_shown_by_replay(
    original: Path, tmp_path: Path
) -> None:
    path = altered(
        original,
        tmp_path,
        ("DELETE FROM events WHERE tenant_id = 'acme' AND position > 7", ()),
        (
            "UPDATE heads SET (position, chain) = (SELECT position, chain FROM events WHERE tenant_id = 'acme' "
            "AND position = 7) WHERE tenant_id = 'acme'",
            (),
        ),
    )
    store = SqliteStore(path, clock=VirtualClock(), ids=SeededIds())
    await store.open()
    assert (await verify(store.tenant("acme"))).ok
    differences = (await replay_against_store(store.tenant("acme"))).differences
    await store.close()
    assert [(each.kind, each.id) for each in differences] == [("execution", "exe_1"), ("execution", "exe_2")]


@pytest.mark.parametrize(
    ("change", "position"),
    [
        ("UPDATE heads SET chain = zeroblob(32) WHERE tenant_id = 'acme'", LENGTH),
        ("UPDATE heads SET chain = 'text' WHERE tenant_id = 'acme'", LENGTH),
        ("UPDATE heads SET position = 5 WHERE tenant_id = 'acme'", LENGTH),
        ("UPDATE heads SET position = 50 WHERE tenant_id = 'acme'", LENGTH + 1),
        ("DELETE FROM heads WHERE tenant_id = 'acme'", LENGTH),
    ],
)
async def test_a_head_that_was_altered_is_found(original: Path, tmp_path: Path, change: str, position: int) -> None:
    verdict = await verdict_of(altered(original, tmp_path, (change, ())))
    assert (verdict.ok, verdict.position) == (False, position), verdict


@pytest.mark.parametrize(
    ("position", "named"), [(0, 1), (-3, 1), (2.5, 3), (LENGTH + 2, LENGTH + 1), ("x", LENGTH + 1)]
)
async def test_a_row_that_was_slipped_in_is_found(
    original: Path, tmp_path: Path, position: float | str, named: int
) -> None:
    sql = (
        "INSERT INTO events SELECT tenant_id, ?, NULL, event_type, session_id, NULL, header, salt, payload, "
        "commitment, chain FROM events WHERE tenant_id = 'acme' AND position = 4"
    )
    await found_at(altered(original, tmp_path, (sql, (position,))), named, f"event {named} is missing")


async def test_an_event_that_was_given_to_another_tenant_is_missed_by_its_own(original: Path, tmp_path: Path) -> None:
    move = ("UPDATE events SET tenant_id = 'mallory', position = 1 WHERE tenant_id = 'acme' AND position = 4", ())
    path = altered(original, tmp_path, move)
    await found_at(path, 4, "event 4 is missing")
    stolen = await verdict_of(path, "mallory")
    assert (stolen.ok, stolen.position) == (False, 1)


async def test_an_unreadable_event_is_not_served_as_if_it_were_one(original: Path, tmp_path: Path) -> None:
    broken = ("UPDATE events SET payload = x'ff' WHERE tenant_id = 'acme' AND position = 4", ())
    store = SqliteStore(altered(original, tmp_path, broken), clock=VirtualClock(), ids=SeededIds())
    await store.open()
    with pytest.raises(StoreFailed, match="symphainy wal verify"):
        await store.tenant("acme").events(EventFilter(), limit=100)
    await store.close()


async def test_what_lies_beyond_the_first_page_is_verified_too(tmp_path: Path) -> None:
    path = tmp_path / "symphainy.db"
    store = SqliteStore(path, clock=VirtualClock(), ids=SeededIds())
    await store.open()
    tenant = store.tenant("acme")
    await tenant.write([Draft(event_type="policy_decided", payload={"n": n}) for n in range(2100)])
    assert (await verify(tenant)).events == 2100
    await store.close()
    for position in (1000, 1001, 2000, 2100):
        gone = ("DELETE FROM events WHERE position = ?", (position,))
        verdict = await verdict_of(altered(path, tmp_path, gone))
        assert (verdict.position, verdict.events) == (position, position - 1)
