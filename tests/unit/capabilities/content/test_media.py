"""What a file is, whatever it is called."""

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.capabilities.content.parsing.media import (
    CSV,
    EBCDIC,
    HEAD_BYTES,
    JSON,
    JSON_LINES,
    MARKDOWN,
    PDF,
    PLAIN,
    TSV,
    UNKNOWN,
    Detected,
    detect,
)

PDF_HEAD = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
TABLE = b"id,name,due\n1,pump,2026-01-01\n2,valve,2026-01-02\n3,fan,2026-01-03\n"
PROSE = b"Dear team, the pump leaks.\nPlease look at it, and tell us.\nThanks.\n"


def zipped(*names: str, mimetype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if mimetype is not None:
            archive.writestr("mimetype", mimetype)
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name", "media_type"),
    [
        (PDF_HEAD, "report", PDF),
        (b"\n\n" + PDF_HEAD, "x.txt", PDF),
        (TABLE, "x.csv", CSV),
        (TABLE, "x", CSV),
        (TABLE, "x.tsv", TSV),
        (TABLE, "notes.txt", PLAIN),
        (PROSE, "letter", PLAIN),
        (PROSE, "letter.md", MARKDOWN),
        (b"# Title\n\n- one\n- two\n", "x", MARKDOWN),
        (b'{"a": 1}', "x", JSON),
        (b' \n[1, 2, {"a": []}]\n', "x", JSON),
        (b'{"a": 1}\n{"a": 2}\n', "x", JSON_LINES),
        (b'{"a": 1}\n{"a": 2}\n', "x.json", JSON_LINES),
        (b'{"a": ', "x.json", JSON),
        (b"hello", "x.json", JSON),
        (b'{"a": 1}', "x.csv", JSON),
        (b"[1] Introduction\n", "x", PLAIN),
        (b"[note] a,b\n", "x.csv", CSV),
        (b"{curly} prose\n", "x.md", MARKDOWN),
        (b"<!DOCTYPE html><html></html>", "x.csv", "text/html"),
        (b"<?xml version='1.0'?><a/>", "x", "application/xml"),
        (b"BM is how this text begins, and it goes on\n", "x.txt", PLAIN),
        ("größe,öl\n1,2\n3,4\n".encode("utf-16"), "x.csv", CSV),
        ("name\tn\n".encode("utf-16-le"), "x.txt", PLAIN),
        ("größe öl\n".encode("cp1252"), "x.txt", PLAIN),
        (b"", "empty.csv", CSV),
        (b"", "empty", PLAIN),
        (b"a,b\n1,2\n" + b"\x00" * 100 + b"\x1a", "x.csv", CSV),
        (b"pump,hours\nP-1,12\nP-2,7\nP-3,\x00\n", "x.csv", CSV),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "x.csv", "image/png"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "x", "image/jpeg"),
        (b"PAR1" + bytes(50), "x", "application/vnd.apache.parquet"),
        (b"SQLite format 3\x00" + bytes(50), "x", "application/vnd.sqlite3"),
        (bytes(range(256)) * 4, "x.csv", UNKNOWN),
        (bytes(100), "x.txt", UNKNOWN),
        ("HELLO MAINFRAME WORLD, RECORD 00012345".encode("cp037") * 3, "x.txt", EBCDIC),
        (zipped("word/document.xml"), "x", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (zipped("xl/workbook.xml"), "x.csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        (zipped(mimetype="application/epub+zip"), "x", "application/epub+zip"),
        (zipped("any.txt"), "x", "application/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "Workbook".encode("utf-16-le"), "x",
         "application/vnd.ms-excel"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "x", "application/x-ole-storage"),
        (b"ISA*00*          *00*          *ZZ*A              *ZZ*B              *260101*0101*U*00401*1*0*T*>~", "m",
         "application/edi-x12"),
    ],
)  # fmt: skip
def test_content_decides(data: bytes, name: str, media_type: str) -> None:
    assert detect(data, whole=True, filename=name).media_type == media_type


@pytest.mark.parametrize(
    ("data", "name", "sent", "detected"),
    [
        (PDF_HEAD, "x.csv", "text/csv", Detected(media_type=PDF, declared_media_type=CSV, mismatch=True)),
        (TABLE, "x.pdf", None, Detected(media_type=CSV, declared_media_type=PDF, mismatch=True)),
        (TABLE, "x", PDF, Detected(media_type=CSV, declared_media_type=PDF, mismatch=True)),
        (TABLE, "x.md", CSV, Detected(media_type=MARKDOWN, declared_media_type=MARKDOWN, mismatch=False)),
        (b'{"a": 1}', "x.csv", None, Detected(media_type=JSON, declared_media_type=CSV, mismatch=False)),
        (TABLE, "x", "application/octet-stream", Detected(media_type=CSV, declared_media_type=None, mismatch=False)),
        (TABLE, "x.csv", "application/vnd.ms-excel", Detected(media_type=CSV, declared_media_type=CSV, mismatch=False)),
        (PROSE, "x", "text/markdown; charset=utf-8",
         Detected(media_type=MARKDOWN, declared_media_type=MARKDOWN, mismatch=False)),
    ],
)  # fmt: skip
def test_a_claim_that_the_content_contradicts_is_told(
    data: bytes, name: str, sent: str | None, detected: Detected
) -> None:
    assert detect(data, whole=True, filename=name, media_type=sent) == detected


def test_a_beginning_is_enough() -> None:
    rows = TABLE * 3000
    assert detect(rows[:HEAD_BYTES], whole=False, filename="x").media_type == CSV
    document = b'[{"name": "' + "é".encode() * HEAD_BYTES + b'"}]'
    assert detect(document[:HEAD_BYTES], whole=False, filename="x").media_type == JSON
    odd = "é".encode() * HEAD_BYTES
    assert detect(odd[: HEAD_BYTES - 1], whole=False, filename="x.txt").media_type == PLAIN


@given(st.binary(max_size=300), st.booleans(), st.sampled_from(["x", "x.csv", "x.json", "x.pdf", ".", "a.b.c"]))
def test_any_bytes_have_a_type(data: bytes, whole: bool, name: str) -> None:
    assert "/" in detect(data, whole=whole, filename=name).media_type


@given(st.integers(1, 20_000))
def test_deeply_nested_brackets_do_not_stop_detection(depth: int) -> None:
    assert detect(b"[" * depth, whole=True, filename="x.json").media_type == JSON


def test_numbers_in_binary_are_not_text() -> None:
    assert detect(struct.pack("<200i", *range(200)), whole=True, filename="x.csv").media_type == UNKNOWN
