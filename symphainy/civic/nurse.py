"""Nurse: try again or give up, and is it healthy?

retry(policy, attempt=..., retryable=..., fraction=...)   → RetryVerdict: wait so long, or give up, and why
rollup(probes, vital=...)                                 → Rollup: `ok`, `degraded` or `down`, and why
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Protocol

import msgspec


class RetryLimits(Protocol):
    """Times in seconds. `jitter` is the share of the delay that is random, 0 to 1."""

    @property
    def attempts_max(self) -> int: ...
    @property
    def first_delay_s(self) -> float: ...
    @property
    def factor(self) -> float: ...
    @property
    def delay_max_s(self) -> float: ...
    @property
    def jitter(self) -> float: ...


class RetryVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """`delay_s` is how long to wait before the next attempt; 0 when there is none."""

    again: bool
    delay_s: float
    reason: str


def retry(
    policy: RetryLimits, *, attempt: int, retryable: bool, fraction: float, at_least_s: float = 0.0
) -> RetryVerdict:
    """After attempt number `attempt` (from 1) has failed. `fraction`: uniform in [0, 1).

    `at_least_s` is what the failing side asked for; it may exceed the policy's longest delay.
    """
    tried = f"attempt {attempt} of {policy.attempts_max} failed"
    if not retryable:
        return RetryVerdict(again=False, delay_s=0.0, reason=f"{tried}, and the failure is not retryable")
    if attempt >= policy.attempts_max:
        times = "once" if attempt == 1 else f"{attempt} times"
        return RetryVerdict(again=False, delay_s=0.0, reason=f"tried {times}, as often as the policy allows")
    whole_s = _delay_s(policy, attempt)
    delay_s = max(whole_s * (1 - policy.jitter + policy.jitter * fraction), at_least_s)
    return RetryVerdict(again=True, delay_s=delay_s, reason=f"{tried}; again after {delay_s:.3f} s")


def _delay_s(policy: RetryLimits, attempt: int) -> float:
    try:
        return min(policy.first_delay_s * policy.factor ** (attempt - 1), policy.delay_max_s)
    except OverflowError:
        return policy.delay_max_s


class Condition(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


class Finding(Protocol):
    """What one probe found. `status` is `ok`, `degraded` or `down`; anything else counts as down."""

    @property
    def status(self) -> str: ...
    @property
    def detail(self) -> str: ...


class Rollup(msgspec.Struct, frozen=True, kw_only=True):
    """The condition of the whole, and what made it so."""

    status: Condition
    reason: str


def rollup(probes: Mapping[str, Finding], *, vital: Collection[str] | None = None) -> Rollup:
    """Down when something vital is down, degraded when anything else is amiss. By default all of it is vital.

    Nothing probed is not health: it is down.
    """
    if not probes:
        return Rollup(status=Condition.DOWN, reason="nothing was probed")
    down = [name for name in probes if _condition(probes[name]) is Condition.DOWN]
    fatal = [name for name in down if vital is None or name in vital]
    if fatal:
        return Rollup(status=Condition.DOWN, reason=_named(fatal, probes))
    amiss = [name for name in probes if _condition(probes[name]) is not Condition.OK]
    if amiss:
        return Rollup(status=Condition.DEGRADED, reason=_named(amiss, probes))
    return Rollup(status=Condition.OK, reason=f"all {len(probes)} probes are ok")


def _condition(finding: Finding) -> Condition:
    try:
        return Condition(finding.status)
    except ValueError:
        return Condition.DOWN


def _named(names: list[str], probes: Mapping[str, Finding]) -> str:
    return "; ".join(f"{name}: {probes[name].detail}" for name in sorted(names))
