"""Claim, run, renew, hand back. Waits for a wake-up or for the next moment something is due: never polls."""

from __future__ import annotations

import asyncio

import structlog

from symphainy.errors import LeaseLost
from symphainy.model import Execution
from symphainy.ports import Claim
from symphainy.runtime.attempt import Suspended
from symphainy.runtime.engine import Engine

#: Executions taken by one claim at the most: one transaction stays short.
CLAIM_MAX = 128

_logger = structlog.get_logger("symphainy.worker")


class Worker:
    def __init__(self, engine: Engine, *, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._wake = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tenants: dict[str, int] = {}
        self._loop: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._stopping = False
        #: Why the worker stopped by itself, if it did: its store failed.
        self.failure: str | None = None

    # --- life ---

    def start(self) -> None:
        self._engine.log.on_work = self._wake.set
        self._loop = asyncio.get_running_loop().create_task(self._claim_loop(), name="worker")

    async def stop(self, *, grace_s: float) -> None:
        """Claim nothing more, let handlers finish for `grace_s` seconds, and hand the rest back."""
        self._stopping = True
        self._wake.set()
        if self._loop is not None:
            await self._loop
        if self._running:
            await asyncio.wait(self._running.values(), timeout=grace_s)
        for task in tuple(self._running.values()):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
        if self._renewing is not None:
            self._renewing.cancel()
        if self.failure is None:
            await self._engine.store.release(self._owner)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def is_full(self) -> bool:
        return len(self._running) >= self._engine.limits.workers

    def running_of(self, tenant_id: str) -> int:
        return self._tenants.get(tenant_id, 0)

    def interrupt(self, execution_id: str) -> None:
        """Stop a handler whose execution has ended by another hand. What it still does is fenced off."""
        task = self._running.get(execution_id)
        if task is not None:
            task.cancel()

    # --- claiming ---

    async def _claim_loop(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                if not await self._claimed():
                    await self._wait()
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            _logger.error("worker_stopped", reason=self.failure, exc_info=True)

    async def _claimed(self) -> bool:
        engine = self._engine
        room = min(engine.limits.workers - len(self._running), CLAIM_MAX)
        if room <= 0:
            return False
        claims = await engine.store.claim(
            self._owner, limit=room, lease_s=engine.limits.lease_s, running_max=engine.limits.running_max
        )
        engine.log.claimed(claims)
        for claim in claims:
            self._start(claim)
        return bool(claims)

    async def _wait(self) -> None:
        """Until woken, or until the next execution is due. What is overdue waits for a slot, and a slot wakes us."""
        due_ms = await self._engine.store.next_due_ms()
        now_ms = self._engine.clock.now_ms()
        if due_ms is None or due_ms <= now_ms:
            await self._wake.wait()
            return
        waits = [
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(self._engine.clock.sleep((due_ms - now_ms) / 1000)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    # --- running ---

    def _start(self, claim: Claim) -> None:
        execution = claim.execution
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._run(claim), name=execution.execution_id)
        self._running[execution.execution_id] = task
        self._tenants[execution.tenant_id] = self._tenants.get(execution.tenant_id, 0) + 1
        task.add_done_callback(lambda _: self._ended(execution))
        if self._renewing is None:
            self._renewing = loop.create_task(self._renew_loop(), name="leases")

    def _ended(self, execution: Execution) -> None:
        del self._running[execution.execution_id]
        left = self._tenants[execution.tenant_id] - 1
        if left:
            self._tenants[execution.tenant_id] = left
        else:
            del self._tenants[execution.tenant_id]
        self._wake.set()

    async def _run(self, claim: Claim) -> None:
        execution = claim.execution
        try:
            with structlog.contextvars.bound_contextvars(
                execution_id=execution.execution_id, tenant_id=execution.tenant_id, intent_type=execution.intent_type
            ):
                await self._engine.run(claim)
        except Suspended:
            return
        except LeaseLost:
            _logger.info("lease_lost", execution_id=execution.execution_id, fence=claim.fence)
        except Exception:
            # The outcome could not be recorded: the lease runs out, and the execution is taken up again.
            _logger.error("outcome_not_recorded", execution_id=execution.execution_id, exc_info=True)

    async def _renew_loop(self) -> None:
        """While anything runs. A handler whose lease is gone is stopped."""
        try:
            while self._running:
                await self._engine.clock.sleep(self._engine.limits.lease_s / 3)
                if not self._running:
                    return
                held = frozenset(self._running)
                kept = await self._engine.store.renew(self._owner, held, lease_s=self._engine.limits.lease_s)
                for execution_id in held - kept:
                    self.interrupt(execution_id)
        finally:
            self._renewing = None
