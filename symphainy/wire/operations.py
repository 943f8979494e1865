"""One operation of a service: its address, who may use it, what goes in and out, and the handler. All of it in one
place, so that routing, validation and the OpenAPI document cannot disagree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from symphainy.door import AnonymousSession, Door, Health
from symphainy.errors import NotFound, TenantMismatch
from symphainy.model import JsonObject
from symphainy.wire.bodies import expect_json, json_object, read_body
from symphainy.wire.callers import Arrival, Identify, Visitor, bearer_token, entered
from symphainy.wire.development import DevelopmentOnly
from symphainy.wire.problems import MethodNotAllowed
from symphainy.wire.replies import Answer
from symphainy.wire.schemas import Query, query_of, validated
from symphainy.wire.settings import EdgeSettings
from symphainy.wire.streams import OpenStreams

M = TypeVar("M", bound=BaseModel)

HEADERS_KEY = "symphainy.headers"
REQUEST_ID_KEY = "symphainy.request_id"
ROUTE_KEY = "symphainy.route"
#: Larger bodies are parsed in a thread: the event loop has others to serve.
PARSE_INLINE_BYTES_MAX = 64 * 1024
PATH_ID_CHARS_MAX = 200

OpenAnonymous: TypeAlias = Callable[[str | None, JsonObject | None, JsonObject | None], Awaitable[AnonymousSession]]
"""(address of the client, context, metadata) → a new anonymous session and its token."""
AskHealth: TypeAlias = Callable[[], Awaitable[Health]]


class Access(StrEnum):
    """Who may use an operation: anybody, or visitors who have been identified."""

    PUBLIC = "public"
    IDENTIFIED = "identified"


class Service:
    """What the operations of one service share."""

    def __init__(
        self,
        *,
        identify: Identify,
        health: AskHealth,
        settings: EdgeSettings,
        anonymous: OpenAnonymous | None = None,
        refuses_development_parameters: bool = True,
        users_may_be_named: bool = False,
    ) -> None:
        """`users_may_be_named`: a new session may say whose it is. Otherwise the token alone does."""
        self.identify = identify
        self.health = health
        self.settings = settings
        self.anonymous = anonymous
        self.streams = OpenStreams()
        self.is_draining = False
        self.users_may_be_named = users_may_be_named
        self.development_only = DevelopmentOnly() if refuses_development_parameters else None

    def drain(self) -> None:
        """Let nothing new in and end every stream: their clients come back to whoever serves next."""
        self.is_draining = True
        self.streams.close()


class Call:
    """One request, as a handler sees it. `door` is bound to the caller; public operations have none."""

    __slots__ = ("_body", "_door", "_query", "_visitor", "headers", "params", "receive", "scope", "service")

    def __init__(self, service: Service, scope: Scope, receive: Receive) -> None:
        self.service = service
        self.scope = scope
        self.receive = receive
        self.headers: dict[bytes, bytes] = scope[HEADERS_KEY]
        self.params: Mapping[str, str] = scope.get("path_params", {})
        self._door: Door | None = None
        self._body: BaseModel | None = None
        self._query: Query | None = None
        self._visitor: Visitor | None = None

    @property
    def door(self) -> Door:
        assert self._door is not None, "nobody has been identified"
        return self._door

    @property
    def request_id(self) -> str:
        value: str = self.scope[REQUEST_ID_KEY]
        return value

    @property
    def path(self) -> str:
        value: str = self.scope["path"]
        return value

    @property
    def client(self) -> str | None:
        """The address at the other end of the connection."""
        client = self.scope.get("client")
        return None if client is None else client[0]

    def body(self, model: type[M]) -> M:
        assert isinstance(self._body, model)
        return self._body

    def query(self, model: type[M]) -> M:
        assert isinstance(self._query, model)
        return self._query

    def id(self, name: str) -> str:
        """An id from the path. One that nothing can have is answered like one that nothing has."""
        value = self.params[name]
        if len(value) > PATH_ID_CHARS_MAX:
            raise NotFound(f"there is no {name} like that")
        return value

    def identify(self) -> None:
        """Raises `Unauthenticated`."""
        self._visitor = self.service.identify(
            Arrival(
                headers=self.headers,
                client=self.client,
                token=bearer_token(self.headers),
                request_id=self.request_id,
            )
        )

    def take(self, query: Query | None, body: BaseModel | None) -> None:
        self._query, self._body = query, body

    async def enter(self, named_in_body: str | None) -> Door:
        """Bind the door, now that it is known which tenant the request names. Raises `TenantMismatch`."""
        assert self._visitor is not None
        named_in_query = None if self._query is None else self._query.tenant_id
        if named_in_query is not None and named_in_body is not None and named_in_query != named_in_body:
            raise TenantMismatch(f"the query names tenant {named_in_query!r}, the body {named_in_body!r}")
        self._door = await entered(self._visitor, named_in_body if named_in_query is None else named_in_query)
        return self._door


Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class EachOneOf:
    """A list in which each item is of one of these types."""

    kinds: tuple[type, ...]


@dataclass(frozen=True, kw_only=True)
class RequestHeader:
    """A request header that matters. `pattern` is what its value must look like."""

    description: str
    pattern: str | None = None


@dataclass(frozen=True, kw_only=True)
class Link:
    """Where one can go on from an answer: an operation, and which members of the answer's body it takes."""

    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    """Path parameter → member of the answer."""
    body: Mapping[str, str] = field(default_factory=dict)
    """Member of the next body → member of the answer."""


