"""Threads and child processes of this machine."""

from __future__ import annotations

import asyncio
import contextvars
import json
import math
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast

from symphainy.errors import ChildFailed
from symphainy.model import JsonObject
from symphainy.public_works.child import LENGTH_BYTES, MEMORY_EXIT

T = TypeVar("T")

THREADS_MAX = 8
CHILDREN_MAX = 2
#: Output of a child that waits for its reader; above it the child waits.
UNREAD_BYTES_MAX = 1 << 20
FEED_BYTES = 256 << 10
STDERR_BYTES_MAX = 8 << 10
LAST_WORDS_MAX = 500
#: A child gets nothing else of the environment: no tokens, no settings.
PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
#: What a library says when the memory limit stops it outside of Python.
_MEMORY_SIGNS = ("MemoryError", "bad_alloc", "Cannot allocate memory", "out of memory")


class LocalOffload:
    """`Offload` on this machine. At most `threads_max` functions and `children_max` children run at once."""

    def __init__(self, *, threads_max: int = THREADS_MAX, children_max: int = CHILDREN_MAX) -> None:
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="offload")
        self._slots = asyncio.Semaphore(children_max)
        self._children: set[_Child] = set()

    async def thread(self, fn: Callable[..., T], *args: Any) -> T:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(context.run, fn, *args))

    async def process(
        self,
        target: str,
        arguments: JsonObject,
        stdin: AsyncIterator[bytes],
        *,
        timeout_s: float,
        memory_bytes_max: int,
    ) -> AsyncIterator[bytes]:
        """The child starts with the first iteration, and `timeout_s` with the child: a slow reader uses it up as well.
        `memory_bytes_max` bounds its address space.
        """
        order = _order(arguments, timeout_s=timeout_s, memory_bytes_max=memory_bytes_max)
        return self._run(target, order, stdin, timeout_s)

    async def close(self) -> None:
        """Kill every child, and return when the last function has returned."""
        for child in self._children:
            child.kill()
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def _run(
        self, target: str, order: bytes, stdin: AsyncIterator[bytes], timeout_s: float
    ) -> AsyncGenerator[bytes, None]:
        async with self._slots:
            child = await _Child.start(target, order, stdin, timeout_s)
            self._children.add(child)
            try:
                async for chunk in child.output():
                    yield chunk
            finally:
                self._children.discard(child)
                await child.end()


