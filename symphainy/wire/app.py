"""A service as a FastAPI application: its operations as routes, its document, its page, its edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.types import Receive, Scope, Send

from symphainy import __version__
from symphainy.door import Door
from symphainy.errors import Denied, Invalid, NotFound, SymphainyError
from symphainy.model import JsonObject
from symphainy.wire.callers import Arrival, entered
from symphainy.wire.docs import CONTENT_SECURITY_POLICY, docs_page
from symphainy.wire.edge import AccessLog, Edge, random_request_id
from symphainy.wire.openapi import openapi_document
from symphainy.wire.operations import (
    HEADERS_KEY,
    REQUEST_ID_KEY,
    ROUTE_KEY,
    Access,
    Call,
    Operation,
    Service,
    Success,
    resources,
)
from symphainy.wire.problems import MethodNotAllowed
from symphainy.wire.replies import Answer, Reply, encode
from symphainy.wire.schemas import Query, query_of
from symphainy.wire.streams import TRY_LATER, StreamSocket

EXPOSED_HEADERS = (
    *("Content-Range", "ETag", "Idempotency-Replayed", "Location", "Preference-Applied", "Retry-After"),
    *("WWW-Authenticate", "X-Request-Id"),
)
ALLOWED_HEADERS = (
    *("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "If-Range", "Last-Event-ID"),
    *("Prefer", "Range", "X-Request-Id"),
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Pages:
    """The document and its page, each made when somebody first asks for it."""

    def __init__(self, make: Callable[[], JsonObject]) -> None:
        self._make = make

    @cached_property
    def document(self) -> JsonObject:
        return self._make()

    @cached_property
    def _document_bytes(self) -> bytes:
        return encode(self.document)

    @cached_property
    def _page(self) -> bytes:
        return docs_page(self.document)

    def operations(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path="/openapi.json",
                handler=self.openapi_json,
                tag="platform",
                summary="This document",
                access=Access.PUBLIC,
                query=None,
                answers={200: Success(description="OpenAPI 3.1.", schema=dict[str, Any])},
            ),
            Operation(
                method="GET",
                path="/docs",
                handler=self.docs,
                tag="platform",
                summary="This document, for reading",
                access=Access.PUBLIC,
                query=None,
                answers={200: Success(description="A page.", media_types=("text/html",))},
            ),
        ]

    async def openapi_json(self, call: Call) -> Answer:
        return Reply(200, self._document_bytes)

    async def docs(self, call: Call) -> Answer:
        return Reply(
            200,
            self._page,
            media_type=b"text/html; charset=utf-8",
            headers=[(b"content-security-policy", CONTENT_SECURITY_POLICY), (b"referrer-policy", b"no-referrer")],
        )


class ServiceApp(FastAPI):
    """The application of one service. `service.drain()` ends its streams and lets nothing new in."""

    def __init__(self, service: Service, pages: Pages, routes: Sequence[BaseRoute], **rest: Any) -> None:
        self.service = service
        self._pages = pages
        super().__init__(
            routes=list(routes),
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers={HTTPException: _as_problem},
            # Boot traces requests where a collector is configured; twice would be once too often.
            telemetry={"tracing": False, "metrics": False, "logs": False},
            **rest,
        )

    def openapi(self) -> dict[str, Any]:
        return self._pages.document


def create_app(
    service: Service,
    operations: Sequence[Operation],
    *,
    title: str,
    description: str,
    token_optional: bool = False,
    also_refused: tuple[str, ...] = (),
    socket_path: str | None = None,
    access_log: AccessLog | None = None,
    new_request_id: Callable[[], str] = random_request_id,
    lifespan: Lifespan | None = None,
) -> ServiceApp:
    """`socket_path`: where executions can be followed by WebSocket, with `{execution_id}` in it."""
    pages = Pages(
        lambda: openapi_document(
            everything,
            title=title,
            version=__version__,
            description=description,
            token_optional=token_optional,
            also_refused=also_refused,
        )
    )
    everything = [*operations, *pages.operations()]
    routes: list[BaseRoute] = list(resources(service, everything))
    if socket_path is not None:
        routes.append(WebSocketRoute(socket_path, _Socket(service, socket_path)))
    app = ServiceApp(
        service, pages, routes, title=title, version=__version__, description=description, lifespan=lifespan
    )
    app.add_middleware(Edge, service=service, access_log=access_log, new_request_id=new_request_id)
    if service.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.settings.cors_origins),
            allow_methods=["GET", "POST", "PATCH"],
            allow_headers=ALLOWED_HEADERS,
            expose_headers=EXPOSED_HEADERS,
            max_age=600,
        )
    return app


class _Socket:
    """The WebSocket route: a conversation, with the caller's token in its first message."""

    def __init__(self, service: Service, path: str) -> None:
        self._service = service
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE_KEY] = self._path
        service = self._service
        if service.is_draining:
            await receive()
            await send({"type": "websocket.close", "code": TRY_LATER, "reason": "the service is shutting down"})
            return
        client = scope.get("client")

        async def enter(token: str) -> Door:
            arrival = Arrival(
                headers=scope[HEADERS_KEY],
                client=client[0] if client else None,
                token=token,
                request_id=scope[REQUEST_ID_KEY],
            )
            named = query_of(Query, scope["query_string"]).tenant_id
            return await entered(service.identify(arrival), named)

        await StreamSocket(
            receive,
            send,
            enter=enter,
            execution_id=scope["path_params"]["execution_id"],
            settings=service.settings,
            streams=service.streams,
        ).run()


async def _as_problem(connection: HTTPConnection, error: Exception) -> Response:
    """What the framework refuses by itself becomes an error of the tree, for the edge to answer."""
    assert isinstance(error, HTTPException)
    path = connection.scope["path"]
    problem: SymphainyError
    match error.status_code:
        case 404:
            problem = NotFound(f"there is nothing at {path}")
        case 405:
            allow = (error.headers or {}).get("Allow", "")
            problem = MethodNotAllowed(f"this method is not possible here; possible: {allow}", allow=allow)
        case 403:
            problem = Denied(str(error.detail))
        case status if status < 500:
            problem = Invalid(str(error.detail))
        case _:
            problem = SymphainyError(str(error.detail))
    raise problem from error
