"""Plain text and Markdown: blocks that are exact spans of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import BinaryIO

from symphainy.capabilities.content.parsing.encoding import Encoding
from symphainy.capabilities.content.parsing.lines import Line, read_lines
from symphainy.capabilities.content.parsing.options import ParseOptions
from symphainy.capabilities.content.parsing.units import (
    UNIT_CHARS_MAX,
    Piece,
    Pieces,
    Position,
    Summary,
    Tally,
    Unit,
    quarantined,
)

PLAIN_PARSER = "text"
MARKDOWN_PARSER = "markdown"
_FRONT_MATTER_LINES_MAX = 200
_TITLE_CHARS_MAX = 200

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
_BREAK = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})")
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]+\S|[ \t]*$)")
_QUOTE = re.compile(r" {0,3}>")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_HTML = re.compile(r" {0,3}<(?:[A-Za-z/!?])")
_INDENTED = re.compile(r"(?: {4}|\t)")


class _Blocks:
    """Lines gathered into blocks; a block that is done becomes a piece."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.kind: str | None = None
        self.level: int | None = None
        self.lines: list[Line] = []
        self.counts: dict[str, int] = {}
        self.outline: list[tuple[int, str]] = []
        self._chars = 0
        self._gap: str | None = None
        self._continued = False

    def begin(self, kind: str, line: Line, *, level: int | None = None) -> Iterator[Piece]:
        yield from self.end()
        self.kind, self.level = kind, level
        yield from self.add(line)

    def add(self, line: Line) -> Iterator[Piece]:
        """Part of the block that is open. One that grows too long is delivered in parts."""
        if self._chars and self._chars + len(line.text) > UNIT_CHARS_MAX:
            kind, level = self.kind, self.level
            yield from self.end()
            self.kind, self.level, self._continued = kind, level, True
        self.lines.append(line)
        self._chars += len(line.text) + len(line.end)

    def end(self) -> Iterator[Piece]:
        if not self.lines:
            return
        assert self.kind is not None
        first, last = self.lines[0], self.lines[-1]
        text = "".join(line.text + line.end for line in self.lines)
        text = text[: len(text) - len(last.end)]
        whole = sum(1 for line in self.lines if not line.partial)
        self.tally.deliver(bytes=sum(line.byte_length for line in self.lines), lines=whole)
        if not self._continued:
            self.counts[self.kind] = self.counts.get(self.kind, 0) + 1
        if self.kind == "heading" and self.level is not None:
            title = _title(self.lines)
            self.outline = [entry for entry in self.outline if entry[0] < self.level]
            self.outline.append((self.level, title))
        position = Position(
            char_start=first.char_start,
            char_end=last.char_end,
            byte_start=first.byte_start,
            byte_end=last.byte_end,
            line=first.number,
            section=tuple(title for _, title in self.outline),
        )
        unit = Unit(kind=self.kind, text=text, position=position, level=self.level, continued=self._continued)
        yield Piece(unit=unit, raw=text, gap=self._gap)
        self._gap = last.end
        self.kind, self.level, self.lines, self._chars, self._continued = None, None, [], 0, False

    def skip(self, line: Line, reason: str) -> Iterator[Piece]:
        yield from self.end()
        self.tally.ignore(reason, bytes=line.byte_length, lines=1)
        if self._gap is not None:
            self._gap = self._gap + line.text + line.end if reason == "blank" else None

    def refuse(self, line: Line, reason: str) -> Iterator[Piece]:
        yield from self.end()
        self.tally.quarantine(reason, bytes=line.byte_length, lines=not line.partial)
        position = Position(
            char_start=line.char_start,
            char_end=line.char_end,
            byte_start=line.byte_start,
            byte_end=line.byte_end,
            line=line.number,
        )
        yield quarantined(reason, line.text, position)
        self._gap = None


def _title(lines: list[Line]) -> str:
    atx = _ATX.fullmatch(lines[0].text)
    text = (atx.group(2) or "") if atx else " ".join(line.text.strip() for line in lines[:-1])
    return text.strip()[:_TITLE_CHARS_MAX]


def parse_text(file: BinaryIO, size_bytes: int, encoding: Encoding, options: ParseOptions) -> Pieces:
    """Units: `paragraph`, parted by blank lines; `quarantined`. Measures: bytes and lines."""
    return _parse(file, size_bytes, encoding, markdown=False)


