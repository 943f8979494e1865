"""Traffic Cop: is the session alive, is it too fast, too many, too large?

session_valid(session, now)                       None: `SessionRequired`; ended: `SessionExpired`
rate(state, now_s=, per_minute=, burst=, cost=)   → (Decision, new state); one state a `bucket`, None at first
bucket(caller, address=...)                       the key to keep it under; `rate_class`: by which limit
concurrent(running=..., running_max=...)          refused: wait, do not fail
upload_allowed(size, size_max)                    refused: `TooLarge`
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from typing import TypeAlias

from symphainy.model import Caller, Decision, Session, SessionState, allow, refuse
from symphainy.model.instant import Instant

SESSION = "traffic_cop.session"
RATE = "traffic_cop.rate"
CONCURRENCY = "traffic_cop.concurrency"
UPLOAD = "traffic_cop.upload_size"

RateState: TypeAlias = float | None
"""When the caller has used up what it has taken, on the clock of `now_s`. None: it has taken nothing."""

# Far below any interval that is configured, far above the rounding of seconds as floats.
_EPSILON_S = 1e-6


class RateClass(StrEnum):
    """Which limit a bucket is held to."""

    CALLER = "caller"
    ANONYMOUS = "anonymous"
    UNAUTHENTICATED = "unauthenticated"


def session_valid(session: Session | None, now: Instant) -> Decision:
    if session is None:
        return refuse(SESSION, "there is no such session", remedy="Create a session first")
    name = f"session {session.session_id}"
    match session.at(now).lifecycle_state:
        case SessionState.ACTIVE:
            return allow(SESSION, f"{name} is open until {session.expires_at}")
        case SessionState.EXPIRED:
            why = f"{name} expired at {session.expires_at}; it is {now}"
            return refuse(SESSION, why, remedy="Create a new session")
        case SessionState.CLOSED:
            why = f"{name} was closed at {session.updated_at}"
            return refuse(SESSION, why, remedy="Create a new session")


def rate(
    state: RateState, *, now_s: float, per_minute: int, burst: int | None = None, cost: int = 1
) -> tuple[Decision, RateState]:
    """`per_minute` spread evenly, up to `burst` at once (default: a minute's worth).

    `now_s` is on a clock that never goes back. `cost` is how many requests this one counts for. A refusal
    leaves the state as it was, so knocking does not lengthen the wait; `retry_after_s` is exact.
    """
    if per_minute < 1:
        return refuse(RATE, "this caller may make no requests: the limit is 0 a minute"), state
    burst = per_minute if burst is None else max(burst, 1)
    if cost > burst:
        return (
            refuse(RATE, f"{cost} requests at once; at most {burst} may come at once", remedy="Split it up"),
            state,
        )
    # The generic cell rate algorithm: one number a caller, and no timer that refills anything.
    interval_s = 60.0 / per_minute
    used_until = max(now_s if state is None else state, now_s) + cost * interval_s
    wait_s = used_until - now_s - burst * interval_s
    if wait_s > _EPSILON_S:
        reason = f"more than {per_minute} requests a minute, {burst} at once"
        return (
            refuse(RATE, reason, remedy=f"Wait {wait_s:.3f} s", retry_after_s=wait_s),
            state,
        )
    return allow(RATE, f"within {per_minute} requests a minute, {burst} at once"), used_until


def rate_class(caller: Caller | None) -> RateClass:
    """None: nobody is authenticated yet, as when an anonymous session is created."""
    if caller is None:
        return RateClass.UNAUTHENTICATED
    return RateClass.ANONYMOUS if caller.is_anonymous else RateClass.CALLER


def bucket(caller: Caller | None, *, address: str = "") -> str:
    """Who shares one rate: a user of a tenant, one anonymous session, or an address without a token."""
    # A tenant id holds no separator, so the parts cannot run together.
    match rate_class(caller):
        case RateClass.CALLER if caller is not None:
            return f"caller/{caller.tenant_id}/{caller.user_id}"
        case RateClass.ANONYMOUS if caller is not None:
            return f"anonymous/{caller.tenant_id}/{caller.session_id}"
        case _:
            return f"unauthenticated/{_neighbourhood(address)}"


def _neighbourhood(address: str) -> str:
    """One IPv6 customer has a /64 at least, and could come from another address each time."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


def concurrent(*, running: int, running_max: int) -> Decision:
    if running >= running_max:
        return refuse(CONCURRENCY, f"{running} executions of the tenant are running, {running_max} may", remedy="Wait")
    return allow(CONCURRENCY, f"{running} of {running_max} executions are running")


def upload_allowed(size: int | None, size_max: int) -> Decision:
    """Bytes. `size` is None when the client does not say: then the stream must be held to `size_max`."""
    if size is None:
        return allow(UPLOAD, f"no length was declared; the stream ends at {size_max} bytes")
    if size > size_max:
        return refuse(
            UPLOAD,
            f"{size} bytes, at most {size_max} are taken",
            remedy="Split the file, or raise upload_bytes_max",
        )
    return allow(UPLOAD, f"{size} of at most {size_max} bytes")
