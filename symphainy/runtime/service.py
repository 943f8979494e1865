"""The Runtime over HTTP: internal, port 8000. The same operations as Experience, the older paths, and the metrics.

In the development profile it also serves callers on this machine who bring no token: they name `tenant_id` on every
call and act as that tenant's developer. In production everybody brings a token.
"""

from __future__ import annotations

from collections.abc import Callable

from symphainy.errors import Unauthenticated
from symphainy.wire.app import ServiceApp, create_app
from symphainy.wire.callers import (
    Arrival,
    DoorFor,
    KnownCaller,
    LoopbackDeveloper,
    Verify,
    Visitor,
    is_from_this_machine,
)
from symphainy.wire.edge import AccessLog, random_request_id
from symphainy.wire.operations import Access, AskHealth, Call, OpenAnonymous, Operation, Service, Success
from symphainy.wire.replies import Answer, Reply
from symphainy.wire.routes import CREATE_ANONYMOUS_SESSION, FIRST_PUBLISHED, SHARED
from symphainy.wire.settings import EdgeSettings

TITLE = "Symphainy Runtime"
DESCRIPTION = (
    "The execution authority. Internal: people and programs use Experience, which has the same operations. "
    "In the development profile a caller on this machine needs no token and names `tenant_id` on every call instead."
)
METRICS_MEDIA_TYPE = b"text/plain; version=1.0.0; charset=utf-8"


class RuntimeService:
    """`verify` turns a token into a caller. `metrics` gives the Prometheus text. `anonymous` opens anonymous sessions.

    Without `development` no call is served without a token, and parameters that are for development are refused.
    """

    def __init__(
        self,
        *,
        door_for: DoorFor,
        health: AskHealth,
        verify: Verify,
        development: bool,
        metrics: Callable[[], bytes],
        anonymous: OpenAnonymous | None = None,
        settings: EdgeSettings | None = None,
        access_log: AccessLog | None = None,
        new_request_id: Callable[[], str] = random_request_id,
    ) -> None:
        self._door_for = door_for
        self._health = health
        self._verify = verify
        self._development = development
        self._metrics = metrics
        self._anonymous = anonymous
        self._settings = settings or EdgeSettings()
        self._access_log = access_log
        self._new_request_id = new_request_id

    def create_app(self) -> ServiceApp:
        service = Service(
            identify=self._identify,
            health=self._health,
            settings=self._settings,
            anonymous=self._anonymous,
            refuses_development_parameters=not self._development,
            users_may_be_named=True,
        )
        anonymous = () if self._anonymous is None else (CREATE_ANONYMOUS_SESSION,)
        metrics = Operation(
            method="GET",
            path="/metrics",
            handler=self._serve_metrics,
            tag="platform",
            summary="Counters, for Prometheus",
            access=Access.PUBLIC,
            query=None,
            answers={200: Success(description="Prometheus text format.", media_types=("text/plain",))},
        )
        return create_app(
            service,
            (*SHARED, *anonymous, *FIRST_PUBLISHED, metrics),
            title=TITLE,
            description=DESCRIPTION,
            token_optional=self._development,
            access_log=self._access_log,
            new_request_id=self._new_request_id,
        )

    def _identify(self, arrival: Arrival) -> Visitor:
        if arrival.token is not None:
            return KnownCaller(self._verify(arrival.token), self._door_for, arrival.request_id)
        if self._development and is_from_this_machine(arrival):
            return LoopbackDeveloper(self._door_for, arrival.request_id)
        where = "only programs on this machine may come without one" if self._development else "everybody needs one"
        raise Unauthenticated(f"this needs a token (Authorization: Bearer <token>); {where}")

    async def _serve_metrics(self, call: Call) -> Answer:
        return Reply(200, self._metrics(), media_type=METRICS_MEDIA_TYPE)
