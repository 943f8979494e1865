"""A kept file becomes parsed content: units, chunks, and the account of everything in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import msgspec
from pydantic import ValidationError

from symphainy.capabilities.content.derived import find, of_type, place, ready
from symphainy.capabilities.content.intake import FILE
from symphainy.capabilities.content.parsing.child import Parsed
from symphainy.capabilities.content.parsing.chunks import Chunk
from symphainy.capabilities.content.parsing.media import PARSED, PARSING_TYPES, readable_as
from symphainy.capabilities.content.parsing.units import PARSER_VERSION
from symphainy.capabilities.content.reading import Kept, ParseLimits, parse_into_blobs, read_lines
from symphainy.capabilities.content.types import (
    GetParsedFile,
    ParseContent,
    ParsedContent,
    ParsedFile,
    ParseProfile,
    Quarantined,
)
from symphainy.capability import BlobStore, ExecutionContext, IntentResult
from symphainy.errors import Conflict, IntentRefused
from symphainy.model import Artifact, JsonObject, LifecycleState, Materialization
from symphainy.model.json import canonical
from symphainy.ports import Passage, PublicWorks

PARSED_CONTENT = "parsed_content"
COLUMNS_SHOWN_MAX = 200
COLUMNS_DESCRIBED_MAX = 1000
#: What one file may have in the index: its passages are handed over at once.
INDEXED_MAX = 100_000
PREVIEW_TEXT_CHARS_MAX = 2000
PREVIEW_BYTES_MAX = 64 << 10


# --- parsing ---


async def parse(ctx: ExecutionContext, works: PublicWorks, params: ParseContent, limits: ParseLimits) -> IntentResult:
    file = await ready(ctx, params.file_id, FILE)
    queued: JsonObject = await ctx.step("take_up", _taken_up, ctx, file.artifact_id)
    if queued["pending_id"] is not None:
        await ctx.state_surface.complete_pending_intent(queued["pending_id"])
    profile = _profile(queued["profile"], params)
    media_type = _media_type(file, profile)
    options = profile.parse_options or {}
    digest = sha256(canonical([PARSER_VERSION, media_type, options])).hexdigest()
    artifact_id, existing = await place(ctx, PARSED_CONTENT, file.artifact_id, digest)
    if existing is not None:
        return _again(existing)
    name = file.semantic_descriptor["filename"]
    await ctx.progress(0.05, f"reading {name} as {media_type}")
    kept: JsonObject = await ctx.step("parse", _parsed, ctx, works, file, media_type, options, limits)
    found = msgspec.convert(kept, Kept)
    await ctx.progress(0.7, f"indexing {found.parsed.chunks} passages")
    indexed: int = await ctx.step("index", _indexed, ctx, works, file, artifact_id, found)
    try:
        artifact = await ctx.state_surface.register_artifact(
            artifact_type=PARSED_CONTENT,
            artifact_id=artifact_id,
            semantic_descriptor=_descriptor(file, media_type, profile, digest, found, indexed),
            parent_artifacts=(file.artifact_id,),
            materializations=(found.units, found.chunks),
        )
    except Conflict:
        other = await find(ctx, artifact_id)
        assert other is not None, "an artifact that exists already can be found"
        return _again(other)
    result = _result(artifact)
    event = {
        "file_id": result.file_id,
        "parsed_file_id": result.parsed_file_id,
        "counts": result.counts,
        "chunks": result.chunks,
        "quarantined": result.quarantined,
    }
    return IntentResult(result=result, artifacts={PARSED_CONTENT: artifact}, events=[("content_parsed", event)])


def _again(existing: Artifact) -> IntentResult:
    """The same parse, done before."""
    if existing.lifecycle_state is LifecycleState.PENDING:
        raise IntentRefused(
            "parse_in_progress",
            "another execution is parsing this file in the same way at this moment",
            {"parsed_file_id": existing.artifact_id},
            retryable=True,
        )
    return IntentResult(result=_result(existing), artifacts={PARSED_CONTENT: existing})


async def _taken_up(ctx: ExecutionContext, file_id: str) -> JsonObject:
    """The queued parse: asked for once, since completing it takes it out of the queue."""
    pending = await ctx.state_surface.pending_intent(intent_type="parse_content", target_artifact_id=file_id)
    if pending is not None:
        pending_id, parameters = pending
        return {"pending_id": pending_id, "profile": {**parameters, "file_id": file_id}}
    earlier = await ctx.state_surface.list_artifacts(
        ctx.tenant_id, artifact_type=PARSED_CONTENT, parent_artifact_id=file_id, limit=1
    )
    if not earlier:
        raise IntentRefused(
            "parse_not_queued",
            f"no parse of file {file_id} is queued: it was kept as a reference, or another execution has taken it up. "
            "Queue one with POST /api/intent/pending/create",
            {"file_id": file_id},
        )
    return {"pending_id": None, "profile": {"file_id": file_id}}


def _profile(queued: JsonObject, params: ParseContent) -> ParseProfile:
    """The queued profile, with what was asked for now laid over it."""
    try:
        base = ParseContent.model_validate(queued)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise IntentRefused("parse_profile_invalid", f"the queued parse cannot be used: {wrong}") from None
    profile = ParseProfile(
        parsing_type=params.parsing_type or base.parsing_type,
        parse_options=params.parse_options if params.parse_options is not None else base.parse_options,
        copybook_reference=params.copybook_reference or base.copybook_reference,
    )
    if profile.copybook_reference is not None:
        raise IntentRefused(
            "not_available",
            "records described by a copybook are not read here yet. Leave copybook_reference out",
            {"copybook_reference": profile.copybook_reference},
        )
    return profile


def _media_type(file: Artifact, profile: ParseProfile) -> str:
    """What to read the file as. A claim that its content contradicts is not passed over."""
    descriptor = file.semantic_descriptor
    found, declared = str(descriptor["media_type"]), descriptor["declared_media_type"]
    asked = None if profile.parsing_type is None else PARSING_TYPES[profile.parsing_type]
    details = {"filename": descriptor["filename"], "media_type": found, "declared_media_type": declared}
    if asked is not None and not readable_as(found, asked):
        raise IntentRefused(
            "type_mismatch",
            f"{descriptor['filename']} is to be read as {profile.parsing_type}, and its content is {found}",
            {**details, "parsing_type": profile.parsing_type},
        )
    if asked is None and descriptor["type_mismatch"]:
        names = sorted(name for name, media_type in PARSING_TYPES.items() if media_type == found)
        remedy = f"Give parsing_type {' or '.join(names)} to read it as what it is" if names else "Correct its name"
        what = f"{descriptor['filename']} is said to be {declared}, and its content is {found}"
        raise IntentRefused("type_mismatch", f"{what}. {remedy}", details)
    if (asked or found) not in PARSED:
        raise IntentRefused(
            "unsupported_media",
            f"{descriptor['filename']} is {found}, which is not read here. Read are {', '.join(sorted(PARSED))}",
            details,
        )
    return asked or found


async def _parsed(
    ctx: ExecutionContext, works: PublicWorks, file: Artifact, media_type: str, options: JsonObject, limits: ParseLimits
) -> JsonObject:
    kept = await parse_into_blobs(
        ctx.blobs, works.offload, file.materializations[0], media_type=media_type, options=options, limits=limits
    )
    size = kept.parsed.summary.balance.get("bytes", {}).get("total")
    assert size in (None, file.materializations[0].size_bytes), "the parser was given another file"
    out: JsonObject = msgspec.to_builtins(kept)
    return out


async def _indexed(ctx: ExecutionContext, works: PublicWorks, file: Artifact, artifact_id: str, kept: Kept) -> int:
    descriptor = file.semantic_descriptor
    found = await passages(ctx.blobs.open(kept.chunks), file_id=file.artifact_id, filename=descriptor["filename"])
    await works.search.index(ctx.tenant_id, artifact_id, found)
    return len(found)


async def passages(chunks: AsyncIterator[bytes], *, file_id: str, filename: str) -> list[Passage]:
    """The first `INDEXED_MAX` of a stream of chunks, as the index takes them."""
    found: list[Passage] = []
    async for lines in read_lines(chunks):
        found += [_passage(line, file_id, filename) for line in lines[: INDEXED_MAX - len(found)]]
        if len(found) >= INDEXED_MAX:
            break
    return found


def _passage(line: bytes, file_id: str, filename: str) -> Passage:
    chunk = msgspec.json.decode(line, type=Chunk)
    position: JsonObject = {"file_id": file_id, "filename": filename, **msgspec.to_builtins(chunk.position)}
    for name in ("row_end", "line_end"):
        if getattr(chunk, name) is not None:
            position[name] = getattr(chunk, name)
    position["units"] = [*chunk.units]
    return Passage(passage_id=chunk.passage_id, text=chunk.text, position=position)


def _descriptor(
    file: Artifact, media_type: str, profile: ParseProfile, digest: str, kept: Kept, indexed: int
) -> JsonObject:
    source, parsed = file.semantic_descriptor, kept.parsed
    encoding = parsed.summary.structure.get("encoding")
    return {
        "file_id": file.artifact_id,
        "filename": source["filename"],
        "media_type": media_type,
        "source": {
            "sha256": source["sha256"],
            "size_bytes": source["size_bytes"],
            "encoding": None if encoding is None else encoding["name"],
        },
        "parser": parsed.summary.parser,
        "parser_version": PARSER_VERSION,
        "profile": profile.model_dump(exclude_none=True),
        "profile_digest": digest,
        "counts": parsed.summary.counts,
        "balance": parsed.summary.balance,
        "structure": _described(parsed),
        "units": parsed.units,
        "chunks": parsed.chunks,
        "indexed": indexed,
        "quarantined": parsed.quarantined,
        "quarantine": [*parsed.quarantine],
        "warnings": [*parsed.summary.warnings, *_unindexed(parsed.chunks, indexed)],
    }


def _described(parsed: Parsed) -> JsonObject:
    """The structure, with so many columns as a record of the registry should hold."""
    structure = dict(parsed.summary.structure)
    columns = structure.get("columns")
    if columns is not None:
        structure |= {"columns": columns[:COLUMNS_DESCRIBED_MAX], "columns_total": len(columns)}
        if structure.get("header") is not None:
            structure["header"] = structure["header"][:COLUMNS_DESCRIBED_MAX]
    return structure


def _unindexed(chunks: int, indexed: int) -> list[str]:
    if indexed == chunks:
        return []
    return [f"{chunks - indexed} of {chunks} passages are not in the search index, which takes {INDEXED_MAX} of a file"]


def columns_of(structure: JsonObject) -> list[JsonObject]:
    """Of the table, or of every list of objects in a JSON document: there each names its `pointer`."""
    if "columns" in structure:
        return [*structure["columns"]]
    return [
        {"pointer": records["pointer"], **column}
        for records in structure.get("records", ())
        for column in records["columns"]
    ]


def _result(artifact: Artifact) -> ParsedContent:
    found = artifact.semantic_descriptor
    return ParsedContent(
        parsed_file_id=artifact.artifact_id,
        file_id=found["file_id"],
        media_type=found["media_type"],
        parser=found["parser"],
        counts=found["counts"],
        balance=found["balance"],
        units=found["units"],
        chunks=found["chunks"],
        quarantined=found["quarantined"],
        quarantine=[Quarantined(**each) for each in found["quarantine"]],
        columns=columns_of(found["structure"])[:COLUMNS_SHOWN_MAX],
        warnings=found["warnings"],
    )


# --- reading it ---


async def show(ctx: ExecutionContext, params: GetParsedFile) -> IntentResult:
    artifact = await _chosen(ctx, params)
    found = artifact.semantic_descriptor
    preview: list[JsonObject] = []
    truncated = False
    if params.include_preview and params.preview_limit:
        preview, truncated = await _preview(ctx.blobs, artifact.materializations[0], params.preview_limit)
    return IntentResult(
        result=ParsedFile(
            parsed_file_id=artifact.artifact_id,
            lifecycle_state=artifact.lifecycle_state.value,
            preview=preview,
            preview_truncated=truncated,
            **{
                name: found[name]
                for name in (
                    *("file_id", "filename", "media_type", "parser", "parser_version", "counts", "balance"),
                    *("units", "chunks", "quarantined", "structure"),
                )
            },
        )
    )


async def _chosen(ctx: ExecutionContext, params: GetParsedFile) -> Artifact:
    if params.parsed_file_id is not None:
        return await ready(ctx, params.parsed_file_id, PARSED_CONTENT)
    assert params.file_id is not None, "the parameters name one of the two"
    file = await of_type(ctx, params.file_id, FILE)
    newest = await ctx.state_surface.list_artifacts(
        ctx.tenant_id,
        artifact_type=PARSED_CONTENT,
        lifecycle_state=LifecycleState.READY.value,
        parent_artifact_id=file.artifact_id,
        limit=1,
    )
    if not newest:
        raise IntentRefused(
            "file_not_parsed",
            f"file {file.artifact_id} has no parsed content that is READY. Parse it first: parse_content",
            {"file_id": file.artifact_id},
        )
    return newest[0]


async def _preview(blobs: BlobStore, units: Materialization, limit: int) -> tuple[list[JsonObject], bool]:
    """The first units, shortened; and whether there was no room for as many as were asked for."""
    shown: list[JsonObject] = []
    room = PREVIEW_BYTES_MAX
    async for line in _lines(blobs, units):
        if len(shown) == limit:
            break
        unit = _shortened(msgspec.json.decode(line))
        room -= len(canonical(unit))
        if room < 0:
            return shown, True
        shown.append(unit)
    return shown, False


async def _lines(blobs: BlobStore, kept: Materialization) -> AsyncIterator[bytes]:
    async for lines in read_lines(blobs.open(kept)):
        for line in lines:
            yield line


def _shortened(unit: JsonObject) -> JsonObject:
    """Values stand beside their names: a column called `token` is content here, not a secret of the platform."""
    out = {name: value for name, value in unit.items() if name != "values"}
    if isinstance(unit.get("text"), str) and len(unit["text"]) > PREVIEW_TEXT_CHARS_MAX:
        out |= {"text": unit["text"][:PREVIEW_TEXT_CHARS_MAX], "truncated": True}
    if "values" in unit:
        values = unit["values"]
        if isinstance(values, dict):
            out |= {"names": [*values], "values": [_shown(value) for value in values.values()]}
        else:
            out["values"] = [_shown(value) for value in values] if isinstance(values, list) else [_shown(values)]
    return out


def _shown(value: Any) -> Any:
    if isinstance(value, (dict, list)):
        value = canonical(value).decode()
    return value[:PREVIEW_TEXT_CHARS_MAX] if isinstance(value, str) else value
