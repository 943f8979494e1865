"""Which type do the values of a column have? Counted over all of them, never guessed from the first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from symphainy.model import JsonObject

_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?(?:[eE][+-]?\d+)?|[+-]?\.\d+")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)")
_CODE = re.compile(r"0\d+")
_COMMA_DECIMAL = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+),\d+")
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0?[1-9]|1[0-2])"
_DATE = re.compile(rf"\d{{4}}([-/.]){_MONTH}\1{_DAY}|{_DAY}([-/.]){_MONTH}\2\d{{4}}|{_MONTH}/{_DAY}/\d{{4}}")
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?"
_TIME = re.compile(_CLOCK)
_DATETIME = re.compile(rf"\d{{4}}-{_MONTH}-{_DAY}[T ]{_CLOCK}\s?(?:Z|UTC|[+-]\d\d:?\d\d)?")
_BOOLEAN = re.compile(r"true|false|yes|no|[TF]", re.IGNORECASE)

EMPTY, TEXT = "empty", "text"


def type_of(value: str) -> str:
    """`empty integer decimal code date time datetime boolean text`. A `code` has leading zeros that carry meaning."""
    value = value.strip()
    if not value:
        return EMPTY
    first = value[0]
    if first.isdigit() or first in "+-.":
        if _INTEGER.fullmatch(value):
            return "integer"
        if _CODE.fullmatch(value):
            return "code"
        if _NUMBER.fullmatch(value) or _COMMA_DECIMAL.fullmatch(value):
            return "decimal"
        if _DATE.fullmatch(value):
            return "date"
        if _DATETIME.fullmatch(value):
            return "datetime"
        if _TIME.fullmatch(value):
            return "time"
        return TEXT
    return "boolean" if len(value) <= 5 and _BOOLEAN.fullmatch(value) else TEXT


def common_type(types: Iterable[str]) -> str:
    """The narrowest type that all of these share."""
    seen = {*types} - {EMPTY}
    if not seen:
        return EMPTY
    if len(seen) == 1:
        return seen.pop()
    if seen <= {"integer", "decimal"}:
        return "decimal"
    if seen <= {"integer", "code"}:
        return "code"
    if seen <= {"date", "datetime"}:
        return "datetime"
    return TEXT


class ColumnTypes:
    """Counts of types per column, over rows added in batches."""

    _BATCH_ROWS = 1024

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._counts: list[Counter[str]] = [Counter() for _ in names]
        self._rows: list[list[str]] = []

    def add(self, row: list[str]) -> None:
        self._rows.append(row)
        if len(self._rows) >= self._BATCH_ROWS:
            self._settle()

    def _settle(self) -> None:
        for counts, column in zip(self._counts, zip(*self._rows, strict=True), strict=False):
            # Each value once: most columns repeat themselves.
            for value, times in Counter(column).items():
                counts[type_of(value)] += times
        self._rows.clear()

    def schema(self) -> list[JsonObject]:
        """`[{name, type, types: {type: count}}]`, in the order of the columns."""
        self._settle()
        return [
            {"name": name, "type": common_type(counts), "types": dict(sorted(counts.items()))}
            for name, counts in zip(self.names, self._counts, strict=True)
        ]
