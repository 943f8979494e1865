"""Stores that fail as machines do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from typing import Any, TypeVar

from symphainy.model import Draft
from symphainy.ports import Claim, Committed, Guard, Probe, Store, TenantStore

T = TypeVar("T")


class MortalStore:
    """`Store` of a process that dies at its write number `dies_at`: just before it reaches the disk, or just after.

    The dead process learns nothing more: whatever it asks is never answered, until it is buried, when it is cancelled.
    What had reached the disk is in the store beneath, for the next process. Reads are counted by nobody.
    """

    def __init__(self, store: Store, *, dies_at: int, before: bool = False) -> None:
        self._store = store
        self._dies_at = dies_at
        self._before = before
        self._buried = False
        self.writes = 0
        self.died = asyncio.Event()

    def bury(self) -> None:
        self._buried = True

    async def open(self) -> None:
        """The store beneath is open."""

    async def close(self) -> None:
        """The store beneath stays open."""

    def tenant(self, tenant_id: str) -> TenantStore:
        return _MortalTenant(self, self._store.tenant(tenant_id))

    async def tenants(self) -> tuple[str, ...]:
        return await self.living(self._store.tenants())

    async def claim(self, owner: str, *, limit: int, lease_s: float, running_max: int) -> tuple[Claim, ...]:
        # A claim that takes nothing writes nothing.
        if await self.living(self._store.next_due_ms()) is None:
            return ()
        return await self.writing(self._store.claim(owner, limit=limit, lease_s=lease_s, running_max=running_max))

    async def renew(self, owner: str, execution_ids: Collection[str], *, lease_s: float) -> frozenset[str]:
        return await self.living(self._store.renew(owner, execution_ids, lease_s=lease_s))

    async def release(self, owner: str) -> int:
        return await self.living(self._store.release(owner))

    async def next_due_ms(self, *, after_ms: int | None = None) -> int | None:
        return await self.living(self._store.next_due_ms(after_ms=after_ms))

    async def probe(self) -> Probe:
        return await self.living(self._store.probe())

    async def living(self, operation: Awaitable[T]) -> T:
        if self.died.is_set():
            _forget(operation)
            await self._be_dead()
        return await operation

    async def writing(self, operation: Awaitable[T]) -> T:
        if not self.died.is_set():
            self.writes += 1
            if self.writes < self._dies_at:
                return await operation
            self.died.set()
            if not self._before:
                await operation
                await self._be_dead()
        _forget(operation)
        await self._be_dead()
        raise AssertionError("the dead do not return")

    async def _be_dead(self) -> None:
        if not self._buried:
            await asyncio.Event().wait()
        raise asyncio.CancelledError


class _MortalTenant:
    """`TenantStore` of the dying process: reads go through while it lives."""

    def __init__(self, process: MortalStore, tenant: TenantStore) -> None:
        self._process = process
        self._tenant = tenant

    async def write(self, drafts: Sequence[Draft], *, guards: Sequence[Guard] = ()) -> Committed:
        return await self._process.writing(self._tenant.write(drafts, guards=guards))

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._tenant, name)
        if not callable(found):
            return found

        async def read(*args: Any, **options: Any) -> Any:
            return await self._process.living(found(*args, **options))

        return read


def _forget(operation: Awaitable[Any]) -> None:
    """It was never begun, and says so when it is garbage unless it is closed."""
    if asyncio.iscoroutine(operation):
        operation.close()
