"""PDF: pages as paragraphs with exact spans, and a typed refusal for what cannot be read."""

import re

import pypdfium2
import pytest

from symphainy.capabilities.content.parsing import pdf as pdf_parser
from symphainy.capabilities.content.parsing.media import PDF
from symphainy.capabilities.content.parsing.units import QUARANTINED
from tests.unit.capabilities.content.parse import Outcome, assert_conserved, parse
from tests.unit.capabilities.content.pdfs import handbook, pdf

ROUND = [
    "# Daily round",
    "Each pump is looked at twice a day, and what its",
    "gauge shows is written down.",
    "",
    "A pump that is louder than the day before is reported.",
]


def page_texts(data: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(data)
    return [document[number].get_textpage().get_text_range() for number in range(len(document))]


def assert_exact_in_pages(outcome: Outcome) -> None:
    texts = page_texts(outcome.data)
    for unit in outcome.content:
        place = unit.position
        assert place.page is not None
        assert texts[place.page - 1][place.char_start : place.char_end] == unit.text
    for chunk in outcome.chunks:
        place = chunk.position
        assert place.page is not None
        assert texts[place.page - 1][place.char_start : place.char_end] == chunk.text
    inside = {(c.position.page, at) for c in outcome.chunks for at in range(c.position.char_start, c.position.char_end)}
    for number, text in enumerate(texts, 1):
        assert all((number, at) in inside or char.isspace() for at, char in enumerate(text))


def test_a_page_becomes_headings_and_paragraphs() -> None:
    outcome = parse(pdf([ROUND, [], ["!image"], ["Last page."]]), PDF)
    assert [(unit.kind, unit.position.page, unit.text) for unit in outcome.content] == [
        ("heading", 1, "Daily round"),
        ("paragraph", 1, "Each pump is looked at twice a day, and what its\r\ngauge shows is written down."),
        ("paragraph", 1, "A pump that is louder than the day before is reported."),
        ("paragraph", 4, "Last page."),
    ]
    assert outcome.balance["pages"] == {
        "total": 4,
        "delivered": 2,
        "ignored": {"blank": 1},
        "quarantined": {"no_text_layer": 1},
    }
    assert [(unit.reason, unit.position.page, unit.details) for unit in outcome.units if unit.reason] == [
        ("no_text_layer", 3, {"objects": 1})
    ]
    assert_conserved(outcome)
    assert_exact_in_pages(outcome)


def test_a_long_document_is_exact_on_every_page() -> None:
    outcome = parse(handbook(30), PDF)
    assert outcome.balance["pages"] == {"total": 30, "delivered": 30, "ignored": {}, "quarantined": {}}
    assert outcome.summary.summary.counts == {"pages": 30, "headings": 30, "paragraphs": 240, "quarantined_pages": 0}
    assert_conserved(outcome)
    assert_exact_in_pages(outcome)


def refused(data: bytes) -> tuple[str, dict[str, object]]:
    outcome = parse(data, PDF)
    assert outcome.refusal is not None
    return outcome.refusal.code, outcome.refusal.details


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_pdf_is_refused(share: float) -> None:
    data = handbook(10)
    cut = data[: int(len(data) * share)]
    assert refused(cut) == ("pdf_truncated", {"size_bytes": len(cut)})


def test_a_cut_behind_an_earlier_end_is_seen() -> None:
    data = pdf([ROUND])
    assert refused(data + b"9 0 obj\n<< /Type /Page >>\nendobj\n")[0] == "pdf_truncated"


def test_a_linearized_pdf_that_is_shorter_than_it_says_is_refused() -> None:
    data = pdf([ROUND])
    head, end, rest = data.partition(b"\n")
    linearized = head + end + b"% /Linearized 1 /L 999999 \n" + rest
    assert refused(linearized)[0] == "pdf_truncated"


def test_an_encrypted_pdf_is_refused() -> None:
    assert refused(pdf([ROUND], password="secret"))[0] == "pdf_encrypted"


def test_a_pdf_that_only_forbids_changes_is_read() -> None:
    outcome = parse(pdf([ROUND], password=""), PDF)
    assert len(outcome.content) == 3


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7\n%%EOF\n", b"%PDF-1.7\n" + bytes(range(256)) * 40 + b"\n%%EOF\n"])
def test_what_is_no_pdf_inside_is_refused(data: bytes) -> None:
    assert refused(data)[0] == "pdf_unreadable"


def test_more_pages_than_allowed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_parser, "PAGES_MAX", 2)
    assert refused(pdf([["a"], ["b"], ["c"]])) == ("parser_limit", {"limit": "pages", "value": 3, "max": 2})


def test_a_page_that_is_too_long_is_quarantined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf_parser, "PAGE_CHARS_MAX", 50)
    outcome = parse(pdf([ROUND, ["short"]]), PDF)
    assert outcome.balance["pages"]["quarantined"] == {"page_too_long": 1}
    assert [unit.text for unit in outcome.content] == ["short"]
    assert_conserved(outcome)


def test_a_page_that_cannot_be_loaded_is_quarantined() -> None:
    data = pdf([["first"], ["second"], ["third"]])
    # The second page becomes something that is no page.
    pages = [match.start() for match in re.finditer(rb"/Type /Page\b(?!s)", data)]
    damaged = data[: pages[1]] + b"/Type /Nope" + data[pages[1] + len(b"/Type /Page") :]
    outcome = parse(damaged, PDF)
    assert outcome.balance["pages"]["total"] == 3
    assert_conserved(outcome)
    told = {unit.position.page for unit in outcome.units if unit.kind == QUARANTINED} | {
        unit.position.page for unit in outcome.content
    }
    assert told == {1, 2, 3}


def test_glyphs_without_characters_are_no_text() -> None:
    rows = [pdf_parser._Row(0, 6, 0.0, 700.0, 10.0), pdf_parser._Row(8, 12, 0.0, 600.0, 10.0)]
    text = "\ue001\ue002\ue003\ufffd\ufffda\r\ngood"
    pieces = [*pdf_parser._blocks(text, 1, rows)]
    assert [(piece.unit.kind, piece.unit.reason) for piece in pieces] == [
        ("quarantined", "unmapped_glyphs"),
        ("paragraph", None),
    ]
