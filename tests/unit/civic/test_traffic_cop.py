"""The Traffic Cop stops dead sessions, floods, crowds and heavy loads."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.civic import traffic_cop
from symphainy.civic.traffic_cop import RateClass, RateState
from symphainy.model import Caller, Decision, Role, Session, SessionState

NOON = "2026-11-20T12:00:00.000Z"
SESSION = Session(
    session_id="ses_a",
    tenant_id="acme",
    user_id="u1",
    solution_id="default",
    is_anonymous=False,
    lifecycle_state=SessionState.ACTIVE,
    context={},
    metadata={},
    created_at="2026-11-19T12:00:00.000Z",
    updated_at="2026-11-20T11:00:00.000Z",
    expires_at="2026-11-20T12:00:00.001Z",
)


def test_an_open_session_passes() -> None:
    assert traffic_cop.session_valid(SESSION, NOON) == Decision(
        policy="traffic_cop.session",
        allowed=True,
        reason="session ses_a is open until 2026-11-20T12:00:00.001Z",
    )


@pytest.mark.parametrize(
    ("session", "now", "reason"),
    [
        (None, NOON, "there is no such session"),
        (
            SESSION,
            "2026-11-20T12:00:00.001Z",
            "session ses_a expired at 2026-11-20T12:00:00.001Z; it is 2026-11-20T12:00:00.001Z",
        ),
        (
            msgspec.structs.replace(SESSION, lifecycle_state=SessionState.CLOSED),
            NOON,
            "session ses_a was closed at 2026-11-20T11:00:00.000Z",
        ),
    ],
)
def test_a_session_that_is_not_there_or_has_ended_is_refused(session: Session | None, now: str, reason: str) -> None:
    decision = traffic_cop.session_valid(session, now)
    assert (decision.policy, decision.allowed, decision.reason) == ("traffic_cop.session", False, reason)


def test_the_request_over_the_limit_is_refused_with_the_exact_wait() -> None:
    state: RateState = None
    for _ in range(3):
        decision, state = traffic_cop.rate(state, now_s=100.0, per_minute=60, burst=3)
        assert decision.allowed
    decision, state = traffic_cop.rate(state, now_s=100.25, per_minute=60, burst=3)
    assert decision == Decision(
        policy="traffic_cop.rate",
        allowed=False,
        reason="more than 60 requests a minute, 3 at once",
        remedy="Wait 0.750 s",
        retry_after_s=0.75,
    )
    assert traffic_cop.rate(state, now_s=101.0, per_minute=60, burst=3)[0].allowed


def test_a_limit_of_none_a_minute_lets_nothing_through() -> None:
    decision, state = traffic_cop.rate(None, now_s=0.0, per_minute=0)
    assert (decision.allowed, decision.retry_after_s, state) == (False, None, None)


def test_more_at_once_than_the_burst_can_never_pass_and_is_not_told_to_wait() -> None:
    decision, state = traffic_cop.rate(None, now_s=0.0, per_minute=60, burst=5, cost=6)
    assert (decision.allowed, decision.retry_after_s, state) == (False, None, None)
    assert decision.reason == "6 requests at once; at most 5 may come at once"


def test_a_batch_counts_for_all_of_its_requests() -> None:
    _, state = traffic_cop.rate(None, now_s=0.0, per_minute=60, burst=5, cost=5)
    decision, _ = traffic_cop.rate(state, now_s=1.0, per_minute=60, burst=5, cost=2)
    assert (decision.allowed, decision.retry_after_s) == (False, 1.0)


LIMITS = st.integers(1, 100_000)
BURSTS = st.integers(1, 200)
GAPS_S = st.lists(st.floats(0, 90, allow_nan=False), min_size=1, max_size=60)


@given(per_minute=LIMITS, burst=BURSTS, gaps_s=GAPS_S, start_s=st.floats(0, 1e7))
def test_no_window_lets_through_more_than_burst_and_rate(
    per_minute: int, burst: int, gaps_s: list[float], start_s: float
) -> None:
    state: RateState = None
    now_s, passed_at = start_s, []
    for gap_s in gaps_s:
        now_s += gap_s
        decision, state = traffic_cop.rate(state, now_s=now_s, per_minute=per_minute, burst=burst)
        if decision.allowed:
            passed_at.append(now_s)
    for first, start in enumerate(passed_at):
        for last in range(first, len(passed_at)):
            length_s = passed_at[last] - start
            assert last - first + 1 <= burst + (length_s + 1e-3) * per_minute / 60


@given(per_minute=LIMITS, burst=BURSTS, gaps_s=GAPS_S, start_s=st.floats(0, 1e7))
def test_a_refusal_changes_nothing_and_its_wait_is_enough(
    per_minute: int, burst: int, gaps_s: list[float], start_s: float
) -> None:
    state: RateState = None
    now_s = start_s
    for gap_s in gaps_s:
        now_s += gap_s
        before = state
        decision, state = traffic_cop.rate(state, now_s=now_s, per_minute=per_minute, burst=burst)
        if not decision.allowed:
            assert state == before
            assert decision.retry_after_s is not None
            waited, _ = traffic_cop.rate(
                state, now_s=now_s + decision.retry_after_s, per_minute=per_minute, burst=burst
            )
            assert waited.allowed


@given(per_minute=LIMITS, start_s=st.floats(0, 1e6), count=st.integers(1, 200))
def test_who_keeps_to_the_rate_is_never_refused(per_minute: int, start_s: float, count: int) -> None:
    state: RateState = None
    for n in range(count):
        now_s = start_s + n * 60 / per_minute
        decision, state = traffic_cop.rate(state, now_s=now_s, per_minute=per_minute, burst=1)
        assert decision.allowed


ANONYMOUS = Caller(tenant_id="anon-1", user_id="anonymous", roles=frozenset({Role.ANONYMOUS}), session_id="ses_1")
MEMBER = Caller(tenant_id="acme", user_id="u1")


@pytest.mark.parametrize(
    ("caller", "rate_class", "bucket"),
    [
        (MEMBER, RateClass.CALLER, "caller/acme/u1"),
        (ANONYMOUS, RateClass.ANONYMOUS, "anonymous/anon-1/ses_1"),
        (None, RateClass.UNAUTHENTICATED, "unauthenticated/127.0.0.1"),
    ],
)
def test_anonymous_callers_have_buckets_of_their_own(caller: Caller | None, rate_class: RateClass, bucket: str) -> None:
    assert traffic_cop.rate_class(caller) is rate_class
    assert traffic_cop.bucket(caller, address="127.0.0.1") == bucket


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("192.0.2.7", "unauthenticated/192.0.2.7"),
        ("::ffff:192.0.2.7", "unauthenticated/192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "unauthenticated/2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "unauthenticated/2001:db8:1:2::/64"),
        ("fe80::1%eth0", "unauthenticated/fe80::/64"),
        ("", "unauthenticated/"),
        ("no address", "unauthenticated/no address"),
    ],
)
def test_addresses_that_one_customer_has_share_a_bucket(address: str, bucket: str) -> None:
    assert traffic_cop.bucket(None, address=address) == bucket


def test_a_crowd_waits() -> None:
    assert traffic_cop.concurrent(running=8, running_max=8) == Decision(
        policy="traffic_cop.concurrency",
        allowed=False,
        reason="8 executions of the tenant are running, 8 may",
        remedy="Wait",
    )
    assert traffic_cop.concurrent(running=7, running_max=8).allowed


@pytest.mark.parametrize(("size", "allowed"), [(None, True), (0, True), (100, True), (101, False)])
def test_an_upload_over_the_limit_is_refused(size: int | None, allowed: bool) -> None:
    assert traffic_cop.upload_allowed(size, 100).allowed is allowed


def test_a_refused_upload_says_both_sizes() -> None:
    assert traffic_cop.upload_allowed(101, 100).reason == "101 bytes, at most 100 are taken"
