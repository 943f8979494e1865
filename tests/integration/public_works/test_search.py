"""SqliteSearch under the suite of its port, and what only files can suffer."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import apsw
import pytest
import pytest_asyncio

from symphainy.errors import StartupFailed, StoreFailed
from symphainy.public_works import search_file
from symphainy.public_works.search import SqliteSearch
from symphainy.testing.conformance.search import SearchRules, fill, ids, unit


@asynccontextmanager
async def opened(directory: Path, **options: int) -> AsyncIterator[SqliteSearch]:
    search = SqliteSearch(directory, **options)
    await search.open()
    try:
        yield search
    finally:
        await search.close()


@pytest_asyncio.fixture
async def search(tmp_path: Path) -> AsyncIterator[SqliteSearch]:
    async with opened(tmp_path / "search") as made:
        yield made


class TestSqliteSearch(SearchRules):
    pass


class TestSqliteSearchThatKeepsNothingInMemory(SearchRules):
    """One tenant open at a time, no vector cached."""

    @pytest_asyncio.fixture
    async def search(self, tmp_path: Path) -> AsyncIterator[SqliteSearch]:
        async with opened(tmp_path / "search", tenants_open_max=1, vector_bytes_max=0) as made:
            yield made


async def test_what_was_indexed_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as search:
        await fill(search, {"a": "claim"}, vectors={"a": unit(1, 0)})
    async with opened(tmp_path) as search:
        assert ids(await search.match("acme", "claim", limit=5)) == ["a"]
        assert ids(await search.nearest("acme", "m", unit(1, 0), limit=5)) == ["a"]
        assert search.rebuilt == frozenset()


async def test_asking_makes_no_file(search: SqliteSearch, tmp_path: Path) -> None:
    await search.match("acme", "claim", limit=5)
    await search.nearest("acme", "m", unit(1, 0), limit=5)
    await search.indexed("acme")
    await search.remove("acme", "art_1")
    assert list((tmp_path / "search").glob("acme*")) == []


WRITER = """
import asyncio, sys
from pathlib import Path
from symphainy.public_works.search import SqliteSearch
from symphainy.testing.conformance.search import fill, unit

