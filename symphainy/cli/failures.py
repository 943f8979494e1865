"""What a failure says on the terminal: what happened, and the command to try next."""

from __future__ import annotations

from collections.abc import Iterator

from symphainy.errors import (
    Denied,
    Invalid,
    Limited,
    MissingExtra,
    NotFound,
    RemoteError,
    SessionExpired,
    SessionRequired,
    StartupFailed,
    StoreFailed,
    SymphainyError,
    Unauthenticated,
    UnknownIntent,
    Unreachable,
)


def explained(error: SymphainyError, command: str) -> Iterator[str]:
    """Lines for people. `command` is the verb that failed, such as `executions show`."""
    yield f"error: {error}"
    if isinstance(error, Invalid):
        for field in error.errors:
            if field.detail not in error.message:
                yield f"  {field.pointer or '/'}: {field.detail}"
    yield from (f"  {note}" for note in getattr(error, "__notes__", ()))
    if error.request_id and type(error) in (SymphainyError, StoreFailed, RemoteError):
        yield f"  request {error.request_id}: the platform's log tells more under this id"
    yield f"try: {remedy(error, command)}"


def remedy(error: SymphainyError, command: str) -> str:
    """The command to try next."""
    match error:
        case Unreachable():
            return "symphainy up"
        case Unauthenticated():
            return "symphainy token --tenant TENANT --user USER --save"
        case UnknownIntent():
            return "symphainy intents list"
        case SessionRequired() | SessionExpired():
            return "symphainy sessions create"
        case Denied():
            return "symphainy token --tenant TENANT --user USER --role operator --save"
        case NotFound() if command.startswith("artifacts"):
            return "symphainy artifacts list"
        case NotFound() if command.startswith("executions"):
            return "symphainy executions list"
        case Limited():
            return f"symphainy {command} again, in {error.retry_after_s:g} s"
        case MissingExtra() | RemoteError(code="missing_extra"):
            return f"pip install 'symphainy[{error.details['service']}]'"
        case StartupFailed() | StoreFailed():
            return "symphainy doctor"
        case _ if "execution_id" in error.details:
            return f"symphainy executions show {error.details['execution_id']} --steps"
        case Invalid():
            return f"symphainy {command} --help"
        case _:
            return "symphainy doctor"
