"""Artifacts whose id depends on what they are made of: the same work twice gives the same artifact."""

from __future__ import annotations

from symphainy.capability import ExecutionContext
from symphainy.errors import IntentRefused, NotFound
from symphainy.model import Artifact, LifecycleState, derive_id
from symphainy.model.instant import instant

#: What once failed, or was put away, stays as it is; the same work then makes a new one.
GONE = frozenset({LifecycleState.FAILED, LifecycleState.ARCHIVED, LifecycleState.DELETED})


async def place(ctx: ExecutionContext, *parts: str) -> tuple[str, Artifact | None]:
    """The id for an artifact made of `parts`, and the artifact when another execution has made it already."""
    generation = 0
    while True:
        artifact_id = derive_id("art", ctx.tenant_id, *parts, str(generation))
        found = await find(ctx, artifact_id)
        # Our own is from a run before a crash: registering it again recalls it.
        if found is None or found.produced_by.execution_id == ctx.execution_id:
            return artifact_id, None
        if found.lifecycle_state not in GONE and not _has_expired(ctx, found):
            return artifact_id, found
        generation += 1


def _has_expired(ctx: ExecutionContext, artifact: Artifact) -> bool:
    """Nobody kept it while its boundary contract lasted, and now nobody may."""
    contract = artifact.semantic_descriptor.get("boundary_contract")
    if artifact.lifecycle_state is not LifecycleState.PENDING or contract is None:
        return False
    return bool(contract["expires_at"] <= instant(round(ctx.created_at.timestamp() * 1000)))


async def find(ctx: ExecutionContext, artifact_id: str) -> Artifact | None:
    try:
        return await ctx.state_surface.resolve_artifact(artifact_id, ctx.tenant_id)
    except NotFound:
        return None


async def ready(ctx: ExecutionContext, artifact_id: str, artifact_type: str) -> Artifact:
    """The artifact, when it is of this type and READY. Raises `NotFound` and `IntentRefused`."""
    artifact = await of_type(ctx, artifact_id, artifact_type)
    if artifact.lifecycle_state is not LifecycleState.READY:
        remedy = {
            LifecycleState.PENDING: "Keep it first: save_materialization"
            if artifact_type == "file"
            else "Wait until the execution that makes it has completed",
            LifecycleState.ARCHIVED: "Restore it first: transition_artifact_lifecycle with action restore",
        }.get(artifact.lifecycle_state, "Make a new one")
        raise IntentRefused(
            f"{artifact_type}_not_ready",
            f"{artifact_type} {artifact_id} is {artifact.lifecycle_state}, not READY. {remedy}",
            {"artifact_id": artifact_id, "lifecycle_state": artifact.lifecycle_state.value},
            # What is still being made may be there soon.
            retryable=artifact.lifecycle_state is LifecycleState.PENDING and artifact_type != "file",
        )
    return artifact


async def of_type(ctx: ExecutionContext, artifact_id: str, artifact_type: str) -> Artifact:
    """Raises `NotFound`, and `IntentRefused` `wrong_artifact_type`."""
    artifact = await ctx.state_surface.resolve_artifact(artifact_id, ctx.tenant_id)
    if artifact.artifact_type != artifact_type:
        raise IntentRefused(
            "wrong_artifact_type",
            f"artifact {artifact_id} is a {artifact.artifact_type}, and this works on a {artifact_type}",
            {"artifact_id": artifact_id, "artifact_type": artifact.artifact_type, "expected": artifact_type},
        )
    return artifact
