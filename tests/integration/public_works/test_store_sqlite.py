"""SqliteStore under the suite of its port, and what only a file can suffer."""

# ruff: noqa: ASYNC240 - files of a few pages, in tests
import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw
import pytest
import pytest_asyncio

from symphainy.errors import LeaseLost, StartupFailed, StoreFailed
from symphainy.model import Draft
from symphainy.ports import EventFilter, ExecutionFilter, Holds
from symphainy.public_works.sqlite import SqliteStore, migrations
from symphainy.public_works.sqlite_rows import Transaction
from symphainy.runtime.wal import replay_against_store, verify
from symphainy.testing.clock import VirtualClock
from symphainy.testing.conformance.store import (
    StoreRules,
    claim,
    completed,
    everything,
    ids_of,
    of,
    open_session,
    received,
    registered,
)
from symphainy.testing.ids import SeededIds


@asynccontextmanager
async def opened(path: Path, clock: VirtualClock) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path, clock=clock, ids=SeededIds())
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "symphainy.db"


@pytest_asyncio.fixture
async def store(clock: VirtualClock, path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(path, clock) as store:
        yield store


class TestSqliteStore(StoreRules):
    pass


async def refusal(path: Path, clock: VirtualClock) -> StartupFailed:
    with pytest.raises(StartupFailed) as refused:
        async with opened(path, clock):
            pass
    assert refused.value.service == "sqlite"
    assert refused.value.remedy
    assert refused.value.remedy in str(refused.value)
    return refused.value


def schema(path: Path) -> list[Any]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
        return [*rows, *connection.execute("PRAGMA user_version"), *connection.execute("PRAGMA application_id")]
    finally:
        connection.close()


# --- closing and opening again ---


async def test_whatever_was_acknowledged_is_there_after_reopening(path: Path, clock: VirtualClock) -> None:
    async with opened(path, clock) as store:
        acme = store.tenant("acme")
        await open_session(acme, clock, "exe_1", "exe_2")
        await claim(store, limit=1)
        await acme.write([registered("art_1"), of("exe_1", "weighed", {"kg": 1}), completed("exe_1", {"kg": 1})])
        await open_session(store.tenant("globex"), clock)
        before = {name: await everything(store.tenant(name)) for name in await store.tenants()}
    async with opened(path, clock) as store:
        assert {name: await everything(store.tenant(name)) for name in await store.tenants()} == before
        (more,) = (await store.tenant("acme").write([of("exe_2", "weighed", {})])).events
        assert (more.position, more.seq) == (len(before["acme"]["events"]) + 1, 2)
        assert (await verify(store.tenant("acme"))).ok
        assert (await replay_against_store(store.tenant("acme"))).differences == ()


async def test_reopening_voids_every_lease_and_keeps_every_fence(path: Path, clock: VirtualClock) -> None:
    async with opened(path, clock) as store:
        await open_session(store.tenant("acme"), clock, "exe_1")
        (first,) = await claim(store, "w1")
    async with opened(path, clock) as store:
        held = Holds(execution_id="exe_1", fence=first.fence)
        with pytest.raises(LeaseLost):
            await store.tenant("acme").write([completed("exe_1")], guards=[held])
        (second,) = await claim(store, "w1")
        assert second.fence > first.fence
        assert second.execution.attempt == 2


async def test_a_write_under_way_is_on_disk_when_close_returns(path: Path, clock: VirtualClock) -> None:
    async with opened(path, clock) as store:
        await open_session(store.tenant("acme"), clock, "exe_1")
        writes = [asyncio.ensure_future(store.tenant("acme").write([of("exe_1", "weighed", {})])) for _ in range(50)]
        await asyncio.sleep(0)
    assert [len((await each).events) for each in writes] == [1] * 50
    async with opened(path, clock) as store:
        assert (await store.tenant("acme").head())[0] == 52


async def test_what_a_caller_no_longer_waits_for_is_written_all_the_same(
    store: SqliteStore, clock: VirtualClock
) -> None:
    acme = store.tenant("acme")
    await open_session(acme, clock, "exe_1")
    given_up = asyncio.ensure_future(acme.write([of("exe_1", "weighed", {})]))
    await asyncio.sleep(0)
    given_up.cancel()
    await acme.write([of("exe_1", "weighed", {})])
    assert given_up.cancelled()
    assert (await acme.head())[0] == 4


# --- one process owns the file ---


async def test_a_second_process_is_refused_and_told_who_owns_the_file(
    store: SqliteStore, path: Path, clock: VirtualClock
) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from symphainy.errors import StartupFailed\n"
        "from symphainy.public_works.clock import SystemClock\n"
        "from symphainy.public_works.ids import SystemIds\n"
        "from symphainy.public_works.sqlite import SqliteStore\n"
        "try:\n"
        "    asyncio.run(SqliteStore(Path(sys.argv[1]), clock=SystemClock(), ids=SystemIds()).open())\n"
        "except StartupFailed as error:\n"
        "    print(error)\n"
    )
    second = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert f"pid {os.getpid()}" in second.stdout
    assert "Stop that process" in second.stdout
    await open_session(store.tenant("acme"), clock)


