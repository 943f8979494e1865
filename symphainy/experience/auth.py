"""Who is asking, at the public address: nobody gets in without a token."""

from __future__ import annotations

from symphainy.door import AnonymousSession, Door
from symphainy.errors import Denied
from symphainy.model import Caller, JsonObject
from symphainy.sdk import ExperienceSDK, HttpDoor
from symphainy.wire.callers import Arrival, DoorFor, KnownCaller, Verify, Visitor, required_token


class _AtAnotherRoute:
    """Nobody who has a token opens an anonymous session.

    Said outright, because the SDK otherwise looks at every door for a way to: 10 µs a request.
    """

    async def create_anonymous_session(
        self, *, context: JsonObject | None = None, metadata: JsonObject | None = None
    ) -> AnonymousSession:
        raise Denied("an anonymous session is opened without a token")


_ANONYMOUS = _AtAnotherRoute()


class Bearers:
    """Callers whose tokens are verified here, before anything else is done for them."""

    def __init__(self, verify: Verify, door_for: DoorFor) -> None:
        self._verify = verify
        self._door_for = door_for

    def __call__(self, arrival: Arrival) -> Visitor:
        return KnownCaller(self._verify(required_token(arrival)), self._open, arrival.request_id)

    def _open(self, caller: Caller, *, request_id: str | None = None) -> Door:
        return ExperienceSDK(self._door_for(caller, request_id=request_id), anonymous=_ANONYMOUS)


class Forwarded:
    """Callers whose tokens the Runtime verifies: each call carries the token there, with whatever tenant it names.

    With `verify` a bad token is turned away here already, and so is one that is used for another tenant.
    """

    def __init__(self, runtime: HttpDoor, verify: Verify | None) -> None:
        self._runtime = runtime
        self._verify = verify

    def __call__(self, arrival: Arrival) -> Visitor:
        token = required_token(arrival)
        forwarding = _ForwardingVisitor(self._runtime, token, arrival.request_id)
        if self._verify is None:
            return forwarding
        return KnownCaller(self._verify(token), forwarding.open, arrival.request_id)


class _ForwardingVisitor:
    def __init__(self, runtime: HttpDoor, token: str, request_id: str) -> None:
        self._runtime = runtime
        self._token = token
        self._headers = {"X-Request-Id": request_id}

    def door(self, tenant_id: str | None) -> Door:
        return ExperienceSDK(self._runtime.acting_for(token=self._token, tenant_id=tenant_id, headers=self._headers))

    def open(self, caller: Caller, *, request_id: str | None = None) -> Door:
        return self.door(caller.tenant_id)
