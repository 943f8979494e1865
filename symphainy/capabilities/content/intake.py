"""Content comes in under a boundary contract, and stays when somebody decides to keep it."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from symphainy.capabilities.content.derived import find, of_type, place
from symphainy.capabilities.content.names import display_name
from symphainy.capabilities.content.parsing.media import HEAD_BYTES, detect
from symphainy.capabilities.content.types import (
    IngestedFile,
    IngestFile,
    IngestionType,
    MaterializationType,
    ParseProfile,
    SavedMaterialization,
    SaveMaterialization,
)
from symphainy.capability import ExecutionContext, IntentResult
from symphainy.errors import Conflict, Denied, IntentRefused, NotFound
from symphainy.model import Artifact, JsonObject, LifecycleState, Materialization, derive_id
from symphainy.model.instant import instant, moment
from symphainy.model.json import canonical
from symphainy.ports import PublicWorks

FILE = "file"
SAVED_EVENT = "materialization_saved"
_PAGE = 200


def now_of(ctx: ExecutionContext) -> str:
    """The instant this was asked for: the same on a rerun, as the clock is not."""
    return instant(round(ctx.created_at.timestamp() * 1000))


# --- bringing in ---


async def ingest(ctx: ExecutionContext, works: PublicWorks, params: IngestFile) -> IntentResult:
    filename = display_name(params.filename or params.file_path or params.ui_name)
    content = await _content(ctx, works, params)
    size_bytes, sha256 = int(content["size_bytes"]), str(content["sha256"])
    found: JsonObject = await ctx.step("detect", _detected, ctx, works, sha256, size_bytes, filename, params.mime_type)
    while True:
        artifact_id, existing = await place(ctx, FILE, ctx.session_id, sha256)
        _require_known_contract(params, existing)
        if existing is not None:
            return IntentResult(result=_ingested(existing, duplicate=True), artifacts={FILE: existing})
        contract = await ctx.step("contract", lambda: ctx.steward.issue_contract(size_bytes=size_bytes))
        try:
            artifact = await _register(ctx, params, artifact_id, filename, sha256, size_bytes, found, contract)
        except Conflict:  # the same content came in beside this, and was faster
            continue
        result = _ingested(artifact, duplicate=False)
        event = {"file_id": artifact_id, "sha256": sha256, "size_bytes": size_bytes, "media_type": result.media_type}
        return IntentResult(result=result, artifacts={FILE: artifact}, events=[("artifact_ingested", event)])


async def _content(ctx: ExecutionContext, works: PublicWorks, params: IngestFile) -> JsonObject:
    """`{sha256, size_bytes}` of bytes that lie in the blob store."""
    if params.file_path is not None:
        file: JsonObject = await ctx.step("read_file", _read_file, ctx, works, params.file_path)
        return file
    if params.api_payload is not None:
        payload: JsonObject = await ctx.step("keep_payload", _stored, ctx, canonical(params.api_payload))
        return payload
    if params.content_ref_or_base64 is not None:
        sha256 = params.content_ref_or_base64.removeprefix("blob:")
        size = await ctx.blobs.size(params.content_ref_or_base64)
        if size is None:
            raise IntentRefused("content_not_found", "the content that is referred to has not been uploaded")
        return {"sha256": sha256, "size_bytes": size}
    missing = {
        IngestionType.EDI: "nothing here receives EDI over AS2 or SFTP; give the message as content_ref_or_base64",
        IngestionType.API: "nothing here calls endpoints; give what the endpoint answered as api_payload",
    }
    raise IntentRefused(
        "not_available", missing[params.ingestion_type], {"ingestion_type": params.ingestion_type.value}
    )


async def _read_file(ctx: ExecutionContext, works: PublicWorks, path: str) -> JsonObject:
    try:
        file = await works.files.open(path)
    except NotFound:
        raise IntentRefused("file_not_found", f"there is no file {path!r}", {"file_path": path}) from None
    except Denied as refusal:
        raise IntentRefused("file_path_refused", refusal.message, {"file_path": path}) from None
    kept = await ctx.blobs.put(file.chunks)
    return {"sha256": kept.sha256, "size_bytes": kept.size_bytes}


async def _stored(ctx: ExecutionContext, data: bytes) -> JsonObject:
    kept = await ctx.blobs.put(data)
    return {"sha256": kept.sha256, "size_bytes": kept.size_bytes}


async def _detected(
    ctx: ExecutionContext, works: PublicWorks, sha256: str, size_bytes: int, filename: str, mime_type: str | None
) -> JsonObject:
    stop = min(HEAD_BYTES, size_bytes)
    pieces = works.blobs.read(ctx.tenant_id, sha256, start=0, stop=stop)
    head = b"".join([piece async for piece in pieces])
    whole = size_bytes <= HEAD_BYTES
    found = await works.offload.thread(lambda: detect(head, whole=whole, filename=filename, media_type=mime_type))
    out: JsonObject = msgspec.to_builtins(found)
    return out


def _require_known_contract(params: IngestFile, existing: Artifact | None) -> None:
    """A contract is issued here, never brought along: a given one must be that of content that is here already."""
    given = params.boundary_contract_id
    known = None if existing is None else existing.semantic_descriptor["boundary_contract"]["boundary_contract_id"]
    if given is not None and given != known:
        raise IntentRefused(
            "boundary_contract_unknown",
            f"no content of this kind came in under the boundary contract {given}. Leave it out: one is issued",
            {"boundary_contract_id": given},
        )


async def _register(
    ctx: ExecutionContext,
    params: IngestFile,
    artifact_id: str,
    filename: str,
    sha256: str,
    size_bytes: int,
    found: JsonObject,
    contract: JsonObject,
) -> Artifact:
    media_type = str(found["media_type"])
    source = {
        "ingestion_type": params.ingestion_type.value,
        "file_type": params.file_type,
        "mime_type": params.mime_type,
        "partner_id": params.partner_id,
        "edi_protocol": params.edi_protocol,
        "endpoint": params.endpoint,
        "api_type": params.api_type,
        "source_metadata": params.source_metadata,
    }
    return await ctx.state_surface.register_artifact(
        artifact_type=FILE,
        artifact_id=artifact_id,
        semantic_descriptor={
            "ui_name": params.ui_name,
            "filename": filename,
            "media_type": media_type,
            "declared_media_type": found["declared_media_type"],
            "type_mismatch": found["mismatch"],
            "sha256": sha256,
            "size_bytes": size_bytes,
            "source": {name: value for name, value in source.items() if value is not None},
            "boundary_contract": contract,
        },
        materializations=[
            Materialization(
                materialization_id=derive_id("mat", ctx.tenant_id, sha256, media_type),
                storage_type="blob",
                uri=f"blob:{sha256}",
                format=media_type,
                size_bytes=size_bytes,
                sha256=sha256,
                created_at=now_of(ctx),
            )
        ],
        lifecycle_state=LifecycleState.PENDING.value,
    )


def _ingested(artifact: Artifact, *, duplicate: bool) -> IngestedFile:
    descriptor = artifact.semantic_descriptor
    contract = descriptor["boundary_contract"]
    return IngestedFile(
        file_id=artifact.artifact_id,
        boundary_contract_id=contract["boundary_contract_id"],
        boundary_contract_expires_at=contract["expires_at"],
        sha256=descriptor["sha256"],
        size_bytes=descriptor["size_bytes"],
        media_type=descriptor["media_type"],
        declared_media_type=descriptor["declared_media_type"],
        type_mismatch=descriptor["type_mismatch"],
        filename=descriptor["filename"],
        ui_name=descriptor["ui_name"],
        lifecycle_state=artifact.lifecycle_state.value,
        duplicate_of=artifact.artifact_id if duplicate else None,
    )


# --- keeping ---


async def save(ctx: ExecutionContext, params: SaveMaterialization) -> IntentResult:
    file = await of_type(ctx, params.file_id, FILE)
    contract = file.semantic_descriptor["boundary_contract"]
    if params.boundary_contract_id != contract["boundary_contract_id"]:
        raise IntentRefused(
            "boundary_contract_mismatch",
            f"file {file.artifact_id} came in under another boundary contract than {params.boundary_contract_id}",
            {"file_id": file.artifact_id, "boundary_contract_id": params.boundary_contract_id},
        )
    try:
        saved: JsonObject = await ctx.step("keep", _keep, ctx, params)
    except Conflict:  # somebody else kept it at the same moment
        saved = await _saved_before(ctx, params)
    kept = await find(ctx, params.file_id)
    return IntentResult(result=SavedMaterialization(**saved), artifacts={} if kept is None else {FILE: kept})


async def _keep(ctx: ExecutionContext, params: SaveMaterialization) -> JsonObject:
    """The move to READY, the queued parse and the event are one write."""
    file = await of_type(ctx, params.file_id, FILE)
    if file.lifecycle_state is LifecycleState.READY:
        return await _saved_before(ctx, params)
    if file.lifecycle_state is not LifecycleState.PENDING:
        raise IntentRefused(
            "file_not_pending",
            f"file {file.artifact_id} is {file.lifecycle_state} and cannot be kept. Bring the content in again",
            {"file_id": file.artifact_id, "lifecycle_state": file.lifecycle_state.value},
        )
    contract = file.semantic_descriptor["boundary_contract"]
    expires_at = moment(contract["expires_at"])
    # Without a wish: as many whole days as the contract still lasts.
    days = max((expires_at - ctx.created_at).days, 0) if params.ttl_days is None else params.ttl_days
    ctx.steward.authorize(
        contract,
        materialization_type=params.materialization_type.value,
        size_bytes=file.semantic_descriptor["size_bytes"],
        days=days,
    )
    await ctx.state_surface.transition_artifact(file.artifact_id, LifecycleState.READY.value, "kept by decision")
    pending_id = None
    if params.materialization_type is not MaterializationType.REFERENCE:
        profile = (params.parse_profile or ParseProfile()).model_dump(exclude_none=True)
        pending_id = await ctx.state_surface.create_pending_intent(
            intent_type="parse_content",
            target_artifact_id=file.artifact_id,
            parameters={"file_id": file.artifact_id, **profile},
        )
    saved = {
        "file_id": file.artifact_id,
        "boundary_contract_id": params.boundary_contract_id,
        "lifecycle_state": LifecycleState.READY.value,
        "materialization_type": params.materialization_type.value,
        "retained_until": _after(ctx.created_at, days),
        "pending_intent_id": pending_id,
    }
    await ctx.emit(SAVED_EVENT, {**saved, "scope": params.scope})
    return saved


def _after(start: datetime, days: int) -> str:
    return instant(round((start + timedelta(days=days)).timestamp() * 1000))


async def _saved_before(ctx: ExecutionContext, params: SaveMaterialization) -> JsonObject:
    """What was answered when the file was kept, from the session's own log."""
    after = 0
    while events := await ctx.wal.events(event_type=SAVED_EVENT, after=after, limit=_PAGE):
        for event in events:
            if event.payload["file_id"] == params.file_id:
                return {name: value for name, value in event.payload.items() if name != "scope"}
        after = events[-1].position
    raise IntentRefused(
        "file_kept_elsewhere",
        f"file {params.file_id} was kept in another session, and is READY",
        {"file_id": params.file_id},
    )