async def test_the_file_is_free_again_once_it_was_closed_or_refused(path: Path, clock: VirtualClock) -> None:
    async with opened(path, clock):
        assert "owned by another process" in str(await refusal(path, clock))
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 999)
    for _ in range(2):
        assert "schema 999" in str(await refusal(path, clock))
    connection.pragma("user_version", migrations()[-1][0])
    connection.close()
    async with opened(path, clock) as store:
        await open_session(store.tenant("acme"), clock)


# --- which files are taken ---


async def test_a_store_of_a_newer_version_is_refused_and_left_alone(path: Path, clock: VirtualClock) -> None:
    async with opened(path, clock) as store:
        await open_session(store.tenant("acme"), clock)
    newer = migrations()[-1][0] + 1
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", newer)
    connection.close()
    before = path.read_bytes()
    refused = await refusal(path, clock)
    assert f"schema {newer}" in str(refused)
    assert "Upgrade Symphainy" in refused.remedy
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [number for number, _ in [(0, ""), *migrations()]])
async def test_an_older_schema_is_migrated_to_what_a_new_store_has(
    tmp_path: Path, clock: VirtualClock, version: int
) -> None:
    async with opened(tmp_path / "new.db", clock):
        pass
    old = apsw.Connection(str(tmp_path / "old.db"))
    for number, sql in migrations():
        if number <= version:
            old.execute(sql)
            old.pragma("application_id", 0x53594D50)
            old.pragma("user_version", number)
    old.close()
    async with opened(tmp_path / "old.db", clock) as store:
        await open_session(store.tenant("acme"), clock, "exe_1")
        assert ids_of(await claim(store)) == ["exe_1"]
    assert schema(tmp_path / "old.db") == schema(tmp_path / "new.db")


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))


