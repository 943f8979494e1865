"""What goes over the wire. Requests are pydantic models that refuse what they do not know; answers are the values of
the model.

A request may name `tenant_id`, which is only ever compared with the caller's (or, on a Runtime in the development
profile, says whose developer is calling).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError

from symphainy.errors import FieldError, Invalid
from symphainy.model import Artifact, Event, Execution, JsonObject, PendingIntent, PendingStatus, Session, Status
from symphainy.model.artifact import LifecycleState
from symphainy.model.instant import Instant

LIMIT_DEFAULT = 50
LIMIT_MAX = 500
BATCH_MAX = 500
TEXT_CHARS_MAX = 200
REASON_CHARS_MAX = 2000
CURSOR_CHARS_MAX = 500
ERRORS_SHOWN_MAX = 50
QUERY_BYTES_MAX = 8192

M = TypeVar("M", bound=BaseModel)

TenantId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", examples=["acme"])]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
Cursor = Annotated[str, Field(min_length=1, max_length=CURSOR_CHARS_MAX)]
Limit = Annotated[int, Field(ge=1, le=LIMIT_MAX, description="How many at most.")]
StatusName = Annotated[Status, Strict(False)]
LifecycleName = Annotated[LifecycleState, Strict(False)]
PendingStatusName = Annotated[PendingStatus, Strict(False)]


class Body(BaseModel):
    """A JSON body. What it does not know it refuses."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RequestBody(Body):
    """What every body of a known caller may say."""

    tenant_id: TenantId | None = Field(None, description="Compared with the token's tenant; never overrides it.")


class Query(BaseModel):
    """What every query string may say. Other names are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    tenant_id: TenantId | None = Field(None, description="Compared with the token's tenant; never overrides it.")


# --- sessions -------------------------------------------------------------------------------------------------


class CreateSession(RequestBody):
    """A new session."""

    user_id: Text | None = Field(
        None, description="Whose session it is. Experience takes that from the token, whatever stands here."
    )
    solution_id: Text = "default"
    context: JsonObject | None = Field(None, description="The session state that handlers read and write.")
    metadata: JsonObject | None = None


class CreateAnonymousSession(Body):
    """A session for somebody who has no account. It gets a tenant of its own."""

    context: JsonObject | None = None
    metadata: JsonObject | None = None


class UpdateSession(RequestBody):
    """Changes to a session, merged as RFC 7396 merges: objects merge, null removes, the rest replaces."""

    context: JsonObject | None = None
    metadata: JsonObject | None = None


class CloseSession(RequestBody):
    """Nothing to say."""


# --- intents --------------------------------------------------------------------------------------------------


class SubmitIntent(RequestBody):
    """A typed request. `parameters` must fit the intent's schema (`GET /api/intents/{intent_type}`)."""

    intent_type: Text
    session_id: Text
    parameters: JsonObject | None = None
    solution_id: Text = "default"
    metadata: JsonObject | None = Field(
        None,
        description="May carry `priority`, `not_before`, `timeout_s`, `concurrency_key`, `correlation_id`, `saga`.",
    )


class BatchItem(SubmitIntent):
    """One submission of a batch, with a key of its own."""

    idempotency_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")] | None = None


class SubmitBatch(RequestBody):
    """Several submissions, accepted or refused one by one."""

    intents: Annotated[list[BatchItem], Field(min_length=1, max_length=BATCH_MAX)]


class SubmitIntentAsFirstPublished(RequestBody):
    """A submission in the oldest form: `payload` stands for `parameters`, `realm` is checked."""

    intent_type: Text
    session_id: Text
    payload: JsonObject | None = None
    parameters: JsonObject | None = None
    realm: Text | None = None
    solution_id: Text = "default"
    metadata: JsonObject | None = None


class CreatePending(RequestBody):
    """Work to queue, not yet to start."""

    intent_type: Text
    target_artifact_id: Text
    session_id: Text
    parameters: JsonObject | None = None


class ListPending(RequestBody):
    """Which queued work to list, newest first."""

    session_id: Text | None = None
    intent_type: Text | None = None
    target_artifact_id: Text | None = None
    status: PendingStatusName | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None


# --- executions -----------------------------------------------------------------------------------------------


class ListExecutions(RequestBody):
    """Which executions to list, newest first."""

    session_id: Text | None = None
    intent_type: Text | None = None
    status: StatusName | None = None
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None


class CancelExecution(RequestBody):
    """Why."""

    reason: Annotated[str, Field(max_length=REASON_CHARS_MAX)] | None = None


