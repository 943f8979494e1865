"""PDF: the text of each page as paragraphs and headings. Runs in a child process only: what reads it can crash."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from symphainy.capabilities.content.parsing.units import (
    QUARANTINED,
    Piece,
    Pieces,
    Position,
    Summary,
    Tally,
    Unit,
    quarantined,
)
from symphainy.errors import IntentRefused, MissingExtra

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

PARSER = "pdfium"
PAGES_MAX = 20_000
PAGE_CHARS_MAX = 2_000_000
_TAIL_BYTES = 1 << 16

_LINE = re.compile(r"[^\r\n]*\S[^\r\n]*")
_WORD = re.compile(r"[^\W_]")
_BULLET = re.compile(r"[•◦▪‣●○■–·*-]\s")
_OBJECT = re.compile(rb"\d+\s+\d+\s+obj\b")
#: What readers show for glyphs that the file gives no character for.
_UNMAPPED = re.compile("[\x00\ufffd\ue000-\uf8ff]")
_UNMAPPED_SHARE = 0.5


class _Row(NamedTuple):
    """A line of a page: its span in the page's text, and where it stands, in points from the lower left."""

    start: int
    end: int
    left: float
    bottom: float
    height: float


def parse_pdf(file: BinaryIO, size_bytes: int) -> Pieces:
    """Units: `heading`, `paragraph`, `quarantined`. Measures: pages and characters.

    Raises `IntentRefused`: `pdf_encrypted`, `pdf_truncated`, `pdf_unreadable`, `parser_limit`.
    """
    if not size_bytes:
        raise _unreadable("the file is empty")
    # Not closed by hand: pdfium reads from it until the process ends.
    memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    _refuse_truncated(memory, size_bytes)
    with closing(_opened((ctypes.c_char * size_bytes).from_buffer(memory))) as document:
        return (yield from _pages(document))


def _unreadable(why: str) -> IntentRefused:
    return IntentRefused("pdf_unreadable", f"the PDF cannot be read: {why}", {"reason": why})


def _refuse_truncated(memory: mmap.mmap, size_bytes: int) -> None:
    """A PDF ends with `%%EOF`. What is cut off behind an earlier one would be missing without a trace."""
    tail = memory[max(size_bytes - _TAIL_BYTES, 0) :]
    mark = tail.rfind(b"%%EOF")
    linearized = re.search(rb"/Linearized\b.{0,200}?/L\s+(\d+)", memory[:1024], re.S)
    cut = mark < 0 or _OBJECT.search(tail, mark) is not None
    if cut or (linearized and int(linearized.group(1)) > size_bytes):
        raise IntentRefused(
            "pdf_truncated",
            f"the PDF breaks off after {size_bytes} bytes, so its last pages are missing. Bring in the whole file",
            {"size_bytes": size_bytes},
        )


def _opened(window: Any) -> PdfDocument:
    try:
        import pypdfium2
        import pypdfium2.raw as pdfium
    except ImportError:
        raise MissingExtra("content", needed_for="reading PDF files") from None
    try:
        document = pypdfium2.PdfDocument(window)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY):
            raise IntentRefused(
                "pdf_encrypted", "the PDF is encrypted and asks for a password. Bring in a copy without one"
            ) from None
        raise _unreadable(str(error)) from None
    if len(document) > PAGES_MAX:
        pages = len(document)
        document.close()
        raise IntentRefused(
            "parser_limit",
            f"the PDF has {pages} pages; at most {PAGES_MAX} are read. Split it",
            {"limit": "pages", "value": pages, "max": PAGES_MAX},
        )
    return document


def _pages(document: PdfDocument) -> Pieces:
    import pypdfium2
    import pypdfium2.raw as pdfium

    tally = Tally()
    counts = {"pages": len(document), "headings": 0, "paragraphs": 0}
    total_characters = annotations = 0
    for number in range(1, len(document) + 1):
        try:
            with closing(document[number - 1]) as page, closing(page.get_textpage()) as layout:
                annotations += max(pdfium.FPDFPage_GetAnnotCount(page), 0)
                text = _text_of(layout)
                if text is None:
                    pieces = [_whole_page(number, "page_too_long", characters=layout.count_chars())]
                elif text.strip():
                    pieces = [*_blocks(text, number, _rows(text, layout))]
                else:
                    pieces = _textless(page, number)
        # The binding asserts what the library promises; a page where it does not hold is not worth the others.
        except (pypdfium2.PdfiumError, AssertionError) as error:
            text, pieces = "", [_whole_page(number, "unreadable_page", why=str(error))]
        text = text or ""
        total_characters += len(text)
        _account(tally, pieces, text)
        for piece in pieces:
            if piece.unit.kind != QUARANTINED:
                counts[f"{piece.unit.kind}s"] += 1
            yield piece
    return Summary(
        parser=PARSER,
        counts={**counts, "quarantined_pages": tally.quarantined("pages")},
        balance=tally.balance(pages=len(document), characters=total_characters),
        structure={
            "not_read": {
                "annotations": annotations,
                "attachments": max(pdfium.FPDFDoc_GetAttachmentCount(document), 0),
            }
        },
    )