@pytest.mark.parametrize("content", [b"not a database at all\n" * 400, b"short", os.urandom(8192)])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(
    path: Path, clock: VirtualClock, content: bytes
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    refused = await refusal(path, clock)
    assert str(path) in str(refused)
    assert "--data" in refused.remedy
    assert path.read_bytes() == content


async def test_the_database_of_another_program_is_refused_and_left_alone(path: Path, clock: VirtualClock) -> None:
    path.parent.mkdir()
    theirs = apsw.Connection(str(path))
    theirs.execute("CREATE TABLE bookmarks (url TEXT)")
    theirs.close()
    before = path.read_bytes()
    assert "another program" in str(await refusal(path, clock))
    assert path.read_bytes() == before


async def test_a_folder_that_cannot_be_written_is_refused_with_a_remedy(tmp_path: Path, clock: VirtualClock) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = await refusal(tmp_path / "file" / "symphainy.db", clock)
    assert "can be written" in refused.remedy


async def test_an_sqlite_that_corrupts_its_files_is_refused(
    path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.51.2")
    refused = await refusal(path, clock)
    assert "3.51.2" in str(refused)
    assert "pip install -U apsw" in refused.remedy
    assert not path.exists()
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.100.0")
    async with opened(path, clock):
        pass


async def test_what_is_acknowledged_has_been_synced(store: SqliteStore, path: Path, clock: VirtualClock) -> None:
    await open_session(store.tenant("acme"), clock)
    modes = await store.read(lambda c: c.pragma("journal_mode"))
    writer = store._transaction.connection.pragma("synchronous")
    assert (modes, writer) == ("wal", 2)


# --- a disk that fails ---


async def filled(store: SqliteStore, pages: int) -> None:
    """Let the file grow by no more than `pages`."""
    await store._submit(lambda tx: tx.connection.pragma("max_page_count", _pages(tx.connection) + pages))


def _pages(connection: apsw.Connection) -> int:
    return int(connection.pragma("page_count"))


async def test_a_full_disk_loses_nothing_that_was_acknowledged_and_writing_goes_on_afterwards(
    store: SqliteStore, path: Path, clock: VirtualClock
) -> None:
    acme = store.tenant("acme")
    await open_session(acme, clock, "exe_1")
    await filled(store, 20)
    kept: list[int] = []
    failures: list[StoreFailed] = []
    while len(failures) < 3:
        drafts = [of("exe_1", "weighed", {"n": len(kept), "text": "x" * 9000})]
        try:
            kept += [event.position for event in (await acme.write(drafts)).events]
        except StoreFailed as error:
            failures.append(error)
    assert "disk is full" in str(failures[0])
    assert failures[0].retryable
    assert kept == list(range(3, 3 + len(kept)))
    assert (await acme.head())[0] == kept[-1]
    assert (await verify(acme)).ok
    assert (await replay_against_store(acme)).differences == ()
    await filled(store, 1000)
    (event,) = (await acme.write([of("exe_1", "weighed", {"text": "x" * 9000})])).events
    assert (event.position, event.seq) == (kept[-1] + 1, len(kept) + 2)
    assert (await store.probe()).status == "ok"
    await store.close()
    async with opened(path, clock) as again:
        assert (await again.tenant("acme").head())[0] == event.position
        assert (await verify(again.tenant("acme"))).ok


async def test_on_a_full_disk_what_shares_a_commit_fails_together_and_says_so(
    store: SqliteStore, clock: VirtualClock
) -> None:
    acme = store.tenant("acme")
    await open_session(acme, clock, "exe_1")
    await filled(store, 4)
    answers = await asyncio.gather(
        *(acme.write([of("exe_1", "weighed", {"text": "x" * 9000})]) for _ in range(30)), return_exceptions=True
    )
    written = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert all(isinstance(answer, StoreFailed) for answer in answers if isinstance(answer, BaseException))
    assert len(written) < 30
    assert (await acme.head())[0] == 2 + len(written)
    assert (await verify(acme)).ok


async def test_while_somebody_else_has_locked_the_file_writes_fail_and_may_be_tried_again(
    store: SqliteStore, path: Path, clock: VirtualClock
) -> None:
    acme = store.tenant("acme")
    await open_session(acme, clock, "exe_1")
    await store._submit(lambda tx: tx.connection.set_busy_timeout(1))
    meddler = apsw.Connection(str(path))
    meddler.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed) as failed:
        await acme.write([of("exe_1", "weighed", {})])
    assert failed.value.retryable
    assert (await acme.head())[0] == 2
    meddler.execute("ROLLBACK")
    meddler.close()
    (event,) = (await acme.write([of("exe_1", "weighed", {})])).events
    assert (event.position, event.seq) == (3, 2)


async def test_a_write_that_breaks_a_constraint_harms_no_neighbour(store: SqliteStore, clock: VirtualClock) -> None:
    acme = store.tenant("acme")
    await open_session(acme, clock, "exe_1")
    good, bad = of("exe_1", "weighed", {}), received("exe_2", intent_type=None)
    answers = await asyncio.gather(
        *(acme.write([draft]) for draft in (good, good, bad, good, bad, good)), return_exceptions=True
    )
    failed = [isinstance(answer, StoreFailed) for answer in answers]
    assert failed == [False, False, True, False, True, False]
    assert [e.position for e in await acme.events(EventFilter(), limit=99)] == [1, 2, 3, 4, 5, 6]
    assert (await verify(acme)).ok


# --- memory stays bounded, and what is remembered is what is on disk ---


async def test_forgetting_what_was_cached_changes_nothing(store: SqliteStore, clock: VirtualClock) -> None:
    acme = store.tenant("acme")
    await open_session(acme, clock, *(f"exe_{n}" for n in range(10)))
    await claim(store, limit=5)
    for n in range(10):
        await acme.write([of(f"exe_{n}", "execution_state_set", {"state": {"n": n}})])

    async def forget() -> None:
        def flush_and_forget(tx: Transaction) -> None:
            tx.flush()
            tx.forget()

        await store._submit(flush_and_forget)

    await forget()
    await acme.write([of(f"exe_{n}", "execution_progress", {"fraction": n / 10}) for n in range(10)])
    await forget()
    assert ids_of(await claim(store)) == [f"exe_{n}" for n in range(5, 10)]
    await forget()
    update = Draft(event_type="session_updated", payload={"context": {"a": 1}}, session_id="ses_1")
    await acme.write([update, *(completed(f"exe_{n}", n) for n in range(10))])
    page = await acme.executions(ExecutionFilter(status="completed"), limit=20)
    assert [(e.result, e.state) for e in page.items] == [(n, {"n": n}) for n in reversed(range(10))]
    assert (await replay_against_store(acme)).differences == ()
    assert await store.next_due_ms() is None
