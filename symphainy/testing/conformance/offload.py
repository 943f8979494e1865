"""The promises of `Offload`."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from symphainy.errors import ChildFailed, NotFound
from symphainy.model import JsonObject
from symphainy.model.json import parse
from symphainy.ports import Offload

PROGRAMS = "symphainy.testing.child_programs"
MEMORY_BYTES_MAX = 512 << 20


class OffloadRules:
    """Give it a fixture `offload`, opened, with room for two children; it is closed by the fixture."""

    # --- threads ---

    async def test_a_function_runs_in_another_thread_and_its_result_comes_back(self, offload: Offload) -> None:
        def work(a: int, b: int) -> tuple[int, bool]:
            return a + b, threading.current_thread() is threading.main_thread()

        assert await offload.thread(work, 2, 3) == (5, False)

    async def test_what_a_function_raises_is_raised_here(self, offload: Offload) -> None:
        with pytest.raises(NotFound, match="lost"):
            await offload.thread(_raise, NotFound("lost"))

    async def test_a_function_sees_the_context_of_its_caller(self, offload: Offload) -> None:
        request_id = contextvars.ContextVar("request_id", default="none")
        request_id.set("req_1")
        assert await offload.thread(request_id.get) == "req_1"

    async def test_the_event_loop_runs_on_meanwhile(self, offload: Offload) -> None:
        release = threading.Event()
        waiting = asyncio.create_task(offload.thread(release.wait, 30))
        await asyncio.sleep(0)
        release.set()
        assert await waiting

    # --- processes ---

    async def test_what_the_child_writes_comes_back_byte_for_byte(self, offload: Offload) -> None:
        sent = [os.urandom(size) for size in (0, 1, 70_000, 3, 900_000)] * 2
        assert await output(offload, "echo", stdin=sent) == b"".join(sent)

    async def test_the_child_gets_its_arguments_and_nothing_of_our_surroundings(
        self, offload: Offload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SYMPHAINY_SECRET", "swordfish")
        arguments = {"text": "grün\0", "deep": [{"n": 1.5}], "large": "x" * 300_000}
        told = parse(await output(offload, "tell", arguments, stdin=[b"12345"]))
        assert told["arguments"] == arguments
        assert told["stdin_bytes"] == 5
        assert "SYMPHAINY_SECRET" not in told["environment"]
        assert told["address_space"] == MEMORY_BYTES_MAX
        assert told["core_bytes"] == 0
        assert told["leads_its_group"]

    async def test_the_child_inherits_no_open_file(self, offload: Offload, tmp_path: Path) -> None:
        secret = os.open(tmp_path / "secret", os.O_CREAT | os.O_RDWR)
        os.set_inheritable(secret, True)
        told = parse(await output(offload, "tell"))
        os.close(secret)
        # Its three streams, the one it delivers through, and the listing itself.
        assert set(told["files"]) <= {0, 1, 2, 3, 4}

    async def test_what_a_library_prints_is_no_data(self, offload: Offload) -> None:
        assert await output(offload, "chatter") == b"ok"

    async def test_a_child_need_not_read_what_it_is_fed(self, offload: Offload) -> None:
        assert await output(offload, "deaf", stdin=[bytes(1 << 20)] * 8) == b"ok"

    async def test_a_child_that_ends_well_takes_its_own_children_along(self, offload: Offload) -> None:
        assert await output(offload, "leave_a_grandchild") == b"ok"

    async def test_a_child_that_raises_fails_with_its_last_words_and_nothing_more(self, offload: Offload) -> None:
        stream = await started(offload, "refuse", {"message": "page 7 is broken"})
        assert await anext(stream) == b"partial"
        with pytest.raises(ChildFailed) as failure:
            await anext(stream)
        assert failure.value.reason == "error"
        assert failure.value.message == f"{PROGRAMS}:refuse failed: ValueError: page 7 is broken"
        assert failure.value.details == {"reason": "error", "target": f"{PROGRAMS}:refuse"}

    async def test_last_words_are_bounded(self, offload: Offload) -> None:
        with pytest.raises(ChildFailed) as failure:
            await output(offload, "refuse", {"message": "y" * 100_000})
        assert len(failure.value.message) < 1_000

    async def test_an_unknown_target_is_an_error(self, offload: Offload) -> None:
        with pytest.raises(ChildFailed, match="no_such_function") as failure:
            await output(offload, "no_such_function")
        assert failure.value.reason == "error"

    async def test_a_child_that_dies_in_native_code_is_a_crash(self, offload: Offload) -> None:
        with pytest.raises(ChildFailed, match=r"SIGABRT.*assertion failed in native code") as failure:
            await output(offload, "abort")
        assert failure.value.reason == "crash"

    async def test_a_child_gets_no_more_memory_than_it_is_allowed(self, offload: Offload) -> None:
        with pytest.raises(ChildFailed) as failure:
            await output(offload, "gorge", memory_bytes_max=200 << 20)
        assert failure.value.reason == "memory"

    async def test_a_child_and_its_children_are_killed_when_time_is_up(self, offload: Offload) -> None:
        stream = await started(offload, "hang", timeout_s=2)
        pids = (await anext(stream)).split()
        with pytest.raises(ChildFailed, match="took longer than 2 s") as failure:
            await anext(stream)
        assert failure.value.reason == "timeout"
        await _gone(pids)

    async def test_a_child_and_its_children_are_killed_when_the_caller_stops(self, offload: Offload) -> None:
        async with aclosing(await started(offload, "hang")) as stream:
            pids = (await anext(stream)).split()
        await _gone(pids)

    async def test_a_child_and_its_children_are_killed_when_the_caller_is_cancelled(self, offload: Offload) -> None:
        first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def reading() -> None:
            async with aclosing(await started(offload, "hang")) as stream:
                async for chunk in stream:
                    first.set_result(chunk)

        reader = asyncio.create_task(reading())
        pids = (await first).split()
        reader.cancel()
        await asyncio.wait([reader])
        assert reader.cancelled()
        await _gone(pids)

    async def test_when_its_input_fails_the_child_is_killed_and_the_failure_raised(self, offload: Offload) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield b"some"
            raise NotFound("the blob is gone")

        stream = await offload.process(
            f"{PROGRAMS}:echo", {}, broken(), timeout_s=30, memory_bytes_max=MEMORY_BYTES_MAX
        )
        with pytest.raises(NotFound, match="the blob is gone"):
            _ = [chunk async for chunk in stream]

    async def test_an_input_that_is_no_longer_read_is_closed(self, offload: Offload) -> None:
        closed = asyncio.Event()

        async def endless() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 16)
            finally:
                closed.set()

        stream = await offload.process(
            f"{PROGRAMS}:echo", {}, endless(), timeout_s=30, memory_bytes_max=MEMORY_BYTES_MAX
        )
        async with aclosing(cast(AsyncGenerator[bytes, None], stream)) as open_stream:
            await anext(open_stream)
        assert closed.is_set()

    async def test_a_child_waits_for_a_slow_reader(self, offload: Offload, tmp_path: Path) -> None:
        tally = tmp_path / "tally"
        async with aclosing(await started(offload, "pour", {"tally": str(tally)})) as stream:
            await anext(stream)
            written = await offload.thread(_final_tally, tally)
        assert 0 < written < 16

    async def test_more_children_than_there_is_room_for_wait_their_turn(self, offload: Offload) -> None:
        outputs = await asyncio.gather(*(output(offload, "echo", stdin=[b"%d" % n]) for n in range(5)))
        assert outputs == [b"%d" % n for n in range(5)]


def _raise(error: Exception) -> None:
    raise error


def _final_tally(path: Path) -> int:
    """Nothing tells that a process has stopped to write; that it wrote nothing for a while does."""
    before, now = -1, 0
    while before != now or not now:
        threading.Event().wait(0.2)
        before, now = now, int(path.read_text("ascii") or 0) if path.exists() else 0
    return now


async def chunks(data: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


async def started(
    offload: Offload,
    program: str,
    arguments: JsonObject | None = None,
    *,
    stdin: list[bytes] | None = None,
    timeout_s: float = 60,
    memory_bytes_max: int = MEMORY_BYTES_MAX,
) -> AsyncGenerator[bytes, None]:
    stream = await offload.process(
        f"{PROGRAMS}:{program}",
        arguments or {},
        chunks(stdin or []),
        timeout_s=timeout_s,
        memory_bytes_max=memory_bytes_max,
    )
    return cast(AsyncGenerator[bytes, None], stream)


async def output(offload: Offload, program: str, *args: Any, **options: Any) -> bytes:
    return b"".join([chunk async for chunk in await started(offload, program, *args, **options)])


async def _gone(pids: list[bytes]) -> None:
    assert len(pids) == 2
    await asyncio.to_thread(_wait_until_gone, *map(int, pids))


def _wait_until_gone(*pids: int) -> None:
    while any(map(_runs, pids)):
        threading.Event().wait(0.01)


def _runs(pid: int) -> bool:
    """A killed grandchild is a zombie until init has reaped it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
