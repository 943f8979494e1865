"""Hostile files: a typed failure within bounds, or everything accounted for; and the platform lives."""

import zlib
from typing import Any

import pytest

from symphainy.boot.phases import Platform
from symphainy.capabilities.content import ContentCapability
from symphainy.capabilities.content.reading import ParseLimits
from symphainy.capabilities.insights import InsightsCapability
from symphainy.testing.platform import in_memory_platform
from tests.integration.capabilities.desk import Desk, desk
from tests.unit.capabilities.content.pdfs import handbook, pdf

TABLE = b"pump,hours\nP-1,12\nP-2,7\n"


async def lives(ada: Desk) -> bool:
    """The platform still takes a file in, reads it and is well."""
    parsed = await ada.parse(TABLE + b"P-9,%d\n" % id(ada), "fine.csv")
    return (await ada.platform.health()).status == "ok" and parsed["counts"]["rows"] == 3


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (handbook(20)[:4000], "cut.pdf", "pdf_truncated"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 99 + b"\n%%EOF\n", "noise.pdf", "pdf_unreadable"),
        (pdf([["x"]], password="secret"), "locked.pdf", "pdf_encrypted"),
        (pdf([["x"]]), "table.csv", "type_mismatch"),
        (TABLE, "report.pdf", "type_mismatch"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "table.csv", "type_mismatch"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "picture.png", "unsupported_media"),
        (b"<!doctype html><html>not found</html>", "report.pdf", "type_mismatch"),
        (b"[" * 200_000, "deep.json", "parser_limit"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "deep.json", "parser_limit"),
        (b'{"a": 1', "cut.json", "invalid_json"),
        (b'{"a": 1, "a": 2}', "twice.json", "invalid_json"),
        (b"", "empty.json", "invalid_json"),
        (b",".join([b"1"] * 20_000), "wide.csv", "parser_limit"),
        (b"\xff\xfe\x00\x00\xff\xff\xff\xff", "bad.txt", "encoding_broken"),
    ],
)
async def test_what_cannot_be_read_fails_by_name(ada: Desk, data: bytes, name: str, code: str) -> None:
    refusal = await ada.refused("parse_content", file_id=await ada.keep(data, name))
    assert refusal.code == code, refusal
    assert await lives(ada)


async def test_a_mislabelled_file_can_be_read_as_what_it_is(ada: Desk) -> None:
    file = await ada.ingest(pdf([["a page of a report"]]), "table.csv")
    assert (file["media_type"], file["declared_media_type"], file["type_mismatch"]) == (
        "application/pdf",
        "text/csv",
        True,
    )
    file_id = await ada.keep(pdf([["a page of a report"]]), "table.csv")
    assert (await ada.refused("parse_content", file_id=file_id, parsing_type="csv")).code == "type_mismatch"
    parsed = await ada.run("parse_content", file_id=file_id, parsing_type="pdf")
    assert parsed["counts"]["pages"] == 1


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (TABLE + b'P-3,"open\nP-4,1\nP-5,2\n', {"quote_left_open": 1}),
        (TABLE + b'P-3,"a"b\nP-4,1\n', {"text_after_quote": 1}),
        (TABLE + b"P-3\nP-4,1,2,3\n", {"ragged_row": 2}),
        (TABLE + b"P-3,\x00\nP-4,1\n", {"nul_byte": 1}),
        ("größe,öl\nü,ä\n".encode() * 9 + b"P-3,\xff\n", {"undecodable_bytes": 1}),
        (TABLE + b"P-3," + b"z" * 3_000_000 + b"\nP-4,1\n", {"record_too_long": 1}),
    ],
)
async def test_a_broken_row_is_put_aside_and_the_others_are_read(
    ada: Desk, data: bytes, reasons: dict[str, int]
) -> None:
    parsed = await ada.parse(data, "rows.csv")
    rows = parsed["balance"]["rows"]
    assert rows["quarantined"] == reasons
    assert rows["total"] == rows["delivered"] + sum(rows["ignored"].values()) + sum(reasons.values())
    assert parsed["balance"]["bytes"]["total"] == len(data)
    assert {each["reason"] for each in parsed["quarantine"]} == {*reasons}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\x00b\n.txt", "ab.txt"),
        ("\u202efdp.exe", "fdp.exe"),
        ("..", "unnamed"),
    ],
)
async def test_a_name_leads_nowhere(ada: Desk, name: str, shown: str) -> None:
    file = await ada.ingest(b"text", name)
    assert file["filename"] == shown


def bomb(pages: int, stream_bytes: int) -> bytes:
    """A small PDF whose pages all show one stream that unpacks to much."""
    packed = zlib.compress(b"q " * (stream_bytes // 2), 9)
    kids = b" ".join(b"4 0 R" for _ in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%s] /Count %d >>" % (kids, pages),
        b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(packed), packed),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 200 200] /Contents 3 0 R >>",
    ]
    out = bytearray(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def bounded(**limits: Any) -> type[ContentCapability]:
    class Bounded(ContentCapability):
        def __init__(self, *, public_works: Any, state_surface: Any) -> None:
            super().__init__(public_works=public_works, state_surface=state_surface, limits=ParseLimits(**limits))

    return Bounded


async def refusal_under(data: bytes, name: str, **limits: Any) -> tuple[str, str, Platform]:
    async with in_memory_platform(capabilities=(bounded(**limits), InsightsCapability)) as platform:
        ada = await desk(platform)
        refusal = await ada.refused("parse_content", file_id=await ada.keep(data, name))
        assert await lives(ada)
        return refusal.code, str(refusal.details.get("limit")), platform


async def test_time_is_bounded() -> None:
    # Less than a process takes to start, so that no machine is fast enough to be done in time.
    code, limit, _ = await refusal_under(handbook(40), "long.pdf", timeout_s=0.02)
    assert (code, limit) == ("parser_limit", "time_s")


async def test_memory_is_bounded() -> None:
    """A page that unpacks to half a gigabyte."""
    code, limit, _ = await refusal_under(bomb(1, 512 << 20), "bomb.pdf", memory_bytes_max=400 << 20)
    assert (code, limit) in (("parser_limit", "memory_bytes"), ("parser_limit", "memory"), ("parser_failed", "None"))


async def test_more_pages_than_anyone_reads_are_refused() -> None:
    code, limit, _ = await refusal_under(bomb(30_000, 64), "pages.pdf")
    assert (code, limit) == ("parser_limit", "pages")
