"""Experience over HTTP: the one public address, port 8001. Every operation goes through the Experience SDK."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from symphainy import __version__
from symphainy.door import AnonymousSession, Check, Health
from symphainy.errors import SymphainyError, Unreachable
from symphainy.experience.auth import Bearers, Forwarded
from symphainy.model import JsonObject
from symphainy.sdk import HttpDoor
from symphainy.sdk.retry import NEVER
from symphainy.wire.app import ServiceApp, create_app
from symphainy.wire.callers import DoorFor, Verify
from symphainy.wire.edge import AccessLog, random_request_id
from symphainy.wire.operations import AskHealth, OpenAnonymous, Service
from symphainy.wire.routes import CREATE_ANONYMOUS_SESSION, SHARED
from symphainy.wire.settings import EdgeSettings

TITLE = "Symphainy Experience Plane"
DESCRIPTION = (
    "Open a session, submit typed intents, follow their executions, read their artifacts. "
    "Every call carries a token, and acts in the token's tenant."
)
SOCKET_PATH = "/api/execution/{execution_id}/stream"
#: What an answer of the Runtime that this version does not understand becomes.
RUNTIME_CODES = ("unexpected_answer",)


class ExperienceService:
    """With `runtime_url` it reaches the Runtime there over HTTP and forwards each caller's token, which the Runtime
    verifies (and `verify`, where given, before it). With `door_for`, `verify` and `health` it stands on a Runtime in
    this process. `anonymous` opens anonymous sessions; a Runtime that is reached by address opens them itself.
    """

    def __init__(
        self,
        runtime_url: str | None = None,
        *,
        door_for: DoorFor | None = None,
        verify: Verify | None = None,
        health: AskHealth | None = None,
        anonymous: OpenAnonymous | None = None,
        settings: EdgeSettings | None = None,
        access_log: AccessLog | None = None,
        new_request_id: Callable[[], str] = random_request_id,
    ) -> None:
        self._runtime: HttpDoor | None = None
        if runtime_url is not None:
            # The caller has a retry of its own: two in a row would multiply.
            self._runtime = HttpDoor.connect(runtime_url, retry=NEVER)
            self._identify: Bearers | Forwarded = Forwarded(self._runtime, verify)
            self._health: AskHealth = self._runtime_health
            self._anonymous: OpenAnonymous | None = anonymous or self._runtime_anonymous
        else:
            if door_for is None or verify is None or health is None:
                raise TypeError("ExperienceService needs runtime_url, or door_for, verify and health")
            self._identify = Bearers(verify, door_for)
            self._health = health
            self._anonymous = anonymous
        self._settings = settings or EdgeSettings()
        self._access_log = access_log
        self._new_request_id = new_request_id

    def create_app(self) -> ServiceApp:
        service = Service(
            identify=self._identify, health=self._health, settings=self._settings, anonymous=self._anonymous
        )
        anonymous = () if self._anonymous is None else (CREATE_ANONYMOUS_SESSION,)
        return create_app(
            service,
            (*SHARED, *anonymous),
            title=TITLE,
            description=DESCRIPTION,
            also_refused=() if self._runtime is None else RUNTIME_CODES,
            socket_path=SOCKET_PATH,
            access_log=self._access_log,
            new_request_id=self._new_request_id,
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        yield
        if self._runtime is not None:
            await self._runtime.aclose()

    async def _runtime_anonymous(
        self, _client: str | None, context: JsonObject | None, metadata: JsonObject | None
    ) -> AnonymousSession:
        assert self._runtime is not None
        return await self._runtime.create_anonymous_session(context=context, metadata=metadata)

    async def _runtime_health(self) -> Health:
        assert self._runtime is not None
        try:
            return await self._runtime.health()
        except SymphainyError as error:
            reason = "cannot be reached" if isinstance(error, Unreachable) else "answers with something else"
            down = Check(status="down", detail=f"the Runtime {reason}", latency_ms=0.0)
            return Health(status="down", version=__version__, profile="unknown", checks={"runtime": down})
