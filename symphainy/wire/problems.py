"""From the tree of errors to problem documents (RFC 9457). The one place where a code becomes an HTTP status.

What a failure of the platform itself says stays in the log: the answer names the request under which to find it there.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from symphainy.errors import (
    Cancelled,
    ChildFailed,
    Conflict,
    Denied,
    FieldError,
    IdempotencyMismatch,
    IntentRefused,
    Invalid,
    LeaseLost,
    Limited,
    NotFound,
    Overloaded,
    PolicyDenied,
    QuotaExceeded,
    RemoteError,
    SessionExpired,
    SessionRequired,
    StartupFailed,
    StoreFailed,
    SymphainyError,
    TenantMismatch,
    TimedOut,
    TooLarge,
    Unauthenticated,
    UnknownIntent,
    Unreachable,
    UnsupportedMedia,
)
from symphainy.model import JsonObject

MEDIA_TYPE = b"application/problem+json"
TYPE_PREFIX = "urn:symphainy:problem:"


class MethodNotAllowed(SymphainyError):
    """The address exists, for other methods."""

    code = "method_not_allowed"
    title = "Not with this method"

    def __init__(self, message: str, /, *, allow: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.allow = allow


class RangeNotSatisfiable(SymphainyError):
    """The asked-for range begins at or beyond the end. `size_bytes` is where that is."""

    code = "range_not_satisfiable"
    title = "No such range"

    def __init__(self, message: str, /, *, size_bytes: int = 0, **details: Any) -> None:
        super().__init__(message, size_bytes=size_bytes, **details)
        self.size_bytes = size_bytes


class RequestTimeout(SymphainyError):
    """The request did not arrive in time."""

    code = "request_timeout"
    title = "The request took too long to arrive"
    retryable = True


class UnexpectedAnswer(RemoteError):
    """The Runtime answered with something that this version does not know."""

    code = "unexpected_answer"
    title = "The Runtime gave an answer that is not understood"


#: The most specific class that is listed counts.
STATUS: dict[type[SymphainyError], int] = {
    SymphainyError: 500,
    Invalid: 422,
    UnknownIntent: 404,
    TooLarge: 413,
    UnsupportedMedia: 415,
    IdempotencyMismatch: 422,
    NotFound: 404,
    SessionRequired: 404,
    Conflict: 409,
    SessionExpired: 410,
    LeaseLost: 409,
    Denied: 403,
    PolicyDenied: 403,
    TenantMismatch: 403,
    Unauthenticated: 401,
    Limited: 429,
    QuotaExceeded: 429,
    Overloaded: 503,
    IntentRefused: 422,
    TimedOut: 503,
    Cancelled: 409,
    StartupFailed: 503,
    StoreFailed: 503,
    ChildFailed: 500,
    Unreachable: 503,
    RemoteError: 502,
    UnexpectedAnswer: 502,
    MethodNotAllowed: 405,
    RangeNotSatisfiable: 416,
    RequestTimeout: 408,
}

#: What these say is about the platform's inside: addresses, paths, the words of a driver.
_INTERNAL: dict[type[SymphainyError], str] = {
    SymphainyError: "The platform failed. Its log has the reason under this request id.",
    StoreFailed: "A store of the platform failed. Its log has the reason under this request id.",
    ChildFailed: "A process of the platform failed. Its log has the reason under this request id.",
    StartupFailed: "A part of the platform is not running. Its log has the reason under this request id.",
    Unreachable: "The Runtime cannot be reached. Try again in a moment.",
}
_BY_CODE = {kind.code: kind for kind in STATUS if kind not in (SymphainyError, IntentRefused, RemoteError)}
_RESERVED = frozenset({"type", "title", "status", "detail", "instance", "code", "request_id", "retryable", "errors"})


class ProblemField(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with the request: a JSON pointer into the body (or the name of a query parameter after `/`)."""

    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a request was refused or failed (RFC 9457). `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    retryable: bool
    errors: tuple[ProblemField, ...] = ()
    policy: str = ""
    """The rule that said no."""
    reason: str = ""


def status_of(error: SymphainyError) -> int:
    return STATUS[_kind_of(error)]


def is_internal(error: SymphainyError) -> bool:
    """Whether the reason belongs into the log, and only there."""
    return _kind_of(error) in _INTERNAL


def problem_of(error: SymphainyError, *, request_id: str, instance: str) -> JsonObject:
    """The document. Details of the error that are JSON are members of it."""
    kind = _kind_of(error)
    document: JsonObject = {
        "type": TYPE_PREFIX + error.code,
        "title": kind.title if isinstance(error, RemoteError) else error.title,
        "status": STATUS[kind],
        "detail": _INTERNAL.get(kind, error.message),
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
        "retryable": error.retryable,
    }
    if kind not in _INTERNAL:
        document.update((name, value) for name, value in error.details.items() if name not in _RESERVED)
    if isinstance(error, Invalid) and (error.errors or error.code == Invalid.code):
        # What is wrong with the whole, and with no member of it, is at the empty pointer.
        found = error.errors or (FieldError("", error.message),)
        document["errors"] = [{"pointer": each.pointer, "detail": each.detail} for each in found]
    return document


def encode_problem(document: JsonObject) -> bytes:
    try:
        return msgspec.json.encode(document, enc_hook=str)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # A detail that is no JSON: the document is whole without it.
        return msgspec.json.encode({name: document[name] for name in _RESERVED & document.keys()}, enc_hook=str)


def problem_headers(error: SymphainyError, *, token_presented: bool) -> list[tuple[bytes, bytes]]:
    """The headers that belong to this error."""
    headers: list[tuple[bytes, bytes]] = []
    match error:
        case Unauthenticated():
            challenge = b'Bearer realm="symphainy"'
            if token_presented:
                challenge += b', error="invalid_token"'
            headers.append((b"www-authenticate", challenge))
        case Limited(retry_after_s=seconds):
            headers.append((b"retry-after", str(max(1, math.ceil(seconds))).encode()))
        case Unreachable() | StoreFailed() | TimedOut():
            headers.append((b"retry-after", b"1"))
        case MethodNotAllowed(allow=allow):
            headers.append((b"allow", allow.encode()))
        case RangeNotSatisfiable(size_bytes=size_bytes):
            headers.append((b"content-range", f"bytes */{size_bytes}".encode()))
        case RequestTimeout():
            headers.append((b"connection", b"close"))
        case _:
            pass
    return headers


def _kind_of(error: SymphainyError) -> type[SymphainyError]:
    """What the error is answered as. One that another service could not name is known by its code."""
    if isinstance(error, RemoteError):
        return _BY_CODE.get(error.code, RemoteError)
    return next(kind for kind in type(error).__mro__ if kind in STATUS)
