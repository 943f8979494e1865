"""What there is, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from symphainy.capabilities.content.embeddings import DETERMINISTIC, SEMANTIC
from symphainy.capabilities.content.parsed import PARSED_CONTENT
from symphainy.capabilities.content.types import (
    ArchivedFile,
    ArchiveFile,
    ArtifactList,
    ArtifactMetadata,
    ArtifactRow,
    LifecycleAction,
    Lineage,
    ListArtifacts,
    RetrieveArtifactMetadata,
    TransitionArtifactLifecycle,
    TransitionedArtifact,
)
from symphainy.capability import ExecutionContext, IntentResult
from symphainy.errors import IntentRefused
from symphainy.model import Artifact, ArtifactStatus, JsonObject, LifecycleState
from symphainy.ports import PublicWorks

#: What holds the words of a file, and so cannot outlive it.
DERIVED = frozenset({PARSED_CONTENT, DETERMINISTIC, SEMANTIC})


async def listed(ctx: ExecutionContext, params: ListArtifacts) -> IntentResult:
    found = await ctx.state_surface.list_artifacts(
        ctx.tenant_id,
        artifact_type=params.artifact_type,
        lifecycle_state=params.lifecycle_state,
        eligible_for=params.eligible_for,
        text=params.text,
        limit=params.limit + 1,
        offset=params.offset,
    )
    more = len(found) > params.limit
    return IntentResult(
        result=ArtifactList(
            artifacts=[row(artifact) for artifact in found[: params.limit]],
            next_offset=params.offset + params.limit if more else None,
        )
    )


def row(artifact: Artifact) -> ArtifactRow:
    descriptor = artifact.semantic_descriptor
    named = (descriptor.get(name) for name in ("ui_name", "filename", "name", "title"))
    media_type = descriptor.get("media_type")
    return ArtifactRow(
        artifact_id=artifact.artifact_id,
        artifact_type=artifact.artifact_type,
        name=next((name for name in named if isinstance(name, str)), None),
        media_type=media_type if isinstance(media_type, str) else None,
        lifecycle_state=artifact.lifecycle_state.value,
        status=artifact.status.value,
        version=artifact.version,
        session_id=artifact.session_id,
        produced_by=msgspec.to_builtins(artifact.produced_by),
        parent_artifacts=[*artifact.parent_artifacts],
        size_bytes=sum(each.size_bytes for each in artifact.materializations),
        created_at=artifact.created_at,
        updated_at=artifact.updated_at,
    )


async def described(ctx: ExecutionContext, params: RetrieveArtifactMetadata) -> IntentResult:
    artifact = await ctx.state_surface.resolve_artifact(params.artifact_id, ctx.tenant_id)
    record: JsonObject = msgspec.to_builtins(artifact)
    record.pop("ordinal")
    lineage = None
    if params.include_lineage:
        found = await ctx.state_surface.lineage(artifact.artifact_id, ctx.tenant_id)
        lineage = Lineage(nodes=[row(node) for node in found["nodes"]], edges=found["edges"])
    return IntentResult(result=ArtifactMetadata(artifact=record, lineage=lineage))


async def archive(ctx: ExecutionContext, params: ArchiveFile) -> IntentResult:
    artifact_id = params.artifact_id or params.file_id
    assert artifact_id is not None, "the parameters name one of the two"
    artifact = await ctx.state_surface.resolve_artifact(artifact_id, ctx.tenant_id)
    events: list[tuple[str, JsonObject]] = []
    if artifact.lifecycle_state is not LifecycleState.ARCHIVED:
        reason = params.reason or "archived on request"
        artifact = await ctx.state_surface.transition_artifact(artifact_id, LifecycleState.ARCHIVED.value, reason)
        events.append(("file_archived", {"artifact_id": artifact_id, "reason": reason}))
    result = ArchivedFile(
        artifact_id=artifact_id,
        artifact_type=artifact.artifact_type,
        lifecycle_state=artifact.lifecycle_state.value,
    )
    return IntentResult(result=result, artifacts={artifact.artifact_type: artifact}, events=events)


async def transition(ctx: ExecutionContext, works: PublicWorks, params: TransitionArtifactLifecycle) -> IntentResult:
    before = await ctx.state_surface.resolve_artifact(params.artifact_id, ctx.tenant_id)
    after, purged = await _moved(ctx, works, before, params)
    result = TransitionedArtifact(
        artifact_id=after.artifact_id,
        artifact_type=after.artifact_type,
        action=params.action.value,
        lifecycle_state=after.lifecycle_state.value,
        status=after.status.value,
        version=after.version,
        also_purged=purged,
    )
    events: list[tuple[str, JsonObject]] = []
    if after != before:
        events.append(("artifact_lifecycle_changed", {**result.model_dump(), "reason": params.reason}))
    return IntentResult(result=result, artifacts={after.artifact_type: after}, events=events)


async def _moved(
    ctx: ExecutionContext, works: PublicWorks, artifact: Artifact, params: TransitionArtifactLifecycle
) -> tuple[Artifact, list[str]]:
    """The artifact as it stands then, and what was purged along with it."""
    match params.action:
        case LifecycleAction.ACCEPT:
            return await _accepted(ctx, artifact, params.reason), []
        case LifecycleAction.OBSOLETE:
            return await _status(ctx, artifact, ArtifactStatus.OBSOLETE, params.reason), []
        case LifecycleAction.RESTORE:
            return await _restored(ctx, artifact, params.reason), []
        case LifecycleAction.PURGE:
            return await _purged(ctx, works, artifact, params.reason)
        case LifecycleAction.PROMOTE:
            raise _unpromotable(artifact, params)


async def _status(ctx: ExecutionContext, artifact: Artifact, status: ArtifactStatus, reason: str) -> Artifact:
    if artifact.status is status:
        return artifact
    return await ctx.state_surface.set_artifact_status(artifact.artifact_id, status.value, reason)


async def _accepted(ctx: ExecutionContext, artifact: Artifact, reason: str) -> Artifact:
    if artifact.lifecycle_state is not LifecycleState.READY:
        raise _wrong_state(artifact, "accepted", LifecycleState.READY)
    return await _status(ctx, artifact, ArtifactStatus.ACCEPTED, reason)


async def _restored(ctx: ExecutionContext, artifact: Artifact, reason: str) -> Artifact:
    if artifact.lifecycle_state is LifecycleState.READY:
        return artifact
    if artifact.lifecycle_state is not LifecycleState.ARCHIVED:
        raise _wrong_state(artifact, "restored", LifecycleState.ARCHIVED)
    return await ctx.state_surface.transition_artifact(artifact.artifact_id, LifecycleState.READY.value, reason)


async def _purged(
    ctx: ExecutionContext, works: PublicWorks, artifact: Artifact, reason: str
) -> tuple[Artifact, list[str]]:
    """The artifact, and with it whatever holds its words. Their tombstones stay."""
    if artifact.lifecycle_state is LifecycleState.DELETED:
        return artifact, []
    if artifact.lifecycle_state is not LifecycleState.ARCHIVED:
        raise _wrong_state(artifact, "purged", LifecycleState.ARCHIVED)
    below = await ctx.state_surface.lineage(artifact.artifact_id, ctx.tenant_id, direction="down")
    derived = [node for node in below["nodes"] if node.artifact_id != artifact.artifact_id and _goes_along(node)]
    kept = sorted(node.artifact_id for node in derived if node.status is ArtifactStatus.ACCEPTED)
    if kept:
        raise IntentRefused(
            "derived_is_accepted",
            f"accepted work was derived from {artifact.artifact_id}: {', '.join(kept)}. Make that obsolete first",
            {"artifact_id": artifact.artifact_id, "accepted": kept},
        )
    for node in derived:
        if node.lifecycle_state is LifecycleState.READY:
            await ctx.state_surface.transition_artifact(node.artifact_id, LifecycleState.ARCHIVED.value, reason)
        await ctx.state_surface.transition_artifact(node.artifact_id, LifecycleState.DELETED.value, reason)
    after = await ctx.state_surface.transition_artifact(artifact.artifact_id, LifecycleState.DELETED.value, reason)
    indexed = [node.artifact_id for node in (artifact, *derived) if node.artifact_type == PARSED_CONTENT]
    _: int = await ctx.step("unindex", _unindexed, ctx, works, indexed)
    return after, [node.artifact_id for node in derived]


def _goes_along(node: Artifact) -> bool:
    return node.artifact_type in DERIVED and node.lifecycle_state in (LifecycleState.READY, LifecycleState.ARCHIVED)


async def _unindexed(ctx: ExecutionContext, works: PublicWorks, artifact_ids: Iterable[str]) -> int:
    count = 0
    for artifact_id in artifact_ids:
        await works.search.remove(ctx.tenant_id, artifact_id)
        count += 1
    return count


def _unpromotable(artifact: Artifact, params: TransitionArtifactLifecycle) -> IntentRefused:
    if params.target_domain is None:
        return IntentRefused("target_missing", "promote needs target_domain: platform")
    if artifact.status is not ArtifactStatus.ACCEPTED:
        return IntentRefused(
            "not_accepted",
            f"artifact {artifact.artifact_id} is {artifact.status}; accept it before it is promoted",
            {"artifact_id": artifact.artifact_id, "status": artifact.status.value},
        )
    return IntentRefused(
        "not_available",
        "promotion to platform knowledge needs an approval of the Curator, and nobody can ask for one here yet",
        {"artifact_id": artifact.artifact_id, "target_domain": params.target_domain},
    )


def _wrong_state(artifact: Artifact, wanted: str, needed: LifecycleState) -> IntentRefused:
    return IntentRefused(
        "wrong_lifecycle_state",
        f"artifact {artifact.artifact_id} is {artifact.lifecycle_state} and cannot be {wanted}: it must be {needed}",
        {
            "artifact_id": artifact.artifact_id,
            "lifecycle_state": artifact.lifecycle_state.value,
            "needed": needed.value,
        },
    )