@dataclass(frozen=True, kw_only=True)
class Success:
    """One good answer. `schema` is a type, `EachOneOf`, or None for what is no JSON; `headers` are those of its own."""

    description: str
    schema: Any = None
    example: Any = None
    media_types: tuple[str, ...] = ("application/json",)
    headers: Mapping[str, str] = field(default_factory=dict)
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    method: str
    path: str
    handler: Handler
    summary: str
    description: str = ""
    tag: str
    answers: Mapping[int, Success]
    refusals: tuple[str, ...] = ()
    """Codes it may be refused with, beyond those that every operation of its kind may."""
    access: Access = Access.IDENTIFIED
    body: type[BaseModel] | None = None
    body_example: Any = None
    form: JsonObject | None = None
    """The schema of a multipart form. The handler reads it, and enters when it knows the tenant."""
    query: type[Query] | None = Query
    headers: Mapping[str, RequestHeader] = field(default_factory=dict)
    head: bool = True
    """Whether a GET also answers HEAD."""

    @property
    def name(self) -> str:
        return self.handler.__name__

    async def run(self, service: Service, scope: Scope, receive: Receive) -> Answer:
        call = Call(service, scope, receive)
        if self.access is Access.PUBLIC:
            call.take(None, await self._read_body(call))
            return await self.handler(call)
        # Who asks comes first: nobody learns from an error what a body should have looked like.
        call.identify()
        query = None if self.query is None else query_of(self.query, scope["query_string"])
        if self.form is not None:
            call.take(query, None)
            return await self.handler(call)
        body = await self._read_body(call)
        call.take(query, body)
        await call.enter(getattr(body, "tenant_id", None))
        return await self.handler(call)

    async def _read_body(self, call: Call) -> BaseModel | None:
        if self.body is None:
            return None
        settings = call.service.settings
        data = await read_body(
            call.receive, call.headers, bytes_max=settings.body_bytes_max, deadline_s=settings.body_deadline_s
        )
        if not data:
            return validated(self.body, {})
        expect_json(call.headers)
        if len(data) > PARSE_INLINE_BYTES_MAX:
            value = await asyncio.to_thread(json_object, data)
        else:
            value = json_object(data)
        return validated(self.body, value)


class Resource(Route):
    """All operations at one address. Any other method there is answered with 405, and so is no other route asked."""

    def __init__(self, service: Service, operations: Sequence[Operation]) -> None:
        self._service = service
        self._operations = {operation.method: operation for operation in operations}
        first = operations[0]
        self._is_static = "{" not in first.path
        super().__init__(first.path, self._serve, methods=[*self._operations], name=first.name)
        get = self._operations.get("GET")
        if get is not None and get.head:
            self._operations["HEAD"] = get
        self.methods = set(self._operations)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        path = scope["path"]
        root = scope.get("root_path", "")
        if root:
            path = path.removeprefix(root)
        if self._is_static:
            return (Match.FULL, {"path_params": {}}) if path == self.path else (Match.NONE, {})
        found = self.path_regex.match(path)
        return (Match.FULL, {"path_params": found.groupdict()}) if found else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE_KEY] = self.path
        operation = self._operations.get(scope["method"])
        if operation is None:
            allow = ", ".join(sorted(self._operations))
            raise MethodNotAllowed(f"{scope['method']} is not possible here; possible: {allow}", allow=allow)
        answer = await operation.run(self._service, scope, receive)
        await answer(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.handle(scope, receive, send)


def resources(service: Service, operations: Sequence[Operation]) -> list[Resource]:
    """One route an address: those without parameters first, since `create` is no session id."""
    by_path: dict[str, list[Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, []).append(operation)
    return [Resource(service, by_path[path]) for path in sorted(by_path, key=lambda path: "{" in path)]
