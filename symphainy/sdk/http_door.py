"""The door of a platform elsewhere, reached over HTTP."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress

from symphainy.door import (
    AnonymousSession,
    Health,
    IntentRequest,
    OpenedContent,
    RealmInfo,
    Refusal,
)
from symphainy.errors import SymphainyError
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
from symphainy.model.json import canonical
from symphainy.sdk.download import Download
from symphainy.sdk.following import follow, released
from symphainy.sdk.multipart import Multipart
from symphainy.sdk.retry import Attempts, Retry
from symphainy.sdk.runtime_client import RuntimeClient, present

#: Events whose `seq` says where the stream stands, not that something new happened.
_RESTARTS = ("snapshot", "stream.gap")


class HttpDoor:
    """A `Door`. Use as an async context manager, or call `aclose`."""

    def __init__(self, client: RuntimeClient) -> None:
        self.client = client

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        token: str | None = None,
        tenant_id: str | None = None,
        retry: Retry | None = None,
        timeout_s: float = 30.0,
    ) -> HttpDoor:
        """A door of its own connections; nothing is sent yet."""
        return cls(RuntimeClient(url, token=token, tenant_id=tenant_id, retry=retry, timeout_s=timeout_s))

    def acting_for(
        self, *, token: str | None, tenant_id: str | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpDoor:
        """The same connections for another caller. Closing it closes nothing."""
        return HttpDoor(self.client.acting_for(token=token, tenant_id=tenant_id, headers=headers))

    async def aclose(self) -> None:
        await self.client.aclose()

    async def __aenter__(self) -> HttpDoor:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # --- sessions --------------------------------------------------------------------------------------

    async def create_session(
        self,
        *,
        user_id: str | None = None,
        solution_id: str = "default",
        context: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> Session:
        return await self.client.create_session(
            user_id=user_id, solution_id=solution_id, context=context, metadata=metadata
        )

    async def create_anonymous_session(
        self, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> AnonymousSession:
        return await self.client.create_anonymous_session(context=context, metadata=metadata)

    async def get_session(self, session_id: str) -> Session:
        return await self.client.get_session_state(session_id)

    async def update_session(
        self, session_id: str, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> Session:
        return await self.client.update_session(session_id, context=context, metadata=metadata)

    async def close_session(self, session_id: str) -> Session:
        return await self.client.close_session(session_id)

    # --- intents and executions ------------------------------------------------------------------------

    async def submit(self, request: IntentRequest) -> Submitted:
        return await self.client.submit_intent(request, idempotency_key=request.idempotency_key or _new_key())

    async def submit_batch(self, requests: Sequence[IntentRequest]) -> tuple[Submitted | Refusal, ...]:
        return await self.client.submit_batch(requests, idempotency_key=_new_key())

    async def get_execution(
        self, execution_id: str, *, include_artifacts: bool = False, include_steps: bool = False
    ) -> Execution:
        # An execution names its artifacts either way; `execution_artifacts` gives the full records.
        return await self.client.get_execution_status(execution_id, include_steps=include_steps)

    async def execution_artifacts(self, execution_id: str) -> tuple[Artifact, ...]:
        return await self.client.get_execution_artifacts(execution_id)

    async def wait(self, execution_id: str, *, timeout_s: float) -> Execution:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async with released(follow(self, execution_id, retry=self.client.retry)) as events:
                    async for _ in events:
                        pass
        return await self.get_execution(execution_id)

    async def list_executions(
        self,
        *,
        session_id: str | None = None,
        intent_type: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Execution]:
        return await self.client.list_executions(
            present(session_id=session_id, intent_type=intent_type, status=status, limit=limit, cursor=cursor)
        )

    async def cancel(self, execution_id: str, *, reason: str | None = None) -> Execution:
        return await self.client.cancel_execution(execution_id, reason=reason)

    async def stream(self, execution_id: str, *, after: int | None = None) -> AsyncIterator[Event]:
        """Reconnects with the last seen `seq`. Raises `Unreachable` when that brought nothing several times."""
        attempts = Attempts(self.client.retry)
        seen = after
        while True:
            try:
                async with released(self.client.stream_execution(execution_id, after=seen)) as events:
                    async for event in events:
                        if event.seq is None or event.event_type in _RESTARTS or event.seq > (seen or 0):
                            seen = seen if event.seq is None or event.event_type == "stream.gap" else event.seq
                            attempts = Attempts(self.client.retry)
                            yield event
                return
            except SymphainyError as fault:
                if not fault.retryable:
                    raise
                cut = fault
            await attempts.after(cut)

    async def list_intents(self) -> tuple[IntentInfo, ...]:
        return await self.client.get_intents()

    async def get_intent(self, intent_type: str) -> IntentInfo:
        return await self.client.get_intent(intent_type)

    async def list_realms(self) -> tuple[RealmInfo, ...]:
        return await self.client.get_realms()

    async def create_pending(
        self,
        *,
        intent_type: str,
        target_artifact_id: str,
        session_id: str,
        parameters: JsonObject | None = None,
    ) -> PendingIntent:
        return await self.client.create_pending(
            present(
                intent_type=intent_type,
                target_artifact_id=target_artifact_id,
                session_id=session_id,
                parameters=parameters,
            )
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
        return await self.client.list_pending(
            present(
                session_id=session_id,
                intent_type=intent_type,
                target_artifact_id=target_artifact_id,
                status=status,
                limit=limit,
                cursor=cursor,
            )
        )

    # --- artifacts -------------------------------------------------------------------------------------

    async def resolve_artifact(self, artifact_id: str) -> Artifact:
        return await self.client.resolve_artifact(artifact_id)

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
        return await self.client.list_artifacts(
            present(
                artifact_type=artifact_type,
                lifecycle_state=lifecycle_state,
                session_id=session_id,
                parent_artifact_id=parent_artifact_id,
                eligible_for=eligible_for,
                limit=limit,
                cursor=cursor,
            )
        )

    async def open_artifact(
        self,
        artifact_id: str,
        *,
        materialization_id: str | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> OpenedContent:
        download = await Download.begin(
            self.client, artifact_id, materialization_id=materialization_id, start=start, stop=stop
        )
        return download.opened()

    async def artifact_lineage(self, artifact_id: str, *, direction: str = "both") -> JsonObject:
        return await self.client.artifact_lineage(artifact_id, direction=direction)

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
        """Tried again from the beginning when `chunks` can be rewound (`Rewindable`)."""
        fields = {"session_id": session_id}
        if parameters is not None:
            fields["parameters"] = canonical(parameters).decode()
        if metadata is not None:
            fields["metadata"] = canonical(metadata).decode()
        form = Multipart(fields, chunks, filename=filename, media_type=media_type)
        return await self.client.upload(form, idempotency_key=idempotency_key or _new_key())

    # --- the platform ----------------------------------------------------------------------------------

    async def wal_events(
        self,
        *,
        session_id: str | None = None,
        execution_id: str | None = None,
        event_type: str | None = None,
        after: int = 0,
        limit: int = 50,
    ) -> Page[Event]:
        return await self.client.wal_events(
            present(
                session_id=session_id,
                execution_id=execution_id,
                event_type=event_type,
                after=after,
                limit=limit,
            )
        )

    async def enter(self, tenant_id: str) -> None:
        if tenant_id != self.client.tenant_id:
            # Asked on the other side, where a refusal is put on record: any request that names the tenant will do.
            await self.client.naming(tenant_id).get_realms()

    async def health(self) -> Health:
        return await self.client.health()


def _new_key() -> str:
    return uuid.uuid4().hex
