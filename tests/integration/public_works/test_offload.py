"""LocalOffload under the suite of its port, and what it must not leave behind."""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
import uvloop

from symphainy.errors import ChildFailed
from symphainy.public_works.offload import LocalOffload
from symphainy.testing.conformance.offload import MEMORY_BYTES_MAX, PROGRAMS, OffloadRules, chunks, output


class TestLocalOffload(OffloadRules):
    @pytest_asyncio.fixture
    async def offload(self) -> AsyncIterator[LocalOffload]:
        made = LocalOffload()
        yield made
        await made.close()


async def _left_behind(offload: LocalOffload) -> None:
    """Run children that end in every way."""
    await output(offload, "echo", stdin=[b"x"])
    for program, options in {"abort": {}, "no_such": {}, "hang": {"timeout_s": 0.3}}.items():
        with pytest.raises(ChildFailed):
            await output(offload, program, **options)


def _files_and_children() -> tuple[int, int]:
    gc.collect()  # what earlier tests left open is not counted
    me = psutil.Process()
    return len(me.children()), me.num_fds()


async def test_no_zombie_and_no_open_file_stays() -> None:
    offload = LocalOffload()
    await _left_behind(offload)
    before = _files_and_children()
    for _ in range(3):
        await _left_behind(offload)
    await asyncio.sleep(0)
    assert _files_and_children() <= before
    await offload.close()


async def test_a_process_that_is_never_read_is_never_started() -> None:
    offload = LocalOffload()
    before = _files_and_children()
    await offload.process(f"{PROGRAMS}:hang", {}, chunks([]), timeout_s=60, memory_bytes_max=MEMORY_BYTES_MAX)
    assert _files_and_children() == before
    await offload.close()


async def test_closing_kills_the_children_that_still_run() -> None:
    offload = LocalOffload()
    stream = await offload.process(f"{PROGRAMS}:hang", {}, chunks([]), timeout_s=60, memory_bytes_max=MEMORY_BYTES_MAX)
    await anext(stream)
    await offload.close()
    with pytest.raises(ChildFailed, match="shutting down"):
        await anext(stream)


async def test_a_child_dies_with_the_platform() -> None:
    """However the platform dies: here by `kill -9`, while its child hangs."""
    program = (
        "import asyncio\n"
        "from symphainy.public_works.offload import LocalOffload\n"
        "from symphainy.testing.conformance.offload import started\n"
        "async def main():\n"
        "    async for chunk in await started(LocalOffload(), 'hang'):\n"
        "        print(chunk.decode(), flush=True)\n"
        "asyncio.run(main())\n"
    )
    platform = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, env=_with_path()
    )
    assert platform.stdout is not None
    child = psutil.Process(int((await platform.stdout.readline()).split()[0]))
    grandchild = child.children()[0]
    platform.kill()
    await platform.wait()
    await asyncio.to_thread(child.wait, 10)
    grandchild.kill()


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_children_run_the_same_on_uvloop() -> None:
    async def scenario() -> tuple[bytes, str]:
        offload = LocalOffload()
        data = os.urandom(3 << 20)
        echoed = await output(offload, "echo", stdin=[data])
        with pytest.raises(ChildFailed) as failure:
            await output(offload, "hang", timeout_s=0.3)
        await offload.close()
        return b"" if echoed != data else b"same", failure.value.reason

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scenario()) == (b"same", "timeout")
