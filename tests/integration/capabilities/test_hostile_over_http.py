"""Hostile files by the public upload, through the whole saga: a typed outcome within bounds, and the platform lives."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import pytest_asyncio

from symphainy.testing.platform import in_memory_platform
from tests.integration.capabilities.desk import CAPABILITIES
from tests.services import served
from tests.unit.capabilities.content.pdfs import handbook, pdf

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Far more than any of these takes, far less than what a parse may take.
OUTCOME_S = 20
TABLE = b"pump,hours\nP-1,12\nP-2,7\n"
BOUNDARY = b"hostile-boundary"
NOISE = random.Random(5).randbytes(5 << 20)


@dataclass(frozen=True, kw_only=True)
class Came:
    """What came of a file: how its saga ended, what failed in it or before it, and what each intent answered."""

    ending: str
    code: str | None
    results: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bringer:
    """Somebody who brings files, each in a session of its own: what was here before is not taken for it."""

    client: httpx2.AsyncClient
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def bring(self, data: bytes, name: bytes) -> Came:
        """Upload it, and follow the saga to its end."""
        session = (await self.client.post("/api/session/create", json={})).json()
        fields = {"session_id": session["session_id"], "metadata": json.dumps({"saga": "ingest_to_search"})}
        body = b"".join(
            b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (BOUNDARY, key.encode(), text.encode())
            for key, text in fields.items()
        )
        head = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n' % (BOUNDARY, name)
        answer = await self.client.post(
            "/v1/content/upload",
            content=body + head + data + b"\r\n--%s--\r\n" % BOUNDARY,
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"},
        )
        if answer.status_code != 202:
            return Came(ending="", code=answer.json()["code"], results={})
        return await self._followed(answer.json()["execution_id"])

    async def _followed(self, execution_id: str) -> Came:
        """To the end of the saga, its compensations included."""
        results: dict[str, Any] = {}
        error: Any = None
        ending = ""
        following: str | None = execution_id
        while following is not None:
            lines = await self.client.get(
                f"/api/execution/{following}/stream?after=0", headers={"Accept": "application/x-ndjson"}
            )
            events = [json.loads(line) for line in lines.text.splitlines() if line]
            status = (await self.client.get(f"/api/execution/{following}/status")).json()
            results[status["intent_type"]] = status["result"]
            error = error or status["error"]
            sagas = [each for each in events if each["event_type"].startswith("saga_")]
            ending = sagas[-1]["event_type"]
            ways = [each["payload"].get("next") for each in sagas]
            following = next((way["execution_id"] for way in ways if way), None)
        return Came(ending=ending, code=None if error is None else error["code"], results=results)

    async def is_served(self) -> bool:
        """The platform is well and still reads a good file, all the way."""
        text = f"A good file, the {next(self.numbers)}th.\n"
        good = await self.bring(text.encode(), b"good.txt")
        health = (await self.client.get("/health")).json()
        return (good.ending, good.code, health["status"]) == ("saga_completed", None, "ok")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bringer() -> AsyncIterator[Bringer]:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(in_memory_platform(capabilities=CAPABILITIES))
        server = await stack.enter_async_context(served(platform.experience_app))
        assert platform.issuer is not None
        token = platform.issuer.mint("acme", "ada").access_token
        client = httpx2.AsyncClient(
            base_url=server.url, headers={"Authorization": f"Bearer {token}"}, timeout=OUTCOME_S
        )
        await stack.enter_async_context(client)
        yield Bringer(client=client)


HANDBOOK = handbook(20)
COMPENSATED = "saga_compensated"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("cut.pdf", HANDBOOK[:4000], "pdf_truncated"),
        ("half.pdf", HANDBOOK[: len(HANDBOOK) // 2], "pdf_truncated"),
        ("noise.pdf", NOISE, "type_mismatch"),
        ("noise.bin", NOISE, "unsupported_media"),
        ("noisy.pdf", b"%PDF-1.7\n" + NOISE, "pdf_truncated"),
        ("noisy_to_its_end.pdf", b"%PDF-1.7\n" + NOISE + b"\n%%EOF\n", "pdf_unreadable"),
        ("report.csv", pdf([["a page"]]), "type_mismatch"),
        ("table.pdf", TABLE, "type_mismatch"),
        ("deep_lists.json", b"[" * 100_000 + b"]" * 100_000, "parser_limit"),
        ("deep_objects.json", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "parser_limit"),
        ("deep_and_open.json", b"[" * 100_000, "parser_limit"),
        ("nan.json", b'{"a": NaN}', "invalid_json"),
        ("infinity.json", b"[-Infinity]", "invalid_json"),
        ("twice.json", b'{"a": 1, "a": 2}', "invalid_json"),
        ("surrogate.json", b'{"a": "\\ud800"}', "invalid_json"),
        ("empty.json", b"", "invalid_json"),
        ("nul.json", b'{"a": "\x00"}', "type_mismatch"),
        ("nul.txt", b"before\x00after\n", "type_mismatch"),
        ("nuls.txt", bytes(4096), "type_mismatch"),
    ],
)
async def test_what_cannot_be_read_is_refused_by_name_and_put_away(
    bringer: Bringer, name: str, data: bytes, code: str
) -> None:
    async with asyncio.timeout(OUTCOME_S):
        came = await bringer.bring(data, name.encode())
    assert (came.ending, came.code) == (COMPENSATED, code)
    assert [*came.results] == ["ingest_file", "save_materialization", "parse_content", "archive_file"]
    assert came.results["archive_file"]["lifecycle_state"] == "ARCHIVED"
    assert await bringer.is_served()


@pytest.mark.parametrize(
    ("name", "data", "delivered", "quarantined"),
    [
        ("open_quote.csv", TABLE + b'P-3,"left open\nP-4,1\n', 3, {"quote_left_open": 1}),
        ("ragged.csv", TABLE + b"P-3\nP-4,1,2,3\nP-5,1\n", 3, {"ragged_row": 2}),
        (
            "both.csv",
            TABLE + b'P-3\nP-4,"x"y\nP-5,"\n',
            2,
            {"ragged_row": 1, "text_after_quote": 1, "quote_left_open": 1},
        ),
        ("nul.csv", TABLE + b"P-3,\x00\n", 2, {"nul_byte": 1}),
    ],
)
async def test_what_is_broken_in_a_table_is_put_aside_and_counted(
    bringer: Bringer, name: str, data: bytes, delivered: int, quarantined: dict[str, int]
) -> None:
    async with asyncio.timeout(OUTCOME_S):
        came = await bringer.bring(data, name.encode())
    assert (came.ending, came.code) == ("saga_completed", None)
    balance = came.results["parse_content"]["balance"]
    assert (balance["rows"]["delivered"], balance["rows"]["quarantined"]) == (delivered, quarantined)
    assert balance["bytes"]["total"] == len(data)
    for found in balance.values():
        parts = (found["delivered"], *found["ignored"].values(), *found["quarantined"].values())
        assert sum(parts) == found["total"]
    assert await bringer.is_served()


@pytest.mark.parametrize("name", ["empty.txt", "empty.csv", "empty.md", "empty.pdf", "empty"])
async def test_an_empty_file_has_nothing_in_it(bringer: Bringer, name: str) -> None:
    async with asyncio.timeout(OUTCOME_S):
        came = await bringer.bring(b"", name.encode())
    parsed = came.results["parse_content"]
    assert (parsed["units"], parsed["chunks"], parsed["balance"]["bytes"]["total"]) == (0, 0, 0)
    assert (came.ending, came.code) == ("saga_completed", "nothing_to_embed")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"../../../etc/passwd", "passwd"),
        (b"/etc/shadow", "shadow"),
        (b"..\\..\\boot.ini", "boot.ini"),
        (b"C:\\temp\\x.txt", "x.txt"),
        (b"..", "upload"),
        (b"", "upload"),
        (b" ", "unnamed"),
        (b"a\x00b.txt", "ab.txt"),
        (b"a\x01\x1b[2Jb.txt", "a[2Jb.txt"),
        (b"n" * 300 + b".txt", "n" * 251 + ".txt"),
        ("\u202efdp.exe.txt".encode(), "fdp.exe.txt"),
        ("a\u2028b\ufeff.txt".encode(), "ab.txt"),
        ("e\u0301.txt".encode(), "\xe9.txt"),
        (b"\xff\xfe.txt", "\ufffd\ufffd.txt"),
        (b"%2e%2e%2fx.txt", "%2e%2e%2fx.txt"),
        (b"<script>.txt", "_script_.txt"),
    ],
)
async def test_a_name_is_a_name_and_leads_nowhere(bringer: Bringer, name: bytes, shown: str) -> None:
    came = await bringer.bring(f"Text number {next(bringer.numbers)}.\n".encode(), name)
    assert (came.ending, came.code) == ("saga_completed", None)
    file = came.results["ingest_file"]
    assert (file["filename"], file["ui_name"]) == (shown, shown)
    content = await bringer.client.get(f"/api/artifacts/{file['file_id']}/content")
    assert content.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{quote(shown, safe='')}"
    parsed = await bringer.client.get(f"/api/artifacts/{came.results['parse_content']['parsed_file_id']}/content")
    assert (parsed.status_code, parsed.headers["Content-Disposition"]) == (200, "attachment")
    assert await bringer.is_served()


async def test_a_name_without_end_is_refused(bringer: Bringer) -> None:
    came = await bringer.bring(b"text\n", b"n" * 100_000 + b".txt")
    assert (came.ending, came.code) == ("", "validation_failed")
    assert await bringer.is_served()
