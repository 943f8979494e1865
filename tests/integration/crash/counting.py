"""Counting, outside of the platform, how often each step is really run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from symphainy.capability import BoundIntent, Capability, ExecutionContext, Handler, IntentResult


def counted(kind: type[Capability], ledger: Path) -> type[Capability]:
    """The capability, with a line in the ledger for each step that it begins: execution id and name."""

    def intents(self: Capability) -> tuple[BoundIntent, ...]:
        return tuple(replace(bound, handler=_counting(bound.handler, ledger)) for bound in kind.intents(self))

    return type(kind.__name__, (kind,), {"intents": intents, "__module__": kind.__module__})


def _counting(handler: Handler, ledger: Path) -> Handler:
    async def handle(ctx: ExecutionContext, params: Any) -> IntentResult:
        return await handler(_Counting(ctx, ledger), params)

    return handle


class _Counting:
    """An `ExecutionContext` that writes down each step that is really run, before it is."""

    def __init__(self, ctx: ExecutionContext, ledger: Path) -> None:
        self._ctx = ctx
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    async def step(self, name: str, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return await self._ctx.step(name, self._noted(name, fn), *args, **options)

    def _noted(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(fn):

            async def later(*args: Any) -> Any:
                self._note(name)
                return await fn(*args)

            return later

        def now(*args: Any) -> Any:
            self._note(name)
            return fn(*args)

        return now

    def _note(self, name: str) -> None:
        with self._ledger.open("ab") as ledger:
            ledger.write(f"{self._ctx.execution_id} {name}\n".encode())
