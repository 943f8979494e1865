"""A process that dies, as if by `kill -9`, at the moment that a test names.

    fuse = Fuse(at=7)
    works = replace(works, store=crashing_store(works.store, fuse), blobs=crashing_blobs(works.blobs, fuse))

A *point* is the moment just before something becomes durable, or just after, before anybody has been told. Points are
counted from 1 in the order in which they are passed, so that a test can try each of them in turn. (`faults.MortalStore`
dies within a test's own process, and takes nothing along; this one is for a child.)
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from symphainy.model import Draft
from symphainy.ports import Blobs, Claim, Committed, Guard, Passage, Search, Store, StoredBlob, TenantStore

S = TypeVar("S", bound=Store)
B = TypeVar("B", bound=Blobs)
F = TypeVar("F", bound=Search)


class Fuse:
    """Kills its own process at the point number `at`; without one it only counts.

    `diary` gets one line for each point as it is passed: it outlives the process.
    """

    def __init__(self, *, at: int | None = None, diary: Path | None = None) -> None:
        self._at = at
        self._diary = None if diary is None else os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.passed = 0

    def point(self, what: str) -> None:
        self.passed += 1
        if self._diary is not None:
            os.write(self._diary, f"{what}\n".encode())
        if self.passed == self._at:
            os.kill(os.getpid(), signal.SIGKILL)


def crashing_store(store: S, fuse: Fuse) -> S:
    """The store, every write of it between two points. A claim is one point after it, if it took anything.

    Before a claim nothing else lies on disk than after the write before it.
    """
    return cast("S", _Store(store, fuse))


def crashing_blobs(blobs: B, fuse: Fuse) -> B:
    """The blobs, every `put` between two points."""
    return cast("B", _Blobs(blobs, fuse))


def crashing_search(search: F, fuse: Fuse) -> F:
    """The index, every change of it between two points."""
    return cast("F", _Search(search, fuse))


class _Watched:
    """What is not named in a subclass goes straight through."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Store(_Watched):
    def tenant(self, tenant_id: str) -> TenantStore:
        return cast("TenantStore", _Tenant(self._inner.tenant(tenant_id), self._fuse))

    async def claim(self, owner: str, *, limit: int, lease_s: float, running_max: int) -> tuple[Claim, ...]:
        claims: tuple[Claim, ...] = await self._inner.claim(
            owner, limit=limit, lease_s=lease_s, running_max=running_max
        )
        if claims:
            self._fuse.point("after execution_started")
        return claims


class _Tenant(_Watched):
    async def write(self, drafts: Sequence[Draft], *, guards: Sequence[Guard] = ()) -> Committed:
        what = " ".join(draft.event_type for draft in drafts)
        self._fuse.point(f"before {what}")
        committed: Committed = await self._inner.write(drafts, guards=guards)
        self._fuse.point(f"after {what}")
        return committed

    async def erase(self, positions: Sequence[int]) -> None:
        self._fuse.point("before an erasure")
        await self._inner.erase(positions)
        self._fuse.point("after an erasure")


class _Blobs(_Watched):
    async def put(self, tenant_id: str, chunks: AsyncIterator[bytes], *, size_max: int | None = None) -> StoredBlob:
        self._fuse.point("before a blob")
        stored: StoredBlob = await self._inner.put(tenant_id, chunks, size_max=size_max)
        self._fuse.point("after a blob")
        return stored


class _Search(_Watched):
    async def index(self, tenant_id: str, artifact_id: str, passages: Sequence[Passage]) -> None:
        self._fuse.point("before passages")
        await self._inner.index(tenant_id, artifact_id, passages)
        self._fuse.point("after passages")

    async def index_vectors(
        self, tenant_id: str, artifact_id: str, model: str, vectors: Mapping[str, Sequence[float]]
    ) -> None:
        self._fuse.point("before vectors")
        await self._inner.index_vectors(tenant_id, artifact_id, model, vectors)
        self._fuse.point("after vectors")

    async def remove(self, tenant_id: str, artifact_id: str) -> None:
        self._fuse.point("before a removal")
        await self._inner.remove(tenant_id, artifact_id)
        self._fuse.point("after a removal")
