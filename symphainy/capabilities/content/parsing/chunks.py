"""Units into passages of a size that can be searched, each an exact span of its source."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

import msgspec

from symphainy.capabilities.content.parsing.units import QUARANTINED, Piece, Position

#: Of prose. A passage reaches the target where its text allows, and is never longer than the greatest length.
TARGET_CHARS = 1000
CHARS_MAX = 1200
#: Of records: few enough that a passage points at its row.
RECORD_TARGET_CHARS = 300
_RECORDS = frozenset({"preamble", "header", "record", "value", "section"})

#: Where to cut, best first: a blank line, a line, a sentence, a clause, a word. The cut falls behind the match.
_SEAMS = tuple(
    re.compile(seam)
    for seam in (r"\r?\n[ \t]*\r?\n", r"\r?\n", r"[.!?][\"'”’)\]]*\s|[。！？]", r"[,;:]\s|[、，；]", r"\s")
)
_COMBINING = re.compile("[\u0300-\u036f\u200d\ufe00-\ufe0f]")


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A piece, and where its unit stands in the file of units: the bytes `[line_start, line_end)`."""

    piece: Piece
    line_start: int
    line_end: int


class Chunk(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the chunks of a `parsed_content` artifact: an exact span of the source.

    `position` is that of the span; `row_end` and `line_end` are the last row and line it touches. `units` are the bytes
    `[start, end)` of the units it was cut from, in the artifact's JSON Lines.
    """

    passage_id: str
    text: str
    position: Position
    row_end: int | None = None
    line_end: int | None = None
    units: tuple[int, int]


class _Gathered:
    """Neighbouring pieces that are read as one text."""

    def __init__(self, first: Placed) -> None:
        self.placed = [first]
        self.offsets = [0]
        self._parts = [first.piece.raw]
        self.chars = len(first.piece.raw)
        self.is_records = first.piece.unit.kind in _RECORDS
        self.is_heading = first.piece.unit.kind == "heading"

    def joins(self, piece: Piece) -> bool:
        if piece.gap is None or self.placed[-1].piece.unit.position.page != piece.unit.position.page:
            return False
        if self.is_heading:  # never parted from what it heads; what is too long is cut further down
            return True
        target, most = (RECORD_TARGET_CHARS,) * 2 if self.is_records else (TARGET_CHARS, CHARS_MAX)
        if self.chars >= target or self.chars + len(piece.gap) + len(piece.raw) > most:
            return False
        # A heading opens what follows it, unless so little stands above it that the two are better read together.
        return piece.unit.kind != "heading" or self.chars <= target // 4

    def add(self, placed: Placed) -> None:
        gap = placed.piece.gap or ""
        self.is_heading = self.is_heading and placed.piece.unit.kind == "heading"
        self.offsets.append(self.chars + len(gap))
        self.placed.append(placed)
        self._parts += [gap, placed.piece.raw]
        self.chars += len(gap) + len(placed.piece.raw)

    def text(self) -> str:
        return "".join(self._parts)


class Chunker:
    """Every character of a delivered piece, but for white space at the edges of a chunk, stands in exactly one chunk.

    `codec` is the file's encoding, for byte offsets.
    """

    def __init__(self, codec: str = "utf-8") -> None:
        self.count = 0
        self._codec = codec
        self._gathered: _Gathered | None = None

    def add(self, placed: Placed) -> Iterator[Chunk]:
        """The chunks that this piece completes. Pieces come in order, the quarantined ones among them."""
        is_content = placed.piece.unit.kind != QUARANTINED
        if self._gathered is not None and is_content and self._gathered.joins(placed.piece):
            self._gathered.add(placed)
            return
        yield from self.end()
        self._gathered = _Gathered(placed) if is_content else None

    def end(self) -> Iterator[Chunk]:
        if self._gathered is not None:
            for chunk in _cut(self._gathered, self._codec):
                self.count += 1
                yield msgspec.structs.replace(chunk, passage_id=f"p{self.count}")
        self._gathered = None


def _cut(gathered: _Gathered, codec: str) -> Iterator[Chunk]:
    text = gathered.text()
    origin = gathered.placed[0].piece.unit.position
    place = _Place(origin, text, codec)
    at = 0
    while at < len(text):
        end = len(text) if len(text) - at <= CHARS_MAX else _seam(text, at)
        whole = text[at:end]
        shown = whole.strip()
        if shown:
            start = at + len(whole) - len(whole.lstrip())
            yield _chunk(gathered, place, start, start + len(shown))
        at = end


class _Place:
    """Bytes and lines at a character, asked for in rising order: each character is counted once."""

    def __init__(self, origin: Position, text: str, codec: str) -> None:
        self.text = text
        self._codec = codec
        self._at = 0
        self.byte, self.line = origin.byte_start, origin.line
        self.char_start = origin.char_start

    def go(self, at: int) -> None:
        between = self.text[self._at : at]
        self._at = at
        if self.byte is not None:
            self.byte += len(between.encode(self._codec))
        if self.line is not None:
            self.line += between.count("\n") + between.count("\r") - between.count("\r\n")


def _seam(text: str, at: int) -> int:
    """The best place to cut between half the target and the greatest length from `at`: the last of the best kind."""
    low, high = at + TARGET_CHARS // 2, at + CHARS_MAX
    for seam in _SEAMS:
        ends = [match.end() for match in seam.finditer(text, low, high)]
        if ends:
            return ends[-1]
    cut = high
    while cut > low and _COMBINING.match(text, cut):  # marks stay with their letter
        cut -= 1
    return cut


def _chunk(gathered: _Gathered, place: _Place, start: int, end: int) -> Chunk:
    touched = gathered.placed[bisect_right(gathered.offsets, start) - 1 : bisect_right(gathered.offsets, end - 1)]
    unit = touched[0].piece.unit.position
    rows = [each.piece.unit.position.row for each in touched if each.piece.unit.position.row is not None]
    place.go(start)
    byte_start, line = place.byte, place.line
    place.go(end)
    return Chunk(
        passage_id="",
        text=place.text[start:end],
        position=Position(
            char_start=place.char_start + start,
            char_end=place.char_start + end,
            byte_start=byte_start,
            byte_end=place.byte,
            page=unit.page,
            row=rows[0] if rows else None,
            line=line,
            pointer=unit.pointer,
            section=unit.section,
        ),
        row_end=rows[-1] if rows else None,
        line_end=place.line,
        units=(touched[0].line_start, touched[-1].line_end),
    )
