"""The intents that are measured: `symphainy up --capability bench.capability:Bench`."""

from __future__ import annotations

import asyncio

from pydantic import BaseModel, Field

from symphainy.capability import Capability, ExecutionContext, IntentResult, intent
from symphainy.model import JsonObject

NOOP = "bench_noop"
THREE_STEPS = "bench_three_steps"
HELD = "bench_held"
TICKS = "bench_ticks"

#: How long a held execution waits: longer than any measurement, so that only the kill ends its first run.
HELD_S = 3600.0


class Numbered(BaseModel):
    n: int = 0


class Ticks(BaseModel):
    """Emit `count` events, `after_s` seconds from now."""

    count: int = Field(ge=1)
    after_s: float = Field(ge=0)


class Bench(Capability):
    name = "bench"
    description = "Intents that do as little as possible, to be measured."

    @intent(NOOP)
    async def noop(self, ctx: ExecutionContext, params: Numbered) -> IntentResult:
        """Answer what was given."""
        return IntentResult(result={"n": params.n})

    @intent(THREE_STEPS)
    async def three_steps(self, ctx: ExecutionContext, params: Numbered) -> IntentResult:
        """Three steps, one after the other, each on disk before the next begins."""
        total = 0
        for name in ("first", "second", "third"):
            total += (await ctx.step(name, _count, params.n))["n"]
        return IntentResult(result={"n": total})

    @intent(HELD)
    async def held(self, ctx: ExecutionContext, params: Numbered) -> IntentResult:
        """One step, then a wait that only the end of the process ends, then another step."""
        before = await ctx.step("before", _count, params.n)
        if ctx.attempt == 1:
            await asyncio.sleep(HELD_S)
        after = await ctx.step("after", _count, params.n)
        return IntentResult(result={"n": before["n"] + after["n"]})

    @intent(TICKS, events=("tick",))
    async def ticks(self, ctx: ExecutionContext, params: Ticks) -> IntentResult:
        """Emit many events at once."""
        await asyncio.sleep(params.after_s)
        await asyncio.gather(*(ctx.emit("tick", {"n": n}) for n in range(params.count)))
        return IntentResult(result={"ticks": params.count})


async def _count(n: int) -> JsonObject:
    return {"n": n + 1}