# --- artifacts ------------------------------------------------------------------------------------------------


class ResolveArtifact(RequestBody):
    """The artifact to look up."""

    artifact_id: Text


class ListArtifacts(RequestBody):
    """Which artifacts to list, newest first."""

    artifact_type: Text | None = None
    lifecycle_state: LifecycleName | None = None
    session_id: Text | None = None
    parent_artifact_id: Text | None = None
    eligible_for: Text | None = Field(None, description="An intent type: what it can work on.")
    limit: Limit = LIMIT_DEFAULT
    cursor: Cursor | None = None


# --- content --------------------------------------------------------------------------------------------------


class UploadForm(RequestBody):
    """The fields of an upload beside the file."""

    session_id: Text
    parameters: JsonObject | None = None
    metadata: JsonObject | None = None


# --- queries --------------------------------------------------------------------------------------------------


def _flag(value: Any) -> Any:
    return {"true": True, "1": True, "false": False, "0": False}.get(value, value)


def _number(value: Any) -> Any:
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20
    return int(value) if is_number else value


Flag = Annotated[bool, BeforeValidator(_flag)]
Position = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(_number)]
LimitQuery = Annotated[int, Field(ge=1, le=LIMIT_MAX), BeforeValidator(_number)]


class StatusQuery(Query):
    include_artifacts: Flag = Field(False, description="`artifacts` holds full records instead of references.")
    include_steps: Flag = Field(False, description="Adds `steps`.")


class StreamQuery(Query):
    after: Position | None = Field(
        None, description="Resume after this `seq`. The header `Last-Event-ID` says the same and wins."
    )


class ContentQuery(Query):
    materialization_id: Text | None = Field(None, description="Which stored form; the main one by default.")


class LineageQuery(Query):
    direction: Literal["up", "down", "both"] = "both"


class EventsQuery(Query):
    session_id: Text | None = None
    execution_id: Text | None = None
    event_type: Text | None = None
    after: Position = Field(0, description="Events with a greater `position`.")
    limit: LimitQuery = LIMIT_DEFAULT


# --- answers that are not values of the model as they stand -----------------------------------------------------


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The intent is on disk; its handler has not run yet."""

    execution_id: str
    intent_id: str
    status: str
    created_at: Instant


class AnonymousSessionOpened(Session, frozen=True, kw_only=True):
    """The session, with the token that opens it. `expires_in` seconds."""

    access_token: str
    expires_in: int


class ExecutionPage(msgspec.Struct, frozen=True, kw_only=True):
    executions: tuple[Execution, ...]
    next_cursor: str | None


class ArtifactPage(msgspec.Struct, frozen=True, kw_only=True):
    artifacts: tuple[Artifact, ...]
    next_cursor: str | None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of the log. `next_cursor` is the `after` of the next page."""

    events: tuple[Event, ...]
    next_cursor: str | None


class PendingPage(msgspec.Struct, frozen=True, kw_only=True):
    pending_intents: tuple[PendingIntent, ...]
    next_cursor: str | None


class LineageEdge(msgspec.Struct, frozen=True, kw_only=True):
    parent: str
    child: str


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """What came of what: artifacts, and edges between their ids. `truncated`: there is more than is shown."""

    nodes: tuple[Artifact, ...]
    edges: tuple[LineageEdge, ...]
    truncated: bool = False


# --- validation -----------------------------------------------------------------------------------------------


def validated(model: type[M], value: Mapping[str, Any], *, what: str = "body") -> M:
    """`value` as `model`. Raises `Invalid` with a pointer to each field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        found = [
            FieldError(pointer(each["loc"]), each["msg"])
            for each in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        first = found[0]
        raise Invalid(
            f"the {what} is not valid: {first.pointer or 'it'}: {first.detail}", errors=found[:ERRORS_SHOWN_MAX]
        ) from None


def pointer(location: tuple[int | str, ...]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in location)


def query_of(model: type[M], query_string: bytes) -> M:
    """The query string as `model`. Raises `Invalid`, also when a name that counts comes twice."""
    if not query_string:
        return model.model_validate({})
    if len(query_string) > QUERY_BYTES_MAX:
        raise Invalid(f"the query string is longer than {QUERY_BYTES_MAX} bytes")
    try:
        pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True, max_num_fields=100)
    except ValueError as error:
        raise Invalid(f"the query string cannot be read: {error}") from None
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values and name in model.model_fields:
            raise Invalid(f"the query names {name} twice", errors=[FieldError(pointer((name,)), "named twice")])
        values[name] = value
    return validated(model, values, what="query string")
