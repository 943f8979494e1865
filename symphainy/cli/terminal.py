"""What goes to the terminal. Data to standard output, talk to standard error, and nothing that could drive either."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

# C0 and C1 controls, DEL, line and paragraph separators, the marks that reorder text, and lone surrogates.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SPACES = re.compile(r"[ \t\r\n\f\v]+")

COLUMN_CHARS_MAX = 60


def plain(text: object) -> str:
    """One line of text that changes nothing but the place where it stands: what could is written as an escape."""
    return _UNSAFE.sub(_escaped, _SPACES.sub(" ", str(text)).strip())


def plain_lines(text: object) -> str:
    """The same for text of several lines."""
    return "\n".join(_UNSAFE.sub(_escaped, line.expandtabs(4)) for line in str(text).split("\n"))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def say(text: object) -> None:
    """Talk."""
    print(plain_lines(text), file=sys.stderr, flush=True)


def show(text: object) -> None:
    """Data."""
    print(plain_lines(text), flush=True)


def show_json(value: Any, *, indent: int = 2) -> None:
    """One JSON document. Characters that drive terminals are escaped, which JSON allows anywhere in a string."""
    import msgspec

    data = msgspec.json.encode(value, enc_hook=str)
    text = (msgspec.json.format(data, indent=indent) if indent else data).decode()
    print(_JSON_UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text), flush=True)


# All of them stand in strings: between tokens the encoder writes spaces and line feeds only.
_JSON_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def show_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns under their heads. Long cells are cut: `--json` has all of it."""
    show("\n".join(table_lines(heads, rows)))


def table_lines(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [[head.upper() for head in heads], *([_cell(value) for value in row] for row in rows)]
    widths = [max(_width(line[column]) for line in lines) for column in range(len(heads))]
    return [
        "  ".join(cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names with their values, one a line; what is not there is left out."""
    told = [(name, plain(value)) for name, value in facts if value not in (None, "", (), {})]
    width = max((len(name) for name, _ in told), default=0)
    show("\n".join(f"{name:<{width}}  {value}" for name, value in told))


def sized(count: int) -> str:
    """Bytes for people: `999 B`, `1.2 MB`."""
    amount, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            break
        amount /= 1000
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def _cell(value: object) -> str:
    text = plain("" if value is None else value)
    return text if len(text) <= COLUMN_CHARS_MAX else text[: COLUMN_CHARS_MAX - 1] + "…"


def _width(text: str) -> int:
    """Columns on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )
