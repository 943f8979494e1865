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

    parse_profile: ParseProfile | None = Field(None, description="How to parse it.")
    materialization_type: MaterializationType | None = Field(None, description="The form to keep.")
    ttl_days: int | None = Field(None, ge=0, le=36_500, description="Days to keep it.")


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
        json_schema_extra={"x-development-only": True},
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
    size_bytes: int = Field(description="Of the content.")
    media_type: str = Field(description="What the content is, by its bytes.")
    declared_media_type: str | None = Field(description="What its name or its sender say that it is.")
    type_mismatch: bool = Field(description="Whether the two contradict each other.")
    filename: str = Field(description="Its name without folders and control characters.")
    ui_name: str = Field(description="The name to show.")
    lifecycle_state: str = Field(description="PENDING, or where the file stands that was here before.")
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
    file_id: str = Field(description="The file's artifact.")
    boundary_contract_id: str = Field(description="Under which it is kept.")
    lifecycle_state: str = Field(description="READY.")
    materialization_type: str = Field(description="The form that is kept.")
    retained_until: str = Field(description="What was asked for and allowed.")
    pending_intent_id: str | None = Field(description="The parse that is queued; null for a reference.")


class ParseContent(Parameters):
    file_id: ArtifactId = Field(description="The file's artifact, READY.")
    parsing_type: ParsingType = None
    parse_options: ParseOptions = None
    copybook_reference: str | None = Field(None, max_length=255, description="For mainframe records.")


class Quarantined(BaseModel):
    """Something of the file that was not delivered, and why."""

    reason: str = Field(description="As `ragged_row`, `quote_left_open`, `undecodable_bytes`, `no_text_layer`.")
    position: dict[str, Any] = Field(description="Characters, bytes, page or line of the whole of it.")
    details: dict[str, Any] = Field(description="What else is known, as how many fields were expected.")
    text: str = Field(description="Its beginning.")
    truncated: bool = Field(description="Whether there is more of it than `text`.")


class ParsedContent(BaseModel):
    parsed_file_id: str = Field(description="The parsed content's artifact.")
    file_id: str = Field(description="The file's artifact.")
    media_type: str = Field(description="What it was read as.")
    parser: str = Field(description="Which parser read it.")
    counts: dict[str, Any] = Field(description="Of what the format has: pages, rows, columns, paragraphs, …")
    balance: dict[str, Any] = Field(
        description="`{measure: {total, delivered, ignored: {reason: n}, quarantined: {reason: n}}}`; each adds up."
    )
    units: int = Field(description="Lines of its JSON Lines.")
    chunks: int = Field(description="Passages that can be searched.")
    quarantined: int = Field(description="Units among them that are quarantined.")
    quarantine: list[Quarantined] = Field(description="The first of these.")
    columns: list[dict[str, Any]] = Field(description="Of records: names, types, and counts of types.")
    warnings: list[str] = Field(description="What a reader should know, and is no loss.")


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
    parsed_file_id: str = Field(description="The parsed content's artifact.")
    file_id: str = Field(description="The file's artifact.")
    filename: str = Field(description="The file's name.")
    lifecycle_state: str = Field(description="Of the parsed content.")
    media_type: str = Field(description="What it was read as.")
    parser: str = Field(description="Which parser read it.")
    parser_version: str = Field(description="Of the parsers; another version parses anew.")
    counts: dict[str, Any] = Field(description="Of what the format has: pages, rows, columns, paragraphs, …")
    balance: dict[str, Any] = Field(description="As in the result of parse_content.")
    units: int = Field(description="Lines of its JSON Lines.")
    chunks: int = Field(description="Passages that can be searched.")
    quarantined: int = Field(description="Units among them that are quarantined.")
    structure: dict[str, Any] = Field(description="Encoding, dialect, header, columns: what the format has.")
    preview: list[dict[str, Any]] = Field(
        description="The first units: `{kind, text, position}`, or `{kind, names, values, position}` for a record."
    )
    preview_truncated: bool = Field(description="Whether the preview was cut short of what was asked for.")


class CreateDeterministicEmbeddings(Parameters):
    parsed_file_id: ArtifactId = Field(description="The parsed content, READY.")
    embedding_options: dict[str, Any] | None = Field(None, description="None is known: it must be empty.", max_length=0)


class DeterministicEmbeddings(BaseModel):
    deterministic_embedding_id: str = Field(description="Their artifact; its payload holds the signatures.")
    parsed_file_id: str = Field(description="What they stand for.")
    schema_fingerprint: str = Field(description="Of names and types of columns, or of the outline, in their order.")
    schema_fingerprint_unordered: str = Field(description="The same whatever their order.")
    content_fingerprint: str = Field(description="Of every unit: equal for equal content only.")
    kind: Literal["records", "document", "mixed", "empty"] = Field(description="What the content is made of.")
    columns: int = Field(description="Columns that have a pattern signature.")
    units: int = Field(description="Units that were read.")


