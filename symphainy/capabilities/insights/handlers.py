"""The intents of insights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from symphainy.capabilities.insights.evidence import holds, place_of
from symphainy.capabilities.insights.types import FoundData, FoundPassage, QueryData
from symphainy.capability import Capability, ExecutionContext, IntentResult, intent
from symphainy.errors import IntentRefused, MissingExtra, NotFound
from symphainy.model import Artifact, JsonObject, LifecycleState
from symphainy.ports import Hit

#: Constant of reciprocal rank fusion, as in Cormack et al. 2009.
RRF_K = 60
#: What is less alike than this by its meaning is noise: every passage is near to something.
SIMILARITY_MIN = 0.2
CANDIDATES = 40
CANDIDATES_MAX = 2560
EMBEDDINGS_PAGE = 200


@dataclass(kw_only=True)
class _Candidate:
    hit: Hit
    bm25_rank: int | None = None
    vector_rank: int | None = None
    similarity: float | None = None

    @property
    def fused(self) -> float:
        return sum(1.0 / (RRF_K + rank) for rank in (self.bm25_rank, self.vector_rank) if rank is not None)


@dataclass(frozen=True, kw_only=True)
class _Question:
    text: str
    artifact_ids: tuple[str, ...] | None
    model: str | None = None
    vector: Sequence[float] | None = None
    note: str | None = None


@dataclass(kw_only=True)
class _Answer:
    passages: list[FoundPassage] = field(default_factory=list)
    mismatches: int = 0
    is_whole: bool = True
    """Whether every candidate there is was looked at, or enough were found."""


class InsightsCapability(Capability):
    name = "insights"
    description = "Answers questions about the content, with the exact places of its evidence."

    @intent(
        "query_data",
        result=FoundData,
        read_only=True,
        accepts=("parsed_content",),
        idempotency="it only reads",
        errors={
            "not_found": "one of parsed_file_ids does not exist, or is not yours to see",
            "wrong_artifact_type": "one of parsed_file_ids is no parsed content",
            "parsed_content_not_ready": "one of parsed_file_ids, or its file, is not READY",
        },
        state_reads=("artifacts", "search"),
    )
    async def query_data(self, ctx: ExecutionContext, params: QueryData) -> IntentResult:
        """Find the passages that answer a question.

        By BM25 over the words; where vectors of the installed sentence model exist, fused with nearness of meaning.
        Every passage is an exact span of its source, which is read again before it is answered.
        """
        wanted = params.parsed_file_ids
        ids = None if wanted is None else tuple(dict.fromkeys(wanted))
        for artifact_id in ids or ():
            await self._require_ready(ctx, artifact_id)
        question = await self._understood(ctx, params.query, ids)
        limit = max(CANDIDATES, 4 * params.top_k)
        answer = await self._answered(ctx, question, params.top_k, limit)
        # What is archived still stands in the index: where it took the places of others, look further.
        while not answer.is_whole and limit < CANDIDATES_MAX:
            limit *= 4
            answer = await self._answered(ctx, question, params.top_k, limit)
        return IntentResult(
            result=FoundData(
                query=params.query,
                method="bm25" if question.vector is None else "bm25+vectors",
                model=None if question.vector is None else question.model,
                note=question.note,
                passages=answer.passages,
                mismatches=answer.mismatches,
            )
        )

    async def _require_ready(self, ctx: ExecutionContext, artifact_id: str) -> None:
        artifact = await ctx.state_surface.resolve_artifact(artifact_id, ctx.tenant_id)
        if artifact.artifact_type != "parsed_content":
            raise IntentRefused(
                "wrong_artifact_type",
                f"artifact {artifact_id} is a {artifact.artifact_type}, and this works on parsed_content",
                {"artifact_id": artifact_id, "artifact_type": artifact.artifact_type},
            )
        if await _served(ctx, artifact_id) is None:
            raise IntentRefused(
                "parsed_content_not_ready",
                f"parsed content {artifact_id} is {artifact.lifecycle_state}, or its file is not READY",
                {"artifact_id": artifact_id, "lifecycle_state": artifact.lifecycle_state.value},
            )

    async def _understood(self, ctx: ExecutionContext, text: str, ids: tuple[str, ...] | None) -> _Question:
        """The question, with its vector where there is something to compare it with."""
        sentences = self.public_works.sentences
        if not await _has_vectors(ctx, sentences.name, ids):
            return _Question(text=text, artifact_ids=ids)
        try:
            vectors = await sentences.embed([text])
        except MissingExtra as missing:
            return _Question(text=text, artifact_ids=ids, note=missing.message)
        return _Question(text=text, artifact_ids=ids, model=sentences.name, vector=vectors[0])

    async def _answered(self, ctx: ExecutionContext, question: _Question, top_k: int, limit: int) -> _Answer:
        candidates, exhausted = await self._candidates(ctx, question, limit)
        answer = _Answer()
        served: dict[str, Artifact | None] = {}
        for candidate in candidates:
            artifact_id = candidate.hit.artifact_id
            if artifact_id not in served:
                served[artifact_id] = await _served(ctx, artifact_id)
            parsed = served[artifact_id]
            if parsed is None:
                continue
            if not await holds(self.public_works.blobs, ctx.tenant_id, parsed, candidate.hit):
                answer.mismatches += 1
                continue
            answer.passages.append(_passage(candidate, parsed, fused=question.vector is not None))
            if len(answer.passages) == top_k:
                return answer
        answer.is_whole = exhausted
        return answer

    async def _candidates(
        self, ctx: ExecutionContext, question: _Question, limit: int
    ) -> tuple[list[_Candidate], bool]:
        """Best first; and whether these are all there are."""
        search, ids = self.public_works.search, question.artifact_ids
        by_words = await search.match(ctx.tenant_id, question.text, artifact_ids=ids, limit=limit)
        found = {
            (hit.artifact_id, hit.passage_id): _Candidate(hit=hit, bm25_rank=rank)
            for rank, hit in enumerate(by_words, 1)
        }
        exhausted = len(by_words) < limit
        if question.vector is None or question.model is None:
            return [*found.values()], exhausted
        near = await search.nearest(ctx.tenant_id, question.model, question.vector, artifact_ids=ids, limit=limit)
        alike = [hit for hit in near if hit.score >= SIMILARITY_MIN]
        for rank, hit in enumerate(alike, 1):
            candidate = found.setdefault((hit.artifact_id, hit.passage_id), _Candidate(hit=hit))
            candidate.vector_rank, candidate.similarity = rank, hit.score
        ranked = sorted(found.items(), key=lambda pair: (-pair[1].fused, pair[0]))
        return [candidate for _, candidate in ranked], exhausted and len(alike) < limit


async def _served(ctx: ExecutionContext, artifact_id: str) -> Artifact | None:
    """The parsed content, where it and its file are READY."""
    parsed = await _found(ctx, artifact_id)
    if parsed is None or parsed.lifecycle_state is not LifecycleState.READY:
        return None
    file = await _found(ctx, str(parsed.semantic_descriptor["file_id"]))
    return parsed if file is not None and file.lifecycle_state is LifecycleState.READY else None


async def _found(ctx: ExecutionContext, artifact_id: str) -> Artifact | None:
    try:
        return await ctx.state_surface.resolve_artifact(artifact_id, ctx.tenant_id)
    except NotFound:
        return None


async def _has_vectors(ctx: ExecutionContext, model: str, ids: tuple[str, ...] | None) -> bool:
    offset = 0
    while True:
        page = await ctx.state_surface.list_artifacts(
            ctx.tenant_id,
            artifact_type="embeddings",
            lifecycle_state=LifecycleState.READY.value,
            limit=EMBEDDINGS_PAGE,
            offset=offset,
        )
        for artifact in page:
            found: JsonObject = artifact.semantic_descriptor
            if found["embedding_model"] == model and (ids is None or found["parsed_file_id"] in ids):
                return True
        if len(page) < EMBEDDINGS_PAGE:
            return False
        offset += EMBEDDINGS_PAGE


def _passage(candidate: _Candidate, parsed: Artifact, *, fused: bool) -> FoundPassage:
    hit = candidate.hit
    return FoundPassage(
        text=hit.text,
        score=candidate.fused if fused else hit.score,
        bm25_rank=candidate.bm25_rank,
        vector_rank=candidate.vector_rank,
        similarity=candidate.similarity,
        parsed_file_id=parsed.artifact_id,
        file_id=parsed.semantic_descriptor["file_id"],
        filename=parsed.semantic_descriptor["filename"],
        position=place_of(hit.position),
    )
