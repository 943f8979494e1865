"""Who is behind a request, from the bearer token to a door that is bound to a verified caller."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

import msgspec

from symphainy.door import Door
from symphainy.errors import FieldError, Invalid, Unauthenticated
from symphainy.model import Caller, Role, tenant_id_problem

Verify: TypeAlias = Callable[[str], Caller]
"""Turns a token into the caller it stands for. Raises `Unauthenticated`."""

DEVELOPER = "developer"


class Arrival(msgspec.Struct, frozen=True):
    """What is known of a request before anybody is identified. `token` is None when it brought none."""

    headers: dict[bytes, bytes]
    client: str | None
    """The address at the other end of the connection."""
    token: str | None
    request_id: str


class DoorFor(Protocol):
    """Opens the door for a verified caller. `request_id` goes into the record of what the caller does."""

    def __call__(self, caller: Caller, *, request_id: str | None = None) -> Door: ...


class Visitor(Protocol):
    """Whoever asks, once a token that was brought has been verified."""

    def door(self, tenant_id: str | None) -> Door:
        """The door for this visitor. `tenant_id` is what the request names: whoever asks it next is `enter`ed there."""


Identify: TypeAlias = Callable[[Arrival], Visitor]
"""Raises `Unauthenticated`."""


def bearer_token(headers: dict[bytes, bytes]) -> str | None:
    """The token of the Authorization header, or None without one. Raises `Unauthenticated` for any other scheme."""
    value = headers.get(b"authorization")
    if value is None:
        return None
    scheme, _, token = value.decode("latin-1").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or " " in token:
        raise Unauthenticated("the Authorization header must read: Bearer <token>")
    return token


def required_token(arrival: Arrival) -> str:
    if arrival.token is None:
        raise Unauthenticated("this needs a token: send the header Authorization: Bearer <token>")
    return arrival.token


class KnownCaller:
    """A visitor with a verified token: the token's tenant is the only one there is for it."""

    __slots__ = ("_caller", "_door_for", "_request_id")

    def __init__(self, caller: Caller, door_for: DoorFor, request_id: str) -> None:
        self._caller = caller
        self._door_for = door_for
        self._request_id = request_id

    def door(self, tenant_id: str | None) -> Door:
        return self._door_for(self._caller, request_id=self._request_id)


async def entered(visitor: Visitor, tenant_id: str | None) -> Door:
    """The door, once it has let the visitor into the tenant that the request names. Raises `TenantMismatch`."""
    door = visitor.door(tenant_id)
    if tenant_id is not None:
        await door.enter(tenant_id)
    return door


class LoopbackDeveloper:
    """A visitor of a Runtime in the development profile, from this machine, without a token.

    It acts as the user `developer`, with the role admin, of whatever tenant each request names.
    """

    __slots__ = ("_door_for", "_request_id")

    def __init__(self, door_for: DoorFor, request_id: str) -> None:
        self._door_for = door_for
        self._request_id = request_id

    def door(self, tenant_id: str | None) -> Door:
        if tenant_id is None:
            raise Invalid(
                "without a token the request must say for which tenant it is: name tenant_id in the body or the query",
                errors=[FieldError("/tenant_id", "required without a token")],
            )
        problem = tenant_id_problem(tenant_id)
        if problem is not None:
            raise Invalid(problem, errors=[FieldError("/tenant_id", problem)])
        caller = Caller(tenant_id=tenant_id, user_id=DEVELOPER, roles=frozenset({Role.ADMIN}))
        return self._door_for(caller, request_id=self._request_id)


def is_from_this_machine(arrival: Arrival) -> bool:
    """Whether a program on this machine is asking, and neither a page of elsewhere nor somebody behind a proxy.

    A browser on this machine runs pages of strangers: their requests come from the loopback interface as well, but
    carry an Origin, a Sec-Fetch-Site or a Host that is not this machine's.
    """
    headers = arrival.headers
    if arrival.client is None or not is_loopback(arrival.client):
        return False
    if any(name in headers for name in (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")):
        return False
    if headers.get(b"sec-fetch-site") == b"cross-site":
        return False
    origin = headers.get(b"origin")
    if origin is not None and not _names_this_machine(origin.decode("latin-1")):
        return False
    return _names_this_machine("//" + headers.get(b"host", b"localhost").decode("latin-1"))


def _names_this_machine(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    # A name without a dot is nobody's on the internet, so nobody can make it resolve to this machine.
    return host is not None and (is_loopback(host) or (host.isascii() and "." not in host and ":" not in host))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
