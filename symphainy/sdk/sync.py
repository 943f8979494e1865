"""The same SDK for scripts and notebooks: each call runs on an event loop of its own, in a thread of its own.

Every operation is `ExperienceSDK`'s, with its signature and its documentation; only what is awaited there returns here.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from symphainy.door import OpenedContent
from symphainy.sdk.client import ExperienceSDK
from symphainy.sdk.following import released
from symphainy.sdk.retry import Retry

#: How long an interrupted call may take to let go.
CANCEL_S = 2.0

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Portal:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A script that forgets to close must still be able to end.
        self._thread = threading.Thread(target=self._loop.run_forever, name="symphainy-sdk", daemon=True)
        self._thread.start()

    def call(self, awaited: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            awaited.close()
            raise RuntimeError("this SDK was closed")
        ended = threading.Event()
        future: Future[T] = asyncio.run_coroutine_threadsafe(_telling(awaited, ended), self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C interrupts the waiting thread only: what it waited for must end too, before anything else begins.
            future.cancel()
            ended.wait(CANCEL_S)
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        try:
            while True:
                try:
                    yield self.call(_next(items))
                except _End:
                    return
        finally:
            if self._thread.is_alive():
                self.call(_close(items))

    def close(self) -> None:
        if self._thread.is_alive():
            self.call(self._loop.shutdown_asyncgens())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


async def _telling(awaited: Coroutine[Any, Any, T], ended: threading.Event) -> T:
    try:
        return await awaited
    finally:
        ended.set()


class _End(Exception):
    """`StopAsyncIteration` cannot pass through a future."""


async def _next(items: AsyncIterator[T]) -> T:
    try:
        return await anext(items)
    except StopAsyncIteration:
        raise _End from None


async def _close(items: AsyncIterator[Any]) -> None:
    async with released(items):
        pass


class SyncContent(msgspec.Struct, frozen=True, kw_only=True):
    """`OpenedContent` with plain chunks: bytes `[start, stop)` of `size_bytes`, to be read once."""

    chunks: Iterator[bytes]
    media_type: str
    filename: str | None
    sha256: str
    size_bytes: int
    start: int
    stop: int


def _returned(
    operation: Callable[Concatenate[ExperienceSDK, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[SyncExperienceSDK, P], R]:
    @functools.wraps(operation)
    def call(self: SyncExperienceSDK, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._portal.call(operation(self._sdk, *args, **kwargs))

    return call


def _iterated(
    operation: Callable[Concatenate[ExperienceSDK, P], AsyncIterator[T]],
) -> Callable[Concatenate[SyncExperienceSDK, P], Iterator[T]]:
    @functools.wraps(operation)
    def iterate(self: SyncExperienceSDK, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return self._portal.iterate(operation(self._sdk, *args, **kwargs))

    return iterate


def _opened(
    operation: Callable[Concatenate[ExperienceSDK, P], Coroutine[Any, Any, OpenedContent]],
) -> Callable[Concatenate[SyncExperienceSDK, P], SyncContent]:
    @functools.wraps(operation)
    def open_content(self: SyncExperienceSDK, /, *args: P.args, **kwargs: P.kwargs) -> SyncContent:
        content = self._portal.call(operation(self._sdk, *args, **kwargs))
        facts = msgspec.structs.asdict(content) | {"chunks": self._portal.iterate(content.chunks)}
        return SyncContent(**facts)

    return open_content


class SyncExperienceSDK:
    """Use as a context manager, or call `close`. Callbacks (`progress`) are called in the thread of the event loop."""

    def __init__(self, sdk: ExperienceSDK) -> None:
        self._sdk = sdk
        self._portal = _Portal()

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        token: str | None = None,
        tenant_id: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
    ) -> SyncExperienceSDK:
        """Use as `with`, or call `close`. Nothing is sent before the first call."""
        return cls(ExperienceSDK.connect(url, token=token, tenant_id=tenant_id, retry=retry, timeout_s=timeout_s))

    def with_token(self, token: str) -> SyncExperienceSDK:
        """The same platform as another caller, over the same connections: they close with this SDK."""
        other = object.__new__(SyncExperienceSDK)
        other._sdk, other._portal = self._sdk.with_token(token), self._portal
        return other

    def close(self) -> None:
        self._portal.call(self._sdk.aclose())
        self._portal.close()

    def __enter__(self) -> SyncExperienceSDK:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    query_state = _returned(ExperienceSDK.query_state)
    invoke_intent = _returned(ExperienceSDK.invoke_intent)
    subscribe = _iterated(ExperienceSDK.subscribe)
    run = _returned(ExperienceSDK.run)

    create_session = _returned(ExperienceSDK.create_session)
    create_anonymous_session = _returned(ExperienceSDK.create_anonymous_session)
    get_session = _returned(ExperienceSDK.get_session)
    update_session = _returned(ExperienceSDK.update_session)
    close_session = _returned(ExperienceSDK.close_session)

    list_intents = _returned(ExperienceSDK.list_intents)
    get_intent = _returned(ExperienceSDK.get_intent)
    list_realms = _returned(ExperienceSDK.list_realms)
    submit = _returned(ExperienceSDK.submit)
    submit_batch = _returned(ExperienceSDK.submit_batch)
    create_pending = _returned(ExperienceSDK.create_pending)
    list_pending = _returned(ExperienceSDK.list_pending)

    get_execution = _returned(ExperienceSDK.get_execution)
    execution_artifacts = _returned(ExperienceSDK.execution_artifacts)
    wait = _returned(ExperienceSDK.wait)
    list_executions = _returned(ExperienceSDK.list_executions)
    cancel = _returned(ExperienceSDK.cancel)
    stream = _iterated(ExperienceSDK.stream)

    resolve_artifact = _returned(ExperienceSDK.resolve_artifact)
    list_artifacts = _returned(ExperienceSDK.list_artifacts)
    open_artifact = _opened(ExperienceSDK.open_artifact)
    artifact_lineage = _returned(ExperienceSDK.artifact_lineage)
    upload = _returned(ExperienceSDK.upload)

    wal_events = _returned(ExperienceSDK.wal_events)
    enter = _returned(ExperienceSDK.enter)
    health = _returned(ExperienceSDK.health)
