"""Who is asking. Made by the token verifier alone."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Role(StrEnum):
    """Each role includes those before it, from anonymous up."""

    ANONYMOUS = "anonymous"
    VIEWER = "viewer"
    MEMBER = "member"
    OPERATOR = "operator"
    ADMIN = "admin"


RANK = {role: rank for rank, role in enumerate(Role)}


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """A verified identity: the tenant it acts in, the user, and what the user is there."""

    tenant_id: str
    user_id: str
    roles: frozenset[Role] = frozenset({Role.MEMBER})
    session_id: str | None = None
    """An anonymous caller is bound to this one session."""

    @property
    def is_anonymous(self) -> bool:
        return Role.ANONYMOUS in self.roles

    def has(self, role: Role) -> bool:
        """Whether the caller is at least `role`."""
        return any(RANK[own] >= RANK[role] for own in self.roles)
