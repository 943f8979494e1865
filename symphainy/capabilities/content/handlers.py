"""The intents of content: each with its contract, from which its page of the documentation is made."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import ClassVar

from symphainy.capabilities.content import embeddings, intake, lifecycle, parsed, reindexing
from symphainy.capabilities.content.names import display_name
from symphainy.capabilities.content.parsing.child import frames
from symphainy.capabilities.content.parsing.media import CSV
from symphainy.capabilities.content.reading import ParseLimits
from symphainy.capabilities.content.sagas import INGEST_TO_SEARCH
from symphainy.capabilities.content.types import (
    ArchivedFile,
    ArchiveFile,
    ArtifactList,
    ArtifactMetadata,
    CreateDeterministicEmbeddings,
    DeterministicEmbeddings,
    Embeddings,
    ExtractEmbeddings,
    GetParsedFile,
    IngestedFile,
    IngestFile,
    ListArtifacts,
    ParseContent,
    ParsedContent,
    ParsedFile,
    RetrieveArtifactMetadata,
    SavedMaterialization,
    SaveMaterialization,
    TransitionArtifactLifecycle,
    TransitionedArtifact,
)
from symphainy.capability import (
    Capability,
    ExecutionContext,
    IntentResult,
    RetryPolicy,
    SagaDeclaration,
    StateSurface,
    UploadedContent,
    intent,
)
from symphainy.model import Artifact, JsonObject
from symphainy.ports import Probe, PublicWorks

#: What is refused because another execution is at it at this moment.
WAIT_FOR_THE_OTHER = RetryPolicy(attempts_max=5, first_delay_s=0.5, delay_max_s=30.0)

_UNKNOWN = {"not_found": "there is no such artifact, or it is not yours to see"}
_OF_TYPE = {**_UNKNOWN, "wrong_artifact_type": "the artifact is of another type than this intent works on"}
_MISSING_EXTRA = {"missing_extra": "an optional part is not installed; the message says how to install it"}
_SELF_TEST = b"pump,hours\nP-1,12\nP-2,30\n"


def from_upload(content: UploadedContent) -> JsonObject:
    """The parameters of `ingest_file` for bytes that came in by the upload route."""
    found: JsonObject = {
        "ingestion_type": "upload",
        "content_ref_or_base64": content.reference,
        "filename": content.filename[-1024:],
        "ui_name": display_name(content.filename),
    }
    return found if content.media_type is None else {**found, "mime_type": content.media_type[:255]}


class ContentCapability(Capability):
    """`limits` bound each parse."""

    name = "content"
    description = (
        "Takes files in under a boundary contract, parses them without losing anything, and makes them findable."
    )
    sagas: ClassVar[tuple[SagaDeclaration, ...]] = (INGEST_TO_SEARCH,)

    def __init__(
        self,
        *,
        public_works: PublicWorks,
        state_surface: StateSurface | None = None,
        limits: ParseLimits | None = None,
    ) -> None:
        super().__init__(public_works=public_works, state_surface=state_surface)
        self.limits = limits or ParseLimits()

    @intent(
        "ingest_file",
        result=IngestedFile,
        aliases=("content.upload", "register_file"),
        artifacts=("file",),
        events=("artifact_ingested",),
        idempotency="tenant, session and SHA-256 of the content: the same content gives the same artifact, as long as "
        "that is PENDING or READY",
        errors={
            "content_not_found": "the content that is referred to has not been uploaded",
            "file_not_found": "there is no file at file_path",
            "file_path_refused": "file_path is not allowed: it works in development, below the allowed folders",
            "boundary_contract_unknown": "the boundary contract is not that of this content",
            "policy_denied": "the Data Steward does not let content of this size in",
            "payload_too_large": "the content is larger than one upload may be",
            "not_available": "no content was given, and nothing here can fetch it",
        },
        state_reads=("artifacts",),
        state_writes=("artifacts",),
        from_upload=from_upload,
    )
    async def ingest_file(self, ctx: ExecutionContext, params: IngestFile) -> IntentResult:
        """Take a file, EDI message or API payload in as working material, under a boundary contract.

        The file is PENDING until save_materialization decides to keep it. What it is, its bytes say; where its name
        says something else, the result tells.
        """
        return await intake.ingest(ctx, self.public_works, params)

    @intent(
        "save_materialization",
        result=SavedMaterialization,
        artifacts=("file",),
        events=("materialization_saved",),
        accepts=("file",),
        idempotency="artifact and boundary contract: a second time answers what the first did",
        errors={
            **_OF_TYPE,
            "boundary_contract_mismatch": "the file came in under another boundary contract",
            "policy_denied": "the contract has ended, or does not allow this type, size or time",
            "file_not_pending": "the file failed, or was archived or deleted",
            "file_kept_elsewhere": "the file was kept in another session already",
        },
        state_reads=("artifacts", "pending_intents"),
        state_writes=("artifacts", "pending_intents"),
    )
    async def save_materialization(self, ctx: ExecutionContext, params: SaveMaterialization) -> IntentResult:
        """Decide to keep a file: it becomes READY, and its parse is queued as a pending intent."""
        return await intake.save(ctx, params)

    @intent(
        "parse_content",
        result=ParsedContent,
        aliases=("save_parsed_content", "preprocess_file"),
        artifacts=("parsed_content",),
        events=("content_parsed",),
        accepts=("file",),
        retry=WAIT_FOR_THE_OTHER,
        idempotency="file, what it is read as, parse options and version of the parser",
        errors={
            **_OF_TYPE,
            **_MISSING_EXTRA,
            "file_not_ready": "the file has not been kept, or is no longer there",
            "parse_not_queued": "no parse is queued, and none was done before",
            "parse_in_progress": "another execution is parsing the file in the same way; tried again",
            "parse_profile_invalid": "the queued parse has a profile that cannot be used",
            "type_mismatch": "name and content contradict each other, or parsing_type and content",
            "unsupported_media": "content of this type is not read here",
            "not_available": "a copybook is referred to, and records described by one are not read here",
            "encoding_unknown": "the encoding that was named is not read here",
            "encoding_broken": "the file says which encoding it has, and is not in it",
            "invalid_json": "the document is not JSON; line and byte are told",
            "pdf_encrypted": "the PDF asks for a password",
            "pdf_truncated": "the PDF breaks off",
            "pdf_unreadable": "the PDF cannot be read",
            "parser_limit": "time, memory, depth, pages, columns or the length of one value went beyond a bound",
            "parser_failed": "the parser broke down over this file",
            "payload_too_large": "what was read takes more room than one upload may",
            "balance_broken": "something of the file would have been lost; nothing was kept",
        },
        state_reads=("artifacts", "pending_intents"),
        state_writes=("artifacts", "pending_intents", "search"),
    )
    async def parse_content(self, ctx: ExecutionContext, params: ParseContent) -> IntentResult:
        """Parse a kept file, resuming its pending intent, and index its passages.

        Every byte, row and page is delivered, ignored for a declared reason, or quarantined with a reason and a place;
        the balance adds up, or nothing is kept.
        """
        return await parsed.parse(ctx, self.public_works, params, self.limits)

    @intent(
        "get_parsed_file",
        result=ParsedFile,
        aliases=("get_pso",),
        read_only=True,
        accepts=("parsed_content", "file"),
        idempotency="it only reads",
        errors={
            **_OF_TYPE,
            "parsed_content_not_ready": "the parsed content is not READY",
            "file_not_parsed": "the file has no parsed content that is READY",
        },
        state_reads=("artifacts",),
    )
    async def get_parsed_file(self, ctx: ExecutionContext, params: GetParsedFile) -> IntentResult:
        """Show what a parse has found, with its first units. The whole is the content of the artifact."""
        return await parsed.show(ctx, params)

    @intent(
        "create_deterministic_embeddings",
        result=DeterministicEmbeddings,
        artifacts=("deterministic_embeddings",),
        events=("deterministic_embeddings_created",),
        accepts=("parsed_content",),
        retry=WAIT_FOR_THE_OTHER,
        idempotency="parsed file and version of the fingerprint",
        errors={
            **_OF_TYPE,
            "parsed_content_not_ready": "the parsed content is not READY",
            "embedding_in_progress": "another execution is doing the same; tried again",
        },
        state_reads=("artifacts",),
        state_writes=("artifacts",),
    )
    async def create_deterministic_embeddings(
        self, ctx: ExecutionContext, params: CreateDeterministicEmbeddings
    ) -> IntentResult:
        """Make a reproducible fingerprint of the schema and a signature of the patterns in it.

        The same content gives the same numbers, other content others.
        """
        return await embeddings.fingerprint(ctx, self.public_works, params)

    @intent(
        "extract_embeddings",
        result=Embeddings,
        aliases=("save_embeddings", "create_semantic_embeddings", "hydrate_semantic_profile"),
        artifacts=("embeddings",),
        events=("embeddings_created",),
        accepts=("parsed_content",),
        retry=WAIT_FOR_THE_OTHER,
        idempotency="deterministic embeddings and model",
        errors={
            **_OF_TYPE,
            **_MISSING_EXTRA,
            "parsed_content_not_ready": "the parsed content is not READY",
            "deterministic_embeddings_not_ready": "the deterministic embeddings are not READY",
            "embedding_mismatch": "the deterministic embeddings are those of another parsed file",
            "nothing_to_embed": "the file has no text",
            "embedding_in_progress": "another execution is doing the same; tried again",
        },
        state_reads=("artifacts",),
        state_writes=("artifacts", "search"),
    )
    async def extract_embeddings(self, ctx: ExecutionContext, params: ExtractEmbeddings) -> IntentResult:
        """Make a vector of each passage with the sentence model, on top of the deterministic layer."""
        return await embeddings.embed(ctx, self.public_works, params)

    @intent(
        "list_artifacts",
        result=ArtifactList,
        aliases=("list_files", "content_list_files", "search_files", "query_files"),
        read_only=True,
        idempotency="it only reads",
        errors={"unknown_intent": "eligible_for names no intent"},
        state_reads=("artifacts",),
    )
    async def list_artifacts(self, ctx: ExecutionContext, params: ListArtifacts) -> IntentResult:
        """Filter, search and page the artifacts of the tenant, newest first."""
        return await lifecycle.listed(ctx, params)

    @intent(
        "retrieve_artifact_metadata",
        result=ArtifactMetadata,
        aliases=("get_artifact_metadata", "retrieve_artifact", "retrieve_file", "get_file_by_id"),
        read_only=True,
        idempotency="it only reads",
        errors=_UNKNOWN,
        state_reads=("artifacts",),
    )
    async def retrieve_artifact_metadata(self, ctx: ExecutionContext, params: RetrieveArtifactMetadata) -> IntentResult:
        """Show one record of the registry and, on request, what it came from and what came of it."""
        return await lifecycle.described(ctx, params)

    @intent(
        "archive_file",
        result=ArchivedFile,
        aliases=("archive_artifact",),
        events=("file_archived",),
        accepts=("file", "parsed_content", "deterministic_embeddings", "embeddings"),
        idempotency="artifact and target state: what is archived stays so",
        errors={**_UNKNOWN, "conflict": "the artifact is not READY"},
        state_reads=("artifacts",),
        state_writes=("artifacts",),
    )
    async def archive_file(self, ctx: ExecutionContext, params: ArchiveFile) -> IntentResult:
        """Put an artifact away: from READY to ARCHIVED. What was derived from a file stays, and is no longer found."""
        return await lifecycle.archive(ctx, params)

    @intent(
        "transition_artifact_lifecycle",
        result=TransitionedArtifact,
        aliases=("restore_file", "purge_file", "delete_file", "delete_artifact"),
        events=("artifact_lifecycle_changed",),
        accepts=("file", "parsed_content", "deterministic_embeddings", "embeddings"),
        idempotency="artifact, version and action: what is there already stays so",
        errors={
            **_UNKNOWN,
            "conflict": "the business state does not allow it",
            "wrong_lifecycle_state": "the storage state does not allow it: purge and restore work on ARCHIVED",
            "derived_is_accepted": "accepted work was derived from what is to be purged",
            "target_missing": "promote needs a target_domain",
            "not_accepted": "only what is accepted can be promoted",
            "not_available": "nobody can ask for the Curator's approval here yet",
        },
        state_reads=("artifacts",),
        state_writes=("artifacts", "search"),
    )
    async def transition_artifact_lifecycle(
        self, ctx: ExecutionContext, params: TransitionArtifactLifecycle
    ) -> IntentResult:
        """Move an artifact on: accept, obsolete, restore, purge or promote.

        Accepting freezes the version. Purging takes what holds the words of the file along, also out of the index.
        """
        return await lifecycle.transition(ctx, self.public_works, params)

    async def reindex(self, tenant_id: str, artifacts: Sequence[Artifact]) -> int:
        """Put parsed content, and the vectors of embeddings, back into an index that has lost them.

        `artifacts` are READY ones of one tenant, of any types, in any order. Returns how many were put back.
        """
        return await reindexing.reindex(self.public_works, tenant_id, artifacts)

    async def probe(self) -> Probe:
        """Really parses something."""
        lines = b"".join(frames(io.BytesIO(_SELF_TEST), len(_SELF_TEST), CSV, {})).splitlines()
        found = sum(1 for line in lines if line.startswith(b'u{"kind":"record"'))
        status = "ok" if found == 2 and lines[-1][:1] == b"s" else "down"
        return Probe(status=status, detail=f"{found} of 2 rows of a test table parsed")
