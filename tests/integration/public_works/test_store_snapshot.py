"""SqliteSnapshot: a look at the file beside the process that owns it."""

# ruff: noqa: ASYNC240 - files of a few pages, in tests

from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest
import pytest_asyncio

from symphainy.errors import StartupFailed, StoreFailed
from symphainy.public_works.sqlite import SqliteStore, migrations
from symphainy.public_works.sqlite_snapshot import SqliteSnapshot
from symphainy.runtime.wal import replay_against_store, verify
from symphainy.testing.clock import VirtualClock
from symphainy.testing.conformance.store import claim, everything, of, open_session
from symphainy.testing.ids import SeededIds


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "symphainy.db"


@pytest_asyncio.fixture
async def store(clock: VirtualClock, path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(path, clock=clock, ids=SeededIds())
    await made.open()
    await open_session(made.tenant("acme"), clock, "exe_1")
    yield made
    await made.close()


def snapshot(path: Path, clock: VirtualClock) -> SqliteSnapshot:
    return SqliteSnapshot(path, clock=clock, ids=SeededIds())


async def test_it_shows_the_moment_at_which_it_was_opened_whatever_is_written_meanwhile(
    store: SqliteStore, path: Path, clock: VirtualClock
) -> None:
    before = await everything(store.tenant("acme"))
    async with snapshot(path, clock) as seen:
        for n in range(20):
            await store.tenant("acme").write([of("exe_1", "weighed", {"n": n})])
        assert await everything(seen.tenant("acme")) == before
        assert (await verify(seen.tenant("acme"))).events == 2
        assert (await replay_against_store(seen.tenant("acme"))).differences == ()
        assert await seen.tenants() == ("acme",)
    async with snapshot(path, clock) as seen:
        assert (await seen.tenant("acme").head())[0] == 22


async def test_it_writes_nothing_and_takes_nothing_from_the_owner(
    store: SqliteStore, path: Path, clock: VirtualClock
) -> None:
    (claimed,) = await claim(store)
    async with snapshot(path, clock) as seen:
        with pytest.raises(StoreFailed):
            await seen.tenant("acme").write([of("exe_1", "weighed", {})])
        with pytest.raises(StoreFailed):
            await claim(seen)
        with pytest.raises(StoreFailed):
            await seen.tenant("acme").erase([1])
    assert await store.renew("w1", ["exe_1"], lease_s=30) == {"exe_1"}
    assert claimed.fence == 1


async def test_it_reads_what_nobody_owns(store: SqliteStore, path: Path, clock: VirtualClock) -> None:
    before = await everything(store.tenant("acme"))
    await store.close()
    async with snapshot(path, clock) as seen:
        assert await everything(seen.tenant("acme")) == before
    with pytest.raises(StoreFailed):
        await seen.tenant("acme").session("ses_1")


@pytest.mark.parametrize("change", [1, -1])
async def test_it_reads_no_other_schema(store: SqliteStore, path: Path, clock: VirtualClock, change: int) -> None:
    await store.close()
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", migrations()[-1][0] + change)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StartupFailed) as refused:
        await snapshot(path, clock).open()
    assert refused.value.remedy.startswith("Upgrade" if change > 0 else "Start the platform once")
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"not a database at all\n" * 400])
async def test_it_reads_nothing_else(path: Path, clock: VirtualClock, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupFailed) as refused:
        await snapshot(path, clock).open()
    assert str(path) in str(refused.value)
    assert path.exists() == (content is not None)
