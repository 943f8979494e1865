"""The plan of all intents: `docs/data/intent_catalogue.json`."""

from __future__ import annotations

from pathlib import Path

import msgspec

PATH = Path("docs/data/intent_catalogue.json")


class OlderName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    note: str = ""


class PlannedIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    intent_type: str
    capability: str
    experience: str
    read_only: bool
    purpose: str
    parameters: tuple[str, ...]
    artifacts: tuple[str, ...]
    events: tuple[str, ...]
    idempotency: str = ""
    replaces: tuple[OlderName, ...] = ()
    event_aliases: tuple[str, ...] = ()
    rationale: str = ""


class PlannedCapability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    capability: str
    experience: tuple[str, ...]
    does: str


class Folder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A folder of the earlier intent contracts. `named`: the source documents name this very pattern."""

    folder: str
    named: bool
    capability: str
    experience: str
    note: str = ""


class Word(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A word whose sense changed."""

    word: str
    then: str
    now: str


class NotAnIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    is_: str = msgspec.field(name="is")


class Catalogue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    about: str
    capabilities: tuple[PlannedCapability, ...]
    folders: tuple[Folder, ...]
    words: tuple[Word, ...]
    intents: tuple[PlannedIntent, ...]
    not_intents: tuple[NotAnIntent, ...]

    def planned(self, intent_type: str) -> PlannedIntent | None:
        return next((row for row in self.intents if row.intent_type == intent_type), None)


def read_catalogue(root: Path) -> Catalogue | None:
    """The plan that lies in this tree, or None. Raises `msgspec.ValidationError` for another shape."""
    path = root / PATH
    return msgspec.json.decode(path.read_bytes(), type=Catalogue) if path.exists() else None
