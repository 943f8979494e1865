"""What the intents of content take and give."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from symphainy.capabilities.content.names import display_name
from symphainy.capabilities.content.parsing.media import PARSING_TYPES
from symphainy.capabilities.content.parsing.options import parse_options
from symphainy.capability import Content


def _readable(options: dict[str, Any] | None) -> dict[str, Any] | None:
    if options is not None:
        parse_options(options)
    return options


def _known_type(name: str | None) -> str | None:
    if name is not None and name not in PARSING_TYPES:
        raise ValueError(f"one of {', '.join(sorted(PARSING_TYPES))}")
    return name


ParsingType = Annotated[
    str | None,
    AfterValidator(_known_type),
    Field(
        description="Read the file as this, whatever its name and content say: "
        f"{', '.join(sorted(PARSING_TYPES))}. Absent: the content decides.",
        examples=["csv"],
    ),
]
ParseOptions = Annotated[
    dict[str, Any] | None,
    AfterValidator(_readable),
    Field(
        description="What is not to be guessed: `encoding` (a Python codec name), `delimiter` and `quote` (one "
        "character), `header` (true or false).",
        examples=[{"delimiter": ";", "header": True}],
    ),
]
ArtifactId = Annotated[str, Field(min_length=1, max_length=128)]


class Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")


class IngestionType(StrEnum):
    UPLOAD = "upload"
    EDI = "edi"
    API = "api"


class ParseProfile(Parameters):
    """How a kept file is to be parsed."""

    parsing_type: ParsingType = None
    parse_options: ParseOptions = None
    copybook_reference: str | None = Field(None, max_length=255, description="For mainframe records.")


class MaterializationType(StrEnum):
    REFERENCE = "reference"
    PARTIAL_EXTRACTION = "partial_extraction"
    DETERMINISTIC = "deterministic"
    SEMANTIC_EMBEDDING = "semantic_embedding"
    FULL_ARTIFACT = "full_artifact"


class IngestionOptions(Parameters):
    """What the saga ingest_to_search hands on to its later steps."""

    parse_profile: ParseProfile | None = None
    materialization_type: MaterializationType | None = None
    ttl_days: int | None = Field(None, ge=0, le=36_500)


class IngestFile(Parameters):
    """A file, an EDI message or an API payload."""

    ui_name: str = Field(
        min_length=1,
        max_length=255,
        description="The name to show. Where it is left out, the file's own name is taken.",
        examples=["Pump handbook"],
    )
    ingestion_type: IngestionType = Field(IngestionType.UPLOAD, description="Which way the content comes in.")
    content_ref_or_base64: Content | None = Field(
        None, description="`blob:<sha256>` of content uploaded before, or the content as base64. For upload and edi."
    )
    file_type: str | None = Field(None, max_length=64, description="What the sender calls this kind of file.")
    mime_type: str | None = Field(None, max_length=255, description="The media type that the sender claims.")
    filename: str | None = Field(None, max_length=1024, description="The file's own name; folders in it are ignored.")
    partner_id: str | None = Field(None, max_length=255, description="Whose message it is. Required for edi.")
    edi_protocol: Literal["as2", "sftp"] | None = Field(None, description="How the message travelled.")
    api_payload: dict[str, Any] | None = Field(
        None, description="The payload. Required for api; kept as canonical JSON."
    )
    endpoint: str | None = Field(None, max_length=2048, description="Where the payload was taken from.")
    api_type: Literal["rest", "graphql"] | None = Field(None, description="What kind of endpoint it was.")
    source_metadata: dict[str, Any] | None = Field(None, description="What the sender knows of the source. Kept as is.")
    ingestion_options: IngestionOptions | None = Field(
        None, description="For later steps: as the parameters of save_materialization of the same names."
    )
    boundary_contract_id: str | None = Field(
        None, max_length=128, description="The contract under which this content came in before. Absent: one is issued."
    )
    file_path: str | None = Field(
        None,
        max_length=4096,
        description="A file on the machine of the Runtime, in place of content. In development only, and only below "
        "the folders of the setting allowed_file_roots.",
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("ui_name"):
            own = data.get("filename") or data.get("file_path")
            if isinstance(own, str) and own:
                return {**data, "ui_name": display_name(own)}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = {
            "content_ref_or_base64": self.content_ref_or_base64,
            "file_path": self.file_path,
            "api_payload": self.api_payload,
        }
        given = [name for name, value in sources.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"give one source, not {' and '.join(given)}")
        if self.ingestion_type is IngestionType.UPLOAD and given not in (["content_ref_or_base64"], ["file_path"]):
            raise ValueError("an upload needs content_ref_or_base64")
        if self.ingestion_type is IngestionType.API and given and given != ["api_payload"]:
            raise ValueError("api takes api_payload")
        if self.ingestion_type is IngestionType.EDI:
            if given and given != ["content_ref_or_base64"]:
                raise ValueError("edi takes content_ref_or_base64")
            if self.partner_id is None:
                raise ValueError("edi needs partner_id")
        return self


class IngestedFile(BaseModel):
    file_id: str = Field(description="The file's artifact.")
    boundary_contract_id: str = Field(description="Under which it may be kept: hand it to save_materialization.")
    boundary_contract_expires_at: str = Field(description="Until then.")
    sha256: str = Field(description="Of the content, in hexadecimal.")
    size_bytes: int
    media_type: str = Field(description="What the content is, by its bytes.")
    declared_media_type: str | None = Field(description="What its name or its sender say that it is.")
    type_mismatch: bool = Field(description="Whether the two contradict each other.")
    filename: str = Field(description="Its name without folders and control characters.")
    ui_name: str
    lifecycle_state: str
    duplicate_of: str | None = Field(description="The same content, brought into this session before; then `file_id`.")


class SaveMaterialization(Parameters):
    file_id: ArtifactId = Field(description="The file's artifact, PENDING.")
    boundary_contract_id: ArtifactId = Field(description="The contract it came in under.")
    materialization_type: MaterializationType = Field(
        MaterializationType.FULL_ARTIFACT, description="The form to keep. A `reference` is kept and never parsed."
    )
    scope: dict[str, Any] | None = Field(None, description="Whose it is: any of user, session, solution.")
    ttl_days: int | None = Field(None, ge=0, le=36_500, description="Days to keep it. Absent: as long as allowed.")
    parse_profile: ParseProfile | None = Field(None, description="How to parse it, later, when someone starts that.")


class SavedMaterialization(BaseModel):
    file_id: str
    boundary_contract_id: str
    lifecycle_state: str
    materialization_type: str
    retained_until: str = Field(description="What was asked for and allowed.")
    pending_intent_id: str | None = Field(description="The parse that is queued; null for a reference.")


class ParseContent(Parameters):
    file_id: ArtifactId = Field(description="The file's artifact, READY.")
    parsing_type: ParsingType = None
    parse_options: ParseOptions = None
    copybook_reference: str | None = Field(None, max_length=255, description="For mainframe records.")


class Quarantined(BaseModel):
    """Something of the file that was not delivered, and why."""

    reason: str
    position: dict[str, Any]
    details: dict[str, Any]
    text: str = Field(description="Its beginning.")
    truncated: bool


class ParsedContent(BaseModel):
    parsed_file_id: str
    file_id: str
    media_type: str = Field(description="What it was read as.")
    parser: str
    counts: dict[str, Any] = Field(description="Of what the format has: pages, rows, columns, paragraphs, …")
    balance: dict[str, Any] = Field(
        description="`{measure: {total, delivered, ignored: {reason: n}, quarantined: {reason: n}}}`; each adds up."
    )
    units: int = Field(description="Lines of its JSON Lines.")
    chunks: int = Field(description="Passages that can be searched.")
    quarantined: int = Field(description="Units among them that are quarantined.")
    quarantine: list[Quarantined] = Field(description="The first of these.")
    columns: list[dict[str, Any]] = Field(description="Of records: names, types, and counts of types.")
    warnings: list[str]


class ParsedFileChoice(Parameters):
    parsed_file_id: ArtifactId | None = Field(None, description="The parsed content. Or give `file_id`.")
    file_id: ArtifactId | None = Field(None, description="The file: its newest parsed content is taken.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.parsed_file_id is None) is (self.file_id is None):
            raise ValueError("give parsed_file_id or file_id, one of them")
        return self


class GetParsedFile(ParsedFileChoice):
    include_preview: bool = Field(True, description="Whether to show the first units.")
    preview_limit: int = Field(10, ge=0, le=100, description="How many.")


class ParsedFile(BaseModel):
    parsed_file_id: str
    file_id: str
    filename: str
    lifecycle_state: str
    media_type: str
    parser: str
    parser_version: str
    counts: dict[str, Any]
    balance: dict[str, Any]
    units: int
    chunks: int
    quarantined: int
    structure: dict[str, Any] = Field(description="Encoding, dialect, header, columns: what the format has.")
    preview: list[dict[str, Any]] = Field(
        description="The first units: `{kind, text, position}`, or `{kind, names, values, position}` for a record."
    )
    preview_truncated: bool = Field(description="Whether the preview was cut short of what was asked for.")


class CreateDeterministicEmbeddings(Parameters):
    parsed_file_id: ArtifactId = Field(description="The parsed content, READY.")
    embedding_options: dict[str, Any] | None = Field(None, description="None is known: it must be empty.", max_length=0)


class DeterministicEmbeddings(BaseModel):
    deterministic_embedding_id: str
    parsed_file_id: str
    schema_fingerprint: str = Field(description="Of names and types of columns, or of the outline, in their order.")
    schema_fingerprint_unordered: str = Field(description="The same whatever their order.")
    content_fingerprint: str = Field(description="Of every unit: equal for equal content only.")
    kind: Literal["records", "document", "mixed", "empty"]
    columns: int
    units: int


class ExtractEmbeddings(Parameters):
    parsed_file_id: ArtifactId = Field(description="The parsed content, READY.")
    deterministic_embedding_id: ArtifactId = Field(description="Its deterministic embeddings, READY.")
    embedding_options: dict[str, Any] | None = Field(None, description="None is known: it must be empty.", max_length=0)


class Embeddings(BaseModel):
    embedding_id: str
    parsed_file_id: str
    deterministic_embedding_id: str
    method: Literal["sentence_model"]
    model: str
    dimensions: int
    count: int = Field(description="Vectors, one a chunk.")


class ListArtifacts(Parameters):
    artifact_type: str | None = Field(None, max_length=64)
    lifecycle_state: Literal["PENDING", "READY", "FAILED", "ARCHIVED", "DELETED"] | None = None
    eligible_for: str | None = Field(None, max_length=128, description="The intent that is to work on them next.")
    text: str | None = Field(None, max_length=1000, description="Words that type, descriptor or payload must hold.")
    limit: int = Field(100, ge=1, le=500)
    offset: int = Field(0, ge=0, le=1_000_000)


class ArtifactRow(BaseModel):
    artifact_id: str
    artifact_type: str
    name: str | None
    media_type: str | None
    lifecycle_state: str
    status: str
    version: int
    session_id: str | None
    produced_by: dict[str, str]
    parent_artifacts: list[str]
    size_bytes: int = Field(description="Of all its materialisations.")
    created_at: str
    updated_at: str


class ArtifactList(BaseModel):
    artifacts: list[ArtifactRow] = Field(description="Newest first.")
    next_offset: int | None = Field(description="Where the next page begins; null at the end.")


class RetrieveArtifactMetadata(Parameters):
    artifact_id: ArtifactId
    include_lineage: bool = Field(False, description="Whether to follow its parents and children.")


class Lineage(BaseModel):
    nodes: list[ArtifactRow]
    edges: list[dict[str, str]] = Field(description="`{parent, child}`")


class ArtifactMetadata(BaseModel):
    artifact: dict[str, Any] = Field(description="The registry's record.")
    lineage: Lineage | None


class ArchiveFile(Parameters):
    artifact_id: ArtifactId | None = Field(None, description="What to archive, READY. Or give `file_id`.")
    file_id: ArtifactId | None = Field(None, description="The same under its older name.")
    reason: str | None = Field(None, max_length=1000)

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.artifact_id is None) is (self.file_id is None):
            raise ValueError("give artifact_id or file_id, one of them")
        return self


class ArchivedFile(BaseModel):
    artifact_id: str
    artifact_type: str
    lifecycle_state: str


class LifecycleAction(StrEnum):
    ACCEPT = "accept"
    OBSOLETE = "obsolete"
    RESTORE = "restore"
    PURGE = "purge"
    PROMOTE = "promote"


class TransitionArtifactLifecycle(Parameters):
    artifact_id: ArtifactId
    action: LifecycleAction
    reason: str = Field(min_length=1, max_length=1000)
    target_domain: Literal["platform"] | None = Field(None, description="For promote.")


class TransitionedArtifact(BaseModel):
    artifact_id: str
    artifact_type: str
    action: str
    lifecycle_state: str
    status: str
    version: int
    also_purged: list[str] = Field(description="What was derived from it and went with it.")
