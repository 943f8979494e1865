"""What a capability author imports.

class Words(Capability):
    name = "words"

    @intent("count_words", result=WordCount)
    async def count_words(self, ctx: ExecutionContext, params: CountWords) -> IntentResult:
        "Count the words of a text."
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, BinaryIO, ClassVar, Protocol, TypeVar, get_type_hints, overload

from pydantic import BaseModel

from symphainy.errors import IntentRefused, StartupFailed
from symphainy.model import Artifact, Event, Execution, Intent, JsonObject, Materialization, Role
from symphainy.ports import Clock, Probe, PublicWorks

__all__ = [
    "BlobStore",
    "Capability",
    "Content",
    "ExecutionContext",
    "IntentDeclaration",
    "IntentRefused",
    "IntentResult",
    "Log",
    "RetryPolicy",
    "SagaDeclaration",
    "SagaStep",
    "StateSurface",
    "Steward",
    "Submission",
    "UploadedContent",
    "intent",
]

T = TypeVar("T")


class _ContentMarker:
    """Marks a parameter whose base64 becomes a blob before anything is recorded."""


CONTENT = _ContentMarker()
#: A parameter that carries bytes: `blob:<sha256>` of bytes already uploaded, or base64, which admission turns into
#: such a
#: reference. The handler and the log see the reference only.
Content = Annotated[str, CONTENT]


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential, with jitter; only what is marked retryable is tried again. Times in seconds."""

    attempts_max: int = 3
    first_delay_s: float = 1.0
    factor: float = 2.0
    delay_max_s: float = 60.0
    jitter: float = 0.2
    """The share of the delay that is random, 0 to 1."""


NO_RETRY = RetryPolicy(attempts_max=1)


@dataclass(frozen=True, kw_only=True)
class IntentResult:
    """What a handler returns: a result, artifacts by name, and further events as `(event_type, payload)`."""

    result: BaseModel | JsonObject | None = None
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)
    events: Sequence[tuple[str, JsonObject] | JsonObject] = ()
    """Each `(event_type, payload)` or `{"event_type": ..., "payload": {...}}`."""


