"""Uploads taken apart as they come in, in any pieces, and hostile ones refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from symphainy.errors import Invalid, SymphainyError, TooLarge, UnsupportedMedia
from symphainy.wire.bodies import ClientGone
from symphainy.wire.settings import EdgeSettings
from symphainy.wire.uploads import receive_upload

BOUNDARY = "boundary-7"
HEADERS = {b"content-type": f"multipart/form-data; boundary={BOUNDARY}".encode()}


def part(name: str, value: bytes, *, filename: str | None = None, media_type: str | None = None) -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    if media_type is not None:
        head += f"\r\nContent-Type: {media_type}"
    return f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
CONTENT = bytes(range(256)) * 5 + b"\r\n--boundary-\r\n--boundary-8\r\n"
SESSION = part("session_id", b"ses_1")
FILE = part("file", CONTENT, filename="a.bin", media_type="application/pdf")


def arriving(body: bytes, *, size: int = 64, ends: bool = True) -> Receive:
    pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    waiting: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if ends:
        waiting[-1]["more_body"] = False
    else:
        waiting.append({"type": "http.disconnect"})
    left = iter(waiting)

    async def receive() -> Message:
        return next(left)

    return receive


async def received(
    body: bytes, headers: dict[bytes, bytes] | None = None, *, size: int = 64, ends: bool = True, **bounds: Any
) -> tuple[dict[str, bytes], str, str | None, bytes]:
    settings = EdgeSettings(**bounds)
    async with receive_upload(arriving(body, size=size, ends=ends), headers or HEADERS, settings) as upload:
        content = b"".join([chunk async for chunk in upload.chunks])
        return upload.fields, upload.filename, upload.media_type, content


@given(size=st.integers(1, 2000), file_first=st.booleans())
def test_a_form_is_the_same_in_whatever_pieces_it_comes(size: int, file_first: bool) -> None:
    body = FILE + SESSION + END if file_first else SESSION + FILE + END
    expected = ({"session_id": b"ses_1"}, "a.bin", "application/pdf", CONTENT)
    assert asyncio.run(received(body, size=size)) == expected


@given(content=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_content_is_mistaken_for_a_boundary(content: bytes, size: int) -> None:
    body = SESSION + part("file", content, filename="x") + END
    if f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + content:
        assert asyncio.run(received(body, size=size))[3] == content


async def test_fields_may_stand_on_both_sides_when_the_session_comes_last() -> None:
    body = part("parameters", b"{}") + FILE + SESSION + END
    assert (await received(body))[0] == {"parameters": b"{}", "session_id": b"ses_1"}


async def test_a_file_that_comes_first_waits_on_disk_and_leaves_nothing_there(tmp_path: Path) -> None:
    assert (await received(FILE + SESSION + END, spool_folder=str(tmp_path)))[3] == CONTENT
    assert os.listdir(tmp_path) == []


async def test_an_empty_file_is_a_file() -> None:
    assert (await received(SESSION + part("file", b"", filename="x") + END))[3] == b""


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("a.bin", "a.bin"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\ada\\a.txt", "a.txt"),
        ("..", "upload"),
        (".", "upload"),
        ("", "upload"),
        ("a/", "a"),
        ("Übersicht für Ada.pdf", "Übersicht für Ada.pdf"),
        ("契約.pdf", "契約.pdf"),
        ("a\x00b\x1b[31m.txt", "ab[31m.txt"),
        ("x\u202egnp.exe", "xgnp.exe"),
        ("n" * 300, "n" * 255),
    ],
)
async def test_a_name_is_only_a_name(sent: str, kept: str) -> None:
    assert (await received(SESSION + part("file", b"x", filename=sent) + END))[1] == kept


@pytest.mark.parametrize("file_first", [False, True])
async def test_a_file_over_the_limit_is_refused_while_it_comes_in(file_first: bool) -> None:
    parts = (FILE, SESSION) if file_first else (SESSION, FILE)
    with pytest.raises(TooLarge, match="larger than 1000 bytes"):
        await received(b"".join(parts) + END, upload_bytes_max=1000)
    assert (await received(b"".join(parts) + END, upload_bytes_max=len(CONTENT)))[3] == CONTENT


async def test_a_form_that_declares_too_much_is_refused_unread() -> None:
    async def unread() -> Message:
        raise AssertionError("nothing had to be read")

    headers = {**HEADERS, b"content-length": b"10000000"}
    with pytest.raises(TooLarge):
        async with receive_upload(unread, headers, EdgeSettings(upload_bytes_max=1000)):
            raise AssertionError("it was let in")


async def test_nothing_that_follows_the_form_is_taken_in_for_ever() -> None:
    with pytest.raises(TooLarge):
        await received(
            SESSION + FILE + END + b"x" * 600_000, size=65536, upload_bytes_max=2000, upload_part_bytes_max=999
        )


async def test_a_client_that_hangs_up_is_not_answered() -> None:
    with pytest.raises(ClientGone):
        await received(SESSION + FILE[:900], ends=False)


HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "no part": END,
    "no file": SESSION + END,
    "only a file-like field": SESSION + part("fiLe", b"x", filename="x") + END,
    "cut in the head of a part": SESSION + FILE[:30],
    "cut in the file": SESSION + FILE[:900],
    "cut before the end": SESSION + FILE,
    "another boundary": (SESSION + FILE + END).replace(b"boundary-7", b"boundary-9"),
    "the session twice": SESSION + SESSION + FILE + END,
    "two files": SESSION + FILE + FILE + END,
    "two files, session last": FILE + FILE + SESSION + END,
    "fields after the file": SESSION + FILE + part("parameters", b"{}") + END,
    "a part without a name": SESSION + b"--boundary-7\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END,
    "a part without a disposition": SESSION + b"--boundary-7\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END,
    "an attachment": SESSION + b'--boundary-7\r\nContent-Disposition: attachment; name="file"\r\n\r\nx\r\n' + END,
    "a head without a colon": SESSION + b"--boundary-7\r\nContent-Disposition\r\n\r\nx\r\n" + END,
    "a head without an end": SESSION + b"--boundary-7\r\nX: " + b"y" * 10_000,
    "a thousand heads": SESSION + b"--boundary-7\r\n" + b"X: y\r\n" * 1000 + b"\r\nx\r\n" + END,
    "a thousand parts": b"".join(part(f"f{number}", b"x") for number in range(1000)) + FILE + END,
    "binary": bytes(range(256)) * 4,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("size", [7, 100_000])
async def test_a_hostile_form_is_refused(body: bytes, size: int) -> None:
    with pytest.raises(Invalid):
        await received(body, size=size)


async def test_a_field_is_not_a_second_way_to_send_a_file() -> None:
    with pytest.raises(TooLarge, match="'parameters' is larger than 100 bytes"):
        await received(part("parameters", b"x" * 101) + SESSION + FILE + END, upload_part_bytes_max=100)


@pytest.mark.parametrize(
    "declared",
    [
        b"",
        b"application/json",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b"multipart/mixed; boundary=boundary-7",
        b"text/plain; boundary=boundary-7",
    ],
)
async def test_anything_but_a_form_is_an_unsupported_media_type(declared: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        await received(SESSION + FILE + END, {b"content-type": declared})


@pytest.mark.parametrize("boundary", [b"x" * 71, b"\xff\xff", b"x" * 5000])
async def test_a_boundary_that_is_none_is_refused(boundary: bytes) -> None:
    with pytest.raises(Invalid):
        await received(SESSION + FILE + END, {b"content-type": b"multipart/form-data; boundary=" + boundary})


@given(body=st.binary(max_size=400), size=st.integers(1, 60))
def test_no_bytes_break_the_parser(body: bytes, size: int) -> None:
    with contextlib.suppress(SymphainyError):
        asyncio.run(received(SESSION + body + FILE + END, size=size))
