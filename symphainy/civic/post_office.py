"""Post Office: who gets which event, and in which order?

may_receive(caller, event, execution_id=..., session_id=..., session_is_own=...)   refused: do not deliver

What happened in an execution goes to the whole tenant, as executions do. What happened to a session alone
goes to its user, and the rest of the log (refusals, policies) to operators. An anonymous caller gets what its
own session did, nothing else.
"""

from __future__ import annotations

from symphainy.model import Caller, Decision, Event, Role, allow, refuse

ROUTING = "post_office.routing"
ORDER = "post_office.order"

#: Events of what was refused: they say what somebody tried.
OPERATORS_ONLY = frozenset({"intent_refused", "policy_decided", "payload_erased"})


def may_receive(
    caller: Caller,
    event: Event,
    *,
    execution_id: str | None = None,
    session_id: str | None = None,
    session_is_own: bool = False,
) -> Decision:
    """`execution_id`, `session_id`: what was subscribed to. `session_is_own`: its user is the caller."""
    if event.tenant_id != caller.tenant_id:
        return refuse(ROUTING, f"the event belongs to another tenant than {caller.tenant_id!r}")
    if caller.is_anonymous and (event.session_id is None or event.session_id != caller.session_id):
        return refuse(
            ROUTING,
            f"an anonymous caller gets events of session {caller.session_id}, not {event.session_id}",
        )
    if execution_id is not None and event.execution_id != execution_id:
        return refuse(ROUTING, f"asked for execution {execution_id}, this is of {event.execution_id}")
    if session_id is not None and event.session_id != session_id:
        return refuse(ROUTING, f"asked for session {session_id}, this is of {event.session_id}")
    if caller.is_anonymous and event.event_type not in OPERATORS_ONLY:
        return allow(ROUTING, f"of its own session {caller.session_id}")
    return _by_role(caller, event, session_is_own)


def _by_role(caller: Caller, event: Event, session_is_own: bool) -> Decision:
    if caller.has(Role.OPERATOR):
        return allow(ROUTING, f"an operator of {event.tenant_id!r} gets its whole log")
    roles = ", ".join(sorted(caller.roles)) or "no role"
    if event.event_type in OPERATORS_ONLY:
        return refuse(ROUTING, f"{event.event_type} goes to operators; the caller has {roles}")
    if not caller.has(Role.VIEWER):
        return refuse(ROUTING, f"events go to viewers and above; the caller has {roles}")
    if event.execution_id is not None:
        return allow(ROUTING, f"executions are shared within {event.tenant_id!r}")
    if session_is_own:
        return allow(ROUTING, f"of its own session {event.session_id}")
    return refuse(ROUTING, f"{event.event_type} belongs to session {event.session_id} of another user")
