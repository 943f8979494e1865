"""Curator: may this intent join, and what is it called?

may_register(existing, declared, ...)   `existing`: every name and alias in use → who holds it;
                                        `declared`: an `IntentDeclaration`
may_offer(capability, known=...)        the name of a capability
may_emit(event_type)                    what a handler may call its own events
names_of(declared)                      the intent type and its aliases: what to add to `existing`
resolve(name, names)                    an alias or intent type → the intent type, or None
close_names(name, known)                what may have been meant
catalogue_row(declared, ...)            the row of `GET /api/intents`
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from typing import Protocol

from symphainy.model import RESERVED_EVENTS, Decision, IntentInfo, JsonObject, allow, refuse

REGISTRATION = "curator.registration"
EVENT_NAME = "curator.event_name"

NAME = re.compile(r"[a-z][a-z0-9_]*")
ALIAS = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
VERSION = re.compile(r"\d+(\.\d+){0,2}")
NAME_CHARS_MAX = 100
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


class Declared(Protocol):
    """What an author says of an intent, as far as it is decided on here."""

    @property
    def intent_type(self) -> str: ...
    @property
    def aliases(self) -> tuple[str, ...]: ...
    @property
    def read_only(self) -> bool: ...
    @property
    def artifacts(self) -> tuple[str, ...]: ...
    @property
    def events(self) -> tuple[str, ...]: ...
    @property
    def accepts(self) -> tuple[str, ...]: ...
    @property
    def version(self) -> str: ...


def may_register(
    existing: Mapping[str, str],
    declared: Declared,
    *,
    handler_is_async: bool = True,
    handler_parameters: Collection[str] = ("ctx", "params"),
) -> Decision:
    """`handler_parameters` are those of the bound handler, without `self`."""
    name = declared.intent_type
    problem = (
        _name_problem(name, NAME, "intent type")
        or _alias_problem(declared)
        or _held_already(existing, declared)
        or _version_problem(declared)
        or _artifact_problem(declared)
    )
    if problem:
        return refuse(REGISTRATION, problem, remedy=f"Change the declaration of {name!r}")
    if not handler_is_async or len(handler_parameters) != 2:
        kind = "an async function" if handler_is_async else "no async function"
        taken = ", ".join(handler_parameters) or "nothing"
        return refuse(
            REGISTRATION,
            f"the handler of {name!r} is {kind} that takes {taken}",
            remedy="Write it as: async def handler(ctx, params) -> IntentResult",
        )
    for event_type in declared.events:
        emitted = may_emit(event_type)
        if not emitted.allowed:
            return refuse(REGISTRATION, f"{name!r}: {emitted.reason}", remedy=emitted.remedy)
    return allow(REGISTRATION, f"{name!r} version {declared.version} with {len(declared.aliases)} aliases")


def may_offer(capability: str, *, known: Collection[str]) -> Decision:
    """May a capability of this name join those that are `known`?"""
    problem = _name_problem(capability, NAME, "capability name")
    if problem:
        return refuse(REGISTRATION, problem, remedy="Set `name` on the class")
    if capability in known:
        return refuse(REGISTRATION, f"a capability {capability!r} is registered already", remedy="Rename one of them")
    return allow(REGISTRATION, f"{capability!r} is a new name")


def may_emit(event_type: str) -> Decision:
    if event_type in RESERVED_EVENTS:
        return refuse(
            EVENT_NAME,
            f"{event_type!r} is an event that the runtime alone writes",
            remedy="Name the event for what the handler did",
        )
    problem = _name_problem(event_type, ALIAS, "event type")
    if problem:
        return refuse(EVENT_NAME, problem, remedy="Use lower-case words joined by _ or by dots")
    return allow(EVENT_NAME, f"{event_type!r} is free to use")


def names_of(declared: Declared) -> tuple[str, ...]:
    return (declared.intent_type, *declared.aliases)


def resolve(name: str, names: Mapping[str, str]) -> str | None:
    """`names`: every intent type and alias → its intent type."""
    return names.get(name)


def close_names(name: str, known: Collection[str], *, limit: int = 3) -> tuple[str, ...]:
    """Best first. CamelCase, dots, dashes and the order of the words do not matter."""
    wanted = _plain(name)
    plain: dict[str, list[str]] = {}
    for each in sorted(known):
        plain.setdefault(_plain(each), []).append(each)
    near = difflib.get_close_matches(wanted, plain, n=limit, cutoff=0.6)
    return tuple(each for key in near for each in plain[key])[:limit]


def catalogue_row(
    declared: Declared,
    *,
    capability: str,
    handler_name: str,
    description: str,
    parameters_schema: JsonObject,
    result_schema: JsonObject | None,
) -> IntentInfo:
    return IntentInfo(
        intent_type=declared.intent_type,
        capability=capability,
        handler_name=handler_name,
        description=description,
        read_only=declared.read_only,
        parameters_schema=parameters_schema,
        result_schema=result_schema,
        artifacts=declared.artifacts,
        aliases=declared.aliases,
        version=declared.version,
    )


def _plain(name: str) -> str:
    return "_".join(sorted(word.lower() for word in _WORD.findall(name)))


def _name_problem(name: str, form: re.Pattern[str], what: str) -> str | None:
    if form.fullmatch(name) and len(name) <= NAME_CHARS_MAX:
        return None
    dots = ", in words joined by dots" if form is ALIAS else ""
    shape = f"a-z, 0-9 and _, the first a letter{dots}, at most {NAME_CHARS_MAX} characters"
    return f"{name!r} is no {what}: {shape}"


def _alias_problem(declared: Declared) -> str | None:
    for alias in declared.aliases:
        if problem := _name_problem(alias, ALIAS, "alias"):
            return problem
    names = names_of(declared)
    twice = sorted({name for name in names if names.count(name) > 1})
    return f"{declared.intent_type!r} declares {', '.join(twice)} twice" if twice else None


def _held_already(existing: Mapping[str, str], declared: Declared) -> str | None:
    for name in names_of(declared):
        if name in existing:
            return f"{name!r} is registered already, by {existing[name]}"
    return None


def _version_problem(declared: Declared) -> str | None:
    if VERSION.fullmatch(declared.version):
        return None
    return f"{declared.version!r} is no version: write 1, 1.2 or 1.2.3"


def _artifact_problem(declared: Declared) -> str | None:
    for artifact_type in (*declared.artifacts, *declared.accepts):
        if problem := _name_problem(artifact_type, NAME, "artifact type"):
            return problem
    if declared.read_only and declared.artifacts:
        return f"{declared.intent_type!r} only reads, and yet produces {', '.join(declared.artifacts)}"
    return None
