"""The Experience SDK: the one surface that experiences use, over any door into the platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from os import PathLike
from types import TracebackType
from typing import BinaryIO, Protocol, runtime_checkable

import msgspec

from symphainy.door import (
    AnonymousSession,
    Door,
    Health,
    IntentRequest,
    OpenedContent,
    RealmInfo,
    Refusal,
)
from symphainy.errors import (
    Cancelled,
    IntentRefused,
    NotFound,
    RemoteError,
    SymphainyError,
    TenantMismatch,
    rebuild,
)
from symphainy.model import (
    Artifact,
    Event,
    Execution,
    IntentInfo,
    JsonObject,
    Page,
    PendingIntent,
    Session,
    Status,
    Submitted,
)
from symphainy.sdk.following import follow, released
from symphainy.sdk.http_door import HttpDoor
from symphainy.sdk.retry import Retry
from symphainy.sdk.sources import source_of

#: How long one request waits for an execution. It asks again until the execution has ended.
WAIT_S = 60.0


@runtime_checkable
class AnonymousSessions(Protocol):
    """Opens sessions for callers who have no token yet."""

    async def create_anonymous_session(
        self, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> AnonymousSession: ...


@runtime_checkable
class _Closable(Protocol):
    async def aclose(self) -> None: ...


class QueryState(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it stands, with the execution and the artifacts that were asked for."""

    session: Session
    execution: Execution | None = None
    artifacts: tuple[Artifact, ...] | None = None


