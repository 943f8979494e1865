"""How is this delimited text written? Decided on a sample; every later row is checked against it, none is bent to fit.

The measure is that of van den Burg et al., "Wrangling messy CSV files by detecting row and type patterns" (2019): rows
of one width, times the share of cells that look like something; taken behind whatever stands above the table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from symphainy.capabilities.content.parsing.column_types import EMPTY, TEXT, type_of
from symphainy.capabilities.content.parsing.lines import Line
from symphainy.capabilities.content.parsing.records import Format, Record, read_records
from symphainy.model import JsonObject

SAMPLE_LINES = 400
PREAMBLE_LINES_MAX = 60
DELIMITERS = (",", ";", "\t", "|", "^", "~", "\x1f")
QUOTES = ('"', "'")

_SEP = re.compile(r"sep=(.)", re.IGNORECASE)
_WORDS = re.compile(r"[\w\s.,:;/&()#%+'’_-]{1,120}")
_SPECIAL = re.compile(
    r"[^@\s]+@[^@\s]+\.[a-z]{2,}|https?://\S+|[+-]?[$€£¥]\s?[\d.,]+|[\d.,]+\s?[%$€£¥]|n/?a|null|none|-|[\w-]+", re.I
)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """`preamble` records, blank ones not counted, stand above the table; `width` is how many fields its rows have.

    `consistency` is the share of sampled rows of that width; `rows` how many were sampled; `typed` whether nearly all
    cells look like data rather than prose.
    """

    form: Format
    preamble: int
    width: int
    consistency: float
    rows: int
    typed: bool
    header: bool
    decided_by: str = "sample"

    def to_dict(self) -> JsonObject:
        return {
            "delimiter": self.form.delimiter,
            "quote": self.form.quote,
            "escape": self.form.escape,
            "skip_space": self.form.skip_space,
            "preamble_rows": self.preamble,
            "columns": self.width,
            "header": self.header,
            "decided_by": self.decided_by,
        }


def decide_dialect(
    lines: Sequence[Line], *, delimiter: str | None = None, quote: str | None = None, header: bool | None = None
) -> Dialect:
    """`lines` from the top of the file. What is given is not guessed."""
    sample = [*lines[:SAMPLE_LINES]]
    told = _SEP.fullmatch(sample[0].text.strip()) if sample and delimiter is None else None
    if told:
        delimiter, sample = told.group(1), sample[1:]
    text = "\n".join(line.text for line in sample)
    delimiters = [delimiter] if delimiter else [each for each in DELIMITERS if each in text] or [","]
    quotes = [quote] if quote else [each for each in QUOTES if each == '"' or each in text]
    forms = [
        Format(delimiter=each, quote=mark, escape=_escape(text, mark), skip_space=_spaced(text, each, mark))
        for each in delimiters
        for mark in quotes
    ]
    # The first wins a draw: comma before semicolon, the double quote before the single one.
    _, dialect = max((_judged(sample, form) for form in forms), key=lambda pair: pair[0])
    return msgspec.structs.replace(
        dialect,
        preamble=dialect.preamble + bool(told),
        header=dialect.header if header is None else header,
        decided_by="sep_line" if told else "caller" if delimiter or quote else "sample",
    )


def _escape(text: str, quote: str) -> str | None:
    """A backslash, where quotes are escaped by one and never by doubling inside a field."""
    backslashed = text.count("\\" + quote)
    doubled = len(re.findall(rf"[^{quote},;\t|\n]{quote}{quote}[^{quote},;\t|\n]", text))
    return "\\" if backslashed and backslashed > doubled else None


def _spaced(text: str, delimiter: str, quote: str) -> bool:
    """Whether quotes stand one space behind the delimiter, as in `1, "two"`."""
    spaced, tight = text.count(f"{delimiter} {quote}"), text.count(f"{delimiter}{quote}")
    return spaced > tight


def is_blank(record: Record) -> bool:
    return not any(line.text.strip() for line in record.lines)


def _judged(sample: Sequence[Line], form: Format) -> tuple[float, Dialect]:
    records = [record for record in read_records(iter(sample), form) if not is_blank(record)]
    widths = [len(record.fields) if record.problem is None else 0 for record in records]
    start, width = _table(widths)
    table = [record.fields for record in records[start:] if len(record.fields) == width]
    consistency = len(table) / max(len(records) - start, 1)
    cells = [cell for row in table for cell in row]
    known = sum(1 for cell in cells if _is_known(cell, form)) / max(len(cells), 1)
    patterns = Counter(each for each in widths[start:])
    evenness = sum(rows * (each - 1 + 1e-3) / each for each, rows in patterns.items() if each) / max(len(patterns), 1)
    # A clause behind a comma begins with a space; a field hardly ever does.
    clauses = sum(1 for cell in cells if cell.startswith(" ")) / max(len(cells), 1)
    score = evenness * known * (1 - 0.5 * clauses) * (1 - 0.5 * start / max(len(records), 1))
    return score, Dialect(
        form=form,
        preamble=start,
        width=width,
        consistency=consistency,
        rows=len(table),
        typed=known >= 0.9,
        header=_has_header(table),
    )


def _table(widths: Sequence[int]) -> tuple[int, int]:
    """Where the table begins, and how wide it is: the commonest width, and its first row that others like it follow."""
    counted = Counter(width for width in widths if width)
    if not counted:
        return 0, 1
    # A table is wider than the notes above it, so a draw goes to the wider.
    width = max(counted, key=lambda each: (counted[each], each))
    if width == 1 and len(counted) > 1:
        wider = max((each for each in counted if each > 1), key=lambda each: (counted[each], each))
        first = widths.index(wider)
        tail = widths[first:]
        # Notes can outnumber the rows of a short table: what counts is how even it is from its first row on.
        if tail.count(wider) >= max(2, 0.8 * len(tail)):
            width = wider
    return _first_row(widths[:PREAMBLE_LINES_MAX], width), width


def _first_row(widths: Sequence[int], width: int) -> int:
    """Where to begin so that the fewest rows of the table stand above, and the fewest others in it."""
    starts = [at for at, each in enumerate(widths) if each == width]
    if not starts:
        return 0
    # Where notes stand above, a draw goes to the later row: one of them can look like a row by chance.
    later = -1 if widths[0] != width else 1
    return min(
        starts, key=lambda at: (widths[:at].count(width) + len(widths[at:]) - widths[at:].count(width), later * at)
    )


def _is_known(cell: str, form: Format) -> bool:
    """Whether it looks like a value. A quote left at its edge, of either kind, looks like a wrong guess."""
    if type_of(cell) not in (TEXT, EMPTY):
        return True
    cell = cell.strip()
    return not cell or (
        cell[0] not in QUOTES
        and cell[-1] not in QUOTES
        and form.quote not in cell
        and bool(_SPECIAL.fullmatch(cell) or _WORDS.fullmatch(cell))
    )


def _has_header(table: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns. One row alone is data: a name without values would lose it."""
    if len(table) < 2:
        return False
    first, rest = table[0], table[1:]
    if any(type_of(cell) not in (TEXT, EMPTY) for cell in first) or not any(cell.strip() for cell in first):
        return False
    evidence = 0
    for column, name in enumerate(first):
        below = [row[column] for row in rest if row[column].strip()]
        if not below or not name.strip():
            continue
        typed = sum(1 for cell in below if type_of(cell) != TEXT)
        if typed >= 0.8 * len(below):
            evidence += 1
        elif name in below:
            evidence -= 1
    if evidence:
        return evidence > 0
    names = [name.strip() for name in first]
    return all(names) and len({*names}) == len(names) and max(map(len, names)) <= 64
