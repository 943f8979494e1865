"""Claim, run, renew, hand back. Waits for a wake-up or for the next moment something is due: never polls."""

from __future__ import annotations

import asyncio

import structlog

from symphainy.errors import LeaseLost, StoreFailed
from symphainy.model import Execution
from symphainy.ports import Claim
from symphainy.runtime.attempt import Suspended
from symphainy.runtime.engine import Engine

#: Executions taken by one claim at the most: one transaction stays short.
CLAIM_MAX = 128
#: Seconds until the next try where the store could not write for the moment.
CLAIM_AGAIN_S = 1.0

_logger = structlog.get_logger("symphainy.worker")


class Worker:
    def __init__(self, engine: Engine, *, owner: str) -> None:
        self._engine = engine
        self._owner = owner
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        """The latest run of each execution."""
        self._tenants: dict[str, int] = {}
        self._keys: dict[tuple[str, str], str] = {}
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
            # Not `await self._loop`: whoever cuts this short must not cancel the loop, and may ask again.
            await asyncio.wait([self._loop])
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace_s)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._renewing is not None:
            self._renewing.cancel()
        if self.failure is None:
            await self._hand_back()

    async def _hand_back(self) -> None:
        try:
            await self._engine.store.release(self._owner)
        except StoreFailed as error:
            _logger.warning("leases_not_handed_back", reason=str(error), remedy="They run out by themselves")

    @property
    def running(self) -> int:
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        return len(self._tasks) >= self._engine.limits.workers

    def running_of(self, tenant_id: str) -> int:
        return self._tenants.get(tenant_id, 0)

    def holder_of(self, tenant_id: str, concurrency_key: str) -> str | None:
        """The execution that runs under this key, if any."""
        return self._keys.get((tenant_id, concurrency_key))

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
                asked_ms = self._engine.clock.now_ms()
                if not await self._claimed():
                    await self._wait(asked_ms)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            _logger.error("worker_stopped", reason=self.failure, exc_info=True)

    async def _claimed(self) -> bool:
        engine = self._engine
        room = min(engine.limits.workers - len(self._tasks), CLAIM_MAX)
        if room <= 0:
            return False
        try:
            claims = await engine.store.claim(
                self._owner, limit=room, lease_s=engine.limits.lease_s, running_max=engine.limits.running_max
            )
        except StoreFailed as error:
            if not error.retryable:
                raise
            _logger.warning("claim_failed", reason=str(error), again_s=CLAIM_AGAIN_S)
            await self._until_woken(CLAIM_AGAIN_S)
            return True
        engine.log.claimed(claims)
        for claim in claims:
            self._start(claim)
        return bool(claims)

    async def _wait(self, asked_ms: int) -> None:
        """Until woken, or until the next execution is due after `asked_ms`, when the last claim was made.

        What was due by then and was not claimed waits for a slot, a limit or a key, and what frees those wakes us.
        """
        due_ms = await self._engine.store.next_due_ms(after_ms=asked_ms)
        if due_ms is None:
            await self._wake.wait()
        else:
            await self._until_woken((due_ms - self._engine.clock.now_ms()) / 1000)

    async def _until_woken(self, seconds_max: float) -> None:
        waits = [
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(self._engine.clock.sleep(seconds_max)),
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
        # An earlier run has lost its lease, or the execution would not have been handed out again.
        self.interrupt(execution.execution_id)
        task = loop.create_task(self._run(claim), name=execution.execution_id)
        self._tasks.add(task)
        self._running[execution.execution_id] = task
        if execution.concurrency_key is not None:
            self._keys[execution.tenant_id, execution.concurrency_key] = execution.execution_id
        self._tenants[execution.tenant_id] = self._tenants.get(execution.tenant_id, 0) + 1
        task.add_done_callback(lambda done: self._ended(execution, done))
        if self._renewing is None:
            self._renewing = loop.create_task(self._renew_loop(), name="leases")

    def _ended(self, execution: Execution, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._running.get(execution.execution_id) is task:
            del self._running[execution.execution_id]
            if execution.concurrency_key is not None:
                self._keys.pop((execution.tenant_id, execution.concurrency_key), None)
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
                held = dict(self._running)
                try:
                    kept = await self._engine.store.renew(self._owner, held.keys(), lease_s=self._engine.limits.lease_s)
                except StoreFailed as error:
                    _logger.warning("leases_not_renewed", reason=str(error))
                    continue
                for execution_id, task in held.items():
                    if execution_id not in kept:
                        task.cancel()
        finally:
            self._renewing = None
