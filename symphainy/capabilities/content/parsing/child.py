"""One file through its parser, as a stream of frames: what runs in a child process, or in a thread for small files.

A frame is one line: a letter, then JSON. `u` a unit, `c` a chunk, `s` the summary at the end, `f` a refusal instead.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from symphainy.capabilities.content.parsing import media
from symphainy.capabilities.content.parsing.chunks import Chunker, Placed
from symphainy.capabilities.content.parsing.delimited import parse_delimited
from symphainy.capabilities.content.parsing.encoding import Encoding, decide_encoding
from symphainy.capabilities.content.parsing.json_values import parse_json, parse_json_lines
from symphainy.capabilities.content.parsing.options import ParseOptions, parse_options
from symphainy.capabilities.content.parsing.pdf import parse_pdf
from symphainy.capabilities.content.parsing.prose import parse_markdown, parse_text
from symphainy.capabilities.content.parsing.units import QUARANTINED, Pieces, Summary, Unit
from symphainy.errors import IntentRefused, MissingExtra
from symphainy.model import JsonObject

TextParser = Callable[[BinaryIO, int, Encoding, ParseOptions], Pieces]
_TEXT_PARSERS: dict[str, TextParser] = {
    media.CSV: parse_delimited,
    media.TSV: parse_delimited,
    media.JSON: parse_json,
    media.JSON_LINES: parse_json_lines,
    media.MARKDOWN: parse_markdown,
    media.PLAIN: parse_text,
}
#: JSON is UTF by definition: other bytes are damage.
_NEVER_GUESSED = frozenset({media.JSON, media.JSON_LINES})
#: So many quarantined passages are told with the summary; all of them stand among the units.
SHOWN_MAX = 20
_SHOWN_CHARS = 200

_encoder = msgspec.json.Encoder(decimal_format="number")


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """The summary, and what came of it. `quarantine` holds the first `SHOWN_MAX` quarantined units, shortened."""

    summary: Summary
    units: int
    chunks: int
    quarantined: int
    quarantine: tuple[JsonObject, ...]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    details: JsonObject


def run(arguments: JsonObject, stdin: BinaryIO, stdout: BinaryIO) -> None:
    """`arguments`: `{media_type, options}`. The file is read from `stdin` into a temporary file that has no name."""
    with tempfile.TemporaryFile() as spooled:
        shutil.copyfileobj(stdin, spooled, 1 << 20)
        size_bytes = spooled.tell()
        spooled.flush()
        for frame in frames(spooled, size_bytes, arguments["media_type"], arguments["options"]):
            stdout.write(frame)


def frames(file: BinaryIO, size_bytes: int, media_type: str, options: JsonObject) -> Iterator[bytes]:
    """`options` as `parse_options` reads them."""
    try:
        yield from _frames(file, size_bytes, media_type, parse_options(options))
    except (IntentRefused, MissingExtra) as error:
        yield _frame(b"f", Refusal(code=error.code, message=error.message, details=error.details))
    except MemoryError:
        message = "the file needs more memory than one parse may take"
        yield _frame(b"f", Refusal(code="parser_limit", message=message, details={"limit": "memory"}))


def _frames(file: BinaryIO, size_bytes: int, media_type: str, options: ParseOptions) -> Iterator[bytes]:
    pieces, codec = _pieces(file, size_bytes, media_type, options)
    chunker = Chunker(codec)
    units = quarantined = offset = 0
    shown: list[JsonObject] = []
    summary: Summary | None = None
    while summary is None:
        try:
            piece = next(pieces)
        except StopIteration as end:
            summary = end.value
            continue
        line = _frame(b"u", piece.unit)
        yield line
        units += 1
        if piece.unit.kind == QUARANTINED:
            quarantined += 1
            if len(shown) < SHOWN_MAX:
                shown.append(_shown(piece.unit))
        start, offset = offset, offset + len(line) - 1
        for chunk in chunker.add(Placed(piece=piece, line_start=start, line_end=offset)):
            yield _frame(b"c", chunk)
    for chunk in chunker.end():
        yield _frame(b"c", chunk)
    parsed = Parsed(
        summary=summary, units=units, chunks=chunker.count, quarantined=quarantined, quarantine=tuple(shown)
    )
    yield _frame(b"s", parsed)


def _pieces(file: BinaryIO, size_bytes: int, media_type: str, options: ParseOptions) -> tuple[Pieces, str]:
    if media_type == media.PDF:
        return parse_pdf(file, size_bytes), "utf-8"
    encoding = decide_encoding(file, options.encoding, guess=media_type not in _NEVER_GUESSED)
    return _TEXT_PARSERS[media_type](file, size_bytes, encoding, options), encoding.name


def _frame(letter: bytes, value: Any) -> bytes:
    return letter + _encoder.encode(value) + b"\n"


def _shown(unit: Unit) -> JsonObject:
    """A quarantined unit, short enough to stand in a result."""
    shown: JsonObject = msgspec.to_builtins(unit)
    text = shown.get("text", "")
    return {
        "reason": unit.reason,
        "position": shown["position"],
        "details": unit.details or {},
        "text": text[:_SHOWN_CHARS],
        "truncated": unit.truncated or len(text) > _SHOWN_CHARS,
    }