class StateSurface(Protocol):
    """The one way to platform state. `tenant_id` must be the execution's own. Secrets and file bytes are refused."""

    async def get_session_state(self, session_id: str, tenant_id: str) -> JsonObject: ...
    async def set_session_state(self, session_id: str, tenant_id: str, state: JsonObject) -> None: ...
    async def update_session_state(self, session_id: str, tenant_id: str, changes: JsonObject) -> JsonObject:
        """Merge `changes` (RFC 7396: null removes). Concurrent updates of other keys are never lost."""

    async def get_execution_state(self, execution_id: str, tenant_id: str) -> JsonObject:
        """`{execution_id, status, intent_id, artifacts, events, error, state}`; `state` is what handlers keep there."""

    async def set_execution_state(self, execution_id: str, tenant_id: str, state: JsonObject) -> None: ...
    async def list_executions(
        self, tenant_id: str, *, session_id: str | None = None, status: str | None = None, limit: int = 50
    ) -> tuple[Execution, ...]: ...
    async def delete_state(
        self, tenant_id: str, *, session_id: str | None = None, execution_id: str | None = None
    ) -> None: ...

    async def register_artifact(
        self,
        *,
        artifact_type: str,
        artifact_id: str | None = None,
        tenant_id: str | None = None,
        produced_by: Mapping[str, str] | None = None,
        semantic_descriptor: JsonObject | None = None,
        semantic_payload: Any = None,
        parent_artifacts: Sequence[str] = (),
        materializations: Sequence[Materialization] = (),
        lifecycle_state: str = "READY",
    ) -> Artifact:
        """Register what this execution produced. It is PENDING until the execution completes; then it takes
        `lifecycle_state`, or FAILED when the execution does not complete. An `artifact_id` that exists: `Conflict`.
        """

    async def resolve_artifact(self, artifact_id: str, tenant_id: str) -> Artifact:
        """Raises `NotFound`."""

    async def list_artifacts(
        self,
        tenant_id: str,
        *,
        artifact_type: str | None = None,
        lifecycle_state: str | None = None,
        session_id: str | None = None,
        parent_artifact_id: str | None = None,
        eligible_for: str | None = None,
        text: str | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> tuple[Artifact, ...]:
        """Newest first. `text` is matched by the Librarian against type, descriptor and payload."""

    async def lineage(self, artifact_id: str, tenant_id: str, *, direction: str = "both") -> JsonObject:
        """`{nodes: [artifact...], edges: [{parent, child}...]}`."""

    async def transition_artifact(self, artifact_id: str, lifecycle_state: str, reason: str) -> Artifact:
        """A lawful move of the storage state. Raises `Conflict` for any other."""

    async def set_artifact_status(self, artifact_id: str, status: str, reason: str) -> Artifact:
        """A lawful move of the business state: `draft` to `accepted` to `obsolete`."""

    async def create_pending_intent(self, *, intent_type: str, target_artifact_id: str, parameters: JsonObject) -> str:
        """Queue work for a person to start. Returns its id."""

    async def pending_intent(self, *, intent_type: str, target_artifact_id: str) -> tuple[str, JsonObject] | None:
        """The oldest one that is still pending for this artifact: its id and parameters."""

    async def complete_pending_intent(self, pending_id: str) -> None:
        """This execution has taken it up: it is completed when the execution completes, pending again when it fails."""


class BlobStore(Protocol):
    """Content, bound to this tenant."""

    async def put(self, stream: AsyncIterator[bytes] | bytes | BinaryIO, *, format: str = "bytes") -> Materialization:
        """Chunks, bytes, or an open binary file, which is read off the event loop."""

    def open(self, materialization: Materialization | str) -> AsyncIterator[bytes]:
        """The bytes in chunks, of a materialisation or of a `blob:<sha256>` reference."""

    async def size(self, materialization: Materialization | str) -> int | None: ...


class Log(Protocol):
    """The tenant's log, bound to this execution."""

    async def append(self, event_type: str, payload: JsonObject) -> None:
        """The same as `ctx.emit`."""

    async def events(self, *, event_type: str | None = None, after: int = 0, limit: int = 50) -> tuple[Event, ...]:
        """This session's events, in order."""


class Steward(Protocol):
    """The Data Steward, asked for this execution. What it refuses stands in the log."""

    def issue_contract(self, *, size_bytes: int) -> JsonObject:
        """A boundary contract for content of this size, to be kept with the artifact; its id derives from the
        execution.

        Raises `PolicyDenied` when content of this size may not come in.
        """

    def authorize(self, contract: JsonObject | None, *, materialization_type: str, size_bytes: int, days: int) -> str:
        """May content be kept in this form for `days`? Returns the reason, or raises `PolicyDenied`."""


class ExecutionContext(Protocol):
    """What a handler is given: facts, and the ways to act."""

    @property
    def execution_id(self) -> str: ...
    @property
    def intent(self) -> Intent: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def session_id(self) -> str: ...
    @property
    def solution_id(self) -> str: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def metadata(self) -> JsonObject: ...
    @property
    def attempt(self) -> int:
        """1 for the first run of the handler."""

    @property
    def state_surface(self) -> StateSurface: ...
    @property
    def blobs(self) -> BlobStore: ...
    @property
    def wal(self) -> Log: ...
    @property
    def steward(self) -> Steward: ...

    @overload
    async def step(
        self,
        name: str,
        fn: Callable[..., Awaitable[T]],
        *args: Any,
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> T: ...
    @overload
    async def step(
        self,
        name: str,
        fn: Callable[..., T],
        *args: Any,
        retry: RetryPolicy | None = None,
        timeout_s: float | None = None,
    ) -> T:
        """Run `fn(*args)` once and remember its result for ever. A plain function runs in a thread. The result must be
        JSON
        or bytes.
        """

    async def progress(self, fraction: float, message: str = "") -> None: ...
    async def emit(self, event_type: str, payload: JsonObject) -> None: ...

    def idempotency_key(self, step: str) -> str:
        """Stable across retries and crashes, to hand to the outside world."""

    def new_id(self, prefix: str) -> str:
        """An id that derives from the execution and the call: the same on a rerun."""


Handler = Callable[..., Awaitable[IntentResult]]


@dataclass(frozen=True, kw_only=True)
class UploadedContent:
    """Bytes that came in by the upload route and lie in the blob store. `reference` is `blob:<sha256>`."""

    reference: str
    filename: str
    media_type: str | None
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class IntentDeclaration:
    """What `@intent` says of a handler. `parameters` is read from the handler's signature at registration."""

    intent_type: str
    result: type[BaseModel] | None = None
    aliases: tuple[str, ...] = ()
    read_only: bool = False
    artifacts: tuple[str, ...] = ()
    """Artifact types it produces."""
    events: tuple[str, ...] = ()
    """Event types it emits."""
    accepts: tuple[str, ...] = ()
    """Artifact types it works on: what `eligible_for` matches."""
    retry: RetryPolicy = NO_RETRY
    timeout_s: float | None = None
    idempotency: str = ""
    """What makes a second submission the same work, in words."""
    required_role: Role = Role.ANONYMOUS
    errors: Mapping[str, str] = field(default_factory=dict)
    """Refusal codes and what they mean."""
    state_reads: tuple[str, ...] = ()
    state_writes: tuple[str, ...] = ()
    version: str = "1"
    from_upload: Callable[[UploadedContent], JsonObject] | None = None
    """Makes its parameters from an upload. One intent of a platform takes uploads."""


_DECLARATION = "__symphainy_intent__"
H = TypeVar("H", bound=Handler)


def intent(intent_type: str, **declaration: Any) -> Callable[[H], H]:
    """Declare a method as the handler of `intent_type`. Further arguments are the fields of `IntentDeclaration`."""
    declared = IntentDeclaration(intent_type=intent_type, **declaration)

    def mark(handler: H) -> H:
        setattr(handler, _DECLARATION, declared)
        return handler

    return mark


@dataclass(frozen=True, kw_only=True)
class Submission:
    """An intent that a saga asks the runtime to govern and run."""

    intent_type: str
    parameters: JsonObject


class SagaStep(Protocol):
    """One step of a saga. It acts on nothing: it says which intent the runtime is to submit.

    `context` is `{"parameters": {...}, "results": {step name: result}}` as the saga stands.
    """

    @property
    def name(self) -> str: ...

    @property
    def intent_type(self) -> str: ...

    @property
    def required(self) -> bool:
        """Whether its failure ends the saga and undoes the steps before it.

        Otherwise it is recorded and the saga ends there.
        """

    def execute(self, context: JsonObject) -> Submission: ...

    def compensate(self, context: JsonObject) -> Submission | None:
        """What undoes it, or None when nothing has to."""


@dataclass(frozen=True, kw_only=True)
class SagaDeclaration:
    """A saga that a capability offers: submit its first intent with `metadata: {"saga": name}` and it runs to its
    end.
    """

    name: str
    steps: tuple[SagaStep, ...]


@dataclass(frozen=True, kw_only=True)
class BoundIntent:
    """A declaration with its handler and the models read from its signature."""

    declaration: IntentDeclaration
    handler: Handler
    parameters: type[BaseModel]
    description: str


class Capability:
    """Base of every capability. Constructed at boot; holds no state of its own between executions."""

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    sagas: ClassVar[tuple[SagaDeclaration, ...]] = ()

    def __init__(self, *, public_works: PublicWorks, state_surface: StateSurface | None = None) -> None:
        self.public_works = public_works
        self.state_surface = state_surface

    @property
    def clock(self) -> Clock:
        return self.public_works.clock

    async def start(self) -> None:
        """Called once when the platform has its stores. Failing here fails the boot."""

    async def probe(self) -> Probe:
        """Whether it can do its work now."""
        return Probe(status="ok", detail=f"{len(self.intents())} intents registered")

    def intents(self) -> tuple[BoundIntent, ...]:
        """Every `@intent` method. Raises `StartupFailed` when a signature does not fit."""
        found = []
        for name, member in inspect.getmembers(type(self), inspect.isfunction):
            declared: IntentDeclaration | None = getattr(member, _DECLARATION, None)
            if declared is not None:
                found.append(
                    BoundIntent(
                        declaration=declared,
                        handler=getattr(self, name),
                        parameters=_parameters_model(type(self).__name__, name, member),
                        description=inspect.cleandoc(member.__doc__ or ""),
                    )
                )
        return tuple(found)


def _parameters_model(owner: str, name: str, handler: Callable[..., Any]) -> type[BaseModel]:
    shape = f"async def {name}(self, ctx: ExecutionContext, params: SomeModel) -> IntentResult"
    remedy = f"Write it as: {shape}"
    if not inspect.iscoroutinefunction(handler):
        raise StartupFailed(f"{owner}.{name} is not an async function", service=owner, remedy=remedy)
    names = list(inspect.signature(handler).parameters)
    if len(names) != 3:
        raise StartupFailed(f"{owner}.{name} takes {names}", service=owner, remedy=remedy)
    hints = get_type_hints(handler)
    model = hints.get(names[2])
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise StartupFailed(
            f"{owner}.{name}: {names[2]} is annotated {model!r}, not a pydantic model",
            service=owner,
            remedy=remedy,
        )
    if hints.get("return") is not IntentResult:
        raise StartupFailed(
            f"{owner}.{name} returns {hints.get('return')!r}, not IntentResult", service=owner, remedy=remedy
        )
    return model