async def main():
    search = SqliteSearch(Path(sys.argv[1]))
    await search.open()
    for n in range(1000):
        await fill(search, {f"p{i}": f"word{n} text" for i in range(30)}, artifact_id=f"art_{n}")
        print(n, flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill_and_nothing_is_half_there(tmp_path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    acknowledged = [int(await writer.stdout.readline()) for _ in range(20)]
    writer.kill()
    await writer.wait()
    async with opened(tmp_path) as search:
        indexed = await search.indexed("acme")
        assert {f"art_{n}" for n in acknowledged} <= indexed
        for artifact_id in indexed:
            assert len(await search.match("acme", f"word{artifact_id[4:]}", limit=99)) == 30
        assert search.rebuilt == frozenset()


def _other_version(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.pragma("user_version", search_file.VERSION + 1)
    db.close()


def _other_program(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.pragma("application_id", 7)
    db.close()


def _no_database(path: Path) -> None:
    path.write_bytes(b"this was never a database, however long it goes on about it" * 100)


DAMAGES = {"other version": _other_version, "other program": _other_program, "no database": _no_database}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_file_of_no_use_is_set_aside_told_and_made_anew(tmp_path: Path, damage: str) -> None:
    async with opened(tmp_path) as search:
        await fill(search, {"a": "claim"})
        await fill(search, {"a": "claim"}, tenant_id="zeta")
    await asyncio.to_thread(DAMAGES[damage], tmp_path / "acme.db")
    async with opened(tmp_path) as search:
        assert search.rebuilt == {"acme"}
        probe = await search.probe()
        assert (probe.status, "acme" in probe.detail, "zeta" in probe.detail) == ("degraded", True, False)
        assert await search.indexed("acme") == frozenset()
        assert await search.indexed("zeta") == {"art_1"}
        await fill(search, {"a": "claim"})
        search.reindexed("acme")
        assert ids(await search.match("acme", "claim", limit=5)) == ["a"]
        assert (await search.probe()).status == "ok"
    assert (tmp_path / "acme.db.damaged").exists()


async def test_damage_deep_in_a_file_is_found_when_it_is_met(tmp_path: Path) -> None:
    async with opened(tmp_path) as search:
        await fill(search, {f"p{n:03}": f"word{n} and more text" * 20 for n in range(300)})
    await asyncio.to_thread(_overwrite_all_but_the_head, tmp_path / "acme.db")
    async with opened(tmp_path) as search:
        assert await search.match("acme", "text", limit=5) == ()
        assert search.rebuilt == {"acme"}
        await fill(search, {"a": "text"})
        assert ids(await search.match("acme", "text", limit=5)) == ["a"]


def _overwrite_all_but_the_head(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


async def test_damage_met_by_many_at_once_is_set_aside_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as search:
        await fill(search, {f"p{n:03}": f"word{n} and more text" * 20 for n in range(300)})
        await asyncio.to_thread(_overwrite_all_but_the_head, tmp_path / "acme.db")
    await asyncio.to_thread(_overwrite_all_but_the_head, tmp_path / "acme.db")
    async with opened(tmp_path) as search:
        asking = [search.match("acme", "text", limit=5) for _ in range(10)]
        filling = [fill(search, {"a": "text"}, artifact_id=f"art_{n}") for n in range(5)]
        await asyncio.gather(*asking, *filling)
        found = await search.match("acme", "text", limit=50)
        assert {hit.artifact_id for hit in found} == await search.indexed("acme")
        assert search.rebuilt == {"acme"}


async def test_no_word_of_what_was_removed_stays_on_disk(tmp_path: Path) -> None:
    async with opened(tmp_path) as search:
        await fill(search, {"a": "swordfish at dawn"}, artifact_id="art_1")
        await fill(search, {"a": "marlin at dawn", "b": "halibut"}, artifact_id="art_2")
        await search.remove("acme", "art_1")
        await fill(search, {"a": "turbot at dusk", "b": "halibut"}, artifact_id="art_2")
        left = await asyncio.to_thread(_bytes_of, tmp_path)
    assert [word for word in (b"swordfish", b"marlin", b"turbot", b"halibut") if word in left] == [
        b"turbot",
        b"halibut",
    ]


def _bytes_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("acme*"))


async def test_a_writer_holds_up_no_reader_and_not_the_event_loop(search: SqliteSearch) -> None:
    await fill(search, {"a": "claim"})
    large = {f"p{n}": "many words of a large document " * 30 for n in range(3000)}
    writing = asyncio.create_task(fill(search, large, artifact_id="art_2"))
    reads = 0
    while not writing.done():
        await search.match("acme", "claim", limit=5)
        reads += 1
    await writing
    assert reads > 10


async def test_a_search_over_more_vectors_than_fit_in_memory_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_file, "BLOCK_ROWS", 7)
    vectors = {f"p{n:02}": unit(1, n % 10, n // 10) for n in range(50)}
    async with opened(tmp_path) as search:
        await fill(search, dict.fromkeys(vectors, "x"), vectors=vectors)
        twice = [await search.nearest("acme", "m", unit(1, 2, 3), limit=9) for _ in range(2)]
    async with opened(tmp_path, vector_bytes_max=100) as search:
        assert [await search.nearest("acme", "m", unit(1, 2, 3), limit=9)] * 2 == twice


async def test_more_tenants_than_stay_open_are_served_alike(tmp_path: Path) -> None:
    async with opened(tmp_path, tenants_open_max=2) as search:
        for _ in range(2):
            for n in range(6):
                await fill(search, {"a": f"word{n}"}, tenant_id=f"t{n}", vectors={"a": unit(1, n)})
        for n in range(6):
            assert ids(await search.match(f"t{n}", f"word{n}", limit=5)) == ["a"]
            (hit,) = await search.nearest(f"t{n}", "m", unit(1, n), limit=5)
            assert hit.score == pytest.approx(1)


async def test_a_directory_that_cannot_be_used_fails_the_start_and_says_what_to_do(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "file").write_text, "in the way")
    search = SqliteSearch(tmp_path / "file" / "search")
    with pytest.raises(StartupFailed, match="Make it writable") as failure:
        await search.open()
    assert failure.value.service == "search"
    await search.close()


async def test_a_full_disk_or_a_lost_directory_is_down_and_fails_by_name(tmp_path: Path) -> None:
    async with opened(tmp_path / "search", tenants_open_max=1) as search:
        await fill(search, {"a": "x"})  # so that the probe has to open its file anew
        await asyncio.to_thread(os.rename, tmp_path / "search", tmp_path / "elsewhere")
        assert (await search.probe()).status == "down"
        with pytest.raises(StoreFailed):
            await fill(search, {"a": "x"}, tenant_id="zeta")
