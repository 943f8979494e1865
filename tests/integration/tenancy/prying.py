"""A capability that leaves a trace in every place there is, and one way in for whatever a handler can ask for."""

import asyncio
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from symphainy.capability import Capability, ExecutionContext, IntentResult, intent
from symphainy.model import JsonObject, Materialization


class Traces(BaseModel):
    """What to write, by place."""

    words: dict[str, str]


class Way(StrEnum):
    """What a handler can ask the platform for by an id."""

    SESSION_STATE = "session_state"
    SET_SESSION_STATE = "set_session_state"
    EXECUTION_STATE = "execution_state"
    SET_EXECUTION_STATE = "set_execution_state"
    ARTIFACT = "artifact"
    PARENT = "parent"
    TRANSITION = "transition"
    ACCEPTANCE = "acceptance"
    PENDING = "pending"
    BLOB = "blob"
    FORGED_BLOB = "forged_blob"
    SESSION_OF_THAT_TENANT = "session_of_that_tenant"
    EXECUTIONS_OF_THAT_TENANT = "executions_of_that_tenant"
    ARTIFACT_FOR_THAT_TENANT = "artifact_for_that_tenant"
    ARTIFACTS_OF_THAT_TENANT = "artifacts_of_that_tenant"


class Pry(BaseModel):
    """`named` is an id, or a tenant where the way is about one."""

    way: Way
    named: str


class Pried(BaseModel):
    found: Any


class Take(BaseModel):
    artifact_id: str


class Nothing(BaseModel):
    pass


class Prying(Capability):
    name = "prying"
    description = "Tries to reach what is not its tenant's."

    @intent("leave_traces", artifacts=("trace",), events=("traced",))
    async def leave_traces(self, ctx: ExecutionContext, params: Traces) -> IntentResult:
        """Write a word in every place that a handler can write to."""
        words = params.words
        await ctx.emit("traced", {"word": words["event"]})
        await ctx.progress(0.5, words["progress"])
        await ctx.state_surface.update_session_state(
            ctx.session_id, ctx.tenant_id, {words["state name"]: words["state"]}
        )
        await ctx.state_surface.set_execution_state(ctx.execution_id, ctx.tenant_id, {"word": words["execution state"]})
        remembered = await ctx.step("remember", lambda: {"word": words["step"]})
        kept = await ctx.blobs.put(words["blob"].encode(), format="text/plain")
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="trace",
            semantic_descriptor={"name": words["descriptor"]},
            semantic_payload={"word": words["payload"], **remembered},
            materializations=[kept],
        )
        return IntentResult(result={"word": words["result"]}, artifacts={words["artifact name"]: artifact})

    @intent("linger")
    async def linger(self, ctx: ExecutionContext, params: Nothing) -> IntentResult:
        """Run until cancelled."""
        await asyncio.Event().wait()
        return IntentResult()

    @intent("pry", result=Pried)
    async def pry(self, ctx: ExecutionContext, params: Pry) -> IntentResult:
        """Ask for one thing in one way, and show whatever comes back."""
        return IntentResult(result=Pried(found=await self._found(ctx, params.way, params.named)))

    async def _found(self, ctx: ExecutionContext, way: Way, named: str) -> Any:
        surface, own = ctx.state_surface, ctx.tenant_id
        match way:
            case Way.SESSION_STATE:
                return await surface.get_session_state(named, own)
            case Way.SET_SESSION_STATE:
                return await surface.set_session_state(named, own, {})
            case Way.EXECUTION_STATE:
                return await surface.get_execution_state(named, own)
            case Way.SET_EXECUTION_STATE:
                return await surface.set_execution_state(named, own, {})
            case Way.ARTIFACT:
                return (await surface.resolve_artifact(named, own)).artifact_type
            case Way.PARENT:
                return (await surface.register_artifact(artifact_type="child", parent_artifacts=[named])).artifact_id
            case Way.TRANSITION:
                return (await surface.transition_artifact(named, "ARCHIVED", "pried")).lifecycle_state
            case Way.ACCEPTANCE:
                return (await surface.set_artifact_status(named, "accepted", "pried")).status
            case Way.PENDING:
                return await surface.complete_pending_intent(named)
            case Way.BLOB:
                return [await ctx.blobs.size(named), await _read(ctx, named)]
            case Way.FORGED_BLOB:
                return await _read(ctx, _forged(named))
            case Way.SESSION_OF_THAT_TENANT:
                return await surface.get_session_state(ctx.session_id, named)
            case Way.EXECUTIONS_OF_THAT_TENANT:
                return len(await surface.list_executions(named))
            case Way.ARTIFACT_FOR_THAT_TENANT:
                return (await surface.register_artifact(artifact_type="child", tenant_id=named)).artifact_id
            case Way.ARTIFACTS_OF_THAT_TENANT:
                return len(await surface.list_artifacts(named))

    @intent("take_id", artifacts=("taken",))
    async def take_id(self, ctx: ExecutionContext, params: Take) -> IntentResult:
        """Register an artifact under an id of one's choice."""
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="taken", artifact_id=params.artifact_id, semantic_payload={"by": ctx.tenant_id}
        )
        return IntentResult(artifacts={"taken": artifact})

    @intent("forge", artifacts=("forged",))
    async def forge(self, ctx: ExecutionContext, params: Take) -> IntentResult:
        """Register an artifact whose content is said to be a blob that this tenant has never stored."""
        artifact = await ctx.state_surface.register_artifact(
            artifact_type="forged", materializations=[_forged(params.artifact_id)]
        )
        return IntentResult(artifacts={"forged": artifact})


async def _read(ctx: ExecutionContext, content: Materialization | str) -> str:
    return b"".join([piece async for piece in ctx.blobs.open(content)]).decode()


def _forged(reference: str) -> Materialization:
    return Materialization(
        materialization_id="mat_forged",
        storage_type="blob",
        uri=reference,
        format="text/plain",
        size_bytes=5,
        sha256=reference.removeprefix("blob:"),
        created_at="2026-11-20T16:00:00.000Z",
    )


WRITTEN: JsonObject = {
    name: name
    for name in (
        *("event", "progress", "state name", "state", "execution state", "step", "blob", "descriptor", "payload"),
        *("result", "artifact name"),
    )
}
"""Every place that `leave_traces` writes to."""
