"""What every parser yields, and the account it must balance.

A parser is a generator of `Piece`s that returns a `Summary`. Nothing may vanish between the file and the pieces: each
byte, row and page is delivered, ignored for a declared reason, or quarantined with a reason and a location, and `Tally`
refuses to close the account when the sums do not add up to what was read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from typing import Any, TypeAlias

import msgspec

from symphainy.errors import IntentRefused
from symphainy.model import JsonObject

#: Raise when a parser's output for the same input changes: parsed content of another version is parsed anew.
PARSER_VERSION = "1"

UNIT_CHARS_MAX = 64 * 1024
"""A longer block is delivered as several units, each of which says that it continues the one before."""
EXCERPT_CHARS_MAX = 4096
"""What is quoted of a quarantined passage; its byte span says where the rest is."""


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a unit stands in its source.

    Characters count from 0 within the page of a PDF, and within the decoded text of every other format (without its
    byte order mark); bytes count from 0 in the file. `page`, `row` and `line` count from 1; `row` counts records.
    """

    char_start: int
    char_end: int
    byte_start: int | None = None
    byte_end: int | None = None
    page: int | None = None
    row: int | None = None
    line: int | None = None
    pointer: str | None = None
    """JSON pointer (RFC 6901)."""
    section: tuple[str, ...] = ()
    """The headings above it, outermost first."""


class Unit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a `parsed_content` artifact."""

    kind: str
    position: Position
    text: str | msgspec.UnsetType = msgspec.UNSET
    values: Any = msgspec.UNSET
    level: int | None = None
    """Of a heading, 1 to 6."""
    continued: bool = False
    reason: str | None = None
    """Why it is quarantined."""
    details: JsonObject | None = None
    truncated: bool = False
    """`text` is the beginning only; `position` spans the whole."""


QUARANTINED = "quarantined"
_SURROGATE = re.compile("[\ud800-\udfff]")


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A unit with the exact source text it came from.

    `gap` is the source text between the piece before and this one; None when they must not be read as one passage.
    """

    unit: Unit
    raw: str
    gap: str | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What a parser says of the whole. `structure` holds what the format has: encoding, dialect, schema, headings."""

    parser: str
    counts: JsonObject
    balance: JsonObject
    structure: JsonObject
    warnings: tuple[str, ...] = ()


Pieces: TypeAlias = Generator[Piece, None, Summary]


def quarantined(reason: str, raw: str, position: Position, **details: Any) -> Piece:
    """A piece that no one can take for content. Bytes that are no character are shown as `\\xNN`."""
    unit = Unit(
        kind=QUARANTINED,
        text=_SURROGATE.sub(_shown, raw[:EXCERPT_CHARS_MAX]),
        position=position,
        reason=reason,
        details=details or None,
        truncated=len(raw) > EXCERPT_CHARS_MAX,
    )
    return Piece(unit=unit, raw="")


def _shown(surrogate: re.Match[str]) -> str:
    code = ord(surrogate.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


class _Account(msgspec.Struct, kw_only=True):
    delivered: int = 0
    ignored: Counter[str] = msgspec.field(default_factory=Counter)
    quarantined: Counter[str] = msgspec.field(default_factory=Counter)


class Tally:
    """The account of one file, in as many measures as its format has: bytes, rows, pages, characters."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}

    def _account(self, measure: str) -> _Account:
        found = self._accounts.get(measure)
        if found is None:
            found = self._accounts[measure] = _Account()
        return found

    def deliver(self, **amounts: int) -> None:
        for measure, amount in amounts.items():
            self._account(measure).delivered += amount

    def ignore(self, reason: str, **amounts: int) -> None:
        for measure, amount in amounts.items():
            if amount:
                self._account(measure).ignored[reason] += amount

    def quarantine(self, reason: str, **amounts: int) -> None:
        for measure, amount in amounts.items():
            if amount:
                self._account(measure).quarantined[reason] += amount

    def quarantined(self, measure: str) -> int:
        return self._account(measure).quarantined.total()

    def balance(self, **totals: int) -> JsonObject:
        """`{measure: {total, delivered, ignored: {reason: n}, quarantined: {reason: n}}}`.

        `totals` are counted apart from what was tallied. Raises `IntentRefused` `balance_broken` when they differ: then
        something would have been lost, and nothing is delivered at all.
        """
        out: JsonObject = {}
        for measure, total in totals.items():
            account = self._account(measure)
            ignored, held = dict(sorted(account.ignored.items())), dict(sorted(account.quarantined.items()))
            entry = {"total": total, "delivered": account.delivered, "ignored": ignored, "quarantined": held}
            accounted = account.delivered + account.ignored.total() + account.quarantined.total()
            if accounted != total:
                raise IntentRefused(
                    "balance_broken",
                    f"{total} {measure} were read and {accounted} accounted for; nothing was kept. "
                    "This is a fault of the parser: please report it with the file",
                    {"measure": measure, **entry},
                )
            out[measure] = entry
        return out
