"""The index can be lost at any time: everything in it is in the blobs of the artifacts."""

from __future__ import annotations

from collections.abc import Sequence

from symphainy.capabilities.content.embeddings import FLOAT_BYTES, SEMANTIC, vectors_of
from symphainy.capabilities.content.parsed import PARSED_CONTENT, passages
from symphainy.model import Artifact, LifecycleState
from symphainy.ports import PublicWorks


async def reindex(works: PublicWorks, tenant_id: str, artifacts: Sequence[Artifact]) -> int:
    indexed = await works.search.indexed(tenant_id)
    ready = [each for each in artifacts if each.lifecycle_state is LifecycleState.READY]
    missing = [each for each in ready if each.artifact_type == PARSED_CONTENT and each.artifact_id not in indexed]
    for artifact in missing:
        found = artifact.semantic_descriptor
        chunks = works.blobs.read(tenant_id, artifact.materializations[1].sha256)
        again = await passages(chunks, file_id=found["file_id"], filename=found["filename"])
        await works.search.index(tenant_id, artifact.artifact_id, again)
    restored = {each.artifact_id for each in missing}
    of_restored = [
        each
        for each in ready
        if each.artifact_type == SEMANTIC and each.semantic_descriptor["parsed_file_id"] in restored
    ]
    for artifact in of_restored:
        await _vectors_again(works, tenant_id, artifact)
    return len(missing) + len(of_restored)


async def _vectors_again(works: PublicWorks, tenant_id: str, artifact: Artifact) -> None:
    found = artifact.semantic_descriptor
    stored = works.blobs.read(tenant_id, artifact.materializations[0].sha256)
    data = b"".join([piece async for piece in stored])
    assert len(data) == found["count"] * found["dimensions"] * FLOAT_BYTES, "the vectors are whole"
    by_passage = {f"p{number}": vector for number, vector in enumerate(vectors_of([data], found["dimensions"]), 1)}
    await works.search.index_vectors(tenant_id, found["parsed_file_id"], found["embedding_model"], by_passage)
