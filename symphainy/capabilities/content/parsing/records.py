"""Delimited text as records, without ever letting one broken quote swallow what follows it.

A line without a quote is a record. One that leaves a quote open goes on into the next lines until the quote is closed.
When that does not come about within bounds, or gives a record that cannot be meant, only the line that opened the quote
is broken: reading resumes at the line behind it.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from symphainy.capabilities.content.parsing.lines import Line

RECORD_CHARS_MAX = 1 << 20
LOOKAHEAD_LINES_MAX = 1000
_LOOKAHEAD_LINES_MIN = 16
#: So many lines inside one quoted field that are rows by themselves, and the quote was never meant to be open.
_ROWS_INSIDE_MIN = 3
_ROWS_INSIDE_SHARE = 0.8


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """How fields are told apart. `escape` is None where a quote is escaped by doubling it."""

    delimiter: str
    quote: str
    escape: str | None = None
    skip_space: bool = False
    """White space behind a delimiter is not part of the field."""


class Record(NamedTuple):
    """`fields`, or the `problem` that keeps them from being told: `quote_left_open`, `text_after_quote`,
    `record_too_long`, `undecodable_bytes` or `nul_byte`. `lines` hold their exact source; of a line that is too long,
    only the first part and, with no text, the sum of the others.
    """

    lines: list[Line]
    fields: list[str]
    problem: str | None = None


State = Literal["closed", "open", "malformed"]


class _Fields:
    """Walks the fields of one record, line by line."""

    def __init__(self, form: Format) -> None:
        self.form = form
        self.fields: list[str] = []
        self._open: list[str] | None = None
        quote = re.escape(form.quote)
        if form.escape is None:
            self._inside = re.compile(rf"(?:[^{quote}]++|{quote}{quote})*+", re.S)
        else:
            escape = re.escape(form.escape)
            self._inside = re.compile(rf"(?:[^{quote}{escape}]++|{escape}.)*+", re.S)

    def walk(self, text: str, end: str) -> State:
        """`text` is the next line, `end` its terminator: part of the field that is open across it."""
        form, at = self.form, 0
        while True:
            if self._open is None:
                while form.skip_space and text.startswith(" ", at):
                    at += 1
                if not text.startswith(form.quote, at):
                    stop = text.find(form.delimiter, at)
                    self.fields.append(text[at : stop if stop >= 0 else None])
                    if stop < 0:
                        return "closed"
                    at = stop + 1
                    continue
                self._open = []
                at += 1
            inside = self._inside.match(text, at)
            assert inside is not None
            self._open.append(inside.group())
            at = inside.end()
            if at == len(text):
                self._open.append(end)
                return "open"
            self.fields.append(self._unescaped("".join(self._open)))
            self._open = None
            at += 1
            if at == len(text):
                return "closed"
            if not text.startswith(form.delimiter, at):
                return "malformed"
            at += 1

    def _unescaped(self, text: str) -> str:
        if self.form.escape is None:
            return text.replace(self.form.quote * 2, self.form.quote)
        return re.sub(re.escape(self.form.escape) + r"(.)", r"\1", text, flags=re.S)


class _Lines:
    """Lines that can be put back."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()

    def next(self) -> Line | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def put_back(self, lines: list[Line]) -> None:
        self._again.extendleft(reversed(lines))


def read_records(lines: Iterator[Line], form: Format, *, width: int | None = None) -> Iterator[Record]:
    """Every line of `lines`, in order, in exactly one record. `width` is how many fields a record is known to have."""
    source = _Lines(lines)
    # Halved by each quote that leads nowhere, so that a file full of them costs a bounded number of readings.
    lookahead = LOOKAHEAD_LINES_MAX
    while (line := source.next()) is not None:
        if line.partial:
            yield Record(_whole_of(line, source), [], "record_too_long")
        elif not line.clean:
            yield Record([line], [], "undecodable_bytes")
        elif "\x00" in line.text:
            yield Record([line], [], "nul_byte")
        elif form.quote not in line.text:
            fields = line.text.split(form.delimiter)
            if form.skip_space:
                fields = [field.lstrip(" ") for field in fields]
            yield Record([line], fields)
        elif (quick := _by_csv(line.text, form)) is not None:
            yield Record([line], quick)
        else:
            record = _quoted(line, source, form, width, lookahead)
            if record.problem == "quote_left_open":
                lookahead = max(lookahead // 2, _LOOKAHEAD_LINES_MIN)
            elif record.problem is None:
                lookahead = min(lookahead * 2, LOOKAHEAD_LINES_MAX)
            yield record


def _whole_of(first: Line, source: _Lines) -> list[Line]:
    """All parts of a line that is too long, the text of the first one kept."""
    last = first
    length = 0
    while last.partial and (following := source.next()) is not None:
        last = following
        length += last.byte_length
    rest = last._replace(
        text="", char_start=first.char_end, byte_start=first.byte_end, byte_length=length, partial=False
    )
    return [first, rest]


def _by_csv(text: str, form: Format) -> list[str] | None:
    """The fields, where the line is well formed by itself."""
    reader = csv.reader(
        [text],
        delimiter=form.delimiter,
        quotechar=form.quote,
        escapechar=form.escape,
        doublequote=form.escape is None,
        skipinitialspace=form.skip_space,
        strict=True,
    )
    try:
        return next(reader)
    except csv.Error:
        return None


def _quoted(first: Line, source: _Lines, form: Format, width: int | None, lookahead: int) -> Record:
    walker = _Fields(form)
    group = [first]
    state = walker.walk(first.text, first.end)
    if state == "malformed":
        return Record(group, [], "text_after_quote")
    chars = len(first.text)
    while state == "open" and len(group) <= lookahead and chars <= RECORD_CHARS_MAX:
        line = source.next()
        if line is None:
            break
        group.append(line)
        if line.partial or not line.clean or "\x00" in line.text:
            break
        chars += len(line.text)
        state = walker.walk(line.text, line.end)
    if state == "closed" and not _swallowed_rows(group, walker.fields, form, width):
        return Record(group, walker.fields)
    source.put_back(group[1:])
    return Record([first], [], "quote_left_open")


def _swallowed_rows(group: list[Line], fields: list[str], form: Format, width: int | None) -> bool:
    if width is None or len(group) == 1:
        return False
    if len(fields) != width:
        return True
    inside = group[1:-1]
    rows = sum(1 for line in inside if line.text.count(form.delimiter) == width - 1)
    return width > 1 and rows >= _ROWS_INSIDE_MIN and rows >= _ROWS_INSIDE_SHARE * len(inside)
