"""CSV and its relatives: records with typed columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from symphainy.capabilities.content.parsing.column_types import ColumnTypes
from symphainy.capabilities.content.parsing.dialect import SAMPLE_LINES, Dialect, decide_dialect, is_blank
from symphainy.capabilities.content.parsing.encoding import Encoding
from symphainy.capabilities.content.parsing.lines import Line, read_lines
from symphainy.capabilities.content.parsing.options import ParseOptions
from symphainy.capabilities.content.parsing.records import Record, read_records
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

COLUMNS_MAX = 16_384
SAMPLE_CHARS_MAX = 1 << 20
PARSER = "delimited"
#: These never become text, wherever they stand.
UNREADABLE = frozenset({"undecodable_bytes", "nul_byte", "record_too_long"})


def parse_delimited(file: BinaryIO, size_bytes: int, encoding: Encoding, options: ParseOptions) -> Pieces:
    """Units: `preamble`, `header`, `record`, `quarantined`. Measures: bytes and rows."""
    sample = _sample(read_lines(file, encoding))
    dialect = decide_dialect(sample, delimiter=options.delimiter, quote=options.quote, header=options.header)
    if dialect.width > COLUMNS_MAX:
        raise IntentRefused(
            "parser_limit",
            f"the rows have {dialect.width} fields; at most {COLUMNS_MAX} are read",
            {"limit": "columns", "value": dialect.width, "max": COLUMNS_MAX},
        )
    table = _Table(dialect)
    table.tally.ignore("byte_order_mark", bytes=encoding.bom_bytes)
    read, rows = encoding.bom_bytes, 0
    for record in read_records(read_lines(file, encoding), dialect.form, width=dialect.width):
        length = sum(line.byte_length for line in record.lines)
        read += length
        rows += 1
        piece = table.take(record, length)
        if piece is not None:
            yield piece
    assert read <= size_bytes, f"{read} bytes were read of a file of {size_bytes}"
    return table.summary(encoding, size_bytes=size_bytes, rows=rows)


class _Table:
    """What each record is: above the table, its header, one of its rows, or none of these."""

    def __init__(self, dialect: Dialect) -> None:
        self.tally = Tally()
        self._dialect = dialect
        self._header: list[str] | None = None
        self._columns: ColumnTypes | None = None
        self._rows = self._above = 0
        self._gap: str | None = None

    def take(self, record: Record, length: int) -> Piece | None:
        """`length` in bytes. None for what is blank."""
        if is_blank(record) or _is_padding(record):
            self._skip(record, length)
            return None
        if self._above < self._dialect.preamble:
            self._above += 1
            if record.problem not in UNREADABLE:
                self.tally.ignore("preamble", bytes=length, rows=1)
                return self._delivered(record, Unit(kind="preamble", text=_source(record), position=_position(record)))
        problem = record.problem
        if problem is None and len(record.fields) != self._dialect.width:
            problem = "ragged_row"
        if problem is not None:
            return self._aside(record, length, problem)
        if self._header is None and self._dialect.header:
            self._header = record.fields
            self.tally.ignore("header", bytes=length, rows=1)
            return self._delivered(record, Unit(kind="header", values=record.fields, position=_position(record)))
        self.tally.deliver(bytes=length, rows=1)
        return self._delivered(record, self._row(record))

    def _skip(self, record: Record, length: int) -> None:
        self.tally.ignore("blank" if is_blank(record) else "padding", bytes=length, rows=1)
        if self._gap is not None:
            self._gap += _source(record) + record.lines[-1].end

    def _aside(self, record: Record, length: int, problem: str) -> Piece:
        self.tally.quarantine(problem, bytes=length, rows=1)
        self._gap = None
        told = {"fields": len(record.fields), "expected": self._dialect.width} if problem == "ragged_row" else {}
        return quarantined(problem, _source(record), _position(record), **told)

    def _row(self, record: Record) -> Unit:
        if self._columns is None:
            self._columns = ColumnTypes(column_names(self._header or [], self._dialect.width))
        self._rows += 1
        self._columns.add(record.fields)
        values = dict(zip(self._columns.names, record.fields, strict=True))
        return Unit(kind="record", values=values, position=_position(record, row=self._rows))

    def _delivered(self, record: Record, unit: Unit) -> Piece:
        piece = Piece(unit=unit, raw=_source(record), gap=self._gap)
        self._gap = record.lines[-1].end
        return piece

    def summary(self, encoding: Encoding, *, size_bytes: int, rows: int) -> Summary:
        names = column_names(self._header or [], self._dialect.width)
        columns = self._columns or ColumnTypes(names if self._header else ())
        return Summary(
            parser=PARSER,
            counts={
                "rows": self._rows,
                "columns": len(columns.names),
                "quarantined_rows": self.tally.quarantined("rows"),
            },
            balance=self.tally.balance(bytes=size_bytes, rows=rows),
            structure={
                "encoding": encoding.to_dict(),
                "dialect": self._dialect.to_dict(),
                "header": self._header,
                "columns": columns.schema(),
            },
            warnings=_warnings(self._header, names),
        )


def _sample(lines: Iterator[Line]) -> list[Line]:
    sample: list[Line] = []
    chars = 0
    for line in islice(lines, SAMPLE_LINES):
        sample.append(line)
        chars += len(line.text)
        if chars > SAMPLE_CHARS_MAX:
            break
    return sample


def column_names(header: Sequence[str], width: int) -> list[str]:
    """One name a column, no two alike: what is empty is called `column_N`, a repeated name gets a number."""
    names: list[str] = []
    taken: set[str] = set()
    for number in range(1, width + 1):
        given = header[number - 1].strip() if number <= len(header) else ""
        name = wanted = given or f"column_{number}"
        again = 1
        while name in taken:
            again += 1
            name = f"{wanted}_{again}"
        taken.add(name)
        names.append(name)
    return names


def _source(record: Record) -> str:
    *before, last = record.lines
    return "".join(line.text + line.end for line in before) + last.text


def _position(record: Record, *, row: int | None = None) -> Position:
    first, last = record.lines[0], record.lines[-1]
    return Position(
        char_start=first.char_start,
        char_end=last.char_end,
        byte_start=first.byte_start,
        byte_end=last.byte_end,
        row=row,
        line=first.number,
    )


def _is_padding(record: Record) -> bool:
    """NUL bytes up to the end of a block, or the end-of-file mark of older systems."""
    return len(record.lines) == 1 and not record.lines[0].text.strip("\x00\x1a")


def _warnings(header: list[str] | None, names: list[str]) -> tuple[str, ...]:
    if header is None:
        return ()
    renamed = [new for old, new in zip(header, names, strict=True) if old.strip() != new]
    return (f"columns without a name of their own were named: {', '.join(renamed[:20])}",) if renamed else ()
