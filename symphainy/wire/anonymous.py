"""Sessions for people who have no account: a tenant, a session and a token, made together."""

from __future__ import annotations

from collections.abc import Callable

from symphainy.door import AnonymousSession, Issued
from symphainy.model import Caller, JsonObject, Session
from symphainy.wire.callers import DoorFor


class AnonymousSessions:
    """`newcomer` makes a caller with a tenant of its own; `mint` the token for the session it then opens.

    `admit` is asked first, with the address of the client, and raises `Limited` when that opens too many.
    """

    def __init__(
        self,
        *,
        door_for: DoorFor,
        newcomer: Callable[[], Caller],
        mint: Callable[[Session], Issued],
        admit: Callable[[str | None], None],
    ) -> None:
        self._door_for = door_for
        self._newcomer = newcomer
        self._mint = mint
        self._admit = admit

    async def __call__(
        self, client: str | None, context: JsonObject | None, metadata: JsonObject | None
    ) -> AnonymousSession:
        self._admit(client)
        session = await self._door_for(self._newcomer()).create_session(context=context, metadata=metadata)
        issued = self._mint(session)
        return AnonymousSession(session=session, access_token=issued.access_token, expires_in=issued.expires_in)
