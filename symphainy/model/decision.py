"""What a governor answers: yes or no, by which policy, and why."""

from __future__ import annotations

import msgspec


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    policy: str
    allowed: bool
    reason: str
    remedy: str = ""
    retry_after_s: float | None = None


def allow(policy: str, reason: str) -> Decision:
    return Decision(policy=policy, allowed=True, reason=reason)


def refuse(policy: str, reason: str, *, remedy: str = "", retry_after_s: float | None = None) -> Decision:
    return Decision(policy=policy, allowed=False, reason=reason, remedy=remedy, retry_after_s=retry_after_s)