class ExperienceSDK:
    """A `Door` with the operations that experiences think in. `tenant_id` is nowhere needed: it is only compared.

    `ExperienceSDK(door)` stands on a door that somebody else opened and closes; `ExperienceSDK.connect` opens its
    own. `anonymous` opens sessions for callers without a token, where the door itself does not.
    """

    def __init__(self, door: Door, *, anonymous: AnonymousSessions | None = None) -> None:
        self.door = door
        self._anonymous = anonymous
        self._owned: _Closable | None = None
        self._retry = door.client.retry if isinstance(door, HttpDoor) else Retry()

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        token: str | None = None,
        tenant_id: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
    ) -> ExperienceSDK:
        """Use as `async with`, or call `aclose`. Nothing is sent before the first call.

        `tenant_id` is for a Runtime in the development profile, which wants it named in place of a token.
        """
        door = HttpDoor.connect(url, token=token, tenant_id=tenant_id, retry=retry, timeout_s=timeout_s)
        sdk = cls(door)
        sdk._owned = door
        return sdk

    def with_token(self, token: str) -> ExperienceSDK:
        """The same platform as another caller, over the same connections: they close with this SDK."""
        if not isinstance(self.door, HttpDoor):
            raise TypeError("a door in process is bound to its caller; ask the platform for another door")
        return ExperienceSDK(self.door.acting_for(token=token))

    async def aclose(self) -> None:
        if self._owned is not None:
            await self._owned.aclose()

    async def __aenter__(self) -> ExperienceSDK:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- what experiences do ---------------------------------------------------------------------------------

    async def query_state(
        self,
        session_id: str,
        tenant_id: str | None = None,
        execution_id: str | None = None,
        include_artifacts: bool = False,
    ) -> QueryState:
        """Artifacts are those of the execution, or of the whole session when none is named."""
        session = await self.door.get_session(session_id)
        _same_tenant(session.tenant_id, tenant_id)
        execution = None
        artifacts: tuple[Artifact, ...] | None = None
        if execution_id is not None:
            execution = await self.door.get_execution(execution_id)
            if execution.session_id != session_id:
                raise NotFound(f"no execution {execution_id} in session {session_id}")
            if include_artifacts:
                artifacts = await self.door.execution_artifacts(execution_id)
        elif include_artifacts:
            artifacts = tuple([artifact async for artifact in self._artifacts_of(session_id)])
        return QueryState(session=session, execution=execution, artifacts=artifacts)

    async def invoke_intent(
        self,
        intent_type: str,
        parameters: JsonObject | None = None,
        *,
        session_id: str,
        tenant_id: str | None = None,
        solution_id: str = "default",
        metadata: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> Submitted:
        """Returns when the intent is on disk, before its handler has run. Over HTTP it is sent under one idempotency
        key however often it has to be sent, so it never runs twice.
        """
        return await self.door.submit(
            IntentRequest(
                intent_type=intent_type,
                session_id=session_id,
                parameters=parameters or {},
                tenant_id=tenant_id,
                solution_id=solution_id,
                metadata=metadata or {},
                idempotency_key=idempotency_key,
            )
        )

    async def subscribe(
        self, execution_id: str, tenant_id: str | None = None, after: int | None = None
    ) -> AsyncGenerator[Event, None]:
        """Every event once and in order, up to the terminal one, across any number of cut connections.

        Without `after` a `snapshot` comes first; with it, what came after that `seq`. Where no stream can be had, a
        `stream.polling` event says so and why, and from there on snapshots tell what the status shows.
        """
        async with released(follow(self.door, execution_id, after=after, retry=self._retry)) as events:
            async for event in events:
                _same_tenant(event.tenant_id, tenant_id)
                yield event

    async def run(
        self,
        intent_type: str,
        parameters: JsonObject | None = None,
        *,
        session_id: str,
        tenant_id: str | None = None,
        solution_id: str = "default",
        metadata: JsonObject | None = None,
        idempotency_key: str | None = None,
    ) -> Execution:
        """The completed execution. Raises what it failed with; `execution_id` is among the error's details."""
        submitted = await self.invoke_intent(
            intent_type,
            parameters,
            session_id=session_id,
            tenant_id=tenant_id,
            solution_id=solution_id,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        while True:
            execution = await self.door.wait(submitted.execution_id, timeout_s=WAIT_S)
            if execution.status.is_terminal:
                return completed(execution)

    # --- sessions ---------------------------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        user_id: str | None = None,
        solution_id: str = "default",
        context: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> Session:
        return await self.door.create_session(
            user_id=user_id, solution_id=solution_id, context=context, metadata=metadata
        )

    async def create_anonymous_session(
        self, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> AnonymousSession:
        """A session with a token that opens this one only: go on with `with_token`."""
        # Looked at here and not when the SDK is made: services make one a request, and this check is slow.
        opener = self._anonymous or self.door
        if not isinstance(opener, AnonymousSessions):
            raise TypeError("this door opens no anonymous sessions; hand the SDK `anonymous`")
        return await opener.create_anonymous_session(context=context, metadata=metadata)

    async def get_session(self, session_id: str) -> Session:
        return await self.door.get_session(session_id)

    async def update_session(
        self, session_id: str, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> Session:
        """Merged into what is there (RFC 7396: null removes)."""
        return await self.door.update_session(session_id, context=context, metadata=metadata)

    async def close_session(self, session_id: str) -> Session:
        return await self.door.close_session(session_id)

    # --- intents ----------------------------------------------------------------------------------------------

    async def list_intents(self) -> tuple[IntentInfo, ...]:
        return await self.door.list_intents()

    async def get_intent(self, intent_type: str) -> IntentInfo:
        return await self.door.get_intent(intent_type)

    async def list_realms(self) -> tuple[RealmInfo, ...]:
        return await self.door.list_realms()

    async def submit(self, request: IntentRequest) -> Submitted:
        """`invoke_intent` with the request as one value."""
        return await self.door.submit(request)

    async def submit_batch(self, requests: Sequence[IntentRequest]) -> tuple[Submitted | Refusal, ...]:
        """One answer a request, in order."""
        return await self.door.submit_batch(requests)

    async def create_pending(
        self,
        *,
        intent_type: str,
        target_artifact_id: str,
        session_id: str,
        parameters: JsonObject | None = None,
    ) -> PendingIntent:
        """Queue work for a person to start."""
        return await self.door.create_pending(
            intent_type=intent_type,
            target_artifact_id=target_artifact_id,
            session_id=session_id,
            parameters=parameters,
        )

    async def list_pending(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        target_artifact_id: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[PendingIntent]:
        """Newest first."""
        return await self.door.list_pending(
            session_id=session_id,
            intent_type=intent_type,
            target_artifact_id=target_artifact_id,
            status=status,
            limit=limit,
            cursor=cursor,
        )

    # --- executions -------------------------------------------------------------------------------------------

    async def get_execution(
        self, execution_id: str, *, include_artifacts: bool = False, include_steps: bool = False
    ) -> Execution:
        return await self.door.get_execution(
            execution_id, include_artifacts=include_artifacts, include_steps=include_steps
        )

    async def execution_artifacts(self, execution_id: str) -> tuple[Artifact, ...]:
        """The full records of what the execution registered."""
        return await self.door.execution_artifacts(execution_id)

    async def wait(self, execution_id: str, *, timeout_s: float) -> Execution:
        """The execution, as soon as it is terminal or after `timeout_s`."""
        return await self.door.wait(execution_id, timeout_s=timeout_s)

    async def list_executions(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Execution]:
        """Newest first."""
        return await self.door.list_executions(
            session_id=session_id, intent_type=intent_type, status=status, limit=limit, cursor=cursor
        )

    async def cancel(self, execution_id: str, *, reason: str | None = None) -> Execution:
        """Raises `Conflict` when the execution has ended."""
        return await self.door.cancel(execution_id, reason=reason)

    def stream(self, execution_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """The door's own stream: as `subscribe`, without the fall-back to the status."""
        return self.door.stream(execution_id, after=after)

    # --- artifacts --------------------------------------------------------------------------------------------

    async def resolve_artifact(self, artifact_id: str) -> Artifact:
        return await self.door.resolve_artifact(artifact_id)

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
    ) -> Page[Artifact]:
        """Newest first. `eligible_for` names the intent that is to work on them."""
        return await self.door.list_artifacts(
            artifact_type=artifact_type,
            lifecycle_state=lifecycle_state,
            session_id=session_id,
            parent_artifact_id=parent_artifact_id,
            eligible_for=eligible_for,
            limit=limit,
            cursor=cursor,
        )

    async def open_artifact(
        self,
        artifact_id: str,
        *,
        materialization_id: str | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> OpenedContent:
        """The bytes `[start, stop)`, to be read once from `chunks`."""
        return await self.door.open_artifact(artifact_id, materialization_id=materialization_id, start=start, stop=stop)

    async def artifact_lineage(self, artifact_id: str, *, direction: str = "both") -> JsonObject:
        """`{nodes, edges}`; `direction` is `up`, `down` or `both`."""
        return await self.door.artifact_lineage(artifact_id, direction=direction)

    async def upload(
        self,
        source: str | PathLike[str] | BinaryIO | AsyncIterator[bytes],
        *,
        session_id: str,
        filename: str | None = None,
        media_type: str | None = None,
        parameters: JsonObject | None = None,
        metadata: JsonObject | None = None,
        idempotency_key: str | None = None,
        progress: Callable[[int, int | None], None] | None = None,
    ) -> Submitted:
        """Stream a file in: a path, an open binary file, or chunks, which want a `filename`.

        `progress` is told the bytes sent so far, and how many there are where that is known; it starts anew when the
        file has to be sent again, which chunks cannot.
        """
        chunks = source_of(source, filename=filename, progress=progress)
        await chunks.open()
        try:
            return await self.door.upload(
                chunks,
                filename=chunks.filename,
                media_type=media_type,
                session_id=session_id,
                parameters=parameters,
                metadata=metadata,
                idempotency_key=idempotency_key,
            )
        finally:
            await chunks.aclose()

    # --- the platform -----------------------------------------------------------------------------------------

    async def wal_events(
        self,
        *,
        session_id: str | None = None,
        execution_id: str | None = None,
        event_type: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Page[Event]:
        """Chronological; `after` is a position in the tenant's log."""
        return await self.door.wal_events(
            session_id=session_id,
            execution_id=execution_id,
            event_type=event_type,
            after=after,
            limit=limit,
        )

    async def enter(self, tenant_id: str) -> None:
        await self.door.enter(tenant_id)

    async def health(self) -> Health:
        return await self.door.health()

    async def _artifacts_of(self, session_id: str) -> AsyncIterator[Artifact]:
        cursor: str | None = None
        while True:
            page = await self.door.list_artifacts(session_id=session_id, limit=500, cursor=cursor)
            for artifact in page.items:
                yield artifact
            if page.next_cursor is None:
                return
            cursor = page.next_cursor


def completed(execution: Execution) -> Execution:
    """An execution that has ended, when it completed. Otherwise raises what it failed with."""
    if execution.status is Status.COMPLETED:
        return execution
    raise failure_of(execution)


def failure_of(execution: Execution) -> SymphainyError:
    """What an execution failed with, as an error; `execution_id` is among its details."""
    own = {"execution_id": execution.execution_id}
    if execution.error is None:
        return Cancelled(f"{execution.intent_type} {execution.execution_id} was cancelled", **own)
    error = execution.error
    rebuilt = rebuild(error.code, error.message, {"retryable": error.retryable} | error.details | own)
    if isinstance(rebuilt, RemoteError):
        # A code that is nobody's but the handler's.
        return IntentRefused(error.code, error.message, error.details | own, retryable=error.retryable)
    return rebuilt


def _same_tenant(actual: str, named: str | None) -> None:
    if named is not None and named != actual:
        raise TenantMismatch(f"this is of tenant {actual}, not of {named}")
