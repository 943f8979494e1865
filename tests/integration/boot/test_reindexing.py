"""A search index that was lost fills itself again from the artifacts, and until then health says so."""

import base64
import shutil
from pathlib import Path

from symphainy.boot.phases import SEARCH_FOLDER, Platform
from symphainy.testing.platform import caller, sqlite_platform

TEXT = b"# Pumps\n\nThe impeller of pump seven is to be replaced every nine months.\n"


async def take_in(p: Platform) -> str:
    """The id of what was parsed from the text."""
    sdk = p.sdk_for(caller())
    session_id = (await sdk.create_session()).session_id
    content = base64.b64encode(TEXT).decode()
    ingest = {"content_ref_or_base64": content, "filename": "pumps.md", "ui_name": "Pumps"}
    file = (await sdk.run("ingest_file", ingest, session_id=session_id)).result
    keep = {name: file[name] for name in ("file_id", "boundary_contract_id")}
    await sdk.run("save_materialization", keep, session_id=session_id)
    parsed = await sdk.run("parse_content", {"file_id": file["file_id"]}, session_id=session_id)
    found: str = parsed.result["parsed_file_id"]
    return found


async def places(p: Platform, query: str) -> list[str]:
    """The parsed files that hold the answer."""
    sdk = p.sdk_for(caller())
    session_id = (await sdk.create_session()).session_id
    answer = await sdk.run("query_data", {"query": query}, session_id=session_id)
    return [passage["parsed_file_id"] for passage in answer.result["passages"]]


async def test_an_index_whose_folder_is_gone_is_filled_again(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path) as p:
        parsed = await take_in(p)
        assert await places(p, "impeller") == [parsed]
    shutil.rmtree(tmp_path / SEARCH_FOLDER)
    async with sqlite_platform(tmp_path) as p:
        await p.graph.reindexing
        assert await places(p, "impeller") == [parsed]


async def test_an_index_that_is_damaged_is_filled_again(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path) as p:
        parsed = await take_in(p)
    (tmp_path / SEARCH_FOLDER / "acme.db").write_bytes(b"no index any more" * 100)
    async with sqlite_platform(tmp_path) as p:
        await p.graph.reindexing
        assert await places(p, "impeller") == [parsed]


async def test_an_index_that_cannot_be_filled_stays_amber(tmp_path: Path) -> None:
    async with sqlite_platform(tmp_path) as p:
        await take_in(p)
    shutil.rmtree(tmp_path / "blobs")
    (tmp_path / SEARCH_FOLDER / "acme.db").write_bytes(b"no index any more" * 100)
    async with sqlite_platform(tmp_path) as p:
        await p.graph.reindexing
        health = await p.health()
        assert (health.status, health.checks["search"].status) == ("degraded", "degraded")
        assert "acme" in health.checks["search"].detail
