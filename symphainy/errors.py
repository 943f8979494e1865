"""Every refusal and failure, as one tree with stable codes. Knows nothing of HTTP.

SymphainyError                internal             a fault of the platform itself
  Invalid                     validation_failed    the request does not fit its schema
    UnknownIntent             unknown_intent       no such intent type
    TooLarge                  payload_too_large    more bytes, depth or items than allowed
    UnsupportedMedia          unsupported_media    a media type nobody here can read
    IdempotencyMismatch       idempotency_mismatch one key, two different requests
  NotFound                    not_found            does not exist, or is not yours to see
    SessionRequired           session_required     the session does not exist
  Conflict                    conflict             the thing is in another state than the request needs
    SessionExpired            session_expired      the session has ended
    LeaseLost                 lease_lost           another worker owns the execution now
  Denied                      forbidden            a verified caller may not do this
    PolicyDenied              policy_denied        a named policy said no
    TenantMismatch            tenant_mismatch      the request names another tenant than the token
  Unauthenticated             unauthenticated      no token, or not a good one
  Limited                     rate_limited         too much at once; try again after a while
    QuotaExceeded             quota_exceeded       a quota is used up
    Overloaded                overloaded           the platform sheds load or is shutting down
  IntentRefused               (the handler's own)  a handler said no
  TimedOut                    timed_out            a step or a handler took longer than it may
  Cancelled                   cancelled            the execution was cancelled
  StartupFailed               startup_failed       the platform could not start
    MissingExtra              missing_extra        an optional part is not installed
  StoreFailed                 store_failed         a store did not do what it promised
  ChildFailed                 child_failed         a child process crashed, or ran out of time or memory
  Unreachable                 unreachable          the platform could not be reached (client side)
  RemoteError                 (the other side's)   an answer with a code that this version does not know (client side)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One thing wrong with a request: a JSON pointer into the body, and what is wrong there."""

    pointer: str
    detail: str


class SymphainyError(Exception):
    """Root of the tree. `code` is stable; `str(error)` is for people: what happened, with values, and what to do."""

    code: str = "internal"
    title: ClassVar[str] = "The platform failed"
    retryable: bool = False

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details
        #: Set by the SDK when the error was rebuilt from an answer.
        self.request_id: str | None = None


class Invalid(SymphainyError):
    """`errors` names each field that is wrong."""

    code = "validation_failed"
    title = "The request is not valid"

    def __init__(self, message: str, /, *, errors: Sequence[FieldError] = (), **details: Any) -> None:
        super().__init__(message, **details)
        self.errors = tuple(FieldError(*error) for error in errors)


class UnknownIntent(Invalid):
    code = "unknown_intent"
    title = "No such intent"


class TooLarge(Invalid):
    code = "payload_too_large"
    title = "Too large"


class UnsupportedMedia(Invalid):
    code = "unsupported_media"
    title = "Unsupported media type"


class IdempotencyMismatch(Invalid):
    code = "idempotency_mismatch"
    title = "The idempotency key belongs to another request"


class NotFound(SymphainyError):
    code = "not_found"
    title = "Not found"


class SessionRequired(NotFound):
    code = "session_required"
    title = "A session is required"


class Conflict(SymphainyError):
    code = "conflict"
    title = "Conflicting state"


class SessionExpired(Conflict):
    code = "session_expired"
    title = "The session has ended"


class LeaseLost(Conflict):
    code = "lease_lost"
    title = "Another worker owns the execution"


class Denied(SymphainyError):
    code = "forbidden"
    title = "Not allowed"


class PolicyDenied(Denied):
    """`policy` is the rule that said no, `reason` why."""

    code = "policy_denied"
    title = "A policy refused this"

    def __init__(self, message: str, /, *, policy: str, reason: str, **details: Any) -> None:
        super().__init__(message, policy=policy, reason=reason, **details)
        self.policy = policy
        self.reason = reason


class TenantMismatch(Denied):
    code = "tenant_mismatch"
    title = "Another tenant than the token's"


class Unauthenticated(SymphainyError):
    code = "unauthenticated"
    title = "Not authenticated"


