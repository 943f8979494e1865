"""The Post Office delivers to whom it concerns, in order, and to nobody else."""

import pytest

from symphainy.civic import post_office
from symphainy.model import Caller, Decision, Event, Role


def caller(*roles: Role, tenant_id: str = "acme", session_id: str | None = None) -> Caller:
    return Caller(tenant_id=tenant_id, user_id="u1", roles=frozenset(roles), session_id=session_id)


def event(
    event_type: str = "step_completed",
    *,
    seq: int | None = 2,
    session_id: str | None = "ses_a",
    execution_id: str | None = "exe_1",
) -> Event:
    return Event(
        position=7,
        seq=seq,
        event_id="evt_1",
        event_type=event_type,
        tenant_id="acme",
        session_id=session_id,
        execution_id=execution_id,
        timestamp="2026-11-20T12:00:00.000Z",
        payload={},
    )


@pytest.mark.parametrize("role", Role)
def test_nobody_gets_an_event_of_another_tenant(role: Role) -> None:
    stranger = caller(role, tenant_id="globex", session_id="ses_a")
    assert post_office.may_receive(stranger, event(), session_is_own=True) == Decision(
        policy="post_office.routing",
        allowed=False,
        reason="the event belongs to another tenant than 'globex'",
    )


ANONYMOUS = caller(Role.ANONYMOUS, session_id="ses_a")


@pytest.mark.parametrize(
    ("what", "allowed"),
    [
        (event(), True),
        (event("session_updated", seq=None, execution_id=None), True),
        (event(session_id="ses_b"), False),
        (event(session_id=None), False),
        (event("policy_decided"), False),
    ],
)
def test_an_anonymous_caller_gets_its_own_session_only(what: Event, allowed: bool) -> None:
    assert post_office.may_receive(ANONYMOUS, what, session_is_own=True).allowed is allowed


def test_an_anonymous_caller_without_a_session_gets_nothing() -> None:
    assert not post_office.may_receive(caller(Role.ANONYMOUS), event(session_id=None)).allowed


SESSION_EVENT = event("session_updated", seq=None, execution_id=None)
REFUSAL = event("intent_refused", seq=None, execution_id=None)


@pytest.mark.parametrize(
    ("who", "what", "session_is_own", "allowed"),
    [
        (caller(Role.VIEWER), event(), False, True),
        (caller(Role.MEMBER), event(), False, True),
        (caller(Role.MEMBER), SESSION_EVENT, True, True),
        (caller(Role.MEMBER), SESSION_EVENT, False, False),
        (caller(Role.OPERATOR), SESSION_EVENT, False, True),
        (caller(Role.MEMBER), REFUSAL, True, False),
        (caller(Role.OPERATOR), REFUSAL, False, True),
        (caller(), event(), True, False),
    ],
)
def test_executions_go_to_the_tenant_sessions_to_their_user_and_refusals_to_operators(
    who: Caller, what: Event, session_is_own: bool, allowed: bool
) -> None:
    assert post_office.may_receive(who, what, session_is_own=session_is_own).allowed is allowed


@pytest.mark.parametrize(
    ("asked", "allowed"),
    [
        ({"execution_id": "exe_1"}, True),
        ({"execution_id": "exe_2"}, False),
        ({"session_id": "ses_a"}, True),
        ({"session_id": "ses_b"}, False),
        ({"execution_id": "exe_1", "session_id": "ses_b"}, False),
    ],
)
def test_a_subscriber_gets_what_it_asked_for(asked: dict[str, str], allowed: bool) -> None:
    decision = post_office.may_receive(
        caller(Role.ADMIN),
        event(),
        execution_id=asked.get("execution_id"),
        session_id=asked.get("session_id"),
    )
    assert decision.allowed is allowed
