"""The one door into the runtime, already bound to a verified caller.

Three things have this shape: the runtime's own api, the HTTP client that reaches a runtime elsewhere, and the
Experience
SDK that stands on either. Both HTTP services serve a door, which is why their routes are the same.
Every method raises the errors of `symphainy.errors`; what the caller may not see is `NotFound`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

import msgspec

from symphainy.model import (
    Artifact,
    Event,
    Execution,
    IntentInfo,
    JsonObject,
    Page,
    PendingIntent,
    Session,
    Submitted,
)
from symphainy.model.instant import Instant


class IntentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One submission. `tenant_id` is only ever compared with the caller's."""

    intent_type: str
    session_id: str
    parameters: JsonObject = {}
    tenant_id: str | None = None
    solution_id: str = "default"
    metadata: JsonObject = {}
    idempotency_key: str | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why one intent of a batch was not accepted."""

    code: str
    message: str
    details: JsonObject


class OpenedContent(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes `[start, stop)` of `size_bytes`, to be read once from `chunks`."""

    chunks: AsyncIterator[bytes]
    media_type: str
    filename: str | None
    sha256: str
    size_bytes: int
    start: int
    stop: int


class RealmInfo(msgspec.Struct, frozen=True, kw_only=True):
    realm: str
    capability: str
    description: str
    intents: tuple[str, ...]
    status: str


class Check(msgspec.Struct, frozen=True, kw_only=True):
    status: str
    detail: str
    latency_ms: float


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is `ok`, `degraded` or `down`."""

    status: str
    version: str
    profile: str
    checks: dict[str, Check]


class AnonymousSession(msgspec.Struct, frozen=True, kw_only=True):
    """A new anonymous session with the token that opens it; `expires_in` seconds."""

    session: Session
    access_token: str
    expires_in: int

    @property
    def session_id(self) -> str:
        return self.session.session_id

    @property
    def tenant_id(self) -> str:
        return self.session.tenant_id


class Door(Protocol):
    async def enter(self, tenant_id: str) -> None:
        """A request names this tenant. When it is not the caller's own: `TenantMismatch`, and it stands in the log."""

    async def create_session(
        self,
        *,
        user_id: str | None = None,
        solution_id: str = "default",
        context: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> Session: ...

    async def get_session(self, session_id: str) -> Session: ...
    async def update_session(
        self, session_id: str, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> Session: ...
    async def close_session(self, session_id: str) -> Session: ...

    async def submit(self, request: IntentRequest) -> Submitted:
        """Returns when the intent is on disk, before its handler has run."""

    async def submit_batch(self, requests: Sequence[IntentRequest]) -> tuple[Submitted | Refusal, ...]:
        """One answer a request, in order."""

    async def get_execution(
        self, execution_id: str, *, include_artifacts: bool = False, include_steps: bool = False
    ) -> Execution: ...

    async def execution_artifacts(self, execution_id: str) -> tuple[Artifact, ...]:
        """The full records of what the execution registered."""

    async def wait(self, execution_id: str, *, timeout_s: float) -> Execution:
        """The execution, as soon as it is terminal or after `timeout_s`."""

    async def list_executions(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Execution]: ...

    async def cancel(self, execution_id: str, *, reason: str | None = None) -> Execution: ...

    def stream(self, execution_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """Without `after`: a `snapshot` event, then what follows. With it: every event with a greater `seq`. Ends
        after the
        terminal event. `after` at or beyond the terminal event of an ended execution gives nothing.
        """

    async def list_intents(self) -> tuple[IntentInfo, ...]: ...
    async def get_intent(self, intent_type: str) -> IntentInfo: ...
    async def list_realms(self) -> tuple[RealmInfo, ...]: ...

    async def create_pending(
        self,
        *,
        intent_type: str,
        target_artifact_id: str,
        session_id: str,
        parameters: JsonObject | None = None,
    ) -> PendingIntent: ...
    async def list_pending(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        target_artifact_id: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[PendingIntent]: ...

    async def resolve_artifact(self, artifact_id: str) -> Artifact: ...
    async def list_artifacts(
        self,
        *,
        artifact_type: str | None = None,
        lifecycle_state: str | None = None,
        session_id: str | None = None,
        parent_artifact_id: str | None = None,
        eligible_for: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Artifact]: ...
    async def open_artifact(
        self,
        artifact_id: str,
        *,
        materialization_id: str | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> OpenedContent: ...
    async def artifact_lineage(self, artifact_id: str, *, direction: str = "both") -> JsonObject: ...

    async def upload(
        self,
        chunks: AsyncIterator[bytes],
        *,
        filename: str,
        media_type: str | None,
        session_id: str,
        parameters: JsonObject | None = None,
        metadata: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Stream bytes into the blob store and submit the intent that takes files in."""

    async def wal_events(
        self,
        *,
        session_id: str | None = None,
        execution_id: str | None = None,
        event_type: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Page[Event]: ...

    async def health(self) -> Health: ...


def execution_to_wire(execution: Execution, artifacts: Sequence[Artifact] | None = None) -> dict[str, Any]:
    """The wire form: without what is internal (`ordinal`, `state`, `saga_id`), `steps` only when filled in.

    With `artifacts` each entry of `artifacts` becomes the full record.
    """
    out: dict[str, Any] = msgspec.to_builtins(execution)
    for internal in ("ordinal", "state", "concurrency_key", "not_before"):
        out.pop(internal)
    if out["steps"] is None:
        out.pop("steps")
    if artifacts is not None:
        full = {artifact.artifact_id: artifact_to_wire(artifact) for artifact in artifacts}
        out["artifacts"] = {name: full.get(ref["artifact_id"], ref) for name, ref in out["artifacts"].items()}
    return out


def artifact_to_wire(artifact: Artifact) -> dict[str, Any]:
    """The wire form: without the ordinal."""
    out: dict[str, Any] = msgspec.to_builtins(artifact)
    out.pop("ordinal")
    return out


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """A minted token. `expires_in` seconds."""

    access_token: str
    expires_in: int
    expires_at: Instant
