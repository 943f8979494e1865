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
    tally = Tally()
    tally.ignore("byte_order_mark", bytes=encoding.bom_bytes)
    total_bytes, total_rows, row, above = encoding.bom_bytes, 0, 0, 0
    header: list[str] | None = None
    columns: ColumnTypes | None = None
    gap: str | None = None
    for record in read_records(read_lines(file, encoding), dialect.form, width=dialect.width):
        length = sum(line.byte_length for line in record.lines)
        total_bytes += length
        total_rows += 1
        if is_blank(record) or _is_padding(record):
            reason = "blank" if is_blank(record) else "padding"
            tally.ignore(reason, bytes=length, rows=1)
            gap = None if gap is None else gap + _source(record, terminated=True)
            continue
        unreadable = record.problem in UNREADABLE
        if above < dialect.preamble and not unreadable:
            above += 1
            tally.ignore("preamble", bytes=length, rows=1)
            text = _source(record)
            yield Piece(unit=Unit(kind="preamble", text=text, position=_position(record)), raw=text, gap=gap)
            gap = record.lines[-1].end
            continue
        above += unreadable
        problem = record.problem
        if problem is None and len(record.fields) != dialect.width:
            problem = "ragged_row"
        if problem is not None:
            tally.quarantine(problem, bytes=length, rows=1)
            details = {"fields": len(record.fields), "expected": dialect.width} if problem == "ragged_row" else {}
            yield quarantined(problem, _source(record), _position(record), **details)
            gap = None
            continue
        if header is None and dialect.header:
            header = record.fields
            columns = ColumnTypes(column_names(header, dialect.width))
            tally.ignore("header", bytes=length, rows=1)
            unit = Unit(kind="header", values=header, position=_position(record))
        else:
            if columns is None:
                columns = ColumnTypes(column_names([], dialect.width))
            row += 1
            columns.add(record.fields)
            tally.deliver(bytes=length, rows=1)
            values = dict(zip(columns.names, record.fields, strict=True))
            unit = Unit(kind="record", values=values, position=_position(record, row=row))
        yield Piece(unit=unit, raw=_source(record), gap=gap)
        gap = record.lines[-1].end
    tally.deliver(bytes=0, rows=0)
    return Summary(
        parser=PARSER,
        counts={
            "rows": row,
            "columns": dialect.width if row or header else 0,
            "quarantined_rows": tally.quarantined("rows"),
        },
        balance=tally.balance(bytes=_same(total_bytes, size_bytes), rows=total_rows),
        structure={
            "encoding": encoding.to_dict(),
            "dialect": dialect.to_dict(),
            "header": header,
            "columns": columns.schema() if columns else [],
        },
        warnings=_warnings(dialect, header),
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


def _same(read: int, size: int) -> int:
    """The size of the file; what was read is tallied against it."""
    assert read <= size, f"{read} bytes were read of a file of {size}"
    return size


def _source(record: Record, *, terminated: bool = False) -> str:
    *before, last = record.lines
    text = "".join(line.text + line.end for line in before) + last.text
    return text + last.end if terminated else text


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


def _warnings(dialect: Dialect, header: list[str] | None) -> tuple[str, ...]:
    found = []
    if header is not None:
        names = column_names(header, dialect.width)
        renamed = [new for old, new in zip(header, names, strict=True) if old.strip() != new]
        if renamed:
            found.append(f"columns without a name of their own were named: {', '.join(renamed[:20])}")
    return tuple(found)