class Limited(SymphainyError):
    """`retry_after_s`: seconds until it is worth trying again."""

    code = "rate_limited"
    title = "Too many requests"
    retryable = True

    def __init__(self, message: str, /, *, retry_after_s: float = 1.0, **details: Any) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **details)
        self.retry_after_s = retry_after_s


class QuotaExceeded(Limited):
    code = "quota_exceeded"
    title = "Quota used up"


class Overloaded(Limited):
    code = "overloaded"
    title = "Overloaded"


class IntentRefused(SymphainyError):
    """How a handler says no: `raise IntentRefused("file_not_found", "no file ...", {"file_id": file_id})`."""

    code = "refused"
    title = "The intent was refused"

    def __init__(
        self, code: str, message: str, details: Mapping[str, Any] | None = None, *, retryable: bool = False
    ) -> None:
        super().__init__(message, **dict(details or {}))
        self.code = code
        self.retryable = retryable


class TimedOut(SymphainyError):
    code = "timed_out"
    title = "Out of time"
    retryable = True


class Cancelled(SymphainyError):
    code = "cancelled"
    title = "Cancelled"


class StartupFailed(SymphainyError):
    """`service` is what failed; `remedy` what to do about it."""

    code = "startup_failed"
    title = "The platform could not start"

    def __init__(self, message: str, /, *, service: str, remedy: str, **details: Any) -> None:
        super().__init__(f"{message}. {remedy}", service=service, remedy=remedy, **details)
        self.service = service
        self.remedy = remedy


class MissingExtra(StartupFailed):
    """An optional dependency is not installed; the remedy is the command that installs it."""

    code = "missing_extra"
    title = "An optional part is not installed"

    def __init__(self, extra: str, *, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra [{extra}], which is not installed",
            service=extra,
            remedy=f"Install it with: pip install 'symphainy[{extra}]'",
        )


class StoreFailed(SymphainyError):
    code = "store_failed"
    title = "A store failed"


class ChildFailed(SymphainyError):
    """`reason` is `timeout`, `memory`, `crash` or `error`; the message says what the child said last."""

    code = "child_failed"
    title = "A child process failed"

    def __init__(self, message: str, /, *, reason: str, **details: Any) -> None:
        super().__init__(message, reason=reason, **details)
        self.reason = reason


class Unreachable(SymphainyError):
    code = "unreachable"
    title = "The platform could not be reached"
    retryable = True


class RemoteError(SymphainyError):
    """An error with a code this version does not know, rebuilt from an answer."""

    title = "The platform answered with an error"


def _tree(root: type[SymphainyError]) -> dict[str, type[SymphainyError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        # What other modules derive is theirs: only what stands here can be rebuilt from its code alone.
        if child not in (IntentRefused, RemoteError) and child.__module__ == __name__:
            found |= _tree(child)
    return found


def rebuild(code: str, message: str, details: Mapping[str, Any]) -> SymphainyError:
    """The error that `code` stands for, as it was raised on the other side.

    `details` may carry `errors`, `policy`, `reason`, `retry_after_s`, `service`, `remedy`, `retryable`.
    """
    rest = dict(details)
    retryable = bool(rest.pop("retryable", False))
    kind = _tree(SymphainyError).get(code)
    error: SymphainyError
    if kind is None:
        error = RemoteError(message, **rest)
        error.code, error.retryable = code, retryable
    elif issubclass(kind, Invalid):
        pairs = [FieldError(str(e["pointer"]), str(e["detail"])) for e in rest.pop("errors", ())]
        error = kind(message, errors=pairs, **rest)
    elif issubclass(kind, PolicyDenied):
        error = kind(message, policy=str(rest.pop("policy", "")), reason=str(rest.pop("reason", "")), **rest)
    elif issubclass(kind, Limited):
        error = kind(message, retry_after_s=float(rest.pop("retry_after_s", 1.0)), **rest)
    elif issubclass(kind, (StartupFailed, ChildFailed)):
        error = RemoteError(message, **rest)
        error.code = code
    else:
        error = kind(message, **rest)
    return error