def _text_of(layout: PdfTextPage) -> str | None:
    if layout.count_chars() > PAGE_CHARS_MAX:
        return None
    text: str = layout.get_text_range(errors="replace")
    return text


def _whole_page(number: int, reason: str, **details: Any) -> Piece:
    return quarantined(reason, "", Position(char_start=0, char_end=0, page=number), **details)


def _textless(page: PdfPage, number: int) -> list[Piece]:
    """Nothing when nothing is on the page; otherwise what is there is a picture, and needs character recognition."""
    import pypdfium2.raw as pdfium

    objects = max(pdfium.FPDFPage_CountObjects(page), 0)
    if not objects:
        return []
    return [_whole_page(number, "no_text_layer", objects=objects)]


def _account(tally: Tally, pieces: Sequence[Piece], text: str) -> None:
    """Enter one page: it is delivered when any of its text is."""
    inside = 0
    for piece in pieces:
        span = piece.unit.position.char_end - piece.unit.position.char_start
        inside += span
        if piece.unit.kind == QUARANTINED:
            tally.quarantine(piece.unit.reason or "", characters=span)
        else:
            tally.deliver(characters=span)
    # Counted from the text between, not as what is left over.
    spans = [(piece.unit.position.char_start, piece.unit.position.char_end) for piece in pieces]
    edges = [(0, 0), *spans, (len(text), len(text))]
    tally.ignore("white_space", characters=sum(len(text[end:start]) for (_, end), (start, _) in pairwise(edges)))
    if any(piece.unit.kind != QUARANTINED for piece in pieces):
        tally.deliver(pages=1)
    elif pieces:
        tally.quarantine(pieces[0].unit.reason or "", pages=1)
    else:
        tally.ignore("blank", pages=1)


def _rows(text: str, layout: PdfTextPage) -> list[_Row]:
    import pypdfium2.raw as pdfium

    box = pdfium.FS_RECTF()
    rows: list[_Row] = []
    # pdfium counts UTF-16 units, and its own list of glyphs may hold more or fewer than the text.
    wide = max(text) > "\uffff"
    for match in _LINE.finditer(text):
        # Behind a bullet: that is often of another font, and lines that go on begin below the words.
        word = _WORD.search(text, match.start(), match.end())
        first = word.start() if word else match.start()
        unit = len(text[:first].encode("utf-16-le")) // 2 if wide else first
        glyph = pdfium.FPDFText_GetCharIndexFromTextIndex(layout, unit)
        if glyph >= 0 and pdfium.FPDFText_GetLooseCharBox(layout, glyph, box):
            rows.append(_Row(match.start(), match.end(), box.left, box.bottom, box.top - box.bottom))
        else:
            last = rows[-1] if rows else _Row(0, 0, 0.0, 0.0, 0.0)
            rows.append(last._replace(start=match.start(), end=match.end()))
    return rows


def _blocks(text: str, number: int, rows: list[_Row]) -> Iterator[Piece]:
    """Rows that belong together, told by the distance between them, their size, and where they begin."""
    body = _commonest_height(rows)
    steps = [above.bottom - below.bottom for above, below in pairwise(rows)]
    pitches = [step for step in steps if 0.6 * body < step < 2 * body]
    pitch = median(pitches) if pitches else 1.2 * body
    groups: list[list[_Row]] = []
    for index, row in enumerate(rows):
        following = rows[index + 1] if index + 1 < len(rows) else None
        if not groups or _parted(groups[-1], row, following, text, pitch):
            groups.append([row])
        else:
            groups[-1].append(row)
    end = None
    for group in groups:
        start = group[0].start
        block = text[start : group[-1].end]
        position = Position(char_start=start, char_end=group[-1].end, page=number)
        unmapped = len(_UNMAPPED.findall(block))
        if "\x00" in block or unmapped > _UNMAPPED_SHARE * len(block):
            yield quarantined("unmapped_glyphs", block, position, glyphs=unmapped)
            end = None
            continue
        is_heading = group[0].height > 1.15 * body > 0 and len(block) <= 200
        unit = Unit(kind="heading" if is_heading else "paragraph", text=block, position=position)
        yield Piece(unit=unit, raw=block, gap=None if end is None else text[end:start])
        end = group[-1].end


def _commonest_height(rows: Sequence[_Row]) -> float:
    """Of the letters on this page."""
    letters: dict[float, int] = {}
    for row in rows:
        height = round(row.height, 1)
        letters[height] = letters.get(height, 0) + row.end - row.start
    return max(letters, key=lambda height: (letters[height], height), default=0.0)


def _parted(group: Sequence[_Row], row: _Row, following: _Row | None, text: str, pitch: float) -> bool:
    above = group[-1]
    step = above.bottom - row.bottom
    if abs(step) < 0.3 * max(row.height, above.height):
        return False  # further along the same row
    if step < 0 or step > 1.3 * pitch:
        return True
    if abs(row.height - above.height) > 0.2 * max(row.height, above.height):
        return True
    if _BULLET.match(text, row.start):
        return True
    indent = 0.8 * row.height
    return (
        row.left > above.left + indent
        and following is not None
        and following.left < row.left - indent
        and abs(following.bottom - row.bottom) > 0.3 * row.height
    )
