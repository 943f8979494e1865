"""Numbers that stand for content: reproducible fingerprints, and on top of them the vectors of a sentence model."""

from __future__ import annotations

import sys
from array import array
from collections.abc import AsyncIterator, Sequence

import msgspec

from symphainy.capabilities.content.derived import find, place, ready
from symphainy.capabilities.content.fingerprints import FINGERPRINT_VERSION, Fingerprint, units_of
from symphainy.capabilities.content.parsed import INDEXED_MAX, PARSED_CONTENT
from symphainy.capabilities.content.parsing.chunks import Chunk
from symphainy.capabilities.content.reading import read_lines
from symphainy.capabilities.content.types import (
    CreateDeterministicEmbeddings,
    DeterministicEmbeddings,
    Embeddings,
    ExtractEmbeddings,
)
from symphainy.capability import BlobStore, ExecutionContext, IntentResult
from symphainy.errors import Conflict, IntentRefused, MissingExtra
from symphainy.model import Artifact, JsonObject, LifecycleState, Materialization
from symphainy.ports import PublicWorks

DETERMINISTIC = "deterministic_embeddings"
SEMANTIC = "embeddings"
VECTORS_FORMAT = "application/vnd.symphainy.vectors+float32"
"""Little-endian, one vector after the other, in the order of the chunks."""
BATCH_TEXTS = 128
"""Embedded in one step: what is lost to a crash at most."""
FLOAT_BYTES = 4


# --- deterministic ---


async def fingerprint(ctx: ExecutionContext, works: PublicWorks, params: CreateDeterministicEmbeddings) -> IntentResult:
    parsed = await ready(ctx, params.parsed_file_id, PARSED_CONTENT)
    artifact_id, existing = await place(ctx, DETERMINISTIC, parsed.artifact_id, FINGERPRINT_VERSION)
    if existing is None:
        payload: JsonObject = await ctx.step("fingerprint", _fingerprint, ctx, works, parsed)
        source = parsed.semantic_descriptor
        try:
            artifact = await ctx.state_surface.register_artifact(
                artifact_type=DETERMINISTIC,
                artifact_id=artifact_id,
                semantic_descriptor={
                    "parsed_file_id": parsed.artifact_id,
                    "filename": source["filename"],
                    "source_sha256": source["source"]["sha256"],
                    **{name: payload[name] for name in ("kind", "units", "version")},
                },
                semantic_payload=payload,
                parent_artifacts=(parsed.artifact_id,),
            )
        except Conflict:
            existing = await find(ctx, artifact_id)
        else:
            result = _fingerprinted(artifact)
            event = result.model_dump(include={"deterministic_embedding_id", "parsed_file_id", "schema_fingerprint"})
            events = [("deterministic_embeddings_created", event)]
            return IntentResult(result=result, artifacts={DETERMINISTIC: artifact}, events=events)
    assert existing is not None, "an artifact that exists already can be found"
    _require_finished(existing)
    return IntentResult(result=_fingerprinted(existing), artifacts={DETERMINISTIC: existing})


async def _fingerprint(ctx: ExecutionContext, works: PublicWorks, parsed: Artifact) -> JsonObject:
    found = Fingerprint()
    async for lines in read_lines(ctx.blobs.open(parsed.materializations[0])):
        await works.offload.thread(lambda batch: found.add(units_of(batch)), lines)
    return found.result()


def _fingerprinted(artifact: Artifact) -> DeterministicEmbeddings:
    payload = artifact.semantic_payload
    return DeterministicEmbeddings(
        deterministic_embedding_id=artifact.artifact_id,
        parsed_file_id=artifact.semantic_descriptor["parsed_file_id"],
        schema_fingerprint=payload["schema_fingerprint"],
        schema_fingerprint_unordered=payload["schema_fingerprint_unordered"],
        content_fingerprint=payload["content_fingerprint"],
        kind=payload["kind"],
        columns=len(payload["columns"]),
        units=payload["units"],
    )


def _require_finished(artifact: Artifact) -> None:
    if artifact.lifecycle_state is LifecycleState.PENDING:
        raise IntentRefused(
            "embedding_in_progress",
            "another execution is doing the same at this moment",
            {"artifact_id": artifact.artifact_id},
            retryable=True,
        )


# --- semantic ---


