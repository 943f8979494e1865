"""The Nurse tries again within the policy, gives up in time, and calls nothing healthy that is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capability import NO_RETRY, RetryPolicy
from symphainy.civic import nurse
from symphainy.civic.nurse import Condition, RetryVerdict, Rollup
from symphainy.ports import Probe

POLICY = RetryPolicy(attempts_max=3, first_delay_s=1.0, factor=2.0, delay_max_s=60.0, jitter=0.25)


@pytest.mark.parametrize(
    ("attempt", "fraction", "delay_s"), [(1, 0.0, 0.75), (1, 0.5, 0.875), (2, 0.0, 1.5), (2, 0.5, 1.75)]
)
def test_the_delay_doubles_and_a_quarter_of_it_is_random(attempt: int, fraction: float, delay_s: float) -> None:
    verdict = nurse.retry(POLICY, attempt=attempt, retryable=True, fraction=fraction)
    assert verdict == RetryVerdict(
        again=True, delay_s=delay_s, reason=f"attempt {attempt} of 3 failed; again after {delay_s:.3f} s"
    )


def test_what_is_not_retryable_is_not_tried_again() -> None:
    assert nurse.retry(POLICY, attempt=1, retryable=False, fraction=0.5) == RetryVerdict(
        again=False, delay_s=0.0, reason="attempt 1 of 3 failed, and the failure is not retryable"
    )


@pytest.mark.parametrize(
    ("policy", "attempt", "reason"),
    [
        (POLICY, 3, "tried 3 times, as often as the policy allows"),
        (POLICY, 4, "tried 4 times, as often as the policy allows"),
        (NO_RETRY, 1, "tried once, as often as the policy allows"),
    ],
)
def test_spent_retries_give_up_and_say_what_was_tried(policy: RetryPolicy, attempt: int, reason: str) -> None:
    verdict = nurse.retry(policy, attempt=attempt, retryable=True, fraction=0.5)
    assert verdict == RetryVerdict(again=False, delay_s=0.0, reason=reason)


def test_the_wait_that_the_other_side_asked_for_is_kept() -> None:
    assert nurse.retry(POLICY, attempt=1, retryable=True, fraction=0.0, at_least_s=90).delay_s == 90


POLICIES = st.builds(
    RetryPolicy,
    attempts_max=st.integers(1, 10_000),
    first_delay_s=st.floats(0.001, 100),
    factor=st.floats(1, 10),
    delay_max_s=st.floats(0.001, 10_000),
    jitter=st.floats(0, 1),
)
FRACTIONS = st.floats(0, 1, exclude_max=True)


@given(policy=POLICIES, attempt=st.integers(1, 10_000), fraction=FRACTIONS)
def test_a_delay_is_never_negative_and_never_over_the_longest(
    policy: RetryPolicy, attempt: int, fraction: float
) -> None:
    verdict = nurse.retry(policy, attempt=attempt, retryable=True, fraction=fraction)
    assert verdict.again is (attempt < policy.attempts_max)
    assert 0 <= verdict.delay_s <= policy.delay_max_s * (1 + 1e-9)


@given(policy=POLICIES, fraction=FRACTIONS)
def test_there_are_as_many_attempts_as_the_policy_says(policy: RetryPolicy, fraction: float) -> None:
    last = next(
        attempt
        for attempt in (policy.attempts_max - 1, policy.attempts_max)
        if attempt > 0 and not nurse.retry(policy, attempt=attempt, retryable=True, fraction=fraction).again
    )
    assert last == policy.attempts_max


@given(policy=POLICIES, attempt=st.integers(1, 50), fraction=FRACTIONS)
def test_without_jitter_a_later_attempt_never_waits_less(policy: RetryPolicy, attempt: int, fraction: float) -> None:
    steady = RetryPolicy(
        attempts_max=100,
        first_delay_s=policy.first_delay_s,
        factor=policy.factor,
        delay_max_s=policy.delay_max_s,
        jitter=0,
    )
    first = nurse.retry(steady, attempt=attempt, retryable=True, fraction=fraction).delay_s
    then = nurse.retry(steady, attempt=attempt + 1, retryable=True, fraction=fraction).delay_s
    assert first <= then


def probe(status: str, detail: str = "") -> Probe:
    return Probe(status=status, detail=detail or f"it is {status}")


@pytest.mark.parametrize(
    ("probes", "expected"),
    [
        ({}, Rollup(status=Condition.DOWN, reason="nothing was probed")),
        ({"store": probe("ok")}, Rollup(status=Condition.OK, reason="all 1 probes are ok")),
        (
            {"store": probe("ok"), "search": probe("degraded", "slow")},
            Rollup(status=Condition.DEGRADED, reason="search: slow"),
        ),
        (
            {"store": probe("down", "disk full"), "search": probe("degraded", "slow")},
            Rollup(status=Condition.DOWN, reason="store: disk full"),
        ),
        ({"store": probe("splendid")}, Rollup(status=Condition.DOWN, reason="store: it is splendid")),
    ],
)
def test_the_whole_is_as_healthy_as_its_parts(probes: dict[str, Probe], expected: Rollup) -> None:
    assert nurse.rollup(probes) == expected


def test_what_is_not_vital_degrades_only() -> None:
    probes = {"store": probe("ok"), "capability:insights": probe("down", "no model")}
    assert nurse.rollup(probes, vital={"store"}) == Rollup(
        status=Condition.DEGRADED, reason="capability:insights: no model"
    )


@given(st.dictionaries(st.text(max_size=3), st.sampled_from(["ok", "degraded", "down", "?"]), max_size=6))
def test_it_is_ok_only_when_everything_is(found: dict[str, str]) -> None:
    status = nurse.rollup({name: probe(value) for name, value in found.items()}).status
    assert (status is Condition.OK) is (set(found.values()) == {"ok"})