class ExtractEmbeddings(Parameters):
    parsed_file_id: ArtifactId = Field(description="The parsed content, READY.")
    deterministic_embedding_id: ArtifactId = Field(description="Its deterministic embeddings, READY.")
    embedding_options: dict[str, Any] | None = Field(None, description="None is known: it must be empty.", max_length=0)


class Embeddings(BaseModel):
    embedding_id: str = Field(description="Their artifact; its content holds the vectors.")
    parsed_file_id: str = Field(description="What they stand for.")
    deterministic_embedding_id: str = Field(description="What they stand on.")
    method: Literal["sentence_model"] = Field(description="How they were made.")
    model: str = Field(description="By which model.")
    dimensions: int = Field(description="Numbers in a vector.")
    count: int = Field(description="Vectors, one a chunk.")


class ListArtifacts(Parameters):
    artifact_type: str | None = Field(None, max_length=64, description="As `file` or `parsed_content`.")
    lifecycle_state: Literal["PENDING", "READY", "FAILED", "ARCHIVED", "DELETED"] | None = Field(
        None, description="Where the stored thing stands."
    )
    eligible_for: str | None = Field(None, max_length=128, description="The intent that is to work on them next.")
    text: str | None = Field(None, max_length=1000, description="Words that type, descriptor or payload must hold.")
    limit: int = Field(100, ge=1, le=500, description="Artifacts of a page.")
    offset: int = Field(0, ge=0, le=1_000_000, description="How many to pass over.")


class ArtifactRow(BaseModel):
    artifact_id: str = Field(description="Its id.")
    artifact_type: str = Field(description="As `file` or `parsed_content`.")
    name: str | None = Field(description="What it is called, where it is.")
    media_type: str | None = Field(description="Of its content, where that is known.")
    lifecycle_state: str = Field(description="Where the stored thing stands.")
    status: str = Field(description="Where the business stands on it: draft, accepted or obsolete.")
    version: int = Field(description="Of the artifact.")
    session_id: str | None = Field(description="The session it was made in.")
    produced_by: dict[str, str] = Field(description="`{intent, execution_id}`")
    parent_artifacts: list[str] = Field(description="What it was made from.")
    size_bytes: int = Field(description="Of all its materialisations.")
    created_at: str = Field(description="When it was registered.")
    updated_at: str = Field(description="When it last changed.")


class ArtifactList(BaseModel):
    artifacts: list[ArtifactRow] = Field(description="Newest first.")
    next_offset: int | None = Field(description="Where the next page begins; null at the end.")


class RetrieveArtifactMetadata(Parameters):
    artifact_id: ArtifactId = Field(description="Which artifact.")
    include_lineage: bool = Field(False, description="Whether to follow its parents and children.")


class Lineage(BaseModel):
    nodes: list[ArtifactRow] = Field(description="The artifacts in it.")
    edges: list[dict[str, str]] = Field(description="`{parent, child}`")


class ArtifactMetadata(BaseModel):
    artifact: dict[str, Any] = Field(description="The registry's record.")
    lineage: Lineage | None = Field(description="What it came from and what came of it, where asked for.")


class ArchiveFile(Parameters):
    artifact_id: ArtifactId | None = Field(None, description="What to archive, READY. Or give `file_id`.")
    file_id: ArtifactId | None = Field(None, description="The same under its older name.")
    reason: str | None = Field(None, max_length=1000, description="Why: it stands in the log.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.artifact_id is None) is (self.file_id is None):
            raise ValueError("give artifact_id or file_id, one of them")
        return self


class ArchivedFile(BaseModel):
    artifact_id: str = Field(description="What was archived.")
    artifact_type: str = Field(description="Its type.")
    lifecycle_state: str = Field(description="ARCHIVED.")


class LifecycleAction(StrEnum):
    ACCEPT = "accept"
    OBSOLETE = "obsolete"
    RESTORE = "restore"
    PURGE = "purge"
    PROMOTE = "promote"


class TransitionArtifactLifecycle(Parameters):
    artifact_id: ArtifactId = Field(description="Which artifact.")
    action: LifecycleAction = Field(description="`purge` and `restore` work on what is ARCHIVED.")
    reason: str = Field(min_length=1, max_length=1000, description="Why: it stands in the log.")
    target_domain: Literal["platform"] | None = Field(None, description="For promote.")


class TransitionedArtifact(BaseModel):
    artifact_id: str = Field(description="Which artifact.")
    artifact_type: str = Field(description="Its type.")
    action: str = Field(description="What was done.")
    lifecycle_state: str = Field(description="Where the stored thing stands now.")
    status: str = Field(description="Where the business stands on it now.")
    version: int = Field(description="Of the artifact.")
    also_purged: list[str] = Field(description="What was derived from it and went with it.")