class _Child(asyncio.SubprocessProtocol):
    """One child in a process group of its own."""

    _transport: asyncio.SubprocessTransport
    _deadline: asyncio.TimerHandle
    _feeder: asyncio.Task[None]

    def __init__(self, target: str, timeout_s: float) -> None:
        self._target = target
        self._timeout_s = timeout_s
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._stderr = bytearray()
        self._delivering = {1, 2}
        self._timed_out = False
        self._killed = False
        self._changed = asyncio.Event()
        self._exited = asyncio.Event()
        self._stdin_is_open = True
        self._may_feed = asyncio.Event()
        self._may_feed.set()

    @classmethod
    async def start(cls, target: str, order: bytes, stdin: AsyncIterator[bytes], timeout_s: float) -> _Child:
        loop = asyncio.get_running_loop()
        try:
            _, child = await loop.subprocess_exec(
                lambda: cls(target, timeout_s),
                *(sys.executable, "-P", "-m", "symphainy.public_works.child", target),
                env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise ChildFailed(f"{target} could not be started: {error}", reason="crash") from error
        child._deadline = loop.call_later(timeout_s, child._time_is_up)
        child._feeder = loop.create_task(child._feed(order, stdin))
        child._feeder.add_done_callback(child._fed)
        return child

    async def output(self) -> AsyncIterator[bytes]:
        """Everything the child writes. Raises `ChildFailed`, or what reading its stdin raised."""
        while self._unread or not self._has_ended():
            self._raise_if_stopped()
            if self._unread:
                yield self._take()
            else:
                self._changed.clear()
                await self._changed.wait()
        self._raise_if_stopped()
        self._raise_if_failed()

    async def end(self) -> None:
        """Kill whatever is left of it and let go of everything it held."""
        self._deadline.cancel()
        self.kill()
        self._feeder.cancel()
        await asyncio.wait([self._feeder])
        await self._exited.wait()
        self._transport.close()

    def kill(self) -> None:
        self._killed = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)

    # --- what the event loop tells ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._stderr += data
            del self._stderr[:-STDERR_BYTES_MAX]
            return
        self._unread.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= UNREAD_BYTES_MAX:
            self._stdout().pause_reading()
        self._changed.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 0:
            self._stdin_is_open = False
            self._may_feed.set()
        else:
            self._delivering.discard(fd)
            self._changed.set()

    def process_exited(self) -> None:
        self._exited.set()
        self._changed.set()
        # Grandchildren would keep the pipes open.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._transport.get_pid(), signal.SIGKILL)

    def pause_writing(self) -> None:
        self._may_feed.clear()

    def resume_writing(self) -> None:
        self._may_feed.set()

    # --- inside ---

    def _has_ended(self) -> bool:
        return self._exited.is_set() and not self._delivering

    def _stdout(self) -> asyncio.ReadTransport:
        return cast(asyncio.ReadTransport, self._transport.get_pipe_transport(1))

    def _take(self) -> bytes:
        chunk = self._unread.popleft()
        was_full = self._unread_bytes >= UNREAD_BYTES_MAX
        self._unread_bytes -= len(chunk)
        if was_full and self._unread_bytes < UNREAD_BYTES_MAX and 1 in self._delivering:
            self._stdout().resume_reading()
        return chunk

    async def _feed(self, order: bytes, stdin: AsyncIterator[bytes]) -> None:
        pipe = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        try:
            await self._write(pipe, order)
            async for chunk in stdin:
                await self._write(pipe, chunk)
                if not self._stdin_is_open:  # it has read all it wanted
                    return
            pipe.close()
        finally:
            if isinstance(stdin, AsyncGenerator):
                await stdin.aclose()

    async def _write(self, pipe: asyncio.WriteTransport, data: bytes) -> None:
        for start in range(0, len(data), FEED_BYTES):
            await self._may_feed.wait()
            if self._stdin_is_open:
                pipe.write(data[start : start + FEED_BYTES])
        await self._may_feed.wait()

    def _fed(self, feeder: asyncio.Task[None]) -> None:
        if not feeder.cancelled() and feeder.exception():
            self.kill()
            self._changed.set()

    def _time_is_up(self) -> None:
        if self._has_ended():
            return
        self._timed_out = True
        self.kill()
        self._changed.set()

    def _raise_if_stopped(self) -> None:
        if self._timed_out:
            raise self._failed("timeout", f"took longer than {self._timeout_s:g} s and was stopped")
        if self._feeder.done() and not self._feeder.cancelled() and (error := self._feeder.exception()):
            raise error
        if self._killed:
            raise self._failed("crash", "was stopped because the platform is shutting down")

    def _raise_if_failed(self) -> None:
        code = self._transport.get_returncode()
        said = self._last_words()
        if code == 0:
            return
        if code == MEMORY_EXIT or any(sign in said for sign in _MEMORY_SIGNS):
            raise self._failed("memory", "needed more memory than it is allowed")
        if code == -signal.SIGXCPU:
            raise self._failed("timeout", "used up its processor time")
        if code is not None and code < 0:
            raise self._failed("crash", f"was ended by {signal.Signals(-code).name}; it said last: {said}")
        raise self._failed("error", f"failed: {said}")

    def _failed(self, reason: str, what: str) -> ChildFailed:
        error = ChildFailed(f"{self._target} {what}", reason=reason, target=self._target)
        error.add_note(self._stderr.decode(errors="replace"))
        return error

    def _last_words(self) -> str:
        lines = self._stderr.decode(errors="replace").strip().splitlines()
        return lines[-1][:LAST_WORDS_MAX] if lines else "nothing"


def _order(arguments: JsonObject, *, timeout_s: float, memory_bytes_max: int) -> bytes:
    # The processor time of all its threads together; a backstop for when nobody is left to kill it.
    cpu_s_max = (math.ceil(timeout_s) + 1) * (os.cpu_count() or 1)
    order = {
        "parent_pid": os.getpid(),
        "arguments": arguments,
        "memory_bytes_max": memory_bytes_max,
        "cpu_s_max": cpu_s_max,
    }
    data = json.dumps(order).encode()
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    importable = [os.path.abspath(entry) for entry in sys.path]
    return passed | {
        "PYTHONPATH": os.pathsep.join(importable),
        "PYTHONUTF8": "1",
        # Each arena reserves 64 MB of address space, which the memory limit counts.
        "MALLOC_ARENA_MAX": "1",
    }
