"""What the document promises is what happens: schemathesis tries every operation with right, wrong and linked requests.

No answer is a 5xx, none is undocumented, each has the media type, headers and shape that the document says, what does
not fit is refused and what needs a token asks for one. Valid requests may be refused: a session that was closed
meanwhile, a cursor that the platform never gave out.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import httpx2
import pytest

from symphainy.model import Role
from symphainy.wire.app import ServiceApp
from tests.services import Platform, kept, served

QUICK_EXAMPLES = 4
DEEP_EXAMPLES = 300
ALL_PHASES = "examples,coverage,fuzzing,stateful"


async def conforms(city: Platform, app: ServiceApp, folder: Path, *, examples: int, phases: str = ALL_PHASES) -> None:
    async with served(app) as server:
        chief = city.headers("chief", Role.ADMIN)
        async with httpx2.AsyncClient(base_url=server.url) as client:
            await kept(client, chief)  # so that lists are not all empty
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", f"{server.url}/openapi.json"),
            *("--header", f"Authorization: {chief['Authorization']}"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", phases),
            *("--max-examples", str(examples), "--suppress-health-check", "all", "--no-color"),
            cwd=folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    tried = re.search(r"Selected: (\d+)/(\d+)\n +Tested: (\d+)", output)
    assert tried is not None, output
    documented = sum(len(methods) for methods in app.openapi()["paths"].values())
    # The address of the document itself is left out.
    assert {int(count) for count in tried.groups()} == {documented - 1}
    assert {record.status // 100 for record in city.served} >= {2, 4}
    assert [record for record in city.served if record.status >= 500] == []


async def test_experience_does_what_its_document_says(city: Platform, tmp_path: Path) -> None:
    await conforms(city, city.experience_service().create_app(), tmp_path, examples=QUICK_EXAMPLES)


async def test_the_runtime_does_what_its_document_says(city: Platform, tmp_path: Path) -> None:
    app = city.runtime_service().create_app()
    await conforms(city, app, tmp_path, examples=QUICK_EXAMPLES, phases="examples,coverage")


@pytest.mark.deep
@pytest.mark.parametrize("service", ["experience", "runtime"])
async def test_the_service_does_what_its_document_says_in_depth(city: Platform, tmp_path: Path, service: str) -> None:
    made = city.experience_service() if service == "experience" else city.runtime_service()
    await conforms(city, made.create_app(), tmp_path, examples=DEEP_EXAMPLES)