def parse_markdown(file: BinaryIO, size_bytes: int, encoding: Encoding, options: ParseOptions) -> Pieces:
    """Units: `front_matter heading paragraph list_item quote code table html quarantined`. Measures: bytes and lines.

    The block structure of CommonMark and its tables, one level deep: what stands inside a quote or a list item is its
    text.
    """
    return _parse(file, size_bytes, encoding, markdown=True)


def _parse(file: BinaryIO, size_bytes: int, encoding: Encoding, *, markdown: bool) -> Pieces:
    blocks = _Blocks()
    blocks.tally.ignore("byte_order_mark", bytes=encoding.bom_bytes)
    read, total_lines = encoding.bom_bytes, 0
    lines = read_lines(file, encoding)
    matter = 0
    if markdown:
        head = [*islice(lines, _FRONT_MATTER_LINES_MAX)]
        matter = _front_matter(head)
        lines = chain(head, lines)
    fence: str | None = None
    for line in lines:
        read += line.byte_length
        total_lines += not line.partial
        if not line.clean:
            yield from blocks.refuse(line, "undecodable_bytes")
        elif "\x00" in line.text:
            if line.text.strip("\x00\x1a"):
                yield from blocks.refuse(line, "nul_byte")
            else:
                yield from blocks.skip(line, "padding")
        elif line.number <= matter:
            yield from _joined(blocks, "front_matter", line)
        elif fence is not None:
            yield from blocks.add(line) if blocks.kind == "code" else blocks.begin("code", line)
            closing = line.text.strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                fence = None
                yield from blocks.end()
        elif not line.text.strip():
            yield from blocks.skip(line, "blank")
        elif not markdown:
            yield from _joined(blocks, "paragraph", line)
        elif opening := _FENCE.match(line.text):
            fence = opening.group(1)
            yield from blocks.begin("code", line)
        else:
            yield from _markdown_line(blocks, line)
    yield from blocks.end()
    assert read <= size_bytes, f"{read} bytes were read of a file of {size_bytes}"
    return Summary(
        parser=MARKDOWN_PARSER if markdown else PLAIN_PARSER,
        counts={
            "lines": total_lines,
            "blocks": sum(blocks.counts.values()),
            "quarantined_lines": blocks.tally.quarantined("lines"),
            "kinds": dict(sorted(blocks.counts.items())),
        },
        balance=blocks.tally.balance(bytes=size_bytes, lines=total_lines),
        structure={"encoding": encoding.to_dict()},
    )


def _joined(blocks: _Blocks, kind: str, line: Line) -> Iterator[Piece]:
    return blocks.add(line) if blocks.kind == kind else blocks.begin(kind, line)


def _front_matter(head: list[Line]) -> int:
    """How many lines at the top are metadata between `---`; 0 when there are none."""
    if not head or head[0].text.rstrip() != "---":
        return 0
    return next((line.number for line in head[1:] if line.text.rstrip() in ("---", "...")), 0)


def _markdown_line(blocks: _Blocks, line: Line) -> Iterator[Piece]:
    """A line that is not blank, outside of fenced code."""
    text, kind = line.text, blocks.kind
    underline = _SETEXT.fullmatch(text)
    if kind == "paragraph" and underline:
        blocks.kind, blocks.level = "heading", 1 if underline.group(1)[0] == "=" else 2
        yield from blocks.add(line)
        yield from blocks.end()
    elif kind == "paragraph" and len(blocks.lines) == 1 and _is_rule_below(blocks.lines[0].text, text):
        blocks.kind = "table"
        yield from blocks.add(line)
    elif heading := _ATX.fullmatch(text):
        yield from blocks.begin("heading", line, level=len(heading.group(1)))
        yield from blocks.end()
    elif _BREAK.fullmatch(text):
        yield from blocks.skip(line, "thematic_break")
    elif kind == "code" or (kind is None and _INDENTED.match(text) and not _ITEM.match(text)):
        yield from _joined(blocks, "code", line) if _INDENTED.match(text) else blocks.begin("paragraph", line)
    elif _ITEM.match(text):
        yield from blocks.begin("list_item", line)
    elif _QUOTE.match(text):
        yield from _joined(blocks, "quote", line)
    elif kind is None and _HTML.match(text):
        yield from blocks.begin("html", line)
    elif kind is None or kind in ("heading", "front_matter"):
        yield from blocks.begin("paragraph", line)
    else:
        yield from blocks.add(line)


def _is_rule_below(header: str, rule: str) -> bool:
    return "|" in rule and "|" in header and _TABLE_RULE.fullmatch(rule) is not None
