"""The Security Guard lets nobody through the tenant wall, and nobody beyond their role."""

import itertools

import pytest

from symphainy.civic import security_guard
from symphainy.civic.security_guard import ANONYMOUS_MAY, NEEDED, Action
from symphainy.model import Caller, Decision, Role


def caller(*roles: Role, tenant_id: str = "acme", session_id: str | None = None) -> Caller:
    return Caller(tenant_id=tenant_id, user_id="u1", roles=frozenset(roles), session_id=session_id)


ANONYMOUS = caller(Role.ANONYMOUS, session_id="ses_own")
NOBODY = caller()


def test_a_request_that_names_another_tenant_is_refused_with_both_names() -> None:
    assert security_guard.may_enter(caller(Role.ADMIN), tenant_id="globex") == Decision(
        policy="security_guard.tenant_wall",
        allowed=False,
        reason="the request names tenant 'globex', the token belongs to 'acme'",
        remedy="Leave tenant_id out, or use a token of that tenant",
    )


@pytest.mark.parametrize("tenant_id", [None, "acme"])
def test_a_request_that_names_its_own_tenant_or_none_enters(tenant_id: str | None) -> None:
    assert security_guard.may_enter(caller(Role.VIEWER), tenant_id=tenant_id).allowed


@pytest.mark.parametrize(
    ("roles", "required", "read_only", "allowed"),
    [
        ((Role.ANONYMOUS,), Role.ANONYMOUS, False, True),
        ((Role.ANONYMOUS,), Role.VIEWER, True, False),
        ((Role.ANONYMOUS, Role.ADMIN), Role.MEMBER, False, False),
        ((Role.VIEWER,), Role.ANONYMOUS, False, False),
        ((Role.VIEWER,), Role.ANONYMOUS, True, True),
        ((Role.VIEWER,), Role.VIEWER, True, True),
        ((Role.VIEWER,), Role.MEMBER, True, False),
        ((Role.MEMBER,), Role.ANONYMOUS, False, True),
        ((Role.MEMBER,), Role.MEMBER, False, True),
        ((Role.MEMBER,), Role.OPERATOR, True, False),
        ((Role.OPERATOR,), Role.OPERATOR, False, True),
        ((Role.OPERATOR,), Role.ADMIN, False, False),
        ((Role.ADMIN,), Role.ADMIN, False, True),
        ((), Role.ANONYMOUS, True, False),
    ],
)
def test_submitting_needs_what_the_intent_asks_for(
    roles: tuple[Role, ...], required: Role, read_only: bool, allowed: bool
) -> None:
    assert security_guard.may_submit(caller(*roles), required, read_only=read_only).allowed is allowed


def test_a_refused_submission_says_what_was_asked_for_and_what_was_there() -> None:
    assert security_guard.may_submit(caller(Role.MEMBER), Role.OPERATOR) == Decision(
        policy="security_guard.role",
        allowed=False,
        reason="the intent asks for operator; the caller has member",
        remedy="Ask an admin for the role",
    )


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("role", Role)
def test_an_action_is_for_its_role_and_those_above(role: Role, action: Action) -> None:
    ranks = list(Role)
    expected = action in ANONYMOUS_MAY if role is Role.ANONYMOUS else ranks.index(role) >= ranks.index(NEEDED[action])
    assert security_guard.may_operate(caller(role, session_id="ses_own"), action).allowed is expected


@pytest.mark.parametrize(
    ("action", "highest_refused"),
    [
        (Action.READ, None),
        (Action.OPEN_SESSION, Role.VIEWER),
        (Action.CANCEL, Role.MEMBER),
        (Action.RERUN, Role.MEMBER),
        (Action.READ_LOG, Role.MEMBER),
        (Action.SEE_ALL_SESSIONS, Role.MEMBER),
        (Action.ADMINISTER, Role.OPERATOR),
    ],
)
def test_the_highest_role_that_is_refused(action: Action, highest_refused: Role | None) -> None:
    named = [role for role in Role if role is not Role.ANONYMOUS]
    refused = [role for role in named if not security_guard.may_operate(caller(role), action).allowed]
    assert (refused[-1] if refused else None) is highest_refused


@pytest.mark.parametrize("action", Action)
def test_who_has_no_role_may_do_nothing(action: Action) -> None:
    assert security_guard.may_operate(NOBODY, action) == Decision(
        policy="security_guard.role",
        allowed=False,
        reason=f"{action} asks for {NEEDED[action]}; the caller has no role",
        remedy="Ask an admin for the role",
    )


def test_an_action_can_be_named_as_text() -> None:
    assert not security_guard.may_operate(caller(Role.MEMBER), "cancel").allowed
    with pytest.raises(ValueError, match="fly"):
        security_guard.may_operate(caller(Role.MEMBER), "fly")


@pytest.mark.parametrize(
    ("who", "session_id", "is_own", "allowed"),
    [
        (ANONYMOUS, "ses_own", False, True),
        (ANONYMOUS, "ses_other", True, False),
        (caller(Role.VIEWER), "ses_a", True, True),
        (caller(Role.VIEWER), "ses_a", False, False),
        (caller(Role.MEMBER), "ses_a", True, True),
        (caller(Role.MEMBER), "ses_a", False, False),
        (caller(Role.OPERATOR), "ses_a", False, True),
        (NOBODY, "ses_a", True, False),
    ],
)
def test_a_session_is_used_by_its_own_user_and_by_operators(
    who: Caller, session_id: str, is_own: bool, allowed: bool
) -> None:
    assert security_guard.may_use_session(who, session_id=session_id, is_own=is_own).allowed is allowed


@pytest.mark.parametrize(("role", "session_is_own"), list(itertools.product(Role, [None, True, False])))
def test_nothing_of_another_tenant_is_seen_by_anyone(role: Role, session_is_own: bool | None) -> None:
    decision = security_guard.may_see(
        caller(role, session_id="ses_own"),
        tenant_id="globex",
        session_id="ses_own",
        session_is_own=session_is_own,
    )
    assert decision == Decision(
        policy="security_guard.visibility",
        allowed=False,
        reason="it belongs to another tenant than 'acme'",
    )


@pytest.mark.parametrize(
    ("who", "session_id", "session_is_own", "allowed"),
    [
        (ANONYMOUS, "ses_own", None, True),
        (ANONYMOUS, "ses_other", None, False),
        (ANONYMOUS, None, None, False),
        (caller(Role.ANONYMOUS), None, None, False),
        (caller(Role.VIEWER), "ses_other", None, True),
        (caller(Role.VIEWER), "ses_a", True, True),
        (caller(Role.MEMBER), "ses_a", False, False),
        (caller(Role.OPERATOR), "ses_a", False, True),
        (NOBODY, "ses_a", None, False),
    ],
)
def test_executions_are_shared_by_the_tenant_and_sessions_are_not(
    who: Caller, session_id: str | None, session_is_own: bool | None, allowed: bool
) -> None:
    decision = security_guard.may_see(who, tenant_id="acme", session_id=session_id, session_is_own=session_is_own)
    assert decision.allowed is allowed