async def embed(ctx: ExecutionContext, works: PublicWorks, params: ExtractEmbeddings) -> IntentResult:
    parsed = await ready(ctx, params.parsed_file_id, PARSED_CONTENT)
    fingerprints = await ready(ctx, params.deterministic_embedding_id, DETERMINISTIC)
    if parsed.artifact_id not in fingerprints.parent_artifacts:
        raise IntentRefused(
            "embedding_mismatch",
            f"{fingerprints.artifact_id} are the deterministic embeddings of another parsed file",
            {"deterministic_embedding_id": fingerprints.artifact_id, "parsed_file_id": parsed.artifact_id},
        )
    if not parsed.semantic_descriptor["chunks"]:
        raise IntentRefused(
            "nothing_to_embed",
            f"{parsed.semantic_descriptor['filename']} has no text that could be embedded",
            {"parsed_file_id": parsed.artifact_id},
        )
    model = works.sentences.name
    artifact_id, existing = await place(ctx, SEMANTIC, fingerprints.artifact_id, model)
    if existing is None:
        vectors = await _vectors(ctx, works, parsed)
        kept: JsonObject = await ctx.step("keep", _kept, ctx, works, parsed, model, vectors)
        try:
            artifact = await ctx.state_surface.register_artifact(
                artifact_type=SEMANTIC,
                artifact_id=artifact_id,
                semantic_descriptor={
                    "parsed_file_id": parsed.artifact_id,
                    "deterministic_embedding_id": fingerprints.artifact_id,
                    "filename": parsed.semantic_descriptor["filename"],
                    "method": "sentence_model",
                    "embedding_model": model,
                    "dimensions": works.sentences.dimensions,
                    "count": len(vectors.ids),
                },
                parent_artifacts=(parsed.artifact_id, fingerprints.artifact_id),
                materializations=(msgspec.convert(kept, Materialization),),
            )
        except Conflict:
            existing = await find(ctx, artifact_id)
        else:
            result = _embedded(artifact)
            event = result.model_dump(exclude={"method"})
            return IntentResult(result=result, artifacts={SEMANTIC: artifact}, events=[("embeddings_created", event)])
    assert existing is not None, "an artifact that exists already can be found"
    _require_finished(existing)
    return IntentResult(result=_embedded(existing), artifacts={SEMANTIC: existing})


class _Vectors(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of chunks and their vectors, in batches of `VECTORS_FORMAT`."""

    ids: list[str] = []
    batches: list[bytes] = []


async def _vectors(ctx: ExecutionContext, works: PublicWorks, parsed: Artifact) -> _Vectors:
    """Of the chunks that are indexed; a batch a step, so that a crash costs one batch."""
    total = min(parsed.semantic_descriptor["chunks"], INDEXED_MAX)
    found = _Vectors()
    async for chunks in _batches(ctx.blobs, parsed.materializations[1], total):
        texts = [chunk.text for chunk in chunks]
        try:
            batch: bytes = await ctx.step("embed", _embedded_texts, works, texts)
        except MissingExtra as missing:
            raise IntentRefused(missing.code, missing.message, missing.details) from None
        found.ids.extend(chunk.passage_id for chunk in chunks)
        found.batches.append(batch)
        done = len(found.ids)
        if done < total:
            await ctx.progress(0.95 * done / total, f"embedded {done} of {total} passages")
    return found


async def _batches(blobs: BlobStore, chunks: Materialization, total: int) -> AsyncIterator[list[Chunk]]:
    batch: list[Chunk] = []
    taken = 0
    async for lines in read_lines(blobs.open(chunks)):
        for line in lines[: total - taken]:
            batch.append(msgspec.json.decode(line, type=Chunk))
            taken += 1
            if len(batch) == BATCH_TEXTS:
                yield batch
                batch = []
        if taken == total:
            break
    if batch:
        yield batch


async def _embedded_texts(works: PublicWorks, texts: Sequence[str]) -> bytes:
    vectors = await works.sentences.embed(texts)
    assert len(vectors) == len(texts), "a model gives one vector a text"
    flat = array("f", [value for vector in vectors for value in vector])
    if sys.byteorder == "big":
        flat.byteswap()
    return flat.tobytes()


async def _kept(ctx: ExecutionContext, works: PublicWorks, parsed: Artifact, model: str, found: _Vectors) -> JsonObject:
    async def pieces() -> AsyncIterator[bytes]:
        for batch in found.batches:
            yield batch

    kept = await ctx.blobs.put(pieces(), format=VECTORS_FORMAT)
    vectors = vectors_of(found.batches, works.sentences.dimensions)
    by_passage = dict(zip(found.ids, vectors, strict=True))
    await works.search.index_vectors(ctx.tenant_id, parsed.artifact_id, model, by_passage)
    out: JsonObject = msgspec.to_builtins(kept)
    return out


def vectors_of(batches: Sequence[bytes], dimensions: int) -> list[array[float]]:
    """The vectors of a `VECTORS_FORMAT` stream that is cut between vectors."""
    found = []
    width = dimensions * FLOAT_BYTES
    for batch in batches:
        for start in range(0, len(batch), width):
            vector = array("f")
            vector.frombytes(batch[start : start + width])
            if sys.byteorder == "big":
                vector.byteswap()
            found.append(vector)
    return found


def _embedded(artifact: Artifact) -> Embeddings:
    found = artifact.semantic_descriptor
    return Embeddings(
        embedding_id=artifact.artifact_id,
        parsed_file_id=found["parsed_file_id"],
        deterministic_embedding_id=found["deterministic_embedding_id"],
        method=found["method"],
        model=found["embedding_model"],
        dimensions=found["dimensions"],
        count=found["count"],
    )
