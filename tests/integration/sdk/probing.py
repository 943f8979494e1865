"""A capability that does on request what clients have to cope with."""

import asyncio

from pydantic import BaseModel

from symphainy.capability import Capability, ExecutionContext, IntentRefused, IntentResult, intent


class Double(BaseModel):
    number: int


class Doubled(BaseModel):
    doubled: int


class Remark(BaseModel):
    times: int


class Write(BaseModel):
    text: str
    times: int = 1
    parent: str | None = None


class Nothing(BaseModel):
    pass


class Probing(Capability):
    name = "probing"
    description = "Does what clients have to cope with."

    @intent("double", result=Doubled, artifacts=("doubling",))
    async def double(self, ctx: ExecutionContext, params: Double) -> IntentResult:
        """Double a number, in a step."""
        doubled = await ctx.step("double", lambda: params.number * 2)
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="doubling", semantic_payload={"doubled": doubled}
        )
        return IntentResult(result=Doubled(doubled=doubled), artifacts={"doubling": artifact})

    @intent("remark", events=("remarked",))
    async def remark(self, ctx: ExecutionContext, params: Remark) -> IntentResult:
        """Emit so many events."""
        for number in range(params.times):
            await ctx.emit("remarked", {"number": number})
        return IntentResult()

    @intent("refuse")
    async def refuse(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Say no."""
        raise IntentRefused("too_early", "not before noon", {"noon": 12})

    @intent("linger")
    async def linger(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Run until cancelled."""
        await ctx.emit("lingering", {})
        await asyncio.Event().wait()
        return IntentResult()

    @intent("write", artifacts=("writing",))
    async def write(self, ctx: ExecutionContext, params: Write) -> IntentResult:
        """Keep a text as an artifact with content."""
        stored = await ctx.blobs.put(params.text.encode() * params.times, format="text/plain")
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="writing",
            semantic_descriptor={"filename": "naïve name.txt"},
            parent_artifacts=[params.parent] if params.parent else [],
            materializations=[stored],
        )
        return IntentResult(artifacts={"writing": artifact})
