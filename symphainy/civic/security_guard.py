"""Security Guard: who is asking, and may they?

may_enter(caller, tenant_id=...)                      refused: another tenant is named, `TenantMismatch`
may_submit(caller, required_role, read_only=...)      one intent, by what its declaration asks for
may_use_session(caller, session_id=..., is_own=...)   working in a session: submit in it, change it, close it
may_see(caller, tenant_id=..., session_id=..., session_is_own=...)
                                                      refused: hidden, `NotFound`, as what does not exist
may_operate(caller, action)                           everything else that has a name in `Action`

| role      | may                                                                                |
|-----------|------------------------------------------------------------------------------------|
| anonymous | its one session: see it, work in it, and submit intents that ask for no role       |
| viewer    | see what the tenant shares and its own sessions; submit intents that only read     |
| member    | and open sessions, work in its own, submit                                         |
| operator  | and cancel, rerun, read the log, see and use every session of the tenant           |
| admin     | and administer the tenant: everything in it                                        |

Whoever has no role at all is refused everything.
"""

from __future__ import annotations

from enum import StrEnum

from symphainy.model import Caller, Decision, Role, allow, refuse

TENANT_WALL = "security_guard.tenant_wall"
ROLE = "security_guard.role"
SESSION = "security_guard.session"
VISIBILITY = "security_guard.visibility"


class Action(StrEnum):
    """What is allowed by role alone."""

    READ = "read"
    OPEN_SESSION = "open_session"
    CHANGE_SESSION = "change_session"
    CLOSE_SESSION = "close_session"
    CREATE_PENDING = "create_pending"
    UPLOAD = "upload"
    CANCEL = "cancel"
    RERUN = "rerun"
    READ_LOG = "read_log"
    SEE_ALL_SESSIONS = "see_all_sessions"
    ERASE = "erase"
    ADMINISTER = "administer"


#: The least role for each action.
NEEDED: dict[Action, Role] = {
    Action.READ: Role.VIEWER,
    Action.OPEN_SESSION: Role.MEMBER,
    Action.CHANGE_SESSION: Role.MEMBER,
    Action.CLOSE_SESSION: Role.MEMBER,
    Action.CREATE_PENDING: Role.MEMBER,
    Action.UPLOAD: Role.MEMBER,
    Action.CANCEL: Role.OPERATOR,
    Action.RERUN: Role.OPERATOR,
    Action.READ_LOG: Role.OPERATOR,
    Action.SEE_ALL_SESSIONS: Role.OPERATOR,
    Action.ERASE: Role.ADMIN,
    Action.ADMINISTER: Role.ADMIN,
}

#: What an anonymous caller may do, though only in its own session.
ANONYMOUS_MAY = frozenset(
    {Action.READ, Action.CHANGE_SESSION, Action.CLOSE_SESSION, Action.CREATE_PENDING, Action.UPLOAD}
)


def may_enter(caller: Caller, *, tenant_id: str | None) -> Decision:
    """`tenant_id` is what the request names, None when it names none."""
    if tenant_id is not None and tenant_id != caller.tenant_id:
        return refuse(
            TENANT_WALL,
            f"the request names tenant {tenant_id!r}, the token belongs to {caller.tenant_id!r}",
            remedy="Leave tenant_id out, or use a token of that tenant",
        )
    return allow(TENANT_WALL, f"acts in its own tenant {caller.tenant_id!r}")


def may_submit(caller: Caller, required_role: Role, *, read_only: bool = False) -> Decision:
    """`required_role` and `read_only` are those of the intent's declaration."""
    if caller.is_anonymous:
        if required_role is Role.ANONYMOUS:
            return allow(ROLE, "the intent asks for no role")
        return _too_little(caller, f"the intent asks for {required_role}")
    if not caller.has(required_role):
        return _too_little(caller, f"the intent asks for {required_role}")
    if caller.has(Role.MEMBER):
        return allow(ROLE, f"{_roles(caller)}, the intent asks for {required_role}")
    if caller.has(Role.VIEWER) and read_only:
        return allow(ROLE, "a viewer may submit what only reads")
    return _too_little(caller, "submitting an intent that writes asks for member")


def may_use_session(caller: Caller, *, session_id: str, is_own: bool) -> Decision:
    """To submit in it, change it or close it. `is_own`: the session's user is the caller."""
    if caller.is_anonymous:
        if session_id == caller.session_id:
            return allow(SESSION, "the session its token was made for")
        return refuse(SESSION, f"an anonymous token opens session {caller.session_id} only, not {session_id}")
    if is_own and caller.has(Role.VIEWER):
        return allow(SESSION, f"session {session_id} is its own")
    if caller.has(Role.OPERATOR):
        return allow(SESSION, f"{_roles(caller)} may use every session of the tenant")
    return refuse(
        SESSION,
        f"session {session_id} belongs to another user, and {_roles(caller)} may use its own only",
        remedy="Open a session of your own, or ask an operator",
    )


def may_see(
    caller: Caller,
    *,
    tenant_id: str,
    session_id: str | None = None,
    session_is_own: bool | None = None,
) -> Decision:
    """A refusal means that the thing is hidden.

    `tenant_id` and `session_id` are where the thing stands. `session_is_own` is None for what the whole
    tenant shares (executions, artifacts); for a session, or what is its alone, if its user is the caller.
    """
    if tenant_id != caller.tenant_id:
        return refuse(VISIBILITY, f"it belongs to another tenant than {caller.tenant_id!r}")
    if caller.is_anonymous:
        if session_id is not None and session_id == caller.session_id:
            return allow(VISIBILITY, "it belongs to the session of this anonymous caller")
        return refuse(VISIBILITY, f"an anonymous caller sees session {caller.session_id} only, not {session_id}")
    if not caller.has(Role.VIEWER):
        return _too_little(caller, "reading asks for viewer", policy=VISIBILITY)
    if session_is_own is False and not caller.has(Role.OPERATOR):
        return refuse(
            VISIBILITY,
            f"session {session_id} belongs to another user, and seeing it asks for operator; the caller has "
            f"{_roles(caller)}",
        )
    if session_is_own is None:
        return allow(VISIBILITY, f"shared within tenant {tenant_id!r}")
    return allow(VISIBILITY, "its own session" if session_is_own else f"{_roles(caller)} sees every session")


def may_operate(caller: Caller, action: Action | str) -> Decision:
    """By role alone. The session or thing that the action is about: `may_use_session`, `may_see`."""
    wanted = Action(action)
    if caller.is_anonymous:
        if wanted in ANONYMOUS_MAY:
            return allow(ROLE, f"an anonymous caller may {wanted} in its own session")
        return _too_little(caller, f"{wanted} asks for {NEEDED[wanted]}")
    if caller.has(NEEDED[wanted]):
        return allow(ROLE, f"{wanted} asks for {NEEDED[wanted]}, the caller has {_roles(caller)}")
    return _too_little(caller, f"{wanted} asks for {NEEDED[wanted]}")


def _roles(caller: Caller) -> str:
    return ", ".join(sorted(caller.roles)) or "no role"


def _too_little(caller: Caller, need: str, *, policy: str = ROLE) -> Decision:
    return refuse(policy, f"{need}; the caller has {_roles(caller)}", remedy="Ask an admin for the role")
