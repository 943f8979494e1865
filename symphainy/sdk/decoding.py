"""From the wire to the model. Unknown fields are ignored; what never leaves the platform is filled in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from symphainy.errors import Invalid, SymphainyError, rebuild
from symphainy.model import Artifact, Event, Execution, JsonObject, Page, PendingIntent
from symphainy.model.json import parse

T = TypeVar("T")

UNEXPECTED_ANSWER = "unexpected_answer"

# Places in the log by which lists are ordered: no business of a client, so the wire leaves them out.
_INTERNAL = {"ordinal": 0}


def unexpected(detail: str) -> SymphainyError:
    """An answer that is not what the contract says: another version, or no Symphainy at all."""
    return rebuild(UNEXPECTED_ANSWER, f"{detail}. Is this the address of a Symphainy platform of this version?", {})


def json_of(data: bytes) -> Any:
    try:
        return parse(data)
    except Invalid as error:
        raise unexpected(f"the answer is {error}") from None


def typed(value: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise unexpected(f"the answer is no {kind.__name__}: {error}") from None


def execution_of(value: Any) -> Execution:
    return typed(_filled_in(value), Execution)


def artifact_of(value: Any) -> Artifact:
    return typed(_filled_in(value), Artifact)


def pending_of(value: Any) -> PendingIntent:
    return typed(_filled_in(value), PendingIntent)


def event_of(value: Any) -> Event:
    return typed(value, Event)


def page_of(value: Any, name: str, item_of: Callable[[Any], T]) -> Page[T]:
    """A page of `{name: [...], next_cursor}`."""
    answer = typed(value, dict[str, Any])
    items = typed(answer.get(name), list[Any])
    return Page(items=tuple(map(item_of, items)), next_cursor=typed(answer.get("next_cursor"), _Cursor))


_Cursor: Any = str | None


def _filled_in(value: Any) -> JsonObject:
    return _INTERNAL | typed(value, dict[str, Any])
