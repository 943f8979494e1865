"""JSON and JSON Lines: one unit a record or section, read as a stream.

Numbers keep the digits they are written with. A document that is not JSON is refused as a whole, with the place; in
JSON Lines each line stands for itself, and a broken one is quarantined.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Generator, Iterator
from decimal import Decimal
from typing import Any, BinaryIO

import msgspec

from symphainy.capabilities.content.parsing.encoding import BLOCK_BYTES, Encoding
from symphainy.capabilities.content.parsing.lines import Line, read_lines
from symphainy.capabilities.content.parsing.options import ParseOptions
from symphainy.capabilities.content.parsing.units import (
    Piece,
    Pieces,
    Position,
    Summary,
    Tally,
    Unit,
    quarantined,
)
from symphainy.errors import IntentRefused
from symphainy.model import JsonObject
from symphainy.model.json import DEPTH_MAX, depth_exceeds

PARSER = "json"
LINES_PARSER = "json_lines"
VALUE_CHARS_MAX = 16 << 20
"""Of one record or section. A list of any length is read as a stream; one value must fit into memory."""
KEYS_MAX = 1000
"""Of records, described in the schema."""
_DIGITS_MAX = 1000
#: A text cut off at the end of the buffer fails at most this far before it, or in a string that is not closed.
_CUT_CHARS = 16
_GAP_CHARS_MAX = 1 << 16

_SPACE = re.compile(r"[ \t\r\n]*")
_RECORDS_FOLLOW = re.compile(r"\[[ \t\r\n]*\{")
_TO_BE_CONTINUED = re.compile(r"[0-9.eE+-]*\Z")
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


class _Faulty(ValueError):
    """Well formed, and yet nothing that two readers would read alike."""


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise _Faulty(f"the key {twice[:100]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise _Faulty(f"{name} is not JSON")


def _decimal(digits: str) -> Decimal:
    if math.isinf(float(digits)):
        raise _Faulty(f"the number {digits[:40]} is greater than JSON readers can hold")
    return Decimal(digits)


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_MAX:
        raise _Faulty(f"an integer of {len(digits)} digits; at most {_DIGITS_MAX} are read")
    return int(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_decimal, parse_int=_integer
)


def _checked(value: Any, raw: str, depth: int) -> Any:
    """Raises `_Faulty`; `IntentRefused` `parser_limit` when it is nested too deep."""
    if depth_exceeds(value, DEPTH_MAX - depth - 1):  # which counts from what lies inside
        raise _too_deep()
    if _HALF_PAIR.search(raw):
        try:
            msgspec.json.encode(value)
        except UnicodeEncodeError:
            raise _Faulty("a string holds one half of a surrogate pair") from None
    return value


def _too_deep() -> IntentRefused:
    return IntentRefused(
        "parser_limit",
        f"objects and arrays are nested deeper than {DEPTH_MAX}",
        {"limit": "depth", "max": DEPTH_MAX},
    )


class _Text:
    """A JSON document as text, read as far as it is needed. Every character is part of a value or of the structure."""

    def __init__(self, file: BinaryIO, encoding: Encoding) -> None:
        self._file = file
        self._codec = encoding.name
        self._decoder = codecs.getincrementaldecoder(encoding.name)("strict")
        self._buffer = ""
        self._at = 0
        self._ended = False
        #: What lies before `_counted` is in the sums below; then comes a value, up to `_value_end`, then structure.
        self._counted = self._value_end = 0
        self._char, self._byte, self._line = 0, encoding.bom_bytes, 1
        self.structure_bytes = 0
        self.value_bytes = 0
        file.seek(encoding.bom_bytes)

    def peek(self) -> str:
        """The next character that is not white space, not taken; empty at the end."""
        while True:
            space = _SPACE.match(self._buffer, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if self._ended:
                return ""
            if self._at - self._value_end > _GAP_CHARS_MAX:
                self._count()
            self._fill(1)

    def take(self, wanted: str) -> str:
        """Step over one of the characters of `wanted`."""
        found = self.peek()
        if not found or found not in wanted:
            names = " or ".join(repr(each) for each in wanted)
            raise self.invalid(
                f"expected {names}, found {found!r}" if found else f"the text ends where {names} must follow"
            )
        self._at += 1
        return found

    def records_follow(self) -> bool:
        """Whether a list of objects comes next."""
        self.peek()
        self._fill(_CUT_CHARS * 64)
        return _RECORDS_FOLLOW.match(self._buffer, self._at) is not None

    def value(self, *, depth: int) -> tuple[Any, str, Position, str]:
        """The next value, its source, its place, and the structure between it and the value before."""
        self.peek()
        gap = self._buffer[self._value_end : self._at]
        self._count()
        ahead, end = 1, 0
        while True:
            self._fill(ahead)
            try:
                found, end = _DECODER.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                whole = error.pos < len(self._buffer) - _CUT_CHARS and not error.msg.startswith("Unterminated")
                if self._ended or whole:
                    self._at = error.pos
                    raise self.invalid(error.msg) from None
            except _Faulty as error:
                raise self.invalid(str(error)) from None
            except RecursionError:
                raise _too_deep() from None
            else:
                # A number that reaches to the end of the buffer may go on behind it: `0.` is not yet `0` and a dot.
                if self._ended or not _TO_BE_CONTINUED.match(self._buffer, end):
                    break
            ahead = 2 * max(len(self._buffer) - self._at, BLOCK_BYTES)
            if ahead > 2 * VALUE_CHARS_MAX:
                raise self._too_long()
        if end - self._at > VALUE_CHARS_MAX:
            raise self._too_long()
        raw = self._buffer[self._at : end]
        try:
            found = _checked(found, raw, depth)
        except _Faulty as error:
            raise self.invalid(str(error)) from None
        position = Position(
            char_start=self._char,
            char_end=self._char + len(raw),
            byte_start=self._byte,
            byte_end=self._byte + self._length(raw),
            line=self._line,
        )
        self._at = self._value_end = end
        return found, raw, position, gap

    def finish(self) -> int:
        """Nothing but white space may follow. Returns the bytes read, the byte order mark among them."""
        if self.peek():
            raise self.invalid("something follows the end of the document")
        self._count()
        return self._byte

    def invalid(self, why: str) -> IntentRefused:
        """At the present place."""
        self._count()
        return IntentRefused(
            "invalid_json",
            f"not JSON at line {self._line}, byte {self._byte}: {why}",
            {"line": self._line, "byte": self._byte, "char": self._char, "reason": why},
        )

    def _fill(self, ahead: int) -> None:
        """Read until so many characters lie ahead, or the file has ended."""
        if len(self._buffer) - self._at >= ahead or self._ended:
            return
        parts = [self._buffer[self._counted :]]
        self._at -= self._counted
        self._value_end -= self._counted
        self._counted = 0
        held = len(parts[0]) - self._at
        while held < ahead and not self._ended:
            block = self._file.read(BLOCK_BYTES)
            try:
                text = self._decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                good = error.object[: error.start].decode(self._codec, "replace")
                self._buffer = "".join([*parts, good])
                self._at = len(self._buffer)
                raise self.invalid(f"bytes that are not {self._codec}") from None
            parts.append(text)
            held += len(text)
            self._ended = not block
        self._buffer = "".join(parts)

    def _count(self) -> None:
        """Enter what lies behind into the sums."""
        value_end = max(self._value_end, self._counted)
        value, structure = self._buffer[self._counted : value_end], self._buffer[value_end : self._at]
        value_bytes, structure_bytes = self._length(value), self._length(structure)
        self.value_bytes += value_bytes
        self.structure_bytes += structure_bytes
        self._char += len(value) + len(structure)
        self._byte += value_bytes + structure_bytes
        self._line += value.count("\n") + structure.count("\n")
        self._counted = self._value_end = self._at

    def _length(self, text: str) -> int:
        if text.isascii() and self._codec == "utf-8":
            return len(text)
        return len(text.encode(self._codec))

    def _too_long(self) -> IntentRefused:
        return IntentRefused(
            "parser_limit",
            f"the value at byte {self._byte} has more than {VALUE_CHARS_MAX} characters. "
            "Write its records as JSON Lines",
            {"limit": "value_chars", "byte": self._byte, "max": VALUE_CHARS_MAX},
        )


class _Schema:
    """Which keys the records of one list have, and of which types."""

    def __init__(self, pointer: str) -> None:
        self.pointer = pointer
        self.rows = 0
        self._types: dict[str, Counter[str]] = {}
        self._beyond = 0

    def add(self, record: JsonObject) -> None:
        self.rows += 1
        for key, value in record.items():
            types = self._types.get(key)
            if types is None:
                if len(self._types) >= KEYS_MAX:
                    self._beyond += 1
                    continue
                types = self._types[key] = Counter()
            types[_json_type(value)] += 1

    def to_dict(self) -> JsonObject:
        columns = [
            {
                "name": key,
                "type": _common(types),
                "types": dict(sorted((types + Counter(absent=self.rows - types.total())).items())),
            }
            for key, types in self._types.items()
        ]
        return {"pointer": self.pointer, "rows": self.rows, "columns": columns, "keys_beyond_limit": self._beyond}


def _json_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case Decimal():
            return "decimal"
        case str():
            return "text"
        case list():
            return "array"
        case _:
            return "object"


def _common(types: Counter[str]) -> str:
    seen = {*types} - {"null"}
    if seen == {"integer", "decimal"}:
        return "decimal"
    return seen.pop() if len(seen) == 1 else "mixed" if seen else "null"


def parse_json(file: BinaryIO, size_bytes: int, encoding: Encoding, options: ParseOptions) -> Pieces:
    """Units: `record` (an object of a list), `value` (another member of a list), `section` (a member of the outermost
    object, `values` being `{key: value}`). Measures: bytes and rows.
    """
    text = _Text(file, encoding)
    tally = Tally()
    schemas: list[_Schema] = []
    sections = values = 0
    form = {"[": "array", "{": "object"}.get(text.peek(), "scalar")
    if form == "array":
        schemas.append(_Schema(""))
        values = yield from _items(text, schemas[-1], depth=1)
    elif form == "object":
        sections, values = yield from _members(text, schemas)
    else:
        value, raw, position, _ = text.value(depth=0)
        values = 1
        unit = Unit(kind="value", values=value, position=msgspec.structs.replace(position, pointer=""))
        yield Piece(unit=unit, raw=raw)
    read = text.finish()
    assert read <= size_bytes, f"{read} bytes were read of a file of {size_bytes}"
    tally.ignore("byte_order_mark", bytes=encoding.bom_bytes)
    tally.ignore("structure", bytes=text.structure_bytes)
    rows = sum(schema.rows for schema in schemas)
    tally.deliver(bytes=text.value_bytes, rows=rows + values + sections)
    return Summary(
        parser=PARSER,
        counts={"rows": rows, "values": values, "sections": sections},
        balance=tally.balance(bytes=size_bytes, rows=rows + values + sections),
        structure={
            "encoding": encoding.to_dict(),
            "form": form,
            "records": [schema.to_dict() for schema in schemas],
        },
    )


def _members(text: _Text, schemas: list[_Schema]) -> Generator[Piece, None, tuple[int, int]]:
    """The members of the outermost object. Returns how many are sections, and how many values their lists held that are
    no objects. A schema is added for each list of objects.
    """
    sections = values = 0
    keys: set[str] = set()
    text.take("{")
    if text.peek() == "}":
        text.take("}")
        return 0, 0
    while True:
        if text.peek() != '"':
            raise text.invalid("expected a key in double quotes")
        key, raw_key, start, gap = text.value(depth=1)
        if key in keys:
            raise text.invalid(f"the key {key[:100]!r} stands twice in one object")
        keys.add(key)
        text.take(":")
        pointer = f"/{key.replace('~', '~0').replace('/', '~1')}"
        if text.records_follow():
            schemas.append(_Schema(pointer))
            values += yield from _items(text, schemas[-1], depth=2)
        else:
            sections += 1
            value, raw, end, between = text.value(depth=1)
            position = msgspec.structs.replace(start, char_end=end.char_end, byte_end=end.byte_end, pointer=pointer)
            unit = Unit(kind="section", values={key: value}, position=position)
            yield Piece(unit=unit, raw=raw_key + between + raw, gap=_gap(gap))
        if text.take(",}") == "}":
            return sections, values


def _items(text: _Text, schema: _Schema, *, depth: int) -> Generator[Piece, None, int]:
    """The members of a list. Returns how many of them are no objects."""
    others = 0
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return 0
    index = 0
    while True:
        value, raw, position, gap = text.value(depth=depth)
        row = None
        if isinstance(value, dict):
            schema.add(value)
            row = schema.rows
        else:
            others += 1
        position = msgspec.structs.replace(position, row=row, pointer=f"{schema.pointer}/{index}")
        unit = Unit(kind="value" if row is None else "record", values=value, position=position)
        yield Piece(unit=unit, raw=raw, gap=_gap(gap) if index else None)
        index += 1
        if text.take(",]") == "]":
            return others


def _gap(between: str) -> str | None:
    """What stands between two values of one passage; what is long keeps them apart."""
    return between if 0 < len(between) <= 64 else None


def parse_json_lines(file: BinaryIO, size_bytes: int, encoding: Encoding, options: ParseOptions) -> Pieces:
    """Units: `record`, `value`, `quarantined`; one line each. Measures: bytes and rows."""
    tally, schema = Tally(), _Schema("")
    tally.ignore("byte_order_mark", bytes=encoding.bom_bytes)
    read, total_rows, values = encoding.bom_bytes, 0, 0
    gap: str | None = None
    for lines in _whole_lines(read_lines(file, encoding)):
        length = sum(line.byte_length for line in lines)
        read += length
        total_rows += 1
        first, last = lines[0], lines[-1]
        raw = "".join(line.text for line in lines)
        position = Position(
            char_start=first.char_start,
            char_end=last.char_end,
            byte_start=first.byte_start,
            byte_end=last.byte_end,
            line=first.number,
        )
        if not raw.strip(" \t"):
            tally.ignore("blank", bytes=length, rows=1)
            gap = None
            continue
        problem, why, value = _line_value(raw, lines)
        if problem is not None:
            tally.quarantine(problem, bytes=length, rows=1)
            yield quarantined(problem, raw, position, **({"why": why} if why else {}))
            gap = None
            continue
        tally.deliver(bytes=length, rows=1)
        row = None
        if isinstance(value, dict):
            schema.add(value)
            row = schema.rows
        else:
            values += 1
        position = msgspec.structs.replace(position, row=row)
        yield Piece(
            unit=Unit(kind="value" if row is None else "record", values=value, position=position), raw=raw, gap=gap
        )
        gap = last.end
    assert read <= size_bytes, f"{read} bytes were read of a file of {size_bytes}"
    return Summary(
        parser=LINES_PARSER,
        counts={"rows": schema.rows, "values": values, "quarantined_rows": tally.quarantined("rows")},
        balance=tally.balance(bytes=size_bytes, rows=total_rows),
        structure={"encoding": encoding.to_dict(), "form": "lines", "records": [schema.to_dict()]},
    )


def _whole_lines(lines: Iterator[Line]) -> Iterator[list[Line]]:
    """The parts of each line together. Of one that is too long the text beyond the limit is not kept."""
    parts: list[Line] = []
    chars = 0
    for line in lines:
        chars += len(line.text)
        parts.append(line if chars <= VALUE_CHARS_MAX else line._replace(text=""))
        if not line.partial:
            yield parts
            parts, chars = [], 0
    if parts:
        yield parts


def _line_value(raw: str, lines: list[Line]) -> tuple[str | None, str, Any]:
    """`(problem, why, value)`; the problem is None where there is a value."""
    if len(raw) != lines[-1].char_end - lines[0].char_start:
        return "record_too_long", f"more than {VALUE_CHARS_MAX} characters", None
    if not all(line.clean for line in lines):
        return "undecodable_bytes", "", None
    try:
        return None, "", _checked(_DECODER.decode(raw), raw, 0)
    except json.JSONDecodeError as error:
        return "invalid_json", f"character {error.pos}: {error.msg}", None
    except _Faulty as error:
        return "invalid_json", str(error), None
    except (RecursionError, IntentRefused):
        return "too_deep", f"nested deeper than {DEPTH_MAX}", None
