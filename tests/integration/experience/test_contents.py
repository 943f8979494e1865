"""The bytes of an artifact: whole, in ranges, or not again."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from symphainy.wire.contents import requested_span
from tests.services import Platform, client_of, kept, opened

CONTENT = bytes(range(256)) * 1000
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture
async def client(city: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    async with client_of(city.experience_service().create_app(), headers=city.headers()) as client:
        yield client


@pytest.fixture
async def path(client: httpx2.AsyncClient) -> str:
    return f"/api/artifacts/{await kept(client, {}, CONTENT)}/content"


async def test_content_comes_whole_as_a_file_to_store_and_never_to_run(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    shown = {name: answer.headers[name] for name in answer.headers if name not in ("x-request-id",)}
    assert shown == {
        "content-type": "text/plain",
        "content-length": str(len(CONTENT)),
        "etag": ETAG,
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "content-disposition": "attachment; filename*=UTF-8''a%20b.txt",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
    }


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-4", 2, 5),
        ("bytes=255990-", 255_990, 256_000),
        ("bytes=255990-999999999", 255_990, 256_000),
        ("bytes=-10", 255_990, 256_000),
        ("bytes=-999999999", 0, 256_000),
        ("bytes=0-255999", 0, 256_000),
        ("bytes = 2-4", 2, 5),
    ],
)
async def test_a_range_is_a_part(client: httpx2.AsyncClient, path: str, asked: str, start: int, stop: int) -> None:
    answer = await client.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/256000"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.headers["ETag"] == ETAG


@pytest.mark.parametrize("asked", ["bytes=256000-", "bytes=999999999-9999999999", "bytes=-0"])
async def test_a_range_beyond_the_end_is_416(client: httpx2.AsyncClient, path: str, asked: str) -> None:
    answer = await client.get(path, headers={"Range": asked})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == "bytes */256000"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=4-2",
        "bytes=0-1,4-5",
        "bytes=-",
        "bytes=",
        "bytes",
        "items=0-1",
        "bytes=a-b",
        "bytes=1-2-3",
        "bytes=" + "9" * 99 + "-",
    ],
)
async def test_a_range_that_is_none_is_ignored(client: httpx2.AsyncClient, path: str, asked: str) -> None:
    answer = await client.get(path, headers={"Range": asked})
    assert (answer.status_code, len(answer.content)) == (200, len(CONTENT))


@pytest.mark.parametrize("known", [ETAG, f'"x", {ETAG}', f"W/{ETAG}", "*"])
async def test_what_the_client_has_is_not_sent_again(client: httpx2.AsyncClient, path: str, known: str) -> None:
    answer = await client.get(path, headers={"If-None-Match": known, "Range": "bytes=0-1"})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", ETAG)


async def test_what_the_client_has_not_is_sent(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"If-None-Match": '"other"'})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize(("condition", "status"), [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200)])
async def test_a_range_of_something_older_is_not_mixed_with_this(
    client: httpx2.AsyncClient, path: str, condition: str, status: int
) -> None:
    answer = await client.get(path, headers={"Range": "bytes=0-9", "If-Range": condition})
    assert answer.status_code == status


async def test_head_tells_the_size_and_reads_nothing(client: httpx2.AsyncClient, path: str) -> None:
    answer = await client.head(path)
    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "256000", b"")


async def test_a_form_that_is_not_stored_is_not_there(client: httpx2.AsyncClient, path: str) -> None:
    artifact = (await client.get(path.removesuffix("/content"))).json()
    (stored,) = artifact["materializations"]
    named = await client.get(path, params={"materialization_id": stored["materialization_id"]})
    assert named.content == CONTENT
    missing = await client.get(path, params={"materialization_id": "mat_nope"})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


async def test_neither_name_nor_type_of_a_file_can_add_a_header(client: httpx2.AsyncClient) -> None:
    session_id = await opened(client, {})
    body = (
        b'--b\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n' + session_id.encode() + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a%0d%0aX-Evil: 1 \xe2\x80\xae\xff.html"\r\n'
        b"Content-Type: text/html\xff; x=\x0b<script>\r\n\r\n<script>alert(1)</script>\r\n--b--\r\n"
    )
    answer = await client.post(
        "/v1/content/upload",
        content=body,
        headers={"Content-Type": "multipart/form-data; boundary=b", "Prefer": "wait=10"},
    )
    assert answer.status_code == 200, answer.text
    content = await client.get(f"/api/artifacts/{answer.json()['result']['file_id']}/content")
    assert content.headers["Content-Type"] in ("application/octet-stream", "text/html")
    assert content.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''a%250d%250aX-Evil%3A%201")
    assert "x-evil" not in content.headers


async def test_an_upload_over_the_limit_keeps_nothing(city: Platform) -> None:
    city.settings = replace(city.settings, upload_bytes_max=1000)
    async with client_of(city.experience_service().create_app(), headers=city.headers()) as client:
        session_id = await opened(client, {})
        for field_first in (True, False):
            fields = {"session_id": (None, session_id.encode())}
            file = {"file": ("x", b"x" * 1001)}
            form = {**fields, **file} if field_first else {**file, **fields}
            answer = await client.post("/v1/content/upload", files=form)
            assert (answer.status_code, answer.json()["code"]) == (413, "payload_too_large")
        listed = await client.post("/api/artifact/list", json={})
        assert listed.json()["artifacts"] == []


async def test_an_upload_can_be_repeated_under_its_key(client: httpx2.AsyncClient) -> None:
    session_id = await opened(client, {})

    async def upload(content: bytes) -> httpx2.Response:
        return await client.post(
            "/v1/content/upload",
            data={"session_id": session_id},
            files={"file": ("x", content)},
            headers={"Idempotency-Key": "u-1"},
        )

    first, again, other = await upload(b"one"), await upload(b"one"), await upload(b"two")
    assert (first.status_code, again.status_code, other.status_code) == (202, 202, 422)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json() == first.json()


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, "/session_id"),
        ({"session_id": ""}, "/session_id"),
        ({"session_id": "ses_1", "parameters": "{"}, "/parameters"),
        ({"session_id": "ses_1", "parameters": "[]"}, "/parameters"),
        ({"session_id": "ses_1", "owner": "eve"}, "/owner"),
        ({"session_id": "ses_1", "tenant_id": "A"}, "/tenant_id"),
    ],
)
async def test_a_form_is_as_strict_as_a_body(client: httpx2.AsyncClient, fields: dict[str, str], pointer: str) -> None:
    answer = await client.post("/v1/content/upload", data=fields, files={"file": ("x", b"x")})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


@given(
    size=st.integers(0, 50),
    first=st.none() | st.integers(0, 60),
    last=st.none() | st.integers(0, 60),
)
def test_a_span_is_always_within_the_content(size: int, first: int | None, last: int | None) -> None:
    value = f"bytes={'' if first is None else first}-{'' if last is None else last}".encode()
    span = requested_span(value, size)
    if span is None:
        assert first is last is None or (first is not None and last is not None and last < first)
        return
    start, stop = span
    wanted = range(size)
    if first is None:
        assert last is not None
        expected = list(wanted)[-last:] if last else []
    else:
        expected = [each for each in wanted if first <= each and (last is None or each <= last)]
    assert list(wanted)[start:stop] == expected
    assert (start >= size) == (not expected)
